"""Run a model over stimuli, batch by batch, and read the operations that were asked for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from neurolens.activations.addressbook import AddressBook
from neurolens.activations.assemble import Layout, LayoutPlanner, Provenance, read_values
from neurolens.activations.axes import Axes, PassAddress, find_axes, list_values
from neurolens.activations.batches import Call, move, undisturbed
from neurolens.activations.budget import estimate_bytes
from neurolens.activations.choice import Chooser
from neurolens.activations.faults import Flaw, find_flaw, find_origin, say_dtypes, say_place
from neurolens.activations.feed import feed, is_death, load_call, n_ahead
from neurolens.activations.graphs import Graphs, digest, find_aliases, find_target
from neurolens.activations.operations import Ops
from neurolens.activations.reduce import PrincipalComponents, Reducer, Reduction, plan_reducers
from neurolens.activations.samples import Sampler
from neurolens.errors import InputError, StimulusError, TraceError, check_count
from neurolens.models import Model
from neurolens.recording.addresses import Names
from neurolens.recording.events import Event, Recording, Value
from neurolens.recording.graph import build_graph
from neurolens.recording.keeping import Keep, keep_for
from neurolens.recording.recorder import Recorder, record
from neurolens.recording.structures import list_tensors
from neurolens.stimuli import Stimuli


@dataclass(slots=True)
class Late:
    """What is known of operations that first run after the first batch.

    Attributes
    ----------
    positions
        Addresses of the positions in the model's code, see `AddressBook.late`.
    left_out
        Those that are no array over stimuli, with the reason.
    """

    positions: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


class UnplannedError(Exception):
    """A batch runs operations that were not planned, and planning them is another process's task."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What planning found: another process of the same run takes it over, instead of running the first batch too."""

    computed: dict[str, Layout]
    reducers: dict[str, Reducer]
    left_out: dict[str, str]
    aliases: dict[str, str]
    book: AddressBook
    runs_whole: bool


