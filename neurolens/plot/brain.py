"""Values of voxels and vertices on a standard brain: the glass brain, the cortical surface."""

from __future__ import annotations

from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from numpy.typing import NDArray

from neurolens.brain.extras import import_extra
from neurolens.errors import InputError, LabelError, check_choice, list_names
from neurolens.plot.maps import check_map, describe_map, find_beyond, make_image, make_scale, name_map

__all__ = ["glass_brain", "surface"]

View = Literal["lateral", "medial", "ventral", "dorsal", "posterior"]

SIDES = ("left", "right")
N_VERTICES = 10242  # of fsaverage5, which are also the first ones of fsaverage


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
    image = make_image(values, like)
    scale = make_scale(values.values, limit)
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
    figure.suptitle(name_map(values) if title is None else title, fontsize=11)
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
    values = check_map(values)
    maps = _project(values, like, meshes)
    scale = make_scale(values.values, limit)
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
        label=describe_map(values),
        shrink=0.6,
        extend=find_beyond(values, scale),
    )
    figure.suptitle(name_map(values) if title is None else title, fontsize=11)
    return panels


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
    image = make_image(values, like)
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
