"""Values of voxels and vertices where they lie: slices, the glass brain, the cortical surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from numpy.typing import NDArray

from neurolens.brain import to_nifti
from neurolens.brain.extras import import_extra
from neurolens.brain.volumes import check_space, load_image, read_volume
from neurolens.errors import InputError, LabelError, check_choice, list_names
from neurolens.schema import NEUROID, rename_aliases

__all__ = ["glass_brain", "slices", "surface"]

View = Literal["lateral", "medial", "ventral", "dorsal", "posterior"]

PLANES = {"x": (0, 1, 2), "y": (1, 0, 2), "z": (2, 0, 1)}  # which axis is cut, which run right and up
SIDES = ("left", "right")
N_VERTICES = 10242  # of fsaverage5, which are also the first ones of fsaverage


@dataclass(frozen=True)
class _Scale:
    """The ends of a scale and its colours."""

    low: float
    high: float
    colors: Colormap

    @property
    def norm(self) -> Normalize:
        return Normalize(self.low, self.high)


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
    volume, affine = _canonical(_to_image(values, like))
    volume[np.abs(volume) < (threshold or 0)] = np.nan
    below = None if background is None else _canonical(_open_background(background, like))[0]
    cut, right, up = PLANES[axis]
    chosen = _choose_slices(volume, cut, positions, axis)
    scale = _make_scale(values.values, limit)
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
    figure.colorbar(shown, ax=panels, label=_describe(values), shrink=0.8, extend=_extend(values, scale))
    figure.suptitle(_name(values) if title is None else title, fontsize=11)
    return panels


def glass_brain(
    values: xr.DataArray,
    *,
    like: xr.DataArray | Any,
    threshold: float | None = None,
    limit: float | None = None,
    title: str | None = None,
) -> Axes:
    """Project values of voxels through the outlines of a standard brain, by nilearn.

    Parameters
    ----------
    values
        DataArray (neuroid) with the coords i, j, k, in MNI space.
    like
        Responses read from NIfTI with ``space="MNI152"`` (or another MNI one), or an image in that space.
    threshold
        Values nearer to 0 than this are not drawn.
    limit
        Where the scale ends; by default at the 99th percentile of the values' sizes. Arrows say that there are
        values beyond.
    title
        Written above; default: the name of the values.

    Returns
    -------
    Axes
        The frame of the figure; the brains lie in axes of nilearn's within it.

    Raises
    ------
    InputError
        If the responses are in the subject's own space: the outlines would be those of another brain.
    LabelError
        If values have other dims, or neuroids no places.

    Examples
    --------
    >>> import nibabel
    >>> from neurolens import brain
    >>> affine = np.array([[20.0, 0, 0, -60], [0, 20, 0, -90], [0, 0, 20, -40], [0, 0, 0, 1]])
    >>> image = nibabel.Nifti1Image(np.random.default_rng(0).normal(size=(7, 8, 6, 3)), affine)
    >>> series = brain.read_bold(image, repetition_time=2.0, space="MNI152")
    >>> ax = glass_brain(series.std("time"), like=series)
    """
    plotting = import_extra("nilearn.plotting")
    _require_mni(like, "glass_brain")
    image = _to_image(values, like)
    scale = _make_scale(values.values, limit)
    figure = plt.figure(figsize=(9, 3.4))
    frame = figure.add_axes((0.0, 0.0, 1.0, 0.9))
    frame.set_axis_off()
    plotting.plot_glass_brain(
        _without_nan(image),
        axes=frame,
        figure=figure,
        threshold=threshold,
        colorbar=True,
        cmap=scale.colors,
        vmin=scale.low,
        vmax=scale.high,
        plot_abs=False,
        symmetric_cbar=scale.low < 0,
    )
    figure.suptitle(_name(values) if title is None else title, fontsize=11)
    return frame


def surface(
    values: xr.DataArray,
    *,
    like: xr.DataArray | Any = None,
    view: View = "lateral",
    threshold: float | None = None,
    limit: float | None = None,
    title: str | None = None,
) -> list[Axes]:
    """Draw values on the inflated cortex of fsaverage5, which nilearn brings along.

    Parameters
    ----------
    values
        DataArray (neuroid). With the coords `hemisphere` ("left", "right") and `vertex` (of fsaverage or
        fsaverage5, whose vertices are the first 10242 of the former), they are drawn there. With i, j, k they
        are projected from the volume, which must be in MNI space.
    like
        Needed for voxels: responses read from NIfTI with ``space="MNI152"``, or an image in that space.
    view
        From where.
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
        The left hemisphere and the right one.

    Raises
    ------
    InputError
        If voxels are in the subject's own space, or a vertex is none of fsaverage.
    LabelError
        If neuroids have neither vertices nor places.

    References
    ----------
    Fischl, NeuroImage 2012, doi:10.1016/j.neuroimage.2012.01.021.

    Examples
    --------
    >>> coords = {"hemisphere": ("neuroid", ["left", "right"]), "vertex": ("neuroid", [3, 5])}
    >>> panels = surface(xr.DataArray([0.1, 0.2], dims="neuroid", coords=coords, name="score"))
    >>> len(panels)
    2
    """
    check_choice(view, ("lateral", "medial", "ventral", "dorsal", "posterior"), "view")
    plotting = import_extra("nilearn.plotting")
    meshes = import_extra("nilearn.datasets").fetch_surf_fsaverage("fsaverage5")
    values = _check_values(values)
    maps = _project(values, like, meshes)
    scale = _make_scale(values.values, limit)
    figure = plt.figure(figsize=(9, 4))
    panels = []
    for number, side in enumerate(SIDES):
        ax = figure.add_subplot(1, 2, number + 1, projection="3d")
        shared = {"hemi": side, "view": view, "axes": ax, "figure": figure, "engine": "matplotlib"}
        shared |= {"surf_mesh": meshes[f"infl_{side}"], "bg_map": meshes[f"sulc_{side}"]}
        if np.isfinite(maps[side]).any():
            colors = {"cmap": scale.colors, "vmin": scale.low, "vmax": scale.high}
            plotting.plot_surf_stat_map(
                stat_map=maps[side], threshold=threshold, colorbar=False, **colors, **shared
            )
        else:
            plotting.plot_surf(**shared)
        ax.set_title(side, fontsize=9)
        panels.append(ax)
    figure.colorbar(
        ScalarMappable(scale.norm, scale.colors),
        ax=panels,
        label=_describe(values),
        shrink=0.6,
        extend=_extend(values, scale),
    )
    figure.suptitle(_name(values) if title is None else title, fontsize=11)
    return panels


def _to_image(values: xr.DataArray, like: Any) -> Any:
    """Return the values as an image of one volume, NaN where there are none."""
    return to_nifti(_check_values(values), like=like)


def _check_values(values: xr.DataArray) -> xr.DataArray:
    values = rename_aliases(values)
    if values.dims != (NEUROID,):
        others = [dim for dim in values.dims if dim != NEUROID]
        hint = f" Choose or average, e.g. values.mean({others[0]!r})." if others else ""
        raise LabelError(
            f"A map of the brain has the one dim 'neuroid'; these have {list_names(values.dims)}.{hint}"
        )
    if not np.isfinite(values.values).any():
        raise InputError("Every value is NaN: there is nothing to draw.")
    return values


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


def _make_scale(values: NDArray[Any], limit: float | None) -> _Scale:
    """Return limits and colours: diverging about 0 where values lie on both sides of it."""
    finite = values[np.isfinite(values)]
    if limit is not None and not limit > 0:
        raise InputError(f"limit={limit!r}: the scale ends above 0.")
    end = limit if limit is not None else float(np.percentile(np.abs(finite), 99)) or 1.0
    both = bool(finite.min() < 0)
    colors = plt.get_cmap("RdBu_r" if both else "viridis").with_extremes(bad=(0, 0, 0, 0))
    return _Scale(-end if both else 0.0, end, colors)


def _extend(values: xr.DataArray, scale: _Scale) -> Literal["neither", "both", "min", "max"]:
    """Say at which ends of the scale there are values beyond."""
    below = bool((values < scale.low).any())
    above = bool((values > scale.high).any())
    return "both" if below and above else "min" if below else "max" if above else "neither"


def _require_mni(like: Any, figure: str) -> None:
    """Refuse responses that say that they are in another space than the brain that is drawn."""
    space = like.attrs.get("space", "native") if isinstance(like, xr.DataArray) else "MNI"
    if not str(space).upper().startswith("MNI"):
        raise InputError(
            f"{figure} draws the standard brain, but these responses are in the space {space!r}. Draw them with "
            "plot.slices, or, if they are in MNI space, say so: read_bold(..., space='MNI152')."
        )


def _without_nan(image: Any) -> Any:
    return import_extra("nibabel").Nifti1Image(
        np.nan_to_num(image.get_fdata()).astype(np.float32), image.affine
    )


def _project(values: xr.DataArray, like: Any, meshes: Any) -> dict[str, NDArray[np.float64]]:
    """Return the value of every vertex of fsaverage5, NaN where there is none."""
    if "vertex" in values.coords and "hemisphere" in values.coords:
        return _place_vertices(values)
    if like is None:
        raise LabelError(
            "Neuroids have no coords 'vertex' and 'hemisphere', so that they must be projected from a volume: give "
            "the responses or the image they come from as like=."
        )
    _require_mni(like, "surface")
    project = import_extra("nilearn.surface").vol_to_surf
    image = _to_image(values, like)
    return {
        side: np.asarray(project(image, meshes[f"pial_{side}"], inner_mesh=meshes[f"white_{side}"]))
        for side in SIDES
    }


def _place_vertices(values: xr.DataArray) -> dict[str, NDArray[np.float64]]:
    """Put values on the vertices they name; those that fsaverage5 lacks are left out."""
    sides = values["hemisphere"].values.astype(str)
    vertices = values["vertex"].values.astype(np.int64)
    unknown = sorted(set(sides.tolist()) - set(SIDES))
    if unknown or (vertices < 0).any() or (vertices >= 163842).any():
        raise InputError(
            f"hemisphere must be 'left' or 'right' (found {list_names(unknown) or 'no other'}), and vertex one of "
            f"the 163842 of fsaverage (found {vertices.min()} to {vertices.max()})."
        )
    maps = {side: np.full(N_VERTICES, np.nan) for side in SIDES}
    for side in SIDES:
        here = (sides == side) & (vertices < N_VERTICES)
        maps[side][vertices[here]] = values.values[here]
    return maps


def _name(values: xr.DataArray) -> str:
    return str(values.attrs.get("long_name") or values.name or "")


def _describe(values: xr.DataArray) -> str:
    """Name measure and units."""
    units = values.attrs.get("units")
    name = str(values.name or "value").replace("_", " ")
    return f"{name} ({units})" if units else name
