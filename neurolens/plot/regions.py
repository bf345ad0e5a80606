"""Operation by region: where in a network each region's score lies."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from neurolens.errors import InputError, list_names
from neurolens.plot.blocks import find_blocks
from neurolens.schema import OP, REGION

__all__ = ["regions"]


def regions(profile: xr.Dataset, *, alpha: float = 0.05, ax: Axes | None = None) -> Axes:
    """Draw the scores of all operations (across) and regions (down) as colours.

    A ring marks each region's highest score; the line below a row runs where the corrected p is below `alpha`.
    Scores of different regions have ceilings of their own: colours compare operations within a row.

    Parameters
    ----------
    profile
        Profile of `compare` with several regions, of one model: Dataset with `score` (op, region).
    alpha
        Level of the line of significance.
    ax
        Axes to draw on; a new figure without.

    Returns
    -------
    Axes
        Operations in the order of depth where the profile tells it; modules are named below.

    Raises
    ------
    InputError
        If `score` is not over `op` and `region` alone.

    Examples
    --------
    >>> coords = {"op": ["conv", "fc"], "region": ["V1", "IT"]}
    >>> ax = regions(xr.Dataset({"score": (("op", "region"), [[0.3, 0.1], [0.1, 0.4]])}, coords))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['V1', 'IT']
    """
    if "score" not in profile or set(profile["score"].dims) != {OP, REGION}:
        dims = profile["score"].dims if "score" in profile else list(profile.data_vars)
        raise InputError(
            f"plot.regions draws scores over 'op' and 'region'; this has {list_names(dims)}. Choose an entry of "
            "the rest with profile.sel(...)."
        )
    if "depth" in profile.coords:
        profile = profile.isel({OP: np.argsort(profile["depth"].values, kind="stable")})
    names = [str(name) for name in profile[REGION].values]
    if ax is None:
        size = (9, 1.8 + 0.5 * len(names))
        ax = plt.figure(figsize=size, layout="constrained").add_subplot()
    scores = profile["score"].transpose(REGION, OP).values
    limit = float(np.nanmax(np.abs(scores), initial=0)) or 1.0
    image = ax.imshow(scores, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    words = str(profile["score"].attrs.get("long_name", "score")).split(";")[0].replace(" of ", "\nof ", 1)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02)
    bar.set_label(words, fontsize=8)
    for row, values in enumerate(scores):
        if not np.isnan(values).all():
            ax.plot(np.nanargmax(values), row, "o", mfc="none", mec="black", markersize=9, mew=1.4)
    if "p_corrected" in profile:
        significant = profile["p_corrected"].transpose(REGION, OP).values < alpha
        for row, marks in enumerate(significant):
            ax.plot(np.flatnonzero(marks), np.full(marks.sum(), row + 0.44), "|", color="black", markersize=3)
    ax.set_yticks(range(len(names)), names)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    _name_modules(ax, profile)
    return ax


def _name_modules(ax: Axes, profile: xr.Dataset) -> None:
    if "module" not in profile.coords:
        if profile.sizes[OP] <= 20:
            ax.set_xticks(range(profile.sizes[OP]), profile[OP].values.tolist(), rotation=40, ha="right")
        else:
            ax.set_xticks([])
            ax.set_xlabel("operation, in order")
        return
    blocks = find_blocks(profile["module"].values.tolist())
    wide = [block for block in blocks if block.stop - block.start >= 0.02 * profile.sizes[OP]]
    centres = [(block.start + block.stop - 1) / 2 for block in wide]
    ax.set_xticks(centres, [block.name or "model" for block in wide], rotation=40, ha="right", fontsize=8)
    for block in blocks[1:]:
        ax.axvline(block.start - 0.5, color="white", linewidth=0.6)