class Run:
    """One model, one set of stimuli, some operations; `compute` runs them.

    Planning runs the first batch, and probes the stimulus axes on two and three of its stimuli.

    Parameters
    ----------
    model, stimuli, ops, batch_size, device, reduce, workers
        As in `extract`.
    late
        What earlier processes of the same run know of operations that first run later.
    plan
        What another process of the same run planned; by default it is planned here.
    plans_late
        What to do with operations that first run after the first batch: plan them too (True), raise
        UnplannedError (False), or leave them out and note them in `met_later` (None).
    keep_first
        Hold what the first batch gave until it is computed, so that it need not run twice.
    memory
        About how many bytes of activations to hold while stimulus axes are found, or a reduction is fitted; no
        more than 2 GB are.

    Attributes
    ----------
    layouts
        What each operation becomes, by address, in order; operations that first run later are added.
    left_out
        Operations that a pattern matched and that are no array over stimuli, with the reason.
    aliases
        Other addresses of what is planned (modules, composites), to the planned ones.
    later
        Addresses of the operations that were planned after the first batch.
    met_later
        Operations that were left out since they did not run in the first batch, with the first stimulus of the
        batch in which they did.
    flaws
        Values that are no numbers: the first of each kind.
    graph
        Hash of which operations the first batch ran.
    """

    def __init__(
        self,
        model: Model,
        stimuli: Stimuli,
        *,
        ops: Ops,
        batch_size: int,
        device: torch.device | str | None,
        reduce: Reduction | None = None,
        workers: int = 0,
        late: Late | None = None,
        plan: Plan | None = None,
        plans_late: bool | None = True,
        keep_first: bool = False,
        memory: int = 2 * 10**9,
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise InputError(f"batch_size={batch_size!r} is not a number of stimuli: give 1 or more.")
        if len(stimuli) == 0:
            raise StimulusError("There are no stimuli to run the model on.")
        check_count(workers, "workers", 0, " (a thread reads)")
        self.model, self.stimuli = model, stimuli
        self.batch_size, self.device, self.workers = batch_size, device, workers
        self.chooser = Chooser(ops, model.name)
        self.reduce = reduce
        self.late = late or Late()
        self.made_by = Provenance(
            model.name, model.weights, stimuli.describe_preparation(model.preprocessing)
        )
        if device is not None and isinstance(model.module, torch.nn.Module):
            model.module.to(device)
        self.layouts: dict[str, Layout] = {}
        self.left_out: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self.later: set[str] = set()
        self.met_later: dict[str, str] = {}
        self.flaws: dict[str, Flaw] = {}
        self.told: list[Flaw] = []  # those that the user was warned of
        self._plans_late = plans_late
        self._memory = min(memory, 2 * 10**9)
        self.n_input_bytes = 0  # of a batch
        self._book = AddressBook(self.late.positions) if plan is None else plan.book.copy()
        self.late.positions = self._book.late
        self._graphs = Graphs()
        self._computed: dict[str, Layout] = {}  # before they are reduced
        self._first: tuple[Recording, dict[str, list[Value]]] | None = None
        if plan is None:
            self._plan(keep_first)
            self.reducers = self._plan_reducers(self._computed)
        else:
            self._take_over(plan)
        self.layouts = {a: self._reduced(a) for a in self._computed}

    @property
    def n_batches(self) -> int:
        """How many batches the stimuli make."""
        return -(-len(self.stimuli) // self.batch_size)

    @property
    def n_held(self) -> int:
        """Bytes that a batch takes beside the model's own: activations, inputs read ahead, reducers."""
        size = min(self.batch_size, len(self.stimuli))
        held = sum(reducer.n_bytes for reducer in self.reducers.values())
        return 3 * estimate_bytes(self._computed, size) + n_ahead(self.workers) * self.n_input_bytes + held

    @property
    def n_held_already(self) -> int:
        """Bytes of that which planning left: the activations of the first batch, where they were kept."""
        size = min(self.batch_size, len(self.stimuli))
        return 0 if self._first is None else estimate_bytes(self._computed, size)

    def split(self, indices: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the batches that are computed already, and the others; what is not asked for is let go."""
        if list(indices[:1]) != [0]:
            self._first = None
        n = 0 if self._first is None else 1
        return list(indices[:n]), list(indices[n:])

    def batch_slice(self, index: int) -> slice:
        """Return the stimuli of a batch."""
        return slice(index * self.batch_size, min((index + 1) * self.batch_size, len(self.stimuli)))

    @property
    def plan(self) -> Plan:
        """What another process needs to compute batches of this run."""
        return Plan(
            dict(self._computed),
            dict(self.reducers),
            dict(self.left_out),
            dict(self.aliases),
            self._book.copy(),
            self._runs_whole,
        )

    def resize_batches(self, batch_size: int) -> None:
        """Show so many stimuli at once from now on, at most as many as when the first batch was planned."""
        n_before = min(self.batch_size, len(self.stimuli))
        self.n_input_bytes, self.batch_size = self.n_input_bytes * batch_size // n_before, batch_size

    def computed_layout(self, address: str) -> Layout:
        """Return the layout of an operation before it is reduced."""
        return self._computed[address]

    def learn(self, late: Late) -> None:
        """Take over what another process of the same run knows of operations that first run later."""
        self._book.learn(late.positions)
        self.late.left_out |= late.left_out

    def compute(
        self, indices: Iterable[int], addresses: Sequence[str] | None = None
    ) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
        """Run some batches; the stimuli of the next are read while one is computed.

        Parameters
        ----------
        indices
            Of the batches.
        addresses
            Which of the planned operations; by default all, with those that are planned on the way.

        Yields
        ------
        int, dict from address to torch.Tensor
            The batch, and (stimulus, ...) of it, or without stimulus where static. An operation that did not
            run is left out.

        Raises
        ------
        StimulusError
            If a stimulus cannot be read, or gives an activation of another shape.
        """
        _, rest = self.split(list(indices))
        first, self._first = self._first, None
        parts = [self.batch_slice(index) for index in rest]
        calls = feed(self.model, self.stimuli, parts, self.workers)
        if first is not None:
            wanted = list(self._computed) if addresses is None else addresses
            yield 0, self._read_all(*first, wanted, self.batch_slice(0))
        del first
        for index, part, call in zip(rest, parts, calls, strict=True):
            yield index, self._compute(move(call, self.device), addresses, part)

    def _compute(self, call: Call, addresses: Sequence[str] | None, part: slice) -> dict[str, torch.Tensor]:
        recording, values = self._run(call, addresses, part)
        wanted = list(self._computed) if addresses is None else addresses
        return self._read_all(recording, values, wanted, part)

    def _read_all(
        self,
        recording: Recording,
        values: Mapping[str, Sequence[Value]],
        wanted: Sequence[str],
        part: slice,
    ) -> dict[str, torch.Tensor]:
        found = {}
        for address in wanted:
            if address in values:
                tensor = self._read(recording, address, values[address], part)
                self._watch(address, tensor, part)
                reducer = self.reducers.get(address)
                found[address] = tensor if reducer is None else reducer.apply(tensor)
        return found

    def _read(self, recording: Recording, address: str, values: Sequence[Value], part: slice) -> torch.Tensor:
        layout = self._computed[address]
        n_stimuli = part.stop - part.start
        tensor = read_values(recording, layout, values, n_stimuli)
        expected = layout.shape if layout.is_static else (n_stimuli, *layout.shape)
        if tuple(tensor.shape) != expected:
            raise StimulusError(
                f"{address!r} has shape {tuple(tensor.shape)} for {self._say_stimuli(part)}, and {expected} was "
                "planned from the first batch. Give all stimuli one size, or choose other operations."
            )
        return tensor

    # ------------------------------------------------------------------ planning

    def _plan(self, keep_first: bool) -> None:
        part = self.batch_slice(0)
        call = move(load_call(self.model, self.stimuli, part), self.device)
        self.n_input_bytes = sum(
            t.numel() * t.element_size() for t in list_tensors((call.args, dict(call.kwargs)))
        )
        begin = time.perf_counter()
        recording = self._record(call, self.chooser.rule if keep_first else False, None, part)
        self.seconds_a_batch = time.perf_counter() - begin
        names = self._book.name(recording)
        axes = self._find_axes(call, list_values(names), part)
        planner = self._planner(recording, names, axes, part)
        within = self._say_stimuli(part) if self.n_batches > 1 else ""
        targets = self.chooser.choose(names, axes, planner, self.left_out, within=within)
        self._computed = {target.address: planner.plan(target) for target in targets}
        self.aliases = find_aliases(names, targets)
        self.graph = digest(recording, names)
        self._graphs.add(recording, names, {target.address: target for target in targets})
        last = self._graphs.last(list(self._computed))
        self._runs_whole = self.chooser.is_open and any(r.before > last for r in recording.readouts)
        if self.chooser.is_open:
            self._book.begin()
        if keep_first:
            self._first = recording, {target.address: list(target.values) for target in targets}

    def _take_over(self, plan: Plan) -> None:
        self._computed, self.reducers = dict(plan.computed), dict(plan.reducers)
        self.left_out, self.aliases = dict(plan.left_out), dict(plan.aliases)
        self._runs_whole = plan.runs_whole

    def _planner(self, recording: Recording, names: Names, axes: Axes, part: slice) -> LayoutPlanner:
        n_stimuli = part.stop - part.start
        return LayoutPlanner(
            recording, names, build_graph(recording), axes, self.made_by, n_stimuli=n_stimuli
        )

    def _find_axes(self, call: Call, met: Iterable[PassAddress], part: slice) -> Axes:
        module, ops = self.model.module, self.chooser.globs
        find = partial(find_axes, module, call, ops=ops, name=self._book.name, memory=self._memory)
        axes = find()
        n_stimuli = part.stop - part.start
        if n_stimuli > 3 and not axes.reason and any(address not in axes.found for address in met):
            # a branch that the probed stimuli did not take, and this batch did
            whole = find(sizes=(n_stimuli - 1, n_stimuli))
            return Axes({**whole.found, **axes.found})
        return axes

    def _meet(self, recording: Recording, names: Names, call: Call, part: slice) -> None:
        """Plan operations that a pattern matches and that no earlier batch ran."""
        known = self._computed.keys() | self.left_out.keys() | self.late.left_out.keys()
        if not self.chooser.is_open or not self.chooser.find_new(names, known):
            return
        if self._plans_late is None:
            for target in self.chooser.find_new(names, known):
                self.met_later.setdefault(target.address, self.stimuli.ids[part.start])
            return
        axes = self._find_axes(call, list_values(names), part)
        planner = self._planner(recording, names, axes, part)
        targets = self.chooser.choose_new(names, axes, planner, known, self.late.left_out)
        if isinstance(self.reduce, PrincipalComponents):
            why = "it first ran after the first batch, so no components were fitted"
            self.late.left_out |= {target.address: why for target in targets}
            return
        planned = {target.address: planner.plan(target) for target in targets}
        self.later |= planned.keys()
        self._computed |= planned
        self.reducers |= self._plan_reducers({a: la for a, la in planned.items() if a not in self.reducers})
        self.layouts |= {address: self._reduced(address) for address in planned}
        self.aliases = find_aliases(names, targets) | self.aliases

    def _plan_reducers(self, layouts: Mapping[str, Layout]) -> dict[str, Reducer]:
        wanted = self.reduce.stimuli if isinstance(self.reduce, PrincipalComponents) else ()

        def compute(group: list[str]) -> Iterator[Mapping[str, torch.Tensor]]:
            stimuli = self.stimuli.select(wanted)
            settings = {"batch_size": self.batch_size, "device": self.device, "workers": self.workers}
            some = Run(self.model, stimuli, ops=group, **settings)  # type: ignore[arg-type]
            return (tensors for _, tensors in some.compute(range(some.n_batches)))

        sample = Sampler(layouts, len(wanted), compute, memory=self._memory)
        return plan_reducers(self.reduce, layouts, n_stimuli=len(self.stimuli), sample=sample)

    def _reduced(self, address: str) -> Layout:
        reducer = self.reducers.get(address)
        return self._computed[address] if reducer is None else reducer.layout

    # ------------------------------------------------------------------ one batch

    def _run(
        self, call: Call, addresses: Sequence[str] | None, part: slice
    ) -> tuple[Recording, Mapping[str, Sequence[Value]]]:
        wanted = list(self._computed) if addresses is None else list(addresses)
        if self._graphs.is_empty:  # another process planned
            recording = self._record(call, self.chooser.rule, None, part)
        else:
            stop_after = None if self._runs_whole else self._graphs.last(wanted) + 1
            recording = self._record(call, self._rule_for(wanted), stop_after, part)
            found = self._graphs.find(recording, wanted)
            if found is not None:
                return recording, found
            if not self._runs_whole:  # from now on, whatever a pattern may choose is kept
                self._runs_whole = True
                recording = self._record(call, self._rule_for(wanted), None, part)
        if self._plans_late is False and self.chooser.is_open and not self._book.knows(recording):
            raise UnplannedError
        names = self._book.name(recording)
        self._meet(recording, names, call, part)
        targets = {a: target for a in self._computed if (target := find_target(names, a)) is not None}
        self._graphs.add(recording, names, targets)
        return recording, {address: target.values for address, target in targets.items()}

    def _rule_for(self, wanted: Sequence[str]) -> Keep | bool:
        whole = self._runs_whole and self.chooser.is_open and self._plans_late is not None
        if len(wanted) == len(self._computed) and ("**" in self.chooser.patterns or whole):
            return self.chooser.rule
        # a stop comes before modules return: their outputs are kept by the operations that make them
        operations = (str(self._computed[address].attrs["operation"]) for address in wanted)
        return keep_for([*wanted, *operations])

    def _record(self, call: Call, keep: Keep | bool, stop_after: int | None, part: slice) -> Recording:
        module = self.model.module
        try:
            with undisturbed(module):
                return record(module, call.args, call.kwargs, keep=keep, stop_after=stop_after)
        except TraceError:
            raise
        except Exception as error:
            if is_death(error):
                raise
            dtypes = say_dtypes(module, call)
            error.add_note(
                f"{self.model.name} raised this {self._blame(part, error)}." + (dtypes and f" {dtypes}.")
            )
            raise

    # ------------------------------------------------------------------ what goes wrong

    def _watch(self, address: str, tensor: torch.Tensor, part: slice) -> None:
        """Note the first stimulus, and the first operation, that gives what is no number."""
        flaw = None if self._computed[address].is_static else find_flaw(tensor)
        if flaw is None or flaw[0] in self.flaws:
            return
        kind, row = flaw
        index = part.start + row
        single = move(load_call(self.model, self.stimuli, slice(index, index + 1)), self.device)
        book = self._book.copy()  # a stimulus on its own may take another way than its batch did
        origin = find_origin(self.model.module, single, kind, book.name)
        self.flaws[kind] = Flaw(kind, self.stimuli.ids[index], address, origin)

    def _blame(self, part: slice, error: Exception) -> str:
        """Say on which stimulus and where the model raises; on one alone, if it does so alone."""
        for index in range(part.start, part.stop):
            single = slice(index, index + 1)
            call = move(load_call(self.model, self.stimuli, single), self.device)
            recorder = Recorder(self.model.module, keep=False)
            try:
                with undisturbed(self.model.module):
                    recorder.run(call.args, dict(call.kwargs))
            except type(error) as again:
                return self._say_raised(single, again, recorder.ledger.events)
            except Exception:  # another error than the one to be explained
                continue
        return self._say_raised(part, error, [])

    def _say_raised(self, part: slice, error: Exception, events: list[Event]) -> str:
        place = say_place(self.model.module, error)
        before = self._graphs.address_before(events)
        said = [f"on {self._say_stimuli(part)}", place, f"after the operation {before!r}" if before else ""]
        return ", ".join(text for text in said if text)

    def _say_stimuli(self, part: slice) -> str:
        ids = self.stimuli.ids[part]
        return f"the stimulus {ids[0]!r}" if len(ids) == 1 else f"the stimuli {ids[0]!r} to {ids[-1]!r}"
