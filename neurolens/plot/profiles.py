"""Profiles: the score of every operation, over the depth of the network."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from neurolens.errors import InputError, check_choice, list_names
from neurolens.plot.blocks import Block, find_blocks
from neurolens.schema import MODEL, OP, REGION, SUBJECT

INK, BAND, CONTROL = "#0072B2", "#E69F00", "0.45"  # told apart by colour-blind readers too
GAP = 0.03  # of the axis: names of blocks closer than this would overlap


def profile(
    profile: xr.Dataset,
    *,
    control: xr.Dataset | Sequence[xr.Dataset] = (),
    control_label: str = "control",
    region: str | None = None,
    by: Literal["module"] | None = None,
    alpha: float = 0.05,
    ax: Axes | None = None,
) -> Axes:
    """Draw the score of every operation over the depth of the network.

    The mean over subjects is bold, each subject faint. The band is the noise ceiling that belongs to this
    mean; where a single RDM has none, the legend says so. Intervals and untrained twins are shaded where the
    profile has them. Ticks at the bottom mark operations whose corrected
    p is below `alpha`; brackets below the axis name the modules.

    Parameters
    ----------
    profile
        Profile of `compare`: Dataset with `score` (op[, region]).
    control
        Profile, or several, of the same comparison with another model, e.g. untrained twins; grey.
    control_label
        What to call it in the legend.
    region
        Which region, where the profile has several.
    by
        "module": only the last operation of each block of modules; None: every operation.
    alpha
        Level of the marks of significance.
    ax
        Axes to draw on; a new figure without.

    Returns
    -------
    Axes
        x is `depth` (0 input, 1 output), or the order of operations where the profile tells no depth.

    Raises
    ------
    InputError
        If the region is missing or not known, or `by` is not known.

    Examples
    --------
    >>> score = xr.Dataset({"score": ("op", [0.1, 0.3])}, {"op": ["conv", "fc"], "depth": ("op", [0.0, 1.0])})
    >>> profile(score).get_xlabel()
    'depth (0 input, 1 output)'
    """
    if by is not None:
        check_choice(by, ("module",), "by")
    title = _find_title(profile, region)
    data = _prepare(profile, region)
    blocks = find_blocks(data["module"].values.tolist()) if "module" in data.coords else []
    if ax is None:
        ax = plt.figure(figsize=(9, 5), layout="constrained").add_subplot()
    x = _find_x(data)
    shown = _choose(blocks, len(x), by)
    ax.margins(x=0.02, y=0.09)  # room for the marks at the bottom
    ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    handles = [_draw_ceiling(ax, data), _draw_untrained(ax, data, x, shown)]
    controls = [control] if isinstance(control, xr.Dataset) else list(control)
    handles += _draw_controls(ax, controls, region, control_label, by)
    handles += _draw_interval(ax, data, x, shown)
    handles += _draw_scores(ax, data, x, shown, "o" if by else "")
    handles += _draw_significance(ax, data.isel({OP: shown}), x[shown], alpha)
    _draw_blocks(ax, blocks, x)
    _label(ax, data, title, [handle for handle in handles if handle])
    return ax


def _prepare(profile: xr.Dataset, region: str | None) -> xr.Dataset:
    """Choose the region and sort operations by depth (branches run side by side)."""
    if not isinstance(profile, xr.Dataset):
        raise InputError(
            f"This is a {type(profile).__name__}, no profile; expected a Dataset with `score` over {OP!r}, as "
            "nl.compare gives it. Of an array of scores: scores.to_dataset(name='score')."
        )
    if "score" not in profile or OP not in profile["score"].dims:
        raise InputError(
            f"This is no profile: it has {list_names(profile.data_vars)}; expected `score` over {OP!r}, as "
            "nl.compare gives it."
        )
    data = _choose_region(profile, region)
    extra = [dim for dim in data["score"].dims if dim != OP]
    if extra:
        raise InputError(
            f"The profile has the dims {list_names(extra)} besides {OP!r}; choose an entry to draw: "
            f"profile.sel({extra[0]}=...)."
        )
    if MODEL in data.coords:  # of several models: what this one does not have
        data = data.isel({OP: data["score"].notnull().values})
    if "depth" in data.coords:
        data = data.isel({OP: np.argsort(data["depth"].values, kind="stable")})
    return data


def _choose_region(profile: xr.Dataset, region: str | None) -> xr.Dataset:
    if REGION not in profile.dims:
        if region is not None:
            raise InputError(f"region={region!r}, but the profile has no dim {REGION!r}.")
        return profile
    regions = profile[REGION].values.tolist()
    if region is None and len(regions) > 1:
        raise InputError(
            f"The profile has the regions {list_names(regions)}; choose one: region={regions[0]!r}."
        )
    if region is not None:
        check_choice(region, regions, "region")
    return profile.sel({REGION: region if region is not None else regions[0]})


def _find_title(profile: xr.Dataset, region: str | None) -> str:
    model = str(profile.attrs.get("model", ""))
    known = [str(r) for r in profile[REGION].values] if REGION in profile.coords and region is None else []
    place = region or (known[0] if len(known) == 1 else "")
    return " · ".join(part for part in (model, place) if part)


def _find_x(data: xr.Dataset) -> NDArray[Any]:
    if "depth" in data.coords:
        return np.asarray(data["depth"].values, dtype=float)
    return np.arange(data.sizes[OP], dtype=float)


def _choose(blocks: list[Block], n_ops: int, by: str | None) -> NDArray[np.intp]:
    if by is None:
        return np.arange(n_ops)
    if not blocks:
        raise InputError('by="module" needs the coord `module` on `op`, which this profile does not have.')
    return np.array([block.stop - 1 for block in blocks])


def _draw_ceiling(ax: Axes, data: xr.Dataset) -> Any:
    if "ceiling_low" not in data:
        return None
    low, high = float(data["ceiling_low"]), float(data["ceiling_high"])
    if np.isnan(low):
        return Line2D([], [], linestyle="", label="no noise ceiling (needs several subjects)")
    return ax.axhspan(low, high, color=BAND, alpha=0.25, linewidth=0, label="noise ceiling", zorder=0)


def _draw_controls(
    ax: Axes, controls: list[xr.Dataset], region: str | None, label: str, by: str | None
) -> list[Any]:
    lines: list[Any] = []
    for control in controls:
        data = _prepare(control, region if REGION in control.dims else None)
        blocks = find_blocks(data["module"].values.tolist()) if "module" in data.coords else []
        x, shown = _find_x(data), _choose(blocks, data.sizes[OP], by)
        lines += ax.plot(x[shown], data["score"].values[shown], color=CONTROL, linewidth=1.5, label=label)
    return lines[:1]  # one entry of the legend stands for all


def _draw_untrained(ax: Axes, data: xr.Dataset, x: NDArray[Any], shown: NDArray[np.intp]) -> Any:
    """Draw the band of untrained twins that the profile itself has."""
    if "untrained_low" not in data:
        return None
    low, high = (data[name].values[shown] for name in ("untrained_low", "untrained_high"))
    label = (
        f"{data['score_untrained'].sizes['seed']} untrained twins"
        if "score_untrained" in data
        else "untrained"
    )
    return ax.fill_between(x[shown], low, high, color=CONTROL, alpha=0.35, linewidth=0, label=label)


def _draw_interval(ax: Axes, data: xr.Dataset, x: NDArray[Any], shown: NDArray[np.intp]) -> list[Any]:
    if "ci_low" not in data or np.isnan(data["ci_low"]).all():
        return []
    low, high = (data[name].values[shown] for name in ("ci_low", "ci_high"))
    return [
        ax.fill_between(x[shown], low, high, color=INK, alpha=0.18, linewidth=0, label="interval of the mean")
    ]


def _draw_scores(
    ax: Axes, data: xr.Dataset, x: NDArray[Any], shown: NDArray[np.intp], marker: str
) -> list[Any]:
    handles: list[Any] = []
    if "score_subject" in data:
        subjects = data["score_subject"].transpose(OP, SUBJECT).values[shown]
        subjects = subjects[:, ~np.isnan(subjects).all(axis=0)]
        if subjects.shape[1]:
            faint = ax.plot(x[shown], subjects, color=INK, alpha=0.3, linewidth=0.9)
            faint[0].set_label(f"each of {subjects.shape[1]} subjects")
            handles = faint[:1]
    label = "mean over subjects" if handles else "score"
    line = ax.plot(
        x[shown], data["score"].values[shown], color=INK, linewidth=2.4, marker=marker, label=label
    )
    return [*line, *handles]


def _draw_significance(ax: Axes, data: xr.Dataset, x: NDArray[Any], alpha: float) -> list[Any]:
    if "p_corrected" not in data or np.isnan(data["p_corrected"]).all():
        return []
    significant = x[data["p_corrected"].values < alpha]
    words = {"max": "max-corrected", "bh": "FDR"}.get(str(data.attrs.get("correction", "")), "corrected")
    return ax.plot(
        significant,
        np.full(len(significant), 0.025),
        color=INK,
        linestyle="",
        marker="|",
        markersize=7,
        transform=ax.get_xaxis_transform(),
        label=f"p < {alpha:g}".replace("0.", ".") + f" ({words})",
    )


def _draw_blocks(ax: Axes, blocks: list[Block], x: NDArray[Any]) -> None:
    """Bracket every block below the tick labels, and name as many as fit, the widest first."""
    span = float(x.max() - x.min()) or 1.0
    line, names = (
        ax.get_xaxis_transform() + ScaledTranslation(0, -inches, ax.figure.dpi_scale_trans)
        for inches in (0.32, 0.39)
    )
    edges = {block: (float(x[block.start]), float(x[block.stop - 1])) for block in blocks}
    for i, (left, right) in enumerate(edges.values()):
        color = "0.25" if i % 2 else "0.6"
        ax.plot([left, right], [0, 0], color=color, linewidth=3, transform=line, clip_on=False)
    named: list[float] = []
    for block in sorted(blocks, key=lambda block: edges[block][0] - edges[block][1]):
        centre = sum(edges[block]) / 2
        if all(abs(centre - other) >= GAP * span for other in named):
            named.append(centre)
            name = block.name or "model"
            place: dict[str, Any] = {"ha": "right", "va": "top", "rotation": 40, "rotation_mode": "anchor"}
            ax.text(centre, 0, name, transform=names, fontsize=8, **place)


def _label(ax: Axes, data: xr.Dataset, title: str, handles: list[Any]) -> None:
    similarity = str(data["score"].attrs.get("long_name", "score"))
    height = ax.bbox.height / ax.figure.dpi
    ax.set_ylabel(fill(similarity.split(";")[0], max(16, int(height / 0.08))))  # inches of a letter
    ax.set_xlabel("depth (0 input, 1 output)" if "depth" in data.coords else "operation, in order")
    if "module" in data.coords:
        ax.xaxis.labelpad = 46  # points: below the names of modules
    ax.spines[["top", "right"]].set_visible(False)
    columns = _fit_columns(ax, [str(handle.get_label()) for handle in handles])
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        frameon=False,
        fontsize=8.5,
    )
    if title:
        ax.set_title(title, loc="left", pad=24 + 14 * ((len(handles) - 1) // columns), fontsize=11)


def _fit_columns(ax: Axes, labels: list[str]) -> int:
    """Return how many columns of a legend fit above the axes: a legend that is wider squeezes its panel to nothing."""
    room = 1.1 * ax.bbox.width / ax.figure.dpi
    for columns in (4, 3, 2):
        rows = -(-len(labels) // columns)
        widest = [max(map(len, labels[i : i + rows])) for i in range(0, len(labels), rows)]
        if sum(0.063 * letters + 0.55 for letters in widest) <= room:  # inches, at 8.5 points
            return min(columns, len(labels))
    return 1
