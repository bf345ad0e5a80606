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
    """

    def __init__(self, *, on_cpu: bool = False) -> None:
        self.on_cpu = on_cpu  # hold what an accelerator computed by a copy in the computer's memory
        self.tensors: dict[Value, torch.Tensor] = {}
        self.shared: dict[int, list[Value]] = {}  # storage -> what is kept of it by reference
        self.writers: dict[int, Event] = {}
        self.exposed: set[int] = set()

    def hold(self, value: Value, tensor: torch.Tensor) -> None:
        """Keep a value: an alias of the tensor, so that changes of the user's object do not reach it."""
        alias = compat.alias(tensor)
        if self.on_cpu and alias.device.type != "cpu":
            alias = alias.to("cpu")
        elif value.storage in self.exposed:
            alias = compat.copy_of(alias)
        else:
            self.shared.setdefault(value.storage, []).append(value)
        self.tensors[value] = alias
        value.version = compat.version(alias)

    def preserve(self, tensors: Iterable[torch.Tensor]) -> None:
        """Copy on write: clone what is kept of this memory before it changes."""
        for tensor in tensors:
            for value in self.shared.pop(compat.storage_key(tensor), ()):
                self.tensors[value] = copy = compat.copy_of(self.tensors[value])
                value.version = compat.version(copy)

    def expose(self, tensors: Iterable[torch.Tensor]) -> None:
        """Note that others can write this memory from now on."""
        self.exposed.update(compat.storage_key(tensor) for tensor in tensors)

    def note_writes(self, tensors: Iterable[torch.Tensor], event: Event) -> None:
        """Note which event wrote this memory."""
        for tensor in tensors:
            self.writers[compat.storage_key(tensor)] = event

    def restore_versions(self, tensors: Iterable[torch.Tensor]) -> None:
        """Follow torch's count of writes after a call that changed shapes only."""
        for tensor in tensors:
            for value in self.shared.get(compat.storage_key(tensor), ()):
                value.version = compat.version(self.tensors[value])

    def settle(self) -> frozenset[str]:
        """End the recording: state of the model that it wrote will be written again, so it is kept by copy.

        Returns the names of the parameters and buffers that were written.
        """
        owned = {value.storage: value.parameter for value in self.tensors if value.parameter}
        written = owned.keys() & self.writers.keys()
        for storage in written:
            for value in self.shared.pop(storage, ()):
                if not value.parameter:
                    self.tensors[value] = copy = compat.copy_of(self.tensors[value])
                    value.version = compat.version(copy)
        self.shared.clear()
        self.writers.clear()
        return frozenset(owned[storage] for storage in written)
