"""Proofs of single operations: a second run gives what was kept, and what it was made from matters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import torch

from neurolens.recording.events import Event, Recording, Value, leaves
from neurolens.recording.functions import words
from neurolens.recording.graph import Graph
from neurolens.recording.replay import Kept, NotReplayable, replay
from neurolens.recording.structures import same


class Verdict(Enum):
    """What a proof says of one operation."""

    PROVEN = "proven"
    EXPLAINED = "explained"  # it can't be shown for a reason that is named
    UNTESTED = "untested"  # it could not be tried
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a proof found for one operation, or for one of its parents."""

    event: Event
    verdict: Verdict
    reason: str = ""
    difference: float = 0.0  # largest absolute difference, where numbers differ


# They make memory without values, or values without looking at the numbers they are given.
_UNINITIALISED = words("new empty empty_like new_empty empty_strided new_empty_strided resize resize_as")
_SHAPE_ONLY = words(
    """zeros_like ones_like full_like rand_like randn_like randint_like new_zeros new_ones new_full new_tensor
    bernoulli normal uniform random exponential geometric log_normal cauchy zero fill constant kaiming_uniform
    set_data"""
)
_LIKE_SECOND = words(
    "to type_as expand_as view_as reshape_as"
)  # they take shape or dtype from a second tensor
_CHOOSES = words(
    """where masked_fill masked_scatter masked_select index_put index_copy index_fill scatter scatter_add gather
    setitem getitem index_select take topk sort max min maximum minimum clamp clamp_min clamp_max argmax argmin relu
    relu6 hardtanh hardswish hardsigmoid threshold max_pool1d max_pool2d max_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d dropout nms roi_align copy slice_scatter select_scatter tril triu
    scaled_dot_product_attention eq ne gt ge lt le any all floor ceil round trunc sign bitwise_and
    bitwise_or and or logical_and logical_or logical_not isnan isinf isfinite nonzero one_hot bucketize
    searchsorted floor_divide remainder embedding argsort msort"""
)


_MULTIPLIES = words(
    """mul matmul mm bmm mv dot addmm addmv addbmm baddbmm addr addcmul addcdiv linear bilinear einsum outer tensordot
    kron lerp div pow conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d grid_sample
    scaled_dot_product_attention cumprod prod"""
)


def prove_replay(recording: Recording, graph: Graph, events: list[Event]) -> Iterator[Finding]:
    """Show that every operation, run again from the kept activations of its parents, gives its own.

    Inputs and sources are where the recording begins: there is nothing to run.
    """
    kept = recording.tensors
    for event in events:
        if event.facts.function is not None:
            yield _replay_finding(event, kept, graph)


def _replay_finding(event: Event, kept: Kept, graph: Graph) -> Finding:
    missing = _missing_parents(event, graph)
    if missing:
        return Finding(event, Verdict.FAILED, f"the graph lacks its parent, step {missing[0]}")
    values = list(event.outputs())
    if any(value not in kept for value in values):
        return Finding(event, Verdict.UNTESTED, "its activation was not kept")
    try:
        again = replay(event, kept)
    except NotReplayable as answer:
        return Finding(event, Verdict.UNTESTED, str(answer))
    except (
        Exception
    ) as error:  # a function that can't be called again, whatever the cause: that is the answer
        return Finding(
            event, Verdict.UNTESTED, f"it could not be run again ({type(error).__name__}: {error})"
        )
    if len(again) != len(values):
        return Finding(event, Verdict.FAILED, f"it gave {len(again)} tensors, not {len(values)}")
    if event.facts.name in _UNINITIALISED:
        return Finding(event, Verdict.EXPLAINED, "it gives memory that nothing has written yet")
    for value, tensor in zip(values, again, strict=True):
        if not same(kept[value], tensor):
            return Finding(
                event, Verdict.FAILED, "run again, it gives other values", difference(kept[value], tensor)
            )
    return Finding(event, Verdict.PROVEN)


def _missing_parents(event: Event, graph: Graph) -> list[int]:
    """Return makers of arguments that the graph does not name."""
    makers = {v.event.index for v in event.inputs() if not v.parameter and v.event.index < event.index}
    return sorted(makers - set(graph.parents[event.index]))


def prove_perturbation(recording: Recording, events: list[Event]) -> Iterator[Finding]:
    """Show that changing a parent changes the child, or say why it doesn't."""
    kept = recording.tensors
    for event in events:
        values = list(event.outputs())
        if event.facts.function is None or any(value not in kept for value in values):
            continue
        for parent in dict.fromkeys(value for value in event.inputs() if not value.parameter):
            if parent in kept:
                yield _perturbation_finding(event, parent, values, kept)


