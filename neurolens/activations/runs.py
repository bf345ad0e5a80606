"""Run a model over stimuli, batch by batch, and read the operations that were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from neurolens.activations.assemble import Layout, LayoutPlanner, Provenance, read_values
from neurolens.activations.axes import find_axes
from neurolens.activations.batches import Call, as_call, move, undisturbed
from neurolens.activations.collection import Ops
from neurolens.errors import InputError, StimulusError, TraceError
from neurolens.models import Model
from neurolens.recording.addresses import Names, Target, assign_names, results, select
from neurolens.recording.events import Recording, Value
from neurolens.recording.graph import build_graph
from neurolens.recording.keeping import keep_for
from neurolens.recording.recorder import record
from neurolens.stimuli import Stimuli

Signature = list[tuple[object, ...]]
Picks = dict[str, list[tuple[int, str]]]  # address -> for each pass, the event and the place in its result


@dataclass(slots=True)
class _Seen:
    """The graph of an earlier batch: a batch with the same signature needs no names of its own."""

    signature: Signature
    picks: Picks

    @property
    def last_event(self) -> int:
        return max((index for passes in self.picks.values() for index, _ in passes), default=0)


class Run:
    """One model, one set of stimuli, some operations; `batches` computes them.

    Planning runs the first batch, and probes the stimulus axes on two and three of its stimuli.
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
        self.made_by = Provenance(
            model.name, model.weights, stimuli.preprocessing or model.preprocessing
        )
        if device is not None and isinstance(model.module, torch.nn.Module):
            model.module.to(device)
        self._seen: _Seen | None = None
        self.layouts = self._plan()

    @property
    def n_batches(self) -> int:
        """How many batches the stimuli make."""
        return -(-len(self.stimuli) // self.batch_size)

    def batch_slice(self, index: int) -> slice:
        """Return the stimuli of a batch."""
        return slice(index * self.batch_size, min((index + 1) * self.batch_size, len(self.stimuli)))

    def compute(self, index: int, addresses: Sequence[str] | None = None) -> dict[str, torch.Tensor]:
        """Run one batch.

        Parameters
        ----------
        index
            Of the batch.
        addresses
            Which of the planned operations; all by default.

        Returns
        -------
        dict from address to torch.Tensor
            (stimulus, ...) of this batch, or without stimulus where static. An operation that did not run is
            left out.
        """
        part = self.batch_slice(index)
        wanted = list(self.layouts) if addresses is None else list(addresses)
        recording, values = self._run(self._load(part), wanted, part)
        n_stimuli = part.stop - part.start
        arrays = {}
        for address in wanted:
            if address in values:
                arrays[address] = self._read(recording, address, values[address], n_stimuli, part)
        return arrays

    def _read(
        self, recording: Recording, address: str, values: Sequence[Value], n_stimuli: int, part: slice
    ) -> torch.Tensor:
        layout = self.layouts[address]
        tensor = read_values(recording, layout, values, n_stimuli)
        expected = layout.shape if layout.is_static else (n_stimuli, *layout.shape)
        if tuple(tensor.shape) != expected:
            raise StimulusError(
                f"{address!r} has shape {tuple(tensor.shape)} for the stimuli {self.stimuli.ids[part.start]!r} to "
                f"{self.stimuli.ids[part.stop - 1]!r}, and {expected} was planned from the first batch. Give all "
                "stimuli one size, or choose other operations."
            )
        return tensor

    # ------------------------------------------------------------------ planning

    def _plan(self) -> dict[str, Layout]:
        part = self.batch_slice(0)
        call = self._load(part)
        axes = find_axes(self.model.module, call)
        recording = self._record(call, self.patterns, None, part)
        names = assign_names(recording)
        targets = select(names, self.patterns)
        planner = LayoutPlanner(recording, names, build_graph(recording), axes, self.made_by)
        self._seen = _Seen(sign(recording), pick(targets))
        return {target.address: planner.plan(target) for target in targets}

    def _load(self, part: slice) -> Call:
        batch = self.stimuli.batch(range(part.start, part.stop), self.model.preprocess)
        return move(as_call(tuple(batch) if isinstance(batch, list) else batch), self.device)

    def _run(
        self, call: Call, wanted: Sequence[str], part: slice
    ) -> tuple[Recording, dict[str, list[Value]]]:
        seen = self._seen
        assert seen is not None
        last = max((i for address in wanted for i, _ in seen.picks.get(address, ())), default=seen.last_event)
        # a stop comes before modules return: their outputs are kept by the operations that make them
        makers = [str(self.layouts[address].attrs["operation"]) for address in wanted]
        recording = self._record(call, [*wanted, *makers], last + 1, part)
        count = len(recording.events)
        if sign(recording) == seen.signature[:count] and (not recording.complete or count == len(seen.signature)):
            picks = {address: seen.picks[address] for address in wanted}
            return recording, {
                address: [results(recording.events[index])[label] for index, label in passes]
                for address, passes in picks.items()
            }
        if not recording.complete:
            recording = self._record(call, wanted, None, part)
        names = assign_names(recording)
        return recording, {target.address: list(target.values) for target in _select_known(names, wanted)}

    def _record(self, call: Call, ops: Sequence[str], stop_after: int | None, part: slice) -> Recording:
        try:
            with undisturbed(self.model.module):
                return record(
                    self.model.module, call.args, call.kwargs, keep=keep_for(ops), stop_after=stop_after
                )
        except TraceError:
            raise
        except Exception as error:
            error.add_note(
                f"{self.model.name} raised this on the stimuli {self.stimuli.ids[part.start]!r} to "
                f"{self.stimuli.ids[part.stop - 1]!r}."
            )
            raise


def sign(recording: Recording) -> Signature:
    """Return what two recordings share when the same operations ran in the same order at the same places."""
    return [
        (event.facts, event.scope.path, *((code, offset) for code, offset, _ in event.site))
        for event in recording.events
    ]


def pick(targets: Iterable[Target]) -> Picks:
    """Return where in a recording the values of targets are."""
    picks: Picks = {}
    for target in targets:
        picks[target.address] = [(value.event.index, _label_of(value)) for value in target.values]
    return picks


def _label_of(value: Value) -> str:
    return next(label for label, other in results(value.event).items() if other is value)


def _select_known(names: Names, addresses: Iterable[str]) -> Iterator[Target]:
    """Select addresses, passing over operations that did not run this time."""
    for address in addresses:
        base = address
        while base not in names.places and base and base[-1] in "]0123456789" and ("[" in base or ":" in base):
            base = base[: max(base.rfind("["), base.rfind(":"))]
        if base in names.places or address in names.inputs or address in names.outputs:
            yield from select(names, [address])


def estimate_bytes(layouts: Mapping[str, Layout], n_stimuli: int) -> int:
    """Return the bytes of all arrays before compression."""
    return sum(
        layout.n_features * layout.dtype.itemsize * (1 if layout.is_static else n_stimuli)
        for layout in layouts.values()
    )
