"""Encoding models: predict measured responses from features, scored on stimuli that were held out."""

from neurolens.encoding.evaluation import encode
from neurolens.encoding.ridge import Ridge

__all__ = ["Ridge", "encode"]
