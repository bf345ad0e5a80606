"""Maps of the brain: what every figure of one has in common, its values, colours and names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.colors import Colormap, Normalize
from numpy.typing import NDArray

from neurolens.brain import to_nifti
from neurolens.errors import InputError, LabelError, list_names
from neurolens.schema import NEUROID, rename_aliases

__all__ = ["Scale", "check_map", "describe_map", "find_beyond", "make_image", "make_scale", "name_map"]


@dataclass(frozen=True)
class Scale:
    """The ends of a scale and its colours."""

    low: float
    high: float
    colors: Colormap

    @property
    def norm(self) -> Normalize:
        """From values to places on the scale."""
        return Normalize(self.low, self.high)


def make_image(values: xr.DataArray, like: Any) -> Any:
    """Return the values as an image of one volume, NaN where there are none."""
    return to_nifti(check_map(values), like=like)


def check_map(values: xr.DataArray) -> xr.DataArray:
    """Return values (neuroid) of which some can be drawn, or say what is wrong with them."""
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


def make_scale(values: NDArray[Any], limit: float | None) -> Scale:
    """Return limits and colours: diverging about 0 where values lie on both sides of it."""
    finite = values[np.isfinite(values)]
    if limit is not None and not limit > 0:
        raise InputError(f"limit={limit!r}: the scale ends above 0.")
    end = limit if limit is not None else float(np.percentile(np.abs(finite), 99)) or 1.0
    both = bool(finite.min() < 0)
    colors = plt.get_cmap("RdBu_r" if both else "viridis").with_extremes(bad=(0, 0, 0, 0))
    return Scale(-end if both else 0.0, end, colors)


def find_beyond(values: xr.DataArray, scale: Scale) -> Literal["neither", "both", "min", "max"]:
    """Say at which ends of the scale there are values beyond."""
    below = bool((values < scale.low).any())
    above = bool((values > scale.high).any())
    return "both" if below and above else "min" if below else "max" if above else "neither"


def name_map(values: xr.DataArray) -> str:
    """Return what the values are, for a title."""
    return str(values.attrs.get("long_name") or values.name or "")


def describe_map(values: xr.DataArray) -> str:
    """Name measure and units."""
    units = values.attrs.get("units")
    name = str(values.name or "value").replace("_", " ")
    return f"{name} ({units})" if units else name
