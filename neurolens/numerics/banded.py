"""Banded ridge regression: several feature spaces, each with its own penalty, chosen by random search.

The search itself is himalaya's; here are its inputs (kernels, one a band, centred and scaled by the training
stimuli alone) and the manners that a library owes its neighbours: himalaya's global backend is put back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from himalaya.backend import get_backend, set_backend
from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
from numpy.typing import NDArray

from neurolens.numerics.design import centre_kernel
from neurolens.numerics.ridge import find_edge

__all__ = ["BandedFit", "BandedSplit", "fit_banded", "himalaya_backend", "predict_bands", "split_bands"]

FloatArray = NDArray[np.floating[Any]]
Indices = NDArray[np.intp]
Folds = Sequence[tuple[Indices, Indices]]

_BATCH_ELEMENTS = 2**25  # largest array of predictions (alphas x stimuli x targets) of the search


@dataclass(frozen=True)
class BandedSplit:
    """Kernels of one fold, centred by its training patterns and of mean squared length 1 there.

    Attributes
    ----------
    inside
        Array, shape (n_bands, n_train, n_train).
    cross
        Array, shape (n_bands, n_test, n_train).
    scale
        Array, shape (n_bands,), float64: the mean squared length of a training pattern before; 1 for a band
        that is constant in training.
    """

    inside: FloatArray
    cross: FloatArray
    scale: NDArray[np.float64]


@dataclass(frozen=True)
class BandedFit:
    """A banded ridge of many targets, in the dual.

    Attributes
    ----------
    dual
        Array, shape (n_train, n_targets).
    weight
        Array, shape (n_bands, n_targets): the share of each band in the kernel, divided by alpha.
    alpha
        Array, shape (n_targets,), float64: the penalty beside a kernel whose shares sum to 1.
    share
        Array, shape (n_bands, n_targets): the share of each band in the kernel; sums to 1.
    mean
        Array, shape (n_targets,): mean of the training targets.
    score
        Array, shape (n_targets,), float64: minus the cross-validated mean squared error of the choice.
    at_edge
        Bool array, shape (n_targets,): the smallest or the largest of several alphas was chosen.
    """

    dual: FloatArray
    weight: FloatArray
    alpha: NDArray[np.float64]
    share: FloatArray
    mean: FloatArray
    score: NDArray[np.float64]
    at_edge: NDArray[np.bool_]


@contextmanager
def himalaya_backend(device: str | None) -> Iterator[ModuleType]:
    """Give himalaya's backend for a device, and put the one it had back, also after an error."""
    before = get_backend()
    name = "numpy" if device is None else "torch_cuda" if device.startswith("cuda") else "torch"
    try:
        yield set_backend(name)
    finally:
        set_backend(before)


def split_bands(kernels: FloatArray, train: Indices, test: Indices) -> BandedSplit:
    """Centre and scale the kernel of each band by the training stimuli of a fold.

    Parameters
    ----------
    kernels
        Array, shape (n_bands, n_stimuli, n_stimuli): inner products of the patterns of all stimuli.
    train, test
        Integer arrays: positions of stimuli.

    Returns
    -------
    BandedSplit

    Examples
    --------
    >>> import numpy as np
    >>> split = split_bands(np.eye(4)[None], np.arange(3), np.array([3]))
    >>> round(float(np.trace(split.inside[0])), 6)
    3.0
    """
    pairs = [centre_kernel(kernel, train, test) for kernel in kernels]
    traces = np.array([np.trace(inside, dtype=np.float64) / train.size for inside, _ in pairs])
    lengths = np.array([np.trace(kernel[np.ix_(train, train)], dtype=np.float64) for kernel in kernels])
    varies = traces > 10 * np.finfo(kernels.dtype).eps * lengths / train.size
    scale = np.where(varies, traces, 1.0)
    inside, cross = (np.stack(part) / scale[:, None, None] for part in zip(*pairs, strict=True))
    inside[~varies] = cross[~varies] = 0  # what is left of a constant band is rounding
    return BandedSplit(inside.astype(kernels.dtype), cross.astype(kernels.dtype), scale)


def fit_banded(
    split: BandedSplit,
    targets: FloatArray,
    *,
    folds: Folds,
    alphas: NDArray[np.float64],
    n_iter: int,
    seed: int,
    device: str | None = None,
) -> BandedFit:
    """Choose the share of each band and alpha, target by target, and fit.

    Parameters
    ----------
    split
        From `split_bands`; only its training side is used.
    targets
        Array, shape (n_train, n_targets), dtype of the kernels.
    folds
        Pairs of positions among the training stimuli, to choose by.
    alphas
        Array, shape (n_alphas,), positive, ascending; beside kernels of mean squared length 1.
    n_iter
        How many combinations of shares are tried: the first is equal shares, the others are drawn from a
        Dirichlet distribution (concentrations .1 and 1 in turn).
    seed
        Of the draw.
    device
        A torch device to search on; None for numpy.

    Returns
    -------
    BandedFit

    References
    ----------
    Dupré la Tour et al., NeuroImage 2022, doi:10.1016/j.neuroimage.2022.119728.
    """
    n_targets = targets.shape[1]
    largest = max(test.size for _, test in folds)
    batch = max(1, _BATCH_ELEMENTS // (alphas.size * max(largest, split.inside.shape[1] // 4)))
    mean = targets.mean(axis=0, dtype=np.float64).astype(targets.dtype)
    with himalaya_backend(device) as backend:
        deltas, dual, scores, best, _ = solve_multiple_kernel_ridge_random_search(
            backend.asarray(split.inside),
            backend.asarray(targets - mean),
            n_iter=n_iter,
            alphas=backend.asarray(alphas.astype(targets.dtype)),
            cv=[(np.asarray(train), np.asarray(test)) for train, test in folds],
            fit_intercept=True,
            return_weights="dual",
            random_state=seed,
            n_targets_batch=min(batch, n_targets),
            progress_bar=False,
            return_alphas=True,
        )
        deltas, dual, scores, best = (backend.to_numpy(part) for part in (deltas, dual, scores, best))
    position = np.abs(np.log(alphas)[:, None] - np.log(best.astype(np.float64))).argmin(axis=0)
    alpha = alphas[position]
    weight = np.exp(deltas)
    at_edge = find_edge(position, alphas.size)
    return BandedFit(
        dual, weight, alpha, weight * alpha.astype(weight.dtype), mean, scores.max(axis=0), at_edge
    )


def predict_bands(fit: BandedFit, cross: FloatArray) -> FloatArray:
    """Predict from each band alone; predictions are these, summed, and the mean of the training targets.

    Parameters
    ----------
    fit
        From `fit_banded`.
    cross
        Array, shape (n_bands, n_test, n_train): `BandedSplit.cross`.

    Returns
    -------
    array, shape (n_bands, n_test, n_targets)
    """
    return np.stack([(kernel @ fit.dual) * weight for kernel, weight in zip(cross, fit.weight, strict=True)])
