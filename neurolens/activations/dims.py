"""Names for the axes of an activation: from the operation that made it, else from what it was made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from neurolens.activations.axes import StimulusAxis
from neurolens.activations.moves import MOVES, Axis, regroup
from neurolens.recording.events import Event
from neurolens.schema import CHANNEL, FEATURE, HEAD, KEY, QUERY, STIMULUS, TOKEN, UNIT, T, X, Y

Dims = tuple[str, ...]  # one name an axis, the stimulus left out; "" where nothing is known


@dataclass(frozen=True, slots=True)
class NamedAxes:
    """The axes of one activation: names and sizes without the stimulus, and where the stimulus is."""

    names: Dims
    shape: tuple[int, ...]
    where: StimulusAxis
    n_stimuli: int

    @property
    def in_memory(self) -> list[Axis]:
        """The axes as they lie in memory: of which named parts, with their sizes, each is made."""
        axes: list[Axis] = [((name, size),) for name, size in zip(self.names, self.shape, strict=True)]
        place = self.where.axis
        if place is None:
            return axes
        stimulus = (STIMULUS, self.n_stimuli)
        if self.where.factor == 1:
            axes.insert(place, (stimulus,))
        else:
            (other,) = axes[place]
            axes[place] = (stimulus, other) if self.where.stimulus_major else (other, stimulus)
        return axes


_SPATIAL: dict[int, Dims] = {1: (T,), 2: (Y, X), 3: (T, Y, X)}
_CONVOLUTIONS = {
    f"{kind}{n}d": n for kind in ("conv", "conv_transpose", "deform_conv", "thnn_conv") for n in (1, 2, 3)
}
_PRODUCTS = frozenset({"matmul", "bmm", "baddbmm", "mm", "addmm"})
_RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
_RESHAPES = frozenset({"view", "reshape", "flatten", "unflatten", "view_as", "reshape_as", "ravel"})


def name_axes(
    event: Event, label: str, shape: Sequence[int], where: StimulusAxis, parents: Sequence[NamedAxes]
) -> NamedAxes:
    """Name the axes of an activation.

    Parameters
    ----------
    event
        What made it.
    label
        Its place in the result.
    shape
        Its shape in memory.
    where
        The stimulus axis in it.
    parents
        What it was made of.
    """
    plain = _without_stimulus(shape, where)
    n_stimuli = shape[where.axis] // where.factor if where.axis is not None else 0
    names = _from_move(event, shape, where, parents)
    if names is None:
        names = _from_function(event, label, plain, parents)
    if not any(names) and where.axis is not None and any(p.where.axis is not None for p in parents):
        names = {1: (UNIT,), 2: (TOKEN, FEATURE)}.get(len(plain), names)
    names = names if len(names) == len(plain) else ("",) * len(plain)
    return NamedAxes(names, plain, where, n_stimuli)


_TOKEN_IDS = (torch.int32, torch.int64)


def name_input(shape: Sequence[int], dtype: Any, where: StimulusAxis) -> NamedAxes:
    """Name the axes of a model's input: images, videos and token ids by rank; one axis is `unit`."""
    plain = _without_stimulus(shape, where)
    names: Dims = ("",) * len(plain)
    if dtype.is_floating_point and len(plain) in (3, 4) and plain[0] in (1, 3, 4):
        names = (CHANNEL, *_SPATIAL[len(plain) - 1])
    elif len(plain) == 1:
        names = (TOKEN,) if dtype in _TOKEN_IDS else (UNIT,)
    elif len(plain) == 2:
        names = (TOKEN, FEATURE)
    n_stimuli = shape[where.axis] // where.factor if where.axis is not None else 0
    return NamedAxes(names, plain, where, n_stimuli)


def fill_names(names: Dims) -> Dims:
    """Call `axis_1`, `axis_2` ... what has no name, or the name of an earlier axis."""
    filled: list[str] = []
    for position, name in enumerate(names, 1):
        filled.append(name if name and name not in filled else f"axis_{position}")
    return tuple(filled)


