"""Model inputs as batches: arguments, number of stimuli, and the same call for two or three stimuli."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from neurolens.errors import InputError
from neurolens.recording.structures import list_tensors


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of one call of a model."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def as_call(inputs: Any) -> Call:
    """Read a tuple as positional arguments, a Mapping as keyword arguments, anything else as the one argument."""
    if isinstance(inputs, Mapping):
        return Call((), dict(inputs))
    if isinstance(inputs, tuple):
        return Call(inputs, {})
    return Call((inputs,), {})


def count_stimuli(call: Call, axis: int = 0) -> int | None:
    """Return the length of the first tensor's stimulus axis; None where no tensor has one."""
    for tensor in list_tensors((call.args, dict(call.kwargs))):
        if tensor.ndim > axis:
            return int(tensor.shape[axis])
    return None


def rebatch(call: Call, n_stimuli: int, axis: int = 0) -> Call:
    """Return the same call for `n_stimuli` stimuli: the first of the batch, then changed copies of them.

    A changed copy is flipped or rolled along its last axis, so that its values stay in range and token ids
    stay valid. Tensors without the stimulus axis are passed on as they are.

    Raises
    ------
    InputError
        If no input has a stimulus axis.
    """
    size = count_stimuli(call, axis)
    if not size:
        raise InputError("no input tensor has a stimulus axis")

    def change(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim <= axis or tensor.shape[axis] != size:
            return tensor
        return torch.cat([_stimulus(tensor, index, axis) for index in range(n_stimuli)], dim=axis)

    return Call(_map(call.args, change), _map(dict(call.kwargs), change))


def take(call: Call, indices: slice, axis: int = 0) -> Call:
    """Return the call for some of its stimuli."""
    size = count_stimuli(call, axis)

    def change(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim <= axis or tensor.shape[axis] != size:
            return tensor
        return tensor[(slice(None),) * axis + (indices,)]

    return Call(_map(call.args, change), _map(dict(call.kwargs), change))


def move(call: Call, device: torch.device | str | None) -> Call:
    """Return the call with its tensors on a device."""
    if device is None:
        return call
    return Call(_map(call.args, lambda t: t.to(device)), _map(dict(call.kwargs), lambda t: t.to(device)))


@contextmanager
def undisturbed(model: Callable[..., Any]) -> Iterator[None]:
    """Run a model in eval mode without gradients, and leave flags, buffers and random state as they were.

    The model runs on copies of its buffers: what it writes into them is its own to keep as an activation.
    """
    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    flags = [module.training for module in modules]
    try:
        with torch.random.fork_rng(), torch.no_grad(), _copied_buffers(modules):
            for module in modules:
                module.training = False
            yield
    finally:
        for module, flag in zip(modules, flags, strict=True):
            module.training = flag


@contextmanager
def parameters_kept(model: Callable[..., Any], names: Collection[str]) -> Iterator[None]:
    """Give parameters that a model writes as it runs (it learns) their values back."""
    written = []
    if names and isinstance(model, torch.nn.Module):
        written = [(p, p.detach().clone()) for name, p in model.named_parameters() if name in names]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, content in written:
                parameter.copy_(content)


@contextmanager
def _copied_buffers(modules: list[torch.nn.Module]) -> Iterator[None]:
    """Put copies in the place of buffers; scripted modules keep theirs, and get the old values back."""
    python = [module for module in modules if not isinstance(module, torch.jit.ScriptModule)]
    scripted = [module for module in modules if isinstance(module, torch.jit.ScriptModule)]
    owned = [dict(module._buffers) for module in python]
    copies = {
        id(b): b.clone() for buffers in owned for b in buffers.values() if b is not None and not is_lazy(b)
    }
    kept = [(buffer, buffer.clone()) for module in scripted for buffer in module.buffers(recurse=False)]
    for module, buffers in zip(python, owned, strict=True):
        module._buffers.update({name: copies.get(id(b), b) for name, b in buffers.items()})
    try:
        yield
    finally:
        for module, buffers in zip(python, owned, strict=True):
            module._buffers.update(buffers)
        for buffer, copy in kept:
            if not torch.equal(buffer, copy):
                buffer.copy_(copy)


def _stimulus(tensor: torch.Tensor, index: int, axis: int) -> torch.Tensor:
    size = tensor.shape[axis]
    one = tensor.narrow(axis, index % size, 1)
    if index < size or tensor.ndim == axis + 1:
        return one
    return one.flip(-1) if index // size == 1 else one.roll(1, -1)


def _map(structure: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(structure, torch.Tensor):
        return change(structure)
    if isinstance(structure, Mapping):
        return {name: _map(item, change) for name, item in structure.items()}
    if isinstance(structure, tuple | list) and not isinstance(structure, torch.Size):
        items = [_map(item, change) for item in structure]
        return type(structure)(*items) if hasattr(structure, "_fields") else type(structure)(items)
    return structure
