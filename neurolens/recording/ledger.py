"""Which event made each living tensor, and what is kept of it."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from neurolens.recording import compat
from neurolens.recording.compat import peek_transform
from neurolens.recording.events import Event, Scope, Site, Value, leaves, new_event
from neurolens.recording.functions import Facts, Kind
from neurolens.recording.gradients import Gradients
from neurolens.recording.holdings import Holdings
from neurolens.recording.memory import Memory
from neurolens.recording.structures import list_tensors, same

SOURCE = Facts(None, "source", Kind.OPERATION)

# What is an argument by itself, and never holds a tensor.
ATOMS = frozenset((int, float, bool, str, type(None), torch.dtype, torch.device, torch.Size, slice))


class Ledger:
    """The events of a recording, and the latest value of every tensor that lives.

    Threads of one recording write into one ledger. Where a tensor turns up that no event made, it is entered in
    the scope and at the site of the call that met it.
    """

    def __init__(self, holdings: Holdings, memory: Memory, gradients: Gradients | None) -> None:
        self.holdings = holdings
        self.memory = memory
        self.gradients = gradients
        self.events: list[Event] = []
        self.values: dict[int, Value] = {}  # id of a living tensor -> its latest value
        self.appending = threading.Lock()
        self.is_shared = False  # by several threads

    def append(self, event: Event) -> None:
        """Enter an event."""
        with self.appending:
            event.index = len(self.events)
            self.events.append(event)
        event.scope.children.append(event)

    # ------------------------------------------------------------------ what goes into a call

    def lift(self, structure: Any, scope: Scope, site: Site) -> Any:
        """Copy nested arguments with the latest Value in the place of each tensor."""
        value = self.values.get(id(structure))
        if value is not None and value.owner() is structure and value.storage not in self.memory.disturbed:
            return value
        return _replace(structure, self.latest, scope, site)

    def lift_arguments(self, arguments: tuple[Any, ...], scope: Scope, site: Site) -> tuple[Any, ...]:
        """Lift positional arguments: `lift` for a tuple, written out since every call passes here."""
        values, disturbed, lifted = self.values, self.memory.disturbed, []
        for item in arguments:
            kind = type(item)
            if kind in ATOMS:
                lifted.append(item)
                continue
            value = values.get(id(item))
            if value is not None and value.owner() is item and value.storage not in disturbed:
                lifted.append(value)
            elif kind is tuple:
                lifted.append(self.lift_arguments(item, scope, site))
            elif kind is list:
                lifted.append(list(self.lift_arguments(item, scope, site)))
            elif isinstance(item, torch.Tensor):
                lifted.append(self.latest(item, scope, site))
            else:
                lifted.append(_replace(item, self.latest, scope, site))
        return tuple(lifted)

    def lift_keywords(self, arguments: Mapping[str, Any], scope: Scope, site: Site) -> dict[str, Any]:
        """Lift arguments that are given by name."""
        return {
            name: item if type(item) in ATOMS else self.lift(item, scope, site)
            for name, item in arguments.items()
        }

    def latest(self, tensor: torch.Tensor, scope: Scope, site: Site) -> Value:
        """Return what a tensor is now: as it was made, or as a write through other memory left it."""
        value = self.values.get(id(tensor))
        if value is None or value.owner() is not tensor:
            with compat.unobserved():
                return self._enter_orphan(tensor, scope, site)
        memory = self.memory
        if value.storage in memory.disturbed:
            writer = memory.writers.get(value.storage)
            if writer is not None and writer.index > value.event.index:
                with compat.unobserved():
                    return self._rewritten(tensor, value, writer)
            if value.storage in memory.exposed:
                with compat.unobserved():
                    return self._recheck(tensor, value, scope, site)
        return value

    def enter_parameters(self, scope: Scope) -> None:
        """Enter what the model holds at once: one after the other is far quicker than each between two kernels.

        Not where keeping is more than a reference: then what is never used would be copied, or watched.
        """
        held, event, values = self.holdings.held, new_event(SOURCE, scope, ()), self.values
        if self.gradients is None and not self.memory.on_cpu:
            for name, tensor in held.items():
                if tensor.dim() == 0:  # a counter, most likely, that is never used
                    continue
                try:
                    value = values[id(tensor)] = self.enter_plain(tensor, event, True)
                except RuntimeError:  # it has no storage, or no shape
                    continue
                value.parameter = self.memory.owned[value.storage] = name
        held.clear()

    def _enter_orphan(self, tensor: torch.Tensor, scope: Scope, site: Site) -> Value:
        """Enter a tensor that no event made: a parameter, or a source that could not be seen."""
        event = new_event(SOURCE, scope, site)
        value = event.out = self.enter(tensor, event, keep=True)
        value.parameter = self.holdings.owned.get(id(tensor), "")
        if value.parameter:
            self.memory.owned[value.storage] = value.parameter
        else:
            self.append(event)
        return value

    def _rewritten(self, tensor: torch.Tensor, before: Value, writer: Event) -> Value:
        """Give a tensor whose memory was written by way of another tensor the value that the write left in it."""
        after = self.enter(tensor, writer, keep=before in self.memory.tensors)
        after.base = before
        writer.late += (after,)
        return after

    def _recheck(self, tensor: torch.Tensor, value: Value, scope: Scope, site: Site) -> Value:
        """Compare memory that others can write with what was kept of it: a change is a source."""
        kept = self.memory.tensors.get(value)
        if kept is None or same(kept, tensor):
            return value
        event = new_event(SOURCE, scope, site)
        event.out = after = self.enter(tensor, event, keep=True)
        after.base = value
        self.append(event)
        return after

    # ------------------------------------------------------------------ what comes of a call

    def register(self, structure: Any, event: Event, keep: bool) -> Any:
        """Like lift, for what an event made: each tensor gets a new Value."""
        return _replace(structure, self.enter, event, keep)

    def enter(self, tensor: torch.Tensor, event: Event, keep: bool) -> Value:
        """Give a tensor the value that an event left in it."""
        if peek_transform() is None:
            try:
                return self.enter_plain(tensor, event, keep)
            except RuntimeError:  # it has no storage, or no shape
                pass
        seen = compat.physical(tensor)
        value = Value()
        value.event, value.owner = event, weakref.ref(tensor)
        value.shape, value.dtype, value.device = compat.shape(seen), seen.dtype, seen.device
        value.storage = key = compat.storage_key(seen)
        memory = self.memory
        if key in memory.disturbed and event.facts is not SOURCE and not _shares_memory(event, key):
            memory.forget(key)
        if keep:
            self.hold(value, tensor)
        self.values[id(tensor)] = value
        return value

    def enter_plain(self, tensor: torch.Tensor, event: Event, keep: bool) -> Value:
        """Like enter, for a tensor outside of transforms; every operation passes here.

        Raises RuntimeError, and does nothing, where the tensor has no storage or no shape.
        """
        value = Value()
        value.shape = tensor.shape
        value.storage = key = tensor.untyped_storage()._cdata
        value.event = event
        value.dtype = tensor.dtype
        value.device = tensor.device
        value.owner = weakref.ref(tensor)
        memory = self.memory
        if key in memory.disturbed and event.facts is not SOURCE and not _shares_memory(event, key):
            memory.forget(key)  # new memory where older memory used to be
        if keep:
            if self.gradients is None and not memory.on_cpu and key not in memory.exposed:
                memory.tensors[value] = alias = tensor.detach()
                memory.unsorted.append(value)
                value.requires_grad = tensor.requires_grad
                try:
                    value.version = alias._version
                except RuntimeError:  # an inference tensor counts no writes
                    value.version = -1
            else:
                self.hold(value, tensor)
        self.values[id(tensor)] = value
        return value

    def hold(self, value: Value, tensor: torch.Tensor) -> None:
        """Keep what a value is, and where asked for its gradient."""
        self.memory.hold(value, tensor)
        if self.gradients is not None and tensor.requires_grad:
            self.gradients.watch(value, tensor)

    def hold_all(self, lifted: Any, structure: Any) -> None:
        """Keep every value of a structure that is not kept yet."""
        with compat.unobserved():
            for value, tensor in zip(leaves(lifted), list_tensors(structure), strict=True):
                if value not in self.memory.tensors:
                    self.hold(value, tensor)

    def is_new(self, structure: Any) -> bool:
        """Tell whether a structure holds a tensor that is not known."""
        return any(
            (value := self.values.get(id(tensor))) is None or value.owner() is not tensor
            for tensor in list_tensors(structure)
        )

    def record_writes(self, event: Event, out: Any, touched: Sequence[torch.Tensor], keep: bool) -> None:
        """Note what a call wrote: the arguments that it did not return get values of their own."""
        if not event.facts.writes and not event.kwargs.get("out"):
            return
        returned = {id(tensor) for tensor in list_tensors(out)}
        silent = [tensor for tensor in touched if id(tensor) not in returned]
        if silent:
            event.overwritten = tuple(self.latest(tensor, event.scope, event.site) for tensor in silent)
            event.written = tuple(self.enter(tensor, event, keep) for tensor in silent)
        self.memory.note_writes(touched, event)


def list_touched(facts: Facts, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    """Return the tensors whose memory a call writes or hands out."""
    touched: list[torch.Tensor] = []
    if facts.hands_out:
        touched.extend(list_tensors(args))
    for position in facts.writes if spares_statistics(args) else facts.writes + facts.side_writes:
        if position < len(args):
            touched.extend(list_tensors(args[position]))
    for name in ("out", *(("input", "self") if facts.writes and not args else ())):
        touched.extend(list_tensors(kwargs.get(name)))
    return touched


def spares_statistics(args: tuple[Any, ...]) -> bool:
    """Tell whether a normalisation leaves its running statistics alone: the argument after them says so."""
    return len(args) > 5 and args[5] is False


def _replace(structure: Any, value_of: Callable[..., Value], *context: Any) -> Any:
    """Copy a nested structure with `value_of(tensor, *context)` in the place of each tensor."""
    kind = type(structure)
    if kind in ATOMS:
        return structure
    if isinstance(structure, torch.Tensor):
        return value_of(structure, *context)
    if kind is torch.Generator:
        return structure.clone_state()
    if kind is tuple:
        return tuple([_replace(item, value_of, *context) for item in structure])
    if kind is list:
        return [_replace(item, value_of, *context) for item in structure]
    if kind is dict:
        return {
            name: item if type(item) in ATOMS else _replace(item, value_of, *context)
            for name, item in structure.items()
        }
    if kind.__module__ == "torch.return_types":
        items = [_replace(item, value_of, *context) for item in structure]
        return dict(zip(_field_names(structure), items, strict=True))
    if isinstance(structure, Mapping):
        return {name: _replace(item, value_of, *context) for name, item in structure.items()}
    if isinstance(structure, tuple | list):
        items = [_replace(item, value_of, *context) for item in structure]
        return kind(*items) if hasattr(structure, "_fields") else items
    if dataclasses.is_dataclass(structure) and not isinstance(structure, type):
        names = [field.name for field in dataclasses.fields(structure)]
        return {name: _replace(getattr(structure, name), value_of, *context) for name in names}
    return structure


def _shares_memory(event: Event, key: int) -> bool:
    first = event.args[0] if event.args else None
    if type(first) is Value and first.storage == key:
        return True
    return any(value.storage == key for value in event.inputs())


def _field_names(result: Any) -> tuple[str, ...]:
    """Return the field names of one of torch's named results, in their order."""
    names: tuple[str, ...] = type(result).__match_args__
    return names
