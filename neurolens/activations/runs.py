"""Run a model over stimuli, batch by batch, and read the operations that were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from neurolens.activations.addressbook import AddressBook
from neurolens.activations.assemble import Layout, LayoutPlanner, Provenance, read_values, stored_dtype
from neurolens.activations.axes import Axes, PassAddress, StimulusAxis, find_axes, list_values
from neurolens.activations.batches import Call, as_call, move, undisturbed
from neurolens.activations.collection import Ops
from neurolens.errors import AddressError, InputError, ModelError, StimulusError, TraceError, list_names
from neurolens.models import Model
from neurolens.recording.addresses import Names, Target, expand, is_glob, resolve, results, select
from neurolens.recording.events import Recording, Value
from neurolens.recording.graph import build_graph
from neurolens.recording.keeping import keep_for
from neurolens.recording.recorder import record
from neurolens.stimuli import Stimuli

Signature = list[tuple[object, ...]]
Picks = dict[str, list[tuple[int, str]]]  # address -> for each pass, the event and the place in its result


@dataclass(frozen=True, slots=True)
class _Seen:
    """The graph of the first batch: a batch with the same signature needs no names of its own."""

    signature: Signature
    picks: Picks


class Run:
    """One model, one set of stimuli, some operations; `compute` runs them.

    Planning runs the first batch, and probes the stimulus axes on two and three of its stimuli.

    Attributes
    ----------
    layouts
        What each operation becomes, by address, in order.
    left_out
        Operations that a pattern matched and that are no array over stimuli, with the reason.
    aliases
        Other addresses of what is planned (modules, composites), to the planned ones.
    met_later
        Operations that a pattern matches and that did not run in the first batch, with the first stimulus of
        the batch in which they did; known once that batch was computed.
    """

    def __init__(
        self,
        model: Model,
        stimuli: Stimuli,
        *,
        ops: Ops,
        batch_size: int,
        device: torch.device | str | None,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size={batch_size} is not a number of stimuli: give 1 or more.")
        if len(stimuli) == 0:
            raise StimulusError("There are no stimuli to run the model on.")
        self.model = model
        self.stimuli = stimuli
        self.patterns = [ops] if isinstance(ops, str) else list(ops)
        self.batch_size = batch_size
        self.device = device
        self.made_by = Provenance(model.name, model.weights, stimuli.preprocessing or model.preprocessing)
        if device is not None and isinstance(model.module, torch.nn.Module):
            model.module.to(device)
        self.layouts: dict[str, Layout] = {}
        self.left_out: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self.met_later: dict[str, str] = {}
        self._book = AddressBook()
        self._seen = self._plan()

    @property
    def n_batches(self) -> int:
        """How many batches the stimuli make."""
        return -(-len(self.stimuli) // self.batch_size)

    def batch_slice(self, index: int) -> slice:
        """Return the stimuli of a batch."""
        return slice(index * self.batch_size, min((index + 1) * self.batch_size, len(self.stimuli)))

    def compute(
        self, indices: Iterable[int], addresses: Sequence[str] | None = None
    ) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
        """Run some batches; the stimuli of the next are read while one is computed.

        Parameters
        ----------
        indices
            Of the batches.
        addresses
            Which of the planned operations; all by default.

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
        wanted = list(self.layouts) if addresses is None else list(addresses)
        todo = list(indices)
        with ThreadPoolExecutor(1, "neurolens-read") as reader:
            ahead = [reader.submit(self._load, self.batch_slice(index)) for index in todo[:1]]
            for position, index in enumerate(todo):
                call = ahead.pop().result()
                ahead += [
                    reader.submit(self._load, self.batch_slice(i)) for i in todo[position + 1 : position + 2]
                ]
                yield index, self._compute(call, wanted, self.batch_slice(index))

    def _compute(self, call: Call, wanted: Sequence[str], part: slice) -> dict[str, torch.Tensor]:
        recording, values = self._run(move(call, self.device), wanted, part)
        return {a: self._read(recording, a, values[a], part) for a in wanted if a in values}

    def _read(self, recording: Recording, address: str, values: Sequence[Value], part: slice) -> torch.Tensor:
        layout = self.layouts[address]
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

    def _plan(self) -> _Seen:
        part = self.batch_slice(0)
        call = move(self._load(part), self.device)
        recording = self._record(call, self.patterns, None, part)
        names = self._book.name(recording)
        axes = self._find_axes(call, list_values(names), part)
        targets = self._choose(names, axes)
        planner = LayoutPlanner(
            recording, names, build_graph(recording), axes, self.made_by, n_stimuli=part.stop - part.start
        )
        targets = [single for target in targets for single in self._split_passes(names, planner, target)]
        self.layouts = {target.address: planner.plan(target) for target in targets}
        self.aliases = find_aliases(names, targets)
        return _Seen(sign(recording), {target.address: pick(target) for target in targets})

    def _split_passes(self, names: Names, planner: LayoutPlanner, target: Target) -> list[Target]:
        """Take passes that can't be stacked one by one, unless the operation was asked for by its name."""
        if planner.is_stackable(target) or target.address in self.patterns:
            return [target]
        return [resolve(names, f"{target.address}:{number}") for number, _ in enumerate(target.values, 1)]

    def _find_axes(self, call: Call, met: Iterable[PassAddress], part: slice) -> Axes:
        module = self.model.module
        axes = find_axes(module, call, ops=self.patterns, name=self._book.name)
        n_stimuli = part.stop - part.start
        if n_stimuli > 3 and not axes.reason and any(address not in axes.found for address in met):
            # a branch that the probed stimuli did not take, and this batch did
            sizes = (n_stimuli - 1, n_stimuli)
            whole = find_axes(module, call, ops=self.patterns, sizes=sizes, name=self._book.name)
            return Axes({**whole.found, **axes.found})
        return axes

    def _choose(self, names: Names, axes: Axes) -> list[Target]:
        """Choose what is an array over stimuli; what a glob matched and is none is left out, with the reason."""
        chosen = []
        named = {pattern for pattern in self.patterns if not is_glob(pattern)}
        for target in select(names, self.patterns):
            reason = next((w.reason for w in _axes_of(names, axes, target) if w.is_undefined), None)
            if reason is None:
                chosen.append(target)
            elif target.address in named:
                raise AddressError(f"{target.address!r} is no array over stimuli: {reason}.")
            else:
                self.left_out[target.address] = reason
        if not chosen:
            address, reason = next(iter(self.left_out.items()))
            raise ModelError(
                f"Nothing that {list_names(self.patterns)} matches in {self.model.name} is an array over "
                f"stimuli; {address!r}: {reason}."
            )
        return chosen

    def _load(self, part: slice) -> Call:
        batch = self.stimuli.batch(range(part.start, part.stop), self.model.preprocess)
        return as_call(tuple(batch) if isinstance(batch, list) else batch)

    # ------------------------------------------------------------------ one batch

    def _run(
        self, call: Call, wanted: Sequence[str], part: slice
    ) -> tuple[Recording, dict[str, list[Value]]]:
        seen = self._seen
        last = max((index for address in wanted for index, _ in seen.picks[address]), default=0)
        recording = self._record(call, self._patterns_for(wanted), last + 1, part)
        count = len(recording.events)
        same_length = not recording.complete or count == len(seen.signature)
        if same_length and sign(recording) == seen.signature[:count]:
            return recording, {
                address: [results(recording.events[index])[label] for index, label in seen.picks[address]]
                for address in wanted
            }
        if not recording.complete:
            recording = self._record(call, self._patterns_for(wanted), None, part)
        names = self._book.name(recording)
        self._note_new(names, part)
        found = ((address, _find(names, address)) for address in wanted)
        return recording, {address: list(target.values) for address, target in found if target is not None}

    def _patterns_for(self, wanted: Sequence[str]) -> list[str]:
        if len(wanted) == len(self.layouts) and "**" in self.patterns:
            return ["**"]
        # a stop comes before modules return: their outputs are kept by the operations that make them
        return [*wanted, *(str(self.layouts[address].attrs["operation"]) for address in wanted)]

    def _note_new(self, names: Names, part: slice) -> None:
        for pattern in self.patterns:
            if is_glob(pattern):
                for target in _select_known(names, pattern):
                    if target.address not in self.layouts and target.address not in self.left_out:
                        self.met_later.setdefault(target.address, self.stimuli.ids[part.start])

    def _record(self, call: Call, ops: Sequence[str], stop_after: int | None, part: slice) -> Recording:
        module = self.model.module
        try:
            with undisturbed(module):
                return record(module, call.args, call.kwargs, keep=keep_for(ops), stop_after=stop_after)
        except TraceError:
            raise
        except Exception as error:
            error.add_note(f"{self.model.name} raised this on {self._say_stimuli(self._blame(part, error))}.")
            raise

    def _blame(self, part: slice, error: Exception) -> slice:
        """Find the one stimulus that makes the model raise, if it does so alone."""
        for index in range(part.start, part.stop):
            single = slice(index, index + 1)
            call = move(self._load(single), self.device)
            try:
                with undisturbed(self.model.module):
                    self.model.module(*call.args, **call.kwargs)
            except type(error):
                return single
            except Exception:  # another error than the one to be explained
                continue
        return part

    def _say_stimuli(self, part: slice) -> str:
        ids = self.stimuli.ids[part]
        return f"the stimulus {ids[0]!r}" if len(ids) == 1 else f"the stimuli {ids[0]!r} to {ids[-1]!r}"


