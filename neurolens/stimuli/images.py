"""From any image file to 8-bit RGB, by one stated rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["BACKGROUND", "EXTENSIONS", "check_image", "read_image", "to_rgb"]

BACKGROUND = (128, 128, 128)  # mid grey: shows through transparent pixels
EXTENSIONS = (
    ".avif",
    ".bmp",
    ".gif",
    ".jp2",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)

_ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB, upright.

    The rule, in this order: the EXIF orientation is applied; 16-bit grey levels are divided by 257, so that
    65535 becomes 255; transparent pixels are composited on mid grey (128, 128, 128); everything else
    (palette, grey, bilevel, CMYK, YCbCr, HSV) is converted by Pillow, without colour profiles. Of an
    animation the first frame is taken.

    Parameters
    ----------
    image
        A PIL image.

    Returns
    -------
    PIL.Image.Image
        Mode "RGB", 8 bits a channel.

    Raises
    ------
    ValueError
        If pixels are floating-point or exceed 16 bits: no fixed range says what white is.

    Examples
    --------
    >>> from PIL import Image
    >>> to_rgb(Image.new("RGBA", (1, 1), (255, 0, 0, 0))).getpixel((0, 0))
    (128, 128, 128)
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        return Image.fromarray(_to_8_bits(upright)).convert("RGB")
    if upright.mode in _ALPHA_MODES or "transparency" in upright.info:
        foreground = upright.convert("RGBA")
        canvas = Image.new("RGBA", foreground.size, (*BACKGROUND, 255))
        return Image.alpha_composite(canvas, foreground).convert("RGB")
    return upright.convert("RGB")


def _to_8_bits(image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Scale 16-bit grey levels: Pillow's own conversion clips them at 255, which makes a photograph white."""
    levels = np.asarray(image)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point, without a fixed range; give them by from_array")
    if levels.min() < 0 or levels.max() > 65535:
        raise ValueError(
            f"its grey levels reach from {levels.min()} to {levels.max()}, beyond 16 bits; "
            "scale them and save as 8-bit or 16-bit"
        )
    return np.round(levels / 257.0).astype(np.uint8)


def read_image(path: Path) -> Image.Image:
    """Read a whole image file as RGB; raise ValueError that says in plain words why it cannot be read."""
    with _explained(path), Image.open(path) as image:
        image.load()
        return to_rgb(image)


def check_image(path: Path) -> None:
    """Raise what `read_image` would raise.

    A JPEG is decoded at an eighth of its size: every byte of it is read and every fault of the stream is met,
    in half the time.
    """
    with _explained(path), Image.open(path) as image:
        image.draft(None, (1, 1))
        image.load()
        to_rgb(image)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say in plain words why a file cannot be read."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except IsADirectoryError:
        raise ValueError("is a folder") from None
    except UnidentifiedImageError:
        size = path.stat().st_size
        raise ValueError("is empty (0 bytes)" if size == 0 else "is not an image that Pillow knows") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
