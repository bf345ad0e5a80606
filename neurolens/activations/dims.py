"""Names for the axes of an activation: from the operation that made it, else from what it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neurolens.recording.events import Event
from neurolens.schema import CHANNEL, FEATURE, HEAD, KEY, QUERY, STIMULUS, TOKEN, UNIT, T, X, Y

Dims = tuple[str, ...]  # one name an axis, the stimulus left out; "" where nothing is known


@dataclass(frozen=True, slots=True)
class NamedAxes:
    """The axes of one activation: names and sizes without the stimulus, and where the stimulus is."""

    names: Dims
    shape: tuple[int, ...]
    axis: int | None
    factor: int

    @property
    def all_names(self) -> Dims:
        """Names of all axes as they lie in memory, the stimulus among them."""
        names = list(self.names)
        if self.axis is not None and self.factor == 1:
            names.insert(self.axis, STIMULUS)
        return tuple(names)


_SPATIAL: dict[int, Dims] = {1: (T,), 2: (Y, X), 3: (T, Y, X)}
_CONVOLUTIONS = {
    "conv1d": 1,
    "conv2d": 2,
    "conv3d": 3,
    "conv_transpose1d": 1,
    "conv_transpose2d": 2,
    "conv_transpose3d": 3,
    "deform_conv2d": 2,
}
_RESHAPES = frozenset(["view", "reshape", "flatten", "unflatten", "view_as", "reshape_as"])


def name_axes(event: Event, shape: Sequence[int], parents: Sequence[NamedAxes]) -> Dims:
    """Return names for the axes of an activation without its stimulus axis.

    Parameters
    ----------
    event
        What made it.
    shape
        Its shape without the stimulus axis.
    parents
        What it was made of.
    """
    rank = len(shape)
    name = event.facts.name
    if name in _CONVOLUTIONS:
        names: Dims = (CHANNEL, *_SPATIAL[_CONVOLUTIONS[name]])
        if rank == len(names):
            return names
    if name == "linear" or name.endswith("_linear"):
        return _linear(rank, shape, parents)
    if name == "embedding" and rank == 2:
        return (TOKEN, FEATURE)
    if name in ("softmax", "_softmax") and rank >= 3 and not _has_names(parents, Y):
        return ("",) * (rank - 3) + (HEAD, QUERY, KEY)
    if name == "scaled_dot_product_attention" and rank == 3:
        return (HEAD, TOKEN, FEATURE)
    if name in ("matmul", "bmm", "baddbmm") and rank >= 2:
        return _multiply(rank, parents)
    if name in _RESHAPES:
        return _regroup(shape, parents)
    if name in ("permute", "transpose"):
        return _permute(event, shape, parents)
    if name in ("moveaxis", "movedim", "swapaxes", "T", "mT", "t"):
        return _by_size(shape, parents)
    return _inherit(shape, parents)


def default_names(rank: int, given: Dims, *, guess: bool = True) -> Dims:
    """Fill what is unknown: one axis is `unit`, two are `token, feature`, else `axis_1`, `axis_2` ..."""
    if guess and not any(given):
        given = {1: (UNIT,), 2: (TOKEN, FEATURE)}.get(rank, ("",) * rank)
    names: list[str] = []
    for position, name in enumerate(given, 1):
        names.append(name if name and name not in names else f"axis_{position}")
    return tuple(names)


def input_names(shape: Sequence[int], dtype: Any) -> Dims:
    """Name the axes of a model's input: images, videos and token ids by rank; else unknown."""
    if dtype.is_floating_point and len(shape) in (3, 4) and shape[0] in (1, 3, 4):
        return (CHANNEL, *_SPATIAL[len(shape) - 1])
    if not dtype.is_floating_point and len(shape) == 1:
        return (TOKEN,)
    return ("",) * len(shape)


