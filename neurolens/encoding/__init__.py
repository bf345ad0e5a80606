"""Encoding models: predict measured responses from features, scored on stimuli that were held out."""

from neurolens.encoding.banded import BandedRidge
from neurolens.encoding.evaluation import encode
from neurolens.encoding.inference import bootstrap_stimuli, permute_responses
from neurolens.encoding.linear import Linear
from neurolens.encoding.pls import PLS
from neurolens.encoding.predictions import predicted_rdm
from neurolens.encoding.refits import permute_with_refits
from neurolens.encoding.ridge import Ridge
from neurolens.encoding.spaces import join_spaces, partition_variance
from neurolens.encoding.steps import HRF, Delay, Pool
from neurolens.encoding.subjects import encode_between_subjects, flip_signs
from neurolens.encoding.summaries import normalize_scores, summarize_regions
from neurolens.encoding.weights import fit_weights

__all__ = [
    "HRF",
    "PLS",
    "BandedRidge",
    "Delay",
    "Linear",
    "Pool",
    "Ridge",
    "bootstrap_stimuli",
    "encode",
    "encode_between_subjects",
    "fit_weights",
    "flip_signs",
    "join_spaces",
    "normalize_scores",
    "partition_variance",
    "permute_responses",
    "permute_with_refits",
    "predicted_rdm",
    "summarize_regions",
]
