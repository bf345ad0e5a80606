"""Sign-flip test over subjects: scores that are symmetric about chance would have had either sign."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import check_count
from neurolens.numerics.corrections import ROUNDING, Array, correct_by_maximum

__all__ = ["compute_signflip_test", "draw_signs"]

MAX_LISTED = 12  # up to this many subjects every flip is listed


def draw_signs(n_subjects: int, n_flips: int, seed: int) -> NDArray[np.float64]:
    """Draw signs of subjects, all of them for up to 12 subjects; without the observed ones, shape (n, n_subjects)."""
    check_count(n_flips, "n_flips")
    if n_subjects <= MAX_LISTED:
        return np.array(list(itertools.product((1.0, -1.0), repeat=n_subjects))[1:]).reshape(-1, n_subjects)
    return np.random.default_rng(seed).choice((1.0, -1.0), size=(n_flips, n_subjects))


def compute_signflip_test(scores: Array, *, n_flips: int, seed: int) -> tuple[Array, Array, int]:
    """Test whether the mean of each row is above 0, one-sided, for subjects of this kind.

    Parameters
    ----------
    scores
        array, shape (n_tests, n_subjects): minus chance. One flip acts on all tests together.
    n_flips
        How many to draw where not all are listed.
    seed
        Seed of the draw.

    Returns
    -------
    p, p_max : ndarray
        shape (n_tests,): uncorrected, and corrected by the maximum over tests.
    n_flips : int
        how many were made, the observed signs not counted.

    References
    ----------
    Nichols & Holmes (2002), Human Brain Mapping 15:1, doi:10.1002/hbm.1058.

    Examples
    --------
    >>> compute_signflip_test(np.array([[0.2, 0.1, 0.3]]), n_flips=1, seed=0)
    (array([0.125]), array([0.125]), 7)
    """
    signs = draw_signs(scores.shape[1], n_flips, seed)
    observed = scores.mean(axis=1)
    null = signs @ scores.T / scores.shape[1]
    count = (null >= observed - ROUNDING).sum(axis=0)
    p = np.where(np.isnan(observed), np.nan, (1 + count) / (1 + len(null)))
    return p, correct_by_maximum(observed, null), len(null)
