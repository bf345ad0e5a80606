"""How much of a measurement repeats: explainable variance, noise ceilings, split-half reliability.

Everything takes trials, an array (n_repetitions, n_stimuli, n_targets), or their moments, which can be gathered
block by block where the trials don't fit into memory. Sums are in float64. A target with NaN, or without
variance, has no reliability: NaN.
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError, check_count, is_between
from neurolens.numerics.components import variance_components
from neurolens.numerics.moments import FloatArray, Moments, Trials, UnequalMoments, as_moments, is_constant

__all__ = [
    "count_repetitions",
    "explainable_variance",
    "half_splits",
    "noise_ceiling",
    "spearman_brown",
    "split_half",
]


def explainable_variance(data: Trials) -> NDArray[np.float64]:
    """Estimate the share of a single trial's variance over stimuli that repeats.

    With R repetitions, ``EV = var(mean over repetitions) / mean(var of each repetition)`` and
    ``c1 = EV - (1 - EV) / (R - 1)``, which is unbiased by the noise left in the mean. Where stimuli have
    different numbers of repetitions it is signal / (signal + noise), by `variance_components`.

    Parameters
    ----------
    data
        Array, shape (n_repetitions, n_stimuli, n_targets), or moments of one.

    Returns
    -------
    array, shape (n_targets,), float64
        At most 1; for pure noise about 0, and as often negative as positive.

    Raises
    ------
    InputError
        If there are fewer than 2 repetitions or 2 stimuli.

    References
    ----------
    Sahani and Linden, "How linear are auditory cortical responses?", NeurIPS 2002.
    Hsu, Borst and Theunissen, Network 2004, doi:10.1088/0954-898X_15_2_002.

    Examples
    --------
    >>> import numpy as np
    >>> signal = np.random.default_rng(0).normal(size=(1, 50, 1))
    >>> explainable_variance(np.repeat(signal, 3, axis=0)).round(6).tolist()
    [1.0]
    """
    moments = as_moments(data)
    if isinstance(moments, UnequalMoments):
        signal, noise = variance_components(moments)
        total = signal + noise
        return np.divide(signal, total, out=np.full_like(total, np.nan), where=total > 0)
    n_repetitions = len(moments.mean)
    of_mean = moments.comoment.mean(axis=(0, 1))
    of_trial = np.einsum("rrt->t", moments.comoment) / n_repetitions
    of_trial[is_constant(moments)] = np.nan
    ev = of_mean / of_trial
    corrected: NDArray[np.float64] = ev - (1 - ev) / (n_repetitions - 1)
    return corrected


def spearman_brown(reliability: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Predict the reliability of a measurement made `factor` times longer: ``k r / (1 + (k - 1) r)``.

    Parameters
    ----------
    reliability
        Array of any shape: reliability of one measurement.
    factor
        k, how many such measurements are averaged.

    Returns
    -------
    array, same shape, float64
        NaN where the denominator is not positive: such a negative reliability has no meaning for the mean.

    References
    ----------
    Spearman, British Journal of Psychology 1910, doi:10.1111/j.2044-8295.1910.tb00206.x.

    Examples
    --------
    >>> import numpy as np
    >>> spearman_brown(np.array([0.5]), 2).round(4).tolist()
    [0.6667]
    """
    below = 1 + (factor - 1) * np.asarray(reliability, dtype=np.float64)
    return np.divide(
        factor * np.asarray(reliability, dtype=np.float64),
        below,
        out=np.full_like(below, np.nan),
        where=below > 1e-12,
    )


def noise_ceiling(data: Trials, *, n_averaged: float | None = None) -> NDArray[np.float64]:
    """Estimate the largest r² that any model can reach with the mean of some repetitions.

    ``c = k c1 / (1 + (k - 1) c1)``, with c1 the explainable variance of a single trial and k = `n_averaged`.

    Parameters
    ----------
    data
        Array, shape (n_repetitions, n_stimuli, n_targets), or moments of one.
    n_averaged
        How many trials the scored response is the mean of; by default all of them, where numbers differ their
        harmonic mean.

    Returns
    -------
    array, shape (n_targets,), float64
        In units of r², never capped: estimates for noise scatter about 0 and may be very negative. NaN where
        the mean over repetitions does not vary.

    Raises
    ------
    InputError
        If there are fewer than 2 repetitions or 2 stimuli, or `n_averaged` is below 1.

    References
    ----------
    Schoppe et al., Frontiers in Computational Neuroscience 2016, doi:10.3389/fncom.2016.00010.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> data = rng.normal(size=(1, 5000, 1)) + rng.normal(size=(4, 5000, 1))
    >>> abs(noise_ceiling(data)[0] - 0.8) < 0.02
    np.True_
    """
    moments = as_moments(data)
    factor = choose_averaged(n_averaged, moments)
    return spearman_brown(explainable_variance(moments), factor)


