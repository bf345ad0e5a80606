"""How large a part of a trace is: its parameters, and numbers in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from torch import nn

from neurolens.recording.events import Event

if TYPE_CHECKING:
    from neurolens.tracing.trace import Trace


def name_parameters(trace: Trace) -> Collection[str]:
    """Return the names of all parameters of the model, buffers left out."""
    module = trace.model.module
    if not isinstance(module, nn.Module):
        return frozenset()
    return {name for name, _ in module.named_parameters(remove_duplicate=False)}


def count_parameters(events: Iterable[Event], names: Collection[str]) -> int:
    """Return how many numbers are in those parameters of these names that events read, each counted once."""
    read = {
        value.parameter: value.shape
        for event in events
        for value in event.inputs()
        if value.parameter in names
    }
    return sum(shape.numel() for shape in read.values())


def say_count(number: float) -> str:
    """Write a large number with three digits and a prefix, to be followed by its unit."""
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number:.3g} "


def say_number(number: int, noun: str) -> str:
    """Write a count with its noun, in the plural where there is not one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
