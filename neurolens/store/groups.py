"""The operations of a store that is being written: a group for each, with the files of its blocks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurolens.errors import AddressError, StoreError, list_names, near_misses
from neurolens.schema import STIMULUS
from neurolens.store import layout
from neurolens.store.arrays import ArrayFiles, encode_metadata
from neurolens.store.files import PendingFiles
from neurolens.store.head import root_arrays, stimulus_ids
from neurolens.store.layout import ACTIVATION, BLOCKS_DONE, METADATA
from neurolens.store.operations import Operation, check_same, read_array, write_order


class Groups:
    """The groups of a store's operations, by address; other processes of the run may add to them."""

    def __init__(self, path: Path, head: Mapping[str, Any], pending: PendingFiles) -> None:
        self._path = path
        self._head = head
        self._pending = pending
        self._arrays: dict[str, ArrayFiles] = {}
        self._read()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses of the operations, those that this process knows of."""
        return tuple(self._paths)

    def __contains__(self, address: str) -> bool:
        return address in self._paths

    def declare(self, operation: Operation) -> None:
        """Make the group of an operation; StoreError where there is one that was declared otherwise."""
        if operation.address in self._paths:
            check_same(self._path, self._paths[operation.address], operation)
        else:
            path = self._places.choose(operation.address)
            for files in write_order(operation, path, existing=self._above):
                self._pending.write(files)
            self._paths[operation.address] = path
            self._take(path)
        self._arrays[operation.address] = operation.array

    def check_values(self, index: int, address: str, values: np.ndarray[Any, Any], n_stimuli: int) -> None:
        """Raise StoreError unless the values of a block are those of so many stimuli, as they were declared."""
        array = self._find(address)
        expected = array.shape if _is_static(array) else (n_stimuli, *array.shape[1:])
        if values.shape != expected or values.dtype != array.dtype:
            raise StoreError(
                f"Block {index} of {address!r} has shape {values.shape} and dtype {values.dtype}; "
                f"declared was {expected} and {np.dtype(array.dtype)}."
            )

    def write_values(self, address: str, values: np.ndarray[Any, Any], start: int) -> None:
        """Write the stimuli from `start` on, or all of a static array, which must be what it was before."""
        array = self._find(address)
        static = _is_static(array)
        folder = f"{self._paths[address]}/{ACTIVATION}"
        for name, data in array.encode(values, 0 if static else start).items():
            file = self._path / folder / name
            if static and file.is_file():
                if file.read_bytes() != b"".join(data):
                    raise StoreError(
                        f"{address!r} is declared without {STIMULUS!r}, but its values differ between "
                        f"blocks. Declare it with {STIMULUS!r} first."
                    )
                continue
            self._pending.write({f"{folder}/{name}": data})

    def note_missing_stimuli(self, blocks: list[slice]) -> None:
        """Say in the attrs of each array for which stimuli its operation did not run, given all blocks."""
        for entry in layout.scan(self._path, {}):
            array = self._find(entry.address)
            folder = f"{entry.path}/{ACTIVATION}"
            numbers = [None] if _is_static(array) else list(range(len(blocks)))
            names = {number: array.first_file(number) for number in numbers}
            absent = [n for n, name in names.items() if name and not (self._path / folder / name).is_file()]
            if len(absent) == len(names):
                raise StoreError(f"{entry.address!r} was declared, but no block holds data of it.")
            if absent:
                ids = stimulus_ids(self._path)
                missing = [stimulus for n in absent if n is not None for stimulus in ids[blocks[n]]]
                metadata = layout.read_json(self._path / folder / METADATA)
                _say_missing(metadata, missing, np.dtype(array.dtype))
                self._pending.write({f"{folder}/{METADATA}": encode_metadata(metadata)})

    def require(self, address: str) -> None:
        """Raise AddressError, with near misses, unless an operation was declared."""
        if address not in self._paths:
            close = near_misses(address, self._paths)
            hint = f" Near it: {list_names(close)}." if close else ""
            raise AddressError(f"No operation {address!r} is declared in this store; declare it first.{hint}")

    def _find(self, address: str) -> ArrayFiles:
        if address not in self._arrays:
            if address not in self._paths:  # another process of the run may have declared it
                self._read()
            self.require(address)
            self._arrays[address] = read_array(self._path, self._paths[address], self._head)
        return self._arrays[address]

    def _read(self) -> None:
        self._paths = {entry.address: entry.path for entry in layout.scan(self._path, {})}
        self._above: set[str] = set()
        self._places = layout.Places([BLOCKS_DONE, *root_arrays(self._path)])
        for path in self._paths.values():
            self._take(path)

    def _take(self, path: str) -> None:
        self._above.update(layout.parent_groups(path))
        self._places.take(path)


def _is_static(array: ArrayFiles) -> bool:
    return STIMULUS not in array.dims


def _say_missing(metadata: dict[str, Any], missing: list[Any], dtype: np.dtype[Any]) -> None:
    """Put the missing stimuli into an array's metadata, and a fill value that no reader takes for a result."""
    metadata["attributes"][layout.MISSING] = missing
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    if limits is not None and limits.bits >= 32:  # so that readers without neurolens see no 0 either
        empty = int(limits.min or limits.max)
        metadata["fill_value"] = metadata["attributes"]["_FillValue"] = empty
