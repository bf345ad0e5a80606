"""Least squares and PLS from a split, against scikit-learn on the features themselves."""

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LinearRegression

from neurolens.numerics.design import make_design, split_design
from neurolens.numerics.least_squares import fit_least_squares, fit_pls, predict_least_squares, predict_pls

SHAPES = {"primal": (60, 20), "dual": (40, 300)}


def simulate(n, p, n_targets=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * rng.gamma(2, size=p) + 3
    return X, X @ rng.normal(size=(p, n_targets)) * 0.2 + rng.normal(size=(n, n_targets)) + 5


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_least_squares_is_scikit_learns(shape):
    X, Y = simulate(*shape)
    train, test = np.arange(30), np.arange(30, len(X))
    reference = LinearRegression().fit(X[train], Y[train])
    predicted = predict_least_squares(split_design(make_design(X), train, test), Y[train])
    np.testing.assert_allclose(predicted, reference.predict(X[test]), rtol=1e-7)
    coef, intercept = fit_least_squares(X[train], Y[train])
    np.testing.assert_allclose(coef.T, reference.coef_, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(intercept, reference.intercept_)


@pytest.mark.parametrize("n_components", [1, 3, 12])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_pls_in_few_coordinates_is_pls_of_the_features(shape, n_components):
    X, Y = simulate(*shape)
    train, test = np.arange(30), np.arange(30, len(X))
    reference = PLSRegression(n_components=n_components, scale=False)
    reference.fit(X[train], Y[train])
    predicted = predict_pls(split_design(make_design(X), train, test), Y[train], n_components=n_components)
    np.testing.assert_allclose(predicted, reference.predict(X[test]), rtol=1e-5, atol=1e-6)
    coef, intercept, used = fit_pls(X[train], Y[train], n_components=n_components)
    assert used == n_components
    np.testing.assert_allclose(X[test] @ coef + intercept, predicted, rtol=1e-8)


def test_more_components_than_directions_is_least_squares():
    X, Y = simulate(40, 5)
    train, test = np.arange(30), np.arange(30, 40)
    predicted = predict_pls(split_design(make_design(X), train, test), Y[train], n_components=25)
    np.testing.assert_allclose(
        predicted, LinearRegression().fit(X[train], Y[train]).predict(X[test]), rtol=1e-6
    )
    assert fit_pls(X, Y, n_components=25)[2] == 5


@pytest.mark.parametrize("p", [3, 50])
def test_constant_training_features_predict_the_mean(p):
    rng = np.random.default_rng(0)
    X, Y = np.full((12, p), 0.1), rng.normal(size=(12, 2))
    X[9:] = rng.normal(size=(3, p))
    train, test = np.arange(9), np.arange(9, 12)
    split = split_design(make_design(X), train, test)
    expected = np.tile(Y[train].mean(axis=0), (3, 1))
    np.testing.assert_allclose(predict_least_squares(split, Y[train]), expected)
    np.testing.assert_allclose(predict_pls(split, Y[train], n_components=2), expected)
    assert fit_pls(X[train], Y[train], n_components=2)[2] == 0
