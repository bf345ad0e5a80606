"""Blocks: going through responses piece by piece, so that they need not fit into memory.

Responses that were opened from Zarr, netCDF or HDF5 are read as they are needed, each value once; those in memory
are cut the same way, so that no copy of them is ever made whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.activations.sizes import parse_bytes
from neurolens.numerics.moments import (
    Moments,
    UnequalMoments,
    compute_moments,
    compute_unequal_moments,
    merge_moments,
    merge_unequal_moments,
)
from neurolens.schema import NEUROID, REPETITION, STIMULUS

__all__ = [
    "DEFAULT_MEMORY",
    "Checksum",
    "MissingTrials",
    "cut_blocks",
    "find_missing",
    "find_presented",
    "gather_moments",
    "is_loaded",
    "load_block",
]

DEFAULT_MEMORY = "1 GB"

Array = NDArray[Any]


class MissingTrials(Exception):  # noqa: N818 - tells that another formula is needed, no error of the user
    """Some stimuli have fewer repetitions than others."""


def is_loaded(data: xr.DataArray) -> bool:
    """Tell whether the values are in memory already, rather than in a file or still to be computed."""
    return isinstance(data.variable._data, np.ndarray)


def cut_blocks(data: xr.DataArray, memory: str | int) -> tuple[list[slice], list[slice]]:
    """Choose blocks of stimuli and of neuroids that follow the chunks of the file and fit into memory.

    Parameters
    ----------
    data
        DataArray ([repetition,] stimulus, neuroid[, time]).
    memory
        For one block with its temporary copies in float64.

    Returns
    -------
    stimuli, neuroids : list of slice
    """
    n_stimuli, n_neuroids = data.sizes[STIMULUS], data.sizes[NEUROID]
    cell = (data.size // (n_stimuli * n_neuroids)) * (data.dtype.itemsize + 20)
    n_cells = max(parse_bytes(memory) // cell, 1)
    chunk_stimuli, chunk_neuroids = (_chunk(data, dim) for dim in (STIMULUS, NEUROID))
    height = min(n_cells // n_neuroids, n_stimuli)
    if height >= min(chunk_stimuli, n_stimuli):
        return _slices(n_stimuli, _align(height, chunk_stimuli)), [slice(0, n_neuroids)]
    height = min(chunk_stimuli, n_stimuli, n_cells)
    width = min(max(n_cells // height, 1), n_neuroids)
    return _slices(n_stimuli, height), _slices(n_neuroids, _align(width, chunk_neuroids))


def load_block(data: xr.DataArray, stimuli: slice, neuroids: slice) -> Array:
    """Return the values of one block, shape (n_repetitions, n_stimuli, n_targets); a target is neuroid x time."""
    block = data.isel({STIMULUS: stimuli, NEUROID: neuroids})
    values = block.values if REPETITION in data.dims else block.values[None]
    return values.reshape(*values.shape[:2], -1)


def find_presented(data: xr.DataArray, memory: str | int) -> NDArray[np.bool_]:
    """Tell which trials took place: those that are NaN for every neuroid did not. Shape (repetition, stimulus)."""
    rows, columns = cut_blocks(data, memory)
    shape = (data.sizes.get(REPETITION, 1), data.sizes[STIMULUS])
    missing = np.ones(shape, dtype=bool)
    for neuroids in columns:
        for stimuli in rows:
            if missing[:, stimuli].any():
                missing[:, stimuli] &= find_missing(load_block(data, stimuli, neuroids))
        if not missing.any():
            break
    return ~missing


def gather_moments(
    data: xr.DataArray,
    neuroids: slice,
    rows: list[slice],
    *,
    presented: NDArray[np.bool_] | None = None,
    checksum: Checksum | None = None,
) -> Moments | UnequalMoments:
    """Add up the moments of some neuroids over all stimuli, block by block.

    Parameters
    ----------
    data
        DataArray (repetition, stimulus, neuroid[, time]).
    neuroids, rows
        From `cut_blocks`.
    presented
        From `find_presented`; None expects every trial.
    checksum
        Is told what was read.

    Raises
    ------
    MissingTrials
        If every trial was expected, and one is NaN for all of these neuroids.
    """
    equal: Moments | None = None
    unequal: UnequalMoments | None = None
    for stimuli in rows:
        values = load_block(data, stimuli, neuroids)
        if checksum is not None:
            checksum.add(values, stimuli, neuroids)
        if presented is not None:
            unequal = merge_unequal_moments(unequal, compute_unequal_moments(values, presented[:, stimuli]))
        elif find_missing(values).any():
            raise MissingTrials
        else:
            equal = merge_moments(equal, compute_moments(values))
    found = equal if unequal is None else unequal
    assert found is not None
    return found


class Checksum:
    """A sum over all values, weighted by position, that is the same however the values are cut into blocks."""

    def __init__(self, data: xr.DataArray) -> None:
        rng = np.random.default_rng(0)
        targets = data.size // (data.sizes.get(REPETITION, 1) * data.sizes[STIMULUS])
        sizes = (data.sizes.get(REPETITION, 1), data.sizes[STIMULUS], targets)
        self._weights = [rng.integers(0, 2**64, size, dtype=np.uint64) | np.uint64(1) for size in sizes]
        self._per_neuroid = targets // data.sizes[NEUROID]
        self._total = np.uint64(0)

    def add(self, values: Array, stimuli: slice, neuroids: slice) -> None:
        """Count the values of one block."""
        of_repetition, of_stimulus, of_target = self._weights
        targets = slice(neuroids.start * self._per_neuroid, neuroids.stop * self._per_neuroid)
        bits = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
        rows = np.einsum("rst,t->rs", bits, of_target[targets], dtype=np.uint64, casting="unsafe")
        total = (rows * of_stimulus[stimuli] * of_repetition[:, None]).sum(dtype=np.uint64)
        self._total = np.add(self._total, total)  # wraps around, as is meant

    def digest(self) -> str:
        """Return the sum so far, 16 hexadecimal digits."""
        return f"{int(self._total):016x}"


def find_missing(values: Array) -> NDArray[np.bool_]:
    """Trials that are NaN for every target; nearly always the first target settles it."""
    missing = np.isnan(values[:, :, 0])
    for repetition, stimulus in np.argwhere(missing):
        missing[repetition, stimulus] = np.isnan(values[repetition, stimulus]).all()
    return missing


def _chunk(data: xr.DataArray, dim: str) -> int:
    """How many along `dim` the file keeps together; 1 where that is unknown."""
    if is_loaded(data):
        return 1
    known = data.chunksizes.get(dim)
    if known:
        return int(max(known))
    preferred = data.encoding.get("preferred_chunks", {})
    sizes = data.encoding.get("chunksizes")
    if dim in preferred:
        return int(preferred[dim])
    return int(sizes[data.get_axis_num(dim)]) if sizes and len(sizes) == data.ndim else 1


def _align(size: int, chunk: int) -> int:
    """Round down to whole chunks, where at least one fits."""
    return size // chunk * chunk if size >= chunk else size


def _slices(n: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
