"""Gradients of kept activations, collected when the user runs backward."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from neurolens.recording.events import Value


class Gradients:
    """The gradient of each kept value, summed over the backwards that were run; hooks go when this goes."""

    def __init__(self) -> None:
        self.of: dict[Value, torch.Tensor] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def watch(self, value: Value, tensor: torch.Tensor) -> None:
        """Collect the gradient of a tensor as it is now: before later writes to it."""
        me = weakref.ref(self)

        def collect(gradient: torch.Tensor) -> None:
            found = me()
            if found is not None:
                known = found.of.get(value)
                found.of[value] = gradient.detach().clone() if known is None else known + gradient.detach()

        self._hooks.append(tensor.register_hook(collect))  # type: ignore[no-untyped-call]

    def __del__(self) -> None:
        for hook in self._hooks:
            hook.remove()
