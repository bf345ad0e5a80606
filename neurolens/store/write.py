"""Write a store: block by block, so that a run may be killed at any moment and taken up again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from neurolens.errors import AddressError, StoreError, list_names, near_misses
from neurolens.schema import STIMULUS
from neurolens.store import layout
from neurolens.store.arrays import ArrayFiles, encode_metadata
from neurolens.store.chunks import Buffer, Compression
from neurolens.store.files import flush_files, remove_partial, write_files
from neurolens.store.head import check_resumable, make_head, root_arrays, stimulus_ids, write_head
from neurolens.store.layout import ACTIVATION, BLOCKS_DONE, LATE, METADATA
from neurolens.store.lock import RunLock, lock_store
from neurolens.store.operations import (
    Operation,
    check_same,
    group_metadata,
    make_operation,
    read_array,
    write_order,
)

_N_THREADS = min(4, os.cpu_count() or 1)  # that encode the operations of a block


def create_store(
    path: str | Path,
    *,
    stimuli: Mapping[Any, Any],
    attrs: Mapping[str, Any],
    block_size: int,
    compression: Compression = "lz4",
    resume: bool = True,
) -> StoreWriter:
    """Begin a store, or take up one that was begun in the same way.

    Parameters
    ----------
    path
        Folder of the store; made, with its parents.
    stimuli
        Coordinates in xarray's form: `{"stimulus": ids, column: ("stimulus", values)}`, as
        `Stimuli.coords()` gives them.
    attrs
        What made the data (model, hash of weights, preprocessing ...): plain JSON values. A run that resumes
        must give the same.
    block_size
        Stimuli written at once, at least 1.
    compression
        "lz4": fast, halves what has zeros; "zstd": smaller, several times slower; "none": as large as in memory,
        read fastest. All carry checksums.
    resume
        Whether an existing store is taken up; if False, it is an error that there is one.

    Returns
    -------
    StoreWriter
        It holds the lock of the store until `finish` or `close`.

    Raises
    ------
    StoreError
        If another run writes the store, `path` is something else, or a resumed run differs: the message names
        what differs, with both values.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from neurolens.store import create_store, open_store
    >>> path = Path(tempfile.mkdtemp()) / "acts.zarr"
    >>> with create_store(path, stimuli={"stimulus": ["cat", "dog"]}, attrs={}, block_size=2) as writer:
    ...     writer.declare("fc", dims=("stimulus", "unit"), shape=(2, 3), dtype=np.float32, attrs={})
    ...     writer.write_block(0, {"fc": np.ones((2, 3), np.float32)})
    ...     writer.finish()
    >>> open_store(path)["fc"].sel(stimulus="dog").values
    array([1., 1., 1.], dtype=float32)
    """
    target = Path(path)
    head = make_head(stimuli, attrs, block_size, compression)
    lock = lock_store(target)
    try:
        if target.exists():
            check_resumable(target, head, resume=resume)
        else:
            write_head(target, head)
        return StoreWriter(target, lock)
    except BaseException:
        lock.release()
        raise


def attach_store(path: str | Path) -> StoreWriter:
    """Write blocks of a store from another process of the run that holds its lock.

    Different processes write different blocks without waiting for each other. Only the holder of the lock
    declares aliases and finishes.

    Parameters
    ----------
    path
        Folder of a store that `create_store` began.

    Returns
    -------
    StoreWriter
        Without the lock.

    Raises
    ------
    StoreError
        If there is no store to write.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from neurolens.store import attach_store, create_store, open_store, read_late, verify_store
    >>> path = Path(tempfile.mkdtemp()) / "acts.zarr"
    >>> writer = create_store(path, stimuli={"stimulus": ["cat", "dog"]}, attrs={}, block_size=1)
    >>> writer.declare("fc", dims=("stimulus", "unit"), shape=(2, 3), dtype=np.float32, attrs={})
    >>> other = attach_store(path)  # in another process
    >>> other.write_block(1, {"fc": np.ones((1, 3), np.float32)})
    >>> writer.missing_blocks()
    (0,)
    """
    return StoreWriter(Path(path), None)


class StoreWriter:
    """A store being written; made by `create_store` or `attach_store`.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from neurolens.store import attach_store, create_store, open_store, read_late, verify_store
    >>> path = Path(tempfile.mkdtemp()) / "acts.zarr"
    >>> writer = create_store(path, stimuli={"stimulus": ["cat", "dog"]}, attrs={}, block_size=1)
    >>> writer.declare("fc", dims=("stimulus", "unit"), shape=(2, 3), dtype=np.float32, attrs={})
    >>> writer.alias("classifier", "fc")
    >>> writer.write_block(0, {"fc": np.ones((1, 3), np.float32)})
    >>> writer.missing_blocks(), writer.block_slice(1)
    ((1,), slice(1, 2, None))
    >>> writer.write_block(1, {"fc": np.ones((1, 3), np.float32)})
    >>> writer.note_late({}, {})
    >>> writer.finish()
    >>> writer.close()
    >>> open_store(path)["fc"].shape
    (2, 3)
    """

    def __init__(self, path: Path, lock: RunLock | None) -> None:
        self._path = path
        self._lock = lock
        root = layout.read_root(path)
        self._head: dict[str, Any] = root["attributes"]
        self._aliases: dict[str, str] = dict(self._head["aliases"])
        self._root_flushed = True
        self._arrays: dict[str, ArrayFiles] = {}
        self._unflushed: list[Path] = []
        if lock is not None and self.is_complete:
            shutil.rmtree(path / BLOCKS_DONE, ignore_errors=True)  # left by a run killed while it finished
        elif lock is not None:
            remove_partial(path)
            self._write_root()  # consolidated metadata would hide the groups that are still to come
        self._read_paths()

    @property
    def path(self) -> Path:
        """Folder of the store."""
        return self._path

    @property
    def is_complete(self) -> bool:
        """Whether the store is finished."""
        return bool(self._head["complete"])

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses of the operations that are declared."""
        return tuple(self._paths)

    @property
    def n_stimuli(self) -> int:
        """Stimuli in the store."""
        return int(self._head["n_stimuli"])

    @property
    def n_blocks(self) -> int:
        """Blocks of stimuli in the store."""
        return -(-self.n_stimuli // int(self._head["block_size"]))

    @property
    def done_blocks(self) -> tuple[int, ...]:
        """Blocks whose data are all on disk, by this or any other process."""
        if self.is_complete:
            return tuple(range(self.n_blocks))
        markers = (self._path / BLOCKS_DONE).glob("c.*")
        return tuple(sorted(int(marker.name.split(".")[1]) for marker in markers))

    def missing_blocks(self) -> tuple[int, ...]:
        """Return the blocks that are still to be written, ascending.

        Returns
        -------
        tuple of int
            Positions of blocks.
        """
        done = set(self.done_blocks)
        return tuple(index for index in range(self.n_blocks) if index not in done)

    def block_slice(self, index: int) -> slice:
        """Return the stimuli of a block, as a slice of their order.

        Parameters
        ----------
        index
            Position of the block.

        Returns
        -------
        slice
            Of the stimuli.

        Raises
        ------
        StoreError
            If there is no such block.
        """
        if not 0 <= index < self.n_blocks:
            raise StoreError(f"There is no block {index}: the store has blocks 0 to {self.n_blocks - 1}.")
        size = int(self._head["block_size"])
        return slice(index * size, min((index + 1) * size, self.n_stimuli))

    def declare(
        self,
        address: str,
        *,
        dims: tuple[str, ...],
        shape: tuple[int, ...],
        dtype: np.dtype[Any] | type[np.generic] | str,
        attrs: Mapping[str, Any],
        coords: Mapping[Any, Any] | None = None,
    ) -> None:
        """Make the group of one operation. Declaring it again, in the same way, does nothing.

        Parameters
        ----------
        address
            Of the operation, any text but the empty one.
        dims
            `stimulus` first, if the operation has it; without it the array is static and written once.
        shape
            Of the whole array: all stimuli.
        dtype
            A numpy dtype: boolean, integer, float or complex.
        attrs
            Attributes of the array, plain JSON values.
        coords
            Coordinates of its other dims, in any form that xarray accepts.

        Raises
        ------
        StoreError
            If dims, shape or dtype can't be stored, the store is finished, or the operation was declared
            otherwise before.
        """
        operation = make_operation(
            address,
            dims=dims,
            shape=shape,
            dtype=dtype,
            attrs=attrs,
            coords=coords or {},
            head=self._head,
        )
        if address in self._paths:
            check_same(self._path, self._paths[address], operation)
        else:
            self._write_group(operation)
        self._arrays[address] = operation.array

    def write_block(self, index: int, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Write the data of one block of stimuli, then list it as done.

        When this returns, the data are on the device. A block may be written again.

        Parameters
        ----------
        index
            Of the block, from 0.
        arrays
            By address: the stimuli of this block (as declared, but for the first axis), or all of a static
            array. An operation left out did not run for these stimuli.

        Raises
        ------
        AddressError
            If an address was not declared.
        StoreError
            If shape or dtype differ from what was declared, or a static array from what was written before.
        """
        self._require_unfinished("write to it")
        part = self.block_slice(index)
        for address, values in arrays.items():
            array = self._find_array(address)
            expected = array.shape if _is_static(array) else (part.stop - part.start, *array.shape[1:])
            if values.shape != expected or values.dtype != array.dtype:
                raise StoreError(
                    f"Block {index} of {address!r} has shape {values.shape} and dtype {values.dtype}; "
                    f"declared was {expected} and {np.dtype(array.dtype)}."
                )

        def write(address: str) -> None:
            array = self._arrays[address]
            files = array.encode(arrays[address], 0 if _is_static(array) else part.start)
            self._write_array_files(address, files, static=_is_static(array))

        with ThreadPoolExecutor(_N_THREADS, "neurolens-encode") as pool:
            list(pool.map(write, arrays))
        if not self._root_flushed and self._lock is not None:
            self._write_root()
        self._flush()
        write_files(self._path, {f"{BLOCKS_DONE}/c.{index}": b"\x01"}, flush=True)

    def alias(self, name: str, address: str) -> None:
        """Let `name` (a module, a composite) mean the operation at `address` for readers.

        Parameters
        ----------
        name
            The other name.
        address
            Of an operation that was declared.

        Raises
        ------
        AddressError
            If `address` was not declared.
        StoreError
            If `name` is itself an operation, or means something else already.
        """
        self._require_lock("name aliases")
        if address not in self._paths and address.rpartition(":")[0] not in self._paths:
            raise AddressError(_undeclared(address, self._paths))
        if name in self._paths or self._aliases.get(name, address) != address:
            raise StoreError(
                f"{name!r} can't be an alias of {address!r}: in this store it means "
                f"{self._aliases.get(name, 'an operation')!r}."
            )
        if name not in self._aliases:
            self._require_unfinished("add an alias")
            self._aliases[name] = address
            self._root_flushed = False

    def note_late(self, positions: Mapping[str, str], left_out: Mapping[str, str]) -> None:
        """Note what operations are called that first ran after the first block; `read_late` reads it.

        Their numbers depend on what ran before, so a run that resumes, and other processes, must know them. It is
        on disk before the next block is listed.

        Parameters
        ----------
        positions
            Addresses, by a text for the position in the model's code.
        left_out
            Operations that are not stored, with the reason.
        """
        self._require_lock("note late operations")
        noted = {"positions": dict(sorted(positions.items())), "left_out": dict(sorted(left_out.items()))}
        if any(noted.values()) and self._head.get(LATE) != noted:
            self._require_unfinished("note a late operation")
            self._head[LATE] = noted
            self._root_flushed = False

    def finish(self) -> None:
        """Mark the store complete, consolidate its metadata and give the lock back.

        Raises
        ------
        StoreError
            If blocks are missing, or an operation was declared and never written.
        """
        self._require_lock("finish it")
        if not self.is_complete:
            missing = self.missing_blocks()
            if missing:
                raise StoreError(
                    f"The store {self._path} can't be finished: {len(missing)} of {self.n_blocks} blocks are "
                    f"missing ({list_names(missing)}). Run again with resume=True to write them."
                )
            for entry in layout.scan(self._path, {}):
                self._note_missing_stimuli(entry)
            self._head["complete"] = True
            self._write_root(consolidate=True)
            shutil.rmtree(self._path / BLOCKS_DONE)
        self.close()

    def close(self) -> None:
        """Give the lock back; what is written stays, and a later run takes it up."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _flush(self) -> None:
        flush_files(self._path, self._unflushed)
        self._unflushed.clear()

    def _read_paths(self) -> None:
        self._paths = {entry.address: entry.path for entry in layout.scan(self._path, {})}
        self._groups = {parent for path in self._paths.values() for parent in layout.parent_groups(path)}
        self._places = layout.Places([BLOCKS_DONE, *root_arrays(self._path)])
        for path in self._paths.values():
            self._places.take(path)

    def _write_group(self, operation: Operation) -> None:
        self._require_unfinished(f"add the operation {operation.address!r}")
        path = self._places.choose(operation.address)
        for files in write_order(operation, path, existing=self._groups):
            self._unflushed += write_files(self._path, files, flush=False)
        self._groups.update(layout.parent_groups(path))
        self._paths[operation.address] = path
        self._places.take(path)

    def _find_array(self, address: str) -> ArrayFiles:
        if address in self._arrays:
            return self._arrays[address]
        if address not in self._paths:  # another process of the run may have declared it
            self._read_paths()
        if address not in self._paths:
            raise AddressError(_undeclared(address, self._paths))
        self._arrays[address] = read_array(self._path, self._paths[address], self._head)
        return self._arrays[address]

    def _write_array_files(self, address: str, files: Mapping[str, list[Buffer]], *, static: bool) -> None:
        folder = f"{self._paths[address]}/{ACTIVATION}"
        for name, data in files.items():
            file = self._path / folder / name
            if static and file.is_file():
                if file.read_bytes() != b"".join(data):
                    raise StoreError(
                        f"{address!r} is declared without {STIMULUS!r}, but its values differ between "
                        f"blocks. Declare it with {STIMULUS!r} first."
                    )
                continue
            self._unflushed += write_files(self._path, {f"{folder}/{name}": data}, flush=False)

    def _note_missing_stimuli(self, entry: layout.Entry) -> None:
        """Say in the array's attrs for which stimuli the operation did not run."""
        array = self._find_array(entry.address)
        folder = self._path / entry.path / ACTIVATION
        blocks = range(self.n_blocks) if STIMULUS in array.dims else (None,)
        names = {index: array.first_file(index) for index in blocks}
        absent = [i for i, name in names.items() if name is not None and not (folder / name).is_file()]
        if len(absent) == len(names):
            raise StoreError(f"{entry.address!r} was declared, but no block holds data of it.")
        if absent:
            ids = stimulus_ids(self._path)
            metadata = layout.read_json(folder / METADATA)
            metadata["attributes"][layout.MISSING] = [
                stimulus for i in absent if i is not None for stimulus in ids[self.block_slice(i)]
            ]
            limits = np.iinfo(array.dtype) if np.dtype(array.dtype).kind in "iu" else None
            if limits is not None and limits.bits >= 32:  # so that readers without neurolens see no 0 either
                empty = int(limits.min or limits.max)
                metadata["fill_value"] = metadata["attributes"]["_FillValue"] = empty
            file = f"{entry.path}/{ACTIVATION}/{METADATA}"
            self._unflushed += write_files(self._path, {file: encode_metadata(metadata)}, flush=False)

    def _write_root(self, *, consolidate: bool = False) -> None:
        self._head["aliases"] = dict(sorted(self._aliases.items()))
        root = group_metadata(self._head)
        if consolidate:
            nodes = {
                file.parent.relative_to(self._path).as_posix(): layout.read_json(file)
                for file in layout.metadata_files(self._path)
            }
            nodes.pop(BLOCKS_DONE, None)
            root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": nodes}
        self._flush()
        write_files(self._path, {METADATA: encode_metadata(root)}, flush=True)
        self._root_flushed = True

    def _require_unfinished(self, what: str) -> None:
        if self.is_complete:
            raise StoreError(f"The store {self._path} is finished; to {what}, write a new store.")

    def _require_lock(self, what: str) -> None:
        if self._lock is None:
            raise StoreError(f"Only the run that holds the lock of {self._path} may {what}.")


def _is_static(array: ArrayFiles) -> bool:
    return STIMULUS not in array.dims


def read_late(path: str | Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return what a begun store notes of late operations: positions and what was left out, see `note_late`.

    Parameters
    ----------
    path
        Folder of a store that was begun.

    Returns
    -------
    tuple of dict
        Addresses by position, and reasons by operation.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from neurolens.store import attach_store, create_store, open_store, read_late, verify_store
    >>> path = Path(tempfile.mkdtemp()) / "acts.zarr"
    >>> writer = create_store(path, stimuli={"stimulus": ["cat", "dog"]}, attrs={}, block_size=1)
    >>> writer.declare("fc", dims=("stimulus", "unit"), shape=(2, 3), dtype=np.float32, attrs={})
    >>> writer.note_late({"model.py:12": "fc"}, {})
    >>> writer.write_block(0, {"fc": np.ones((1, 3), np.float32)})
    >>> read_late(path)[0]
    {'model.py:12': 'fc'}
    """
    target = Path(path)
    if not (target / METADATA).is_file():
        return {}, {}
    noted = layout.read_root(target)["attributes"].get(LATE, {})
    return dict(noted.get("positions", {})), dict(noted.get("left_out", {}))


def _undeclared(address: str, known: Mapping[str, str]) -> str:
    close = near_misses(address, known)
    hint = f" Near it: {list_names(close)}." if close else ""
    return f"No operation {address!r} is declared in this store; declare it first.{hint}"
