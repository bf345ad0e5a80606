"""Activations on disk: the Zarr format of neurolens (docs/format.md), written block by block, read lazily."""

from neurolens.store.chunks import Compression
from neurolens.store.read import Store, open_store
from neurolens.store.verification import Problem, Verification, verify_store
from neurolens.store.write import attach_store, create_store, read_late
from neurolens.store.writer import StoreWriter

__all__ = [
    "Compression",
    "Problem",
    "Store",
    "StoreWriter",
    "Verification",
    "attach_store",
    "create_store",
    "open_store",
    "read_late",
    "verify_store",
]
