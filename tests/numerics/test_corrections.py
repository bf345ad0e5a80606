"""Corrections against statsmodels' published example values, scipy, and brute force."""

import numpy as np
import pytest
from scipy import stats

from neurolens.errors import InputError
from neurolens.numerics.corrections import control_familywise, control_fdr, correct_by_maximum


def test_each_column_is_a_family_and_nan_is_no_test():
    p = np.random.default_rng(0).random((6, 3)) ** 3
    p[2, 1] = np.nan
    got = control_fdr(p)
    np.testing.assert_allclose(got[:, 0], stats.false_discovery_control(p[:, 0]))
    known = ~np.isnan(p[:, 1])
    np.testing.assert_allclose(got[known, 1], stats.false_discovery_control(p[known, 1]))
    assert np.isnan(got[2, 1])


def test_holm_equals_stepping_down_by_hand():
    p = np.random.default_rng(1).random(20) ** 2
    wanted = [
        min(1, max((20 - rank) * value for rank, value in enumerate(np.sort(p)) if value <= own)) for own in p
    ]
    np.testing.assert_allclose(control_familywise(p), wanted)


def test_maximum_counts_rows_whose_largest_reaches_the_observed():
    rng = np.random.default_rng(2)
    observed, null = rng.normal(size=(4, 2)) + 1, rng.normal(size=(99, 4, 2))
    got = correct_by_maximum(observed, null)
    for i in range(4):
        for j in range(2):
            wanted = (1 + sum(row[:, j].max() >= observed[i, j] for row in null)) / 100
            assert got[i, j] == wanted


@pytest.mark.parametrize("correct", [control_fdr, control_familywise])
def test_what_is_no_probability_is_refused(correct):
    with pytest.raises(InputError, match="between 0 and 1"):
        correct(np.array([0.1, 1.2]))


def test_a_null_of_another_shape_is_refused():
    with pytest.raises(InputError, match="n_resamplings"):
        correct_by_maximum(np.zeros(3), np.zeros((10, 4)))
