"""Exercises of the tutorials: an answer is right, or the verdict says why not."""

from neurolens.testing.exercises import Verdict, check

__all__ = ["Verdict", "check"]
