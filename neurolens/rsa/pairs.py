"""From square RDMs with labels to vectors of stimulus pairs."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.errors import InputError, LabelError
from neurolens.schema import STIMULUS, STIMULUS_B, require_dims, stimulus_ids

SIDE = 64  # rows that are compared with columns at once: inside the cache
ASYMMETRY = 1e-4  # of the largest dissimilarity: more is no rounding


def check_rdm(rdm: xr.DataArray, what: str) -> None:
    """Raise unless `rdm` is square, symmetric and equally labelled on both stimulus dims.

    Parameters
    ----------
    rdm
        DataArray (..., stimulus, stimulus_b).
    what
        What to call it in a message.

    Raises
    ------
    LabelError
        If a stimulus dim or its labels are missing, or the two dims are labelled differently.
    InputError
        If this is no DataArray, or a matrix is not symmetric.
    """
    if not isinstance(rdm, xr.DataArray):
        raise InputError(
            f"{what} is a {type(rdm).__name__}; expected a DataArray (..., stimulus, stimulus_b). Of a Dataset choose "
            "a variable; label plain numbers with neurolens.rsa.label_rdms(array, stimulus=ids)."
        )
    require_dims(rdm, STIMULUS, STIMULUS_B, what=what)
    first, second = stimulus_ids(rdm, what), stimulus_ids(rdm, what, STIMULUS_B)
    if first.tolist() != second.tolist():
        raise LabelError(
            f"{what} has other labels, or another order, on {STIMULUS_B!r} than on {STIMULUS!r}; "
            f"{STIMULUS_B!r} must be a copy: rdm.sel({STIMULUS_B}=rdm.{STIMULUS}.values)."
        )
    for square in _squares(rdm):  # one by one: no second copy of all
        _check_symmetric(square, what)


def _check_symmetric(square: NDArray[Any], what: str) -> None:
    blocks = range(0, len(square), SIDE)
    if all((square[i : i + SIDE, i:] == square[i:, i : i + SIDE].T).all() for i in blocks):
        return
    largest = np.nanmax(np.abs(square), initial=0.0)
    if np.allclose(square, square.T, rtol=0, atol=ASYMMETRY * largest, equal_nan=True):
        return
    difference = np.nanmax(np.abs(square - square.T), initial=0.0)
    raise InputError(
        f"{what} is not symmetric: entries (i, j) and (j, i) differ by up to {difference:.3g}, or one is "
        "NaN. If both halves are estimates, average them: (square + square.T) / 2."
    )


def _squares(rdm: xr.DataArray) -> NDArray[Any]:
    """Return all matrices, shape (n_rdms, n_stimuli, n_stimuli)."""
    square: NDArray[Any] = rdm.transpose(..., STIMULUS, STIMULUS_B).values
    return square.reshape(-1, *square.shape[-2:])


def extract_pairs(rdm: xr.DataArray) -> NDArray[Any]:
    """Return the upper triangles of square RDMs, row by row.

    Parameters
    ----------
    rdm
        DataArray (..., stimulus, stimulus_b).

    Returns
    -------
    ndarray
        shape (n_rdms, n_pairs): every other dim flattened, in the order of `rdm.dims`.
    """
    squares = _squares(rdm)
    n_stimuli = squares.shape[1]
    pairs = np.empty((len(squares), n_stimuli * (n_stimuli - 1) // 2), dtype=squares.dtype)
    start = 0
    for i in range(n_stimuli):  # pieces of rows are copied many times faster than single entries
        stop = start + n_stimuli - 1 - i
        pairs[:, start:stop] = squares[:, i, i + 1 :]
        start = stop
    return pairs


def other_dims(rdm: xr.DataArray) -> tuple[Hashable, ...]:
    """Return the dims of `rdm` that do not index stimuli, in their order."""
    return tuple(dim for dim in rdm.dims if dim not in (STIMULUS, STIMULUS_B))
