"""Weights: on the axes of the features, equal to coefficients, of whole pipelines, and over delays."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neurolens.encoding import PLS, BandedRidge, Delay, Linear, Pool, Ridge, fit_weights
from neurolens.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*smallest or the largest alpha")


@pytest.fixture
def maps(rng, label):
    return label(rng.normal(size=(60, 3, 2, 2)), channel=[10, 11, 12])


@pytest.fixture
def truth(rng):
    return rng.normal(size=(4, 3, 2, 2))


@pytest.fixture
def voxels(maps, truth, measure):
    return measure(np.tensordot(maps.values, truth, ([1, 2, 3], [1, 2, 3])) + 5)


@pytest.mark.parametrize("model", [Ridge(1e-8), Linear(), PLS(12), make_pipeline(StandardScaler(), Linear())])
def test_known_weights_come_back_on_their_axes(maps, voxels, truth, model):
    weights = fit_weights(maps.transpose(..., "stimulus"), voxels, model=model)
    assert weights.dims == ("neuroid", "channel", "y", "x")
    assert weights.channel.values.tolist() == [10, 11, 12]
    np.testing.assert_allclose(weights, truth, atol=1e-3)


def test_weights_of_a_pipeline_are_those_of_the_features_it_was_given(maps, voxels):
    model = make_pipeline(StandardScaler(), PCA(5), LinearRegression())
    weights = fit_weights(maps, voxels, model=model)
    X = maps.values.reshape(60, -1)
    model.fit(X, voxels.values)
    expected = model[-1].coef_ @ model[1].components_ / model[0].scale_
    np.testing.assert_allclose(weights.values.reshape(4, -1), expected, atol=1e-9)


def test_pooled_features_share_their_weight(maps, voxels):
    weights = fit_weights(maps, voxels, model=make_pipeline(Pool(), Linear()))
    assert float(weights.std(["y", "x"]).max()) < 1e-9


def test_delays_become_an_axis(rng, label, measure):
    X, truth = rng.normal(size=(60, 2)), rng.normal(size=(3, 2))  # lag, feature
    runs = np.repeat([0, 1, 2], 20)
    y = np.zeros((60, 1))
    for row in range(60):
        for lag in range(3):
            if row % 20 >= lag:
                y[row, 0] += X[row - lag] @ truth[lag]
    voxels = measure(y, stimulus={"run": ("stimulus", runs)})
    weights = fit_weights(label(X), voxels, model=make_pipeline(Delay([0, 1, 2]), Linear()), groups="run")
    assert weights.dims == ("neuroid", "delay", "unit")
    np.testing.assert_allclose(weights[0], truth, atol=1e-8)


def test_probing_in_pieces_changes_nothing(maps, voxels, monkeypatch):
    model = make_pipeline(StandardScaler(), Linear())
    whole = fit_weights(maps, voxels, model=model)
    monkeypatch.setattr("neurolens.encoding.weights.PROBE_ELEMENTS", 30)
    np.testing.assert_allclose(fit_weights(maps, voxels, model=model), whole)


def test_bands_and_subjects(maps, voxels):
    named = maps.assign_coords(band=("channel", list("aab")))
    weights = fit_weights(named, {"A": voxels, "B": voxels}, model=BandedRidge(alphas=1e-8, n_iter=1))
    assert weights.subject.values.tolist() == ["A"] * 4 + ["B"] * 4
    np.testing.assert_allclose(weights[:4], weights[4:])


def test_constant_voxels_have_no_weights(maps, voxels):
    voxels[:, 1] = 3.0
    weights = fit_weights(maps, voxels, model=Linear())
    assert np.isnan(weights[1]).all()
    assert np.isfinite(weights[[0, 2, 3]]).all()


def test_models_without_weights_are_errors(maps, voxels):
    with pytest.raises(InputError, match="not linear"):
        fit_weights(maps, voxels, model=KNeighborsRegressor(3))
    with pytest.raises(InputError, match="constant output"):
        fit_weights(maps * 0, voxels)