def _without_stimulus(shape: Sequence[int], where: StimulusAxis) -> tuple[int, ...]:
    plain = list(shape)
    if where.axis is not None:
        plain[where.axis : where.axis + 1] = [where.factor] if where.factor > 1 else []
    return tuple(plain)


# ---------------------------------------------------------------------- operations that move axes


def _from_move(
    event: Event, shape: Sequence[int], where: StimulusAxis, parents: Sequence[NamedAxes]
) -> Dims | None:
    """Follow the axes through an operation that only moves, splits, merges, drops or adds them."""
    if not parents:
        return None
    name, axes = event.facts.name, parents[0].in_memory
    moved = regroup(axes, shape) if name in _RESHAPES else None
    if name in MOVES:
        try:
            moved = MOVES[name](axes, event.args[1:], event.kwargs)
        except (TypeError, IndexError, ValueError, KeyError):  # a form of the call that is not known here
            moved = None
    if moved is None or len(moved) != len(shape):
        return None
    names = []
    for place, axis in enumerate(moved):
        rest = [part for part in axis if part[0] != STIMULUS]
        if place != where.axis or where.factor > 1:
            names.append(_merge(rest))
    if len(names) == 1 and name in _RESHAPES:
        return (UNIT,)
    if TOKEN in names and CHANNEL in names:  # patches: what were channels are now a token's features
        names[names.index(CHANNEL)] = FEATURE
    return tuple(names)


def _merge(parts: Sequence[tuple[str, int]]) -> str:
    """Name an axis that is made of parts."""
    real = [name for name, size in parts if size > 1] or [name for name, _ in parts[:1]]
    if len(real) == 1:
        return real[0]
    kinds = set(real)
    if kinds in ({Y, X}, {T, Y, X}):
        return TOKEN
    for whole in (FEATURE, CHANNEL):
        if whole in kinds and kinds <= {whole, HEAD, ""}:
            return whole
    return ""


# ---------------------------------------------------------------------- other operations


def _from_function(event: Event, label: str, shape: tuple[int, ...], parents: Sequence[NamedAxes]) -> Dims:
    name, rank = event.facts.name, len(shape)
    if name in _CONVOLUTIONS and rank == 1 + _CONVOLUTIONS[name]:
        return (CHANNEL, *_SPATIAL[rank - 1])
    if _says_spatial(name) and rank - 1 in _SPATIAL:
        known = _inherit(shape, parents)
        return known if all(known) else (CHANNEL, *_SPATIAL[rank - 1])
    if name in _RECURRENT and rank == 2:
        return (TOKEN, FEATURE) if label == "[0]" else ("", FEATURE)
    if name == "scaled_dot_product_attention" and rank >= 2:
        return (*(("",) * (rank - 3)), HEAD, TOKEN, FEATURE)[-rank:]
    if name == "softmax" and rank >= 3 and _is_over_last(event) and not _has(parents, Y):
        return (*(("",) * (rank - 3)), HEAD, QUERY, KEY)
    rule = _RULES.get("product" if name in _PRODUCTS else name)
    return rule(event, shape, parents) if rule is not None else _inherit(shape, parents)


def _linear(event: Event, shape: tuple[int, ...], parents: Sequence[NamedAxes]) -> Dims:
    rank = len(shape)
    if rank == 1:
        return (UNIT,)
    for parent in parents:
        if len(parent.shape) == rank and parent.shape[:-1] == shape[:-1] and any(parent.names):
            last = CHANNEL if parent.names[-1] == CHANNEL else FEATURE
            leading = parent.names[:-1] if any(parent.names[:-1]) or rank > 2 else (TOKEN,)
            return (*leading, last)
    return ((TOKEN,) if rank == 2 else ("",) * (rank - 1)) + (FEATURE,)


