"""Average ranks against scipy."""

import numpy as np
import pytest
from scipy import stats

from neurolens.numerics.ranks import compute_average_ranks

RNG = np.random.default_rng(8)


@pytest.mark.parametrize("levels", [None, 3])
def test_ranks_equal_scipy(levels):
    vectors = RNG.random((4, 101)) if levels is None else RNG.integers(levels, size=(4, 101)).astype(float)
    np.testing.assert_array_equal(compute_average_ranks(vectors), stats.rankdata(vectors, axis=1))


AWKWARD = {
    "many": RNG.standard_normal(200_000),
    "nearly the same": 1 + RNG.integers(50, size=3000) * np.finfo(float).eps,
    "one close pair": np.r_[1.0, 1 + 2**-52, RNG.random(4000)][::-1],
    "close triples": np.repeat(RNG.random(500), 3) * (1 + RNG.integers(9, size=1500) * 2**-52),
    "signed zeros": np.array([0.0, -0.0, -1.0, 0.0, 1.0, -0.0]),
    "extreme": np.array([np.inf, -np.inf, 1e-310, -1e-310, 1e308, -1e308, 0.0, 5e-324]),
    "close and signed": RNG.integers(-4, 4, size=900) * (1 + RNG.integers(9, size=900) * 2**-52),
    "one": np.array([3.0]),
    "constant": np.full(1000, 0.1),
    "sorted down": np.linspace(5, -5, 70_000),
}


@pytest.mark.parametrize("values", AWKWARD.values(), ids=AWKWARD)
def test_ranks_of_awkward_values_equal_scipy(values):
    np.testing.assert_array_equal(compute_average_ranks(values[None])[0], stats.rankdata(values))
    two = np.stack([values, values], axis=1).T[:, ::-1]  # not contiguous
    np.testing.assert_array_equal(compute_average_ranks(two), stats.rankdata(two, axis=1))


@pytest.mark.parametrize("dtype", ["float32", ">f8", "int16", "uint8", "bool"])
def test_ranks_of_other_dtypes_equal_scipy(dtype):
    values = (RNG.standard_normal((3, 700)) * 50).astype(dtype)
    np.testing.assert_array_equal(compute_average_ranks(values), stats.rankdata(values, axis=1))


def test_nan_ranks_last_whatever_its_sign():
    values = np.array([[2.0, np.nan, -1.0, 5.0], [2.0, -np.nan, -1.0, 5.0]])
    np.testing.assert_array_equal(compute_average_ranks(values), [[2, 4, 1, 3]] * 2)
