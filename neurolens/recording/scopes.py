"""Which module is running: `nn.Module.__call__` is watched while a recording lasts, and only in its threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from neurolens.recording import compat

if TYPE_CHECKING:
    from neurolens.recording.recorder import Recorder

_lock = threading.Lock()
_watchers = 0
_plain_call: Any = None
_local = threading.local()


def current_recorder() -> Recorder | None:
    """Return the recorder of this thread, or None."""
    return getattr(_local, "recorder", None)


@contextmanager
def watch_modules(recorder: Recorder) -> Iterator[None]:
    """Tell `recorder` of every module call in this thread. The switch is process-wide and counted."""
    global _watchers, _plain_call
    with _lock:
        if _watchers == 0:
            _plain_call = torch.nn.Module.__call__
            torch.nn.Module.__call__ = _watched_call  # type: ignore[method-assign]
        _watchers += 1
    _local.recorder = recorder
    try:
        yield
    finally:
        _local.recorder = None
        with _lock:
            _watchers -= 1
            if _watchers == 0:
                torch.nn.Module.__call__ = _plain_call  # type: ignore[method-assign]


def _watched_call(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    recorder = getattr(_local, "recorder", None)
    if recorder is None or not compat.is_mode_active(recorder):
        return _plain_call(self, *args, **kwargs)
    # a frame among its own locals would be a circle, and hold the recorder until the garbage collector comes
    scope = recorder.enter(self, sys._getframe(1), sys._getframe())
    try:
        out = _plain_call(self, *args, **kwargs)
        recorder.leave(scope, out)
    finally:
        recorder.close(scope)
    return out
