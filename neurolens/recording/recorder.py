"""The hot path: record every call into torch while a model runs, and nothing else."""

from __future__ import annotations

import copy
import dataclasses
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from types import FrameType, FunctionType
from typing import Any, Literal, get_args

import torch
from torch.overrides import TorchFunctionMode

from neurolens.errors import TraceError, check_choice
from neurolens.recording import compat, scopes
from neurolens.recording.events import Event, Readout, Recording, Scope, Site, Value, leaves
from neurolens.recording.functions import Facts, Kind, facts_of
from neurolens.recording.gradients import Gradients
from neurolens.recording.holdings import Holdings, name_arguments
from neurolens.recording.memory import Memory
from neurolens.recording.structures import list_tensors, same

KeepOn = Literal["device", "cpu"]
Keep = Callable[[Scope, str], bool]  # may the operation `name` in this scope be asked for?

_INPUT = Facts(None, "input", Kind.OPERATION)
_SOURCE = Facts(None, "source", Kind.OPERATION)
_PLAIN = (int, float, bool, str, type(None), torch.dtype, torch.device, torch.Size, slice)


class _Stop(BaseException):
    """Ends the forward pass after the last operation asked for. Not an Exception: models may catch those."""


def record(
    model: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    keep: Keep | bool = True,
    stop_after: int | None = None,
    gradients: bool = False,
    keep_on: KeepOn = "device",
) -> Recording:
    """Call `model` once and record what it does.

    Parameters
    ----------
    model
        A module or any callable.
    args, kwargs
        Its arguments.
    keep
        Which activations to hold: all, none, or a function that says which may be asked for.
    stop_after
        Stop once this many events are recorded.
    gradients
        Collect, in a later backward, the gradient of everything that is kept.
    keep_on
        Where activations are held: on the device that computed them, by reference; or copied to the CPU.

    Returns
    -------
    Recording
        Events in order, with their scopes. `complete` is False where the call was stopped.

    Raises
    ------
    TraceError
        If the model is being recorded in this thread already. What the model raises is raised.
    """
    if scopes.current_recorder() is not None:
        raise TraceError(
            "A recording is running in this thread already: a trace inside a trace is not defined."
        )
    collected = Gradients() if gradients else None
    check_choice(keep_on, get_args(KeepOn), "keep_on")
    return Recorder(model, keep, stop_after, collected, keep_on).run(args, dict(kwargs or {}))


