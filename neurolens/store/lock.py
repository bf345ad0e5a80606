"""One run at a time: a lock file beside a store, released by the system when its process dies."""

from __future__ import annotations

import os
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from neurolens.errors import StoreError

if sys.platform != "win32":
    import fcntl

_held: set[Path] = set()  # record locks don't see a second opening in the same process
_held_guard = threading.Lock()


@dataclass(frozen=True)
class RunLock:
    """A lock that this process holds; `release` gives it back."""

    file: Path
    descriptor: int
    process: int

    def release(self) -> None:
        """Give the lock back; calling it again, or in a forked child, does nothing."""
        with _held_guard:
            if self.file in _held and self.process == os.getpid():
                self.file.unlink(missing_ok=True)
                os.close(self.descriptor)
                _held.discard(self.file)


def lock_store(path: Path) -> RunLock:
    """Take the lock of the store at `path`; StoreError names the holder where another run has it.

    The lock lies beside the store and says host and process. It is a record lock of the system: when the
    process ends, however it ends, the lock is free, and the file that is left is taken over.
    """
    file = path.resolve().with_name(f".{path.resolve().name}.lock")
    make_folder(file.parent)
    with _held_guard:
        if file in _held:
            raise StoreError(f"This process is already writing the store {path}. Finish or close that run.")
        descriptor = _open_locked(file, path)
        _held.add(file)
    os.truncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
    return RunLock(file, descriptor, os.getpid())


def make_folder(folder: Path) -> None:
    """Make a folder, with its parents; StoreError where that can't be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The folder {folder} can't be made ({error.strerror or error}). Choose a path that you may write to."
        ) from error


def _open_locked(file: Path, path: Path) -> int:
    while True:
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(
                f"The store {path} can't be written: no lock can be made beside it ({file}: {error.strerror}). Choose "
                "a folder that you may write to."
            ) from error
        if not _try_lock(descriptor):
            holder = os.read(descriptor, 200).decode(errors="replace") or "an unnamed process"
            os.close(descriptor)
            raise StoreError(
                f"Another run is writing the store {path}: {holder} (said by {file}). Wait for it or "
                "stop it. If it runs no more and this stays, delete that file."
            )
        if _is_current(file, descriptor):
            return descriptor
        os.close(descriptor)  # its holder removed it between our opening and locking it: try the new one


def _try_lock(descriptor: int) -> bool:
    if sys.platform == "win32":  # the file itself is the lock there, and must be deleted by hand after a kill
        return os.fstat(descriptor).st_size == 0
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_current(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
