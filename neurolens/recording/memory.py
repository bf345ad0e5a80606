"""What is kept, and how it stays true: by reference while nothing writes the memory, by copy before something does."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from neurolens.recording import compat
from neurolens.recording.events import Event, Value


class Memory:
    """The kept tensors of a recording, by the storage they lie in.

    `writers` says which event last wrote a storage. `exposed` storages were handed to somebody who can write them
    unseen (numpy, dlpack, scripted code): what lies there is kept by copy from then on, and compared when read.
    `disturbed` are both kinds of storage.
    """

    def __init__(self, *, on_cpu: bool = False) -> None:
        self.on_cpu = on_cpu  # hold what an accelerator computed by a copy in the computer's memory
        self.tensors: dict[Value, torch.Tensor] = {}
        self.shared: dict[int, list[Value]] = {}  # storage -> what is kept of it by reference
        self.unsorted: list[Value] = []  # kept by reference, not in `shared` yet: most are never asked for
        self.owned: dict[int, str] = {}  # storage -> the parameter or buffer that lies there
        self.writers: dict[int, Event] = {}
        self.exposed: set[int] = set()
        self.disturbed: set[int] = set()

    def hold(self, value: Value, tensor: torch.Tensor) -> None:
        """Keep a value: an alias of the tensor, so that changes of the user's object do not reach it."""
        alias = compat.alias(tensor)
        if self.on_cpu and alias.device.type != "cpu":
            alias = alias.to("cpu")
        elif value.storage in self.exposed:
            alias = compat.copy_of(alias)
        else:
            self.unsorted.append(value)
        self.tensors[value] = alias
        value.version, value.requires_grad = compat.version(alias), tensor.requires_grad

    def preserve(self, storages: Iterable[int]) -> None:
        """Copy on write: clone what is kept of some memory before it changes."""
        if self.unsorted:
            self._sort()
        if self.shared:
            for storage in storages:
                for value in self.shared.pop(storage, ()):
                    self._copy(value)

    def expose(self, tensors: Iterable[torch.Tensor]) -> None:
        """Note that others can write this memory from now on."""
        keys = [compat.storage_key(tensor) for tensor in tensors]
        self.exposed.update(keys)
        self.disturbed.update(keys)

    def note_writes(self, tensors: Iterable[torch.Tensor], event: Event) -> None:
        """Note which event wrote this memory."""
        for tensor in tensors:
            key = compat.storage_key(tensor)
            self.writers[key] = event
            self.disturbed.add(key)

    def forget(self, key: int) -> None:
        """Note that a storage is gone, and another is where it was."""
        self.writers.pop(key, None)
        self.exposed.discard(key)
        self.disturbed.discard(key)

    def restore_versions(self, tensors: Iterable[torch.Tensor]) -> None:
        """Follow torch's count of writes after a call that changed shapes only."""
        self._sort()
        for tensor in tensors:
            for value in self.shared.get(compat.storage_key(tensor), ()):
                value.version = compat.version(self.tensors[value])

    def settle(self) -> frozenset[str]:
        """End the recording: state of the model that it wrote will be written again, so it is kept by copy.

        Returns the names of the parameters and buffers that were written.
        """
        written = self.owned.keys() & self.writers.keys()
        if written:
            self._sort()
        for storage in written:
            for value in self.shared.pop(storage, ()):
                if not value.parameter:
                    self._copy(value)
        for kept in (self.shared, self.unsorted, self.writers, self.exposed, self.disturbed):
            kept.clear()
        return frozenset(self.owned[storage] for storage in written)

    def _sort(self) -> None:
        for value in self.unsorted:
            self.shared.setdefault(value.storage, []).append(value)
        self.unsorted.clear()

    def _copy(self, value: Value) -> None:
        self.tensors[value] = copy = compat.copy_of(self.tensors[value])
        value.version = compat.version(copy)
