"""Which axis of an activation is the stimulus: found by running batches of two and three, not guessed.

Shapes propose: the axis whose length goes with the batch. Values decide: the first stimuli of both batches must
agree when the axis is read as (stimulus, k) or as (k, stimulus).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from neurolens.activations.batches import Call, rebatch, undisturbed
from neurolens.recording.addresses import INPUT, Names, assign_names, results
from neurolens.recording.events import Event, Recording, Value, leaves
from neurolens.recording.recorder import record

PassAddress = tuple[str, int, str]  # operation, number of the pass, place in the result
STATIC = "static: the same for every batch"


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
    batch_axis: int = 0,
    sizes: tuple[int, int] = (2, 3),
    name: Callable[[Recording], Names] = assign_names,
) -> Axes:
    """Run `model` on two and on three stimuli and compare.

    The model runs in eval mode without gradients; its flags, buffers and the random state are restored.

    Parameters
    ----------
    model
        Any callable.
    call
        Its arguments, for one stimulus or more.
    batch_axis
        The axis of the inputs that is the stimulus.
    sizes
        Numbers of stimuli in the two batches, the smaller first.
    name
        Gives the addresses of a recording.

    Returns
    -------
    Axes
        The stimulus axis of every tensor that was met in both runs.
    """
    try:
        (few, kept), (more, kept_too) = (
            _probe(model, rebatch(call, size, batch_axis), name) for size in sizes
        )
    except Exception as error:  # a model may refuse other batch sizes in any way: that is the answer
        numbers = f"{sizes[0]} and {sizes[1]}"
        return Axes({}, f"the model did not run on batches of {numbers} ({type(error).__name__}: {error})")
    found: dict[PassAddress, StimulusAxis] = {}
    known: dict[int, StimulusAxis] = {}  # id of a value of the first run -> its axis, for its children
    fed: set[Event] = set()  # events whose values are made from the inputs
    for address, value in few.items():
        if _is_fed(value.event, fed):
            fed.add(value.event)
        if address in more:
            parents = [known[id(v)] for v in value.event.inputs() if id(v) in known]
            where = _compare(kept[value], kept_too[more[address]], sizes, parents)
            if where.reason == STATIC and value.event in fed:
                where = StimulusAxis(None, reason="made from the stimuli, yet no axis goes with them")
            found[address] = known[id(value)] = where
    return Axes(found)


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


def _probe(
    model: Callable[..., Any], call: Call, name: Callable[[Recording], Names]
) -> tuple[dict[PassAddress, Value], dict[Value, torch.Tensor]]:
    with undisturbed(model):  # each run begins with the same buffers and random state
        recording = record(model, call.args, call.kwargs)
    return list_values(name(recording)), recording.tensors


def list_values(names: Names) -> dict[PassAddress, Value]:
    """Return every tensor that operations gave, by operation, pass and place in the result, in order."""
    items = []
    for address, place in names.operations.items():
        for number, item in enumerate(place.passes, 1):
            assert isinstance(item, Event)
            items += [(item.index, (address, number, label), value) for label, value in results(item).items()]
    return {address: value for _, address, value in sorted(items, key=lambda entry: entry[0])}


def _compare(
    a: torch.Tensor, b: torch.Tensor, sizes: tuple[int, int], parents: list[StimulusAxis]
) -> StimulusAxis:
    if a.ndim != b.ndim:
        return StimulusAxis(None, reason="its number of axes depends on the batch")
    changed = [axis for axis in range(a.ndim) if a.shape[axis] != b.shape[axis]]
    if not changed:
        if _agree(a, b):
            return StimulusAxis(None, reason=STATIC)
        return StimulusAxis(
            None, reason="no axis goes with the stimuli, yet its values change with the batch"
        )
    proportional = [axis for axis in changed if a.shape[axis] * sizes[1] == b.shape[axis] * sizes[0]]
    if len(changed) > 1 or not proportional:
        return StimulusAxis(None, reason=f"axes {changed} change with the batch, but not one in proportion")
    return _read_axis(a, b, proportional[0], sizes, parents)


def _read_axis(
    a: torch.Tensor, b: torch.Tensor, axis: int, sizes: tuple[int, int], parents: list[StimulusAxis]
) -> StimulusAxis:
    factor = a.shape[axis] // sizes[0]
    readings = []
    for major in (True, False) if factor > 1 else (True,):
        reading = StimulusAxis(axis, factor, major)
        few, more = _stimuli_first(a, sizes[0], reading), _stimuli_first(b, sizes[1], reading)
        if _agree(few, more[: sizes[0]]):
            readings.append(reading)
    if len(readings) == 1:
        return readings[0]
    if readings:  # constant along the axis: it is read as its parents are
        majors = [p.stimulus_major for p in parents if p.axis is not None and p.factor > 1]
        return StimulusAxis(axis, factor, majors[0] if majors else True)
    reason = "mixes stimuli, or is random: values depend on the rest of the batch"
    return StimulusAxis(axis, factor, True, reason)


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
    if a.layout is not torch.strided or a.is_quantized:
        return False
    if not (a.is_floating_point() or a.is_complex()):
        return torch.equal(a, b)
    wide = torch.complex128 if a.is_complex() else torch.float64
    x, y = a.to(wide), b.to(wide)
    finite = torch.isfinite(x)
    if not finite.all():
        same = (x == y) | (torch.isnan(x) & torch.isnan(y))
        if not bool((finite | same).all()) or not torch.equal(finite, torch.isfinite(y)):
            return False
        x, y = x[finite], y[finite]
    if x.numel() == 0:
        return True
    return bool((x - y).abs().max() <= 1e-4 * x.abs().max() + 1e-12)
