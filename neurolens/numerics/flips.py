"""Sign flips of subjects: the means that there would have been, had each one's sign been a coin's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError

__all__ = ["MAX_LISTED", "draw_flips", "flip_means"]

Table = NDArray[np.float64]

MAX_LISTED = 12  # up to this many subjects all 2^n sign patterns are listed


def draw_flips(n_subjects: int, n_flips: int, *, seed: int) -> Table:
    """Draw patterns of signs; for up to twelve subjects list them all.

    Parameters
    ----------
    n_subjects
        At least 2.
    n_flips
        How many to draw where not all are listed.
    seed
        Of the draw.

    Returns
    -------
    array of -1 and 1, shape (n_flips, n_subjects), float64
        A full list has 2^n_subjects - 1 rows: no flip at all is the observation itself, which
        ``p = (1 + #) / (1 + N)`` counts.

    Raises
    ------
    InputError
        If there are fewer than 2 subjects.

    Examples
    --------
    >>> draw_flips(2, 100, seed=0).tolist()
    [[-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]
    """
    if n_subjects < 2:
        raise InputError(f"A test over subjects needs at least 2 of them; there is {n_subjects}.")
    if n_subjects <= MAX_LISTED:
        patterns = np.arange(1, 2**n_subjects)
        bits = (patterns[:, None] >> np.arange(n_subjects)) & 1
        return np.where(bits == 1, -1.0, 1.0)
    rng = np.random.default_rng(seed)
    return rng.choice([-1.0, 1.0], size=(n_flips, n_subjects))


def flip_means(values: NDArray[Any], flips: Table) -> Table:
    """Average over subjects under each pattern of signs; one pattern acts on all columns together.

    Parameters
    ----------
    values
        Array, shape (n_subjects, n_tests); NaN where a subject has no value.
    flips
        Array, shape (n_flips, n_subjects), from `draw_flips`.

    Returns
    -------
    array, shape (n_flips, n_tests), float64
        Means over the subjects that have a value.

    Examples
    --------
    >>> flip_means(np.array([[1.0], [3.0]]), np.array([[-1.0, 1.0]])).tolist()
    [[1.0]]
    """
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Table = flips @ np.where(known, values, 0.0) / known.sum(axis=0)
    return means
