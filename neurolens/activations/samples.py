"""Activations that a reduction is fitted on, a few operations at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neurolens.activations.assemble import Layout, to_numpy
from neurolens.activations.budget import estimate_bytes


class Sampler:
    """Gives the activations of one operation after the other, and runs the model once for as many as fit.

    Parameters
    ----------
    layouts
        Of all operations that may be asked for, in the order in which they will be.
    n_stimuli
        How many are sampled.
    compute
        Runs the model for some operations: yields the batches, by address.
    memory
        About how many bytes to hold at once.
    """

    def __init__(
        self,
        layouts: Mapping[str, Layout],
        n_stimuli: int,
        compute: Callable[[list[str]], Iterator[Mapping[str, torch.Tensor]]],
        *,
        memory: int,
    ) -> None:
        self.layouts = layouts
        self.n_stimuli = n_stimuli
        self.compute = compute
        self.memory = memory
        self._held: dict[str, NDArray[Any]] = {}

    def __call__(self, addresses: Iterable[str]) -> Mapping[str, NDArray[Any]]:
        """Return arrays (stimulus, ...) by address, of the addresses and perhaps others."""
        for address in addresses:
            if address not in self._held:
                self._held = {}  # free the last group before the next is computed
                self._held = self._compute(self._group_from(address))
        return self._held

    def _group_from(self, address: str) -> list[str]:
        """Return an address and those after it, as many as may be held at once."""
        order = [a for a, layout in self.layouts.items() if not layout.is_static and layout.n_features]
        group: list[str] = []
        used = 0
        for candidate in order[order.index(address) :]:
            used += estimate_bytes({candidate: self.layouts[candidate]}, self.n_stimuli)
            if group and used > self.memory:
                break
            group.append(candidate)
        return group

    def _compute(self, group: list[str]) -> dict[str, NDArray[Any]]:
        parts: dict[str, list[NDArray[Any]]] = {address: [] for address in group}
        for tensors in self.compute(group):
            for address, tensor in tensors.items():
                parts[address].append(to_numpy(tensor))
        return {address: np.concatenate(found) for address in group if (found := parts.pop(address))}
