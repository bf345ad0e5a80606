"""Dissimilarities of patterns with missing features: each pair over the features that both have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError, check_choice
from neurolens.numerics.distances import Metric, Normalize, check_options, check_patterns
from neurolens.numerics.gram import work_dtype

Array = NDArray[Any]


class _Sums:
    """Sums over the features that both stimuli of a pair have, each of shape (n_stimuli, n_stimuli)."""

    def __init__(self, patterns: Array, shift: Array) -> None:
        values = patterns.astype(np.float64) - shift
        present = np.isfinite(values)
        values[~present] = 0
        mask = present.astype(np.float64)
        self.count = mask @ mask.T
        self.own = values @ mask.T  # [i, j]: sum of i's values where j has one too
        self.squares = values**2 @ mask.T
        self.products = values @ values.T


def compute_incomplete_rdm(
    patterns: Array, metric: Metric = "correlation", *, normalize: Normalize = "none"
) -> tuple[Array, NDArray[np.intp]]:
    """Compute dissimilarities over the features that both patterns of a pair have.

    Parameters
    ----------
    patterns
        array, shape (n_stimuli, n_features), real; NaN or infinite values are missing.
    metric
        "correlation" and "cosine" over the common features; "sqeuclidean" sums over them, times n_features /
        n_common, so that pairs with few common features stay comparable; "euclidean" is its root.
    normalize
        "features" divides "sqeuclidean" by n_features.

    Returns
    -------
    distances : ndarray
        shape (n_stimuli, n_stimuli), float32 for float16 and float32 input, else float64; symmetric, zero
        diagonal. NaN where fewer than 2 features ("correlation") or none are common, or one of the patterns is
        constant ("correlation") or zero ("cosine") on them.
    n_common : ndarray of int
        shape (n_stimuli, n_stimuli): features that both have.

    Raises
    ------
    InputError
        If the metric has no such form.
    """
    check_choice(metric, FORMS, "metric of incomplete patterns")
    check_options(metric, normalize, None)
    check_patterns(patterns)
    with np.errstate(invalid="ignore", divide="ignore"):
        distances, count = FORMS[metric](patterns)
        if normalize == "features":
            distances /= patterns.shape[1] if metric == "sqeuclidean" else np.sqrt(patterns.shape[1])
    np.fill_diagonal(distances, 0.0)
    return distances.astype(work_dtype(patterns.dtype), copy=False), count.astype(np.intp)


def _known_mean(patterns: Array, axis: int) -> Array:
    """Mean over what is there, zero where nothing is: any shift will do, this one keeps digits."""
    present = np.isfinite(patterns)
    total = np.where(present, patterns, 0).sum(axis=axis, keepdims=True, dtype=np.float64)
    mean: Array = total / np.maximum(present.sum(axis=axis, keepdims=True), 1)
    return mean


def _correlation(patterns: Array) -> tuple[Array, Array]:
    sums = _Sums(patterns, _known_mean(patterns, 1))
    covariance = sums.products - sums.own * sums.own.T / sums.count
    variance = sums.squares - sums.own**2 / sums.count
    variance[variance <= 1e-14 * sums.squares] = np.nan  # constant on the common features, but for rounding
    return 1 - np.clip(covariance / np.sqrt(variance * variance.T), -1, 1), sums.count


def _cosine(patterns: Array) -> tuple[Array, Array]:
    sums = _Sums(patterns, np.zeros(1))
    return 1 - np.clip(sums.products / np.sqrt(sums.squares * sums.squares.T), -1, 1), sums.count


def _sqeuclidean(patterns: Array) -> tuple[Array, Array]:
    sums = _Sums(patterns, _known_mean(patterns, 0))
    squared = np.maximum(sums.squares + sums.squares.T - 2 * sums.products, 0.0)
    return squared * (patterns.shape[1] / sums.count), sums.count


def _euclidean(patterns: Array) -> tuple[Array, Array]:
    squared, count = _sqeuclidean(patterns)
    return np.sqrt(squared), count


FORMS: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "correlation": _correlation,
    "cosine": _cosine,
    "euclidean": _euclidean,
    "sqeuclidean": _sqeuclidean,
}


def refuse_incomplete(metric: Metric) -> None:
    """Raise InputError where a metric has no form for missing features."""
    if metric not in FORMS:
        raise InputError(
            f"missing='pairwise' has no meaning for metric={metric!r}: a part of a whitened pattern or of a rate has "
            f"no distance. Drop the features that some stimuli miss, or use one of {', '.join(FORMS)}."
        )
