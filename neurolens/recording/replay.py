"""Run one recorded operation again, from the kept activations of its parents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from neurolens.recording import compat
from neurolens.recording.events import Event, Value
from neurolens.recording.structures import list_tensors

Kept = Mapping[Value, torch.Tensor]


class NotReplayable(Exception):  # noqa: N818 - an answer within this room, not an error that users see
    """Says why an operation cannot be run again."""


def replay(event: Event, kept: Kept, changed: Kept | None = None) -> list[torch.Tensor]:
    """Run an event again.

    Parameters
    ----------
    event
        What to run.
    kept
        The kept activations.
    changed
        Tensors to put in the place of kept ones.

    Returns
    -------
    list of torch.Tensor
        What came of it, in the order of `event.outputs()`.

    Raises
    ------
    NotReplayable
        If it is an input or source, or something it needs was not kept.
    """
    if event.facts.function is None:
        raise NotReplayable("made outside the recording")
    if event.in_transform:
        raise NotReplayable("it ran inside a transform of torch.func (vmap, grad ...)")
    writes = _writes(event)
    supply = _Supply(kept, changed or {}, copies=writes)
    gradients = event.grad_mode and not writes  # where they are on, no leaf may be written
    autocast, random = compat.autocast_as(event.ambient), compat.random_state_kept()
    with compat.unobserved(), torch.set_grad_enabled(gradients), autocast, random:
        if event.rng is not None:
            compat.set_random_state(event.rng)
        args, kwargs = fill(event.args, supply), fill(dict(event.kwargs), supply)
        out = event.facts.function(*args, **kwargs)
        returned = [tensor.detach() for tensor in list_tensors(out)]
        return returned + [supply.given[value] for value in event.overwritten]


def _writes(event: Event) -> bool:
    facts = event.facts
    return bool(
        facts.writes
        or facts.side_writes
        or facts.reshapes
        or facts.hands_out
        or event.overwritten
        or "out" in event.kwargs
    )


class _Supply:
    """Puts tensors back in the place of values: the same tensor for the same value, a copy where it is written."""

    def __init__(self, kept: Kept, changed: Kept, *, copies: bool) -> None:
        self.kept = kept
        self.changed = changed
        self.copies = copies
        self.given: dict[Value, torch.Tensor] = {}

    def __call__(self, value: Value) -> torch.Tensor:
        if value not in self.given:
            tensor = self.changed.get(value, self.kept.get(value))
            if tensor is None:
                raise NotReplayable("an argument was not kept")
            given = tensor.to(value.device)  # it may be kept elsewhere
            given = given.clone() if self.copies and given is tensor else given.detach()
            if value.requires_grad and not given.requires_grad:  # some kernels are chosen by it
                given = given.requires_grad_()
            self.given[value] = given
        return self.given[value]


def fill(structure: Any, supply: Callable[[Value], torch.Tensor]) -> Any:
    """Return nested arguments with a tensor in the place of each value."""
    if isinstance(structure, Value):
        return supply(structure)
    if isinstance(structure, torch.Generator):
        return structure.clone_state()  # it was kept as it was before the call
    if isinstance(structure, Mapping):
        return {name: fill(item, supply) for name, item in structure.items()}
    if isinstance(structure, tuple | list) and not isinstance(structure, torch.Size):
        items = [fill(item, supply) for item in structure]
        return type(structure)(*items) if hasattr(structure, "_fields") else type(structure)(items)
    return structure
