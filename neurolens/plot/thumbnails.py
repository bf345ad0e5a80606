"""Stimuli as small pictures, and categories as colours, in figures of RDMs."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from neurolens.errors import InputError, LabelError, list_names
from neurolens.schema import STIMULUS
from neurolens.stimuli import Stimuli

__all__ = ["choose_colors", "count_rounds", "draw_strip", "group_stimuli", "picture_stimuli"]

SIDE = 64  # pixels of a thumbnail
COVERED = 0.16  # of the area of a matrix: what its thumbnails take along one edge


def picture_stimuli(rdm: xr.DataArray, images: Stimuli) -> list[NDArray[np.uint8]]:
    """Return a picture of every stimulus of an RDM, in its order."""
    if not isinstance(images, Stimuli):
        raise InputError(
            f"images is a {type(images).__name__}; expected Stimuli, e.g. Stimuli.from_array(pictures, ids=ids)."
        )
    positions = {str(name): i for i, name in enumerate(images.ids)}
    ids = [str(name) for name in rdm[STIMULUS].values]
    missing = [name for name in ids if name not in positions]
    if missing:
        raise LabelError(
            f"images has no picture of the stimuli {list_names(missing, 5)}; its ids must be the labels of the "
            f"RDM on {STIMULUS!r}. It has {list_names(images.ids, 5)}."
        )
    return [images.thumbnail(positions[name], SIDE) for name in ids]


def group_stimuli(rdm: xr.DataArray, by: str) -> dict[str, NDArray[np.intp]]:
    """Return the positions of the stimuli of each value of a coord, in order of appearance."""
    columns = [str(name) for name, coord in rdm.coords.items() if coord.dims == (STIMULUS,)]
    if by not in columns:
        raise LabelError(f"by={by!r} is no coord of the stimuli; there are {list_names(columns)}.")
    labels = rdm[by].values.astype(str)
    return {name: np.flatnonzero(labels == name) for name in dict.fromkeys(labels.tolist())}


# Told apart with any colour vision, and on white. The first are of Okabe & Ito (2008) without its yellow, the others of
# Petroff (2021), doi:10.48550/arXiv.2107.02270.
FEW = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
MANY = (
    "#3F90DA", "#FFA90E", "#BD1F01", "#94A4A2", "#832DB6", "#A96B59", "#E76300", "#B9AC70", "#717581", "#92DADD",
)  # fmt: skip


def choose_colors(n: int) -> list[str]:
    """Return a colour a category. No eye tells more than 10 apart: they begin anew, and `count_rounds` says where."""
    palette = FEW if n <= len(FEW) else MANY
    return [palette[i % len(palette)] for i in range(n)]


def count_rounds(n: int) -> list[int]:
    """Return for each category how many others had its colour before: what a marker or a line must tell then."""
    return [i // len(MANY) for i in range(n)]


def draw_strip(ax: Axes, pictures: list[NDArray[np.uint8]], offset: float, side: str) -> float:
    """Draw thumbnails along the top or left edge of a matrix, in as many rows as make them readable.

    Returns how far the strip reaches, as a share of the matrix.
    """
    n = len(pictures)
    levels = max(1, round(np.sqrt(COVERED * n)))
    height = levels**2 / n
    strip = ax.inset_axes((0, 1 + offset, 1, height) if side == "top" else (-offset - height, 0, height, 1))
    for i, picture in enumerate(pictures):
        level = i % levels
        along = (i - levels / 2, i + levels / 2)
        extent = (*along, level, level + 0.96) if side == "top" else (-level - 0.96, -level, *along[::-1])
        strip.imshow(picture, extent=extent, aspect="auto", clip_on=False)
    edges = (-0.5, n - 0.5)
    if side == "top":
        strip.set(xlim=edges, ylim=(0, levels))
    else:
        strip.set(xlim=(-levels, 0), ylim=edges[::-1])
    strip.axis("off")
    strip.set_label(f"thumbnails {side}")
    return float(offset + height)
