"""RDMs as images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.stats import rankdata

from neurolens.errors import InputError, check_choice, list_names
from neurolens.plot.thumbnails import choose_colors, draw_strip, group_stimuli, picture_stimuli
from neurolens.rsa.pairs import check_rdm, other_dims
from neurolens.schema import STIMULUS, STIMULUS_B
from neurolens.stimuli import Stimuli

Scale = Literal["percentile", "value"]
BAR, GAP = 0.025, 0.012  # of the side of a matrix: width of category bars, space beside them
MAX_LABELS = 30  # more stimulus names than this cannot be read on one axis


def rdm(
    rdm: xr.DataArray,
    *,
    by: str | None = None,
    scale: Scale = "percentile",
    images: Stimuli | None = None,
    title: str | None = None,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw one RDM, with bars for categories and pictures of the stimuli along its edges.

    Parameters
    ----------
    rdm
        DataArray (stimulus, stimulus_b). Dims of length 1 besides are dropped.
    by
        A coord of `stimulus`: stimuli are grouped by it (groups in order of appearance). Coloured bars along
        the edges and lines in the matrix mark the groups; their names replace those of the stimuli.
    scale
        "percentile": each entry's rank among all pairs, 0 to 100, which compares RDMs of different range;
        "value": dissimilarities as they are.
    images
        Stimuli, found by their ids: thumbnails along the upper and the left edge.
    title
        Written above; default: the operation, region or subject, if the RDM tells one.
    colorbar
        Whether to draw the scale.
    ax
        Axes to draw on; a new figure without.

    Returns
    -------
    Axes
        With one image, missing entries in grey.

    Raises
    ------
    InputError
        If there are several RDMs, or the scale is not known.
    LabelError
        If `by` is no coord of the stimuli, or a stimulus has no image.

    Examples
    --------
    >>> from scipy.spatial.distance import pdist, squareform
    >>> ids = ["cat", "dog", "car", "bus"]
    >>> square = squareform(pdist(np.random.default_rng(0).random((4, 5))))
    >>> array = xr.DataArray(square, {"stimulus": ids, "stimulus_b": ids}, ("stimulus", "stimulus_b"))
    >>> ax = rdm(array, by=None, title="four things")
    """
    check_choice(scale, ("percentile", "value"), "scale")
    check_rdm(rdm, "rdm")
    title = find_title(rdm) if title is None else title
    rdm = reduce_to_one(rdm)
    groups = {} if by is None else group_stimuli(rdm, by)
    order = np.concatenate(list(groups.values())) if groups else np.arange(rdm.sizes[STIMULUS])
    rdm = rdm.isel({STIMULUS: order, STIMULUS_B: order})
    square = rdm.values.astype(float)
    if ax is None:
        ax = plt.figure(
            figsize=(5.2, 4.6) if images is None else (7.4, 6.6), layout="constrained"
        ).add_subplot()
    colors = plt.get_cmap("viridis").with_extremes(bad="0.85")
    if scale == "percentile":
        image = ax.imshow(_to_percentile(square), cmap=colors, interpolation="nearest", vmin=0, vmax=100)
    else:
        image = ax.imshow(square, cmap=colors, interpolation="nearest")
    if colorbar:
        label = str(rdm.attrs.get("long_name", "dissimilarity"))
        text = f"{label} (percentile)" if scale == "percentile" else label
        ax.figure.colorbar(image, ax=ax, label=text, shrink=0.85)
    sizes = {name: len(members) for name, members in groups.items()}
    _mark_edges(ax, sizes, [] if images is None else picture_stimuli(rdm, images), title)
    if groups:
        _name_groups(ax, sizes, on_y=images is None)
    elif images is None:
        _mark_stimuli(ax, rdm[STIMULUS].values.tolist())
    else:
        ax.set(xticks=[], yticks=[], xlabel=f"{len(square)} stimuli")
    return ax


