"""Dissimilarities against scipy, and the mathematics they must obey."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from neurolens.errors import InputError
from neurolens.numerics.distances import BLOCK_VALUES, METRICS, compute_rdm, find_undefined

SHAPES = [(5, 3), (12, 200), (40, 17), (3, BLOCK_VALUES // 2)]  # the last needs several blocks


def draw(shape, seed=0, dtype=np.float64, offset=0.0):
    return (np.random.default_rng(seed).standard_normal(shape) + offset).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("metric", METRICS)
def test_equals_scipy(metric, shape):
    patterns = draw(shape, offset=0.3)
    np.testing.assert_allclose(compute_rdm(patterns, metric), squareform(pdist(patterns, metric)), rtol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("metric", METRICS)
def test_float32_with_an_offset_equals_float64_of_the_same_values(metric, offset):
    patterns = draw((20, 3000), dtype=np.float32, offset=offset)
    got = compute_rdm(patterns, metric)
    assert got.dtype == np.float32
    want = squareform(pdist(patterns.astype(np.float64), metric))
    np.testing.assert_allclose(got, want, rtol=2e-5)


def test_float32_resolves_patterns_that_are_nearly_the_same():
    shared, own = draw((1, 5000)), draw((15, 5000), seed=1)
    patterns = (shared + 1e-3 * own).astype(np.float32)  # correlations of about .999999
    want = squareform(pdist(patterns.astype(np.float64), "correlation"))
    assert want.max() < 2e-6
    np.testing.assert_allclose(compute_rdm(patterns, "correlation"), want, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1e15], ids=str)
@pytest.mark.parametrize("metric", METRICS)
def test_float32_of_extreme_size_neither_under_nor_overflows(metric, scale):
    patterns = (draw((6, 50)) * scale).astype(np.float32)
    got = compute_rdm(patterns, metric).astype(np.float64)
    want = squareform(pdist(patterns.astype(np.float64), metric))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-45)


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.uint8, bool])
def test_other_dtypes_are_widened(dtype):
    patterns = (draw((8, 60)) > 0).astype(dtype)
    got = compute_rdm(patterns, "correlation")
    assert got.dtype == (np.float32 if dtype == np.float16 else np.float64)
    np.testing.assert_allclose(got, squareform(pdist(patterns.astype(float), "correlation")), atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_symmetric_zero_diagonal_and_equivariant_to_order(metric):
    patterns = draw((9, 30))
    order = np.random.default_rng(2).permutation(9)
    rdm = compute_rdm(patterns, metric)
    assert (rdm == rdm.T).all()
    assert (np.diag(rdm) == 0).all()
    np.testing.assert_allclose(compute_rdm(patterns[order], metric), rdm[np.ix_(order, order)], rtol=1e-12)


@pytest.mark.parametrize(
    ("metric", "row", "undefined"),
    [
        ("correlation", [0.1, 0.1, 0.1], True),
        ("correlation", [0.0, 0.0, 0.0], True),
        ("cosine", [0.0, 0.0, 0.0], True),
        ("cosine", [0.1, 0.1, 0.1], False),
        ("euclidean", [0.0, 0.0, 0.0], False),
        ("sqeuclidean", [np.nan, 0.0, 1.0], True),
        ("euclidean", [np.inf, 0.0, 1.0], True),
        ("correlation", [np.nan, 0.0, 1.0], True),
    ],
)
def test_a_pattern_without_distance_is_nan_and_spoils_no_other(metric, row, undefined):
    others = draw((4, 3))
    patterns = np.vstack([others[:2], row, others[2:]])
    rdm = compute_rdm(patterns, metric)
    np.testing.assert_array_equal(find_undefined(patterns, metric), [False, False, undefined, False, False])
    rest = [0, 1, 3, 4]
    np.testing.assert_allclose(rdm[np.ix_(rest, rest)], squareform(pdist(others, metric)), rtol=1e-9)
    assert np.isnan(rdm[2, rest]).all() == undefined
    assert np.isnan(rdm[rest, 2]).all() == undefined


@pytest.mark.parametrize(
    ("patterns", "metric", "says"),
    [
        (np.zeros((3, 2, 2)), "cosine", "must be a matrix"),
        (np.zeros((3, 0)), "cosine", "with features"),
        (np.zeros((3, 2), dtype=complex), "cosine", "real numbers"),
        (np.zeros((3, 2)), "correlaton", "Did you mean 'correlation'"),
    ],
)
def test_what_has_no_answer_is_refused(patterns, metric, says):
    with pytest.raises(InputError, match=says):
        compute_rdm(patterns, metric)
