"""Squared distances between many patterns by blocks: bounded memory, float32 that keeps its digits, any device.

Patterns are anything that is cut like a matrix, `patterns[rows, columns] -> ndarray`: an array, or one that
reads from disk when it is cut. Each block is shifted and scaled, and a common pattern is removed before it
enters a product: distances do not change, and what all stimuli share (an offset, a mean pattern) can no longer
eat the digits of float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from neurolens.numerics.arrays import to_device, to_numpy

Array = NDArray[Any]

BLOCK_VALUES = 2**22  # values in one block of a product: 32 MB of float64
MAX_WIDTH = 4096  # columns of one product: float32 sums stay short, longer ones are added in float64
CACHE_VALUES = 2**16  # values that are worked on at once: 0.5 MB of float64, inside the cache
SAMPLE_ROWS = 64  # patterns whose mean is removed from all: any common pattern will do
SAFE_SCALES = (1e-15, 1e15)  # within these, squares of scaled values stay inside float32


class Patterns(Protocol):
    """A matrix (n_stimuli, n_features) that can be cut."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of stimuli and of features."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """What a cut has."""
        ...

    def __getitem__(self, key: tuple[slice, slice], /) -> Array: ...


@dataclass(frozen=True)
class Tile:
    """How many rows and columns of patterns are held at once."""

    rows: int
    columns: int


@dataclass(frozen=True)
class Scaling:
    """What is done to each pattern before distances: (pattern - shift) / scale; `left_out` ones become zero."""

    shift: Array  # (n_stimuli,) float64
    scale: Array  # (n_stimuli,) float64, positive where not left out
    left_out: NDArray[np.bool_]  # (n_stimuli,)


