"""From one stimulus to what a model takes for it, where no library's own transform does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from neurolens.errors import StimulusError

LONGEST_TEXT = 128  # tokens; texts are padded to it, so that they can be batched


@dataclass(frozen=True)
class ImageInput:
    """A PIL image through a Hugging Face image processor: dict of `pixel_values` without a batch axis."""

    processor: Any

    def __call__(self, image: Image.Image) -> dict[str, Tensor]:
        """Return what the model takes for one image."""
        batch = self.processor(images=image.convert("RGB"), return_tensors="pt")
        return {"pixel_values": batch["pixel_values"][0]}


@dataclass(frozen=True)
class TextInput:
    """A text through a tokenizer: dict of tensors, shape (length,), padded so that texts can be batched."""

    tokenizer: Any
    length: int

    def __call__(self, text: str) -> dict[str, Tensor]:
        """Return what the model takes for one text; StimulusError if it is longer than `length` tokens."""
        tokens = self.tokenizer(text, return_tensors="pt", padding="max_length", max_length=self.length)
        if tokens["input_ids"].shape[1] > self.length:
            raise StimulusError(
                f"The text {text[:60]!r}... has {tokens['input_ids'].shape[1]} tokens; {self.length} is the "
                "most. Split it."
            )
        return {name: value[0] for name, value in tokens.items()}


@dataclass(frozen=True)
class SquareInput:
    """A PIL image as RGB, resized to a square without regard to its proportions, then (x - mean) / scale."""

    size: int  # pixels
    mean: float
    scale: float
    interpolation: Literal["bilinear", "bicubic"]

    def __call__(self, image: Image.Image) -> Tensor:
        """Return float32, shape (3, size, size)."""
        method = Image.Resampling[self.interpolation.upper()]
        square = image.convert("RGB").resize((self.size, self.size), method)
        values = (np.asarray(square, dtype=np.float32) - self.mean) / self.scale
        return torch.from_numpy(values).permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class AreaInput:
    """A PIL image as RGB, averaged over areas down to a square, then (x - mean) / scale."""

    size: int  # pixels
    mean: float
    scale: float

    def __call__(self, image: Image.Image) -> Tensor:
        """Return float32, shape (3, size, size)."""
        pixels = torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32)).permute(2, 0, 1)
        square = torch.nn.functional.interpolate(pixels[None], size=(self.size, self.size), mode="area")
        return (square[0] - self.mean) / self.scale
