"""Features: one operation's activations as a matrix, read in pieces where it is too large to hold."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.errors import InputError, LabelError, list_names
from neurolens.schema import BAND, OP_COORDS, STIMULUS
from neurolens.store.layout import MISSING

__all__ = [
    "CHUNK_BYTES",
    "Features",
    "describe_operation",
    "find_missing",
    "split_band_labels",
    "why_skipped",
]

FloatArray = NDArray[np.floating[Any]]

CHUNK_BYTES = 2**29  # what is read at a time


@dataclass(frozen=True)
class Features:
    """Activations of one operation for the stimuli that are used.

    Attributes
    ----------
    array
        DataArray (stimulus, ...), real, maybe not in memory.
    what
        What to call it in a message.
    digest
        Hash of everything that was read.
    """

    array: xr.DataArray
    what: str
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=8))

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of the dims that make the features, in order."""
        return {str(dim): size for dim, size in self.array.sizes.items() if dim != STIMULUS}

    @property
    def shape(self) -> tuple[int, int]:
        """Number of stimuli and number of features."""
        n_stimuli = self.array.sizes[STIMULUS]
        return n_stimuli, self.array.size // max(1, n_stimuli)

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 where the activations are no wider (float16, float32), else float64."""
        return np.dtype(np.float32 if self.array.dtype in (np.float16, np.float32) else np.float64)

    def matrix(self) -> FloatArray:
        """Read all features: array, shape (n_stimuli, n_features).

        Raises
        ------
        InputError
            If values are complex or not numbers, or some are missing, NaN or infinite.
        """
        return self._read(self.array)

    def chunks(self) -> Iterator[FloatArray]:
        """Read some features at a time: arrays, shape (n_stimuli, n_some), in the order of `matrix`.

        Raises
        ------
        InputError
            As `matrix`.
        """
        for part in _cut(self.array.transpose(STIMULUS, ...), self.dtype.itemsize):
            yield self._read(part)

    def bands(self) -> dict[str, Features]:
        """Return the features of each band, in order of appearance; empty where bands are not named.

        Raises
        ------
        LabelError
            If several dims have a coord `band`.
        """
        if BAND not in self.array.coords:
            return {}
        coord = self.array.coords[BAND]
        if coord.ndim != 1 or coord.dims == (STIMULUS,):
            raise LabelError(f"{self.what}: the coord {BAND!r} must lie along one dim of the features.")
        return {
            name: Features(
                self.array.isel({coord.dims[0]: positions}), f"band {name!r} of {self.what}", self.digest
            )
            for name, positions in split_band_labels(coord.values).items()
        }

    def _read(self, part: xr.DataArray) -> FloatArray:
        """Read values, hash them, and bring them to floating point."""
        values = part.transpose(STIMULUS, ...).values
        matrix = values.reshape(values.shape[0], -1)
        if matrix.dtype.kind not in "fiub":
            raise InputError(f"{self.what} has dtype {matrix.dtype}; features must be real numbers.")
        self.digest.update(np.ascontiguousarray(matrix).data)
        matrix = matrix.astype(self.dtype, copy=False)
        self._check_finite(matrix)
        return matrix

    def _check_finite(self, matrix: FloatArray) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            if np.isfinite(matrix.sum(dtype=np.float64)):
                return  # one pass without a copy: a sum is finite only where all its terms are
        bad = ~np.isfinite(matrix)
        if not bad.any():
            return
        rows = bad.any(axis=1)
        named = (
            self.array.coords[STIMULUS].values[rows]
            if STIMULUS in self.array.coords
            else np.flatnonzero(rows)
        )
        raise InputError(
            f"{self.what} has {int(bad.sum())} features that are NaN or infinite, for {int(rows.sum())} of "
            f"{rows.size} stimuli ({list_names(named.tolist(), 5)}). Choose operations without them (ops=), "
            "or leave these stimuli out."
        )


def split_band_labels(labels: NDArray[Any]) -> dict[str, NDArray[np.intp]]:
    """Return the positions of each label, labels in order of appearance.

    Examples
    --------
    >>> {name: rows.tolist() for name, rows in split_band_labels(np.array(["b", "a", "b"])).items()}
    {'b': [0, 2], 'a': [1]}
    """
    text = np.asarray(labels).astype(str)
    return {name: np.flatnonzero(text == name) for name in dict.fromkeys(text.tolist())}


def _cut(array: xr.DataArray, itemsize: int) -> Iterator[xr.DataArray]:
    """Cut features into pieces of at most CHUNK_BYTES, along the first dims that allow it."""
    n_stimuli, *sizes = array.shape
    width = max(1, CHUNK_BYTES // (itemsize * max(1, n_stimuli)))
    if int(np.prod(sizes)) <= width:
        yield array
        return
    dims = [str(dim) for dim in array.dims[1:]]
    tails = [int(np.prod(sizes[place + 1 :])) for place in range(len(sizes))]
    cut = next(place for place, tail in enumerate(tails) if tail <= width)
    step = max(1, width // tails[cut])
    for outer in itertools.product(*(range(size) for size in sizes[:cut])):
        for start in range(0, sizes[cut], step):
            indexers: dict[str, Any] = {dim: [place] for dim, place in zip(dims, outer, strict=False)}
            yield array.isel(indexers | {dims[cut]: slice(start, start + step)})


def why_skipped(array: xr.DataArray) -> str | None:
    """Return why an array can predict nothing, or None where it can."""
    if STIMULUS not in array.dims:
        return "no stimulus axis"
    if array.dtype.kind not in "fiub":
        return f"its values are {array.dtype}, not real numbers"
    if array.size == 0:
        return "empty"
    for part in _cut(array.transpose(STIMULUS, ...), max(4, array.dtype.itemsize)):
        values = part.values
        if not (values == values[:1]).all():
            return None
    return "constant output"


def find_missing(array: xr.DataArray) -> list[Any]:
    """Return the stimuli for which an operation did not run; whole numbers have no NaN to say so."""
    if MISSING not in array.attrs or STIMULUS not in array.coords:
        return []
    gone = {str(name) for name in np.atleast_1d(array.attrs[MISSING]).tolist()}
    return [name for name in array.coords[STIMULUS].values.tolist() if str(name) in gone]


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
