"""The smallest models of open_clip: an image and a text encoder each, with random weights."""

from __future__ import annotations

from typing import Any

import open_clip
import torch
from torch import nn

_MODELS = {
    "ViT-S-32-alt": "vit",
    "ViT-M-32-alt": "vit",
    "RN50": "resnet",
    "PE-Core-T-16-384": "perception encoder",
    "MobileCLIP2-S0": "mobileclip",
}


def list_models() -> dict[str, str]:
    """Names, with the kind of image encoder."""
    return dict(_MODELS)


def build(name: str) -> tuple[nn.Module, Any]:
    """A model and two pairs of an image and a text."""
    model = open_clip.create_model(name, pretrained=None)
    size = model.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    text = torch.zeros(2, model.context_length, dtype=torch.long)
    text[:, :6] = torch.tensor([[1, 20, 30, 40, 50, 2], [1, 21, 2, 0, 0, 0]])
    text[0, 5], text[1, 2] = (
        model.vocab_size - 1,
        model.vocab_size - 1,
    )  # the end of a text has the largest number
    return model, (torch.randn(2, 3, height, width), text)
