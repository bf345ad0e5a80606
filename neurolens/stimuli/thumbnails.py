"""Small square pictures of stimuli, for figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps

from neurolens.stimuli.images import BACKGROUND

__all__ = ["picture_item"]

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

_TEXT_SIDE, _TEXT_LINES, _TEXT_WIDTH = 96, 7, 15  # pixels, lines and letters of a square that holds a text


def picture_item(item: object, size: int) -> Pixels | None:
    """Return a raw stimulus as a picture, shape (size, size, 3), uint8; None if it has none."""
    if isinstance(item, str):
        return _fit_square(_draw_text(item), size)
    if isinstance(item, Image.Image):
        return _fit_square(item, size)
    if isinstance(item, torch.Tensor | np.ndarray):
        values = np.asarray(item)
        if values.ndim == 2:
            return _fit_square(_stretch(values), size)
        if values.ndim == 3 and values.shape[0] in (1, 3):
            return _fit_square(_stretch(np.moveaxis(values, 0, -1)), size)
    return None


def _stretch(values: np.ndarray[Any, Any]) -> Image.Image:
    """Spread a model's input, whose range is anything, over the grey levels."""
    low, high = float(values.min()), float(values.max())
    levels = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    pixels = np.round(255 * levels).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).convert("RGB")


def _fit_square(image: Image.Image, size: int) -> Pixels:
    padded = ImageOps.pad(image, (size, size), method=Image.Resampling.BILINEAR, color=BACKGROUND)
    return np.asarray(padded)


def _draw_text(text: str) -> Image.Image:
    canvas = Image.new("RGB", (_TEXT_SIDE, _TEXT_SIDE), BACKGROUND)
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], joined] if len(joined) <= _TEXT_WIDTH else [*lines, word]
    ImageDraw.Draw(canvas).multiline_text((3, 3), "\n".join(lines[:_TEXT_LINES]).strip(), fill=(0, 0, 0))
    return canvas
