"""Sources: one operation's activations as a matrix of features, with what is known about the operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.errors import InputError, list_names
from neurolens.schema import OP_COORDS, STIMULUS

__all__ = ["describe_operation", "feature_matrix", "why_skipped"]

FloatArray = NDArray[np.floating[Any]]


def feature_matrix(array: xr.DataArray, *, what: str) -> FloatArray:
    """Flatten every dim but `stimulus` into features.

    Parameters
    ----------
    array
        DataArray (stimulus, ...), real.
    what
        What to call it in a message.

    Returns
    -------
    array, shape (n_stimuli, n_features)
        float32 where the activations are no wider (float16, float32), else float64.

    Raises
    ------
    InputError
        If values are complex or not numbers, or some are NaN or infinite.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> maps = xr.DataArray(np.zeros((3, 8, 2, 2), "float32"), dims=("stimulus", "channel", "y", "x"))
    >>> feature_matrix(maps, what="conv1").shape
    (3, 32)
    """
    values = array.transpose(STIMULUS, ...).values
    matrix = values.reshape(values.shape[0], -1)
    if matrix.dtype.kind not in "fiub":
        raise InputError(f"{what} has dtype {matrix.dtype}; features must be real numbers.")
    matrix = matrix.astype(np.float32 if matrix.dtype in (np.float16, np.float32) else np.float64, copy=False)
    bad = ~np.isfinite(matrix)
    if bad.any():
        rows = bad.any(axis=1)
        named = array.coords[STIMULUS].values[rows] if STIMULUS in array.coords else np.flatnonzero(rows)
        raise InputError(
            f"{what} has {int(bad.sum())} features that are NaN or infinite, for {int(rows.sum())} of "
            f"{rows.size} stimuli ({list_names(named.tolist(), 5)}). Choose operations without them (ops=), "
            "or leave these stimuli out."
        )
    return matrix


def why_skipped(array: xr.DataArray) -> str | None:
    """Return why an array can predict nothing, or None where it can."""
    if STIMULUS not in array.dims:
        return "no stimulus axis"
    if array.size == 0:
        return "empty"
    values = array.transpose(STIMULUS, ...).values
    return "constant output" if (values == values[:1]).all() else None


def describe_operation(array: xr.DataArray, position: int) -> dict[str, Any]:
    """Return the coords of `op`, from the attrs of activations where they are there.

    Parameters
    ----------
    array
        Activations of one operation.
    position
        Its place in the source: the `step` of an array that does not know its own.

    Returns
    -------
    dict
        depth (float, NaN where unknown), step (int), module, function ("" where unknown), n_features (int).
    """
    n_features = array.size // max(1, array.sizes.get(STIMULUS, 1))
    unknown = {"depth": np.nan, "step": position, "module": "", "function": "", "n_features": n_features}
    known = {name: array.attrs[name] for name in OP_COORDS if name in array.attrs}
    return unknown | known | {"n_features": n_features}
