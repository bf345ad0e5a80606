"""Cross-validated Mahalanobis distances: unbiased, since noise is independent between runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError
from neurolens.numerics.covariance import whiten
from neurolens.numerics.distances import check_patterns
from neurolens.numerics.gram import Tile, sum_products, walk_columns, work_dtype

Array = NDArray[Any]


def compute_crossnobis(
    patterns: Array, *, noise: Array | None = None, device: str | None = None
) -> tuple[Array, NDArray[np.intp]]:
    """Compute cross-validated squared Mahalanobis distances over runs.

    K = (T S^-1 T' - sum_m Y_m S^-1 Y_m') / (M (M - 1)), T = sum_m Y_m over the M runs;
    d_ij = (K_ii + K_jj - 2 K_ij) / n_features: the mean, over all pairs of different runs, of products of the
    same difference. Its expected value is the distance without noise; it may be negative. Of two stimuli, the
    runs that have both count.

    Parameters
    ----------
    patterns
        array, shape (n_runs, n_stimuli, n_features), real. A stimulus that a run does not have is NaN there.
    noise
        array, shape (n_features, n_features), the covariance S, or (n_features,), variances; None: the
        identity.
    device
        Where products are made: None (numpy), or a device of torch.

    Returns
    -------
    distances : ndarray
        shape (n_stimuli, n_stimuli), float32 for float16 and float32 input, else float64; symmetric, zero
        diagonal; NaN for two stimuli that fewer than two runs have in common.
    n_runs : ndarray of int
        shape (n_stimuli, n_stimuli): how many runs each distance rests on.

    Raises
    ------
    InputError
        If there are fewer than two runs, or the covariance does not fit or is not positive definite.

    References
    ----------
    Walther et al. (2016), NeuroImage 137:188, doi:10.1016/j.neuroimage.2015.12.012.
    Diedrichsen et al. (2021), Neurons, Behavior, Data analysis, and Theory 5, doi:10.51628/001c.27664.

    Examples
    --------
    >>> runs = np.array([[[0.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [4.0, 1.0]]])
    >>> compute_crossnobis(runs)[0]
    array([[0., 4.],
           [4., 0.]])
    """
    check_patterns(patterns, 3)
    n_runs, n_stimuli, n_features = patterns.shape
    if n_runs < 2:
        raise InputError(
            f"metric='crossnobis' multiplies differences of different runs and needs at least 2; there are {n_runs}."
        )
    with np.errstate(invalid="ignore"):
        total = _multiply_runs(patterns, noise, device)
    present = np.ones((n_runs, n_stimuli), dtype=bool)
    if not np.isfinite(total).all():  # a missing value spoils the mean pattern, and so every stimulus
        present = np.asarray(np.isfinite(patterns).all(axis=2))
    ones = present.astype(np.intp)
    counts: NDArray[np.intp] = ones.T @ ones
    if present.all():
        norms = np.diag(total)
        distances = norms[:, None] + norms[None, :] - 2 * total
    else:
        distances = _sum_over_common_runs(_prepare(patterns, noise, present), present, device)
    with np.errstate(invalid="ignore", divide="ignore"):
        distances /= counts * (counts - 1.0) * n_features
    distances[counts < 2] = np.nan
    np.fill_diagonal(distances, 0.0)
    return distances.astype(work_dtype(patterns.dtype), copy=False), counts


def _multiply_runs(patterns: Array, noise: Array | None, device: str | None) -> Array:
    """Sum the products of all pairs of different runs, holding one prepared run at a time."""
    dtype = work_dtype(patterns.dtype)
    if noise is not None:
        patterns = _whiten(patterns - patterns.mean(axis=1, keepdims=True, dtype=np.float64), noise)
    _, n_stimuli, n_features = patterns.shape
    centred = np.empty((n_stimuli, n_features), dtype)
    total, within = np.zeros_like(centred), np.zeros((n_stimuli, n_stimuli))
    for run in patterns:
        np.subtract(run, run.mean(axis=0, dtype=np.float64), out=centred, casting="same_kind")
        within += _multiply(centred, device)
        total += centred
    between: Array = _multiply(total, device) - within
    return between


def _prepare(patterns: Array, noise: Array | None, present: NDArray[np.bool_]) -> Array:
    """Remove the mean pattern of each run, then whiten, shape (n_runs, n_stimuli, n_features); missing is zero."""
    prepared = np.zeros(patterns.shape)
    for run, here, out in zip(patterns, present, prepared, strict=True):
        if here.any():
            out[here] = run[here] - run[here].mean(axis=0, dtype=np.float64)
    whitened = prepared if noise is None else _whiten(prepared, noise)
    return whitened.astype(work_dtype(patterns.dtype), copy=False)


def _whiten(runs: Array, noise: Array) -> Array:
    """Whiten all runs at once: the covariance is decomposed a single time."""
    whitened: Array = whiten(runs.reshape(-1, runs.shape[-1]), noise).reshape(runs.shape)
    return whitened


def _multiply(patterns: Array, device: str | None) -> Array:
    return sum_products(walk_columns(patterns, Tile(*patterns.shape)), len(patterns), device=device)


def _sum_over_common_runs(prepared: Array, present: NDArray[np.bool_], device: str | None) -> Array:
    """Sum over ordered pairs of runs, and over those stimuli alone that both runs have."""
    n_runs, n_stimuli, _ = prepared.shape
    gram = _multiply(prepared.reshape(n_runs * n_stimuli, -1), device)
    gram = gram.reshape(n_runs, n_stimuli, n_runs, n_stimuli)
    distances = np.zeros((n_stimuli, n_stimuli))
    for m in range(n_runs):
        for k in range(n_runs):
            if k != m:
                both = present[m] & present[k]
                product = gram[m, :, k, :]
                own = np.diag(product)
                distances += np.outer(both, both) * (own[:, None] + own[None, :] - product - product.T)
    return distances
