"""Regression of an RDM on several others, cross-validated over stimuli: what each explains alone and with others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from neurolens.numerics.embedding import Array, Pairs

__all__ = ["compute_subset_r2"]


def compute_subset_r2(
    components: NDArray[Any],
    subjects: NDArray[Any],
    pairs: Pairs,
    folds: NDArray[np.intp],
    *,
    subsets: Sequence[Sequence[int]],
    nonnegative: bool,
) -> Array:
    """Explain subjects' dissimilarities by subsets of components, on held-out stimuli.

    ``r2 = 1 - sum of squared errors / sum of squares about the test mean``, both summed over folds; weights and
    the intercept are fitted on pairs among the training stimuli, for each subject on its own.

    Parameters
    ----------
    components, subjects
        arrays, shape (q, n_pairs) and (n_subjects, n_pairs); no NaN.
    pairs
        Which stimuli the columns are.
    folds
        array of int, shape (n_stimuli,).
    subsets
        Which components each regression has.
    nonnegative
        Whether weights below 0 are excluded.

    Returns
    -------
    ndarray
        shape (n_subsets, n_subjects); NaN for a subject whose dissimilarities are all the same.
    """
    errors = np.zeros((len(subsets), len(subjects)))
    totals = np.zeros(len(subjects))
    for fold in np.unique(folds):
        in_test = (folds[pairs.rows] == fold) & (folds[pairs.columns] == fold)
        in_train = (folds[pairs.rows] != fold) & (folds[pairs.columns] != fold)
        test = subjects[:, in_test]
        totals += ((test - test.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        for i, subset in enumerate(subsets):
            chosen = components[list(subset)]
            predicted = _predict(chosen[:, in_train], subjects[:, in_train], chosen[:, in_test], nonnegative)
            errors[i] += ((test - predicted) ** 2).sum(axis=1)
    return np.asarray(1 - errors / np.where(totals > 0, totals, np.nan))


def _predict(train: Array, targets: Array, test: Array, nonnegative: bool) -> Array:
    """Predict targets at test pairs, shape (n_targets, n_test); the intercept by centring."""
    mean, level = train.mean(axis=1, keepdims=True), targets.mean(axis=1, keepdims=True)
    centred, aims = (train - mean).T, (targets - level).T
    if nonnegative:
        weights = np.stack([nnls(centred, aim)[0] for aim in aims.T], axis=1)
    else:
        weights = np.linalg.lstsq(centred, aims, rcond=None)[0]
    predicted: Array = weights.T @ (test - mean) + level
    return predicted