class Recorder(TorchFunctionMode):
    """The function mode that records. One recorder records one call."""

    def __init__(
        self,
        model: Callable[..., Any],
        keep: Keep | bool = True,
        stop_after: int | None = None,
        gradients: Gradients | None = None,
        keep_on: KeepOn = "device",
    ) -> None:
        super().__init__()
        self.model = model
        self.keep = keep
        self.stop_after = sys.maxsize if stop_after is None else stop_after
        self.events: list[Event] = []
        self.values: dict[int, Value] = {}  # id of a living tensor -> its latest value
        self.memory = Memory(on_cpu=keep_on == "cpu")
        self.gradients = gradients
        self.holdings = Holdings(model)
        self.appending = threading.Lock()
        self.opened: dict[int, FunctionType] = {}
        self.globals: dict[int, dict[str, Any]] = {}
        self.readouts: list[Readout] = []
        self.root = Scope(None, (), "", None, None, 0)
        self.scope = self.root
        self.here: Site = ()  # where the call being recorded stands
        self.wanted: dict[tuple[str, str], bool] = {}
        self.open = [True]  # shared with the recorders of further threads

    # ------------------------------------------------------------------ the whole call

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recording:
        """Call the model under this mode."""
        with compat.unobserved():
            inputs = self._record_inputs(args, kwargs)
        complete = True
        out: Any = None
        with scopes.watch_calls(self), compat.eager():
            compat.push_mode(self)
            try:
                if len(self.events) >= self.stop_after:
                    raise _Stop
                if not isinstance(self.model, torch.nn.Module):
                    self.root.frame = sys._getframe()
                out = self.model(*args, **kwargs)
            except _Stop:
                complete = False
            finally:
                compat.pop_mode()
                self.root.frame = None
        with compat.unobserved():
            output = self.lift(out) if complete else None
            if self._wants_address(self.root, "output"):
                self._hold_all(output, out)
            written = self.memory.settle()
        if not isinstance(self.model, torch.nn.Module):
            self.root.out, self.root.stop = output, len(self.events)
        self.values.clear()
        self.open[0] = False
        return Recording(
            root=self.root,
            events=self.events,
            inputs=inputs,
            output=output,
            module_paths=tuple(path for path in self.holdings.paths.values() if path),
            tensors=self.memory.tensors,
            complete=complete,
            written=written,
            readouts=tuple(self.readouts),
            twins=self.holdings.twins,
            gradients=self.gradients,
            returned=out if self.gradients is not None else None,
        )

    def _record_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        names = name_arguments(self.model, len(args))
        named = dict(zip(names, args, strict=True)) | kwargs
        inputs = {}
        for name, value in named.items():
            event = Event(-1, _INPUT, self.root, ())
            labels = (f"{_INPUT.name}.{name}", name)  # its address among several, and its fx node name
            keep = self._wants(_INPUT) or any(self._wants_address(self.root, label) for label in labels)
            event.out = self._register(value, event, keep)
            if any(True for _ in leaves(event.out)):
                self._append(event)
            inputs[name] = event.out
        return inputs

    # ------------------------------------------------------------------ one call into torch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        facts = facts_of(func)
        kind = facts.kind
        if kind is Kind.QUERY:
            return func(*args, **kwargs)
        scope = self.scope
        if kind is Kind.COMPOSITE and facts is not scope.facts:
            return self._run_composite(facts, args, kwargs, sys._getframe(1))
        with compat.unobserved():
            self.here = self._site(func, sys._getframe(1))
            event = Event(-1, facts, scope, self.here)
            event.args = self.lift(args)
            if kwargs:
                event.kwargs = self.lift(kwargs)
            if facts.is_random:
                event.rng = compat.random_state()
            event.ambient = compat.autocasting()
            event.in_transform = compat.in_transform()
            touched = self._touched(facts, args, kwargs)
            if touched:
                self.memory.preserve(touched)
                if facts.hands_out:
                    self.memory.expose(touched)
        out = func(*args, **kwargs)
        if kind is Kind.READOUT:
            self._record_readout(event, out)
            return out
        with compat.unobserved():
            self._finish(event, out, touched)
        return out

    def run_opaque(
        self,
        function: Any,
        run: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        caller: FrameType | None = None,
    ) -> Any:
        """Record compiled code that cannot be opened as one operation; it may write what it is given."""
        facts = Facts(function, "scripted", Kind.OPERATION, hands_out=True, is_random=True)
        with compat.unobserved():
            self.here = () if caller is None else self._site(None, caller)  # a module's scope says where
            event = Event(-1, facts, self.scope, self.here, self.lift(args), self.lift(kwargs))
            event.rng = compat.random_state()
            given = list_tensors((args, kwargs))
            self.memory.preserve(given)
            self.memory.expose(given)
        compat.pop_mode()
        try:
            out = run(*args, **kwargs)
        finally:
            compat.push_mode(self)
        with compat.unobserved():
            self._finish(event, out, [])
        return out

    def fork(self) -> Recorder:
        """Return a recorder for a thread that is started here: it records into this one, in this scope."""
        twin = copy.copy(self)
        twin.__class__ = _ThreadRecorder
        return twin

    def _record_readout(self, event: Event, out: Any) -> None:
        values = tuple(event.inputs())
        result = out if isinstance(out, bool) else None
        self.readouts.append(Readout(event.facts, event.scope, event.site, values, len(self.events), result))

    def _finish(self, event: Event, out: Any, touched: list[torch.Tensor]) -> None:
        """Record what came of a call, unless no tensor did."""
        keep = self._wants(event.facts)
        event.out = self._register(out, event, keep)
        if touched:
            self._record_writes(event, out, touched, keep)
        elif event.facts.reshapes:
            self.memory.restore_versions(list_tensors(out))
        if not event.written and not any(True for _ in leaves(event.out)):
            return
        self._append(event)
        if len(self.events) >= self.stop_after:
            raise _Stop

    def _append(self, event: Event) -> None:
        with self.appending:
            event.index = len(self.events)
            self.events.append(event)
        event.scope.children.append(event)

    def _run_composite(
        self, facts: Facts, args: tuple[Any, ...], kwargs: dict[str, Any], caller: FrameType
    ) -> Any:
        """Run the body of a Python function of torch with the mode on again, so that its inside is seen."""
        outer = self.scope
        with compat.unobserved():
            self.here = self._site(facts.function, caller)
            inner = Scope(outer, self.here, None, facts, None, len(self.events))
            inner.args, inner.kwargs = self.lift(args), self.lift(kwargs)
        body = self._open(facts.function)
        self.scope = inner
        inner.frame = sys._getframe()
        compat.push_mode(self)
        try:
            out = body(*args, **kwargs)
        finally:
            compat.pop_mode()
            self.scope = outer
            inner.frame = None
        with compat.unobserved():
            inner.stop = len(self.events)
            if inner.children:
                inner.out = self.lift(out)
                outer.children.append(inner)
            elif self._is_new(out):  # nothing was seen inside, yet a tensor came out: one opaque operation
                event = Event(-1, facts, outer, inner.site, inner.args, inner.kwargs)
                self._finish(event, out, [])
        return out

    def _open(self, function: FunctionType) -> FunctionType:
        """Return a copy of `function` that never hands itself over to a mode."""
        opened = self.opened.get(id(function))
        if opened is None:
            names = self.globals.get(id(function.__globals__))
            if names is None:
                names = dict(function.__globals__)
                names.update(dict.fromkeys(compat.TAKEOVER_QUESTIONS, _never))
                self.globals[id(function.__globals__)] = names
            opened = FunctionType(
                function.__code__, names, function.__name__, function.__defaults__, function.__closure__
            )
            opened.__kwdefaults__ = function.__kwdefaults__
            self.opened[id(function)] = opened
        return opened

    # ------------------------------------------------------------------ modules (called by scopes)

    def enter(self, module: torch.nn.Module, caller: FrameType, frame: FrameType) -> Scope:
        """Open the scope of a module call."""
        outer = self.scope
        site = self._site(None, caller) if outer.frame is not None else ()
        path = self.holdings.path_of(module, outer.module_scope.path or "", site)
        inner = Scope(outer, site, path, None, frame, len(self.events), module)
        self.scope = inner
        return inner

    def leave(self, inner: Scope, out: Any) -> None:
        """Close the scope of a module call: its output is the event that made the tensor it returns."""
        with compat.unobserved():
            inner.out = self.lift(out)
            assert inner.parent is not None
            inner.parent.children.append(inner)
            if self._wants_address(inner, ""):
                self._hold_all(inner.out, out)

    def close(self, inner: Scope) -> None:
        """Return to the caller's scope, also after an error."""
        inner.stop = len(self.events)
        inner.frame = None
        assert inner.parent is not None
        self.scope = inner.parent

    # ------------------------------------------------------------------ where

    def _site(self, function: Any, frame: FrameType | None) -> Site:
        """Walk from a call up to the scope it is in."""
        if frame is not None and frame.f_code is compat.DISPATCHER_CODE:
            frame = _behind_dispatch(function, frame)
        base = self.scope.frame
        site = []
        while frame is not base and frame is not None:
            site.append((frame.f_code, frame.f_lasti, id(frame)))
            frame = frame.f_back
        return tuple(site)

    # ------------------------------------------------------------------ values

    def lift(self, structure: Any) -> Any:
        """Copy nested arguments with the latest Value in the place of each tensor."""
        if isinstance(structure, torch.Tensor):
            return self._latest(structure)
        kind = type(structure)
        if kind in _ATOMS:
            return structure
        if kind is torch.Generator:
            return structure.clone_state()
        if kind is tuple:
            return tuple([self.lift(item) for item in structure])
        if kind is list:
            return [self.lift(item) for item in structure]
        if kind.__module__ == "torch.return_types":
            return dict(zip(_field_names(structure), map(self.lift, structure), strict=True))
        if isinstance(structure, Mapping):
            return {name: self.lift(item) for name, item in structure.items()}
        if isinstance(structure, tuple | list):
            items = [self.lift(item) for item in structure]
            return kind(*items) if hasattr(structure, "_fields") else items
        if dataclasses.is_dataclass(structure) and not isinstance(structure, type):
            return {f.name: self.lift(getattr(structure, f.name)) for f in dataclasses.fields(structure)}
        return structure

    def _latest(self, tensor: torch.Tensor) -> Value:
        """Return what a tensor is now: as it was made, or as a write through other memory left it."""
        value = self.values.get(id(tensor))
        if value is None or value.owner() is not tensor:
            return self._orphan(tensor)
        memory = self.memory
        if memory.writers:
            writer = memory.writers.get(value.storage)
            if writer is not None and writer.index > value.event.index:
                return self._rewritten(tensor, value, writer)
        if memory.exposed and value.storage in memory.exposed:
            return self._recheck(tensor, value)
        return value

    def _register(self, structure: Any, event: Event, keep: bool) -> Any:
        """Like lift, for what an event made: each tensor gets a new Value."""
        if isinstance(structure, torch.Tensor):
            return self._value(structure, event, keep)
        kind = type(structure)
        if kind in _ATOMS:
            return structure
        if kind is tuple:
            return tuple([self._register(item, event, keep) for item in structure])
        if kind is list:
            return [self._register(item, event, keep) for item in structure]
        if kind.__module__ == "torch.return_types":
            items = [self._register(item, event, keep) for item in structure]
            return dict(zip(_field_names(structure), items, strict=True))
        if isinstance(structure, Mapping):
            return {name: self._register(item, event, keep) for name, item in structure.items()}
        if isinstance(structure, tuple | list) and not isinstance(structure, torch.Size):
            items = [self._register(item, event, keep) for item in structure]
            return kind(*items) if hasattr(structure, "_fields") else items
        return structure

    def _value(self, tensor: torch.Tensor, event: Event, keep: bool) -> Value:
        seen = compat.physical(tensor)
        key = compat.storage_key(seen)
        value = Value(
            event, compat.shape(seen), seen.dtype, seen.device, key, weakref.ref(tensor), tensor.requires_grad
        )
        writers = self.memory.writers
        if key in writers and event.facts is not _SOURCE and not self._shares_memory(event, key):
            del writers[key]  # new memory where older memory used to be
            self.memory.exposed.discard(key)
        if keep:
            self._hold(value, tensor)
        self.values[id(tensor)] = value
        return value

    def _hold(self, value: Value, tensor: torch.Tensor) -> None:
        self.memory.hold(value, tensor)
        if self.gradients is not None and tensor.requires_grad:
            self.gradients.watch(value, tensor)

    def _hold_all(self, lifted: Any, structure: Any) -> None:
        for value, tensor in zip(leaves(lifted), list_tensors(structure), strict=True):
            if value not in self.memory.tensors:
                self._hold(value, tensor)

    def _orphan(self, tensor: torch.Tensor) -> Value:
        """Enter a tensor that no event made: a parameter, or a source that could not be seen."""
        event = Event(-1, _SOURCE, self.scope, self.here)
        value = self._value(tensor, event, keep=False)
        event.out = value
        value.parameter = self.holdings.owned.get(id(tensor), "")
        self._hold(value, tensor)
        if not value.parameter:
            self._append(event)
        return value

    def _is_new(self, out: Any) -> bool:
        return any(
            (value := self.values.get(id(tensor))) is None or value.owner() is not tensor
            for tensor in list_tensors(out)
        )

    # ------------------------------------------------------------------ memory that is written

    def _touched(self, facts: Facts, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
        """Return the tensors whose memory a call writes or hands out."""
        touched: list[torch.Tensor] = []
        if facts.hands_out:
            touched.extend(list_tensors(args))
        for position in facts.writes + facts.side_writes:
            if position < len(args):
                touched.extend(list_tensors(args[position]))
        if "out" in kwargs:
            touched.extend(list_tensors(kwargs["out"]))
        return touched

    def _record_writes(self, event: Event, out: Any, touched: list[torch.Tensor], keep: bool) -> None:
        facts = event.facts
        if not facts.writes and not event.kwargs.get("out"):
            return
        returned = {id(tensor) for tensor in list_tensors(out)}
        silent = [tensor for tensor in touched if id(tensor) not in returned]
        event.overwritten = tuple(self.lift(silent))
        event.written = tuple(self._value(tensor, event, keep) for tensor in silent)
        self.memory.note_writes(touched, event)

    def _rewritten(self, tensor: torch.Tensor, before: Value, writer: Event) -> Value:
        """Give a tensor whose memory was written by way of another tensor the value that the write left in it."""
        after = self._value(tensor, writer, keep=before in self.memory.tensors)
        after.base = before
        writer.late += (after,)
        return after

    def _recheck(self, tensor: torch.Tensor, value: Value) -> Value:
        """Compare memory that others can write with what was kept of it: a change is a source."""
        kept = self.memory.tensors.get(value)
        if kept is None or same(kept, tensor):
            return value
        event = Event(-1, _SOURCE, self.scope, self.here)
        event.out = after = self._value(tensor, event, keep=True)
        after.base = value
        self._append(event)
        return after

    def _shares_memory(self, event: Event, key: int) -> bool:
        return any(value.storage == key for value in event.inputs())

    # ------------------------------------------------------------------ what is kept

    def _wants(self, facts: Facts) -> bool:
        keep = self.keep
        if keep is True or keep is False:
            return keep
        scope = self.scope
        place = scope.module_scope.path if scope.path is None else scope.path
        key = (place or "", facts.name if scope.facts is None else f"{_composite_names(scope)}.{facts.name}")
        wanted = self.wanted.get(key)
        if wanted is None:
            wanted = self.wanted[key] = keep(scope, facts.name)
        return wanted

    def _wants_address(self, scope: Scope, name: str) -> bool:
        return self.keep is not False and self.keep is not True and self.keep(scope, name)


class _ThreadRecorder(Recorder):
    """Records a further thread; when the recording is over it lets everything pass."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not self.open[0]:
            return func(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)


_ATOMS = frozenset(_PLAIN)


def _never(*_: object) -> bool:
    return False


def _composite_names(scope: Scope) -> str:
    names = []
    inner: Scope | None = scope
    while inner is not None and inner.facts is not None:
        names.append(inner.facts.name)
        inner = inner.parent
    return ".".join(reversed(names))


def _behind_dispatch(function: Any, frame: FrameType) -> FrameType | None:
    """Skip the frames of the function that handed itself over: they are torch's, not the caller's."""
    inner = frame.f_back
    code = getattr(function, "__code__", None)
    outer = inner
    for _ in range(3):
        if outer is None or outer.f_code is code:
            return None if outer is None else outer.f_back
        outer = outer.f_back
    return None if inner is None else inner.f_back


def _field_names(result: Any) -> tuple[str, ...]:
    """Return the field names of one of torch's named results, in their order."""
    names: tuple[str, ...] = type(result).__match_args__
    return names
