"""From square RDMs with labels to vectors of stimulus pairs."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.errors import InputError, LabelError
from neurolens.schema import STIMULUS, STIMULUS_B, require_dims, stimulus_ids

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
        If a matrix is not symmetric.
    """
    require_dims(rdm, STIMULUS, STIMULUS_B, what=what)
    first, second = stimulus_ids(rdm, what), stimulus_ids(rdm, what, STIMULUS_B)
    if first.tolist() != second.tolist():
        raise LabelError(
            f"{what} has other labels, or another order, on {STIMULUS_B!r} than on {STIMULUS!r}; "
            f"{STIMULUS_B!r} must be a copy: rdm.sel({STIMULUS_B}=rdm.{STIMULUS}.values)."
        )
    square = rdm.transpose(..., STIMULUS, STIMULUS_B).values
    difference = np.abs(square - np.swapaxes(square, -1, -2))
    half_missing = np.isnan(square) != np.isnan(np.swapaxes(square, -1, -2))
    largest = np.nanmax(np.abs(square), initial=0.0)
    if half_missing.any() or np.nanmax(difference, initial=0.0) > ASYMMETRY * largest:
        raise InputError(
            f"{what} is not symmetric: entries (i, j) and (j, i) differ by up to "
            f"{np.nanmax(difference, initial=0.0):.3g}. If both halves are estimates, average them: "
            "(square + square.T) / 2."
        )


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
    square = rdm.transpose(..., STIMULUS, STIMULUS_B).values
    n_stimuli = square.shape[-1]
    rows, columns = np.triu_indices(n_stimuli, 1)
    pairs: NDArray[Any] = square.reshape(-1, n_stimuli, n_stimuli)[:, rows, columns]
    return pairs


def other_dims(rdm: xr.DataArray) -> tuple[Hashable, ...]:
    """Return the dims of `rdm` that do not index stimuli, in their order."""
    return tuple(dim for dim in rdm.dims if dim not in (STIMULUS, STIMULUS_B))
