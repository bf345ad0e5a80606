"""Verifying a store: is everything there, and does every chunk hold what was written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from neurolens.errors import StoreError, list_names
from neurolens.schema import STIMULUS
from neurolens.store import layout
from neurolens.store.chunks import Grid, decode_chunk, index_bytes, locate, parse_grid, read_index
from neurolens.store.layout import ACTIVATION, METADATA, inside
from neurolens.store.read import Store, open_store


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a store: where, which stimuli it concerns, and what.

    Attributes
    ----------
    address, file
        The operation, "" for the store as a whole, and the file inside the store.
    stimuli
        Ids of the stimuli whose values it spoils; none where it concerns no values.
    reason
        What is wrong with the file, in words.

    Examples
    --------
    >>> problem = Problem(address="fc", file="fc/activation/c/0/0", stimuli=("cat",), reason="is missing")
    >>> problem.reason
    'is missing'
    """

    address: str
    file: Path
    stimuli: tuple[Any, ...]
    reason: str

    def __str__(self) -> str:
        """Say where it is, what is wrong, and which stimuli it concerns."""
        concerned = f" (stimuli {list_names(self.stimuli, 4)})" if self.stimuli else ""
        return f"{self.address or 'the store'}: {self.file} {self.reason}{concerned}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found.

    Attributes
    ----------
    n_operations, n_files, n_bytes
        What was read: operations, files of data, and their bytes.
    missing
        Stimuli that an unfinished run has not written.
    problems
        What is wrong, one entry a file.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from neurolens.store import create_store, open_store, verify_store
    >>> path = tempfile.mkdtemp() + "/acts.zarr"
    >>> with create_store(path, stimuli={"stimulus": ["cat", "dog"]}, attrs={}, block_size=2) as writer:
    ...     writer.declare("fc", dims=("stimulus", "unit"), shape=(2, 3), dtype=np.float32, attrs={})
    ...     writer.write_block(0, {"fc": np.ones((2, 3), np.float32)})
    ...     writer.finish()
    >>> found = verify_store(path)
    >>> found.is_sound, found.n_operations, found.problems
    (True, 1, ())
    """

    n_operations: int
    n_files: int
    n_bytes: int
    missing: tuple[Any, ...]
    problems: tuple[Problem, ...]

    @property
    def is_sound(self) -> bool:
        """Whether the store is complete and every chunk is as it was written."""
        return not self.missing and not self.problems

    def __str__(self) -> str:
        """Say how much was read, and list what is wrong or missing."""
        read = f"{self.n_files} files of {self.n_operations} operations read, {self.n_bytes} bytes"
        if self.is_sound:
            return f"sound: {read}, every checksum right"
        lines = [f"{len(self.problems)} problems: {read}", *(f"  {problem}" for problem in self.problems)]
        if self.missing:
            lines.append(
                f"  unfinished: {len(self.missing)} stimuli are missing ({list_names(self.missing, 4)})"
            )
        return "\n".join(lines)


def verify_store(path: str | Path) -> Verification:
    """Read every chunk of a store and hold it against its checksum, and its files against its metadata.

    Parameters
    ----------
    path
        Folder of a store, finished or not.

    Returns
    -------
    Verification
        It names each damaged, missing or changed file. Nothing is repaired.

    Raises
    ------
    StoreError
        If there is no store, or its head can't be read.

    References
    ----------
    Checksums are CRC-32C (RFC 3720) or, with zstd, the content checksum of its frames (RFC 8878).

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from neurolens.store import create_store
    >>> path = tempfile.mkdtemp() + "/acts.zarr"
    >>> with create_store(path, stimuli={"stimulus": ["cat", "dog"]}, attrs={}, block_size=2) as writer:
    ...     writer.declare("fc", dims=("stimulus", "unit"), shape=(2, 3), dtype=np.float32, attrs={})
    ...     writer.write_block(0, {"fc": np.ones((2, 3), np.float32)})
    ...     writer.finish()
    >>> verify_store(path).is_sound
    True
    """
    store = open_store(path, incomplete=True)
    problems = list(_check_metadata(store))
    n_files = n_bytes = 0
    for entry in store.entries.values():
        problems += _check_coordinates(store, entry)
        for file, ids, reason in _check_operation(store, entry):
            if reason:
                problems.append(Problem(entry.address, file, ids, reason))
            if file.is_file():
                n_files += 1
                n_bytes += file.stat().st_size
    return Verification(len(store), n_files, n_bytes, store.missing, tuple(problems))


def _check_metadata(store: Store) -> Iterator[Problem]:
    """Find metadata that differ from those consolidated when the run finished."""
    consolidated = layout.read_root(store.path).get("consolidated_metadata")
    if not isinstance(consolidated, dict):
        return
    known = consolidated["metadata"]
    for name, expected in known.items():
        file = store.path / name / METADATA
        address = next((e.address for e in store.entries.values() if f"{name}/".startswith(f"{e.path}/")), "")
        if not file.is_file():
            yield Problem(address, file, (), "is missing")
        elif _read_or_none(file) != expected:
            yield Problem(address, file, (), "is not what it was when the run finished")
    for file in layout.metadata_files(store.path):
        if file.parent.relative_to(store.path).as_posix() not in known:
            yield Problem("", file, (), "was added after the run finished")


def _read_or_none(file: Path) -> dict[str, Any] | None:
    try:
        return layout.read_json(file)
    except StoreError:
        return None


def _check_coordinates(store: Store, entry: layout.Entry) -> Iterator[Problem]:
    """Find labels of an operation's axes that are damaged or missing; those of stimuli were read on opening."""
    for file in sorted((store.path / entry.path).glob(f"*/{METADATA}")):
        folder, metadata = file.parent, _read_or_none(file)
        if folder.name == ACTIVATION or metadata is None or metadata.get("node_type") != "array":
            continue  # _check_operation and _check_metadata tell
        try:
            layout.check_codecs(metadata, file)
            layout.check_coordinate(metadata, file)
        except StoreError as error:
            yield Problem(entry.address, file, (), f"is not to be used: {error}")
            continue
        grid = parse_grid(metadata)
        if grid is None:
            values, reason = folder, _check_by_zarr(folder)
        else:
            values = folder / grid.file_name()
            reason = check_file(values, grid) if grid.n_files else ""
        if reason:
            yield Problem(entry.address, values, (), reason)


