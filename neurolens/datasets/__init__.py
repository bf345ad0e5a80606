"""Stimuli with brain data, under one verb: embedded, found in a folder, or downloaded by checksum."""

import lazy_loader as _lazy

# A list of names and cards needs none of what reads the data.
__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
