"""Figures of results: RDMs and profiles, as matplotlib Axes."""

from neurolens.plot.profiles import profile as profile
from neurolens.plot.rdms import rdm as rdm
from neurolens.plot.rdms import rdms as rdms

__all__ = ["profile", "rdm", "rdms"]
