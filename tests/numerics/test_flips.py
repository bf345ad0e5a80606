"""Sign flips against scipy's permutation test."""

import numpy as np
import pytest
from scipy.stats import permutation_test

from neurolens.errors import InputError
from neurolens.numerics.flips import draw_flips, flip_means


def test_p_is_scipys_for_all_patterns():
    values = np.random.default_rng(0).normal(0.4, 1, size=(8, 1))
    observed = values.mean()
    null = flip_means(values, draw_flips(8, 1, seed=0))[:, 0]
    p = (1 + (null >= observed - 1e-12).sum()) / (1 + null.size)
    reference = permutation_test((values[:, 0],), np.mean, permutation_type="samples", alternative="greater")
    assert p == pytest.approx(reference.pvalue)


def test_all_patterns_are_listed_once_and_the_identity_is_not():
    flips = draw_flips(5, 10, seed=0)
    assert len({tuple(row) for row in flips.tolist()}) == len(flips) == 31
    assert not (flips == 1).all(axis=1).any()
    assert draw_flips(20, 10, seed=0).shape == (10, 20)
    np.testing.assert_array_equal(draw_flips(20, 10, seed=1), draw_flips(20, 10, seed=1))


def test_subjects_without_a_value_do_not_count():
    values = np.array([[1.0, 1.0], [3.0, np.nan], [5.0, np.nan]])
    np.testing.assert_allclose(flip_means(values, np.array([[1.0, -1.0, 1.0]])), [[1.0, 1.0]])


def test_one_subject_is_too_few():
    with pytest.raises(InputError, match="at least 2"):
        draw_flips(1, 10, seed=0)
