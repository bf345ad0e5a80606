"""The hot path: record every call into torch while a model runs, and nothing else."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from types import FrameType, FunctionType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from neurolens.errors import TraceError
from neurolens.recording import compat, scopes
from neurolens.recording.events import Event, Readout, Recording, Scope, Site, Value, leaves
from neurolens.recording.functions import Facts, Kind, facts_of
from neurolens.recording.structures import list_tensors

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
    return Recorder(model, keep, stop_after).run(args, dict(kwargs or {}))


class Recorder(TorchFunctionMode):
    """The function mode that records. One recorder records one call."""

    def __init__(self, model: Callable[..., Any], keep: Keep | bool, stop_after: int | None) -> None:
        super().__init__()
        self.model = model
        self.keep = keep
        self.stop_after = sys.maxsize if stop_after is None else stop_after
        self.events: list[Event] = []
        self.values: dict[int, Value] = {}  # id of a living tensor -> its latest value
        self.tensors: dict[Value, torch.Tensor] = {}
        self.kept: dict[int, list[Value]] = {}  # storage -> what is kept of it by reference
        self.writers: dict[int, Event] = {}  # storage -> the event that last wrote it
        self.paths = _module_paths(model)
        self.twins = _module_twins(model)
        self.owned = _owned_tensors(model)
        self.adopted: dict[tuple[Any, ...], str] = {}  # modules that the model does not hold
        self.opened: dict[int, FunctionType] = {}
        self.globals: dict[int, dict[str, Any]] = {}
        self.readouts: list[Readout] = []
        self.root = Scope(None, (), "", None, None, 0)
        self.scope = self.root
        self.here: Site = ()  # where the call being recorded stands
        self.wanted: dict[tuple[str, str], bool] = {}

    # ------------------------------------------------------------------ the whole call

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recording:
        """Call the model under this mode."""
        with compat.unobserved():
            inputs = self._record_inputs(args, kwargs)
        complete = True
        out: Any = None
        with scopes.watch_modules(self), compat.eager():
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
        if not isinstance(self.model, torch.nn.Module):
            self.root.out, self.root.stop = output, len(self.events)
        paths = tuple(path for path in self.paths.values() if path)
        recording = Recording(
            self.root,
            self.events,
            inputs,
            output,
            paths,
            self.tensors,
            complete,
            tuple(self.readouts),
            self.twins,
        )
        self.values.clear()
        self.kept.clear()
        return recording

    def _record_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        names = _argument_names(self.model, len(args))
        named = dict(zip(names, args, strict=True)) | kwargs
        inputs = {}
        for name, value in named.items():
            event = Event(-1, _INPUT, self.root, ())
            keep = self._wants(_INPUT) or self._wants_address(self.root, f"{_INPUT.name}.{name}")
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
                event.rng = torch.get_rng_state()
            event.ambient = compat.autocasting()
            touched = self._touched(facts, args, kwargs)
            if touched:
                self._preserve(touched)
        out = func(*args, **kwargs)
        if kind is Kind.READOUT:
            self._record_readout(event, out)
            return out
        with compat.unobserved():
            self._finish(event, out, touched)
        return out

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
        if not event.written and not any(True for _ in leaves(event.out)):
            return
        self._append(event)
        if len(self.events) >= self.stop_after:
            raise _Stop

    def _append(self, event: Event) -> None:
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
        path = self.paths.get(id(module))
        if path is None:
            path = self._adopt(module, outer.module_scope.path or "", site)
        inner = Scope(outer, site, path, None, frame, len(self.events), module)
        self.scope = inner
        return inner

    def _adopt(self, module: torch.nn.Module, owner: str, site: Site) -> str:
        """Name a module that the model does not hold: by its class, below the module that calls it.

        One with weights is itself wherever it is called. One without is known by the place of the call, since a
        new one may be made each time.
        """
        stem = _join(owner, type(module).__name__)
        stateless = not module._parameters and not module._buffers and not module._modules
        key = (stem, *((code, offset) for code, offset, _ in site)) if stateless else (id(module),)
        path = self.adopted.get(key)
        if path is None:
            taken = {*self.paths.values(), *self.adopted.values()}
            path = next(name for name in _numbered(stem) if name not in taken)
            self.adopted[key] = path
        for below, child in module.named_modules():
            self.paths.setdefault(id(child), _join(path, below))
        for identity, name in _owned_tensors(module).items():
            self.owned.setdefault(identity, _join(path, name))
        return path

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
            value = self.values.get(id(structure))
            if value is None or value.owner() is not structure:
                return self._orphan(structure)
            if self.writers:
                writer = self.writers.get(value.storage)
                if writer is not None and writer.index > value.event.index:
                    return self._rewritten(structure, value, writer)
            return value
        kind = type(structure)
        if kind in _ATOMS:
            return structure
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
        key = compat.storage_key(tensor)
        value = Value(event, tensor.shape, tensor.dtype, tensor.device, key, weakref.ref(tensor))
        if key in self.writers and event.facts is not _SOURCE and not self._shares_memory(event, key):
            del self.writers[key]  # new memory where older memory used to be
        if keep:
            self._hold(value, tensor)
        self.values[id(tensor)] = value
        return value

    def _hold(self, value: Value, tensor: torch.Tensor) -> None:
        """Keep a value by reference: an alias, so that changes of the user's object do not reach it."""
        self.tensors[value] = tensor.detach()
        value.version = compat.version(tensor)
        self.kept.setdefault(value.storage, []).append(value)

    def _hold_all(self, lifted: Any, structure: Any) -> None:
        for value, tensor in zip(leaves(lifted), list_tensors(structure), strict=True):
            if value not in self.tensors:
                self._hold(value, tensor)

    def _orphan(self, tensor: torch.Tensor) -> Value:
        """Enter a tensor that no event made: a parameter, or a source that could not be seen."""
        event = Event(-1, _SOURCE, self.scope, self.here)
        value = self._value(tensor, event, keep=False)
        event.out = value
        value.parameter = self.owned.get(id(tensor), "")
        if value.parameter:
            self.tensors[value] = tensor
        else:
            self._hold(value, tensor)
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

    def _preserve(self, touched: list[torch.Tensor]) -> None:
        """Copy on write: clone what is kept of this memory before it changes."""
        for tensor in touched:
            for value in self.kept.pop(compat.storage_key(tensor), ()):
                self.tensors[value] = copy = self.tensors[value].clone()
                value.version = compat.version(copy)

    def _record_writes(self, event: Event, out: Any, touched: list[torch.Tensor], keep: bool) -> None:
        facts = event.facts
        if facts.side_writes and not facts.writes:
            return
        returned = {id(tensor) for tensor in list_tensors(out)}
        silent = [tensor for tensor in touched if id(tensor) not in returned]
        event.overwritten = tuple(self.lift(silent))
        event.written = tuple(self._value(tensor, event, keep) for tensor in silent)
        for tensor in touched:
            self.writers[compat.storage_key(tensor)] = event

    def _rewritten(self, tensor: torch.Tensor, before: Value, writer: Event) -> Value:
        """Give a tensor whose memory was written by way of another tensor the value that the write left in it."""
        after = self._value(tensor, writer, keep=before in self.tensors)
        after.base = before
        writer.late += (after,)
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


