"""Exercises: what has to hold of an answer, and what to say where it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from neurolens.errors import InputError

__all__ = ["Verdict", "check"]


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and if not, why.

    Parameters
    ----------
    right
        Whether all that was asked holds.
    why
        What does not hold, in words; empty where the answer is right.

    Examples
    --------
    >>> Verdict(False, "Count the operations, not the passes.")
    Not yet. Count the operations, not the passes.
    """

    right: bool
    why: str = ""

    def __repr__(self) -> str:
        """Say that it is right, or what is not."""
        return "Right." if self.right else f"Not yet. {self.why}"


def check(answer: Any, conditions: Mapping[str, Callable[[Any], object]]) -> Verdict:
    """Check an answer to an exercise, and say what is wrong with it.

    Conditions are tried in order; the first that does not hold is what the verdict tells. A condition that
    fails on an answer of another type does not hold either: then the verdict shows the answer too.

    Parameters
    ----------
    answer
        What the student found; ``...`` stands for an answer not yet given.
    conditions
        Mapping from what to tell where a condition does not hold, to the condition: a function of the answer.

    Returns
    -------
    Verdict
        Shown as "Right." or "Not yet. ..." in a notebook.

    Raises
    ------
    InputError
        If there are no conditions: everything would be right.

    Examples
    --------
    >>> even = {"It has to be even.": lambda n: n % 2 == 0, "It has to be large.": lambda n: n > 10}
    >>> check(..., even)
    Not yet. Replace the ... by your answer.
    >>> check(4, even)
    Not yet. It has to be large.
    >>> check(12, even)
    Right.
    """
    if not conditions:
        raise InputError("check() was given no conditions, so every answer would be right.")
    if answer is ...:
        return Verdict(False, "Replace the ... by your answer.")
    for reason, condition in conditions.items():
        try:
            holds = bool(condition(answer))
        except (
            Exception
        ) as error:  # a wrong answer may be anything: the student should read why, not a traceback
            shown = repr(answer)
            shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
            return Verdict(False, f"{reason} ({shown} could not be checked: {type(error).__name__}: {error})")
        if not holds:
            return Verdict(False, reason)
    return Verdict(True)
