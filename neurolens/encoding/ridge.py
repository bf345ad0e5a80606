"""The ridge estimator: scikit-learn's manners around the numerics of multi-target ridge."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurolens.encoding.estimators import PenalizedEstimator, check_groups
from neurolens.encoding.folds import CrossValidator
from neurolens.errors import InputError, NeurolensWarning
from neurolens.numerics.ridge import fit_ridge

__all__ = ["Ridge", "check_alphas", "warn_edge"]

EDGE_SHARE = 0.05
"""More targets than this at the edge of the grid, and the grid is too narrow."""


class Ridge(PenalizedEstimator):
    """Ridge regression of many targets, each with its own alpha.

    Minimises ``|Y - X B|² + alpha |B|²`` with an intercept, primal or dual by the shape of X, with one
    eigendecomposition a fold that all targets and alphas share. The alpha of each target is the one with the
    smallest squared error over all stimuli held out by an inner cross-validation; ties go to the larger
    alpha.

    Parameters
    ----------
    alphas : float or array, shape (n_alphas,), optional
        Positive. By default ``logspace(-4, 5, 10) * trace(K) / n``, K the kernel of the n centred training
        patterns: multiplying all features by a constant changes nothing. With one alpha nothing is
        cross-validated.
    cv : int or scikit-learn splitter, optional
        The inner folds that choose alpha. A number makes seeded, shuffled folds that keep `groups` whole; by
        default five, or as many as there are groups where these are fewer.
    standardize : bool
        Divide features by their standard deviation over the training stimuli. They are always centred.
    seed : int
        Of the inner folds, where `cv` is a number or left out.
    device : str, optional
        A torch device to compute on ("cuda"); by default numpy.

    Attributes
    ----------
    alpha_ : array, shape (n_targets,), float64
        The alpha of each target.
    best_score_ : array, shape (n_targets,), float64
        Cross-validated r² at that alpha, over all held-out stimuli about the training means; NaN for one
        alpha.
    coef_ : array, shape (n_targets, n_features), or (n_features,) where y has one dimension
        In the units of the features, also with `standardize`. float32 where X is float32.
    intercept_ : array, shape (n_targets,), or float
        In the units of the targets.
    n_features_in_ : int
        Features seen by `fit`.

    References
    ----------
    Dupré la Tour et al., NeuroImage 2022, doi:10.1016/j.neuroimage.2022.119728.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(40, 3))
    >>> model = Ridge(alphas=1e-6).fit(X, X @ np.array([1.0, 2.0, 3.0]) + 1)
    >>> model.coef_.round(2).tolist()
    [1.0, 2.0, 3.0]
    """

    def __init__(
        self,
        alphas: ArrayLike | None = None,
        *,
        cv: CrossValidator | None = None,
        standardize: bool = False,
        seed: int = 0,
        device: str | None = None,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.standardize = standardize
        self.seed = seed
        self.device = device

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Ridge:
        """Choose alphas and fit the coefficients.

        Parameters
        ----------
        X
            Array, shape (n_stimuli, n_features).
        y
            Array, shape (n_stimuli,) or (n_stimuli, n_targets).
        groups
            Array, shape (n_stimuli,): stimuli that the inner folds must not separate.

        Returns
        -------
        Ridge
            Itself, fitted.

        Raises
        ------
        ValueError
            If X or y are not finite numbers of fitting shapes (scikit-learn's message).
        InputError
            If an alpha is not positive, or the inner folds cannot be made.
        """
        features, targets, flat = self._check_training(X, y)
        alphas = check_alphas(self.alphas)
        labels = check_groups(groups, len(features))
        folds = [] if alphas is not None and alphas.size == 1 else self.inner_folds(labels)
        fit = fit_ridge(
            features,
            targets,
            folds=folds,
            alphas=alphas,
            standardize=self.standardize,
            device=self.device,
        )
        self.alpha_ = fit.choice.alpha
        self.best_score_ = fit.choice.r2
        self._set_coefficients(fit.coef, fit.intercept, flat)
        warn_edge(int(fit.choice.at_edge.sum()), fit.choice.at_edge.size)
        return self


def check_alphas(alphas: ArrayLike | None) -> NDArray[np.float64] | None:
    """Return alphas ascending, each once; None stays None."""
    if alphas is None:
        return None
    grid = np.atleast_1d(np.asarray(alphas, dtype=np.float64))
    if grid.ndim != 1 or grid.size == 0 or not (np.isfinite(grid).all() and (grid > 0).all()):
        raise InputError(
            f"alphas={alphas!r}: give one or several positive numbers, e.g. np.logspace(-2, 4, 13), or None "
            "for a grid scaled to the features. For no penalty at all use "
            "sklearn.linear_model.LinearRegression."
        )
    return np.unique(grid)


def warn_edge(n_edge: int, n_targets: int, *, stacklevel: int = 3) -> None:
    """Warn where more than 5 % of targets chose the smallest or largest of more than two alphas."""
    if n_edge > EDGE_SHARE * n_targets:
        warnings.warn(
            f"{n_edge} of {n_targets} targets chose the smallest or the largest alpha. For targets that "
            "features do not predict this is expected (the largest); else widen the grid: "
            "Ridge(alphas=np.logspace(...)).",
            NeurolensWarning,
            stacklevel=stacklevel,
        )
