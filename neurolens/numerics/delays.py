"""Delays: features of a time series seen later, run by run, with nothing before the start of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

__all__ = ["convolve_rows", "delay_rows"]

FloatArray = NDArray[np.floating[Any]]


def delay_rows(features: FloatArray, delays: Sequence[int], runs: NDArray[Any]) -> FloatArray:
    """Lay copies of the features side by side, each shifted by a number of rows within its run.

    Parameters
    ----------
    features
        Array, shape (n_volumes, n_features); the rows of a run are in order of time.
    delays
        Numbers of rows; 1 means that a row holds the features of the row before, -1 of the row after.
    runs
        Array, shape (n_volumes,): the run of each row.

    Returns
    -------
    array, shape (n_volumes, n_delays * n_features)
        Delay by delay; 0 where a run had no such row.

    References
    ----------
    Huth et al., Nature 2016, doi:10.1038/nature17637.

    Examples
    --------
    >>> import numpy as np
    >>> delay_rows(np.array([[1.0], [2.0], [3.0]]), [0, 1], np.array(["a", "a", "b"])).tolist()
    [[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]]
    """
    n_rows, n_features = features.shape
    delayed = np.zeros((n_rows, len(delays), n_features), dtype=features.dtype)
    for rows in _rows_of_runs(runs):
        for column, delay in enumerate(delays):
            if abs(delay) < rows.size:
                later, earlier = rows[max(0, delay) :], rows[max(0, -delay) :]
                n_common = rows.size - abs(delay)
                delayed[later[:n_common], column] = features[earlier[:n_common]]
    return delayed.reshape(n_rows, -1)


def convolve_rows(features: FloatArray, response: FloatArray, runs: NDArray[Any]) -> FloatArray:
    """Convolve each feature with a causal response, run by run.

    Parameters
    ----------
    features
        Array, shape (n_volumes, n_features); the rows of a run are in order of time.
    response
        Array, shape (n_lags,): what one unit of a feature adds 0, 1, ... rows later.
    runs
        Array, shape (n_volumes,): the run of each row.

    Returns
    -------
    array, shape (n_volumes, n_features), dtype of `features`

    Examples
    --------
    >>> import numpy as np
    >>> convolve_rows(np.array([[1.0], [0.0], [0.0]]), np.array([2.0, 1.0]), np.array([1, 1, 2])).ravel().tolist()
    [2.0, 1.0, 0.0]
    """
    convolved = np.empty_like(features)
    for rows in _rows_of_runs(runs):
        convolved[rows] = lfilter(response, [1.0], features[rows], axis=0)
    return convolved


def _rows_of_runs(runs: NDArray[Any]) -> Iterator[NDArray[np.intp]]:
    """Positions of the rows of each run."""
    _, member = np.unique(runs, return_inverse=True)
    for run in range(int(member.max()) + 1):
        yield np.flatnonzero(member == run)
