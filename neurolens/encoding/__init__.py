"""Encoding models: predict measured responses from features, scored on stimuli that were held out."""

from neurolens.encoding.banded import BandedRidge
from neurolens.encoding.evaluation import encode
from neurolens.encoding.linear import Linear
from neurolens.encoding.pls import PLS
from neurolens.encoding.predictions import predicted_rdm
from neurolens.encoding.ridge import Ridge
from neurolens.encoding.steps import HRF, Delay, Pool

__all__ = ["HRF", "PLS", "BandedRidge", "Delay", "Linear", "Pool", "Ridge", "encode", "predicted_rdm"]
