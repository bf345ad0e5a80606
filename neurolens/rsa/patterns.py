"""From labelled arrays to matrices of patterns: which dims are features, and what has no pattern at all."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.errors import InputError
from neurolens.schema import (
    MODEL,
    REGION,
    REPETITION,
    RUN,
    SESSION,
    STIMULUS,
    SUBJECT,
    TIME,
    rename_aliases,
    stimulus_ids,
)

MIN_STIMULI = 3
KEPT_DIMS = (MODEL, REGION, SUBJECT, SESSION, RUN, TIME)  # each entry of these has an RDM of its own


def prepare_array(array: xr.DataArray) -> xr.DataArray:
    """Give dims their one name and average repetitions of a stimulus."""
    array = rename_aliases(array)
    return array.mean(REPETITION, keep_attrs=True) if REPETITION in array.dims else array


def find_refusal(array: xr.DataArray) -> str:
    """Say why an array has no patterns, without reading it; "" where it has."""
    if STIMULUS not in array.dims:
        return "no stimulus dim"
    if array.dtype.kind not in "fiub":
        return f"its values are {array.dtype}, not real numbers"
    if array.size == 0:
        return "it has no values"
    return ""


def check_stimuli(array: xr.DataArray, what: str) -> None:
    """Raise unless there are labels, all different, of at least three stimuli."""
    n_stimuli = len(stimulus_ids(array, what))
    if n_stimuli < MIN_STIMULI:
        raise InputError(
            f"{what} has {n_stimuli} stimuli; an RDM needs at least {MIN_STIMULI}, or there is nothing to "
            "compare its entries with."
        )


def find_kept_dims(array: xr.DataArray, over: tuple[str, ...]) -> tuple[str, ...]:
    """Return the dims of `over` that the array has, in the order of `over`."""
    return tuple(dim for dim in over if dim in array.dims)


def extract_patterns(array: xr.DataArray, over: tuple[str, ...]) -> NDArray[Any]:
    """Return patterns, shape (*kept dims, n_stimuli, n_features), C-contiguous; a view where possible."""
    kept = find_kept_dims(array, over)
    ordered = array.transpose(*kept, STIMULUS, ...)
    shape = [array.sizes[dim] for dim in (*kept, STIMULUS)]
    return np.ascontiguousarray(ordered.values).reshape(*shape, -1)


def compute_digest(patterns: NDArray[Any]) -> str:
    """Hash patterns: equal for equal values in any shape with the same number of features per stimulus."""
    digest = hashlib.sha1(repr((patterns.shape, str(patterns.dtype))).encode(), usedforsecurity=False)
    digest.update(patterns.data)
    return digest.hexdigest()


def is_same_for_all(patterns: NDArray[Any]) -> bool:
    """Whether every stimulus has the very same pattern."""
    first = patterns[..., :1, :]
    if not np.array_equal(first, patterns[..., 1:2, :]):  # the usual case, without reading all
        return False
    return bool((patterns == first).all())
