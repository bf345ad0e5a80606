"""Scores over time."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import NDArray

from neurolens.errors import InputError, list_names
from neurolens.plot.profiles import BAND
from neurolens.plot.thumbnails import choose_colors
from neurolens.schema import SUBJECT, TIME, require_dims

__all__ = ["timecourse"]

MAX_LINES = 10  # more cannot be told apart
STEP = 0.035  # of the height of the axes: between two lines of significant times


def timecourse(
    scores: xr.DataArray,
    *,
    clusters: xr.Dataset | None = None,
    ceiling: xr.Dataset | None = None,
    alpha: float = 0.05,
    chance: float = 0.0,
    ax: Axes | None = None,
) -> Axes:
    """Draw scores over time, one line a model or operation: the mean over subjects and its standard error.

    Parameters
    ----------
    scores
        DataArray ([op, model or any one dim,] [subject,] time), e.g. of `compare_rdms`.
    clusters
        Dataset of `find_clusters` for these scores: below the lines, bars run where `p` is below `alpha`.
    ceiling
        Dataset with `ceiling_low` and `ceiling_high`, over time or one for all times: a band.
    alpha
        Level of the bars.
    chance
        Where the dotted line lies.
    ax
        Axes to draw on; a new figure without.

    Returns
    -------
    Axes
        x is `time`, as labelled.

    Raises
    ------
    LabelError
        If there is no dim `time`.
    InputError
        If there are more dims, more than 10 lines, or clusters of other entries.

    Examples
    --------
    >>> values = np.random.default_rng(0).random((2, 5, 30))
    >>> coords = {"op": ["conv", "fc"], "time": np.arange(30) / 100}
    >>> ax = timecourse(xr.DataArray(values, coords, ("op", "subject", "time")))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['conv', 'fc']
    """
    require_dims(scores, TIME, what="A time course")
    dim, scores = _find_lines(scores)
    names = [str(name) for name in scores[dim].values]
    time = scores[TIME].values if TIME in scores.coords else np.arange(scores.sizes[TIME])
    if ax is None:
        ax = plt.figure(figsize=(7.4, 4.2), layout="constrained").add_subplot()
    if ceiling is not None:
        _draw_ceiling(ax, ceiling, time)
    ax.axhline(chance, color="0.5", linewidth=0.9, linestyle=":")
    if time.dtype.kind in "fiu" and time.min() < 0 < time.max():
        ax.axvline(0, color="0.8", linewidth=0.9, zorder=0)
    colors = choose_colors(len(names))
    for name, one, color in zip(names, scores.transpose(dim, ..., TIME), colors, strict=True):
        _draw_line(ax, one, time, name, color)
    if clusters is not None:
        _draw_clusters(ax, _follow(clusters, scores, dim), time, colors, alpha)
    units = str(scores[TIME].attrs.get("units", "")) if TIME in scores.coords else ""
    ax.set_xlabel(f"time ({units})" if units else "time")
    ax.set_ylabel(str(scores.attrs.get("long_name", scores.name or "score")))
    ax.spines[["top", "right"]].set_visible(False)
    if names != [""] or ceiling is not None:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    return ax


def _find_lines(scores: xr.DataArray) -> tuple[str, xr.DataArray]:
    """Return the dim that tells lines apart; a single line has one of its own."""
    others = [str(dim) for dim in scores.dims if dim not in (SUBJECT, TIME)]
    if len(others) > 1:
        raise InputError(
            f"plot.timecourse draws one line for each entry of one dim; there are {list_names(others)}. Choose an "
            f"entry, scores.isel({others[-1]}=0); two times are drawn by plot.similarity."
        )
    if not others:
        return "line", scores.expand_dims(line=[""])
    if scores.sizes[others[0]] > MAX_LINES:
        raise InputError(
            f"{scores.sizes[others[0]]} lines cannot be told apart; choose up to {MAX_LINES}, scores.sel("
            f"{others[0]}=[...]), or draw all as colours: plot.similarity(scores.mean('subject'))."
        )
    if others[0] not in scores.coords:
        scores = scores.assign_coords({others[0]: np.arange(scores.sizes[others[0]])})
    return others[0], scores


def _draw_line(ax: Axes, one: xr.DataArray, time: NDArray[Any], name: str, color: Any) -> None:
    if SUBJECT not in one.dims:
        ax.plot(time, one.values, color=color, linewidth=2, label=name or None)
        return
    values = one.transpose(SUBJECT, TIME).values
    mean = values.mean(axis=0)
    ax.plot(time, mean, color=color, linewidth=2, label=name or None)
    if len(values) > 1:
        error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        ax.fill_between(time, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)


def _draw_ceiling(ax: Axes, ceiling: xr.Dataset, time: NDArray[Any]) -> None:
    missing = [name for name in ("ceiling_low", "ceiling_high") if name not in ceiling]
    if missing:
        raise InputError(f"ceiling lacks {list_names(missing)}; expected what rsa.noise_ceiling gives.")
    low, high = (
        np.broadcast_to(ceiling[name].values, time.shape) for name in ("ceiling_low", "ceiling_high")
    )
    ax.fill_between(time, low, high, color=BAND, alpha=0.25, linewidth=0, label="noise ceiling", zorder=0)


def _follow(clusters: xr.Dataset, scores: xr.DataArray, dim: str) -> NDArray[Any]:
    """Return p of clusters, shape (n_lines, n_times)."""
    p = clusters["p"] if dim in clusters["p"].dims else clusters["p"].expand_dims({dim: scores[dim].values})
    wanted = {name: scores.sizes[name] for name in (dim, TIME)}
    if {**p.sizes} != wanted:
        raise InputError(
            f"clusters are over {dict(p.sizes)}, scores over {wanted}: find them for these scores."
        )
    return np.asarray(p.transpose(dim, TIME).values)


def _draw_clusters(ax: Axes, p: NDArray[Any], time: NDArray[Any], colors: list[Any], alpha: float) -> None:
    """Draw a bar for each line below the data, where its clusters are."""
    low, high = ax.get_ylim()
    ax.set_ylim(low - (high - low) * STEP * (len(p) + 1), high)
    step = np.median(np.diff(time)) if len(time) > 1 else 1.0
    for row, (one, color) in enumerate(zip(p, colors, strict=True)):
        inside = np.flatnonzero(one < alpha)
        for run in np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1):
            if len(run):
                ends = [time[run[0]] - step / 2, time[run[-1]] + step / 2]
                y = STEP * (len(p) - row) - STEP / 2
                ax.plot(
                    ends,
                    [y, y],
                    color=color,
                    linewidth=3,
                    solid_capstyle="butt",
                    transform=ax.get_xaxis_transform(),
                )
