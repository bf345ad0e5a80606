"""Where axes go in operations that only move, split, merge, drop or add them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from neurolens.schema import CHANNEL, FEATURE

Part = tuple[str, int]  # a name, and how many entries
Axis = tuple[Part, ...]  # the parts that an axis in memory is made of, outer first
Move = Callable[[list[Axis], Sequence[Any], Mapping[str, Any]], "list[Axis] | None"]

NEW: Axis = (("", 1),)


def regroup(axes: Sequence[Axis], shape: Sequence[int]) -> list[Axis] | None:
    """Give the parts to the axes of a reshaped tensor; None where a part would be cut unevenly.

    The innermost piece of channels or features that are split keeps their name; no other piece keeps one.
    """
    parts = [part for axis in axes for part in axis]
    if 0 in shape or any(size == 0 for _, size in parts):
        return None
    groups: list[Axis] = []
    for length in shape:
        group: list[Part] = []
        left = length
        while left > 1 or (not group and parts and parts[0][1] == 1):
            if not parts:
                return None
            name, size = parts.pop(0)
            if left % size == 0:
                group.append((name, size))
                left //= size
            elif size % left == 0:
                group.append(("", left))
                parts.insert(0, (name if name in (CHANNEL, FEATURE) else "", size // left))
                left = 1
            else:
                return None
        groups.append(tuple(group) or NEW)
    return groups if all(size == 1 for _, size in parts) else None


def _permute(axes: list[Axis], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Axis]:
    return [axes[place] for place in _integers(args, kwargs, "dims")]


def _transpose(axes: list[Axis], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Axis]:
    given = list(args) or [kwargs[name] for name in kwargs]
    first, second = given
    moved = list(axes)
    moved[first], moved[second] = moved[second], moved[first]
    return moved


def _reverse_last(axes: list[Axis], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Axis]:
    return [*axes[:-2], *reversed(axes[-2:])]


def _reverse(axes: list[Axis], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Axis]:
    return list(reversed(axes))


def _unsqueeze(axes: list[Axis], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Axis]:
    (place,) = _integers(args, kwargs, "dim")
    moved = list(axes)
    moved.insert(place % (len(axes) + 1), NEW)
    return moved


def _squeeze(axes: list[Axis], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Axis]:
    chosen = _integers(args, kwargs, "dim") if args or kwargs else range(len(axes))
    places = {place % len(axes) for place in chosen}
    return [axis for place, axis in enumerate(axes) if place not in places or _length(axis) != 1]


def _drop(axes: list[Axis], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Axis]:
    """Drop one axis, the first where none is said: `unbind`, `select`."""
    given = args[0] if args else kwargs.get("dim", 0)
    return [axis for place, axis in enumerate(axes) if place != given % len(axes)]


def _reduce(axes: list[Axis], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Axis] | None:
    if not args and "dim" not in kwargs:
        return None
    given = args[0] if args else kwargs["dim"]
    keep = args[1] if len(args) > 1 and isinstance(args[1], bool) else kwargs.get("keepdim", False)
    places = {place % len(axes) for place in ([given] if isinstance(given, int) else given)}
    if keep:
        return [_shrunk(axis) if place in places else axis for place, axis in enumerate(axes)]
    return [axis for place, axis in enumerate(axes) if place not in places]


def _shrunk(axis: Axis) -> Axis:
    return ((axis[0][0], 1),)


def _index(axes: list[Axis], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Axis] | None:
    """Follow basic indexing; an index of another kind (a tensor, a list) is not followed."""
    items = list(args[0]) if isinstance(args[0], tuple) else [args[0]]
    n_used = sum(1 for item in items if item is not None and item is not Ellipsis)
    if Ellipsis not in [item for item in items if item is Ellipsis]:
        items.append(Ellipsis)
    moved: list[Axis] = []
    place = 0
    for item in items:
        if item is None:
            moved.append(NEW)
        elif item is Ellipsis:
            moved += axes[place : place + len(axes) - n_used]
            place += len(axes) - n_used
        elif isinstance(item, bool) or not isinstance(item, int | slice):
            return None
        else:
            moved += [axes[place]] if isinstance(item, slice) else []
            place += 1
    return moved


def _integers(args: Sequence[Any], kwargs: Mapping[str, Any], name: str) -> list[int]:
    given = args if args else kwargs[name]
    if isinstance(given, tuple | list) and len(given) == 1 and isinstance(given[0], tuple | list):
        given = given[0]
    return [given] if isinstance(given, int) else [int(place) for place in given]


def _length(axis: Axis) -> int:
    total = 1
    for _, size in axis:
        total *= size
    return total


MOVES: dict[str, Move] = {
    "permute": _permute,
    "transpose": _transpose,
    "swapaxes": _transpose,
    "swapdims": _transpose,
    "mT": _reverse_last,
    "adjoint": _reverse_last,
    "T": _reverse,
    "t": _reverse,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "unbind": _drop,
    "select": _drop,
    "getitem": _index,
    **dict.fromkeys(
        ["mean", "sum", "amax", "amin", "logsumexp", "std", "var", "prod", "any", "all"], _reduce
    ),
}
