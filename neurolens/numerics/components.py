"""Components of variance: what differs between stimuli, and what differs between trials of one stimulus."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurolens.errors import InputError
from neurolens.numerics.moments import FloatArray, Moments, Trials, as_moments, is_constant

__all__ = ["effective_repetitions", "estimate_ncsnr", "ncsnr_ceiling", "variance_components"]


def variance_components(data: Trials) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate the variance of stimuli and that of trials about them, for any numbers of repetitions.

    ``noise = sum of squares about each stimulus' mean / sum(R_s - 1)``, and
    ``signal = var(means, ddof=1) - noise * mean(1 / R_s)``: the means still hold that much noise.

    Parameters
    ----------
    data
        Array, shape (n_repetitions, n_stimuli, n_targets), or moments of one.

    Returns
    -------
    signal, noise : array, shape (n_targets,), float64
        In squared units of the data. Signal is unbiased, hence negative at times; NaN for a constant target.

    Raises
    ------
    InputError
        If no stimulus was repeated, or there are fewer than 2.

    References
    ----------
    Searle, Casella and McCulloch, Variance Components, 1992, doi:10.1002/9780470316856.

    Examples
    --------
    >>> import numpy as np
    >>> signal, noise = variance_components(np.array([[[0.0], [4.0]], [[2.0], [6.0]]]))
    >>> signal.tolist(), noise.tolist()
    ([7.0], [2.0])
    """
    moments = as_moments(data)
    if isinstance(moments, Moments):
        n_repetitions, n = len(moments.mean), moments.n_stimuli
        total = np.einsum("rrt->t", moments.comoment)
        between = moments.comoment.mean(axis=(0, 1))
        offsets = n * np.square(moments.mean - moments.mean.mean(axis=0)).sum(axis=0)
        within = np.maximum(total - n_repetitions * between, 0) + offsets
        noise = within / (n * (n_repetitions - 1))
        signal = between / (n - 1) - noise / n_repetitions
    else:
        noise = moments.within / moments.n_degrees
        signal = moments.between / (moments.n_stimuli - 1) - noise * moments.inverse / moments.n_stimuli
    flat = is_constant(moments)
    return np.where(flat, np.nan, signal), np.where(flat, np.nan, noise)


def estimate_ncsnr(data: Trials) -> NDArray[np.float64]:
    """Estimate the noise ceiling signal-to-noise ratio: standard deviation of the signal / that of the noise.

    Parameters
    ----------
    data
        Array, shape (n_repetitions, n_stimuli, n_targets), or moments of one.

    Returns
    -------
    array, shape (n_targets,), float64
        0 where the estimated signal is negative; NaN for a constant target.

    Raises
    ------
    InputError
        As `variance_components`.

    References
    ----------
    Allen et al., Nature Neuroscience 2022, doi:10.1038/s41593-021-00962-x.

    Examples
    --------
    >>> import numpy as np
    >>> estimate_ncsnr(np.array([[[0.0], [4.0]], [[2.0], [6.0]]])).round(3).tolist()
    [1.871]
    """
    signal, noise = variance_components(data)
    ratio = np.divide(
        np.maximum(signal, 0),
        noise,
        out=np.where(signal > 0, np.inf, np.full_like(noise, np.nan)),
        where=noise > 0,
    )
    root: NDArray[np.float64] = np.sqrt(ratio)
    return root


def ncsnr_ceiling(ncsnr: FloatArray, counts: ArrayLike) -> NDArray[np.float64]:
    """Turn a noise ceiling signal-to-noise ratio into the largest r² with means of some trials.

    ``c = ncsnr² / (ncsnr² + f)``, with f the mean over stimuli of 1 / number of trials; with A, B and C stimuli
    seen 1, 2 and 3 times, ``f = (A + B/2 + C/3) / (A + B + C)``.

    Parameters
    ----------
    ncsnr
        Array of any shape, at least 0.
    counts
        How many trials are averaged: one number, or one for each stimulus.

    Returns
    -------
    array, same shape, float64
        In units of r², from 0 to 1.

    Raises
    ------
    InputError
        If a ratio is negative or a count is below 1.

    References
    ----------
    Allen et al., Nature Neuroscience 2022, doi:10.1038/s41593-021-00962-x.

    Examples
    --------
    >>> import numpy as np
    >>> ncsnr_ceiling(np.array([1.0]), 3).tolist(), ncsnr_ceiling(np.array([1.0]), [1, 3]).round(9).tolist()
    ([0.75], [0.6])
    """
    ratio = np.asarray(ncsnr, dtype=np.float64)
    if (ratio < 0).any():
        raise InputError(
            f"ncsnr holds {int((ratio < 0).sum())} negative values (least {np.nanmin(ratio):.3g}), but it is a "
            "ratio of standard deviations. Give the ncsnr itself, not its logarithm or a z-score."
        )
    power = np.square(ratio)
    known = np.isfinite(power)
    ceiling = np.where(known, power, 1) / np.where(known, power + 1 / effective_repetitions(counts), 1)
    return np.where(np.isnan(ratio), np.nan, ceiling)


def effective_repetitions(counts: ArrayLike) -> float:
    """Give the harmonic mean of numbers of trials: what averaging them is worth.

    Parameters
    ----------
    counts
        One number, or one for each stimulus; each at least 1.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If a count is below 1.

    Examples
    --------
    >>> effective_repetitions([1, 3])
    1.5
    """
    numbers = np.atleast_1d(np.asarray(counts, dtype=np.float64))
    if numbers.size == 0 or not (numbers >= 1).all():
        raise InputError(f"Numbers of trials must be at least 1; got {counts!r}.")
    return float(1 / np.mean(1 / numbers))
