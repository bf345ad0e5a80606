"""The same numbers from numpy and from torch tensors."""

import numpy as np
import pytest
from sklearn.model_selection import KFold

from neurolens.errors import InputError
from neurolens.numerics.arrays import eigh_psd, to_device
from neurolens.numerics.design import accumulate_kernel, make_design, split_coordinates, split_design
from neurolens.numerics.ridge import default_alphas, fit_ridge, predict_split, select_alphas

SHAPES = {"primal": (60, 20), "dual": (40, 300)}


def simulate(n, p, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p)) + 3
    Y = X @ rng.normal(size=(p, 5)) + 3 * rng.normal(size=(n, 5))
    return X.astype(dtype), Y.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_ridge_on_a_device_is_ridge_in_numpy(shape, standardize, dtype):
    X, Y = simulate(*shape, dtype)
    folds = list(KFold(4).split(X))
    alphas = np.logspace(0, 4, 5)
    here, there = (
        fit_ridge(X, Y, folds=folds, alphas=alphas, standardize=standardize, device=device)
        for device in (None, "cpu")
    )
    np.testing.assert_array_equal(here.choice.alpha, there.choice.alpha)
    tolerance = 1e-9 if dtype is np.float64 else 2e-3
    np.testing.assert_allclose(here.coef, there.coef, rtol=tolerance, atol=tolerance)
    assert there.coef.dtype == dtype
    np.testing.assert_allclose(
        *(
            default_alphas(make_design(X, standardize=standardize, device=d), np.arange(30))
            for d in (None, "cpu")
        ),
        rtol=1e-6 if dtype is np.float64 else 1e-3,
    )


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_splits_on_a_device_predict_the_same(shape):
    X, Y = simulate(*shape, np.float64)
    train, test = np.arange(30), np.arange(30, len(X))
    alpha = np.full(5, 10.0)
    here = predict_split(split_design(make_design(X), train, test), Y[train], alpha)
    design = make_design(X, device="cpu")
    there = predict_split(split_design(design, train, test), to_device(Y, "cpu")[train], alpha)
    assert isinstance(there, np.ndarray)
    np.testing.assert_allclose(here, there, rtol=1e-8)
    choice = select_alphas(design, to_device(Y, "cpu"), alphas=np.array([1.0, 10.0]), folds=[(train, test)])
    assert isinstance(choice.alpha, np.ndarray)


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_kernel_in_pieces_is_the_kernel(dtype, device):
    X, _ = simulate(40, 300, dtype)
    whole = (X - X.mean(axis=0, dtype=np.float64)) @ (X - X.mean(axis=0, dtype=np.float64)).T
    pieces = accumulate_kernel((X[:, start : start + 70] for start in range(0, 300, 70)), device=device)
    assert str(pieces.dtype).endswith(np.dtype(dtype).name)
    np.testing.assert_allclose(np.asarray(pieces), whole, atol=1e-3 if dtype is np.float32 else 1e-9)


def test_coordinates_keep_all_inner_products():
    X, _ = simulate(40, 300, np.float64)
    train, test = np.arange(30), np.arange(30, 40)
    inside, outside = split_coordinates(split_design(make_design(X), train, test))
    centred = X - X[train].mean(axis=0)
    np.testing.assert_allclose(inside @ inside.T, centred[train] @ centred[train].T, atol=1e-8)
    np.testing.assert_allclose(outside @ inside.T, centred[test] @ centred[train].T, atol=1e-8)
    assert inside.shape[1] == 29


def test_eigenvalues_are_never_negative():
    values, vectors = eigh_psd(np.outer(np.ones(5), np.ones(5)) * 1e-3)
    assert (values >= 0).all()
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, 1e-3, atol=1e-12)


def test_an_unknown_device_is_an_error():
    with pytest.raises(InputError, match="device='abacus'"):
        to_device(np.ones(3), "abacus")
    with pytest.raises(InputError, match="no features"):
        accumulate_kernel([])
