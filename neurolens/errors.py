"""What can go wrong, by name. Every message says what was wrong, what was expected and what to do."""

from __future__ import annotations

import difflib
import numbers
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "AddressError",
    "InputError",
    "LabelError",
    "ModelError",
    "NeurolensError",
    "NeurolensWarning",
    "ResumeError",
    "StimulusError",
    "StoreError",
    "TraceError",
    "as_names",
    "check_choice",
    "check_count",
    "check_name",
    "explain_unreadable",
    "is_between",
    "list_names",
    "near_misses",
]


class NeurolensError(Exception):
    """Base of every error that neurolens raises on purpose."""

    def __str__(self) -> str:  # KeyError would show the repr, with quotes and escaped newlines
        """Say the message as it was written."""
        return "\n".join(str(part) for part in self.args)


class AddressError(NeurolensError, KeyError):
    """No operation, pass or module has this address, or it means several things."""


class InputError(NeurolensError, ValueError):
    """An argument has a value that no definition covers."""


class LabelError(NeurolensError, ValueError):
    """Labels (stimulus, subject, region ...) are missing, repeated, or differ between two sides."""


class StimulusError(NeurolensError, ValueError):
    """A stimulus cannot be read, or the stimuli do not form a set."""


class ModelError(NeurolensError, ValueError):
    """A model cannot be built, or weights do not fit it."""


class StoreError(NeurolensError, OSError):
    """A store cannot be written or read as asked."""


class ResumeError(StoreError):
    """A store was begun by another run: another model, other stimuli or settings."""


class TraceError(NeurolensError, RuntimeError):
    """A recording cannot be made, or what was asked of it was not kept."""


class NeurolensWarning(UserWarning):
    """Something the user should know before trusting a number."""


def near_misses(name: str, names: Iterable[str], n: int = 5) -> list[str]:
    """Return up to `n` of `names` that look like `name`, best first."""
    pool = list(dict.fromkeys(names))
    close = difflib.get_close_matches(name, pool, n=n, cutoff=0.5)
    tail = name.rsplit(".", 1)[-1]
    ending = [other for other in pool if tail and other.rsplit(".", 1)[-1] == tail and other not in close]
    holding = [other for other in pool if name and name in other]
    return list(dict.fromkeys(close + ending + holding))[:n]


def list_names(names: Iterable[object], limit: int = 8) -> str:
    """Write names for a message: quoted, at most `limit`, the rest counted."""
    pool = [repr(name) for name in names]
    shown = ", ".join(pool[:limit])
    return shown if len(pool) <= limit else f"{shown} and {len(pool) - limit} more"


def check_choice(value: object, choices: Iterable[str], argument: str) -> None:
    """Raise InputError unless `value` is one of `choices`; the message lists them."""
    pool = list(choices)
    if isinstance(value, str) and value in pool:
        return
    close = near_misses(value, pool, n=1) if isinstance(value, str) else []
    hint = f" Did you mean {close[0]!r}?" if close else ""
    said = (
        f"{argument}={value!r}"
        if isinstance(value, str | int | float | None)
        else f"{argument}, a {_kind(value)},"
    )
    raise InputError(f"{said} is not known; choose one of {list_names(pool, 30)}.{hint}")


def check_name(value: object, argument: str, of: str) -> None:
    """Raise InputError unless `value` is one name; `of` says what it is the name of."""
    if not isinstance(value, str):
        raise InputError(f"{argument}={value!r}: give the name of one {of}, as text, not a {_kind(value)}.")


def as_names(value: object, argument: str) -> tuple[str, ...]:
    """Return one name, or several, as a tuple; raise InputError for anything else."""
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(name, str) for name in names):
        raise InputError(
            f"{argument} is a {_kind(value)}; give a name, or a list of names: {argument}=['...']."
        )
    return names


def check_count(value: object, argument: str, least: int = 1, hint: str = "") -> None:
    """Raise InputError unless `value` is a whole number, of at least `least`; `hint` follows that number."""
    if type(value) is bool or not isinstance(value, numbers.Integral) or int(value) < least:
        raise InputError(f"{argument}={value!r}: give a whole number of at least {least}{hint}.")


def is_between(value: object, low: float, high: float) -> bool:
    """Tell whether a value is a number above `low` and below `high`."""
    return type(value) is not bool and isinstance(value, numbers.Real) and low < float(value) < high


def _kind(value: object) -> str:
    return type(value).__name__


@contextmanager
def explain_unreadable(
    file: str | os.PathLike[str], error: type[NeurolensError] = InputError
) -> Iterator[None]:
    """Turn whatever a library raises while it reads `file` into `error`, which names the file."""
    try:
        yield
    except NeurolensError:
        raise
    except Exception as reason:  # of many kinds: each library has its own for a file that is damaged
        said = next(iter(str(reason).splitlines()), "")
        raise error(
            f"{os.fspath(file)} can't be read ({type(reason).__name__}: {said}). Is it whole, and of the kind that its "
            "ending says? Copy or save it again."
        ) from reason
