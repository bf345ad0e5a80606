"""Unique and shared variance of RDMs, against scikit-learn and against what was put in."""

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import pdist, squareform
from sklearn.linear_model import LinearRegression

from neurolens.errors import InputError
from neurolens.numerics.embedding import list_pairs
from neurolens.numerics.regression import compute_subset_r2
from neurolens.rsa import partition_variance

N = 24


def label(squares, dim, names=None):
    names = list(range(len(squares))) if names is None else names
    ids = [f"im{i}" for i in range(N)]
    return xr.DataArray(
        np.stack(squares), {dim: names, "stimulus": ids, "stimulus_b": ids}, (dim, "stimulus", "stimulus_b")
    )


def draw_squares(n, seed):
    rng = np.random.default_rng(seed)
    return [squareform(pdist(rng.standard_normal((N, 4)), "sqeuclidean")) for _ in range(n)]


@pytest.mark.parametrize("nonnegative", [False, True])
def test_r2_is_that_of_linear_regression_on_held_out_stimuli(nonnegative):
    squares = draw_squares(5, 0)
    vectors = np.array([squareform(one) for one in squares])
    components, subjects = vectors[:3], vectors[3:] + vectors[0]
    folds = np.arange(N) % 3
    pairs = list_pairs(N)
    got = compute_subset_r2(
        components, subjects, pairs, folds, subsets=[(0, 2), (1,)], nonnegative=nonnegative
    )
    for i, subset in enumerate([(0, 2), (1,)]):
        chosen = components[list(subset)].T
        errors = totals = 0
        for fold in range(3):
            test = (folds[pairs.rows] == fold) & (folds[pairs.columns] == fold)
            train = (folds[pairs.rows] != fold) & (folds[pairs.columns] != fold)
            model = LinearRegression(positive=nonnegative).fit(chosen[train], subjects[1, train])
            errors += ((subjects[1, test] - model.predict(chosen[test])) ** 2).sum()
            totals += ((subjects[1, test] - subjects[1, test].mean()) ** 2).sum()
        assert got[i, 1] == pytest.approx(1 - errors / totals, abs=1e-8)


def test_unique_and_shared_are_what_was_put_in():
    first, common, second, noise = draw_squares(4, 1)
    models = label([first + common, second + common], "model", ["a", "b"])
    subjects = label([first + common + 0.2 * one for one in (noise, second)], "subject")
    found = partition_variance(models, subjects)
    assert float(found.unique.sel(model="a")) > 0.3
    assert float(found.unique.sel(model="b")) < 0.1
    assert float(found.alone.sel(model="b")) < float(found.alone.sel(model="a"))
    np.testing.assert_allclose(found.r2, found.shared + found.unique.sum(), atol=1e-12)
    np.testing.assert_allclose(found.unique, found.unique_subject.mean("subject"))


def test_noise_explains_nothing():
    found = partition_variance(label(draw_squares(3, 2), "model"), label(draw_squares(4, 3), "subject"))
    assert float(found.r2) < 0.02


def test_one_model_is_no_partition():
    with pytest.raises(InputError, match="2 or more"):
        partition_variance(label(draw_squares(1, 0), "model"), label(draw_squares(2, 1), "subject"))
    with pytest.raises(InputError, match="folds"):
        partition_variance(
            label(draw_squares(2, 0), "model"), label(draw_squares(2, 1), "subject"), n_folds=20
        )
