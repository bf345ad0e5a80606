"""A store being written: block by block, so that a run may be killed at any moment and taken up again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from neurolens.errors import StoreError, list_names
from neurolens.store import layout
from neurolens.store.arrays import encode_metadata
from neurolens.store.files import PendingFiles, remove_partial, write_files
from neurolens.store.groups import Groups
from neurolens.store.layout import BLOCKS_DONE, LATE, METADATA
from neurolens.store.lock import RunLock
from neurolens.store.operations import group_metadata, make_operation

_N_THREADS = min(4, os.cpu_count() or 1)  # that encode the operations of a block


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
    >>> writer.path == path, writer.addresses, writer.n_stimuli, writer.n_blocks, writer.done_blocks
    (True, ('fc',), 2, 2, (0,))
    >>> writer.write_block(1, {"fc": np.ones((1, 3), np.float32)})
    >>> writer.note_late({}, {})
    >>> writer.finish()
    >>> writer.is_complete
    True
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
        self._pending = PendingFiles(path)
        if lock is not None and self.is_complete:
            shutil.rmtree(path / BLOCKS_DONE, ignore_errors=True)  # left by a run killed while it finished
        elif lock is not None:
            remove_partial(path)
            self._write_root()  # consolidated metadata would hide the groups that are still to come
        self._groups = Groups(path, self._head, self._pending)

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
        return self._groups.addresses

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
        if address not in self._groups:
            self._require_unfinished(f"add the operation {address!r}")
        self._groups.declare(operation)

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
            self._groups.check_values(index, address, values, part.stop - part.start)
        with ThreadPoolExecutor(_N_THREADS, "neurolens-encode") as pool:
            list(pool.map(lambda a: self._groups.write_values(a, arrays[a], part.start), arrays))
        if not self._root_flushed and self._lock is not None:
            self._write_root()
        self._pending.flush()
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
        if address.rpartition(":")[0] not in self._groups:
            self._groups.require(address)
        if name in self._groups or self._aliases.get(name, address) != address:
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
            self._groups.note_missing_stimuli([self.block_slice(index) for index in range(self.n_blocks)])
            self._head["complete"] = True
            self._write_root(consolidate=True)
            shutil.rmtree(self._path / BLOCKS_DONE)
        self.close()

    def close(self) -> None:
        """Give the lock back; what is written stays, and a later run takes it up."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        """Write inside a `with`: the lock is given back at its end, also after an error."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lock back; nothing is finished by it."""
        self.close()

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
        self._pending.flush()
        write_files(self._path, {METADATA: encode_metadata(root)}, flush=True)
        self._root_flushed = True

    def _require_unfinished(self, what: str) -> None:
        if self.is_complete:
            raise StoreError(f"The store {self._path} is finished; to {what}, write a new store.")

    def _require_lock(self, what: str) -> None:
        if self._lock is None:
            raise StoreError(f"Only the run that holds the lock of {self._path} may {what}.")
