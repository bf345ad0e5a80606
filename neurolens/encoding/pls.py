"""Partial least squares, as Brain-Score maps activations to neurons."""

from __future__ import annotations

from numpy.typing import ArrayLike

from neurolens.encoding.estimators import LinearEstimator
from neurolens.errors import check_count
from neurolens.numerics.least_squares import fit_pls

__all__ = ["PLS"]


class PLS(LinearEstimator):
    """Partial least squares regression of all targets together, features centred and not scaled.

    This is scikit-learn's ``PLSRegression(n_components, scale=False)``. Where features outnumber stimuli it is
    run on the at most n - 1 coordinates of the centred patterns: the same predictions, since PLS is
    indifferent to a rotation, and the features need not be in memory. As in Brain-Score, use it with
    ``cv=ShuffleSplit(10, test_size=0.1)`` and `summarize_regions` (median over neuroids within a split, then
    mean over splits).

    Parameters
    ----------
    n_components : int
        Number of components; where the features have a smaller rank, that many.

    Attributes
    ----------
    n_components_ : int
        Components used.
    coef_ : array, shape (n_targets, n_features), or (n_features,) where y has one dimension
        In units of the targets for each unit of the features.
    intercept_ : array, shape (n_targets,), or float
        In the units of the targets.
    n_features_in_ : int
        Features seen by `fit`.

    References
    ----------
    Schrimpf et al., bioRxiv 2018, doi:10.1101/407007.
    Wold, Sjöström and Eriksson, Chemometrics 2001, doi:10.1016/S0169-7439(01)00155-1.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> PLS(n_components=3).fit(X, X @ np.array([1.0, 2.0, 3.0]) + 1).coef_.round(3).tolist()
    [1.0, 2.0, 3.0]
    """

    def __init__(self, n_components: int = 25) -> None:
        self.n_components = n_components

    def fit(self, X: ArrayLike, y: ArrayLike) -> PLS:
        """Fit the coefficients.

        Parameters
        ----------
        X
            Array, shape (n_stimuli, n_features).
        y
            Array, shape (n_stimuli,) or (n_stimuli, n_targets).

        Returns
        -------
        PLS
            Itself, fitted.

        Raises
        ------
        ValueError
            If X or y are not finite numbers of fitting shapes (scikit-learn's message).
        InputError
            If `n_components` is below 1.
        """
        check_count(self.n_components, "n_components")
        features, targets, flat = self._check_training(X, y)
        coef, intercept, self.n_components_ = fit_pls(features, targets, n_components=self.n_components)
        self._set_coefficients(coef.astype(features.dtype), intercept.astype(features.dtype), flat)
        return self
