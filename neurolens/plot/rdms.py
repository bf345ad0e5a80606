"""RDMs as images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.stats import rankdata

from neurolens.errors import InputError, LabelError, check_choice, list_names
from neurolens.rsa.pairs import check_rdm, other_dims
from neurolens.schema import STIMULUS

Scale = Literal["percentile", "value"]
MAX_LABELS = 30  # more stimulus names than this cannot be read on one axis


def rdm(
    rdm: xr.DataArray,
    *,
    by: str | None = None,
    scale: Scale = "percentile",
    title: str | None = None,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw one RDM.

    Parameters
    ----------
    rdm
        DataArray (stimulus, stimulus_b). Dims of length 1 besides are dropped.
    by
        A coord of `stimulus`: stimuli are grouped by it (groups in order of appearance), lines part the
        groups and their names replace those of the stimuli.
    scale
        "percentile": each entry's rank among all pairs, 0 to 100, which compares RDMs of different range;
        "value": dissimilarities as they are.
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
        If `by` is no coord of the stimuli.

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
    title = _find_title(rdm) if title is None else title
    rdm = _reduce_to_one(rdm)
    order, groups = _order_by(rdm, by)
    square = rdm.values[np.ix_(order, order)].astype(float)
    if ax is None:
        ax = plt.figure(figsize=(5.2, 4.6), layout="constrained").add_subplot()
    colors = plt.get_cmap("viridis").with_extremes(bad="0.85")
    if scale == "percentile":
        image = ax.imshow(_to_percentile(square), cmap=colors, interpolation="nearest", vmin=0, vmax=100)
    else:
        image = ax.imshow(square, cmap=colors, interpolation="nearest")
    if colorbar:
        label = str(rdm.attrs.get("long_name", "dissimilarity"))
        text = f"{label} (percentile)" if scale == "percentile" else label
        ax.figure.colorbar(image, ax=ax, label=text, shrink=0.85)
    ax.set_title(title, fontsize=10)
    if groups:
        _mark_groups(ax, groups)
    else:
        _mark_stimuli(ax, rdm[STIMULUS].values.tolist())
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
    figure, axes = plt.subplots(1, n, figsize=(3.4 * n + 1.2, 4.0), layout="constrained", squeeze=False)
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


def _reduce_to_one(rdm: xr.DataArray) -> xr.DataArray:
    several = [dim for dim in other_dims(rdm) if rdm.sizes[dim] > 1]
    if several:
        raise InputError(
            f"rdm holds several RDMs, over {list_names(several)}. Choose one, rdm.isel({several[0]}=0), "
            "or draw some side by side: plot.rdms({name: rdm, ...})."
        )
    return rdm.squeeze(other_dims(rdm), drop=True)


def _find_title(rdm: xr.DataArray) -> str:
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


def _order_by(rdm: xr.DataArray, by: str | None) -> tuple[NDArray[np.intp], list[tuple[str, int]]]:
    """Return the order of stimuli, and name and size of each group (none without `by`)."""
    n_stimuli = rdm.sizes[STIMULUS]
    if by is None:
        return np.arange(n_stimuli), []
    columns = [str(name) for name, coord in rdm.coords.items() if coord.dims == (STIMULUS,)]
    if by not in columns:
        raise LabelError(f"by={by!r} is no coord of the stimuli; there are {list_names(columns)}.")
    labels = rdm[by].values.astype(str)
    names = list(dict.fromkeys(labels.tolist()))
    members = [np.flatnonzero(labels == name) for name in names]
    return np.concatenate(members), [(name, len(m)) for name, m in zip(names, members, strict=True)]


def _mark_groups(ax: Axes, groups: list[tuple[str, int]]) -> None:
    edges = np.r_[0, np.cumsum([size for _, size in groups])] - 0.5
    for edge in edges[1:-1]:
        ax.axhline(edge, color="white", linewidth=0.8)
        ax.axvline(edge, color="white", linewidth=0.8)
    centres = (edges[1:] + edges[:-1]) / 2
    names = [name for name, _ in groups]
    ax.set_xticks(centres, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_yticks(centres, names, fontsize=8)
    ax.tick_params(length=0)


def _mark_stimuli(ax: Axes, ids: list[Any]) -> None:
    if len(ids) > MAX_LABELS:
        ax.set_xlabel(f"{len(ids)} stimuli")
        ax.set_ylabel(f"{len(ids)} stimuli")
        ax.set_xticks([])
        ax.set_yticks([])
        return
    ax.set_xticks(range(len(ids)), ids, rotation=90, fontsize=7)
    ax.set_yticks(range(len(ids)), ids, fontsize=7)
