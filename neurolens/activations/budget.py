"""What a run will take, before it begins: disk, memory and time."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurolens.activations.assemble import Layout, stored_dtype
from neurolens.activations.memory import available_memory
from neurolens.activations.sizes import say_bytes
from neurolens.errors import InputError, StoreError


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run takes, estimated from its first batch.

    Attributes
    ----------
    disk
        Bytes of all activations, before compression.
    memory
        Bytes held at once, whatever the number of stimuli: `3 x` the chosen activations of a batch (held by the
        model's run, arranged, being written), the inputs read ahead, and the fit of a reduction. What the model
        itself needs for a batch is not in it.
    seconds
        Of computing, at the speed of the first batch.
    """

    disk: int
    memory: int
    seconds: float

    def __str__(self) -> str:
        minutes = self.seconds / 60
        time = f"{self.seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min"
        return (
            f"up to {say_bytes(self.disk)} on disk, {say_bytes(self.memory)} of memory, {time} of computing"
        )


def estimate_bytes(
    layouts: Mapping[str, Layout], n_stimuli: int, dtype: np.dtype[np.generic] | None = None
) -> int:
    """Return the bytes of all arrays as they are stored, before compression; `dtype` is what floats become."""
    return sum(
        layout.n_features
        * stored_dtype(layout.dtype, dtype).itemsize
        * (1 if layout.is_static else n_stimuli)
        for layout in layouts.values()
    )


def require_memory(n_bytes: int, *, n_held: int) -> None:
    """Raise InputError if a run takes more memory than there is; `n_held` bytes of it are taken already."""
    free = available_memory()
    if free is not None and n_bytes - n_held > free:
        raise InputError(
            f"This run holds up to {say_bytes(n_bytes)} at once, and {say_bytes(free)} of memory are free. Use a "
            "smaller batch_size=, fewer operations (ops=), or fewer workers=."
        )


def require_space(store: Path, n_bytes: int) -> None:
    """Raise StoreError if a store would take more than the disk has."""
    folder = store.absolute()
    while not folder.exists():
        folder = folder.parent
    written = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    free = shutil.disk_usage(folder).free + written
    if n_bytes > free:
        raise StoreError(
            f"The activations take up to {say_bytes(n_bytes)} before compression, and {folder} has "
            f"{say_bytes(free)} for them. Choose fewer operations (ops=), dtype='float16', a reduction (reduce=), or "
            "another disk."
        )
