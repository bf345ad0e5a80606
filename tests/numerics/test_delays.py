"""Delays and convolution against loops and numpy, and never across runs."""

import numpy as np
import pytest

from neurolens.numerics.delays import convolve_rows, delay_rows

RUNS = np.array(["a"] * 4 + ["b"] * 3 + ["a"])  # the last row belongs to the first run


@pytest.mark.parametrize("delays", [[0], [1, 2], [-1, 3], [9]])
def test_delays_equal_a_loop_over_rows_of_a_run(delays):
    X = np.random.default_rng(0).normal(size=(8, 2))
    expected = np.zeros((8, len(delays), 2))
    for run in ("a", "b"):
        rows = np.flatnonzero(run == RUNS)
        for place, row in enumerate(rows):
            for column, delay in enumerate(delays):
                if 0 <= place - delay < rows.size:
                    expected[row, column] = X[rows[place - delay]]
    np.testing.assert_array_equal(delay_rows(X, delays, RUNS), expected.reshape(8, -1))


def test_convolution_is_numpys_within_each_run():
    rng = np.random.default_rng(0)
    X, response = rng.normal(size=(8, 2)), rng.normal(size=3)
    convolved = convolve_rows(X, response, RUNS)
    for run in ("a", "b"):
        rows = np.flatnonzero(run == RUNS)
        for column in range(2):
            expected = np.convolve(X[rows, column], response)[: rows.size]
            np.testing.assert_allclose(convolved[rows, column], expected)


def test_a_run_knows_nothing_of_another():
    X = np.random.default_rng(0).normal(size=(8, 2))
    changed = X.copy()
    changed[RUNS == "b"] += 100
    for function, argument in ((delay_rows, [1, 2]), (convolve_rows, np.array([1.0, 0.5]))):
        before, after = (function(features, argument, RUNS) for features in (X, changed))
        np.testing.assert_array_equal(before[RUNS == "a"], after[RUNS == "a"])
