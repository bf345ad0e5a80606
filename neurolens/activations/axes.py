"""Which axis of an activation is the stimulus: found by running batches of two and three, not guessed.

Shapes propose: the axis whose length goes with the batch. Values decide: the first two stimuli of both batches
must agree when the axis is read as (stimulus, k) or as (k, stimulus).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from neurolens.activations.batches import Call, rebatch, undisturbed
from neurolens.recording.addresses import Names, assign_names, results
from neurolens.recording.events import Event, Value
from neurolens.recording.recorder import record

PassAddress = tuple[str, int, str]  # operation, number of the pass, place in the result


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


@dataclass(frozen=True, slots=True)
class Axes:
    """The stimulus axis of everything in a model; `reason` says why it could not be probed, if it could not."""

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


def find_axes(model: Callable[..., Any], call: Call, *, batch_axis: int = 0) -> Axes:
    """Run `model` on two and on three stimuli and compare.

    The model runs in eval mode without gradients; its flags, buffers and the random state are restored.
    """
    try:
        with undisturbed(model):
            (two, kept), (three, kept_too) = (_probe(model, rebatch(call, n, batch_axis)) for n in (2, 3))
    except Exception as error:  # a model may refuse other batch sizes in any way: that is the answer
        return Axes({}, f"the model did not run on batches of 2 and 3 ({type(error).__name__}: {error})")
    found: dict[PassAddress, StimulusAxis] = {}
    by_value: dict[int, StimulusAxis] = {}  # index of the event in the first probe -> its axis, for children
    for address, value in two.items():
        if address in three:
            parents = [by_value[id(v)] for v in value.event.inputs() if id(v) in by_value]
            where = _compare(kept[value], kept_too[three[address]], parents)
            found[address] = by_value[id(value)] = where
    return Axes(found)


def _probe(
    model: Callable[..., Any], call: Call
) -> tuple[dict[PassAddress, Value], dict[Value, torch.Tensor]]:
    recording = record(model, call.args, call.kwargs)
    return list_values(assign_names(recording)), recording.tensors


def list_values(names: Names) -> dict[PassAddress, Value]:
    """Return every tensor that operations gave, by operation, pass and place in the result, in order."""
    items = []
    for address, place in names.operations.items():
        for number, item in enumerate(place.passes, 1):
            assert isinstance(item, Event)
            items += [(item.index, (address, number, label), value) for label, value in results(item).items()]
    return {address: value for _, address, value in sorted(items, key=lambda entry: entry[0])}


def _compare(a: torch.Tensor, b: torch.Tensor, parents: list[StimulusAxis]) -> StimulusAxis:
    if a.ndim != b.ndim:
        return StimulusAxis(None, reason="its number of axes depends on the batch")
    changed = [axis for axis in range(a.ndim) if a.shape[axis] != b.shape[axis]]
    if not changed:
        if _agree(a, b):
            return StimulusAxis(None, reason="static: the same for every batch")
        return StimulusAxis(None, reason="summarises the batch: no axis goes with the number of stimuli")
    proportional = [axis for axis in changed if a.shape[axis] * 3 == b.shape[axis] * 2]
    if len(changed) > 1 or not proportional:
        return StimulusAxis(None, reason=f"axes {changed} change with the batch, but not one in proportion")
    return _read_axis(a, b, proportional[0], parents)


def _read_axis(a: torch.Tensor, b: torch.Tensor, axis: int, parents: list[StimulusAxis]) -> StimulusAxis:
    factor = a.shape[axis] // 2
    readings = []
    for major in (True, False) if factor > 1 else (True,):
        reading = StimulusAxis(axis, factor, major)
        if all(_agree(select_stimulus(a, 2, reading, i), select_stimulus(b, 3, reading, i)) for i in (0, 1)):
            readings.append(reading)
    if len(readings) == 1:
        return readings[0]
    if readings:  # constant along the axis: it is read as its parents are
        majors = [p.stimulus_major for p in parents if p.axis is not None and p.factor > 1]
        return StimulusAxis(axis, factor, majors[0] if majors else True)
    return StimulusAxis(axis, factor, True, "mixes stimuli: values depend on the rest of the batch")


def select_stimulus(tensor: torch.Tensor, n_stimuli: int, where: StimulusAxis, index: int) -> torch.Tensor:
    """Return one stimulus of an activation; the entries merged with it become an axis."""
    assert where.axis is not None
    split = split_axis(tensor, n_stimuli, where)
    return split.select(where.axis + (0 if where.stimulus_major else 1), index)


def split_axis(tensor: torch.Tensor, n_stimuli: int, where: StimulusAxis) -> torch.Tensor:
    """Unmerge the stimulus axis: (..., stimulus, factor, ...) or (..., factor, stimulus, ...)."""
    if where.factor == 1 or where.axis is None:
        return tensor
    sizes = (n_stimuli, where.factor) if where.stimulus_major else (where.factor, n_stimuli)
    return tensor.unflatten(where.axis, sizes)


def _agree(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.is_sparse or a.layout is not torch.strided or a.is_quantized:
        return False
    if not (a.is_floating_point() or a.is_complex()):
        return torch.equal(a, b)
    x, y = a.double() if not a.is_complex() else a, b.double() if not b.is_complex() else b
    if torch.equal(x, y):
        return True
    finite = torch.isfinite(x) & torch.isfinite(y)
    if not torch.equal(torch.where(finite, 0.0, x.abs().nan_to_num(7.0)), torch.where(finite, 0.0, y.abs().nan_to_num(7.0))):
        return False
    x, y = x[finite], y[finite]
    if x.numel() == 0:
        return True
    scale = float(x.abs().max())
    return bool((x - y).abs().max() <= 1e-4 * scale + 1e-12)
