"""What a recording is made of: values, events and scopes. Raw facts only; everything else is derived later."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, MappingProxyType
from typing import Any

import torch

from neurolens.recording.functions import Facts
from neurolens.recording.gradients import Gradients

# Autocasting in force: for each device type, the dtype.
Ambient = tuple[tuple[str, torch.dtype], ...]

# One frame between a scope and a call: its code, the instruction, and which activation of the code it is.
Site = tuple[tuple[CodeType, int, int], ...]


class _ValueDefaults:
    __slots__ = ()
    parameter: str = ""  # its name, where it is a parameter or buffer of the model
    base: Value | None = None  # the same tensor before a write through other memory of its storage


class Value(_ValueDefaults):
    """A tensor as an event left it. The memory itself, where it is kept, is in the recording.

    (Values, events and scopes refer to each other; a tensor among them would live until the garbage collector
    finds the circle, not until the recording goes. Values and events have no `__init__`: the hot path sets what
    is always there, in slots; what is rare has a default, and goes into a dict when it is set.)
    """

    __slots__ = (
        "__dict__",
        "device",
        "dtype",
        "event",
        "owner",
        "requires_grad",
        "shape",
        "storage",
        "version",
    )

    event: Event
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device
    storage: int
    owner: weakref.ref[torch.Tensor]
    requires_grad: bool  # this and the version: where it is kept
    version: int


class _EventDefaults:
    __slots__ = ()
    kwargs: Mapping[str, Any] = MappingProxyType({})
    written: tuple[Value, ...] = ()
    overwritten: tuple[Value, ...] = ()
    late: tuple[Value, ...] = ()
    rng: dict[str, torch.Tensor] | None = None
    ambient: Ambient | None = None
    grad_mode: bool = False  # some kernels (oneDNN's recurrent layers) are chosen by it
    in_transform: bool = False  # it ran inside vmap, grad or another transform of torch.func


class Event(_EventDefaults):
    """One call into torch that made or changed a tensor.

    `args` and `kwargs` hold the call's arguments with a Value in the place of each tensor; `out` likewise what
    came back. `overwritten` are arguments that the call wrote, and `written` what they were afterwards, where
    they were not returned. `late` are other tensors of the same memory, as they were found after the call.
    `rng` is the state of the default generators before a call that draws from it, `ambient` what autocasting was
    in force.
    """

    __slots__ = ("__dict__", "args", "facts", "index", "out", "scope", "site")

    index: int
    facts: Facts
    scope: Scope
    site: Site
    args: tuple[Any, ...]
    out: Any

    def inputs(self) -> Iterator[Value]:
        """Walk the tensors among the arguments."""
        yield from leaves(self.args)
        yield from leaves(self.kwargs)

    def outputs(self) -> Iterator[Value]:
        """Walk the tensors that came of the call: those returned, then those written."""
        yield from leaves(self.out)
        yield from self.written


@dataclass(frozen=True, slots=True)
class Readout:
    """Values that left torch for Python: the graph is cut here, and Python may have decided by them."""

    facts: Facts
    scope: Scope
    site: Site
    values: tuple[Value, ...]
    before: int  # index of the next event
    result: bool | None  # what `bool()` said


class Scope:
    """A call of a module, or of a composite function: what ran in between belongs to it."""

    parent: Scope | None
    site: Site
    start: int  # the index of the first event inside
    stop: int = -1
    path: str | None = None  # a module's path; None in a composite
    facts: Facts | None = None  # a composite's function; None in a module
    composites: str = ""  # the names of the composites up to the module it is in, outermost first
    module: torch.nn.Module | None = None
    module_scope: Scope  # the module call this scope is in, itself where it is one
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = MappingProxyType({})
    out: Any = None
    children: list[Event | Scope]


@dataclass(slots=True, eq=False, repr=False)
class Recording:
    """Everything seen during one call of a model."""

    root: Scope
    events: list[Event]
    inputs: Mapping[str, Any]  # argument name -> what was passed, with Values for tensors
    output: Any  # what was returned, with Values for tensors
    module_paths: tuple[str, ...]  # of every module the model holds
    tensors: dict[Value, torch.Tensor]  # what was kept
    complete: bool  # False where the call was stopped after the last operation asked for
    grad_mode: bool = True  # whether gradients were on around the call
    readouts: tuple[Readout, ...] = ()
    written: frozenset[str] = frozenset()  # parameters and buffers that the model wrote
    gradients: Gradients | None = None
    returned: Any = None  # what the model returned, where gradients are collected: backward begins there
    twins: Mapping[str, str] = field(default_factory=dict)  # further path of a module -> the path it goes by


def new_event(facts: Facts, scope: Scope, site: Site) -> Event:
    """Return an event that is not in the recording yet."""
    event = Event()
    event.facts, event.scope, event.site = facts, scope, site
    event.index, event.args, event.out = -1, (), None
    return event


def leaves(structure: Any) -> Iterator[Value]:
    """Walk the values in nested tuples, lists, mappings and objects made of them."""
    if isinstance(structure, Value):
        yield structure
    elif isinstance(structure, tuple | list):
        for item in structure:
            yield from leaves(item)
    elif isinstance(structure, Mapping):
        for item in structure.values():
            yield from leaves(item)


def labelled_leaves(structure: Any, label: str = "") -> Iterator[tuple[str, Value]]:
    """Walk the values of a result, each with its place in it: `[0]`, `[values]`, `[logits][1]`."""
    if isinstance(structure, Value):
        yield label, structure
    elif isinstance(structure, Mapping):
        for name, item in structure.items():
            yield from labelled_leaves(item, f"{label}[{name}]")
    elif isinstance(structure, tuple | list):
        names = getattr(structure, "_fields", range(len(structure)))
        for name, item in zip(names, structure, strict=False):
            yield from labelled_leaves(item, f"{label}[{name}]")
