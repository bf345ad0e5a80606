"""The hot path: record every call into torch while a model runs, and nothing else."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, FunctionType
from typing import Any, Literal, get_args

import torch
from torch.overrides import TorchFunctionMode

from neurolens.errors import TraceError, check_choice
from neurolens.recording import compat, scopes
from neurolens.recording.compat import DISPATCHER_CODE, any_autocast, count_modes, peek_transform, storage_key
from neurolens.recording.events import Event, Readout, Recording, Scope, Site, leaves, new_event
from neurolens.recording.functions import KNOWN, Facts, Kind, facts_of
from neurolens.recording.garbage import collected_rarely
from neurolens.recording.gradients import Gradients
from neurolens.recording.holdings import Holdings, name_arguments
from neurolens.recording.keeping import Keep, PatternRule
from neurolens.recording.ledger import Ledger, list_touched, spares_statistics
from neurolens.recording.memory import Memory
from neurolens.recording.scopes import MODULE_CODE
from neurolens.recording.structures import list_tensors

KeepOn = Literal["device", "cpu"]
_QUERY, _COMPOSITE = Kind.QUERY, Kind.COMPOSITE
_INPUT = Facts(None, "input", Kind.OPERATION)
_Tensor = torch.Tensor


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
    with collected_rarely:  # what is recorded lives
        return Recorder(model, keep, stop_after, collected, keep_on).run(args, dict(kwargs or {}))


class Recorder(TorchFunctionMode):
    """The function mode that records. One recorder records one call."""

    watches_calls = True  # of modules too, and what else a mode is not told of

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
        self.ledger = Ledger(Holdings(model), Memory(on_cpu=keep_on == "cpu"), gradients)
        self.aliases = (
            keep_on == "device" and gradients is None
        )  # keeping is taking a reference, nothing more
        self.opened: dict[FunctionType, FunctionType] = {}
        self.globals: dict[tuple[int, bool], dict[str, Any]] = {}
        self.readouts: list[Readout] = []
        self.root = self.scope = _new_scope(None, (), 0)
        self.root.path = ""
        self.root.module_scope = self.root
        self.wanted: dict[tuple[str | None, ...], bool] = {}
        self.quiet: frozenset[str] = frozenset()  # paths of modules that `keep` need not be asked about
        if isinstance(keep, PatternRule):
            self.quiet = keep.quiet_among(self.ledger.holdings)
        self.open = [True]  # shared with the recorders of further threads

    # ------------------------------------------------------------------ the whole call

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recording:
        """Call the model under this mode."""
        with compat.unobserved():
            if peek_transform() is None:
                self.ledger.enter_parameters(self.root)
            inputs = self._record_inputs(args, kwargs)
        complete = True
        out: Any = None
        with scopes.watch_calls(self), compat.eager():
            compat.push_mode(self)
            try:
                if len(self.ledger.events) >= self.stop_after:
                    raise _Stop
                out = self.model(*args, **kwargs)
            except _Stop:
                complete = False
            finally:
                compat.pop_mode()
        ledger, root = self.ledger, self.root
        with compat.unobserved():
            output = ledger.lift(out, root, ()) if complete else None
            if self._wants_address(root, "output"):
                ledger.hold_all(output, out)
            written = ledger.memory.settle()
        if not isinstance(self.model, torch.nn.Module):
            root.out, root.stop = output, len(ledger.events)
        ledger.values.clear()
        self.open[0] = False
        return Recording(
            root=root,
            events=ledger.events,
            inputs=inputs,
            output=output,
            module_paths=tuple(path for path in ledger.holdings.paths.values() if path),
            tensors=ledger.memory.tensors,
            complete=complete,
            grad_mode=torch.is_grad_enabled(),
            written=written,
            readouts=tuple(self.readouts),
            twins=ledger.holdings.twins,
            gradients=ledger.gradients,
            returned=out if ledger.gradients is not None else None,
        )

    def _record_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        names = name_arguments(self.model, len(args))
        named = dict(zip(names, args, strict=True)) | kwargs
        inputs = {}
        for name, value in named.items():
            event = new_event(_INPUT, self.root, ())
            labels = (f"{_INPUT.name}.{name}", name)  # its address among several, and its fx node name
            keep = self._wants(_INPUT) or any(self._wants_address(self.root, label) for label in labels)
            event.out = self.ledger.register(value, event, keep)
            if any(True for _ in leaves(event.out)):
                self.ledger.append(event)
            inputs[name] = event.out
        return inputs

    # ------------------------------------------------------------------ one call into torch

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        facts = KNOWN.get(func) or facts_of(func)
        caller = sys._getframe(1)
        kind = facts.kind
        if kind is _QUERY:
            return func(*args, **kwargs) if kwargs else func(*args)
        if kind is _COMPOSITE and facts is not self.scope.facts:
            return self._run_composite(facts, args, kwargs, caller)
        if (
            not facts.is_plain
            or types
            or (kwargs and "out" in kwargs)
            or count_modes()
            or peek_transform() is not None
            or any_autocast()
            or (facts.side_writes and not spares_statistics(args))
        ):
            return self._record_any(func, facts, args, kwargs or {}, caller)

        # The rest is `_record_any` for the common case, written out: an operation on plain tensors that makes
        # tensors, or writes its first argument, with nobody else looking. Here nanoseconds count.
        ledger, scope, keep = self.ledger, self.scope, self.keep
        memory = ledger.memory
        event = Event()
        event.facts = facts
        event.scope = scope
        event.site = site = _site(func, caller)
        event.args = ledger.lift_arguments(args, scope, site)
        touched: Sequence[torch.Tensor] = ()
        if facts.writes:
            if args and type(args[0]) is _Tensor:
                touched = args[:1]
                memory.preserve((event.args[0].storage,))
            else:
                touched = list_touched(facts, args, kwargs or {})
                memory.preserve(map(storage_key, touched))
        if kwargs:
            event.kwargs = ledger.lift_keywords(kwargs, scope, site)
            out = func(*args, **kwargs)
        else:
            out = func(*args)
        if keep is not True and keep is not False:
            keep = scope.module_scope.path not in self.quiet and self._wants(facts)
        if type(out) is not _Tensor or (touched and out is not args[0]):
            self._finish(event, out, touched, keep)
            return out
        try:
            event.out = value = ledger.enter_plain(out, event, keep)
        except RuntimeError:  # it has no storage, or no shape
            self._finish(event, out, touched, keep)
            return out
        if touched:
            memory.writers[value.storage] = event
            memory.disturbed.add(value.storage)
        self._append(event)
        return out

    def _record_any(
        self, func: Any, facts: Facts, args: tuple[Any, ...], kwargs: dict[str, Any], caller: FrameType
    ) -> Any:
        ledger = self.ledger
        event = new_event(facts, self.scope, _site(func, caller))
        event.args = ledger.lift_arguments(args, event.scope, event.site)
        if kwargs:
            event.kwargs = ledger.lift_keywords(kwargs, event.scope, event.site)
        with compat.unobserved():
            if facts.is_random:
                event.rng = compat.random_state()
            event.ambient = compat.autocasting()
            event.grad_mode = torch.is_grad_enabled()
            event.in_transform = compat.in_transform()
            touched = list_touched(facts, args, kwargs)
            if touched:
                ledger.memory.preserve(map(storage_key, touched))
                if facts.hands_out:
                    ledger.memory.expose(touched)
        out = func(*args, **kwargs)
        if facts.kind is Kind.READOUT:
            self._record_readout(event, out)
            return out
        self._finish(event, out, touched, self._wants(facts))
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
        ledger, scope = self.ledger, self.scope
        site = () if caller is None else _site(None, caller)  # a module's scope says where
        event = new_event(facts, scope, site)
        event.args, event.kwargs = (
            ledger.lift_arguments(args, scope, site),
            ledger.lift_keywords(kwargs, scope, site),
        )
        with compat.unobserved():
            event.rng = compat.random_state()
            given = list_tensors((args, kwargs))
            ledger.memory.preserve(map(storage_key, given))
            ledger.memory.expose(given)
        compat.pop_mode()
        try:
            out = run(*args, **kwargs)
        finally:
            compat.push_mode(self)
        self._finish(event, out, (), self._wants(facts))
        return out

    def fork(self) -> Recorder:
        """Return a recorder for a thread that is started here: it records into this one, in this scope."""
        self.ledger.is_shared = True
        twin = copy.copy(self)
        twin.__class__ = _ThreadRecorder
        return twin

    def _record_readout(self, event: Event, out: Any) -> None:
        values = tuple(event.inputs())
        result = out if isinstance(out, bool) else None
        before = len(self.ledger.events)
        self.readouts.append(Readout(event.facts, event.scope, event.site, values, before, result))

    def _finish(self, event: Event, out: Any, touched: Sequence[torch.Tensor], keep: bool) -> None:
        """Record what came of a call, unless no tensor did."""
        ledger = self.ledger
        with compat.unobserved():
            event.out = ledger.register(out, event, keep)
            if touched:
                ledger.record_writes(event, out, touched, keep)
            elif event.facts.reshapes:
                ledger.memory.restore_versions(list_tensors(out))
        if event.written or any(True for _ in leaves(event.out)):
            self._append(event)

    def _append(self, event: Event) -> None:
        ledger = self.ledger
        if ledger.is_shared:
            ledger.append(event)
        else:
            event.index = len(ledger.events)
            ledger.events.append(event)
            event.scope.children.append(event)
        if event.index + 1 >= self.stop_after:
            raise _Stop

    def _run_composite(
        self, facts: Facts, args: tuple[Any, ...], kwargs: dict[str, Any] | None, caller: FrameType
    ) -> Any:
        """Run the body of a Python function of torch with the mode on again, so that its inside is seen."""
        ledger, outer = self.ledger, self.scope
        site = _site(facts.function, caller)
        inner = _new_scope(outer, site, len(ledger.events))
        inner.facts = facts
        inner.composites = f"{outer.composites}.{facts.name}" if outer.composites else facts.name
        inner.module_scope = outer.module_scope
        inner.args = ledger.lift_arguments(args, outer, site)
        if kwargs:
            inner.kwargs = ledger.lift_keywords(kwargs, outer, site)
        body = self.opened.get(facts.function) or self._open(facts.function)
        self.scope = inner
        compat.push_mode(self)
        try:
            out = body(*args, **kwargs) if kwargs else body(*args)
        finally:
            compat.pop_mode()
            self.scope = outer
        inner.stop = len(ledger.events)
        if inner.children:
            inner.out = ledger.lift(out, inner, site)
            outer.children.append(inner)
        elif ledger.is_new(out):  # nothing was seen inside, yet a tensor came out: one opaque operation
            event = new_event(facts, outer, site)
            event.args, event.kwargs = inner.args, inner.kwargs
            self._finish(event, out, (), self._wants(facts))
        return out

    def _open(self, function: FunctionType) -> FunctionType:
        """Make, once, a copy of `function` that never hands itself over to a mode."""
        by_attribute = "overrides" in function.__code__.co_names
        key = (id(function.__globals__), by_attribute)
        names = self.globals.get(key)
        if names is None:
            names = self.globals[key] = compat.never_taken_over(function.__globals__, by_attribute)
        opened = self.opened[function] = FunctionType(
            function.__code__, names, function.__name__, function.__defaults__, function.__closure__
        )
        opened.__kwdefaults__ = function.__kwdefaults__
        return opened

    # ------------------------------------------------------------------ modules (called by scopes)

    def enter(self, module: torch.nn.Module, caller: FrameType | None) -> Scope:
        """Open the scope of a module call."""
        outer = self.scope
        site = _site(None, caller)
        self.scope = inner = _new_scope(outer, site, len(self.ledger.events))
        inner.path = self.ledger.holdings.path_of(module, outer.module_scope.path or "", site)
        inner.module = module
        inner.module_scope = inner
        return inner

    def leave(self, inner: Scope, out: Any) -> None:
        """Close the scope of a module call: its output is the event that made the tensor it returns."""
        ledger, outer = self.ledger, inner.parent
        assert outer is not None
        inner.out = ledger.lift(out, inner, ())
        inner.stop = len(ledger.events)
        outer.children.append(inner)
        if inner.path not in self.quiet and self._wants_address(inner, ""):
            ledger.hold_all(inner.out, out)
        self.scope = outer

    def close(self, inner: Scope) -> None:
        """Return to the caller's scope after an error."""
        inner.stop = len(self.ledger.events)
        assert inner.parent is not None
        self.scope = inner.parent

    # ------------------------------------------------------------------ what is kept

    def _wants(self, facts: Facts) -> bool:
        """Tell whether what an operation makes may be asked for."""
        if self.keep is True or self.keep is False:
            return self.keep
        scope = self.scope
        return self._ask(scope, facts.name, (scope.module_scope.path, scope.composites, facts.name))

    def _wants_address(self, scope: Scope, name: str) -> bool:
        """Tell whether what a module returns may be asked for, or an input or the output by its name."""
        if self.keep is True or self.keep is False:
            return False
        caller = None if scope.parent is None else scope.parent.module_scope.path
        return self._ask(scope, name, (scope.path, name, caller, ""))  # one longer than that of an operation

    def _ask(self, scope: Scope, name: str, key: tuple[str | None, ...]) -> bool:
        """Ask once for each name in each place: the answer takes longer than most operations."""
        assert callable(self.keep)
        wanted = self.wanted.get(key)
        if wanted is None:
            with compat.unobserved():  # the rule may look at what is held
                wanted = self.wanted[key] = self.keep(scope, name)
        return wanted


class _ThreadRecorder(Recorder):
    """Records a further thread; when the recording is over it lets everything pass."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not self.open[0]:
            return func(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)


_RUN_CODE = Recorder.run.__code__
_COMPOSITE_CODE = Recorder._run_composite.__code__


def _site(function: Any, frame: FrameType | None) -> Site:
    """Walk from a call up to the scope it is in: each kind of scope is opened by code that is known."""
    site: Site = ()
    if frame is not None and frame.f_code is DISPATCHER_CODE:
        frame = _behind_dispatch(function, frame)
    while frame is not None:
        code = frame.f_code
        if code is MODULE_CODE or code is _COMPOSITE_CODE or code is _RUN_CODE:
            break
        site += ((code, frame.f_lasti, id(frame)),)
        frame = frame.f_back
    return site


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


def _new_scope(parent: Scope | None, site: Site, start: int) -> Scope:
    scope = Scope()
    scope.parent, scope.site, scope.start, scope.children = parent, site, start, []
    return scope
