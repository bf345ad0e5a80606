"""Values that are read from the files of an array when they are used, and no more of them than is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing

from neurolens.errors import StoreError
from neurolens.store.chunks import (
    Bytes,
    Grid,
    check_sum,
    decode_chunk,
    index_bytes,
    locate,
    read_index,
)
from neurolens.store.layout import name_damage

_LARGE = 8 * 1024 * 1024  # bytes; above this several files are read at once
_N_THREADS = min(4, os.cpu_count() or 1)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)

Pick = slice | np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True, slots=True)
class _Part:
    """What is wanted of one chunk along one axis: where in the chunk, and where it goes."""

    chunk: int
    inside: Pick
    target: Pick
    is_whole: bool


class StoredValues(BackendArray):
    """The values of one array of a store, for xarray to index.

    Parameters
    ----------
    folder
        Of the array.
    grid
        How it is cut.
    absent
        Stimuli for which the operation did not run, bool, shape (n_stimuli,); None where it ran for all. They read
        as NaN; integers and booleans become floats that hold them, so that a missing number is not taken for 0.
    """

    def __init__(
        self, folder: Path, grid: Grid, absent: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    ) -> None:
        self.folder = folder
        self.grid = grid
        self.shape = grid.shape
        self.absent = absent
        self._has_gaps = absent is not None and grid.dtype.kind in "biu"
        self.dtype = float_for(grid.dtype) if self._has_gaps else grid.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray[Any, Any]:
        ranges = [np.arange(size)[pick] for size, pick in zip(self.shape, key, strict=True)]
        wanted = [np.atleast_1d(numbers) for numbers in ranges]
        values = read_values(self.folder, self.grid, wanted, self.absent)
        if self._has_gaps and self.absent is not None:
            values = values.astype(self.dtype)
            values[self.absent[ranges[0]]] = np.nan
        return values[tuple(0 if numbers.ndim == 0 else slice(None) for numbers in ranges)]


class ZarrValues(BackendArray):
    """The values of an array in a form that only Zarr reads; what Zarr raises names the array.

    Parameters
    ----------
    folder
        Of the array.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._array = zarr.open_array(folder, mode="r", zarr_format=3)
        self.shape = self._array.shape
        self.dtype = np.dtype(self._array.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        with name_damage(self.folder):
            return self._array.oindex[key]


def float_for(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the floating dtype that stands for integers or booleans some of which are missing."""
    return np.dtype(np.float64 if dtype.itemsize > 2 else np.float32)


def read_all(folder: Path, grid: Grid) -> np.ndarray[Any, Any]:
    """Read every value of an array.

    Raises
    ------
    StoreError
        If a file is damaged: the message names it.
    """
    return read_values(folder, grid, [np.arange(size) for size in grid.shape])


def read_values(
    folder: Path,
    grid: Grid,
    wanted: list[np.ndarray[Any, np.dtype[np.intp]]],
    absent: np.ndarray[Any, np.dtype[np.bool_]] | None = None,
) -> np.ndarray[Any, Any]:
    """Read the positions `wanted` along each axis.

    Parameters
    ----------
    folder
        Of the array.
    grid
        How it is cut.
    wanted
        For each axis, the positions in the order in which they are to come.
    absent
        Positions along axis 0 for which nothing was written, bool; None where there are none.

    Returns
    -------
    array, shape (len(wanted[0]), ...)
        The fill value where nothing was written.

    Raises
    ------
    StoreError
        If a file is damaged, or missing where something was written: the message names it.
    """
    out = np.empty([len(positions) for positions in wanted], dtype=grid.dtype)
    if out.size == 0:
        return out
    axes = [_split(positions, size) for positions, size in zip(wanted, grid.chunks, strict=True)]
    by_file: dict[int, list[_Part]] = {}
    per_file = grid.cells[0] if grid.shape else 1
    for part in axes[0] if axes else ():
        by_file.setdefault(part.chunk // per_file, []).append(part)
    jobs = [(number, [parts, *axes[1:]]) for number, parts in by_file.items()] or [(0, [])]

    def read(job: tuple[int, list[list[_Part]]]) -> None:
        number, parts = job
        file = folder / grid.file_name(number)
        try:
            is_there = _read_file(file, grid, parts, out)
        except StoreError as error:
            raise StoreError(f"{file} is damaged: {error}. Delete the store, or write it anew.") from error
        if not is_there and (absent is None or not absent[_rows(grid, number)].all()):
            raise StoreError(
                f"{file} is missing. Was the store copied whole? Its verify() names all that is missing: copy it "
                "again, or write it anew."
            )
        if not is_there:
            _fill(grid, _product(parts), out)

    _run(read, jobs, is_large=out.nbytes > _LARGE)
    return out


def _run(read: Callable[[Any], None], jobs: list[Any], *, is_large: bool) -> None:
    if not is_large or len(jobs) == 1 or _N_THREADS == 1:
        for job in jobs:
            read(job)
        return
    with ThreadPoolExecutor(_N_THREADS, "neurolens-chunks") as pool:
        list(pool.map(read, jobs))


def _split(positions: np.ndarray[Any, np.dtype[np.intp]], size: int) -> list[_Part]:
    """Sort what is wanted along an axis by the chunk it lies in."""
    if len(positions) <= size and int(positions.min()) // size == int(positions.max()) // size:
        inside = positions % size
        is_whole = len(inside) == size and bool((np.diff(inside) == 1).all())
        return [_Part(int(positions[0]) // size, _as_slice(inside), slice(0, len(inside)), is_whole)]
    numbers = positions // size
    order = np.argsort(numbers, kind="stable")
    cuts = np.flatnonzero(np.diff(numbers[order])) + 1
    parts = []
    for target in np.split(order, cuts):
        inside = positions[target] % size
        is_whole = len(inside) == size and bool((inside == np.arange(size)).all())
        parts.append(_Part(int(numbers[target[0]]), _as_slice(inside), _as_slice(target), is_whole))
    return parts


def _as_slice(positions: np.ndarray[Any, np.dtype[np.intp]]) -> Pick:
    start, length = int(positions[0]), len(positions)
    return (
        slice(start, start + length) if (positions == np.arange(start, start + length)).all() else positions
    )


def _rows(grid: Grid, number: int) -> slice:
    """Return the positions along axis 0 that a file holds."""
    return slice(number * grid.files[0], (number + 1) * grid.files[0]) if grid.shape else slice(0)


def _read_file(file: Path, grid: Grid, axes: list[list[_Part]], out: np.ndarray[Any, Any]) -> bool:
    """Read what is wanted of one file; False where there is none."""
    try:
        stream = FileIO(file, opener=_open_no_link)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(error.strerror or str(error)) from error
    with stream:
        size = os.fstat(stream.fileno()).st_size
        if not grid.is_sharded:
            _decode_into(grid, _read_range(stream, slice(0, size)), _product(axes), out)
            return True
        tail = index_bytes(grid)
        index = read_index(grid, _read_range(stream, slice(max(0, size - tail), size)))
        for parts in _product(axes):
            cell = [part.chunk % n for part, n in zip(parts, grid.cells, strict=True)]
            place = locate(index, cell, size - tail)
            if place is None:
                _fill(grid, [parts], out)
            elif not _read_straight(stream, grid, place, parts, out):
                _decode_into(grid, _read_range(stream, place), [parts], out)
    return True


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_LINKS)


def _product(axes: list[list[_Part]]) -> list[tuple[_Part, ...]]:
    combined: list[tuple[_Part, ...]] = [()]
    for parts in axes:
        combined = [(*before, part) for before in combined for part in parts]
    return combined


def _fill(grid: Grid, wanted: Iterable[tuple[_Part, ...]], out: np.ndarray[Any, Any]) -> None:
    empty = np.full(grid.chunks, grid.fill, grid.dtype)
    for parts in wanted:
        _assign(out, parts, empty)


def _read_range(stream: FileIO, place: slice) -> Bytes:
    data = np.empty(place.stop - place.start, dtype=np.uint8)
    stream.seek(place.start)
    _fill_from(stream, data)
    return data


def _fill_from(stream: FileIO, data: Bytes) -> None:
    done = 0
    while done < len(data):
        count = stream.readinto(data[done:].data)
        if not count:
            raise StoreError("it ends too early")
        done += count


def _read_straight(
    stream: FileIO, grid: Grid, place: slice, parts: tuple[_Part, ...], out: np.ndarray[Any, Any]
) -> bool:
    """Read an uncompressed chunk to where it belongs, without a copy; False if that can't be done."""
    if grid.codecs != ("crc32c",) or not all(part.is_whole for part in parts):
        return False
    if not all(isinstance(part.target, slice) for part in parts):
        return False
    target = out[tuple(part.target for part in parts)]
    if not target.flags.c_contiguous or place.stop - place.start != target.nbytes + 4:
        return False
    content, found = target.reshape(-1).view(np.uint8), np.empty(4, dtype=np.uint8)
    stream.seek(place.start)
    _fill_from(stream, content)
    _fill_from(stream, found)
    check_sum(content, found)
    return True


def _decode_into(
    grid: Grid, data: Bytes, wanted: Iterable[tuple[_Part, ...]], out: np.ndarray[Any, Any]
) -> None:
    chunk = np.empty(grid.chunks, dtype=grid.dtype.newbyteorder("<"))
    decode_chunk(grid, data, chunk.reshape(-1).view(np.uint8))
    for parts in wanted:
        _assign(out, parts, chunk)


def _assign(out: np.ndarray[Any, Any], parts: tuple[_Part, ...], chunk: np.ndarray[Any, Any]) -> None:
    if all(isinstance(part.inside, slice) and isinstance(part.target, slice) for part in parts):
        out[tuple(part.target for part in parts)] = chunk[tuple(part.inside for part in parts)]
        return
    target = np.ix_(*(_numbers(part.target) for part in parts))
    out[target] = chunk[np.ix_(*(_numbers(part.inside) for part in parts))]


def _numbers(pick: Pick) -> np.ndarray[Any, np.dtype[np.intp]]:
    return np.arange(pick.start, pick.stop) if isinstance(pick, slice) else pick
