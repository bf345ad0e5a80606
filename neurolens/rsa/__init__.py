"""Representational similarity: RDMs, their similarity, their noise ceiling, inference on models."""

from neurolens.rsa.ceiling import noise_ceiling as noise_ceiling
from neurolens.rsa.dissimilarity import rdm as rdm
from neurolens.rsa.inference import infer as infer
from neurolens.rsa.models import Selected as Selected
from neurolens.rsa.models import Weighted as Weighted
from neurolens.rsa.noise import noise_covariance as noise_covariance
from neurolens.rsa.representations import compare_representations as compare_representations
from neurolens.rsa.representations import dimensionality as dimensionality
from neurolens.rsa.similarity import compare_rdms as compare_rdms

__all__ = [
    "Selected",
    "Weighted",
    "compare_rdms",
    "compare_representations",
    "dimensionality",
    "infer",
    "noise_ceiling",
    "noise_covariance",
    "rdm",
]
