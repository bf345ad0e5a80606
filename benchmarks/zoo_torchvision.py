"""Every model of torchvision with small inputs and random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

import torch
import torchvision
from torch import nn
from torchvision.models.video import mvit

# What a model needs where 64 pixels do not do: arguments of its builder, and the side of its images.
_SETTINGS: Mapping[str, tuple[Mapping[str, Any], int]] = {
    "inception_v3": ({"init_weights": False}, 96),
    "googlenet": ({"init_weights": False}, 64),
    "quantized_inception_v3": ({"init_weights": False}, 96),
    "quantized_googlenet": ({"init_weights": False}, 64),
    "maxvit_t": ({}, 224),  # its windows divide the image at every stage
    "vit_b_16": ({"image_size": 32}, 32),
    "vit_l_16": ({"image_size": 32}, 32),
    "vit_h_14": ({"image_size": 28}, 28),
    "vit_b_32": ({"image_size": 64}, 64),
    "vit_l_32": ({"image_size": 64}, 64),
    "ssd300_vgg16": ({}, 300),
}


def list_models() -> dict[str, str]:
    """All that torchvision lists, with the task each is for."""
    return {name: _task(name) for name in torchvision.models.list_models()}


def _task(name: str) -> str:
    module = torchvision.models.get_model_builder(name).__module__.split(".")
    return module[2] if len(module) > 3 else "classification"


def build(name: str) -> tuple[nn.Module, Any]:
    """A model and a small batch: two stimuli, or one where it is large."""
    return _BUILDERS[_task(name)](name)


def _build_classifier(name: str) -> tuple[nn.Module, Any]:
    options, size = _SETTINGS.get(name, ({}, 64))
    return torchvision.models.get_model(name, weights=None, **options), torch.randn(2, 3, size, size)


def _build_quantized(name: str) -> tuple[nn.Module, Any]:
    options, size = _SETTINGS.get(name, ({}, 64))
    model = torchvision.models.get_model(name, weights=None, quantize=True, **options)
    return model, torch.randn(2, 3, size, size)


def _build_segmentation(name: str) -> tuple[nn.Module, Any]:
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    return model, torch.randn(2, 3, 64, 64)


def _build_detector(name: str) -> tuple[nn.Module, Any]:
    sizes = {} if name.startswith("ssd") else {"min_size": 64, "max_size": 96}
    model = torchvision.models.get_model(name, weights=None, weights_backbone=None, **sizes)
    return model, ([torch.rand(3, 64, 80), torch.rand(3, 72, 64)],)


def _build_video(name: str) -> tuple[nn.Module, Any]:
    if name == "s3d":  # its last pooling has a window of 224 pixels
        return torchvision.models.get_model(name, weights=None), torch.randn(1, 3, 16, 224, 224)
    with patch.object(mvit, "_mvit", _build_small_mvit):
        model = torchvision.models.get_model(name, weights=None)
    return model, torch.randn(2, 3, 4, 64, 64)


def _build_small_mvit(**settings: Any) -> nn.Module:
    """A model for short and small videos: its builder fixes the size, its class does not."""
    return _BUILD_MVIT(**settings | {"spatial_size": (64, 64), "temporal_size": 4})


_BUILD_MVIT = mvit._mvit


def _build_flow(name: str) -> tuple[nn.Module, Any]:
    model = torchvision.models.get_model(name, weights=None)
    return model, (torch.rand(1, 3, 128, 128) * 2 - 1, torch.rand(1, 3, 128, 128) * 2 - 1)


_BUILDERS: Mapping[str, Callable[[str], tuple[nn.Module, Any]]] = {
    "classification": _build_classifier,
    "quantization": _build_quantized,
    "segmentation": _build_segmentation,
    "detection": _build_detector,
    "video": _build_video,
    "optical_flow": _build_flow,
}
