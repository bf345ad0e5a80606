"""Models of RDMs beside each other: scores, ceilings and which differ."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from neurolens.errors import InputError, list_names
from neurolens.plot.profiles import BAND, INK
from neurolens.schema import SUBJECT

__all__ = ["models"]

STEP = 0.045  # of the height of the axes: between two lines of comparisons


def models(result: xr.Dataset, *, alpha: float = 0.05, sort: bool = False, ax: Axes | None = None) -> Axes:
    """Draw the scores of models as bars, with intervals, subjects, noise ceiling and what differs.

    A star at the foot of a bar says that its corrected p against chance is below `alpha`. In the lines above the
    bars, the dot marks a model and the ticks those that it beats: corrected p of the difference below `alpha`.

    Parameters
    ----------
    result
        Dataset of `neurolens.rsa.infer`: `score` over one dim (`model` or `op`).
    alpha
        Level of stars and comparisons.
    sort
        Whether to put the highest score first; else models are in the order given.
    ax
        Axes to draw on; a new figure without.

    Returns
    -------
    Axes
        One bar a model; one without a score has none.

    Raises
    ------
    InputError
        If this is not the result of `infer`.

    Examples
    --------
    >>> scores = {"score": ("model", [0.1, 0.3]), "ceiling_low": 0.4, "ceiling_high": 0.5}
    >>> ax = models(xr.Dataset(scores, {"model": ["edges", "kinds"]}))
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['edges', 'kinds']
    """
    dim = _find_dim(result)
    if sort:
        order = np.argsort(-result["score"].values, kind="stable")
        result = result.isel({name: order for name in (dim, f"{dim}_b") if name in result.dims})
    names = [str(name) for name in result[dim].values] if dim in result.coords else []
    n = result.sizes[dim]
    if ax is None:
        ax = plt.figure(figsize=(max(4.5, 2 + 0.55 * n), 5.2), layout="constrained").add_subplot()
    handles = [_draw_ceiling(ax, result), *_draw_bars(ax, result, dim)]
    handles += _draw_stars(ax, result, alpha)
    ax.axhline(0, color="0.3", linewidth=0.8)
    handles += _draw_comparisons(ax, result, dim, alpha)
    ax.set_xticks(
        range(n), names or [str(i) for i in range(n)], rotation=40, ha="right", rotation_mode="anchor"
    )
    ax.set_xlim(-0.7, n - 0.3)
    words = str(result.attrs.get("score_of", "score"))
    ax.set_ylabel(words.split(";")[0].replace(", mean", ",\nmean"))
    ax.spines[["top", "right"]].set_visible(False)
    ax.figure.legend(
        handles=[handle for handle in handles if handle],
        loc="outside upper center",
        ncols=1 if n < 7 else 2,
        frameon=False,
        fontsize=8,
    )
    return ax


def _find_dim(result: xr.Dataset) -> str:
    if not isinstance(result, xr.Dataset) or "score" not in result or result["score"].ndim != 1:
        what = (
            list_names(result["score"].dims)
            if isinstance(result, xr.Dataset) and "score" in result
            else "none"
        )
        raise InputError(
            f"plot.models draws the result of neurolens.rsa.infer, `score` over one dim; here it has {what}. "
            "Choose an entry of the rest: result.sel(...). For the operations of a network see plot.profile."
        )
    return str(result["score"].dims[0])


def _draw_ceiling(ax: Axes, result: xr.Dataset) -> Any:
    if "ceiling_low" not in result or np.isnan(float(result["ceiling_high"])):
        return Line2D([], [], linestyle="", label="no noise ceiling (needs several subjects)")
    low, high = float(result["ceiling_low"]), float(result["ceiling_high"])
    return ax.axhspan(low, high, color=BAND, alpha=0.25, linewidth=0, label="noise ceiling", zorder=0)


def _draw_bars(ax: Axes, result: xr.Dataset, dim: str) -> list[Any]:
    score = result["score"].values
    x = np.arange(len(score))
    ax.bar(x, np.nan_to_num(score), color=INK, alpha=0.75, width=0.7)
    handles: list[Any] = []
    if "ci_low" in result and not np.isnan(result["ci_low"]).all():
        reach = [score - result["ci_low"].values, result["ci_high"].values - score]
        bars = ax.errorbar(
            x, score, reach, fmt="none", ecolor="black", elinewidth=1.4, label="confidence interval"
        )
        handles.append(bars)
    if "score_subject" in result and result.sizes[SUBJECT] > 1:
        subjects = result["score_subject"].transpose(dim, SUBJECT).values
        shift = np.linspace(-0.22, 0.22, subjects.shape[1])
        style: dict[str, Any] = {"markersize": 2.6, "color": "0.35", "alpha": 0.8}
        dots = ax.plot(
            x[:, None] + shift, subjects, "o", label=f"each of {subjects.shape[1]} subjects", **style
        )
        handles.append(dots[0])
    return handles


def _draw_stars(ax: Axes, result: xr.Dataset, alpha: float) -> list[Any]:
    if "p_corrected" not in result or np.isnan(result["p_corrected"]).all():
        return []
    significant = np.flatnonzero(result["p_corrected"].values < alpha)
    for i in significant:
        ax.annotate(
            "*",
            (i, 0),
            (0, 1),
            textcoords="offset points",
            ha="center",
            va="baseline",
            color="white",
            fontsize=14,
        )
    label = f"above chance, corrected p < {alpha:g}"
    return [Line2D([], [], linestyle="", marker="$*$", color="0.3", label=label)]


def _draw_comparisons(ax: Axes, result: xr.Dataset, dim: str, alpha: float) -> list[Any]:
    """One line for each model that beats others, above everything that is drawn."""
    if "p_difference_corrected" not in result or np.isnan(result["p_difference_corrected"]).all():
        return []
    p = result["p_difference_corrected"].transpose(dim, f"{dim}_b").values
    difference = result["difference"].transpose(dim, f"{dim}_b").values
    beaten: NDArray[np.bool_] = (p < alpha) & (difference > 0)
    lines = [i for i in np.argsort(-result["score"].values, kind="stable") if beaten[i].any()]
    style: dict[str, Any] = {"color": "black", "clip_on": False, "transform": ax.get_xaxis_transform()}
    for line, i in enumerate(reversed(lines)):
        losers = np.flatnonzero(beaten[i])
        ends = np.r_[i, losers]
        y = 1.03 + STEP * line
        ax.plot([ends.min(), ends.max()], [y, y], linewidth=0.8, **style)
        ax.plot([i], [y], "o", markersize=5, **style)
        ax.plot(losers, np.full(len(losers), y), "|", markersize=6, **style)
    if not lines:
        return [Line2D([], [], linestyle="", label=f"no two models differ, corrected p < {alpha:g}")]
    label = f"better than each |, corrected p < {alpha:g}"
    return [Line2D([], [], color="black", marker="o", linewidth=0.8, markersize=5, label=label)]