def rdms(
    rdms: Mapping[str, xr.DataArray], *, by: str | None = None, scale: Scale = "percentile"
) -> list[Axes]:
    """Draw RDMs side by side, each with its name.

    Parameters
    ----------
    rdms
        Mapping name -> DataArray (stimulus, stimulus_b).
    by, scale
        As in `rdm`, for all. By value, each panel has its own scale bar; by percentile, they share one.

    Returns
    -------
    list of Axes
        One a panel, in the order given.

    Raises
    ------
    InputError
        If `rdms` is empty.

    Examples
    --------
    >>> import numpy as np
    >>> import neurolens as nl
    >>> layer = xr.DataArray(np.random.rand(5, 9), {"stimulus": list("abcde")}, ("stimulus", "unit"))
    >>> panels = rdms({"edges": nl.rdm(layer), "colour": nl.rdm(layer**2)})
    >>> len(panels)
    2
    """
    if not rdms:
        raise InputError("rdms is empty; give at least one: {name: rdm}.")
    n = len(rdms)
    figure, axes = plt.subplots(1, n, figsize=(2.7 * n + 1.0, 3.3), layout="constrained", squeeze=False)
    panels = [
        rdm(one, by=by, scale=scale, title=name, colorbar=scale == "value", ax=ax)
        for (name, one), ax in zip(rdms.items(), axes[0], strict=True)
    ]
    for ax in panels[1:]:  # the names of the first hold for all
        ax.set_yticklabels([])
        ax.set_ylabel("")
    if scale == "percentile":
        figure.colorbar(panels[-1].images[0], ax=panels, label="dissimilarity (percentile)", shrink=0.75)
    return panels


def reduce_to_one(rdm: xr.DataArray) -> xr.DataArray:
    """Drop dims of length 1; several RDMs are an error that says how to choose."""
    several = [dim for dim in other_dims(rdm) if rdm.sizes[dim] > 1]
    if several:
        raise InputError(
            f"rdm holds several RDMs, over {list_names(several)}. Choose one, rdm.isel({several[0]}=0), "
            "or draw some side by side: plot.rdms({name: rdm, ...})."
        )
    return rdm.squeeze(other_dims(rdm), drop=True)


def find_title(rdm: xr.DataArray) -> str:
    """Say whose RDM this is, as far as its labels tell."""
    names = [
        str(rdm[dim].values.item()) for dim in ("model", "op", "region", "subject") if _is_single(rdm, dim)
    ]
    return ", ".join(names) or str(rdm.attrs.get("address", ""))


def _is_single(rdm: xr.DataArray, coord: str) -> bool:
    return coord in rdm.coords and rdm[coord].size == 1


def _to_percentile(square: NDArray[Any]) -> NDArray[Any]:
    """Rank the pairs of the upper triangle; the diagonal stays 0, missing pairs stay missing."""
    rows, columns = np.triu_indices(len(square), 1)
    pairs = square[rows, columns]
    known = ~np.isnan(pairs)
    ranks = np.full(pairs.shape, np.nan)
    ranks[known] = 100 * rankdata(pairs[known]) / max(known.sum(), 1)
    out = np.zeros_like(square)
    out[rows, columns] = out[columns, rows] = ranks
    return out


def _mark_edges(ax: Axes, groups: dict[str, int], pictures: list[NDArray[np.uint8]], title: str) -> None:
    """Put bars of categories, then thumbnails, then the title around a matrix."""
    reach = 0.0
    if groups:
        edges = np.r_[0, np.cumsum(list(groups.values()))] - 0.5
        for edge in edges[1:-1]:
            ax.axhline(edge, color="white", linewidth=0.8)
            ax.axvline(edge, color="white", linewidth=0.8)
        _draw_bars(ax, edges)
        reach = GAP + BAR
    if pictures:
        reach += GAP
        draw_strip(ax, pictures, reach, "left")
        reach = draw_strip(ax, pictures, reach, "top")
    ax.set_title(title, fontsize=10, y=1 + reach)


def _draw_bars(ax: Axes, edges: NDArray[Any]) -> None:
    for low, high, color in zip(edges[:-1], edges[1:], choose_colors(len(edges) - 1), strict=True):
        for start, size, transform in (
            ((low, 1 + GAP), (high - low, BAR), ax.get_xaxis_transform()),
            ((-GAP - BAR, low), (BAR, high - low), ax.get_yaxis_transform()),
        ):
            ax.add_patch(
                Rectangle(start, *size, color=color, transform=transform, clip_on=False, linewidth=0)
            )


def _name_groups(ax: Axes, groups: dict[str, int], *, on_y: bool) -> None:
    edges = np.r_[0, np.cumsum(list(groups.values()))] - 0.5
    centres = (edges[1:] + edges[:-1]) / 2
    names = list(groups)
    ax.set_xticks(centres, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_yticks(centres if on_y else [], names if on_y else [], fontsize=8)
    ax.tick_params(axis="x", length=0)
    ax.tick_params(axis="y", length=0, pad=14)  # beside the bars


def _mark_stimuli(ax: Axes, ids: list[Any]) -> None:
    if len(ids) > MAX_LABELS:
        ax.set_xlabel(f"{len(ids)} stimuli")
        ax.set_ylabel(f"{len(ids)} stimuli")
        ax.set_xticks([])
        ax.set_yticks([])
        return
    ax.set_xticks(range(len(ids)), ids, rotation=90, fontsize=7)
    ax.set_yticks(range(len(ids)), ids, fontsize=7)
