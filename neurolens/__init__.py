"""Ask every operation of a neural network how much it is like a brain region."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
