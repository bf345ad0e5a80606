"""Scoring every operation of a model against brain data: profiles."""

from neurolens.comparison.profile import compare as compare

__all__ = ["compare"]
