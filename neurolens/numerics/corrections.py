"""Corrections of p-values for many tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from neurolens.errors import InputError

__all__ = ["CORRECTIONS", "Correction", "control_familywise", "control_fdr", "correct_by_maximum"]

Array = NDArray[np.float64]
Correction = Literal["max", "bh"]
CORRECTIONS = ("max", "bh")
ROUNDING = 1e-9  # a null value equal to the observed one must count as >= in spite of rounding


def control_fdr(p: NDArray[Any]) -> Array:
    """Adjust p-values by Benjamini and Hochberg, so that those <= q hold the false discovery rate at q.

    Parameters
    ----------
    p
        array, shape (n_tests, ...): each column is a family of its own; NaN is no test.

    Returns
    -------
    ndarray
        same shape, float64; NaN where p is.

    References
    ----------
    Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57:289, doi:10.1111/j.2517-6161.1995.tb02031.x.

    Examples
    --------
    >>> control_fdr(np.array([0.01, 0.04, 0.03, np.nan])).round(3).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    return _by_column(p, lambda known: np.asarray(false_discovery_control(known)))


def control_familywise(p: NDArray[Any]) -> Array:
    """Adjust p-values by Holm's step-down rule: valid under any dependence of the tests.

    Parameters
    ----------
    p
        array, shape (n_tests, ...): each column is a family of its own; NaN is no test.

    Returns
    -------
    ndarray
        same shape, float64; NaN where p is.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6:65, https://www.jstor.org/stable/4615733.

    Examples
    --------
    >>> control_familywise(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    return _by_column(p, _adjust_holm)


def _adjust_holm(known: Array) -> Array:
    order = np.argsort(known, kind="stable")
    scaled = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
    adjusted = np.empty_like(known)
    adjusted[order] = np.minimum(scaled, 1)
    return adjusted


def _by_column(p: NDArray[Any], adjust: Callable[[Array], Array]) -> Array:
    p = np.asarray(p, dtype=np.float64)
    _check_probabilities(p)
    adjusted = np.full(p.shape, np.nan)
    columns, out = p.reshape(len(p), -1).T, adjusted.reshape(len(p), -1)
    for i, column in enumerate(columns):
        known = ~np.isnan(column)
        if known.any():
            out[known, i] = adjust(column[known])
    return adjusted


def _check_probabilities(p: Array) -> None:
    bad = p[(p < 0) | (p > 1)]
    if bad.size:
        raise InputError(f"p-values lie between 0 and 1; got {bad.flat[0]!r}.")


def correct_by_maximum(observed: NDArray[Any], null: NDArray[Any]) -> Array:
    """Compare each observed statistic with the null distribution of the largest of all.

    ``p = (1 + #{max over tests of null >= observed}) / (1 + N)``: the family-wise error is held whatever the
    dependence of the tests, if one resampling made all entries of a row together.

    Parameters
    ----------
    observed
        array, shape (n_tests, ...); a NaN has no p.
    null
        array, shape (n_resamplings, n_tests, ...): the same statistics under the null hypothesis. The
        maximum is taken over `n_tests`, NaN left out.

    Returns
    -------
    ndarray
        shape of `observed`, float64.

    References
    ----------
    Nichols & Holmes (2002), Human Brain Mapping 15:1, doi:10.1002/hbm.1058.

    Examples
    --------
    >>> correct_by_maximum(np.array([3.0, 1.0]), np.array([[0.0, 2.0], [1.0, 0.5], [0.1, 0.2]])).tolist()
    [0.25, 0.75]
    """
    observed, null = np.asarray(observed, dtype=np.float64), np.asarray(null, dtype=np.float64)
    if null.ndim != observed.ndim + 1 or null.shape[1:] != observed.shape or len(null) < 1:
        raise InputError(
            f"The null distribution must have shape (n_resamplings, {', '.join(map(str, observed.shape))}); "
            f"got {null.shape}."
        )
    largest = np.fmax.reduce(null, axis=1)[:, None]
    count = (largest >= observed - ROUNDING).sum(axis=0)
    p: Array = np.where(np.isnan(observed), np.nan, (1 + count) / (1 + len(null)))
    return p
