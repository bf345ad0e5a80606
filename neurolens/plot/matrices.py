"""Scores over two dims: layer by layer, time by time, operation by time."""

from __future__ import annotations

from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from neurolens.errors import InputError, list_names
from neurolens.plot.blocks import find_blocks
from neurolens.plot.rdms import MAX_LABELS
from neurolens.schema import OP, TIME

__all__ = ["similarity"]

NARROW = 0.02  # of all operations: a module with fewer has no room for its name


def similarity(
    scores: xr.DataArray, *, marked: xr.DataArray | None = None, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw scores over two dims as colours: layers by layers, times by times, or operations by times.

    Parameters
    ----------
    scores
        DataArray over any two dims, e.g. (op, op_b) of `compare_rdms` or of `compare_representations`; other dims of
        length 1 are dropped. The first dim runs down, the second across; dims of numbers keep their scale.
    marked
        DataArray of booleans over the same dims, e.g. `find_clusters(...).p < 0.05`: outlined.
    title
        Written above.
    ax
        Axes to draw on; a new figure without.

    Returns
    -------
    Axes
        With one image; missing scores are grey. Scores of both signs are coloured about 0.

    Raises
    ------
    InputError
        If there are not two dims, or `marked` has others.

    Examples
    --------
    >>> names = ["conv", "fc"]
    >>> cka = xr.DataArray([[1.0, 0.3], [0.3, 1.0]], {"op": names, "op_b": names}, ("op", "op_b"))
    >>> ax = similarity(cka)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('op_b', 'op')
    """
    scores = _check_two_dims(scores)
    down, across = (str(dim) for dim in scores.dims)
    values = scores.values.astype(float)
    if ax is None:
        ax = plt.figure(figsize=_choose_size(*values.shape), layout="constrained").add_subplot()
    colors = plt.get_cmap("RdBu_r" if (values < 0).any() else "viridis").with_extremes(bad="0.85")
    limit = float(np.nanmax(np.abs(values), initial=0)) or 1.0
    low = -limit if (values < 0).any() else 0.0
    aspect: Literal["equal", "auto"] = "equal" if _are_alike(scores) else "auto"
    image = ax.imshow(values, cmap=colors, interpolation="nearest", vmin=low, vmax=limit, aspect=aspect)
    label = str(scores.attrs.get("long_name", scores.name or "similarity"))
    ax.figure.colorbar(image, ax=ax, label=label, shrink=0.85 if aspect == "equal" else 1.0)
    if marked is not None:
        _outline(ax, _follow(marked, scores))
    _name(ax, scores, across, "x")
    _name(ax, scores, down, "y")
    if across.removesuffix("_b") == down.removesuffix("_b") == TIME:
        ax.invert_yaxis()  # time runs up and to the right
    ax.set_title(title, fontsize=10)
    return ax


def _check_two_dims(scores: xr.DataArray) -> xr.DataArray:
    if not isinstance(scores, xr.DataArray):
        raise InputError(
            f"plot.similarity draws a DataArray; this is a {type(scores).__name__}. Of a Dataset choose a "
            "variable, e.g. result.score."
        )
    long = [dim for dim in scores.dims if scores.sizes[dim] > 1]
    if scores.ndim < 2 or len(long) > 2:
        raise InputError(
            f"plot.similarity draws scores over two dims; these have {list_names(scores.dims)}. Choose an entry of "
            f"the rest, or average over it: scores.mean({str(scores.dims[0])!r})."
        )
    spare = [dim for dim in scores.dims if dim not in long][: scores.ndim - 2]
    return scores.squeeze(spare, drop=True)


def _follow(marked: xr.DataArray, scores: xr.DataArray) -> NDArray[np.bool_]:
    if set(marked.dims) != set(scores.dims) or any(marked.sizes[d] != scores.sizes[d] for d in scores.dims):
        raise InputError(
            f"marked must be over the dims of the scores, {dict(scores.sizes)}; it has {dict(marked.sizes)}."
        )
    return np.asarray(marked.transpose(*scores.dims).values, dtype=bool)


def _are_alike(scores: xr.DataArray) -> bool:
    """Whether both dims are of one kind, so that the matrix should be square."""
    down, across = (str(dim) for dim in scores.dims)
    return down.removesuffix("_b") == across.removesuffix("_b")


def _choose_size(n_down: int, n_across: int) -> tuple[float, float]:
    return 2.6 + min(5.0, max(2.4, 0.28 * n_across)), 1.4 + min(5.0, max(2.4, 0.28 * n_down))


def _name(ax: Axes, scores: xr.DataArray, dim: str, axis: str) -> None:
    """Write labels where they can be read: all of a few, round values of numbers, modules of many operations."""
    labels = scores[dim].values if dim in scores.coords else np.arange(scores.sizes[dim])
    units = str(scores[dim].attrs.get("units", "")) if dim in scores.coords else ""
    title, is_number = f"{dim} ({units})" if units else dim, labels.dtype.kind in "fiu"
    places: list[float]
    if is_number and len(labels) > 8:
        places = [float(i) for i in np.unique(np.linspace(0, len(labels) - 1, 6).astype(int))]
    else:
        places = [float(i) for i in range(len(labels))]
    if is_number:
        texts = _round([float(labels[int(i)]) for i in places])
    elif len(labels) <= MAX_LABELS:
        texts = [str(label) for label in labels]
    else:
        places, texts = _place_modules(scores, dim)
        title = f"{len(labels)} {dim.removesuffix('_b')}s, in order"
    if axis == "x":
        turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        ax.set_xticks(places, texts, fontsize=8, **({} if is_number else turned))
        ax.set_xlabel(title)
    else:
        ax.set_yticks(places, texts, fontsize=8)
        ax.set_ylabel(title)


def _round(values: list[float]) -> list[str]:
    """Write numbers with the digits that tell neighbours apart."""
    step = float(np.min(np.abs(np.diff(values)), initial=np.inf)) if len(values) > 1 else 1.0
    digits = max(0, 1 - int(np.floor(np.log10(step)))) if 0 < step < 1 else 0
    return [f"{value:.{digits}f}" if value % 1 else f"{value:.0f}" for value in values]


def _place_modules(scores: xr.DataArray, dim: str) -> tuple[list[float], list[str]]:
    """Return the centres and names of the modules of many operations, as far as these are known."""
    modules = scores.coords.get("module")
    if dim.removesuffix("_b") != OP or modules is None or modules.size != scores.sizes[dim]:
        return [], []
    blocks = find_blocks(modules.values.tolist())
    wide = [block for block in blocks if block.stop - block.start >= NARROW * scores.sizes[dim]]
    return [(block.start + block.stop - 1) / 2 for block in wide], [block.name or "model" for block in wide]


def _outline(ax: Axes, marked: NDArray[np.bool_]) -> None:
    """Draw the borders between what is marked and what is not."""
    padded = np.pad(marked, 1)
    rows, columns = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    across = [[(c - 0.5, r - 0.5), (c + 0.5, r - 0.5)] for r, c in zip(rows, columns, strict=True)]
    rows, columns = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    down = [[(c - 0.5, r - 0.5), (c - 0.5, r + 0.5)] for r, c in zip(rows, columns, strict=True)]
    ax.add_collection(LineCollection([*across, *down], colors="black", linewidths=1.4), autolim=False)
