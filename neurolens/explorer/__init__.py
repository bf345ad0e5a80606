"""The explorer: a network and its scores as one page for the browser."""

from neurolens.explorer.exploration import explore

__all__ = ["explore"]
