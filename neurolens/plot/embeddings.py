"""Stimuli as points whose distances follow an RDM."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from numpy.typing import NDArray
from sklearn.manifold import smacof

from neurolens.errors import InputError, list_names
from neurolens.plot.rdms import MAX_LABELS, find_title, reduce_to_one
from neurolens.plot.thumbnails import SIDE, choose_colors, count_rounds, group_stimuli, picture_stimuli
from neurolens.rsa.pairs import check_rdm
from neurolens.schema import STIMULUS
from neurolens.stimuli import Stimuli

__all__ = ["mds"]

N_ITERATIONS = 1000
CONVERGED = 1e-6  # of the stress: what an iteration must gain to be followed by another
MARKERS = (
    "o",
    "s",
    "^",
    "D",
    "v",
    "P",
    "X",
    "<",
    ">",
    "*",
)  # of points, and lines of frames: the next for each
LINES = ("-", "--", ":", "-.")  # ten categories, whose colours come again


def mds(
    rdm: xr.DataArray,
    *,
    by: str | None = None,
    images: Stimuli | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw stimuli in a plane in which their distances follow the dissimilarities (metric scaling).

    The points minimise the stress sum (d - delta)², from the two leading classical dimensions on: there is
    nothing random in it. The stress that is left, sqrt(sum (d - delta)² / sum delta²), is written below: 0 is a
    perfect plane, and what a plane cannot show of an RDM is often most of it. Rotation and sign mean nothing.

    Parameters
    ----------
    rdm
        DataArray (stimulus, stimulus_b), without missing entries. Dims of length 1 besides are dropped.
        Negative dissimilarities (crossnobis) count as 0.
    by
        A coord of `stimulus`: its values are told apart by colour, more than ten of them by marker (or the line
        around a thumbnail) too.
    images
        Stimuli, found by their ids: thumbnails in place of points.
    title
        Written above; default: the operation, region or subject, if the RDM tells one.
    ax
        Axes to draw on; a new figure without.

    Returns
    -------
    Axes
        One point, or thumbnail, a stimulus; equal scales.

    Raises
    ------
    InputError
        If there are several RDMs, missing entries, or all dissimilarities are 0.
    LabelError
        If `by` is no coord of the stimuli, or a stimulus has no image.

    References
    ----------
    Kruskal (1964), Psychometrika 29:1, doi:10.1007/BF02289565 (stress).
    de Leeuw & Mair (2009), Journal of Statistical Software 31(3), doi:10.18637/jss.v031.i03 (majorisation).

    Examples
    --------
    >>> from scipy.spatial.distance import pdist, squareform
    >>> ids = ["cat", "dog", "car", "bus"]
    >>> square = squareform(pdist(np.random.default_rng(0).random((4, 2))))
    >>> ax = mds(xr.DataArray(square, {"stimulus": ids, "stimulus_b": ids}, ("stimulus", "stimulus_b")))
    >>> ax.get_xlabel()
    'metric MDS, stress 0.00'
    """
    check_rdm(rdm, "rdm")
    title = find_title(rdm) if title is None else title
    rdm = reduce_to_one(rdm)
    points, stress = _embed(_check_complete(rdm))
    groups = {"": np.arange(rdm.sizes[STIMULUS])} if by is None else group_stimuli(rdm, by)
    pictures = None if images is None else picture_stimuli(rdm, images)
    if ax is None:
        ax = plt.figure(figsize=(5.6, 5.4), layout="constrained").add_subplot()
    looks = zip(choose_colors(len(groups)), count_rounds(len(groups)), strict=True)
    for (name, members), (color, n_before) in zip(groups.items(), looks, strict=True):
        marker, line = MARKERS[n_before % len(MARKERS)], LINES[n_before % len(LINES)]
        ax.plot(*points[members].T, marker, color=color, label=name or None, markersize=6)
        for i in members if pictures is not None else ():
            assert pictures is not None
            frame = {"edgecolor": color if by else "0.6", "linestyle": line}
            _draw_picture(ax, points[i], pictures[i], frame, len(points))
    if pictures is None and len(points) <= MAX_LABELS:
        for place, name in zip(points, rdm[STIMULUS].values.tolist(), strict=True):
            ax.annotate(str(name), place, (4, 4), textcoords="offset points", fontsize=7)
    ax.set_title(title, fontsize=10)
    ax.set(xticks=[], yticks=[], xlabel=f"metric MDS, stress {stress:.2f}")
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.1)
    if by is not None:
        columns = min(3, len(groups))
        ax.figure.legend(loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    return ax


def _check_complete(rdm: xr.DataArray) -> NDArray[np.float64]:
    square = rdm.values.astype(np.float64)
    lacking = np.isnan(square).sum(axis=1) >= max(1, len(square) // 2)
    if np.isnan(square).any():
        names = rdm[STIMULUS].values[lacking if lacking.any() else np.isnan(square).any(axis=1)]
        raise InputError(
            f"Points need all dissimilarities; entries of {list_names(names.tolist(), 5)} are missing (NaN). "
            "Leave these stimuli out: rdm.drop_sel(stimulus=ids, stimulus_b=ids)."
        )
    square = np.maximum((square + square.T) / 2, 0)
    np.fill_diagonal(square, 0)
    if not square.any():
        raise InputError("All dissimilarities are 0 (or below): every stimulus lies at one point.")
    return square


def _embed(square: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return points and what is left of the stress; signs are fixed so that runs look alike."""
    centred = -0.5 * square**2
    centred -= centred.mean(axis=0)
    centred -= centred.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)
    start = vectors[:, -2:][:, ::-1] * np.sqrt(np.maximum(values[-2:][::-1], 0))
    start *= np.where(start[np.abs(start).argmax(axis=0), [0, 1]] < 0, -1, 1)
    options: dict[str, Any] = {"n_init": 1, "max_iter": N_ITERATIONS, "eps": CONVERGED}
    points = smacof(square, metric=True, n_components=2, init=start, normalized_stress=False, **options)[0]
    reached = np.linalg.norm(points[:, None] - points, axis=2)
    return points, float(np.sqrt(((reached - square) ** 2).sum() / (square**2).sum()))


def _draw_picture(
    ax: Axes, place: NDArray[np.float64], picture: NDArray[np.uint8], frame: dict[str, Any], n: int
) -> None:
    zoom = np.clip(220 / np.sqrt(n), 18, 40) / SIDE  # points of a side: fewer, where there are many
    box = AnnotationBbox(
        OffsetImage(picture, zoom=zoom),
        tuple(place),
        pad=0.12,
        bboxprops={"linewidth": 1.6, **frame},
    )
    ax.add_artist(box)
