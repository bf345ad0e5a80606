"""From labelled arrays to matrices of patterns: which dims are features, and what has no pattern at all."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.errors import InputError
from neurolens.numerics.digest import Digest
from neurolens.numerics.gram import Patterns
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
    """Give dims their one name."""
    return rename_aliases(array)


def average_repetitions(array: xr.DataArray) -> xr.DataArray:
    """Average repetitions of a stimulus, over those that are there."""
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


def extract_patterns(array: xr.DataArray, dims: tuple[str, ...]) -> NDArray[Any]:
    """Return patterns, shape (*dims, n_stimuli, n_features), C-contiguous; a view where possible."""
    ordered = average_repetitions(array).transpose(*dims, STIMULUS, ...)
    shape = [array.sizes[dim] for dim in (*dims, STIMULUS)]
    return np.ascontiguousarray(ordered.values).reshape(*shape, -1)


class LazyPatterns:
    """Patterns (n_stimuli, n_features) that are read, and averaged over repetitions, when they are cut.

    Features are in an order of their own (the longest dim varies slowest), which no distance depends on.

    Parameters
    ----------
    array
        DataArray (stimulus, ...), lazy or not.

    Attributes
    ----------
    digest
        Of the values, once everything has been cut.
    """

    def __init__(self, array: xr.DataArray) -> None:
        features = [dim for dim in array.dims if dim not in (STIMULUS, REPETITION)]
        self._slowest = max(features, key=lambda dim: array.sizes[dim], default=None)
        ordered = [STIMULUS, *([] if self._slowest is None else [self._slowest])]
        self._array = array.transpose(*ordered, ...)
        n_features = math.prod(array.sizes[dim] for dim in features)
        self.shape = (array.sizes[STIMULUS], n_features)
        self.digest = Digest(self.shape, array.dtype)
        is_mean = REPETITION in array.dims and array.dtype.kind != "f"
        self.dtype = np.dtype(np.float64) if is_mean else array.dtype
        self._inner = n_features // (1 if self._slowest is None else array.sizes[self._slowest])

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        rows, columns = (slice(*part.indices(n)) for part, n in zip(key, self.shape, strict=True))
        first, last = columns.start // self._inner, -(-columns.stop // self._inner)
        chosen: dict[Hashable, slice] = {STIMULUS: rows}
        if self._slowest is not None:
            chosen[self._slowest] = slice(first, last)
        read = average_repetitions(_detach_parts(self._array.isel(chosen))).values
        flat = np.ascontiguousarray(read).reshape(rows.stop - rows.start, -1)
        skipped = first * self._inner
        part = flat[:, columns.start - skipped : columns.stop - skipped]
        self.digest.add(part, rows.start, columns.start)
        return part

    def find_chunk(self) -> tuple[int, int]:
        """Return how many rows and columns come in one read, as far as that is known.

        What is in memory is read at no cost; of what is lazy and says nothing, a whole pattern is one chunk, as
        in a store of this package.
        """
        array = self._array
        if array.chunks is None:
            in_memory = isinstance(array.variable._data, np.ndarray)
            return (1, 1) if in_memory else (1, self.shape[1])
        largest = {dim: max(sizes) for dim, sizes in array.chunksizes.items()}
        of_slowest = 1 if self._slowest is None else largest[self._slowest]
        return largest[STIMULUS], of_slowest * self._inner


def _detach_parts(array: xr.DataArray) -> xr.DataArray:
    """Copy each part of a chunked array as it is read: a view would keep the whole chunk in memory."""
    if array.chunks is None:
        return array
    return array.copy(data=array.data.map_blocks(np.array, dtype=array.dtype))


def is_same_for_all(patterns: Patterns) -> bool:
    """Whether every stimulus has the very same pattern."""
    first = patterns[:1, :]
    return all(np.array_equal(first, patterns[i : i + 1, :]) for i in range(1, patterns.shape[0]))