def _check_operation(store: Store, entry: layout.Entry) -> Iterator[tuple[Path, tuple[Any, ...], str]]:
    """Yield every file of an operation that should be there, the stimuli in it, and what is wrong with it."""
    folder = store.path / entry.path / ACTIVATION
    metadata = _read_or_none(folder / METADATA)
    try:
        inside(store.path, f"{entry.path}/{ACTIVATION}")
        layout.check_codecs(metadata or {}, folder / METADATA)
    except StoreError as error:
        yield folder / METADATA, (), f"is not to be used: {error}"
        return
    grid = parse_grid(metadata or {})
    if grid is None:
        yield folder / METADATA, (), _check_by_zarr(folder)
        return
    ids = store.all_stimuli[STIMULUS].values
    declared = set(entry.attrs.get(layout.MISSING, ()))
    for number in range(grid.n_files):
        rows = slice(number * grid.files[0], (number + 1) * grid.files[0]) if grid.shape else slice(0, 0)
        concerned = tuple(ids[rows].tolist()) if STIMULUS in entry.dims else ()
        file = folder / grid.file_name(number)
        if file.is_file() or file.is_symlink():
            yield file, concerned, check_file(file, grid)
        elif _should_be_there(store, rows, concerned, declared):
            yield file, concerned, "is missing"


def _should_be_there(store: Store, rows: slice, ids: tuple[Any, ...], declared: set[Any]) -> bool:
    """Tell whether a block must have a file; in an unfinished store nobody knows yet what did not run."""
    return store.is_complete and not (ids and declared.issuperset(ids))


def check_file(file: Path, grid: Grid) -> str:
    """Return what is wrong with one file of data; "" where nothing is."""
    if file.is_symlink():
        return "is a link"
    data = np.fromfile(file, dtype=np.uint8)
    chunk = np.empty(grid.chunk_bytes, dtype=np.uint8)
    try:
        if not grid.is_sharded:
            decode_chunk(grid, data, chunk)
            return ""
        index = read_index(grid, data)
        for cell in np.ndindex(*grid.cells):
            place = locate(index, cell, len(data) - index_bytes(grid))
            if place is not None:
                decode_chunk(grid, data[place], chunk)
    except StoreError as error:
        return f"is damaged: {error}"
    return ""


def _check_by_zarr(folder: Path) -> str:
    """Let Zarr read what was written in a form of its own."""
    try:
        array = zarr.open_array(folder, mode="r", zarr_format=3)
        step = math.ceil(array.shape[0] / max(1, array.nchunks)) if array.shape else 1
        for start in range(0, array.shape[0] if array.shape else 1, max(1, step)):
            array[start : start + step] if array.shape else array[...]
    except Exception as error:  # Zarr and its codecs raise errors of many kinds
        return f"can't be read ({type(error).__name__}: {error})"
    return ""