def _embedding(event: Event, shape: tuple[int, ...], parents: Sequence[NamedAxes]) -> Dims:
    for parent in parents:
        if parent.shape == shape[:-1]:
            return (*parent.names, FEATURE)
    return ("",) * (len(shape) - 1) + (FEATURE,)


def _product(event: Event, shape: tuple[int, ...], parents: Sequence[NamedAxes]) -> Dims:
    """Keep the rows of the first factor and the columns of the second; tokens by tokens are attention."""
    factors = [parent for parent in parents if len(parent.shape) == len(shape)]
    if len(factors) < 2 or len(shape) < 2:
        return _linear(event, shape, parents)
    first, second = factors[-2:]
    leading = tuple(a or b for a, b in zip(first.names[:-2], second.names[:-2], strict=True))
    row, column = first.names[-2], second.names[-1]
    if (row, column) == (TOKEN, TOKEN):
        heads = (*leading[:-1], leading[-1] or HEAD) if leading else ()
        return (*heads, QUERY, KEY)
    if (row, first.names[-1]) == (QUERY, KEY):
        row, column = TOKEN, FEATURE if column in ("", CHANNEL) else column
    return (*leading, row, column)


def _einsum(event: Event, shape: tuple[int, ...], parents: Sequence[NamedAxes]) -> Dims:
    """Read the equation; `...` and implicit outputs are left without names."""
    equation = event.args[0]
    if not isinstance(equation, str) or "..." in equation or "->" not in equation:
        return ("",) * len(shape)
    left, right = equation.replace(" ", "").split("->")
    named: dict[str, str] = {}
    for letters, parent in zip(left.split(","), parents, strict=False):
        for letter, axis in zip(letters, parent.in_memory, strict=False):
            named[letter] = named.get(letter) or _merge(axis)
    names = tuple(named.get(letter, "") for letter in right if named.get(letter) != STIMULUS)
    if names[-2:] == (TOKEN, TOKEN):
        return (*names[:-2], QUERY, KEY)
    if QUERY in names and KEY not in names:  # weights were summed over what they point at: tokens again
        return tuple({QUERY: TOKEN, CHANNEL: FEATURE}.get(name, name) for name in names)
    return names


def _inherit(shape: tuple[int, ...], parents: Sequence[NamedAxes]) -> Dims:
    """Take the names of a parent of the same shape, else of the same rank, else those that sizes tell apart."""
    same = [p.names for p in parents if p.shape == shape and any(p.names)]
    ranked = [p.names for p in parents if len(p.shape) == len(shape) and any(p.names)]
    if same or ranked:
        return max(same or ranked, key=lambda names: sum(map(bool, names)))
    for parent in parents:
        found = tuple(_name_of_size(size, shape, parent) for size in shape)
        if any(found):
            return found
    return ("",) * len(shape)


def _name_of_size(size: int, shape: Sequence[int], parent: NamedAxes) -> str:
    options = [name for name, other in zip(parent.names, parent.shape, strict=True) if other == size]
    return options[0] if len(options) == 1 and list(shape).count(size) == 1 else ""


def _has(parents: Sequence[NamedAxes], name: str) -> bool:
    return any(name in parent.names for parent in parents)


def _says_spatial(name: str) -> bool:
    """Tell whether a function takes its axes to be channels and space."""
    return name in ("batch_norm", "instance_norm", "interpolate") or name.endswith(
        ("pool1d", "pool2d", "pool3d")
    )


def _is_over_last(event: Event) -> bool:
    dim = event.kwargs.get("dim", event.args[1] if len(event.args) > 1 else None)
    rank = len(next(event.inputs()).shape)
    return isinstance(dim, int) and dim % rank == rank - 1


_Rule = Callable[[Event, tuple[int, ...], Sequence[NamedAxes]], Dims]
_RULES: dict[str, _Rule] = {
    "linear": _linear,
    "product": _product,
    "embedding": _embedding,
    "einsum": _einsum,
}
