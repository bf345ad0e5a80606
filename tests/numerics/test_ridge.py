"""Multi-target ridge against scikit-learn, himalaya and its own closed form."""

import numpy as np
import pytest
from himalaya.kernel_ridge import KernelRidgeCV
from sklearn.linear_model import Ridge as ReferenceRidge
from sklearn.model_selection import KFold

from neurolens.numerics import ridge as room
from neurolens.numerics.design import make_design, split_design
from neurolens.numerics.ridge import default_alphas, fit_ridge, predict_split, select_alphas

ALPHAS = np.logspace(-2, 4, 7)
SHAPES = {"primal": (60, 20), "square": (40, 40), "dual": (40, 300)}


def simulate(n, p, n_targets=6, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) * rng.gamma(2, size=p) + 3
    Y = (
        X @ rng.normal(size=(p, n_targets)) * np.linspace(0, 0.4, n_targets)
        + rng.normal(size=(n, n_targets))
        + 5
    )
    return X.astype(dtype), Y.astype(dtype)


def k_folds(n, k=5):
    return list(KFold(k).split(np.zeros(n)))


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_coefficients_equal_scikit_learn_per_alpha(shape, standardize):
    X, Y = simulate(*shape)
    fit = fit_ridge(X, Y, folds=k_folds(len(X)), alphas=ALPHAS, standardize=standardize)
    scale = X.std(axis=0) if standardize else np.ones(X.shape[1])
    for target, alpha in enumerate(fit.choice.alpha):
        reference = ReferenceRidge(alpha).fit(X / scale, Y[:, target])
        np.testing.assert_allclose(fit.coef[:, target], reference.coef_ / scale, rtol=1e-8, atol=1e-11)
        np.testing.assert_allclose(fit.intercept[target], reference.intercept_, rtol=1e-8)


