"""What a trace is made of: operations, their passes, and the modules they run in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import xarray as xr

from neurolens.errors import AddressError, list_names
from neurolens.recording import compat
from neurolens.recording.addresses import Place, resolve, results
from neurolens.recording.branches import find_branch
from neurolens.recording.events import Event, Scope, Value, leaves
from neurolens.recording.flops import count_flops
from neurolens.tracing.sizes import say_number
from neurolens.tracing.source import NOT_THE_USERS, Source, find_source

if TYPE_CHECKING:
    from neurolens.tracing.trace import Trace


class Distances(NamedTuple):
    """Longest paths through the graph, in operations."""

    from_input: int
    to_output: int


class Branch(NamedTuple):
    """The side of an `if` on which an operation ran."""

    source: Source
    taken: bool  # whether the test was true
    decided_by: tuple[str, ...]  # addresses of the tensors in the test; none where Python decided


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Something in a trace with an address: an operation, a pass of one, or a module."""

    trace: Trace
    address: str

    @property
    def activation(self) -> xr.DataArray:
        """What it computed: DataArray (stimulus, [pass,] ...), read-only.

        Raises
        ------
        AddressError
            If it gave several tensors, or passes of different shapes; the message lists what to ask for.
        TraceError
            If the activation was not kept.
        """
        return self.trace.activations[self.address]

    @property
    def tensor(self) -> torch.Tensor:
        """What it computed, as the tensor that was kept, as the model made it; of the one pass there is.

        Raises
        ------
        AddressError
            If it ran several times: ask for one pass (':1').
        TraceError
            If it was not kept.
        """
        return self.trace.read_tensor(self.address)

    @property
    def gradient(self) -> xr.DataArray:
        """The gradient of the activation, after a backward from `trace.outputs`: with its dims and coords.

        Raises
        ------
        TraceError
            If the trace collects none, or none has reached it.
        """
        return self.trace.read_gradient(self.address)

    @property
    def shape(self) -> torch.Size:
        """Shape of the tensor, as torch has it."""
        return self._value.shape

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the tensor."""
        return self._value.dtype

    @property
    def device(self) -> torch.device:
        """Device of the tensor."""
        return self._value.device

    @property
    def bytes(self) -> int:
        """Bytes of what it computed, over all passes and results; ragged tensors, which have no one shape, count 0."""
        made = [value for item in self._items for value in results(item).values()]
        return sum(
            math.prod(value.shape) * value.dtype.itemsize
            for value in made
            if all(type(size) is int for size in value.shape)
        )

    @property
    def _items(self) -> list[Event | Scope]:
        return self.trace.items_of(self.address)

    @property
    def _value(self) -> Value:
        return resolve(self.trace.names, self.address).values[0]

    @property
    def _place(self) -> Place:
        return self.trace.place_of(self.address)


@dataclass(frozen=True, slots=True, eq=False)
class Operation(Node):
    """One place in the code of one module. Each time it ran is a pass.

    What is said of a single call (`parents`, `arguments` ...) is said of the first pass.

    Attributes
    ----------
    trace
        The trace it belongs to.
    address
        Its name in the trace: module path and plain name of the function, "layer1.0.add".

    Examples
    --------
    >>> import torch
    >>> import neurolens as nl
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    >>> trace = nl.trace(model, torch.ones(2, 4), gradients=True)
    >>> operation = trace["1.relu"]
    >>> operation.name, [parent.address for parent in operation.parents], operation.depth
    ('relu', ['0.linear'], 1.0)
    >>> linear = trace["0.linear"]
    >>> linear.function is torch.nn.functional.linear, linear.module.path, linear.children
    (True, '0', (<Operation 1.relu: relu, 2x3>,))
    >>> linear.activation.dims, linear.tensor.shape == linear.shape, linear.dtype, linear.device
    (('stimulus', 'unit'), True, torch.float32, device(type='cpu'))
    >>> linear.bytes, linear.flops, linear.macs  # of both stimuli
    (24, 48, 24)
    >>> linear.arguments, sorted(linear.parameters)
    ({0: 'input', 1: '0.weight', 2: '0.bias'}, ['0.bias', '0.weight'])
    >>> linear.step, linear.distances, linear.n_passes, linear.passes[0].address
    (1, Distances(from_input=1, to_output=1), 1, '0.linear:1')
    >>> linear.source is None  # only torch's own code ran: nothing of ours called it
    True
    >>> linear.is_random, linear.mutates, linear.composite, linear.branch
    (False, False, '', None)
    >>> trace.outputs["output"].sum().backward()
    >>> linear.gradient.dims
    ('stimulus', 'unit')
    """

    @property
    def name(self) -> str:
        """Plain name of the function: `relu` for `relu_`, `F.relu` and `torch.relu`."""
        return self._place.name

    @property
    def function(self) -> Callable[..., Any] | None:
        """The function of torch that was called; None for inputs and sources."""
        facts = self._items[0].facts
        return None if facts is None else facts.function

    @property
    def module(self) -> Module:
        """The module it ran in; the model itself has the path ''."""
        return Module(self.trace, self._place.module)

    @property
    def composite(self) -> str:
        """Address of the composite function it is a part of; '' if it is not."""
        return self._place.composite

    @property
    def passes(self) -> tuple[Pass, ...]:
        """Each time it ran, in order."""
        base = self._place.address
        count = len(self._place.passes)
        return tuple(Pass(self.trace, f"{base}:{n}") for n in range(1, count + 1))

    @property
    def n_passes(self) -> int:
        """How many times it ran."""
        return len(self._items)

    @property
    def parents(self) -> tuple[Pass, ...]:
        """What it was computed from, or whose writes it read, as single passes."""
        return self._neighbours(self.trace.graph.parents)

    @property
    def children(self) -> tuple[Pass, ...]:
        """What was computed from it, as single passes."""
        return self._neighbours(self.trace.graph.children)

    @property
    def parameters(self) -> Mapping[str, torch.Tensor]:
        """Parameters and buffers among its arguments, by their name in the model."""
        return {
            value.parameter: self.trace.recording.tensors[value]
            for event in self._events
            for value in event.inputs()
            if value.parameter
        }

    @property
    def arguments(self) -> Mapping[int | str, Any]:
        """Arguments of the call, by position or name; tensors by the address or parameter that they are."""
        event = self._events[0]
        named: dict[int | str, Any] = {k: self.trace.describe(a) for k, a in enumerate(event.args)}
        return named | {str(k): self.trace.describe(a) for k, a in event.kwargs.items()}

    @property
    def source(self) -> Source | None:
        """The user's line that called it: file, line number, text."""
        return find_source(self._sites[0])

    @property
    def branch(self) -> Branch | None:
        """The `if` it ran under: the innermost one that a tensor decided, else the innermost one."""
        found = find_branch(self.trace.recording, self._sites[0], skip=NOT_THE_USERS)
        if found is None:
            return None
        deciders = tuple(self.trace.describe(value) for value in found.values)
        return Branch(Source(found.file, found.line, found.text), found.taken, deciders)

    @property
    def step(self) -> int:
        """Position of its first pass in the order of execution."""
        return self._events[0].index

    @property
    def depth(self) -> float:
        """Longest path from the inputs to it, as a fraction of the longest path there is, in [0, 1]."""
        return self.trace.graph.depth(self._events[0].index)

    @property
    def distances(self) -> Distances:
        """Longest path from the inputs, and longest path on to the end, in operations."""
        index = self._events[0].index
        return Distances(self.trace.graph.above[index], self.trace.graph.below[index])

    @property
    def flops(self) -> int | None:
        """Floating-point operations over all passes, as torch's FlopCounterMode counts; None where unknown."""
        counts = [count_flops(event) for event in self._events]
        known = [number for number in counts if number is not None]
        return sum(known) if len(known) == len(counts) else None

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates over all passes: half of the floating-point operations."""
        flops = self.flops
        return None if flops is None else flops // 2

    @property
    def mutates(self) -> bool:
        """Whether it writes the memory of an argument."""
        event = self._events[0]
        inputs = {value.storage for value in event.inputs()}
        return bool(event.written) or (
            bool(event.facts.writes) and any(value.storage in inputs for value in leaves(event.out))
        )

    @property
    def is_random(self) -> bool:
        """Whether it draws random numbers."""
        return compat.is_random(self.function)

    @property
    def _events(self) -> list[Event]:
        events = [item for item in self._items if isinstance(item, Event)]
        if not events:
            inner = [event for item in self._items for event in self.trace.events_in(item)]
            raise AddressError(
                f"{self.address!r} is a composite of {len(inner)} operations. Ask for one of them: "
                f"{list_names(dict.fromkeys(self.trace.address_of(event) for event in inner))}."
            )
        return events

    @property
    def _sites(self) -> list[Event | Scope]:
        return self.trace.sites_of(self.address)

    def _neighbours(self, edges: tuple[tuple[int, ...], ...]) -> tuple[Pass, ...]:
        found = dict.fromkeys(other for event in self._events for other in edges[event.index])
        return tuple(Pass(self.trace, self.trace.pass_address(index)) for index in sorted(found))

    def __repr__(self) -> str:
        """Show address, function, shapes and number of passes."""
        place = self._place
        shapes = list(dict.fromkeys(tuple(v.shape) for item in self._items for v in results(item).values()))
        text = f"<{place.kind.capitalize()} {self.address}: {place.name}, {_join(shapes)}"
        if len(self._items) > 1:
            text += f", {len(self._items)} passes"
        return f"{text}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pass(Operation):
    """One of the times an operation ran. The address carries ':k' where it ran more than once.

    Attributes
    ----------
    trace
        The trace it belongs to.
    address
        As that of the operation; of several passes with its number, "layer1.0.relu.relu:2".

    Examples
    --------
    >>> import torch
    >>> import neurolens as nl
    >>> relu = torch.nn.ReLU()
    >>> trace = nl.trace(torch.nn.Sequential(relu, relu), torch.ones(2, 4))
    >>> [(step.address, step.number) for step in trace["0.relu"].passes]
    [('0.relu:1', 1), ('0.relu:2', 2)]
    """

    @property
    def number(self) -> int:
        """Which time it was, from 1."""
        place, _, number = self.trace.split(self.address)
        return number or len(place.passes)


@dataclass(frozen=True, slots=True, eq=False)
class Module(Node):
    """A module of the model: its activation is its output, each call a pass.

    Attributes
    ----------
    trace
        The trace it belongs to.
    address
        Path in the model, "layer1.0"; "" is the model itself.

    Examples
    --------
    >>> import torch
    >>> import neurolens as nl
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    >>> trace = nl.trace(model, torch.ones(2, 4), gradients=True)
    >>> module = trace.modules["0"]
    >>> module.type, module.n_passes, [operation.address for operation in module.operations]
    ('Linear', 1, ['0.linear'])
    >>> module.path, module.activation.dims, module.tensor is trace["0.linear"].tensor
    ('0', ('stimulus', 'unit'), True)
    >>> module.shape, module.dtype, module.device, module.bytes
    (torch.Size([2, 3]), torch.float32, device(type='cpu'), 24)
    >>> trace.outputs["output"].sum().backward()
    >>> module.gradient.dims
    ('stimulus', 'unit')
    """

    @property
    def path(self) -> str:
        """Path in the model; '' is the model itself."""
        return self._place.address if self.address else ""

    @property
    def type(self) -> str:
        """Name of its class."""
        return self._place.name

    @property
    def n_passes(self) -> int:
        """How many times it was called."""
        return len(self._items)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations that ran in it, also those in modules it holds, in order."""
        path = self.path
        prefix = f"{path}." if path else ""
        return tuple(
            Operation(self.trace, address)
            for address, place in self.trace.names.operations.items()
            if place.module == path or place.module.startswith(prefix)
        )

    def __repr__(self) -> str:
        """Show the path, the class and the number of operations inside."""
        n_operations = say_number(len(self.operations), "operation")
        return f"<Module {self.address or '(the model)'}: {self.type}, {n_operations}>"


def _join(shapes: Iterable[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)
