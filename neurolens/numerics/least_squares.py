"""Least squares and partial least squares, both from a split: neither needs more than n_train coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cross_decomposition import PLSRegression

from neurolens.numerics.arrays import Array, mean_rows, to_numpy
from neurolens.numerics.design import Split, drop_null, make_design, split_coordinates, split_design

__all__ = ["fit_least_squares", "fit_pls", "predict_least_squares", "predict_pls"]

FloatArray = NDArray[np.floating[Any]]


def predict_least_squares(split: Split, targets: FloatArray) -> FloatArray:
    """Predict the test stimuli of a split by least squares of smallest norm.

    Parameters
    ----------
    split
        From `split_design`.
    targets
        Array, shape (n_train, n_targets): training targets.

    Returns
    -------
    array, shape (n_test, n_targets)

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(9, 2))
    >>> split = split_design(make_design(X), np.arange(6), np.arange(6, 9))
    >>> bool(np.allclose(predict_least_squares(split, X[:6]), X[6:]))
    True
    """
    kept = drop_null(split)
    mean = mean_rows(targets)
    predictions: FloatArray = to_numpy(
        kept.probe @ ((kept.basis.T @ (targets - mean)) / kept.values[:, None]) + mean
    )
    return predictions


def predict_pls(split: Split, targets: FloatArray, *, n_components: int) -> FloatArray:
    """Predict the test stimuli of a split by partial least squares.

    Parameters
    ----------
    split
        From `split_design`.
    targets
        Array, shape (n_train, n_targets): training targets.
    n_components
        At least 1; at most the rank of the training patterns is used.

    Returns
    -------
    array, shape (n_test, n_targets), float64
    """
    inside, outside = split_coordinates(split)
    if inside.shape[1] == 0:  # constant features say nothing but the mean
        return np.tile(targets.mean(axis=0, dtype=np.float64), (len(outside), 1))
    model = _fit_coordinates(inside, targets, n_components)
    return np.asarray(model.predict(outside), dtype=np.float64).reshape(len(outside), -1)


def fit_least_squares(features: FloatArray, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit least squares of smallest norm.

    Parameters
    ----------
    features
        Array, shape (n_stimuli, n_features).
    targets
        Array, shape (n_stimuli, n_targets), same dtype.

    Returns
    -------
    tuple of array
        Coefficients (n_features, n_targets) and intercept (n_targets,).
    """
    mean, centre = mean_rows(features), mean_rows(targets)
    coef: FloatArray = np.linalg.lstsq(features - mean, targets - centre, rcond=None)[0]
    return coef, centre - mean @ coef


def fit_pls(
    features: FloatArray, targets: FloatArray, *, n_components: int
) -> tuple[FloatArray, FloatArray, int]:
    """Fit partial least squares.

    Parameters
    ----------
    features
        Array, shape (n_stimuli, n_features).
    targets
        Array, shape (n_stimuli, n_targets).
    n_components
        At least 1; at most the rank of the centred features is used.

    Returns
    -------
    tuple
        Coefficients (n_features, n_targets), intercept (n_targets,), and the number of components used.
    """
    everything = np.arange(len(features))
    mean, centre = mean_rows(features), targets.mean(axis=0, dtype=np.float64)
    inside, _ = split_coordinates(split_design(make_design(features), everything, everything))
    if inside.shape[1] == 0:
        return np.zeros((features.shape[1], targets.shape[1])), centre, 0
    model = _fit_coordinates(inside, targets, n_components)
    slope = np.asarray(model.coef_).T.reshape(inside.shape[1], -1)
    # coordinates = centred @ rotation with orthonormal columns; the rotation is found back by projection
    rotation = (features - mean).T @ (inside / np.square(inside).sum(axis=0))
    coef = rotation @ slope
    return coef, centre - mean @ coef, model.n_components


def _fit_coordinates(inside: Array, targets: FloatArray, n_components: int) -> Any:
    """Fit scikit-learn's PLS in orthogonal coordinates of the training patterns."""
    used = min(n_components, inside.shape[1])
    return PLSRegression(n_components=used, scale=False).fit(inside, targets)