@pytest.mark.filterwarnings("ignore:Solving linear kernel ridge is slower")  # himalaya, of the primal shape
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_alphas_and_coefficients_equal_himalaya(shape):
    X, Y = simulate(*shape)
    centred, targets = X - X.mean(axis=0), Y - Y.mean(axis=0)
    fit = fit_ridge(centred, targets, folds=k_folds(len(X)), alphas=ALPHAS)
    reference = KernelRidgeCV(alphas=ALPHAS, cv=KFold(5), fit_intercept=True)
    reference.fit(centred, targets)
    np.testing.assert_allclose(fit.choice.alpha, reference.best_alphas_, rtol=1e-12)
    np.testing.assert_allclose(fit.coef, reference.get_primal_coef(), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_choice_is_that_of_a_loop_over_folds_and_alphas(shape):
    X, Y = simulate(*shape)
    folds = k_folds(len(X), 4)
    errors, total = np.zeros((len(ALPHAS), Y.shape[1])), np.zeros(Y.shape[1])
    for train, test in folds:
        total += ((Y[test] - Y[train].mean(axis=0)) ** 2).sum(axis=0)
        for row, alpha in enumerate(ALPHAS):
            predicted = ReferenceRidge(alpha).fit(X[train], Y[train]).predict(X[test])
            errors[row] += ((Y[test] - predicted) ** 2).sum(axis=0)
    choice = select_alphas(make_design(X), Y, alphas=ALPHAS, folds=folds)
    np.testing.assert_array_equal(choice.alpha, ALPHAS[errors.argmin(axis=0)])
    np.testing.assert_allclose(choice.r2, 1 - errors.min(axis=0) / total, atol=1e-9)
    np.testing.assert_array_equal(choice.at_edge, np.isin(choice.alpha, ALPHAS[[0, -1]]))


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_predictions_of_a_split_use_training_stimuli_only(shape, standardize):
    X, Y = simulate(*shape)
    train, test = np.arange(0, 30), np.arange(30, len(X))
    split = split_design(make_design(X, standardize=standardize), train, test)
    predicted = predict_split(split, Y[train], np.full(Y.shape[1], 10.0))
    mean, scale = X[train].mean(axis=0), X[train].std(axis=0) if standardize else 1
    reference = ReferenceRidge(10.0).fit((X[train] - mean) / scale, Y[train])
    np.testing.assert_allclose(predicted, reference.predict((X[test] - mean) / scale), rtol=1e-7)


def test_changing_test_features_changes_no_training_quantity():
    X, _ = simulate(40, 300)
    train, test = np.arange(30), np.arange(30, 40)
    shifted = X.copy()
    shifted[test] += 100
    before, after = (split_design(make_design(features), train, test) for features in (X, shifted))
    np.testing.assert_allclose(before.values, after.values, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        *(default_alphas(make_design(features), train) for features in (X, shifted)), rtol=1e-10
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_dtype_is_kept(shape, dtype):
    X, Y = simulate(*shape, dtype=dtype)
    fit = fit_ridge(X, Y, folds=k_folds(len(X)), alphas=np.array([1.0, 10.0, 100.0]))
    assert fit.coef.dtype == fit.intercept.dtype == dtype
    exact = fit_ridge(*simulate(*shape), folds=k_folds(len(X)), alphas=np.array([1.0, 10.0, 100.0]))
    same = fit.choice.alpha == exact.choice.alpha
    assert same.mean() > 0.5
    np.testing.assert_allclose(fit.coef[:, same], exact.coef[:, same], atol=2e-4)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_float32_survives_a_large_offset(shape):
    X, Y = simulate(*shape)
    X = (X + 1000).astype(np.float32)
    train, test = np.arange(30), np.arange(30, len(X))
    alpha = np.full(Y.shape[1], 10.0)
    narrow = predict_split(split_design(make_design(X), train, test), Y[train].astype(np.float32), alpha)
    wide = ReferenceRidge(10.0).fit(X[train].astype(np.float64), Y[train]).predict(X[test].astype(np.float64))
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=5e-3 * Y.std())


def test_ties_go_to_the_larger_alpha():
    X, Y = simulate(30, 5)
    Y[:, 0] = 0.1  # a constant target is predicted equally well by every alpha
    choice = select_alphas(make_design(X), Y, alphas=ALPHAS, folds=k_folds(30))
    assert choice.alpha[0] == ALPHAS[-1]
    assert np.isnan(choice.r2[0])
    assert np.isfinite(choice.r2[1:]).all()


def test_one_alpha_is_taken_without_cross_validation():
    X, Y = simulate(30, 5)
    choice = select_alphas(make_design(X), Y, alphas=np.array([3.0]), folds=[])
    assert (choice.alpha == 3).all()
    assert np.isnan(choice.r2).all()
    assert not choice.at_edge.any()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_default_alphas_are_the_definition(shape):
    X, _ = simulate(*shape)
    train = np.arange(25)
    centred = X[train] - X[train].mean(axis=0)
    expected = np.logspace(-4, 5, 10) * np.trace(centred @ centred.T) / 25
    np.testing.assert_allclose(default_alphas(make_design(X), train), expected, rtol=1e-9)


def test_scaling_all_features_changes_no_prediction_under_default_alphas():
    X, Y = simulate(40, 100)
    one, thousand = (fit_ridge(factor * X, Y, folds=k_folds(40)) for factor in (1, 1000))
    np.testing.assert_allclose(X @ one.coef + one.intercept, 1000 * X @ thousand.coef + thousand.intercept)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("p", [3, 100])
def test_constant_training_features_predict_the_mean(p, standardize):
    rng = np.random.default_rng(0)
    X, Y = np.full((20, p), 0.1), rng.normal(size=(20, 2))
    X[15:] = rng.normal(size=(5, p))
    train, test = np.arange(15), np.arange(15, 20)
    design = make_design(X, standardize=standardize)
    for alpha in default_alphas(design, train):
        predicted = predict_split(split_design(design, train, test), Y[train], np.full(2, alpha))
        np.testing.assert_allclose(predicted, np.tile(Y[train].mean(axis=0), (5, 1)), atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_limits_of_alpha(shape):
    X, Y = simulate(*shape)
    heavy = fit_ridge(X, Y, folds=[], alphas=np.array([1e15]))
    np.testing.assert_allclose(heavy.coef, 0, atol=1e-8)
    np.testing.assert_allclose(heavy.intercept, Y.mean(axis=0), rtol=1e-6)
    light = fit_ridge(X, Y, folds=[], alphas=np.array([1e-10]))
    centred = X - X.mean(axis=0)
    least_squares = np.linalg.lstsq(centred, Y - Y.mean(axis=0), rcond=1e-12)[0]
    np.testing.assert_allclose(centred @ light.coef, centred @ least_squares, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_batches_of_targets_change_nothing(shape, monkeypatch):
    X, Y = simulate(*shape, n_targets=7)
    whole = fit_ridge(X, Y, folds=k_folds(len(X)), alphas=ALPHAS)
    monkeypatch.setattr(room, "_BATCH_ELEMENTS", 2 * len(X))
    cut = fit_ridge(X, Y, folds=k_folds(len(X)), alphas=ALPHAS)
    np.testing.assert_array_equal(whole.choice.alpha, cut.choice.alpha)
    np.testing.assert_allclose(whole.coef, cut.coef, atol=1e-12)


def test_order_of_targets_is_equivariant():
    X, Y = simulate(40, 60)
    forward, backward = (fit_ridge(X, y, folds=k_folds(40), alphas=ALPHAS) for y in (Y, Y[:, ::-1]))
    np.testing.assert_allclose(forward.coef, backward.coef[:, ::-1], atol=1e-12)