def _perturbation_finding(event: Event, parent: Value, values: list[Value], kept: Kept) -> Finding:
    name = event.facts.name
    second = name in _LIKE_SECOND and parent not in leaves(event.args[:1])
    if second or name in _SHAPE_ONLY or name in _UNINITIALISED:
        return Finding(event, Verdict.EXPLAINED, "it uses the shape or dtype of its argument, not the values")
    if kept[parent].numel() == 0 or all(kept[value].numel() == 0 for value in values):
        return Finding(event, Verdict.EXPLAINED, "there are no values to change")
    tried = 0
    for changed in _changes(kept[parent]):
        try:
            again = replay(event, kept, {parent: changed})
        except NotReplayable as answer:
            return Finding(event, Verdict.UNTESTED, str(answer))
        except Exception:
            continue
        tried += 1
        if len(again) != len(values):
            return Finding(event, Verdict.PROVEN)
        if not all(same(kept[value], tensor) for value, tensor in zip(values, again, strict=True)):
            return Finding(event, Verdict.PROVEN)
    if not tried:
        return Finding(event, Verdict.UNTESTED, "it runs on no changed value of its argument")
    reason = _find_reason(event, parent, kept)
    return Finding(
        event, Verdict.EXPLAINED if reason else Verdict.FAILED, reason or "changing a parent changes nothing"
    )


def _changes(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the tensor with other values, ever further from its own."""
    tensor = tensor.detach()
    if tensor.is_nested or tensor.layout is not torch.strided:
        return
    if tensor.is_quantized:
        yield from _changes_of_quantized(tensor)
        return
    if tensor.is_floating_point() and tensor.itemsize == 1:  # float8 has no arithmetic of its own
        yield from (changed.to(tensor.dtype) for changed in _changes(tensor.float()))
        return
    generator = torch.Generator().manual_seed(0)
    if tensor.dtype is torch.bool:
        yield ~tensor
        yield torch.ones_like(tensor)
        yield torch.zeros_like(tensor)
    elif tensor.is_floating_point() or tensor.is_complex():
        yield torch.sin(tensor * 12.9898 + 0.5).to(tensor.dtype)
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float32).to(tensor)
        spread = tensor.abs().float().nan_to_num(posinf=1.0).mean().to(tensor.device)
        yield torch.empty_like(tensor).copy_(tensor + noise * (spread + 0.1).to(tensor.dtype))
        yield torch.empty_like(tensor).copy_(-tensor + 1)
        yield torch.empty_like(tensor).copy_(tensor.abs() * 100 + 100)
        yield torch.empty_like(tensor).copy_(noise.abs() + 0.1)  # weights may not be negative
        yield torch.full_like(tensor, float("nan"))
    else:
        yield torch.empty_like(tensor).copy_(
            tensor.flip(tuple(range(tensor.ndim))) if tensor.ndim else tensor + 1
        )
        yield torch.empty_like(tensor).copy_(tensor.roll(1) if tensor.ndim else tensor * 2)
        yield torch.zeros_like(tensor)
        yield tensor + 1
        yield tensor - 1


def _changes_of_quantized(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the tensor with other integers under the same scale."""
    if tensor.qscheme() is torch.per_tensor_affine:
        integers, scale, zero = tensor.int_repr(), tensor.q_scale(), tensor.q_zero_point()
        lowest, highest = torch.iinfo(integers.dtype).min, torch.iinfo(integers.dtype).max
        for changed in (
            (integers.long() * 37 + 11) % (highest - lowest) + lowest,
            integers.long() * 0 + highest,
        ):
            yield torch._make_per_tensor_quantized_tensor(changed.to(integers.dtype), scale, zero)


def _find_reason(event: Event, parent: Value, kept: Kept) -> str:
    """Say why an argument has no effect, if a reason is known; "" if none is."""
    others = [kept[v] for v in event.inputs() if v is not parent and v in kept]
    numbers = [n for n in (*event.args, *event.kwargs.values()) if isinstance(n, int | float)]
    written = tuple(event.args[place] for place in event.facts.writes if place < len(event.args))
    if parent in event.overwritten or parent in leaves((written, event.kwargs.get("out"))):
        return "its values are overwritten"
    nought = any(other.numel() and not _holds_anything(other) for other in others) or 0 in numbers
    if nought and event.facts.name in _MULTIPLIES:
        return "it is multiplied by zero"
    if event.facts.name in _CHOOSES:
        return "none of its values is chosen (a mask, a limit, an extreme that is not reached)"
    if event.facts.name == "flex_attention" and parent not in leaves(event.args[:3]):
        return "it says which blocks of a mask can be skipped; without a compiler none is"
    return ""


def _holds_anything(tensor: torch.Tensor) -> bool:
    return bool((tensor.dequantize() if tensor.is_quantized else tensor).any())


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest absolute difference; infinite where shapes differ or only one is finite."""
    if a.is_nested or b.is_nested or a.shape != b.shape or a.layout is not torch.strided or a.is_quantized:
        return float("inf")
    kind = torch.complex128 if a.is_complex() or b.is_complex() else torch.float64
    gap = (a.detach().to(kind) - b.detach().to(a.device, kind)).abs()
    gap = torch.where((a != a) & (b != b).to(a.device), torch.zeros_like(gap), gap)
    return float(gap.nan_to_num(nan=float("inf")).max()) if gap.numel() else 0.0
