"""Figures of results: RDMs and profiles, as matplotlib Axes."""

from neurolens.plot.brain import glass_brain as glass_brain
from neurolens.plot.brain import surface as surface
from neurolens.plot.profiles import profile as profile
from neurolens.plot.rdms import rdm as rdm
from neurolens.plot.rdms import rdms as rdms
from neurolens.plot.regions import regions as regions
from neurolens.plot.slices import slices as slices

__all__ = ["glass_brain", "profile", "rdm", "rdms", "regions", "slices", "surface"]
