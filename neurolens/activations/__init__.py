"""Labelled activations: from a trace, in a Zarr store, or computed as they are read."""

from neurolens.activations.collection import (
    Activations,
    ActivationsInMemory,
    StoredActivations,
    as_activations,
    open,
)
from neurolens.activations.extract import extract
from neurolens.activations.operations import Candidate, Ops
from neurolens.activations.reduce import ChosenUnits, Pooling, PrincipalComponents, RandomProjection
from neurolens.activations.stream import StreamedActivations, stream

__all__ = [
    "Activations",
    "ActivationsInMemory",
    "Candidate",
    "ChosenUnits",
    "Ops",
    "Pooling",
    "PrincipalComponents",
    "RandomProjection",
    "StoredActivations",
    "StreamedActivations",
    "as_activations",
    "extract",
    "open",
    "stream",
]