def _module_paths(model: Any) -> dict[int, str]:
    if not isinstance(model, torch.nn.Module):
        return {}
    return {id(module): path for path, module in model.named_modules()}


def _module_twins(model: Any) -> dict[str, str]:
    """Return the further paths of modules that a model holds in several places, each with the path they go by."""
    if not isinstance(model, torch.nn.Module):
        return {}
    paths = _module_paths(model)
    every = model.named_modules(remove_duplicate=False)
    return {path: paths[id(module)] for path, module in every if paths[id(module)] != path}


def _owned_tensors(model: Any) -> dict[int, str]:
    if not isinstance(model, torch.nn.Module):
        return {}
    owned: dict[int, str] = {}
    for path, module in model.named_modules():
        for group in (module._parameters, module._buffers):
            for name, tensor in group.items():
                if tensor is not None:
                    owned.setdefault(id(tensor), _join(path, name))
    return owned


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _numbered(stem: str) -> Iterator[str]:
    """Count names as addresses are counted: the first is bare."""
    yield stem
    yield from (f"{stem}_{number}" for number in count(1))


def _argument_names(model: Any, count: int) -> list[str]:
    """Return names for the positional arguments: the parameters of forward, or their positions."""
    target = model.forward if isinstance(model, torch.nn.Module) else model
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    return names + [str(position) for position in range(len(names), count)]
