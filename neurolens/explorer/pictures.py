"""Activations as small pictures: one map a stimulus and pass, in 255 levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from neurolens.schema import FEATURE, KEY, PASS, QUERY, STIMULUS, TOKEN, X, Y

MISSING = 0  # the level of what is not a finite number
N_LEVELS = 255
MOST_PASSES = 4  # that are pictured, evenly chosen

_PLANES = ((Y, X), (QUERY, KEY), (TOKEN, FEATURE))


@dataclass(frozen=True, slots=True)
class Maps:
    """Pictures of one activation.

    Attributes
    ----------
    levels
        array, shape (n_stimuli, n_passes, height, width), uint8: 1 is `low`, 255 is `high`, 0 is missing.
    low, high
        The range, over all pictures.
    passes
        Number of each pass; empty where the activation has no passes.
    said
        What a pixel is, in words.
    """

    levels: NDArray[np.uint8]
    low: float
    high: float
    passes: tuple[int, ...]
    said: str


def make_maps(array: xr.DataArray, *, side: int) -> Maps:
    """Picture an activation.

    The plane is (y, x), (query, key) or (token, feature) where these dims are there, else the last two. What is left
    is summed up by its root mean square. Planes wider or higher than `side` are averaged over blocks.

    Parameters
    ----------
    array
        DataArray (stimulus, ...).
    side
        The most pixels along an edge.

    Returns
    -------
    Maps

    Examples
    --------
    >>> array = xr.DataArray(np.ones((2, 5, 4, 4)), dims=("stimulus", "channel", "y", "x"))
    >>> maps = make_maps(array, side=8)
    >>> maps.levels.shape, maps.said
    ((2, 1, 4, 4), 'root mean square over channel; y down, x across')
    """
    passes, array = _choose_passes(array)
    down, across = _find_plane(array)
    left = [str(dim) for dim in array.dims if dim not in (STIMULUS, PASS, down, across)]
    ordered = array.transpose(*(dim for dim in (STIMULUS, PASS, *left, down, across) if dim in array.dims))
    sizes = [ordered.sizes.get(dim, 1) if dim else 1 for dim in (STIMULUS, PASS)]
    plane = [ordered.sizes[dim] if dim else 1 for dim in (down, across)]
    values = _as_real(ordered.values).reshape(*sizes, -1, *plane)
    picture = np.sqrt(np.mean(values**2, axis=2)) if left else values[:, :, 0]
    shrunk = shrink(picture.astype(np.float32), side)
    levels, low, high = quantise(shrunk)
    return Maps(levels, low, high, passes, _say_pixel(left, down, across, plane, shrunk.shape[2:]))


def _choose_passes(array: xr.DataArray) -> tuple[tuple[int, ...], xr.DataArray]:
    if PASS not in array.dims:
        return (), array
    chosen = choose_evenly(array.sizes[PASS], MOST_PASSES)
    return tuple(int(k) + 1 for k in chosen), array.isel({PASS: chosen})


def choose_evenly(n: int, most: int) -> NDArray[np.intp]:
    """Return up to `most` positions out of 0 ... n - 1, spread evenly, with both ends.

    Examples
    --------
    >>> choose_evenly(9, 3).tolist(), choose_evenly(2, 3).tolist()
    ([0, 4, 8], [0, 1])
    """
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.intp))


def _find_plane(array: xr.DataArray) -> tuple[str, str]:
    """Return the dims that go down and across; "" where there is none."""
    for down, across in _PLANES:
        if down in array.dims and across in array.dims:
            return down, across
    left = [str(dim) for dim in array.dims if dim not in (STIMULUS, PASS)]
    return (left[-2] if len(left) > 1 else "", left[-1] if left else "")


def _as_real(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "c":
        values = np.abs(values)
    wide = np.float64 if values.dtype.itemsize > 4 else np.float32  # float16 would overflow in squares
    return np.where(np.isfinite(values), values, np.nan).astype(wide)


def shrink(pictures: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Average blocks of pictures (..., height, width) until no edge is longer than `side`; never enlarge."""
    *outer, height, width = pictures.shape
    if max(height, width) <= side:
        return pictures
    size = min(width, side), min(height, side)
    flat = pictures.reshape(-1, height, width)
    made = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in flat]
    return np.stack(made).reshape(*outer, size[1], size[0])


def quantise(values: NDArray[Any]) -> tuple[NDArray[np.uint8], float, float]:
    """Spread finite values over the levels 1 ... 255; what is not finite becomes 0."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8), float("nan"), float("nan")
    low, high = float(values[finite].min()), float(values[finite].max())
    span = high - low
    parts = (np.where(finite, values, low) - low) / span if span > 0 else np.full(values.shape, 0.5)
    levels = np.where(finite, 1 + np.rint(parts * (N_LEVELS - 1)), MISSING).astype(np.uint8)
    return levels, low, high


def _say_pixel(left: list[str], down: str, across: str, plane: list[int], shown: tuple[int, ...]) -> str:
    parts = [f"root mean square over {', '.join(left)}"] if left else []
    axes = [f"{down} down"] if down else []
    axes += [f"{across} across"] if across else []
    if axes:
        parts.append(", ".join(axes))
    if tuple(plane) != tuple(shown):
        parts.append(f"{plane[0]}×{plane[1]} averaged to {shown[0]}×{shown[1]}")
    return "; ".join(parts) or "one number"
