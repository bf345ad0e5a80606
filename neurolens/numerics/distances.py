"""Dissimilarities between the patterns of stimuli: arrays in, arrays out.

Every metric here is a squared Euclidean distance between shifted and scaled patterns, summed block by block
of features. Before each block enters the Gram matrix its mean over stimuli is removed: distances do not
change, and what all stimuli share (an offset, a common pattern) can no longer eat the digits of float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError, check_choice

Array = NDArray[Any]
Metric = Literal["correlation", "cosine", "euclidean", "sqeuclidean"]

BLOCK_VALUES = 2**20  # values in one block of features: 8 MB of float64, near the cache


@dataclass(frozen=True)
class Dissimilarity:
    """One way to measure how different two patterns are."""

    distances: Callable[[Array], Array]
    undefined: Callable[[Array], NDArray[np.bool_]]
    reason: str  # what is wrong with a pattern that has no distance: "stimulus 'a' is ..."


def compute_rdm(patterns: Array, metric: Metric = "correlation") -> Array:
    """Compute the dissimilarity of every two patterns.

    Parameters
    ----------
    patterns
        array, shape (n_stimuli, n_features), real. float16 and float32 are multiplied in float32 with sums in
        float64; anything else in float64.
    metric
        "correlation" is 1 - Pearson r, "cosine" is 1 - cosine, "sqeuclidean" the sum of squared differences,
        "euclidean" its root.

    Returns
    -------
    ndarray
        shape (n_stimuli, n_stimuli), float32 for float16 and float32 input, else float64; symmetric, zero
        diagonal. Entries of a pattern without a distance (see `find_undefined`) are NaN.

    Raises
    ------
    InputError
        If the metric is not known or `patterns` is not a real matrix.

    Examples
    --------
    >>> compute_rdm(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    array([[0., 2.],
           [2., 0.]])
    """
    check_choice(metric, METRICS, "metric")
    _check_patterns(patterns)
    defined = np.flatnonzero(~find_undefined(patterns, metric))
    n_stimuli = patterns.shape[0]
    out = np.full((n_stimuli, n_stimuli), np.nan)
    kept = patterns if len(defined) == n_stimuli else patterns[defined]
    if len(defined):
        out[np.ix_(defined, defined)] = METRICS[metric].distances(kept)
    np.fill_diagonal(out, 0.0)
    return out.astype(_work_dtype(patterns), copy=False)


def find_undefined(patterns: Array, metric: Metric = "correlation") -> NDArray[np.bool_]:
    """Find the patterns that have no distance to any other.

    Parameters
    ----------
    patterns
        array, shape (n_stimuli, n_features).
    metric
        For every metric a pattern with NaN or infinite values; for "correlation" also a constant one, for
        "cosine" also one that is zero throughout.

    Returns
    -------
    ndarray of bool
        shape (n_stimuli,).
    """
    check_choice(metric, METRICS, "metric")
    return METRICS[metric].undefined(patterns)


def _check_patterns(patterns: Array) -> None:
    if patterns.ndim != 2 or patterns.shape[1] == 0:
        raise InputError(
            f"Patterns must be a matrix (n_stimuli, n_features) with features; got shape {patterns.shape}. "
            "Flatten all dims but the stimuli into one: array.reshape(n_stimuli, -1)."
        )
    if patterns.dtype.kind not in "fiub":
        raise InputError(
            f"Patterns must be real numbers; got dtype {patterns.dtype}. For complex values choose a part: "
            "abs(array), array.real ..."
        )


def _work_dtype(patterns: Array) -> np.dtype[Any]:
    """Float32 for what came as float32 or less, so that a large matrix product costs half."""
    small = patterns.dtype.kind == "f" and patterns.dtype.itemsize <= 4
    return np.dtype(np.float32 if small else np.float64)


def _blocks(patterns: Array) -> Iterator[Array]:
    """Walk over the features in float64 blocks, so that no copy of all patterns is ever made."""
    n_stimuli, n_features = patterns.shape
    width = max(BLOCK_VALUES // n_stimuli, min(n_stimuli, 1024), 1)
    for start in range(0, n_features, width):
        yield patterns[:, start : start + width].astype(np.float64)


def _squared_distances(patterns: Array, *, shift: Array, scale: Array) -> Array:
    """Squared distances of (pattern - shift) / scale, in float64 but for the products."""
    n_stimuli = patterns.shape[0]
    dtype = _work_dtype(patterns)
    gram = np.zeros((n_stimuli, n_stimuli))
    for block in _blocks(patterns):
        block -= shift[:, None]
        block /= scale[:, None]
        block -= block.mean(axis=0)
        small = block.astype(dtype, copy=False)
        gram += small @ small.T
    norms = np.diag(gram)
    squared: Array = np.maximum(norms[:, None] + norms[None, :] - 2 * gram, 0.0)
    np.fill_diagonal(squared, 0.0)
    return squared


def _norms(patterns: Array, shift: Array) -> Array:
    total = np.zeros(patterns.shape[0])
    for block in _blocks(patterns):
        block -= shift[:, None]
        total += np.einsum("ij,ij->i", block, block)
    norms: Array = np.sqrt(total)
    return norms


def _means(patterns: Array) -> Array:
    total = np.zeros(patterns.shape[0])
    for block in _blocks(patterns):
        total += block.sum(axis=1)
    means: Array = total / patterns.shape[1]
    return means


def _correlation(patterns: Array) -> Array:
    shift = _means(patterns)
    return _squared_distances(patterns, shift=shift, scale=_norms(patterns, shift)) / 2


def _cosine(patterns: Array) -> Array:
    shift = np.zeros(patterns.shape[0])
    return _squared_distances(patterns, shift=shift, scale=_norms(patterns, shift)) / 2


def _sqeuclidean(patterns: Array) -> Array:
    # One common scale keeps squares of very large and very small values inside float32.
    largest = max([float(np.abs(block).max()) for block in _blocks(patterns)]) or 1.0
    n_stimuli = patterns.shape[0]
    squared = _squared_distances(patterns, shift=np.zeros(n_stimuli), scale=np.full(n_stimuli, largest))
    squared *= largest**2
    return squared


def _euclidean(patterns: Array) -> Array:
    distances: Array = np.sqrt(_sqeuclidean(patterns))
    return distances


def _not_finite(patterns: Array) -> NDArray[np.bool_]:
    bad = np.zeros(patterns.shape[0], dtype=bool)
    for block in _blocks(patterns):
        bad |= ~np.isfinite(block).all(axis=1)
    return bad


def _constant(patterns: Array) -> NDArray[np.bool_]:
    constant: NDArray[np.bool_] = (patterns == patterns[:, :1]).all(axis=1)
    return _not_finite(patterns) | constant


def _zero(patterns: Array) -> NDArray[np.bool_]:
    return _not_finite(patterns) | ~patterns.any(axis=1)


METRICS: dict[str, Dissimilarity] = {
    "correlation": Dissimilarity(_correlation, _constant, "constant or not finite"),
    "cosine": Dissimilarity(_cosine, _zero, "zero throughout or not finite"),
    "euclidean": Dissimilarity(_euclidean, _not_finite, "not finite"),
    "sqeuclidean": Dissimilarity(_sqeuclidean, _not_finite, "not finite"),
}
