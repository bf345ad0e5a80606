"""What a model is shown: sets of images, texts or ready inputs, each item with an id and metadata."""

from neurolens.stimuli.collection import Stimuli
from neurolens.stimuli.images import to_rgb

__all__ = ["Stimuli", "to_rgb"]
