"""`trace`: run a model once and hold everything it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import graphviz
import pandas as pd
import torch
import xarray as xr

from neurolens.activations.assemble import (
    LayoutPlanner,
    Provenance,
    arrange,
    kept_tensor,
    label_array,
    to_numpy,
)
from neurolens.activations.axes import Axes, find_axes
from neurolens.activations.batches import Call, as_call, count_stimuli, parameters_kept
from neurolens.activations.operations import Patterns as Ops
from neurolens.errors import AddressError, InputError, TraceError
from neurolens.models import Model, as_model, hash_weights
from neurolens.recording.addresses import (
    Names,
    Place,
    Target,
    assign_names,
    check_place,
    find_module_outputs,
    resolve,
    results,
    select,
    split_address,
)
from neurolens.recording.compat import storage_key
from neurolens.recording.events import Event, Recording, Scope, Value, leaves
from neurolens.recording.graph import Graph, build_graph
from neurolens.recording.keeping import keep_for
from neurolens.recording.recorder import KeepOn, record
from neurolens.recording.structures import list_tensors
from neurolens.recording.validation import prove
from neurolens.schema import STIMULUS
from neurolens.stimuli import Stimuli
from neurolens.stimuli.items import READY
from neurolens.tracing import drawing, tables
from neurolens.tracing.labelling import TracedActivations
from neurolens.tracing.operation import Module, Operation, Pass
from neurolens.tracing.readouts import Readout, list_readouts, warn_of_readouts
from neurolens.tracing.report import Report

Choice = Ops | Callable[[Operation], bool] | None


def trace(
    model: Model | Callable[..., Any],
    inputs: Any,
    *,
    keep: Choice = "**",
    seed: int | None = None,
    gradients: bool = False,
    keep_on: KeepOn = "device",
    batch_axis: int = 0,
) -> Trace:
    """Run a model once and record every tensor operation.

    The model is run as it is: in train or eval mode, with gradients or without, as its owner set it. Nothing is
    left behind in torch, in the model or on the inputs.

    Parameters
    ----------
    model
        A loaded model, an nn.Module or any callable.
    inputs
        A tuple is the positional arguments, a Mapping the keyword arguments, anything else the one argument.
        `Stimuli` are read and prepared by the model's own preprocessing.
    keep
        Activations to hold: a glob on addresses ("layer*.add"), an address, a list of these, a function that
        takes an Operation, or None to hold none. The structure is always recorded in full.
    seed
        Seed torch's generators for this run alone; they are restored afterwards.
    gradients
        Collect gradients: after your own backward from `trace.outputs`, `operation.gradient` is that of each kept
        activation that requires one. Until the trace is released, hooks stay on the tensors.
    keep_on
        "device": activations stay where they were computed, by reference; "cpu": what an accelerator computes is
        copied to the computer's memory at once.
    batch_axis
        Axis of the inputs that counts stimuli.

    Returns
    -------
    Trace
        Mapping from address to Operation, in execution order.

    Warns
    -----
    NeurolensWarning
        At the user's line, where values leave torch for Python (`.item()`, `.numpy()`, `if tensor:` ...): what
        Python makes of them is not in the graph. `trace.readouts` lists them.

    Raises
    ------
    AddressError
        If `keep` matches nothing; near misses are listed.
    InputError
        If `keep` is none of these.
    TraceError
        If a trace is running in this thread already.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    >>> t = trace(model, torch.ones(2, 4))
    >>> list(t)
    ['input', '0.linear', '1.relu']
    >>> t["1.relu"].activation.dims
    ('stimulus', 'unit')
    """
    loaded = as_model_lazily(model)
    if isinstance(inputs, Stimuli):
        batch = inputs.batch(range(len(inputs)), loaded.preprocess)
        call, coords = as_call(tuple(batch) if isinstance(batch, list) else batch), inputs.coords()
        prepared = inputs.describe_preparation(loaded.preprocessing)
    else:
        call, coords, prepared = as_call(inputs), None, READY
    if not (keep is None or callable(keep) or isinstance(keep, str | Iterable)):
        raise InputError(f"keep={keep!r} is neither a pattern, a list of them, a function, nor None.")
    patterns = None if keep is None or callable(keep) else keep
    rule = callable(keep) if patterns is None else keep_for(patterns)
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        try:
            recording = record(
                loaded.module, call.args, call.kwargs, keep=rule, gradients=gradients, keep_on=keep_on
            )
        except TypeError as error:
            if not list_tensors((call.args, dict(call.kwargs))):
                error.add_note(
                    f"inputs={inputs!r:.80} holds no tensor. Give a tensor, a tuple of positional arguments, a "
                    "Mapping of keyword arguments, or Stimuli."
                )
            raise
    found = Trace(recording, loaded, call, coords, batch_axis, prepared)
    warn_of_readouts(found)
    if callable(keep):
        found.drop_all_but(address for address, operation in found.items() if keep(operation))
    elif patterns is not None and rule is not True:
        found.drop_all_but(patterns)
    return found


class Trace(Mapping[str, Operation]):
    """Everything a model did in one run: a Mapping from address to Operation, in execution order.

    Indexing also takes the address of a pass (`"relu:2"`), of a part of a result (`"lstm[0]"`), of a composite,
    and the path of a module, which means the module's output.

    Attributes
    ----------
    model
        The model that ran, with its preprocessing and the hash of its weights.
    recording
        The raw events that everything else is derived from.

    Examples
    --------
    >>> import torch
    >>> import neurolens as nl
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    >>> trace = nl.trace(model, torch.ones(2, 4))
    >>> trace["1.relu"].function.__name__, trace["0"].shape
    ('relu', torch.Size([2, 3]))
    >>> trace.find("*.relu"), len(trace.steps)
    (['1.relu'], 3)
    >>> trace.to_frame().loc["0.linear", "shape"]
    '2x3'
    >>> list(trace.inputs), list(trace.outputs), list(trace.modules)
    (['input'], ['output'], ['', '0', '1'])
    >>> trace.n_stimuli, trace.n_bytes, trace.activations["1.relu"].dims, trace.readouts
    (2, 80, ('stimulus', 'unit'), ())
    """

    def __init__(
        self,
        recording: Recording,
        model: Model,
        call: Call,
        coords: Mapping[Any, Any] | None,
        batch_axis: int,
        prepared: str,
    ) -> None:
        self.recording = recording
        self.model = model
        self._call = call
        self._coords = coords
        self._batch_axis = batch_axis
        self._prepared = prepared

    # ------------------------------------------------------------------ derived when first asked for

    @cached_property
    def names(self) -> Names:
        """All addresses."""
        return assign_names(self.recording)

    @cached_property
    def graph(self) -> Graph:
        """The data flow over passes."""
        return build_graph(self.recording)

    @cached_property
    def axes(self) -> Axes:
        """Where the stimuli are in each activation, found by running the model on two and on three of them."""
        with parameters_kept(self.model.module, self.recording.written):
            return find_axes(
                self.model.module, self._call, ops=self._find_kept(), batch_axis=self._batch_axis
            )

    def _find_kept(self) -> str | list[str]:
        """Return the operations that hold an activation, where they are few: only what they gave is compared."""
        of_event = self.names.of_event
        events = dict.fromkeys(value.event.index for value in self.recording.tensors)
        kept = list(dict.fromkeys(of_event[index][0].address for index in events if index in of_event))
        return kept if 0 < 2 * len(kept) < len(self.names.operations) else "**"

    @cached_property
    def planner(self) -> LayoutPlanner:
        """Plans how tensors become labelled arrays."""
        model = self.model
        made_by = Provenance(model.name, model.weights or hash_weights(model.module), self._prepared)
        return LayoutPlanner(
            self.recording, self.names, self.graph, self.axes, made_by, n_stimuli=self.n_stimuli
        )

    # ------------------------------------------------------------------ the mapping

    def __getitem__(self, address: str) -> Operation | Module:  # type: ignore[override]
        """Return what has an address.

        Parameters
        ----------
        address
            Of an operation or a composite ("layer1.0.add"), of a pass of it ("layer1.0.relu.relu:2"), of a module
            ("layer1.0") or of an output ("output").

        Returns
        -------
        Operation, Pass or Module
            With its activation, parents, children, source line and costs.

        Raises
        ------
        AddressError
            If nothing has this address; near misses are listed.
        """
        if not isinstance(address, str):
            raise AddressError(f"An address is a text, not {address!r}. Addresses in order: list(trace).")
        if address in self.names.outputs and address not in self.names.places:
            return Operation(self, self.maker_of(self.names.outputs[address]))
        place, label, number = split_address(self.names, address)
        check_place(place, label, number)
        if place.kind == "module" and not label:
            return Module(self, address)
        return Operation(self, address) if number is None else Pass(self, address)

    def __iter__(self) -> Iterator[str]:
        """Walk over the addresses of operations, in execution order."""
        return iter(self.names.operations)

    def __len__(self) -> int:
        """Count the operations; `steps` has every pass of them."""
        return len(self.names.operations)

    def __contains__(self, address: object) -> bool:
        """Tell whether something has this address: an operation, a pass, a module or an output."""
        try:
            self[address]  # type: ignore[index]
        except AddressError:
            return False
        return True

    def find(self, pattern: Ops) -> list[str]:
        """Return the addresses that a pattern chooses, in execution order.

        Parameters
        ----------
        pattern
            A glob on addresses, an address, a function that takes an Operation, or a list of these.

        Returns
        -------
        list of str
            Addresses.

        Raises
        ------
        AddressError
            If it matches nothing; near misses are listed.
        """
        return [target.address for target in select(self.names, pattern)]

    @property
    def modules(self) -> Mapping[str, Module]:
        """The modules that ran, by path."""
        return {a: Module(self, a) for a, place in self.names.places.items() if place.kind == "module"}

    @property
    def inputs(self) -> Mapping[str, torch.Tensor]:
        """The tensors that went in, by address; those that were kept."""
        return self._tensors(self.names.inputs)

    @property
    def outputs(self) -> Mapping[str, torch.Tensor]:
        """The tensors that came out, by address; those that were kept. With gradients=True backward begins here."""
        if self.recording.gradients is not None:
            return dict(zip(self.names.outputs, list_tensors(self.recording.returned), strict=True))
        return self._tensors(self.names.outputs)

    @property
    def readouts(self) -> tuple[Readout, ...]:
        """Where values left torch for Python, in order: the function, the tensors, the line, and what `bool` said."""
        return list_readouts(self)

    @property
    def steps(self) -> tuple[Pass, ...]:
        """Every pass of every operation, in execution order."""
        return tuple(Pass(self, self.pass_address(event.index)) for event in self.recording.events)

    @property
    def activations(self) -> TracedActivations:
        """The kept activations: a Mapping from address to DataArray."""
        return TracedActivations(self)

    @property
    def n_bytes(self) -> int:
        """Bytes of the memory that is kept, shared memory counted once."""
        found = {storage_key(tensor): tensor for tensor in self._kept()}
        return sum(tensor.untyped_storage().nbytes() for key, tensor in found.items() if key)

    def to_frame(self) -> pd.DataFrame:
        """Return a table: one row an operation, indexed by address, in execution order.

        Returns
        -------
        pandas.DataFrame
            Columns tell function, module, shape, dtype, depth, floating-point operations, source line and more.
        """
        return tables.to_frame(self)

    def draw(
        self,
        path: str | Path | None = None,
        *,
        color: Any = None,
        fold: int | None = None,
        rolled: bool | None = None,
        composites: bool = False,
        show: drawing.Detail | Sequence[drawing.Detail] = ("shape",),
        label: str | None = None,
    ) -> graphviz.Digraph:
        """Draw the graph of operations, modules as frames around them.

        What a tensor decided (`if x.sum() > 0`) is marked by a dotted arrow from the operation that decided it.

        Parameters
        ----------
        path
            File to write (.svg, .pdf, .png or .dot); None to write none.
        color
            A number or a word for each operation: a Mapping from address to value, a function of an Operation, a
            DataArray over `op`, or a Profile. Without it, what reads parameters is blue.
        fold
            Show modules below this level of nesting as one node each. By default everything is shown, and graphs
            of more than 500 nodes are folded until they fit.
        rolled
            Draw all passes of an operation as one node with a count; what a later pass reads of an earlier one is a
            loop. By default each pass is a node while there are at most 500.
        composites
            Draw the operations inside composite functions, too; by default each is one node.
        show
            What is written into each node: "shape", "parameters", "flops".
        label
            What the colours mean, for the legend.

        Returns
        -------
        graphviz.Digraph
            Shown as a picture by notebooks.

        Raises
        ------
        InputError
            If the file's suffix is none of these, or colours are given for unknown addresses alone.

        Warns
        -----
        NeurolensWarning
            If there was too much to show, with what was folded.

        Examples
        --------
        >>> import torch
        >>> graph = trace(torch.nn.Linear(3, 2), torch.ones(1, 3)).draw(show=["shape", "parameters"])
        >>> "8 parameters" in graph.source
        True
        """
        graph = drawing.draw(
            self, color=color, fold=fold, rolled=rolled, composites=composites, show=show, label=label
        )
        if path is not None:
            drawing.render(graph, Path(path))
        return graph

    def validate(self) -> Report:
        """Prove that the trace tells what the model did.

        1. Same answer: the outputs equal those of the untraced model, bit for bit.
        2. Replay: every operation, run again from the kept activations of its parents, gives its own, bit for bit.
        3. Perturbation: changing a parent changes its child, unless a reason is found.
        4. Witness: no kernel ran outside a recorded operation, in the thread that was traced.

        The model runs three to four times more; its buffers and the random state are restored.

        Returns
        -------
        Report
            What was proven, in words; True if nothing failed.

        Raises
        ------
        InputError
            If tensors are on the meta device: they have no values.

        Examples
        --------
        >>> import torch
        >>> bool(trace(torch.nn.Linear(3, 2), torch.ones(1, 3)).validate())
        True
        """
        if any(tensor.is_meta for tensor in self.recording.tensors.values()):
            raise InputError(
                "Tensors on the meta device have shapes and no values: there is nothing to prove."
            )
        call = self._call
        proofs = prove(self.recording, self.graph, self.model.module, call.args, call.kwargs)
        return Report(self, proofs)

    def __repr__(self) -> str:
        """Show on one screen what ran, how much is kept, and the first and last operations."""
        return tables.summarise(self)

    def _repr_html_(self) -> str:
        """Show the operations as a table that folds by module, in a notebook."""
        return tables.to_html(self)

    # ------------------------------------------------------------------ looking up

    def drop_all_but(self, chosen: Iterable[str] | str) -> None:
        """Let go of every activation that is not chosen; parameters stay."""
        patterns = [chosen] if isinstance(chosen, str) else list(chosen)
        wanted = find_module_outputs(self.recording, patterns)
        if wanted is None:
            wanted = [value for target in select(self.names, patterns) for value in target.values]
        kept = set(map(id, wanted))
        for value in [v for v in self.recording.tensors if not v.parameter and id(v) not in kept]:
            del self.recording.tensors[value]

    def resolve(self, address: str) -> Target:
        """Return what an address means."""
        return resolve(self.names, address)

    def read_tensor(self, address: str) -> torch.Tensor:
        """Return the kept tensor of one pass."""
        target = resolve(self.names, address)
        if len(target.values) > 1:
            raise AddressError(
                f"{address!r} ran {len(target.values)} times. Ask for one pass: {address + ':1'!r} to "
                f"{address + ':' + str(len(target.values))!r}; or for all of them as one array: .activation."
            )
        return kept_tensor(self.recording, target.values[0], address)

    def read_gradient(self, address: str) -> xr.DataArray:
        """Return the gradient of an activation, labelled as the activation is."""
        collected = self.recording.gradients
        if collected is None:
            raise TraceError("This trace collects no gradients. Trace again with gradients=True.")
        target = resolve(self.names, address)
        if any(value not in collected.of for value in target.values):
            raise TraceError(
                f"There is no gradient of {address!r} yet, or none reaches it. Run backward from trace.outputs; "
                "what does not require a gradient, or was not kept, has none."
            )
        layout = self.planner.plan(target)
        values = to_numpy(arrange(layout, [collected.of[value] for value in target.values], self.n_stimuli))
        return label_array(layout, values, self.stimulus_coords())

    def split(self, address: str) -> tuple[Place, str, int | None]:
        """Split an address into its place, the part of the result, and the number of the pass."""
        return split_address(self.names, address)

    def place_of(self, address: str) -> Place:
        """Return the place an address is about."""
        return split_address(self.names, address)[0]

    def items_of(self, address: str) -> list[Event | Scope]:
        """Return the events or scopes an address is about: all passes, or the chosen one."""
        place, _, number = split_address(self.names, address)
        return place.passes if number is None else [place.passes[number - 1]]

    def sites_of(self, address: str) -> list[Event | Scope]:
        """Return where the passes were called."""
        place, _, number = split_address(self.names, address)
        return place.sites if number is None else [place.sites[number - 1]]

    def events_in(self, item: Event | Scope) -> list[Event]:
        """Return the events of a scope."""
        if isinstance(item, Event):
            return [item]
        return [event for child in item.children for event in self.events_in(child)]

    def address_of(self, event: Event) -> str:
        """Return the operation of an event."""
        return self.names.of_event[event.index][0].address

    def pass_address(self, index: int) -> str:
        """Return the address of an event: with the pass, where its operation ran more than once."""
        place, number = self.names.of_event[index]
        return place.address if len(place.passes) == 1 else f"{place.address}:{number}"

    def maker_of(self, value: Value) -> str:
        """Return the address of the operation, pass and part of a result that a value is."""
        labels = (label for label, other in results(value.event).items() if other is value)
        return self.pass_address(value.event.index) + next(
            labels, ""
        )  # "": found later in memory that it wrote

    def describe(self, structure: Any) -> Any:
        """Write nested arguments with the address or parameter name in the place of each tensor."""
        if isinstance(structure, Value):
            if structure.parameter:
                return structure.parameter
            return self.maker_of(structure)
        if isinstance(structure, Mapping):
            return {name: self.describe(item) for name, item in structure.items()}
        if isinstance(structure, tuple | list) and any(True for _ in leaves(structure)):
            items = [self.describe(item) for item in structure]
            return type(structure)(*items) if hasattr(structure, "_fields") else type(structure)(items)
        return structure

    def stimulus_coords(self) -> Mapping[Any, Any]:
        """Return the coords of `stimulus`: those of the stimuli, else their positions as text."""
        if self._coords is not None:
            return self._coords
        return {STIMULUS: [str(index) for index in range(self.n_stimuli)]}

    @property
    def n_stimuli(self) -> int:
        """How many stimuli the inputs hold."""
        return count_stimuli(self._call, self._batch_axis) or 0

    def _kept(self) -> Iterator[torch.Tensor]:
        return (tensor for value, tensor in self.recording.tensors.items() if not value.parameter)

    def _tensors(self, values: Mapping[str, Value]) -> dict[str, torch.Tensor]:
        kept = self.recording.tensors
        return {name: kept_tensor(self.recording, v, name) for name, v in values.items() if v in kept}


def as_model_lazily(model: Model | Callable[..., Any]) -> Model:
    """Wrap a model without hashing its weights yet: a trace asks for the hash when it labels arrays."""
    if isinstance(model, Model | type) or not callable(model):
        return as_model(model)
    name = getattr(model, "__qualname__", type(model).__name__)
    return Model(model, None, name, "", "")
