"""Floating-point operations of one event: torch's own counter, run on tensors that have shapes and no data."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from neurolens.recording import compat
from neurolens.recording.events import Event, Value
from neurolens.recording.replay import fill


def count_flops(event: Event) -> int | None:
    """Return how many floating-point operations torch counts for an event; None where it can't run without data.

    torch counts matrix products, convolutions and attention (a multiplication and an addition are two) and takes
    everything else for free.
    """
    if event.facts.function is None:
        return 0
    counter = FlopCounterMode(display=False)
    made: dict[Value, torch.Tensor] = {}

    def give(value: Value) -> torch.Tensor:
        return made.setdefault(value, torch.empty(value.shape, dtype=value.dtype, device="meta"))

    try:
        with compat.unobserved(), torch.no_grad(), counter:
            event.facts.function(
                *_on_meta(fill(event.args, give)), **_on_meta(fill(dict(event.kwargs), give))
            )
    except Exception:  # what needs values (indices, masks, conditions) can't be run on shapes
        return None
    return int(counter.get_total_flops())


def _on_meta(structure: Any) -> Any:
    """Put what is made inside the call on the device of its tensors."""
    if isinstance(structure, torch.device):
        return torch.device("meta")
    if isinstance(structure, dict):
        return {name: _on_meta(item) for name, item in structure.items()}
    if isinstance(structure, tuple):
        return tuple(map(_on_meta, structure)) if type(structure) is tuple else structure
    return structure
