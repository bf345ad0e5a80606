"""What is said of an operation before its values are read: what patterns and functions choose by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from neurolens.errors import AddressError, InputError, list_names, near_misses
from neurolens.recording.addresses import is_glob, matches


@dataclass(frozen=True, slots=True)
class Candidate:
    """An operation that may be chosen.

    Attributes
    ----------
    address, function, module
        Its names.
    dims, shape
        Of its activation for one stimulus.
    dtype
        As it was computed.
    step, depth
        Position in execution order; longest path from the inputs / longest path of the graph, in [0, 1].

    Examples
    --------
    >>> import numpy as np, torch
    >>> import neurolens as nl
    >>> stimuli = nl.Stimuli.from_array(np.ones((3, 4), "float32"), ids=["cat", "dog", "cow"])
    >>> def is_small(candidate):
    ...     return candidate.n_features < 4
    >>> nl.stream(torch.nn.Linear(4, 2), stimuli, ops=is_small, progress=False).addresses()
    ('linear',)
    """

    address: str
    function: str
    module: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    step: int
    depth: float

    @property
    def n_features(self) -> int:
        """Numbers a stimulus."""
        return math.prod(self.shape)


Patterns = str | Iterable[str]
Predicate = Callable[[Candidate], bool]
Ops = str | Predicate | Iterable[str | Predicate]


def describe_candidate(
    address: str, dims: tuple[str, ...], shape: tuple[int, ...], dtype: str, attrs: Mapping[str, Any]
) -> Candidate:
    """Make a candidate of what the attrs of an activation say."""
    return Candidate(
        address,
        str(attrs.get("function", "")),
        str(attrs.get("module", "")),
        dims,
        shape,
        str(attrs.get("traced_dtype", dtype)),
        int(attrs.get("step", 0)),
        float(attrs.get("depth", math.nan)),
    )


def as_patterns(ops: Ops) -> list[str | Predicate]:
    """Return what chooses operations as a list.

    Raises
    ------
    InputError
        If it is neither text, nor a function, nor a sequence of these.
    """
    if isinstance(ops, str) or callable(ops):
        return [ops]
    patterns = list(ops) if isinstance(ops, Iterable) else [None]
    if not patterns or not all(isinstance(pattern, str) or callable(pattern) for pattern in patterns):
        raise InputError(
            f"ops={ops!r} chooses nothing: give a glob on addresses ('layer*.add'), an address, a function that "
            "takes an operation and says yes or no, or a list of these."
        )
    return patterns


def choose_addresses(
    addresses: Iterable[str], ops: Ops, describe: Callable[[str], Candidate] | None = None
) -> list[str]:
    """Choose among addresses by globs and functions, keeping their order for each.

    Parameters
    ----------
    addresses
        All there are.
    ops
        What chooses.
    describe
        Says of an address what functions choose by.

    Raises
    ------
    AddressError
        If a pattern matches none; near misses are listed.
    """
    pool = list(addresses)
    chosen: dict[str, None] = {}
    for pattern in as_patterns(ops):
        if isinstance(pattern, str):
            found = [a for a in pool if (matches(pattern, a) if is_glob(pattern) else a == pattern)]
        else:
            assert describe is not None
            found = [address for address in pool if pattern(describe(address))]
        if not found:
            raise AddressError(say_unknown(pattern, pool))
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def say_unknown(pattern: str | Predicate, addresses: Iterable[str]) -> str:
    """Say that nothing is called so, and what is near."""
    if not isinstance(pattern, str):
        name = getattr(pattern, "__name__", type(pattern).__name__)
        return f"The function {name!r} given as ops= chose none of the {len(list(addresses))} operations."
    close = near_misses(pattern.replace("*", "").strip("."), addresses)
    hint = f" Near misses: {list_names(close)}." if close else ""
    return f"No operation here is called {pattern!r}, or matches it.{hint}"
