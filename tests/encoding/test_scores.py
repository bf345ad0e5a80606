"""Scores against scipy and scikit-learn."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import r2_score

from neurolens.encoding.scores import SCORES, pearson, r2, signed_r2


@pytest.fixture
def columns():
    rng = np.random.default_rng(0)
    observed = rng.normal(size=(15, 6)) + 100
    return observed, 0.3 * observed + rng.normal(size=(15, 6))


def test_pearson_is_scipys(columns):
    expected = [pearsonr(a, b).statistic for a, b in zip(*(part.T for part in columns), strict=True)]
    np.testing.assert_allclose(pearson(*columns), expected)
    np.testing.assert_allclose(signed_r2(*columns), np.sign(expected) * np.square(expected))


def test_r2_is_scikit_learns(columns):
    np.testing.assert_allclose(r2(*columns), r2_score(*columns, multioutput="raw_values"))


@pytest.mark.parametrize("name", SCORES)
def test_a_perfect_prediction_scores_one(name, columns):
    np.testing.assert_allclose(SCORES[name](columns[0], columns[0]), 1)


@pytest.mark.parametrize("name", SCORES)
def test_flat_responses_have_no_score(name, columns):
    columns[0][:, 2] = 0.1
    score = SCORES[name](*columns)
    assert np.isnan(score[2])
    assert np.isfinite(np.delete(score, 2)).all()


def test_predictions_that_differ_by_rounding_only_have_no_correlation(columns):
    columns[1][:, 1] = 100 + np.arange(15) % 2 * 1e-14
    assert np.isnan(pearson(*columns)[1])
    assert np.isfinite(r2(*columns)).all()
