"""Eigenvectors, Cholesky factors and triangular systems by scipy, on threads that leave numpy's alone.

The wheels of numpy and of scipy each bring a BLAS with threads of its own, which look for further work for a while
after each call. Where calls to both alternate, the threads of one hold the cores that those of the other wait for, and
small systems take ten times as long as on a single thread. So scipy works on one thread, up to the size from which a
factor takes longer than the threads wait.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from threadpoolctl import LibController, ThreadpoolController

from neurolens.switches import Switch

Array = NDArray[Any]

LARGE = 4096  # rows from which scipy uses all its threads

_n_threads: list[int] = []


def eigh(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors of a symmetric matrix, in its dtype.

    Examples
    --------
    >>> eigh(np.diag([2.0, 1.0]))[0]
    array([1., 2.])
    """
    if matrix.dtype == np.float64:
        values, vectors = np.linalg.eigh(matrix)
        return values, vectors
    with _threads_for(matrix):  # numpy would compute float32 in the time of float64
        found: tuple[Array, Array] = scipy.linalg.eigh(matrix, driver="evd", check_finite=False)
    return found


def cholesky(matrix: Array) -> Array:
    """Lower triangular L with L L' = matrix.

    Raises
    ------
    scipy.linalg.LinAlgError
        If the matrix is not positive definite.
    """
    with _threads_for(matrix):
        lower: Array = scipy.linalg.cholesky(matrix, lower=True, check_finite=False)
    return lower


def solve_lower(lower: Array, right: Array) -> Array:
    """Solve lower @ x = right for a lower triangular matrix.

    Examples
    --------
    >>> solve_lower(np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([2.0, 3.0]))
    array([1., 2.])
    """
    with _threads_for(lower):
        solved: Array = scipy.linalg.solve_triangular(lower, right, lower=True, check_finite=False)
    return solved


def _threads_for(matrix: Array) -> AbstractContextManager[None]:
    return _on_one_thread if len(matrix) < LARGE else nullcontext()


@cache
def _find_own_pools() -> tuple[LibController, ...]:
    """Return the BLAS libraries that lie in scipy's wheel; none where scipy shares numpy's."""
    package = Path(scipy.__file__).resolve().parent
    homes = (package, package.with_name("scipy.libs"))
    return tuple(
        library
        for library in ThreadpoolController().lib_controllers
        if any(Path(library.filepath).resolve().is_relative_to(home) for home in homes)
    )


def _take_threads() -> None:
    _n_threads[:] = [library.num_threads for library in _find_own_pools()]
    for library in _find_own_pools():
        library.set_num_threads(1)


def _give_back_threads() -> None:
    for library, n in zip(_find_own_pools(), _n_threads, strict=True):
        library.set_num_threads(n)


_on_one_thread = Switch(_take_threads, _give_back_threads)
