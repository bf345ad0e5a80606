"""Values of voxels on slices of the image they come from."""

from __future__ import annotations

from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from neurolens.brain import to_nifti
from neurolens.brain.extras import import_extra
from neurolens.brain.volumes import check_space, load_image, read_volume
from neurolens.errors import InputError, check_choice
from neurolens.plot.maps import describe_map, find_beyond, make_image, make_scale, name_map
from neurolens.schema import NEUROID

__all__ = ["slices"]

PLANES = {"x": (0, 1, 2), "y": (1, 0, 2), "z": (2, 0, 1)}  # which axis is cut, which run right and up


def slices(
    values: xr.DataArray,
    *,
    like: xr.DataArray | Any,
    background: Any = None,
    axis: Literal["x", "y", "z"] = "z",
    positions: list[int] | None = None,
    threshold: float | None = None,
    limit: float | None = None,
    title: str | None = None,
) -> list[Axes]:
    """Draw values of voxels on slices of the image they come from, in its own space.

    Parameters
    ----------
    values
        DataArray (neuroid) with the coords i, j, k: scores, reliabilities, a pattern.
    like
        Responses read from NIfTI, or an image: what gives shape and affine.
    background
        An image of the same space to draw below in grey, such as the mean volume.
    axis
        Which way slices are cut: "z" axial, "y" coronal, "x" sagittal.
    positions
        Which slices, counted from the left, the back or the bottom; by default up to eight with values on them.
    threshold
        Values nearer to 0 than this are not drawn.
    limit
        Where the scale ends; by default at the 99th percentile of the values' sizes. Arrows say that there are
        values beyond.
    title
        Written above; default: the name of the values.

    Returns
    -------
    list of Axes
        One a slice, in mm, the right of the brain on the right. Voxels without a value show the background.

    Raises
    ------
    InputError
        If no slice has values, or a position is outside.
    LabelError
        If values have other dims, or neuroids no places.

    Examples
    --------
    >>> import nibabel
    >>> from neurolens import brain
    >>> image = nibabel.Nifti1Image(np.random.default_rng(0).normal(size=(4, 5, 2, 9)), np.diag([3, 3, 4, 1]))
    >>> series = brain.read_bold(image, repetition_time=2.0)
    >>> len(slices(series.std("time"), like=series))
    2
    """
    check_choice(axis, PLANES, "axis")
    volume, affine = _canonical(make_image(values, like))
    volume[np.abs(volume) < (threshold or 0)] = np.nan
    below = None if background is None else _canonical(_open_background(background, like))[0]
    cut, right, up = PLANES[axis]
    chosen = _choose_slices(volume, cut, positions, axis)
    scale = make_scale(values.values, limit)
    n_rows = -(-len(chosen) // 4)
    figure, grid = plt.subplots(
        n_rows,
        min(len(chosen), 4),
        squeeze=False,
        layout="constrained",
        figsize=(2.6 * min(len(chosen), 4) + 1.2, 2.9 * n_rows),
    )
    extent = _extent(volume.shape, affine, right, up)
    for ax, position in zip(grid.ravel(), chosen, strict=False):
        if below is not None:
            ax.imshow(below.take(position, cut).T, cmap="gray", origin="lower", extent=extent)
        shown = ax.imshow(
            volume.take(position, cut).T,
            cmap=scale.colors,
            norm=scale.norm,
            origin="lower",
            extent=extent,
            interpolation="nearest",
        )
        place = affine[cut, cut] * position + affine[cut, 3]
        ax.set_title(f"{axis} = {place:.0f} mm", fontsize=9)
        ax.set_xlabel(f"{'xyz'[right]} (mm)", fontsize=8)
        ax.set_ylabel(f"{'xyz'[up]} (mm)", fontsize=8)
        ax.tick_params(labelsize=7)
        ax.set_facecolor("0.9")
    for ax in grid.ravel()[len(chosen) :]:
        ax.remove()
    panels = list(grid.ravel()[: len(chosen)])
    figure.colorbar(
        shown, ax=panels, label=describe_map(values), shrink=0.8, extend=find_beyond(values, scale)
    )
    figure.suptitle(name_map(values) if title is None else title, fontsize=11)
    return panels


def _canonical(image: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values and affine with axes that run to the right, the front and the top."""
    turned = import_extra("nibabel").as_closest_canonical(image)
    return np.asarray(turned.get_fdata()), np.asarray(turned.affine)


def _open_background(background: Any, like: Any) -> Any:
    """Return the background, which must lie in the space of the values."""
    image = load_image(background, "The background")
    reference = to_nifti(
        xr.DataArray([0.0], dims=NEUROID, coords={n: (NEUROID, [0]) for n in "ijk"}), like=like
    )
    check_space(image, reference, "The background", "the values")
    return import_extra("nibabel").Nifti1Image(read_volume(image, "The background"), image.affine)


def _choose_slices(
    volume: NDArray[np.float64], cut: int, positions: list[int] | None, axis: str
) -> list[int]:
    """Return the slices to draw: as given, else spread evenly over those with values."""
    n_slices = volume.shape[cut]
    if positions is not None:
        outside = [position for position in positions if not 0 <= position < n_slices]
        if outside or not positions:
            raise InputError(f"positions={positions}: the image has slices 0 to {n_slices - 1} along {axis}.")
        return list(positions)
    others = tuple(other for other in range(3) if other != cut)
    filled = np.flatnonzero(np.isfinite(volume).any(axis=others))
    return [
        int(k)
        for k in filled[np.unique(np.linspace(0, filled.size - 1, min(8, filled.size)).round().astype(int))]
    ]


def _extent(
    shape: tuple[int, ...], affine: NDArray[np.float64], right: int, up: int
) -> tuple[float, float, float, float]:
    """Return the edges of the outermost voxels in mm."""
    edges = []
    for axis in (right, up):
        size, start = affine[axis, axis], affine[axis, 3]
        edges += [start - size / 2, start + size * (shape[axis] - 0.5)]
    return edges[0], edges[1], edges[2], edges[3]
