"""Every model of torchvision with small inputs and random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torchvision
from torch import nn

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
# Frames and pixels where 4 of 64 do not do: windows and positions that are built in.
_VIDEO = {"mvit_v1_b": (16, 224), "mvit_v2_s": (16, 224), "s3d": (16, 224)}


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
    n_frames, size = _VIDEO.get(name, (4, 64))
    n_stimuli = 1 if name in _VIDEO else 2
    return torchvision.models.get_model(name, weights=None), torch.randn(n_stimuli, 3, n_frames, size, size)


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
