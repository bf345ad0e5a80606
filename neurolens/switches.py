"""Settings of the whole process that several threads may want at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ContextDecorator

__all__ = ["Switch"]


class Switch(ContextDecorator):
    """A context that switches on with the first who enters it, in any thread, and off with the last who leaves.

    Examples
    --------
    >>> lamp = Switch(lambda: print("on"), lambda: print("off"))
    >>> with lamp, lamp:
    ...     print("light")
    on
    light
    off
    """

    def __init__(self, on: Callable[[], None], off: Callable[[], None]) -> None:
        self._on, self._off = on, off
        self._lock = threading.Lock()
        self._n_users = 0

    def __enter__(self) -> None:
        """Switch on, unless somebody did."""
        with self._lock:
            if self._n_users == 0:
                self._on()
            self._n_users += 1

    def __exit__(self, *_: object) -> None:
        """Switch off, unless somebody still wants it."""
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                self._off()
