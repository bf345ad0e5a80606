"""Garbage is looked for rarely while what is made is there to stay: a recording, its names, its graph."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 100_000  # new objects before Python looks through them; by default it does after 700

_lock = threading.Lock()
_n_users = 0
_thresholds = gc.get_threshold()


@contextmanager
def collected_rarely() -> Iterator[None]:
    """Let Python look for garbage rarely, in all threads, until the last of those who ask for it is done.

    Looking through many new objects in vain makes Python look through all objects of the process, in vain too.
    """
    global _n_users, _thresholds
    with _lock:
        if _n_users == 0:
            _thresholds = gc.get_threshold()
            if _thresholds[0]:  # 0: somebody switched it off
                gc.set_threshold(max(_thresholds[0], _MANY), *_thresholds[1:])
        _n_users += 1
    try:
        yield
    finally:
        with _lock:
            _n_users -= 1
            if _n_users == 0:
                gc.set_threshold(*_thresholds)
