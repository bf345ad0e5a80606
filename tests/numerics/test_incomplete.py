"""Distances over what both patterns have, against pandas, scikit-learn and pairs one by one."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import nan_euclidean_distances

from neurolens.errors import InputError
from neurolens.numerics.distances import compute_rdm
from neurolens.numerics.incomplete import FORMS, compute_incomplete_rdm


def draw(offset=0.0, missing=0.2, shape=(8, 60)):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape) + offset
    values[rng.random(shape) < missing] = np.nan
    return values


@pytest.mark.parametrize("metric", FORMS)
def test_each_pair_uses_its_common_features(metric):
    patterns = draw(offset=3.0)
    got, counts = compute_incomplete_rdm(patterns, metric)
    for i, j in ((0, 1), (2, 7), (5, 3)):
        both = np.isfinite(patterns[[i, j]]).all(axis=0)
        want = pdist(patterns[[i, j]][:, both], metric)[0]
        want *= {"euclidean": (60 / both.sum()) ** 0.5, "sqeuclidean": 60 / both.sum()}.get(metric, 1)
        assert got[i, j] == pytest.approx(want, abs=1e-10)
        assert counts[i, j] == both.sum()


def test_correlation_equals_pandas():
    patterns = draw(offset=1000.0)
    np.testing.assert_allclose(
        compute_incomplete_rdm(patterns)[0], 1 - pd.DataFrame(patterns.T).corr(), atol=1e-10
    )


def test_euclidean_equals_scikit_learn():
    got = compute_incomplete_rdm(draw(), "euclidean")[0]
    np.testing.assert_allclose(got, nan_euclidean_distances(draw()), atol=1e-7)


@pytest.mark.parametrize("normalize", ["none", "features"])
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
def test_complete_patterns_give_the_usual_distances(metric, normalize):
    patterns = draw(missing=0)
    want = compute_rdm(patterns, metric, normalize=normalize)
    np.testing.assert_allclose(
        compute_incomplete_rdm(patterns, metric, normalize=normalize)[0], want, atol=1e-10
    )


def test_pairs_without_an_answer_are_nan():
    patterns = draw(missing=0)
    patterns[0, :30], patterns[1, 30:] = np.nan, np.nan  # nothing in common
    patterns[2, :59] = np.nan  # one feature
    patterns[3, 30:] = 7.0  # constant on what it shares with 0
    distances, counts = compute_incomplete_rdm(patterns)
    assert np.isnan(distances[0, [1, 2, 3]]).all()
    assert np.isfinite(distances[3, 4:]).all()
    assert counts[0, 1] == 0
    assert (np.diag(distances) == 0).all()


def test_whitened_patterns_have_no_parts():
    with pytest.raises(InputError, match="mahalanobis"):
        compute_incomplete_rdm(draw(), "mahalanobis")
