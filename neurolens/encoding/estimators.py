"""What all linear estimators here share: checked input, coefficients in the units of the features, predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from neurolens.encoding.folds import CrossValidator, Folds, resolve_inner
from neurolens.errors import LabelError

__all__ = ["LinearEstimator", "PenalizedEstimator", "check_groups"]

FloatArray = NDArray[np.floating[Any]]


class LinearEstimator(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A scikit-learn regressor that predicts ``X @ coef_.T + intercept_``."""

    coef_: FloatArray
    intercept_: FloatArray

    def predict(self, X: ArrayLike) -> FloatArray:
        """Predict targets.

        Parameters
        ----------
        X
            Array, shape (n_stimuli, n_features).

        Returns
        -------
        array, shape (n_stimuli,) or (n_stimuli, n_targets)
            One column a target, or none where `y` had none; in the units of `y`, in the dtype of `X`.

        Examples
        --------
        >>> from neurolens.encoding import Linear
        >>> X = np.array([[0.0], [1.0], [2.0]])
        >>> Linear().fit(X, 2 * X).predict([[3.0]]).round(6).tolist()
        [[6.0]]
        """
        check_is_fitted(self)
        features = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        prediction: FloatArray = features @ self.coef_.T + self.intercept_
        return prediction

    def _check_training(self, X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray, bool]:
        """Return features, targets (stimulus, target) of the same dtype, and whether y had one dimension."""
        features, targets = validate_data(
            self,
            X,
            y,
            multi_output=True,
            y_numeric=True,
            dtype=[np.float64, np.float32],
            ensure_min_samples=2,
        )
        flat = targets.ndim == 1
        return features, targets.reshape(len(targets), -1).astype(features.dtype, copy=False), flat

    def _set_coefficients(self, coef: FloatArray, intercept: FloatArray, flat: bool) -> None:
        """Keep coefficients (feature, target) as scikit-learn lays them out."""
        self.coef_ = coef[:, 0] if flat else coef.T
        self.intercept_ = intercept[0] if flat else intercept


class PenalizedEstimator(LinearEstimator):
    """A linear estimator whose penalty is chosen by inner folds."""

    cv: CrossValidator | None
    seed: int

    def inner_folds(self, groups: NDArray[Any]) -> Folds:
        """Return the folds that penalties are chosen by.

        Parameters
        ----------
        groups
            Array, shape (n_stimuli,): labels that are never separated.

        Returns
        -------
        list of (train, test)
            Pairs of integer arrays: positions of stimuli.
        """
        return resolve_inner(self.cv, groups, seed=self.seed, what=f"the cv of {type(self).__name__}")


def check_groups(groups: ArrayLike | None, n_stimuli: int) -> NDArray[Any]:
    """Return one group label per stimulus; without groups each stimulus is its own."""
    if groups is None:
        return np.arange(n_stimuli)
    labels = np.asarray(groups)
    if labels.shape != (n_stimuli,):
        raise LabelError(
            f"groups has shape {labels.shape}; expected one label for each of {n_stimuli} stimuli."
        )
    return labels