def sign(recording: Recording) -> Signature:
    """Return what two recordings share when the same operations ran in the same order at the same places."""
    return [
        (event.facts, event.scope.path, *((code, offset) for code, offset, _ in event.site))
        for event in recording.events
    ]


def pick(target: Target) -> list[tuple[int, str]]:
    """Return where in a recording the values of a target are."""
    return [(value.event.index, _label_of(value)) for value in target.values]


def find_aliases(names: Names, planned: Iterable[Target]) -> dict[str, str]:
    """Return every address that means what is planned under another one, to that other one.

    A module that gives out an operation's tensor is an alias of the operation; so is what was asked for twice.
    """
    homes: dict[tuple[int, ...], str] = {}
    for target in sorted(
        planned, key=lambda t: (-len(t.values), t.place is None or t.place.kind != "operation")
    ):
        for values, address in _with_passes(target):
            homes.setdefault(values, address)
    outputs = (Target(address, None, "", (value,)) for address, value in names.outputs.items())
    everything = (target for address in names.places if address for target in expand(names, address))
    return {
        address: homes[values]
        for target in (*everything, *outputs)
        for values, address in _with_passes(target)
        if homes.get(values, address) != address
    }


def _with_passes(target: Target) -> Iterator[tuple[tuple[int, ...], str]]:
    """Walk a target and each of its passes: what identifies the tensors, and the address."""
    yield tuple(map(id, target.values)), target.address
    if len(target.values) > 1:
        for number, value in enumerate(target.values, 1):
            yield (id(value),), f"{target.address}:{number}"


def _axes_of(names: Names, axes: Axes, target: Target) -> Iterator[StimulusAxis]:
    for value in target.values:
        place, number = names.of_event[value.event.index]
        yield axes.of(place.address, number, _label_of(value))


def _label_of(value: Value) -> str:
    return next(label for label, other in results(value.event).items() if other is value)


def _find(names: Names, address: str) -> Target | None:
    """Find an address of the plan in another recording; None where it did not run."""
    try:
        target = resolve(names, address)
    except AddressError:
        return None
    return target if target.address == address else None  # it may be another operation's alias there


def _select_known(names: Names, pattern: str) -> list[Target]:
    try:
        return select(names, pattern)
    except AddressError:
        return []


def estimate_bytes(
    layouts: Mapping[str, Layout], n_stimuli: int, dtype: np.dtype[np.generic] | None = None
) -> int:
    """Return the bytes of all arrays as they are stored, before compression; `dtype` is what floats become."""
    return sum(
        layout.n_features
        * stored_dtype(layout.dtype, dtype).itemsize
        * (1 if layout.is_static else n_stimuli)
        for layout in layouts.values()
    )
