"""Least squares: a linear model with nothing to choose."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from neurolens.encoding.estimators import LinearEstimator
from neurolens.numerics.least_squares import fit_least_squares

__all__ = ["Linear"]


class Linear(LinearEstimator):
    """Ordinary least squares of many targets, with an intercept.

    Where features outnumber stimuli this is the solution of smallest norm, which fits the training stimuli
    exactly: a baseline rather than a model to trust there.

    Attributes
    ----------
    coef_ : array, shape (n_targets, n_features), or (n_features,) where y has one dimension
        In units of the targets for each unit of the features.
    intercept_ : array, shape (n_targets,), or float
        In the units of the targets.
    n_features_in_ : int
        Features seen by `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> Linear().fit(X, X @ np.array([1.0, 2.0, 3.0]) + 1).coef_.round(6).tolist()
    [1.0, 2.0, 3.0]
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Linear:
        """Fit the coefficients.

        Parameters
        ----------
        X
            Array, shape (n_stimuli, n_features).
        y
            Array, shape (n_stimuli,) or (n_stimuli, n_targets).

        Returns
        -------
        Linear
            Itself, fitted.

        Raises
        ------
        ValueError
            If X or y are not finite numbers of fitting shapes (scikit-learn's message).
        """
        features, targets, flat = self._check_training(X, y)
        coef, intercept = fit_least_squares(features.astype(np.float64), targets.astype(np.float64))
        self._set_coefficients(coef.astype(features.dtype), intercept.astype(features.dtype), flat)
        return self
