"""Figures of results: RDMs, models, time courses and profiles, as matplotlib Axes."""

from neurolens.plot.brain import glass_brain as glass_brain
from neurolens.plot.brain import surface as surface
from neurolens.plot.embeddings import mds as mds
from neurolens.plot.inference import models as models
from neurolens.plot.matrices import similarity as similarity
from neurolens.plot.profiles import profile as profile
from neurolens.plot.rdms import rdm as rdm
from neurolens.plot.rdms import rdms as rdms
from neurolens.plot.regions import regions as regions
from neurolens.plot.slices import slices as slices
from neurolens.plot.timecourses import timecourse as timecourse

__all__ = [
    "glass_brain",
    "mds",
    "models",
    "profile",
    "rdm",
    "rdms",
    "regions",
    "similarity",
    "slices",
    "surface",
    "timecourse",
]
