"""Factors and triangular systems against numpy, and the threads that they take and give back."""

import threading

import numpy as np
import pytest
import scipy.linalg
from threadpoolctl import ThreadpoolController, threadpool_limits

from neurolens.numerics import factors

rng = np.random.default_rng(0)


def make_covariance(n, dtype=np.float64):
    X = rng.normal(size=(n, 2 * n))
    return (X @ X.T / n).astype(dtype)


def count_threads():
    return [(library.filepath, library.num_threads) for library in ThreadpoolController().lib_controllers]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eigenvectors_rebuild_the_matrix_in_its_dtype(dtype):
    matrix = make_covariance(40, dtype)
    values, vectors = factors.eigh(matrix)
    assert values.dtype == vectors.dtype == dtype
    np.testing.assert_allclose(
        vectors * values @ vectors.T, matrix, atol=1e-4 if dtype == np.float32 else 1e-12
    )
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix.astype(float)), rtol=1e-4)


def test_the_factor_and_the_system_agree_with_numpy():
    matrix, right = make_covariance(30), rng.normal(size=(30, 4))
    lower = factors.cholesky(matrix)
    np.testing.assert_allclose(lower, np.linalg.cholesky(matrix), atol=1e-12)
    np.testing.assert_allclose(factors.solve_lower(lower, right), np.linalg.solve(lower, right), atol=1e-10)


def test_what_is_not_positive_definite_is_refused():
    with pytest.raises(scipy.linalg.LinAlgError):
        factors.cholesky(np.diag([1.0, -1.0]))


def test_threads_are_given_back_also_after_an_error():
    with threadpool_limits(2):
        before = count_threads()
        with pytest.raises(scipy.linalg.LinAlgError):
            factors.cholesky(np.diag([1.0, -1.0]))
        factors.solve_lower(np.eye(3), np.ones(3))
        assert count_threads() == before


def test_calls_from_several_threads_give_back_what_there_was():
    with threadpool_limits(2):
        before = count_threads()
        matrices = [make_covariance(200) for _ in range(8)]
        found = [None] * 8

        def work(i):
            for _ in range(20):
                found[i] = factors.cholesky(matrices[i])

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert count_threads() == before
    for lower, matrix in zip(found, matrices, strict=True):
        np.testing.assert_allclose(lower @ lower.T, matrix, atol=1e-10)


def test_a_large_matrix_takes_all_threads(monkeypatch):
    asked = []
    monkeypatch.setattr(factors, "_on_one_thread", factors.Switch(lambda: asked.append("few"), lambda: None))
    factors.cholesky(np.eye(10))
    assert asked == ["few"]
    monkeypatch.setattr(factors, "LARGE", 5)
    factors.cholesky(np.eye(10))
    assert asked == ["few"]
