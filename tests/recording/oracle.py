"""Two truths about a run that are not the recorder's: clones made as calls return, and the kernels that ran."""

from __future__ import annotations

import copy
import sys

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from neurolens.recording import recorder as recorder_module
from neurolens.recording.functions import Kind, facts_of
from neurolens.recording.recorder import record
from neurolens.recording.scopes import current_recorder, listening

RECORDER_FILE = recorder_module.__file__


def tensors_in(structure):
    return [leaf for leaf in tree_leaves(structure) if isinstance(leaf, torch.Tensor)]


def clones_of(structure):
    with torch._C.DisableTorchFunction():
        return [tensor.detach().clone() for tensor in tensors_in(structure)]


class CloneAtCall(TorchFunctionMode):
    """Stands outside the recorder, and clones what every call gives and what it was given, as it returns."""

    def __init__(self):
        super().__init__()
        self.calls = []  # (function, clones of the results, clones of the arguments afterwards)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.calls.append((func, clones_of(out), clones_of((args, kwargs))))
        return out


class Kernels(TorchDispatchMode):
    """Lists the kernels that run while neither a call into torch is being handled nor the recorder keeps books."""

    def __init__(self):
        super().__init__()
        self.count, self.stray = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        recorder = current_recorder()
        if recorder is not None:
            self.count += 1
            if listening() is recorder and not _keeps_books():
                self.stray.append(func)
        with torch._C.DisableTorchFunction():
            return func(*args, **(kwargs or {}))


def _keeps_books():
    """Tell whether the recorder's own code called the kernel."""
    frame = sys._getframe(2)
    while frame is not None and "/torch/" in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename == RECORDER_FILE


def record_with_clones(model, args, kwargs, **options):
    """Record under an outer mode; return the recording, and for each call that made a tensor its clones."""
    oracle = CloneAtCall()
    with oracle:
        recording = record(model, args, kwargs, **options)
    made = [
        call
        for call in oracle.calls
        if facts_of(call[0]).kind not in (Kind.QUERY, Kind.READOUT) and (call[1] or facts_of(call[0]).writes)
    ]
    return recording, made


def copy_inputs(args, kwargs):
    return tree_map(lambda leaf: copy.deepcopy(leaf), (args, kwargs))


def same(a, b):
    """Bit for bit, not-a-number included."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.is_complex:
        a, b = torch.view_as_real(a.resolve_conj()), torch.view_as_real(b.resolve_conj())
    return torch.equal(a.nan_to_num(12345.0), b.nan_to_num(12345.0))
