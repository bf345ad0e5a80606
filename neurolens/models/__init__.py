"""Models by name, each with the preprocessing it was trained with and a hash of its weights."""

from neurolens.models.loading import load_model
from neurolens.models.model import Model, as_model
from neurolens.models.weights import hash_weights

__all__ = ["Model", "as_model", "hash_weights", "load_model"]
