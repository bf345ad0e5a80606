"""What a function mode is not told of: module calls, scripted code, `Tensor.set_`, new threads.

Their entry points are replaced while a recording lasts. The switch is process-wide and counted; in threads that
are not recorded the replaced functions do what they always do.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch

from neurolens.recording import compat
from neurolens.recording.compat import count_modes, mode_at
from neurolens.switches import Switch

if TYPE_CHECKING:
    from neurolens.recording.recorder import Recorder

_local = threading.local()

_ScriptModule = torch.jit.ScriptModule
_plain_start: Callable[..., Any] = threading.Thread.start
_plain_script: Callable[..., Any] = torch.ScriptFunction.__call__
_plain_set: Callable[..., Any] = torch.Tensor.set_

# Modules are called through one function of torch. Its code is exchanged, not the attribute of the class: a class that
# changes makes Python forget what it knew of it and of all that inherit from it, which costs each trace a millisecond.
_module_call: FunctionType = torch.nn.Module._call_impl  # type: ignore[assignment]
MODULE_CODE = _module_call.__code__  # the outermost frame inside a module's scope
_WRAPPER_CODE = torch.nn.Module._wrapped_call_impl.__code__
_plain_call = FunctionType(MODULE_CODE, _module_call.__globals__, _module_call.__name__)
_WATCH = "the function that watches stands here"


def _stand_in(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    watch: Any = "the function that watches stands here"
    return watch(self, *args, **kwargs)


def current_recorder() -> Recorder | None:
    """Return the recorder of this thread, or None."""
    return getattr(_local, "recorder", None)


def listening() -> Recorder | None:
    """Return the recorder that calls into torch would reach now, in this thread."""
    depth = count_modes()
    while depth:
        depth -= 1
        mode: Recorder = mode_at(depth)
        if getattr(mode, "watches_calls", False):
            return mode
    return None


@contextmanager
def watch_calls(recorder: Recorder) -> Iterator[None]:
    """Tell `recorder` of the calls in this thread, and in threads that are started from it."""
    with _replaced:
        _local.recorder = recorder
        try:
            yield
        finally:
            _local.recorder = None


def _replace() -> None:
    global _plain_start
    _plain_start = threading.Thread.start
    _module_call.__code__ = _watching_code
    torch.ScriptFunction.__call__ = _watched_script  # type: ignore[method-assign]
    torch.Tensor.set_ = _watched_set  # type: ignore[method-assign,assignment]
    threading.Thread.start = _watched_start  # type: ignore[method-assign]


def _put_back() -> None:
    _module_call.__code__ = MODULE_CODE
    torch.ScriptFunction.__call__ = _plain_script  # type: ignore[method-assign]
    del torch.Tensor.set_  # it is inherited
    threading.Thread.start = _plain_start  # type: ignore[method-assign]


_replaced = Switch(_replace, _put_back)


def _watched_call(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
    recorder = listening()
    if recorder is None:
        return _plain_call(self, *args, **kwargs)
    caller = sys._getframe(2)
    if caller.f_code is _WRAPPER_CODE:
        caller = caller.f_back  # type: ignore[assignment]
    scope = recorder.enter(self, caller)
    try:
        if isinstance(self, _ScriptModule):
            out = recorder.run_opaque(self, functools.partial(_plain_call, self), args, kwargs)
        else:
            out = _plain_call(self, *args, **kwargs)
    except BaseException:
        recorder.close(scope)
        raise
    recorder.leave(scope, out)
    return out


_watching_code = _stand_in.__code__.replace(
    co_consts=tuple(_watched_call if value == _WATCH else value for value in _stand_in.__code__.co_consts)
)


def _watched_script(self: Any, *args: Any, **kwargs: Any) -> Any:
    recorder = listening()
    if recorder is None:
        return _plain_script(self, *args, **kwargs)
    run = functools.partial(_plain_script, self)
    return recorder.run_opaque(self, run, args, kwargs, sys._getframe(1))


def _watched_set(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    recorder = listening()
    if recorder is None:
        return _plain_set(self, *args, **kwargs)
    return recorder.__torch_function__(_plain_set, (), (self, *args), kwargs)


def _watched_start(self: threading.Thread) -> None:
    recorder = listening()
    if recorder is not None:
        self.run = _recorded_run(self.run, recorder.fork())  # type: ignore[method-assign]
    _plain_start(self)


def _recorded_run(run: Callable[[], None], recorder: Recorder) -> Callable[[], None]:
    """Return what a thread runs, inside the recording. A thread that outlives it finds its recorder closed."""

    def recorded() -> None:
        _local.recorder = recorder
        compat.push_mode(recorder)
        try:
            run()
        finally:
            compat.pop_mode()
            _local.recorder = None

    return recorded
