"""Sums over stimuli from which every measure of reliability follows, gathered block by block.

Trials have shape (n_repetitions, n_stimuli, n_targets). Two blocks of stimuli are merged exactly (Chan, Golub
and LeVeque 1983, doi:10.1080/00031305.1983.10483115), so that data of any size need one pass and little memory.
All sums are in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError

__all__ = [
    "Moments",
    "Trials",
    "UnequalMoments",
    "as_moments",
    "compute_moments",
    "compute_unequal_moments",
    "is_constant",
    "merge_moments",
    "merge_unequal_moments",
]

FloatArray = NDArray[np.floating[Any]]
Table = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """First and second moments over stimuli, where every stimulus has every repetition.

    Attributes
    ----------
    n_stimuli
        How many were added up.
    mean
        Array, shape (n_repetitions, n_targets).
    comoment
        Array, shape (n_repetitions, n_repetitions, n_targets): sums over stimuli of products of deviations.
    low, high
        Arrays, shape (n_repetitions, n_targets): extremes, which tell a constant exactly.
    """

    n_stimuli: int
    mean: Table
    comoment: Table
    low: Table
    high: Table


@dataclass(frozen=True)
class UnequalMoments:
    """Variation between and within stimuli, where stimuli were repeated a different number of times.

    Attributes
    ----------
    n_stimuli
        How many were presented at least once.
    n_degrees
        Sum over stimuli of the number of repetitions minus 1.
    inverse
        Sum over stimuli of 1 / number of repetitions.
    mean, between, within
        Arrays, shape (n_targets,): mean of the stimuli's means, their sum of squared deviations, and the sum of
        squared deviations of trials from their stimulus' mean.
    low, high
        Arrays, shape (n_targets,).
    """

    n_stimuli: int
    n_degrees: int
    inverse: float
    mean: Table
    between: Table
    within: Table
    low: Table
    high: Table


Trials = FloatArray | Moments | UnequalMoments


def compute_moments(data: FloatArray) -> Moments:
    """Add up the moments of one block of stimuli.

    Parameters
    ----------
    data
        Array, shape (n_repetitions, n_stimuli, n_targets), no repetition missing.

    Returns
    -------
    Moments
        NaN where a target has NaN.

    Raises
    ------
    InputError
        If the array has another number of dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> compute_moments(np.array([[[0.0], [2.0]], [[1.0], [5.0]]])).comoment[:, :, 0].tolist()
    [[2.0, 4.0], [4.0, 8.0]]
    """
    if data.ndim != 3:
        raise InputError(
            f"Expected an array (repetition, stimulus, target); this one has shape {data.shape}."
        )
    n_repetitions, n_stimuli, n_targets = data.shape
    low, high = data.min(axis=1).astype(np.float64), data.max(axis=1).astype(np.float64)
    mean = data.mean(axis=1, dtype=np.float64)
    mean = np.where(low == high, low, mean)  # the mean of a constant may be off by a rounding
    deviation = [np.subtract(data[r], mean[r], dtype=np.float64) for r in range(n_repetitions)]
    comoment = np.empty((n_repetitions, n_repetitions, n_targets))
    for r in range(n_repetitions):
        for s in range(r, n_repetitions):
            comoment[r, s] = comoment[s, r] = np.einsum("nt,nt->t", deviation[r], deviation[s])
    return Moments(n_stimuli, mean, comoment, low, high)


def merge_moments(first: Moments | None, second: Moments) -> Moments:
    """Give the moments of two blocks of stimuli together.

    Parameters
    ----------
    first
        Moments so far, or None at the start.
    second
        Of the same repetitions and targets.

    Returns
    -------
    Moments

    Examples
    --------
    >>> import numpy as np
    >>> data = np.random.default_rng(0).normal(size=(2, 9, 1))
    >>> merged = merge_moments(compute_moments(data[:, :4]), compute_moments(data[:, 4:]))
    >>> np.allclose(merged.comoment, compute_moments(data).comoment)
    True
    """
    if first is None:
        return second
    n = first.n_stimuli + second.n_stimuli
    shift = second.mean - first.mean
    weight = first.n_stimuli * second.n_stimuli / n
    return Moments(
        n,
        first.mean + shift * (second.n_stimuli / n),
        first.comoment + second.comoment + weight * shift[:, None] * shift[None],
        np.minimum(first.low, second.low),
        np.maximum(first.high, second.high),
    )


def compute_unequal_moments(data: FloatArray, presented: NDArray[np.bool_]) -> UnequalMoments:
    """Add up the moments of one block of stimuli of which not all have every repetition.

    Parameters
    ----------
    data
        Array, shape (n_repetitions, n_stimuli, n_targets); values of trials that were not presented are ignored.
    presented
        Array, shape (n_repetitions, n_stimuli): which trials there are; at least one a stimulus.

    Returns
    -------
    UnequalMoments
        NaN where a target has NaN in a presented trial.

    Raises
    ------
    InputError
        If a stimulus was never presented.

    Examples
    --------
    >>> import numpy as np
    >>> data = np.array([[[0.0], [2.0]], [[2.0], [np.nan]]])
    >>> moments = compute_unequal_moments(data, ~np.isnan(data[:, :, 0]))
    >>> moments.within.tolist(), moments.between.tolist(), moments.inverse
    ([2.0], [0.5], 1.5)
    """
    counts = presented.sum(axis=0)
    if (counts == 0).any():
        raise InputError(f"{int((counts == 0).sum())} stimuli have no trial at all; leave them out.")
    there = presented[:, :, None]
    means = np.where(there, data, 0).sum(axis=0, dtype=np.float64) / counts[:, None]
    within = np.zeros(data.shape[2])
    for repetition, shown in zip(data, presented, strict=True):
        deviation = np.subtract(repetition[shown], means[shown], dtype=np.float64)
        within += np.einsum("nt,nt->t", deviation, deviation)
    low = np.where(there, data, np.inf).min(axis=(0, 1)).astype(np.float64)
    high = np.where(there, data, -np.inf).max(axis=(0, 1)).astype(np.float64)
    mean = means.mean(axis=0)
    between = np.square(means - mean).sum(axis=0)
    return UnequalMoments(
        counts.size,
        int((counts - 1).sum()),
        float((1 / counts).sum()),
        mean,
        between,
        within,
        low,
        high,
    )


def merge_unequal_moments(first: UnequalMoments | None, second: UnequalMoments) -> UnequalMoments:
    """Give the moments of two blocks of stimuli together.

    Parameters
    ----------
    first
        Moments so far, or None at the start.
    second
        Of the same targets.

    Returns
    -------
    UnequalMoments

    Examples
    --------
    >>> import numpy as np
    >>> data, there = np.random.default_rng(0).normal(size=(2, 9, 1)), np.ones((2, 9), bool)
    >>> parts = [compute_unequal_moments(data[:, part], there[:, part]) for part in (slice(4), slice(4, 9))]
    >>> np.allclose(merge_unequal_moments(*parts).between, compute_unequal_moments(data, there).between)
    True
    """
    if first is None:
        return second
    n = first.n_stimuli + second.n_stimuli
    shift = second.mean - first.mean
    weight = first.n_stimuli * second.n_stimuli / n
    return UnequalMoments(
        n,
        first.n_degrees + second.n_degrees,
        first.inverse + second.inverse,
        first.mean + shift * (second.n_stimuli / n),
        first.between + second.between + weight * np.square(shift),
        first.within + second.within,
        np.minimum(first.low, second.low),
        np.maximum(first.high, second.high),
    )


def is_constant(moments: Moments | UnequalMoments) -> NDArray[np.bool_]:
    """Targets whose every repetition is flat over stimuli, told exactly rather than by a rounded variance."""
    return np.asarray(np.atleast_2d(moments.low == moments.high).all(axis=0))


def as_moments(data: Trials) -> Moments | UnequalMoments:
    """Return the moments of trials, or say what is missing."""
    moments = data if isinstance(data, Moments | UnequalMoments) else compute_moments(data)
    if isinstance(moments, Moments):
        enough, repeated = len(moments.mean) >= 2, f"{len(moments.mean)} repetitions"
    else:
        enough, repeated = moments.n_degrees > 0, f"{1 if moments.n_degrees == 0 else 'some'} repetitions"
    if not enough or moments.n_stimuli < 2:
        raise InputError(
            "Reliability needs at least 2 repetitions of at least 2 stimuli; there are "
            f"{repeated} of {moments.n_stimuli} stimuli."
        )
    return moments
