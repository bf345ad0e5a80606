"""Labelled activations: from a trace, in a Zarr store, or computed as they are read."""

from neurolens.activations.collection import (
    Activations,
    ActivationsInMemory,
    StoredActivations,
    as_activations,
    open,
)

__all__ = ["Activations", "ActivationsInMemory", "StoredActivations", "as_activations", "open"]
