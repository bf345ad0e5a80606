"""A design: features that are split again and again, with the kernel kept where that is the smaller thing.

Every split is brought to one form, whatever the shape of the features. With more features than stimuli
(dual), ``X X' = U diag(values) U'``, ``basis = U``, ``probe = X_test X' U``; else (primal),
``X' X = V diag(values) V'``, ``basis = X V``, ``probe = X_test V``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError
from neurolens.numerics.arrays import (
    Array,
    as_like,
    eigh_psd,
    mean_rows,
    narrow,
    rounding_unit,
    sum_squares,
    to_device,
    total,
    widen,
)

__all__ = [
    "Design",
    "Split",
    "accumulate_kernel",
    "centre_kernel",
    "drop_null",
    "feature_location",
    "kept_features",
    "make_design",
    "split_coordinates",
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

    kernel: Array | None
    features: Array | None
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
    dual
        Whether `basis` is orthonormal (decomposed from the kernel); else its columns have the length of the
        root of their eigenvalue.
    floor
        What rounding alone can make of an eigenvalue, given the length of the patterns before centring.
    """

    values: Array
    basis: Array
    probe: Array
    dual: bool
    floor: float = 0.0


def accumulate_kernel(chunks: Iterable[FloatArray], *, device: str | None = None) -> Array:
    """Sum the inner products of patterns over chunks of their features.

    The mean over all stimuli is removed from each feature first, so that float32 stays exact where features
    have a large offset. This changes no result: every split centres by its own training mean again.

    Parameters
    ----------
    chunks
        Arrays, shape (n_stimuli, n_some_features), at least one; only one of them is in memory at a time.
    device
        Where to compute; None for numpy.

    Returns
    -------
    array or tensor, shape (n_stimuli, n_stimuli), dtype of the chunks
        Several chunks are added in float64.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(4, 10))
    >>> bool(np.allclose(accumulate_kernel([X]), accumulate_kernel([X[:, :3], X[:, 3:]])))
    True
    """
    kernel = None
    for chunk in chunks:
        features = to_device(chunk, device)
        centred = features - mean_rows(features)
        product = centred @ centred.T
        kernel = product if kernel is None else widen(kernel) + product
    if kernel is None:
        raise InputError("There are no features to make a kernel of.")
    return narrow(kernel, product)


def make_design(features: FloatArray, *, standardize: bool = False, device: str | None = None) -> Design:
    """Prepare features for splitting, keeping the kernel only where features outnumber stimuli.

    Parameters
    ----------
    features
        Array, shape (n_stimuli, n_features), float32 or float64.
    standardize
        Divide each feature by its training standard deviation. The kernel then differs between splits, so the
        features are kept.
    device
        Where to compute; None for numpy.

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
        return Design(kernel=None, features=to_device(features, device), standardize=standardize)
    return Design(kernel=accumulate_kernel([features], device=device), features=None)


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
        kernel, cross = centre_kernel(design.kernel, train, test)
        values, vectors = eigh_psd(kernel)
        floor = rounding_unit(kernel) * total(design.kernel.diagonal()[train])
        return Split(values, vectors, cross @ vectors, dual=True, floor=floor)
    mean, scale = feature_location(design, train)
    features = kept_features(design)
    inside, outside = (features[train] - mean) / scale, (features[test] - mean) / scale
    floor = rounding_unit(inside) ** 2 * float(sum_squares(features[train] / scale).sum())
    if inside.shape[1] <= inside.shape[0]:
        values, vectors = eigh_psd(inside.T @ inside)
        return Split(values, inside @ vectors, outside @ vectors, dual=False, floor=floor)
    values, vectors = eigh_psd(inside @ inside.T)
    return Split(values, vectors, (outside @ inside.T) @ vectors, dual=True, floor=floor)


def drop_null(split: Split) -> Split:
    """Leave out directions in which the training patterns do not vary by more than rounding.

    Parameters
    ----------
    split
        From `split_design`.

    Returns
    -------
    Split
        With at least 0 directions: what least squares of smallest norm uses.
    """
    values = split.values
    largest = float(values[-1]) if len(values) else 0.0
    keep = values > max(largest * max(split.basis.shape) * rounding_unit(values), 10 * split.floor)
    return replace(split, values=values[keep], basis=split.basis[:, keep], probe=split.probe[:, keep])


def split_coordinates(split: Split) -> tuple[Array, Array]:
    """Express both sides of a split in an orthonormal basis of the training patterns.

    Any method that is indifferent to a rotation of the features gives the same predictions in these at most
    n_train coordinates as in the features themselves.

    Parameters
    ----------
    split
        From `split_design`.

    Returns
    -------
    tuple of array
        Shapes (n_train, k) and (n_test, k); directions without variance are left out.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(5, 30))
    >>> inside, outside = split_coordinates(split_design(make_design(X), np.arange(4), np.array([4])))
    >>> inside.shape, outside.shape
    ((4, 3), (1, 3))
    """
    kept = drop_null(split)
    if not kept.dual:
        return kept.basis, kept.probe
    root = kept.values**0.5
    return kept.basis * root, kept.probe / root


def centre_kernel(kernel: Array, train: Indices, test: Indices) -> tuple[Array, Array]:
    """Centre kernels (train, train) and (test, train) by the mean training pattern."""
    inside, cross = kernel[train[:, None], train], kernel[test[:, None], train]
    row = mean_rows(inside)
    centre = mean_rows(row)
    return inside - row - row[:, None] + centre, cross - row - mean_rows(cross.T)[:, None] + centre


def feature_location(design: Design, train: Indices) -> tuple[Array, Array]:
    """Mean and scale of each feature over the training stimuli; a constant feature has scale 1."""
    inside = kept_features(design)[train]
    mean = mean_rows(inside)
    if not design.standardize:
        return mean, mean * 0 + 1
    scale = as_like(np.sqrt(sum_squares(inside - mean) / train.size), inside)
    scale[(inside == inside[:1]).all(0) | (scale == 0)] = 1
    return mean, scale


def kept_features(design: Design) -> Array:
    """Return the features of a design that kept them."""
    if design.features is None:
        raise InputError("This design kept only its kernel; make it with standardize=True to keep features.")
    return design.features
