"""Banded ridge against himalaya's own estimator, and its global backend left as it was."""

import numpy as np
import pytest
from himalaya.backend import get_backend, set_backend
from himalaya.kernel_ridge import MultipleKernelRidgeCV
from sklearn.model_selection import KFold

from neurolens.numerics.banded import fit_banded, himalaya_backend, predict_bands, split_bands

ALPHAS = np.logspace(-2, 3, 6)


@pytest.fixture
def bands():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(50, 12)) + 2, 10 * rng.normal(size=(50, 8)), rng.normal(size=(50, 60))]
    Y = np.column_stack([10 * X[0] @ rng.normal(size=(12, 3)), X[1] @ rng.normal(size=(8, 3))])
    return X, Y + Y.std() * 0.3 * rng.normal(size=Y.shape) + 4


def fit_here(X, Y, train, test, **options):
    split = split_bands(np.stack([x @ x.T for x in X]), train, test)
    folds = list(KFold(4).split(train))
    options = {"alphas": ALPHAS, "n_iter": 12, "seed": 3} | options
    fit = fit_banded(split, Y[train], folds=folds, **options)
    return split, fit, predict_bands(fit, split.cross)


def test_equals_himalaya_on_bands_of_unit_length(bands):
    X, Y = bands
    train, test = np.arange(40), np.arange(40, 50)
    split, fit, predicted = fit_here(X, Y, train, test)
    scaled = []
    for x in X:
        centred = x - x[train].mean(axis=0)
        scaled.append(centred / np.sqrt(np.square(centred[train]).sum() / train.size))
    kernels = np.stack([x[train] @ x[train].T for x in scaled])
    cross = np.stack([x[test] @ x[train].T for x in scaled])
    np.testing.assert_allclose(split.inside, kernels, atol=1e-10)
    reference = MultipleKernelRidgeCV(
        kernels="precomputed",
        solver="random_search",
        solver_params={"n_iter": 12, "alphas": ALPHAS, "progress_bar": False},
        cv=KFold(4),
        fit_intercept=True,
        random_state=3,
    ).fit(kernels, Y[train])
    np.testing.assert_allclose(np.exp(reference.deltas_), fit.weight, rtol=1e-8)
    np.testing.assert_allclose(predicted.sum(axis=0) + fit.mean, reference.predict(cross), rtol=1e-7)
    np.testing.assert_allclose(fit.share.sum(axis=0), 1)
    assert set(fit.alpha.tolist()) <= set(ALPHAS.tolist())


def test_the_generating_band_gets_the_larger_share(bands):
    X, Y = bands
    _, fit, _ = fit_here(X, Y, np.arange(40), np.arange(40, 50), n_iter=40)
    assert fit.share.argmax(axis=0).tolist() == [0, 0, 0, 1, 1, 1]


def test_a_torch_device_gives_the_same(bands):
    X, Y = bands
    here, there = (fit_here(X, Y, np.arange(40), np.arange(40, 50), device=d)[2] for d in (None, "cpu"))
    np.testing.assert_allclose(here, there, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("before", ["numpy", "torch"])
def test_himalayas_backend_is_put_back_also_after_an_error(bands, before):
    X, Y = bands
    try:
        set_backend(before)
        fit_here(X, Y, np.arange(40), np.arange(40, 50), n_iter=1)
        assert get_backend().name == before
        with pytest.raises(ZeroDivisionError), himalaya_backend("cpu"):
            1 / 0
        assert get_backend().name == before
    finally:
        set_backend("numpy")


def test_scale_and_offset_of_a_band_change_nothing(bands):
    X, Y = bands
    train, test = np.arange(40), np.arange(40, 50)
    plain = fit_here(X, Y, train, test)[2]
    moved = fit_here([100 * X[0] + 7, *X[1:]], Y, train, test)[2]
    np.testing.assert_allclose(plain, moved, rtol=1e-6, atol=1e-8)


def test_a_band_that_is_constant_in_training_predicts_nothing(bands):
    X, Y = bands
    X[2] = np.full((50, 60), 0.1)
    X[2][40:] = 5.0
    _, _, predicted = fit_here(X, Y, np.arange(40), np.arange(40, 50))
    assert (predicted[2] == 0).all()


def test_test_stimuli_reach_nothing_of_the_training_side(bands):
    X, _ = bands
    train, test = np.arange(40), np.arange(40, 50)
    before = split_bands(np.stack([x @ x.T for x in X]), train, test)
    for x in X:
        x[test] = 3 * x[test] - 8
    after = split_bands(np.stack([x @ x.T for x in X]), train, test)
    np.testing.assert_allclose(before.inside, after.inside)
    np.testing.assert_allclose(before.scale, after.scale)
