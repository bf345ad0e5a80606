"""Representational similarity: RDMs, their similarity, their noise ceiling, inference on models."""

from neurolens.rsa.ceiling import noise_ceiling as noise_ceiling
from neurolens.rsa.clusters import find_clusters as find_clusters
from neurolens.rsa.dissimilarity import rdm as rdm
from neurolens.rsa.inference import infer as infer
from neurolens.rsa.interop import from_rsatoolbox as from_rsatoolbox
from neurolens.rsa.interop import label_rdms as label_rdms
from neurolens.rsa.interop import read_rdms as read_rdms
from neurolens.rsa.interop import to_rsatoolbox as to_rsatoolbox
from neurolens.rsa.interop import write_rdms as write_rdms
from neurolens.rsa.models import Selected as Selected
from neurolens.rsa.models import Weighted as Weighted
from neurolens.rsa.noise import noise_covariance as noise_covariance
from neurolens.rsa.partition import partition_variance as partition_variance
from neurolens.rsa.representations import compare_representations as compare_representations
from neurolens.rsa.representations import dimensionality as dimensionality
from neurolens.rsa.searchlight import searchlight as searchlight
from neurolens.rsa.similarity import compare_rdms as compare_rdms

__all__ = [
    "Selected",
    "Weighted",
    "compare_rdms",
    "compare_representations",
    "dimensionality",
    "find_clusters",
    "from_rsatoolbox",
    "infer",
    "label_rdms",
    "noise_ceiling",
    "noise_covariance",
    "partition_variance",
    "rdm",
    "read_rdms",
    "searchlight",
    "to_rsatoolbox",
    "write_rdms",
]
