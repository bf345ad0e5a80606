"""Activation maps, RDMs and planes against numpy and scikit-learn."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA

from neurolens.explorer.geometry import make_geometry, scale_to_plane
from neurolens.explorer.pictures import choose_evenly, make_maps, quantise, shrink


def make(dims, *sizes, seed=0):
    values = np.random.default_rng(seed).normal(size=sizes)
    return xr.DataArray(values, dims=dims)


def restore(maps):
    return maps.low + (maps.levels.astype(float) - 1) / 254 * (maps.high - maps.low)


@pytest.mark.parametrize(
    ("dims", "sizes", "expected"),
    [
        (("stimulus", "channel", "y", "x"), (2, 3, 4, 5), lambda v: np.sqrt((v**2).mean(axis=1))),
        (("stimulus", "head", "query", "key"), (2, 3, 4, 5), lambda v: np.sqrt((v**2).mean(axis=1))),
        (("stimulus", "token", "feature"), (2, 4, 5), lambda v: v),
        (("stimulus", "unit"), (2, 5), lambda v: v[:, None]),
        (
            ("stimulus", "channel", "t", "y", "x"),
            (2, 3, 2, 4, 5),
            lambda v: np.sqrt((v**2).mean(axis=(1, 2))),
        ),
        (("stimulus", "y", "x", "channel"), (2, 4, 5, 3), lambda v: np.sqrt((v**2).mean(axis=3))),
        (("stimulus",), (2,), lambda v: v[:, None, None]),
    ],
)
def test_the_plane_is_pictured_and_the_rest_is_summed_up(dims, sizes, expected):
    array = make(dims, *sizes)
    maps = make_maps(array, side=32)
    truth = expected(array.values)
    assert maps.levels.shape == (2, 1, *truth.shape[1:])
    np.testing.assert_allclose(restore(maps)[:, 0], truth, atol=(truth.max() - truth.min()) / 254)


def test_passes_are_pictured_one_by_one_evenly_chosen():
    array = make(("stimulus", "pass", "unit"), 2, 9, 5)
    maps = make_maps(array, side=32)
    assert maps.passes == (1, 4, 6, 9)
    truth = array.values[:, [0, 3, 5, 8]]
    np.testing.assert_allclose(restore(maps)[:, :, 0], truth, atol=np.ptp(truth) / 254)


def test_shrinking_averages_blocks():
    pictures = np.random.default_rng(0).normal(size=(2, 3, 12, 20)).astype(np.float32)
    blocks = pictures.reshape(2, 3, 4, 3, 4, 5).mean(axis=(3, 5))
    np.testing.assert_allclose(shrink(pictures, 4), blocks, atol=1e-6)


def test_nothing_is_enlarged():
    pictures = np.zeros((1, 1, 3, 4), np.float32)
    assert shrink(pictures, 32) is pictures


@given(arrays(np.float64, array_shapes(), elements=st.floats(-1e6, 1e6)))
def test_levels_are_within_half_a_step(values):
    levels, low, high = quantise(values)
    assert levels.min() >= 1
    assert (low, high) == (values.min(), values.max())
    if high > low:
        step = (high - low) / 254
        np.testing.assert_allclose(low + (levels.astype(float) - 1) * step, values, atol=step * 0.5001)


def test_missing_values_have_a_level_of_their_own():
    levels, low, high = quantise(np.array([1.0, np.nan, np.inf, 3.0]))
    assert levels.tolist() == [1, 0, 0, 255]
    assert (low, high) == (1.0, 3.0)
    assert quantise(np.array([np.nan]))[0].tolist() == [0]


@pytest.mark.parametrize("dtype", [np.float16, np.int64, bool, np.complex64])
def test_every_dtype_is_pictured(dtype):
    array = (make(("stimulus", "channel", "y", "x"), 2, 3, 4, 4) * 300).astype(dtype)
    maps = make_maps(array, side=8)
    assert np.isfinite([maps.low, maps.high]).all()
    assert maps.levels.min() >= 1


@given(st.integers(1, 300), st.integers(1, 80))
def test_chosen_positions_are_even(n, most):
    chosen = choose_evenly(n, most)
    assert len(chosen) == min(n, most)
    assert chosen[0] == 0
    assert most == 1 or chosen[-1] == n - 1
    assert np.ptp(np.diff(chosen)) <= 1 if len(chosen) > 1 else True


def test_the_plane_of_euclidean_distances_is_that_of_principal_components():
    points = np.random.default_rng(0).normal(size=(12, 5)) * [5, 3, 1, 0.5, 0.1]
    plane, share = scale_to_plane(squareform(pdist(points)))
    pca = PCA(2).fit(points)
    truth = pca.transform(points)
    truth = truth * np.sign((plane * truth).sum(axis=0)) / np.abs(truth).max()
    np.testing.assert_allclose(plane, truth, atol=1e-9)
    assert share == pytest.approx(pca.explained_variance_ratio_.sum())


def test_the_plane_does_not_depend_on_the_order_of_stimuli():
    square = squareform(pdist(np.random.default_rng(1).normal(size=(8, 4))))
    order = np.random.default_rng(2).permutation(8)
    plane, _ = scale_to_plane(square)
    np.testing.assert_allclose(scale_to_plane(square[np.ix_(order, order)])[0], plane[order], atol=1e-9)


def test_missing_and_equal_distances_have_no_plane_to_speak_of():
    square = 1 - np.eye(4)
    square[0, 1] = square[1, 0] = np.nan
    assert scale_to_plane(square)[0].shape == (0, 2)
    assert make_geometry(square).levels.tolist()[0] == 0
    assert scale_to_plane(np.zeros((4, 4)))[0].tolist() == [[0, 0]] * 4
