"""Scoring every operation of a model against brain data: profiles, their peaks, and what they rest on."""

from neurolens.comparison.accessor import ProfileAccessor as ProfileAccessor
from neurolens.comparison.accessor import choose_best as choose_best
from neurolens.comparison.differences import compare_models as compare_models
from neurolens.comparison.influence import find_influence as find_influence
from neurolens.comparison.peaks import compare_peaks as compare_peaks
from neurolens.comparison.profile import compare as compare

__all__ = ["ProfileAccessor", "choose_best", "compare", "compare_models", "compare_peaks", "find_influence"]
