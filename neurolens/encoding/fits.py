"""Fits: train a model on each fold and predict its test stimuli."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline

from neurolens.encoding.folds import Folds
from neurolens.encoding.ridge import Ridge, check_alphas
from neurolens.errors import InputError
from neurolens.numerics.design import make_design, split_design
from neurolens.numerics.ridge import default_alphas, predict_split, select_alphas

__all__ = ["FoldFit", "fit_folds"]

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FoldFit:
    """What a model trained on one fold says about it.

    Attributes
    ----------
    predictions
        Array, shape (n_test, n_neuroids), float64.
    alpha
        Array, shape (n_neuroids,), float64; NaN for a model that has no `alpha_`.
    n_edge
        How many neuroids chose the smallest or the largest of several alphas.
    """

    predictions: NDArray[np.float64]
    alpha: NDArray[np.float64]
    n_edge: int


def fit_folds(
    model: Any,
    features: FloatArray,
    targets: NDArray[np.float64],
    *,
    folds: Folds,
    groups: NDArray[Any],
    grouped: bool = False,
) -> Iterator[FoldFit]:
    """Fit a model on the training part of each fold, and predict the rest.

    Parameters
    ----------
    model
        A scikit-learn regressor; cloned, never changed. A `Ridge` shares one kernel between all folds and
        never forms its coefficients, which for large activations would be larger than the features.
    features
        Array, shape (n_stimuli, n_features).
    targets
        Array, shape (n_stimuli, n_neuroids).
    folds
        Pairs (train, test) of positions.
    groups
        Array, shape (n_stimuli,): labels that an inner cross-validation must not separate. They are handed to
        models whose `fit` takes `groups`, and to such a last step of a Pipeline.
    grouped
        Whether these are groups of several stimuli: if so they are handed to GridSearchCV and its like, too.

    Yields
    ------
    FoldFit

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(12, 2))
    >>> folds = [(np.arange(8), np.arange(8, 12))]
    >>> fit, = fit_folds(Ridge(1e-9), X, X[:, :1], folds=folds, groups=np.arange(12))
    >>> bool(np.allclose(fit.predictions, X[8:, :1]))
    True
    """
    if type(model) is Ridge:
        yield from _ridge_folds(model, features, targets, folds, groups)
        return
    for train, test in folds:
        fitted = clone(model)
        fitted.fit(features[train], targets[train], **_group_options(model, groups[train], grouped))
        predictions = np.asarray(fitted.predict(features[test]), dtype=np.float64)
        if predictions.size != test.size * targets.shape[1]:
            raise InputError(
                f"{type(model).__name__} predicts shape {predictions.shape} for {test.size} stimuli and "
                f"{targets.shape[1]} neuroids; the model must predict all neuroids at once."
            )
        alpha = getattr(fitted[-1] if isinstance(fitted, Pipeline) else fitted, "alpha_", np.nan)
        alpha = np.broadcast_to(np.asarray(alpha, dtype=np.float64), targets.shape[1:])
        yield FoldFit(predictions.reshape(test.size, -1), alpha, n_edge=0)


def _ridge_folds(
    model: Ridge, features: FloatArray, targets: NDArray[np.float64], folds: Folds, groups: NDArray[Any]
) -> Iterator[FoldFit]:
    """Fit `Ridge` on all folds from one design; the same numbers as one `fit` and `predict` a fold."""
    design = make_design(features, standardize=model.standardize)
    grid = check_alphas(model.alphas)
    offset = targets.mean(axis=0)  # removed so that float32 holds small differences; every fold centres again
    centred = (targets - offset).astype(features.dtype)
    for train, test in folds:
        alphas = default_alphas(design, train) if grid is None else grid
        inner = [] if alphas.size == 1 else model.inner_folds(groups[train])
        choice = select_alphas(
            design,
            centred,
            alphas=alphas,
            folds=[(train[inside], train[outside]) for inside, outside in inner],
        )
        predictions = predict_split(split_design(design, train, test), centred[train], choice.alpha)
        yield FoldFit(predictions + offset, choice.alpha, int(choice.at_edge.sum()))


def _group_options(model: Any, groups: NDArray[Any], grouped: bool) -> dict[str, Any]:
    """Return the keyword that hands groups to the `fit` of a model, where it takes them."""
    if isinstance(model, Pipeline):
        name, last = model.steps[-1]
        return {f"{name}__{key}": value for key, value in _group_options(last, groups, grouped).items()}
    if isinstance(model, GridSearchCV | RandomizedSearchCV):
        return {"groups": groups} if grouped else {}
    return {"groups": groups} if "groups" in inspect.signature(model.fit).parameters else {}
