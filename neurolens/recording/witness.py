"""An independent witness: sees every kernel that runs, and says which ran outside a recorded operation."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from neurolens.recording import compat, ledger, memory, recorder, scopes, structures
from neurolens.recording.events import Recording
from neurolens.recording.recorder import Recorder

_OPERATIONS = frozenset(
    function.__code__ for function in (Recorder.__torch_function__, Recorder._record_any, Recorder.run_opaque)
)
_OUTSIDE = frozenset({Recorder.run.__code__, Recorder._run_composite.__code__, scopes._watched_call.__code__})
_OWN_FILES = frozenset(module.__file__ for module in (compat, ledger, memory, recorder, scopes, structures))
_BACKWARD = "_engine_run_backward"


@dataclass(slots=True)
class Testimony:
    """Kernels by where they ran: in recorded operations, in autograd inside forward, making sources, or outside."""

    inside: int = 0
    autograd: int = 0
    sources: int = 0  # tensors that were handed over from outside torch
    outside: Counter[str] = field(default_factory=Counter)


class _Witness(TorchDispatchMode):
    """Counts kernels. It sees this thread only, as the recorder does."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.testimony = Testimony()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self._place(func, sys._getframe(1))
        with torch._C.DisableTorchFunction():
            return func(*args, **(kwargs or {}))

    def _place(self, func: Any, frame: FrameType | None) -> None:
        """Find the nearest frame of the recorder: it says what the kernel belongs to."""
        backward = False
        while frame is not None:
            code = frame.f_code
            backward = backward or code.co_name == _BACKWARD
            if code in _OPERATIONS:
                self.testimony.inside += 1
                return
            if code in _OUTSIDE:
                break
            if code.co_filename in _OWN_FILES:
                return  # the recorder's own bookkeeping
            frame = frame.f_back
        if backward:
            self.testimony.autograd += 1
        elif func is torch.ops.aten.lift_fresh.default:
            self.testimony.sources += 1
        else:
            self.testimony.outside[str(func)] += 1


def run_witnessed(
    model: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Recording, Testimony]:
    """Record a call with the witness beside it, apart from the recording that is kept."""
    witness = _Witness()
    with witness:
        recording = Recorder(model).run(args, dict(kwargs))
    return recording, witness.testimony
