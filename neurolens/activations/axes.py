"""Which axis of an activation is the stimulus: found by running batches of two and three, not guessed.

Shapes propose: the axis whose length goes with the batch. Values decide: the first stimuli of both batches must
agree when the axis is read as (stimulus, k) or as (k, stimulus).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from neurolens.activations.batches import Call, rebatch, undisturbed
from neurolens.activations.rations import Ration, place_of, wants_places
from neurolens.recording.addresses import INPUT, Names, assign_names, results
from neurolens.recording.events import Event, Recording, Value, leaves
from neurolens.recording.keeping import Keep, keep_for
from neurolens.recording.recorder import record
from neurolens.recording.structures import is_array

PassAddress = tuple[str, int, str]  # operation, number of the pass, place in the result
Values = dict[PassAddress, Value]
STATIC = "static: the same for every batch"
UNASKED = "not compared: it was not asked for"


@dataclass(frozen=True, slots=True)
class StimulusAxis:
    """Where the stimuli are in an activation.

    `axis` is None where there is no stimulus axis; `reason` then says why. `factor` > 1 where the axis merges
    stimuli with `factor` other entries: stimulus-major as (stimulus, factor), else (factor, stimulus).
    """

    axis: int | None
    factor: int = 1
    stimulus_major: bool = True
    reason: str = ""

    @property
    def is_undefined(self) -> bool:
        """Whether it is no array over stimuli at all: no stimulus axis, and yet not the same for all of them."""
        return self.axis is None and self.reason != STATIC


@dataclass(frozen=True, slots=True)
class Axes:
    """The stimulus axis of everything in a model; `reason` says why nothing could be probed, if so."""

    found: Mapping[PassAddress, StimulusAxis]
    reason: str = ""

    def of(self, operation: str, number: int, label: str) -> StimulusAxis:
        """Return where the stimuli are in one pass of an operation."""
        found = self.found.get((operation, number, label))
        if found is None:  # a pass or operation that ran for these stimuli alone: another pass may tell
            found = self.found.get((operation, 1, label))
        if found is None:
            return StimulusAxis(None, reason=self.reason or "did not run when axes were probed")
        return found


def find_axes(
    model: Callable[..., Any],
    call: Call,
    *,
    ops: str | Iterable[str] = "**",
    batch_axis: int = 0,
    sizes: tuple[int, int] = (2, 3),
    name: Callable[[Recording], Names] = assign_names,
    memory: int = 2 * 10**9,
) -> Axes:
    """Run `model` on two and on three stimuli and compare.

    The model runs in eval mode without gradients; its flags, buffers and the random state are restored.

    Parameters
    ----------
    model
        Any callable.
    call
        Its arguments, for one stimulus or more.
    ops
        Patterns of what is asked for. Of other operations no value is compared, but where stimuli are merged
        with something else on the way to what is asked for.
    batch_axis
        The axis of the inputs that is the stimulus.
    sizes
        Numbers of stimuli in the two batches, the smaller first.
    name
        Gives the addresses of a recording.
    memory
        About how many bytes of activations to hold at once; the model runs as often as that asks for.

    Returns
    -------
    Axes
        The stimulus axis of every tensor that was met in both runs.
    """
    try:
        calls = tuple(rebatch(call, size, batch_axis) for size in sizes)
        probe = _Probe(model, calls, sizes, name, memory)
        few, more = probe.compare(keep_for(ops))
        places = {place_of(value.event) for value in _list_unclear(few, more, probe)}
        if places:
            probe.compare(wants_places(places))
    except Exception as error:  # a model may refuse other batch sizes in any way: that is the answer
        numbers = f"{sizes[0]} and {sizes[1]}"
        return Axes({}, f"the model did not run on batches of {numbers} ({type(error).__name__}: {error})")
    return Axes(_settle_all(few, more, probe))


@dataclass(slots=True)
class _Probe:
    """Pairs of runs, and what was learned from the values that they kept."""

    model: Callable[..., Any]
    calls: tuple[Call, ...]
    sizes: tuple[int, int]
    name: Callable[[Recording], Names]
    memory: int
    fitting: dict[PassAddress, list[StimulusAxis]] = field(default_factory=dict)

    def compare(self, keep: Keep | bool) -> tuple[Values, Values]:
        """Run on both batches until all that `keep` wants was compared; return the values of the last pair."""
        while True:
            ration = Ration(keep, self.memory * self.sizes[0] / sum(self.sizes))
            (few, kept), (more, kept_too) = (self._run(call, ration.keep) for call in self.calls)
            if few.keys() != more.keys():  # the first run may have filled a cache of the model's own
                few, kept = self._run(self.calls[0], ration.keep)
            for address, a in few.items():
                b = more.get(address)
                if b is not None and a in kept and b in kept_too and address not in self.fitting:
                    readings = _propose(a.shape, b.shape, self.sizes)
                    self.fitting[address] = _list_fitting(kept[a], kept_too[b], readings, self.sizes)
            if not ration.refused:
                return few, more
            keep = wants_places(ration.refused)

    def _run(self, call: Call, keep: Keep) -> tuple[Values, dict[Value, torch.Tensor]]:
        with undisturbed(self.model):  # each run begins with the same buffers and random state
            recording = record(self.model, call.args, call.kwargs, keep=keep)
        return list_values(self.name(recording)), recording.tensors


def _list_unclear(few: Values, more: Values, probe: _Probe) -> list[Value]:
    """Return what was not compared and can be read in two ways, among what the compared values are made of."""
    compared = [few[address] for address in probe.fitting if address in few]
    reached = {id(value) for value in compared}
    unclear = []
    for address, value in reversed(few.items()):
        if id(value) in reached:
            reached.update(map(id, value.event.inputs()))
            other = more.get(address)
            if address in probe.fitting or other is None:
                continue
            if len(_propose(value.shape, other.shape, probe.sizes)) > 1:
                unclear.append(value)
    return unclear


def _settle_all(few: Values, more: Values, probe: _Probe) -> dict[PassAddress, StimulusAxis]:
    """Decide for every tensor, in order of execution: parents first."""
    found: dict[PassAddress, StimulusAxis] = {}
    known: dict[int, StimulusAxis] = {}  # id of a value of the first run -> its axis, for its children
    fed: set[Event] = set()  # events whose values are made from the inputs
    for address, value in few.items():
        if _is_fed(value.event, fed):
            fed.add(value.event)
        if address in more:
            parents = [known[id(v)] for v in value.event.inputs() if id(v) in known]
            readings = _propose(value.shape, more[address].shape, probe.sizes)
            where = _settle(readings, probe.fitting.get(address), parents)
            if where.reason == STATIC and value.event in fed:
                where = StimulusAxis(None, reason="made from the stimuli, yet no axis goes with them")
            found[address] = known[id(value)] = where
    return found


def _is_fed(event: Event, fed: set[Event]) -> bool:
    """Tell whether the values of the inputs reach an event, not their shape or dtype alone."""
    name = event.facts.name
    if name == INPUT:
        return True
    if name.startswith("new_") or name.endswith("_like"):
        return False
    sources = leaves(event.args[:1]) if name.endswith("_as") or name == "to" else event.inputs()
    return any(
        value.event in fed or (value.base is not None and value.base.event in fed) for value in sources
    )


def list_values(names: Names) -> Values:
    """Return every tensor that operations gave, by operation, pass and place in the result, in order."""
    items = []
    for address, place in names.operations.items():
        for number, item in enumerate(place.passes, 1):
            assert isinstance(item, Event)
            items += [(item.index, (address, number, label), value) for label, value in results(item).items()]
    return {address: value for _, address, value in sorted(items, key=lambda entry: entry[0])}


def _propose(few: Sequence[int], more: Sequence[int], sizes: tuple[int, int]) -> list[StimulusAxis]:
    """Read two shapes: the ways in which the stimuli may lie in them, or the one reason why in none."""
    if len(few) != len(more):
        return [StimulusAxis(None, reason="its number of axes depends on the batch")]
    changed = [axis for axis, (a, b) in enumerate(zip(few, more, strict=True)) if a != b]
    if not changed:
        return [StimulusAxis(None, reason=STATIC)]
    axis = changed[0]
    if len(changed) > 1 or few[axis] * sizes[1] != more[axis] * sizes[0]:
        reason = f"axes {changed} change with the batch, but not one in proportion"
        return [StimulusAxis(None, reason=reason)]
    factor = few[axis] // sizes[0]
    return [StimulusAxis(axis, factor, major) for major in ((True, False) if factor > 1 else (True,))]


def _list_fitting(
    a: torch.Tensor, b: torch.Tensor, readings: list[StimulusAxis], sizes: tuple[int, int]
) -> list[StimulusAxis]:
    """Return the readings under which both batches have the same values for the stimuli that both hold."""
    first = readings[0]
    if first.axis is None and first.reason != STATIC:
        return readings
    if not (is_array(a) and is_array(b)):
        kind = "nested" if a.is_nested else a.dtype if a.is_quantized else a.layout
        return [StimulusAxis(None, reason=f"it has no plain array ({kind}, on {a.device})")]
    if first.axis is None:
        return readings if _agree(a, b) else []
    return [
        reading
        for reading in readings
        if _agree(_stimuli_first(a, sizes[0], reading), _stimuli_first(b, sizes[1], reading)[: sizes[0]])
    ]


def _settle(
    readings: list[StimulusAxis], fitting: list[StimulusAxis] | None, parents: list[StimulusAxis]
) -> StimulusAxis:
    """Decide between readings; `fitting` is None where values were not compared."""
    first = readings[0]
    if fitting is None and first.reason == STATIC:
        return StimulusAxis(None, reason=UNASKED)
    if fitting == []:
        if first.axis is None:
            return StimulusAxis(
                None, reason="no axis goes with the stimuli, yet its values change with the batch"
            )
        reason = "mixes stimuli, or is random: values depend on the rest of the batch"
        return replace(first, reason=reason)
    left = readings if fitting is None else fitting
    if len(left) == 1:
        return left[0]
    majors = [p.stimulus_major for p in parents if p.axis is not None and p.factor > 1]
    return replace(
        first, stimulus_major=majors[0] if majors else True
    )  # constant along it: read as its parents


def _stimuli_first(tensor: torch.Tensor, n_stimuli: int, where: StimulusAxis) -> torch.Tensor:
    assert where.axis is not None
    split = split_axis(tensor, n_stimuli, where)
    return split.movedim(where.axis + (0 if where.stimulus_major else 1), 0)


def select_stimulus(tensor: torch.Tensor, n_stimuli: int, where: StimulusAxis, index: int) -> torch.Tensor:
    """Return one stimulus of an activation; the entries merged with it become an axis."""
    return _stimuli_first(tensor, n_stimuli, where)[index]


def split_axis(tensor: torch.Tensor, n_stimuli: int, where: StimulusAxis) -> torch.Tensor:
    """Unmerge the stimulus axis: (..., stimulus, factor, ...) or (..., factor, stimulus, ...)."""
    if where.factor == 1 or where.axis is None:
        return tensor
    sizes = (n_stimuli, where.factor) if where.stimulus_major else (where.factor, n_stimuli)
    split: torch.Tensor = tensor.unflatten(where.axis, sizes)  # type: ignore[no-untyped-call]
    return split


def _agree(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Tell whether two tensors are equal but for rounding; NaN and infinities must be at the same places."""
    if not (a.is_floating_point() or a.is_complex()):
        return torch.equal(a, b)
    x, y = (t.float() if t.is_floating_point() and t.itemsize < 4 else t for t in (a, b))
    if x.numel() == 0:
        return True
    largest = (x - y).abs().max()
    if bool(torch.isfinite(largest)):  # so both are finite everywhere
        return _is_rounding(largest, x)
    finite = torch.isfinite(x)
    if not finite.all():
        same = (x == y) | (torch.isnan(x) & torch.isnan(y))
        if not bool((finite | same).all()) or not torch.equal(finite, torch.isfinite(y)):
            return False
        x, y = x[finite], y[finite]
    wide = torch.complex128 if x.is_complex() else torch.float64  # holds the difference of any two
    x, y = x.to(wide), y.to(wide)
    return x.numel() == 0 or _is_rounding((x - y).abs().max(), x)


def _is_rounding(largest: torch.Tensor, values: torch.Tensor) -> bool:
    return bool(largest <= 1e-4 * values.abs().max() + 1e-12)
