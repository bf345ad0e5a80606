"""How well any RDM could match the subjects, given how much the subjects differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import check_choice
from neurolens.numerics.similarity import MEASURES, Array, Similarity


def compute_ceiling(vectors: NDArray[Any], method: Similarity = "rho-a") -> tuple[Array, Array]:
    """Compute the lower and upper noise ceiling of each subject's dissimilarities.

    The pool is the mean over subjects of what the measure keeps of a vector (cosine: divided by its norm;
    pearson: z-scored; spearman: z-scored ranks; rho-a and kendall-tau-a: average ranks). Upper: similarity
    of the pool of all with the subject. Lower: the subject is left out of the pool. The ceiling of a score
    that is a mean over subjects is the mean of these over subjects.

    Parameters
    ----------
    vectors
        array, shape (n_subjects, n_pairs); no NaN. Average the sessions of a subject before.
    method
        The measure that scores.

    Returns
    -------
    lower, upper : ndarray
        shape (n_subjects,), float64, in units of the measure; NaN for fewer than two subjects. For
        "kendall-tau-a" both are approximate: no closed form of the best pool is known.

    References
    ----------
    Nili et al. (2014), PLoS Computational Biology 10:e1003553, doi:10.1371/journal.pcbi.1003553.

    Examples
    --------
    >>> lower, upper = compute_ceiling(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]))
    >>> lower.round(9).tolist(), upper.round(9).tolist()
    ([1.0, 1.0], [1.0, 1.0])
    """
    check_choice(method, MEASURES, "method")
    measure = MEASURES[method]
    n_subjects = len(vectors)
    if n_subjects < 2:
        return np.full(n_subjects, np.nan), np.full(n_subjects, np.nan)
    vectors = np.asarray(vectors, dtype=np.float64)
    embedded, pooled = measure.embed(vectors), measure.pool(vectors)
    upper = measure.compare(embedded, measure.embed(_pool(pooled)))[:, 0]
    lower = np.empty(n_subjects)
    for i in range(n_subjects):
        others = measure.embed(_pool(np.delete(pooled, i, axis=0)))
        lower[i] = measure.compare(embedded[i : i + 1], others)[0, 0]
    return lower, upper


def _pool(vectors: Array) -> Array:
    """Average subjects, rounded: pairs of equal mean rank must stay tied in spite of the order of adding."""
    mean = vectors.mean(axis=0, keepdims=True)
    largest = np.abs(mean).max()
    pooled: Array = np.round(mean / largest, 12) if largest > 0 else mean
    return pooled
