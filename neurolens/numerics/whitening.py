"""Whitening of dissimilarities: distances that share a stimulus share its noise.

The covariance of the distances of n stimuli is V = (C S C') o (C S C') up to a factor, where S (n x n) is the
covariance of the stimulus estimates and each row of C takes the difference of a pair. V has about n^4 / 4
entries; nothing here needs it but for incomplete sets of pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from neurolens.errors import InputError
from neurolens.numerics.covariance import factor_covariance
from neurolens.numerics.factors import cholesky, solve_lower

Array = NDArray[np.float64]

MAX_INCOMPLETE = 10_000  # pairs whose V is written out: 800 MB


def count_stimuli(n_pairs: int) -> int:
    """Return how many stimuli have `n_pairs` pairs; raise InputError where no number has.

    Examples
    --------
    >>> count_stimuli(45)
    10
    """
    n_stimuli = int((1 + np.sqrt(1 + 8 * n_pairs)) / 2 + 0.5)
    if n_stimuli * (n_stimuli - 1) // 2 != n_pairs:
        raise InputError(
            f"{n_pairs} values are not the pairs of any number of stimuli (n (n - 1) / 2). Whitened measures need "
            "all pairs, or to be told which pairs are there."
        )
    return n_stimuli


def whiten_equal(vectors: NDArray[Any]) -> Array:
    """Multiply by V^-1/2 for S = identity, up to a factor.

    V then has three eigenvalues: 2 n on the mean, n on what is a sum of one value for each stimulus, 2 on the
    rest. So whitening is two averages, and permuting stimuli permutes its result.

    Parameters
    ----------
    vectors
        array, shape (n_vectors, n_pairs), all pairs of n stimuli, row by row.

    Returns
    -------
    ndarray
        shape (n_vectors, n_pairs), float64.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    n_pairs = vectors.shape[1]
    n = count_stimuli(n_pairs)
    if n < 3:
        return np.asarray(vectors / np.sqrt(2 * n))
    incidence = _incidence(n)
    mean = vectors.mean(axis=1, keepdims=True)
    of_stimulus = ((incidence.T @ vectors.T).T - (n - 1) * mean) / (n - 2)
    additive = (incidence @ of_stimulus.T).T
    rest = vectors - mean - additive
    whitened: Array = mean / np.sqrt(2 * n) + additive / np.sqrt(n) + rest / np.sqrt(2)
    return whitened


def _incidence(n: int) -> csr_array:
    """Which two stimuli each pair has, shape (n_pairs, n)."""
    rows, columns = np.triu_indices(n, 1)
    stimuli = np.stack([rows, columns], axis=1).ravel()
    return csr_array((np.ones(len(stimuli)), stimuli, np.arange(0, len(stimuli) + 1, 2)), (len(rows), n))


def whiten_by_covariance(vectors: NDArray[Any], covariance: NDArray[Any]) -> Array:
    """Whiten for any covariance S of the stimulus estimates, without V.

    u = S^-1 1 / (1' S^-1 1), G = (I - 1 u')(-D / 2)(I - u 1'), S^-1 = L L': the result is vec(L' G L), whose
    inner products are those of V^-1, up to a factor.

    Parameters
    ----------
    vectors
        array, shape (n_vectors, n_pairs), all pairs of n stimuli, row by row.
    covariance
        array, shape (n, n), positive definite.

    Returns
    -------
    ndarray
        shape (n_vectors, n * n), float64.
    """
    n = count_stimuli(vectors.shape[1])
    covariance = np.asarray(covariance, dtype=np.float64)
    check_covariance(covariance, n)
    lower = factor_covariance(covariance, "The covariance of stimuli")
    inverse_root = solve_lower(lower, np.eye(n))  # S^-1 = R' R, so L = R'
    ones = inverse_root @ np.ones(n)
    weights = inverse_root.T @ ones / (ones @ ones)
    # L' G L = A (-D / 2) A' with A = R (I - 1 u')
    transform = inverse_root - np.outer(ones, weights)
    rows, columns = np.triu_indices(n, 1)
    whitened = np.empty((len(vectors), n * n))
    square = np.zeros((n, n))
    for vector, out in zip(vectors, whitened, strict=True):
        square[rows, columns] = square[columns, rows] = vector
        out[:] = (transform @ square @ transform.T).ravel()
    whitened /= -2
    return whitened


def whiten_incomplete(
    vectors: NDArray[Any], kept: NDArray[np.bool_], covariance: NDArray[Any] | None
) -> Array:
    """Whiten where some pairs are missing, by the part of V that belongs to the kept ones.

    Parameters
    ----------
    vectors
        array, shape (n_vectors, n_kept).
    kept
        array of bool, shape (n_pairs,): which of all pairs the vectors hold.
    covariance
        array, shape (n, n), or None for the identity.

    Returns
    -------
    ndarray
        shape (n_vectors, n_kept), float64.

    Raises
    ------
    InputError
        If too many pairs are kept to write V out.
    """
    n = count_stimuli(len(kept))
    n_kept = int(kept.sum())
    if n_kept > MAX_INCOMPLETE:
        raise InputError(
            f"Whitening {n_kept:,} of {len(kept):,} pairs needs a matrix of {n_kept:,} x {n_kept:,}; at most "
            f"{MAX_INCOMPLETE:,} pairs are whitened so. Leave out whole stimuli, so that all pairs of the others are "
            "there, or use a measure without whitening."
        )
    covariance = np.eye(n) if covariance is None else np.asarray(covariance, dtype=np.float64)
    check_covariance(covariance, n)
    factor_covariance(covariance, "The covariance of stimuli")
    rows, columns = (side[kept] for side in np.triu_indices(n, 1))
    by_pair = covariance[rows] - covariance[columns]
    contrast = by_pair[:, rows] - by_pair[:, columns]
    lower = cholesky(contrast**2)
    whitened: Array = solve_lower(lower, vectors.T).T
    return whitened


def check_covariance(covariance: NDArray[Any], n_stimuli: int) -> None:
    """Raise InputError unless a covariance of stimuli has the right shape."""
    if covariance.shape != (n_stimuli, n_stimuli):
        raise InputError(
            f"The covariance of stimuli has shape {covariance.shape}; there are {n_stimuli} stimuli, so it must be "
            f"({n_stimuli}, {n_stimuli}). Of variances alone make a matrix: np.diag(variances)."
        )