def _linear(rank: int, shape: Sequence[int], parents: Sequence[NamedAxes]) -> Dims:
    if rank == 1:
        return (UNIT,)
    leading: Dims = (TOKEN,) if rank == 2 else ("",) * (rank - 1)
    for parent in parents:
        if len(parent.shape) == rank and parent.shape[:-1] == tuple(shape[:-1]) and all(parent.names[:-1]):
            leading = parent.names[:-1]
            break
    return (*leading, FEATURE)


def _multiply(rank: int, parents: Sequence[NamedAxes]) -> Dims:
    """Keep the rows of the first factor and the columns of the second."""
    if len(parents) < 2 or len(parents[0].names) != rank or len(parents[1].names) != rank:
        return ("",) * rank
    return (*parents[0].names[:-1], parents[1].names[-1])


def _has_names(parents: Sequence[NamedAxes], name: str) -> bool:
    return any(name in parent.names for parent in parents)


def _inherit(shape: Sequence[int], parents: Sequence[NamedAxes]) -> Dims:
    """Take the names of a parent of the same shape, else of the same rank, else those its sizes tell apart."""
    same = [p.names for p in parents if p.shape == tuple(shape) and any(p.names)]
    ranked = [p.names for p in parents if len(p.shape) == len(shape) and any(p.names)]
    if same or ranked:
        return (same or ranked)[0]
    return _by_size(shape, parents)


def _by_size(shape: Sequence[int], parents: Sequence[NamedAxes]) -> Dims:
    """Name each axis after the parent's only axis of that size; ambiguous sizes stay unknown."""
    for parent in parents:
        if any(parent.names):
            found = []
            for length in shape:
                options = [n for n, s in zip(parent.names, parent.shape, strict=True) if s == length]
                found.append(options[0] if len(options) == 1 and list(shape).count(length) == 1 else "")
            if any(found):
                return tuple(found)
    return ("",) * len(shape)


def _permute(event: Event, shape: Sequence[int], parents: Sequence[NamedAxes]) -> Dims:
    """Move the names as the call moved the axes."""
    if not parents or parents[0].factor != 1:
        return _by_size(shape, parents)
    names = list(parents[0].all_names)
    given = [*event.args[1:], *event.kwargs.values()]
    order = list(given[0]) if given and isinstance(given[0], tuple | list) else given
    if not all(isinstance(axis, int) for axis in order):
        return _by_size(shape, parents)
    if event.facts.name == "permute":
        moved = [names[axis] for axis in order]
    else:
        moved = names
        moved[order[0]], moved[order[1]] = moved[order[1]], moved[order[0]]
    return (
        tuple(name for name in moved if name != STIMULUS)
        if len(moved) >= len(shape)
        else _by_size(shape, parents)
    )


def _regroup(shape: Sequence[int], parents: Sequence[NamedAxes]) -> Dims:
    """Name the axes after a reshape: kept axes keep theirs, all of them merged is `unit`, merged space is tokens."""
    if not parents:
        return ("",) * len(shape)
    names, size = parents[0].names, parents[0].shape
    if len(shape) == 1:
        return (UNIT,)
    groups = _group(size, shape)
    if groups is None:
        return ("",) * len(shape)
    found = []
    for group in groups:
        merged = tuple(names[i] for i in group)
        if len(merged) == 1:
            found.append(merged[0])
        else:
            found.append(TOKEN if merged == (Y, X) else "")
    if TOKEN in found and CHANNEL in found:  # patches: what were channels are now a token's features
        found[found.index(CHANNEL)] = FEATURE
    return tuple(found)


def _group(old: Sequence[int], new: Sequence[int]) -> list[tuple[int, ...]] | None:
    """Return which old axes each new axis is made of; None where one old axis is split."""
    groups: list[tuple[int, ...]] = []
    position = 0
    for length in new:
        group: list[int] = []
        product = 1
        while position < len(old) and (product < length or (product == length and not group)):
            product *= old[position]
            group.append(position)
            position += 1
        if product != length or not group:
            return None
        groups.append(tuple(group))
    return groups if position == len(old) else None
