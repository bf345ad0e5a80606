"""Representational similarity: RDMs, their similarity, their noise ceiling."""

from neurolens.rsa.ceiling import noise_ceiling as noise_ceiling
from neurolens.rsa.dissimilarity import rdm as rdm
from neurolens.rsa.similarity import compare_rdms as compare_rdms

__all__ = ["compare_rdms", "noise_ceiling", "rdm"]