def work_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return float32 for what came as float32 or less, so that a large product costs half; else float64."""
    small = dtype.kind == "f" and dtype.itemsize <= 4
    return np.dtype(np.float32 if small else np.float64)


def plan_tile(shape: tuple[int, ...], itemsize: int, memory: int, *, chunk: tuple[int, int] = (1, 1)) -> Tile:
    """Choose what to hold at once, so that the least is read within `memory` bytes.

    Slabs (all stimuli, some features) are read once for statistics and once for products, tiles (some stimuli,
    all features) once for every earlier tile. A chunk that is wider than what is held is read again for each
    part of it.

    Parameters
    ----------
    shape
        n_stimuli, n_features.
    itemsize
        Bytes of one value as it is read.
    memory
        Bytes for what is read and prepared; the n_stimuli x n_stimuli result comes on top.
    chunk
        Rows and columns that come in one read.

    Returns
    -------
    Tile
        All rows, or all columns, or both where everything fits.
    """
    n_stimuli, n_features = shape
    per_value = itemsize + 2 * max(itemsize, 4)  # as read, and prepared: two tiles at once
    if n_stimuli * n_features * per_value <= memory:
        return Tile(n_stimuli, n_features)
    columns = max(1, memory // (n_stimuli * per_value))
    rows = max(1, memory // (n_features * per_value))
    read_by_slabs = 2 * max(1.0, chunk[1] / columns)
    read_by_tiles = (1 + (n_stimuli / rows + 1) / 2) * max(1.0, chunk[0] / rows)
    if read_by_slabs <= read_by_tiles or rows * n_features * per_value > memory:
        return Tile(n_stimuli, columns)
    return Tile(rows, n_features)


def walk_columns(patterns: Patterns, tile: Tile, values: int = BLOCK_VALUES) -> Iterator[Array]:
    """Walk over the columns, where all rows are held at once: yield blocks of at most about `values`."""
    n_stimuli, n_features = patterns.shape
    for columns in _slices(n_features, tile.columns):
        held = patterns[slice(None), columns]
        for part in _slices(held.shape[1], max(1, values // n_stimuli)):
            yield held[:, part]


def walk_rows(patterns: Patterns, tile: Tile) -> Iterator[tuple[slice, Array]]:
    """Walk over everything in pieces of few rows that fit the cache: yield the rows and their piece."""
    n_stimuli, n_features = patterns.shape
    for rows in _slices(n_stimuli, tile.rows):
        for columns in _slices(n_features, tile.columns):
            held = patterns[rows, columns]
            width = min(held.shape[1], CACHE_VALUES)
            for few in _slices(len(held), max(1, CACHE_VALUES // width)):
                for part in _slices(held.shape[1], width):
                    yield slice(rows.start + few.start, rows.start + few.stop), held[few, part]


def _slices(n: int, step: int) -> Iterator[slice]:
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def compute_squared_distances(
    patterns: Patterns, scaling: Scaling, *, tile: Tile | None = None, device: str | None = None
) -> Array:
    """Compute squared Euclidean distances between shifted and scaled patterns.

    Parameters
    ----------
    patterns
        matrix (n_stimuli, n_features), real. float16 and float32 are multiplied in float32, anything else in
        float64; sums of products are float64.
    scaling
        Shift and scale of each pattern.
    tile
        What is held at once; everything by default.
    device
        Where products are made: None (numpy), or a device of torch.

    Returns
    -------
    ndarray
        shape (n_stimuli, n_stimuli), float64, symmetric, zero diagonal.
    """
    n_stimuli, n_features = patterns.shape
    tile = tile or Tile(n_stimuli, n_features)
    if tile.rows >= n_stimuli:
        gram = sum_products(_prepare_slabs(patterns, scaling, tile), n_stimuli, device=device)
    else:
        gram = _multiply_tiles(patterns, scaling, tile, device)
    return distances_from_gram(gram)


def distances_from_gram(gram: Array) -> Array:
    """Turn a Gram matrix into squared distances, in its place."""
    norms = np.diag(gram).copy()
    for rows in _slices(len(gram), max(1, CACHE_VALUES // len(gram))):
        both = norms[rows, None] + norms[None, :]  # first, so that (i, j) and (j, i) are rounded alike
        gram[rows] *= -2
        gram[rows] += both
        np.maximum(gram[rows], 0.0, out=gram[rows])
    np.fill_diagonal(gram, 0.0)
    return gram


def sum_products(blocks: Iterable[Array], n_rows: int, *, device: str | None = None) -> Array:
    """Sum block @ block.T over blocks of columns, shape (n_rows, n_rows), in float64 beyond each product."""
    if device is None:
        total = np.zeros((n_rows, n_rows))
        for block in blocks:
            total += block @ block.T
        return total
    summed = to_device(np.zeros((n_rows, n_rows)), device)
    with _exact_float32():
        for block in blocks:
            moved = to_device(block, device)
            summed += moved @ moved.T
    return to_numpy(summed)


def _sum_cross_products(left: Array, right: Array, device: str | None) -> Array:
    """Left @ right.T, in float64 beyond each block of columns."""
    parts = list(_slices(left.shape[1], MAX_WIDTH))
    if device is None:
        total = np.zeros((len(left), len(right)))
        for part in parts:
            total += left[:, part] @ right[:, part].T
        return total
    summed = to_device(np.zeros((len(left), len(right))), device)
    with _exact_float32():
        for part in parts:
            summed += to_device(left[:, part], device) @ to_device(right[:, part], device).T
    return to_numpy(summed)


@contextmanager
def _exact_float32() -> Iterator[None]:
    """Keep a GPU from multiplying float32 with the mantissa of TF32, whatever the user chose elsewhere."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _prepare_slabs(patterns: Patterns, scaling: Scaling, tile: Tile) -> Iterator[Array]:
    """Yield prepared blocks of columns, each in the memory of the one before it."""
    n_stimuli = patterns.shape[0]
    width = min(max(BLOCK_VALUES // n_stimuli, 1024), MAX_WIDTH)
    prepare = _Preparation(scaling, patterns.dtype)
    buffer = np.empty(0, prepare.final)  # fresh memory for each block costs as much as a pass over it
    for block in walk_columns(patterns, tile, width * n_stimuli):
        if buffer.size < block.size:
            buffer = np.empty(block.size, prepare.final)
        yield prepare(block, slice(None), out=buffer[: block.size].reshape(block.shape))


def _multiply_tiles(patterns: Patterns, scaling: Scaling, tile: Tile, device: str | None) -> Array:
    """All products of tiles of rows; the pattern that is removed is the mean of the first tile, for all."""
    n_stimuli = patterns.shape[0]
    gram = np.zeros((n_stimuli, n_stimuli))
    prepare = _Preparation(scaling, patterns.dtype)
    common: Array | None = None
    tiles = list(_slices(n_stimuli, tile.rows))
    for i, rows in enumerate(tiles):
        left = _prepare_tile(patterns, prepare, rows, common)
        if common is None:
            common = left.mean(axis=0, dtype=np.float64)
            left -= common.astype(left.dtype)
        gram[rows, rows] = _sum_cross_products(left, left, device)
        for others in tiles[i + 1 :]:
            right = _prepare_tile(patterns, prepare, others, common)
            gram[rows, others] = _sum_cross_products(left, right, device)
            gram[others, rows] = gram[rows, others].T
    return gram


def _prepare_tile(patterns: Patterns, prepare: _Preparation, rows: slice, common: Array | None) -> Array:
    held = patterns[rows, slice(None)]
    out = np.empty(held.shape, dtype=work_dtype(patterns.dtype))
    for columns in _slices(held.shape[1], max(1, BLOCK_VALUES // held.shape[0])):
        nothing = np.zeros(columns.stop - columns.start)
        removed = nothing if common is None else common[columns]
        out[:, columns] = prepare(held[:, columns], rows, removed)
    return out


class _Preparation:
    """Shift, scale and remove a common pattern, in the dtype of the products where that is safe."""

    def __init__(self, scaling: Scaling, dtype: np.dtype[Any]) -> None:
        self.final = work_dtype(dtype)
        kept = scaling.scale[~scaling.left_out]
        extreme = kept.size and (kept.min() < SAFE_SCALES[0] or kept.max() > SAFE_SCALES[1])
        self.dtype = np.dtype(np.float64) if extreme else self.final
        self.left_out = scaling.left_out
        shift = np.where(self.left_out, 0.0, scaling.shift)[:, None]
        self.shift = shift.astype(self.dtype)
        self.rest = (shift - self.shift).astype(self.dtype)  # what float32 cannot say of the shift
        self.factor = (1 / np.where(self.left_out, 1.0, scaling.scale))[:, None].astype(self.dtype)
        self.rests = bool(self.rest.any())
        self.scales = bool((self.factor != 1).any())
        self.drops = bool(self.left_out.any())

    def __call__(
        self, block: Array, rows: slice, common: Array | None = None, *, out: Array | None = None
    ) -> Array:
        """Prepare a block of some rows; without `common` remove the mean of a sample of them."""
        out = np.empty(block.shape, self.final) if out is None else out
        start = rows.start or 0
        if common is None:
            sample = np.linspace(0, len(block) - 1, min(len(block), SAMPLE_ROWS)).astype(np.intp)
            common = self._scale(block[sample], start + sample).mean(axis=0)
        common = common.astype(self.dtype, copy=False)
        for part in _slices(len(block), max(1, CACHE_VALUES // block.shape[1])):
            scaled = self._scale(block[part], slice(start + part.start, start + part.stop))
            np.subtract(scaled, common, out=out[part], casting="same_kind")
        return out

    def _scale(self, block: Array, rows: slice | NDArray[np.intp]) -> Array:
        out: Array = np.subtract(block, self.shift[rows], dtype=self.dtype)
        if self.rests:
            out -= self.rest[rows]
        if self.drops:
            out[self.left_out[rows]] = 0
        if self.scales:
            out *= self.factor[rows]
        return out