def choose_averaged(n_averaged: float | None, moments: Moments | UnequalMoments) -> float:
    """Return how many trials a response is the mean of: as many as there are, where None are given."""
    if n_averaged is None:
        return count_repetitions(moments)
    if not (is_between(n_averaged, 0, np.inf) and n_averaged >= 1):
        raise InputError(f"n_averaged={n_averaged!r}: a response is the mean of at least 1 trial.")
    return n_averaged


def count_repetitions(moments: Moments | UnequalMoments) -> float:
    """Give the number of repetitions, where numbers differ their harmonic mean."""
    if isinstance(moments, Moments):
        return len(moments.mean)
    return moments.n_stimuli / moments.inverse


def split_half(data: FloatArray | Moments, *, n_splits: int = 100, seed: int = 0) -> NDArray[np.float64]:
    """Estimate the reliability of the mean of all repetitions from correlations of halves.

    Two disjoint halves of h = floor(R / 2) repetitions are averaged and correlated over stimuli; the
    correlation is averaged over splits, and then ``k r / (1 + (k - 1) r)`` with k = R / h.

    Parameters
    ----------
    data
        Array, shape (n_repetitions, n_stimuli, n_targets), or moments of one.
    n_splits
        How many random splits; where there are no more different ones than that, each is used once.
    seed
        Of the random splits.

    Returns
    -------
    array, shape (n_targets,), float64
        In units of r². NaN where a half does not vary.

    Raises
    ------
    InputError
        If there are fewer than 2 repetitions or 2 stimuli, or `n_splits` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> signal = np.random.default_rng(0).normal(size=(1, 50, 1))
    >>> split_half(np.repeat(signal, 4, axis=0)).round(6).tolist()
    [1.0]
    """
    moments = as_moments(data)
    if isinstance(moments, UnequalMoments):
        raise InputError("Halves need the same number of repetitions for every stimulus.")
    check_count(n_splits, "n_splits")
    n_repetitions = len(moments.mean)
    half = n_repetitions // 2
    splits = half_splits(n_repetitions, n_splits, seed)
    total = np.zeros(moments.mean.shape[1])
    for first, second in splits:
        total += _correlate(moments, first, second)
    return spearman_brown(total / len(splits), n_repetitions / half)


def half_splits(
    n_repetitions: int, n_splits: int, seed: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """List pairs of disjoint halves of ``floor(n_repetitions / 2)`` repetitions.

    Parameters
    ----------
    n_repetitions
        At least 2.
    n_splits
        How many to draw; where no more different ones exist, all are listed, each once.
    seed
        Of the draw.

    Returns
    -------
    list of pairs of tuples of int

    Examples
    --------
    >>> half_splits(3, 100, 0)
    [((0,), (1,)), ((0,), (2,)), ((1,), (2,))]
    """
    half = n_repetitions // 2
    n_different = comb(n_repetitions, half) * comb(n_repetitions - half, half) // 2
    if n_different <= n_splits:
        return [
            (first, second)
            for first in combinations(range(n_repetitions), half)
            for second in combinations(sorted(set(range(n_repetitions)) - set(first)), half)
            if first < second
        ]
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(n_repetitions).tolist() for _ in range(n_splits)]
    return [(tuple(order[:half]), tuple(order[half : 2 * half])) for order in orders]


def _correlate(moments: Moments, first: tuple[int, ...], second: tuple[int, ...]) -> NDArray[np.float64]:
    """Pearson r over stimuli of two means over repetitions, shape (n_targets,)."""
    comoment = moments.comoment

    def add_up(rows: tuple[int, ...], columns: tuple[int, ...]) -> NDArray[np.float64]:
        block: NDArray[np.float64] = comoment[np.ix_(rows, columns)].sum(axis=(0, 1))
        return block

    squares = [(add_up(half, half), np.abs(comoment[half, half]).sum(axis=0)) for half in (first, second)]
    flat = np.any([own <= 1e-13 * largest for own, largest in squares], axis=0)  # repetitions that cancel
    norm = np.sqrt(np.maximum(squares[0][0], 0) * np.maximum(squares[1][0], 0))
    r: NDArray[np.float64] = np.divide(
        add_up(first, second), norm, out=np.full_like(norm, np.nan), where=~flat & (norm > 0)
    )
    return r
