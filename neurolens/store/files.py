"""Files that are whole or absent, and stay: what lets a run be killed at any moment."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from neurolens.errors import StoreError
from neurolens.store.chunks import Buffer
from neurolens.store.layout import BLOCKS_DONE

# Files lie here until they are whole: no reader lists the folder of an array, and this one goes at the end.
UNFINISHED = BLOCKS_DONE


def write_files(root: Path, files: Mapping[str, bytes | Sequence[Buffer]], *, flush: bool) -> list[Path]:
    """Write files below `root`, by relative path, each under another name first: it is whole or absent.

    Parameters
    ----------
    root
        Folder that none of them may leave.
    files
        Contents by relative path: bytes, or pieces to be written one after the other.
    flush
        Whether each is on the device before it gets its name. If False, call `flush_files` before anything
        relies on it.

    Returns
    -------
    list of Path
        The files.
    """
    resolved = root.resolve()
    written = []
    for name, data in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(resolved):
            raise StoreError(f"{target} would be written outside the store {root}: a link leads out of it.")
        _replace(target, data, root / UNFINISHED / f".{uuid.uuid4().hex}", flush=flush)
        written.append(target)
    if flush:
        for folder in {target.parent for target in written}:
            _flush_path(folder)
    return written


def _replace(target: Path, data: bytes | Sequence[Buffer], partial: Path, *, flush: bool) -> None:
    try:
        partial.parent.mkdir(exist_ok=True)
        with partial.open("wb") as stream:
            for piece in [data] if isinstance(data, bytes) else data:
                stream.write(piece)
            if flush:
                stream.flush()
                os.fsync(stream.fileno())
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StoreError(_say_unwritten(target, error)) from error


def _say_unwritten(target: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk is full: {target} can't be written ({error.strerror}). All blocks written before are kept: "
            "make space and run the same again, and it is taken up where it was."
        )
    return f"{target} can't be written: {error.strerror or error}."


def flush_files(root: Path, files: Iterable[Path]) -> None:
    """Return when `files`, all below `root`, are on the device, with the folders that name them.

    Linux does it for a whole file system at once, some ten times faster than file by file.
    """
    if not _flush_file_system(root):
        pool = set(files)
        for path in pool | {file.parent for file in pool}:
            _flush_path(path)


class PendingFiles:
    """Files of a store that were written and that nothing may rely on yet: `flush` brings all to the device."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: list[Path] = []

    def write(self, files: Mapping[str, bytes | Sequence[Buffer]]) -> None:
        """Write files, as `write_files` does; several threads may."""
        self._files.extend(write_files(self._root, files, flush=False))

    def flush(self) -> None:
        """Return when all that were written are on the device."""
        flush_files(self._root, self._files)
        self._files.clear()


def _flush_file_system(root: Path) -> bool:
    syncfs = getattr(ctypes.CDLL(None), "syncfs", None) if sys.platform == "linux" else None
    if syncfs is None:
        return False
    descriptor = os.open(root, os.O_RDONLY)
    try:
        return bool(syncfs(descriptor) == 0)
    finally:
        os.close(descriptor)


def _flush_path(path: Path) -> None:
    if sys.platform == "win32" and path.is_dir():  # folders can't be opened there
        return
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial(root: Path) -> None:
    """Delete what an interrupted run left half written."""
    for partial in (root / UNFINISHED).glob(".*"):
        partial.unlink(missing_ok=True)
