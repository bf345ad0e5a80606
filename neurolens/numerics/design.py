"""A design: features that are split again and again, with the kernel kept where that is the smaller thing.

Every split is brought to one form, whatever the shape of the features. With more features than stimuli
(dual), ``X X' = U diag(values) U'``, ``basis = U``, ``probe = X_test X' U``; else (primal),
``X' X = V diag(values) V'``, ``basis = X V``, ``probe = X_test V``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError

__all__ = [
    "Design",
    "Split",
    "eigh_psd",
    "feature_location",
    "kept_features",
    "make_design",
    "mean_rows",
    "split_design",
]

FloatArray = NDArray[np.floating[Any]]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Design:
    """Features of all stimuli, ready to be split into training and test.

    Attributes
    ----------
    kernel
        Array, shape (n_stimuli, n_stimuli): inner products of the patterns, where features outnumber stimuli.
        The features themselves are then no longer needed.
    features
        Array, shape (n_stimuli, n_features), where there is no kernel.
    standardize
        Divide each feature by its standard deviation over the training stimuli.
    """

    kernel: FloatArray | None
    features: FloatArray | None
    standardize: bool = False


@dataclass(frozen=True)
class Split:
    """One fold, decomposed: enough to predict any target with any alpha.

    Attributes
    ----------
    values
        Array, shape (k,): eigenvalues of the training kernel (or of the features' scatter).
    basis
        Array, shape (n_train, k): what training targets are projected on.
    probe
        Array, shape (n_test, k): the test patterns in the same coordinates.
    """

    values: FloatArray
    basis: FloatArray
    probe: FloatArray


def make_design(features: FloatArray, *, standardize: bool = False) -> Design:
    """Prepare features for splitting, keeping the kernel only where features outnumber stimuli.

    The mean over all stimuli is removed before the kernel is formed, so that float32 stays exact where
    features have a large offset. This changes no result: every split centres by its own training mean again.

    Parameters
    ----------
    features
        Array, shape (n_stimuli, n_features), float32 or float64.
    standardize
        Divide each feature by its training standard deviation. The kernel then differs between splits, so the
        features are kept.

    Returns
    -------
    Design

    Examples
    --------
    >>> import numpy as np
    >>> make_design(np.ones((3, 50))).kernel.shape
    (3, 3)
    """
    if standardize or features.shape[1] <= features.shape[0]:
        return Design(kernel=None, features=features, standardize=standardize)
    centred = features - mean_rows(features)
    return Design(kernel=centred @ centred.T, features=None)


def split_design(design: Design, train: Indices, test: Indices) -> Split:
    """Decompose the training part of a design and express the test part in its coordinates.

    Parameters
    ----------
    design
        From `make_design`.
    train, test
        Integer arrays, shapes (n_train,) and (n_test,): positions of stimuli. Centring and
        scaling see only `train`.

    Returns
    -------
    Split

    Examples
    --------
    >>> import numpy as np
    >>> design = make_design(np.eye(4, 9))
    >>> split_design(design, np.arange(3), np.array([3])).probe.shape
    (1, 3)
    """
    if design.kernel is not None:
        kernel, cross = _centre_kernel(design.kernel, train, test)
        values, vectors = eigh_psd(kernel)
        return Split(values, vectors, cross @ vectors)
    mean, scale = feature_location(design, train)
    features = kept_features(design)
    inside, outside = (features[train] - mean) / scale, (features[test] - mean) / scale
    if inside.shape[1] <= inside.shape[0]:
        values, vectors = eigh_psd(inside.T @ inside)
        return Split(values, inside @ vectors, outside @ vectors)
    values, vectors = eigh_psd(inside @ inside.T)
    return Split(values, vectors, (outside @ inside.T) @ vectors)


def _centre_kernel(kernel: FloatArray, train: Indices, test: Indices) -> tuple[FloatArray, FloatArray]:
    """Centre kernels (train, train) and (test, train) by the mean training pattern."""
    inside, cross = kernel[np.ix_(train, train)], kernel[np.ix_(test, train)]
    row = mean_rows(inside)
    total = mean_rows(row)
    return inside - row - row[:, None] + total, cross - row - mean_rows(cross.T)[:, None] + total


def feature_location(design: Design, train: Indices) -> tuple[FloatArray, FloatArray]:
    """Mean and scale of each feature over the training stimuli; a constant feature has scale 1."""
    inside = kept_features(design)[train]
    mean = mean_rows(inside)
    if not design.standardize:
        return mean, np.ones_like(mean)
    scale = inside.std(axis=0, dtype=np.float64).astype(inside.dtype)
    constant = inside.max(axis=0) == inside.min(axis=0)
    scale[constant | (scale == 0)] = 1
    return mean, scale


def kept_features(design: Design) -> FloatArray:
    """Return the features of a design that kept them."""
    if design.features is None:
        raise InputError("This design kept only its kernel; make it with standardize=True to keep features.")
    return design.features


def eigh_psd(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues, never below 0, and eigenvectors of a symmetric positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.maximum(values, 0), vectors


def mean_rows(array: FloatArray) -> FloatArray:
    """Mean over the first axis, summed in float64 and given in the dtype of the array."""
    mean: FloatArray = np.asarray(array.mean(axis=0, dtype=np.float64), dtype=array.dtype)
    return mean
