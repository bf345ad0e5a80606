"""Scores of predictions, per neuroid, within one test fold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_TEST", "SCORES", "UNITS", "ScoreName", "pearson", "r2", "signed_r2"]

FloatArray = NDArray[np.floating[Any]]
ScoreName = Literal["pearson", "r2", "signed_r2"]


def pearson(observed: FloatArray, predicted: FloatArray) -> NDArray[np.float64]:
    """Correlate each column over stimuli.

    Parameters
    ----------
    observed, predicted
        Arrays, shape (n_stimuli, n_neuroids).

    Returns
    -------
    array, shape (n_neuroids,), float64
        Pearson r; NaN where a column does not vary (by more than rounding).

    Examples
    --------
    >>> import numpy as np
    >>> pearson(np.array([[1.0], [2.0], [4.0]]), np.array([[3.0], [5.0], [9.0]])).round(6).tolist()
    [1.0]
    """
    a, b = (_deviations(part) for part in (observed, predicted))
    norm = np.sqrt(np.square(a).sum(axis=0) * np.square(b).sum(axis=0))
    r: NDArray[np.float64] = (a * b).sum(axis=0) / np.where(norm > 0, norm, np.nan)
    return r


def r2(observed: FloatArray, predicted: FloatArray) -> NDArray[np.float64]:
    """Compute ``1 - SSE / SST`` of each column, SST about the mean of the test stimuli.

    Parameters
    ----------
    observed, predicted
        Arrays, shape (n_stimuli, n_neuroids).

    Returns
    -------
    array, shape (n_neuroids,), float64
        At most 1, unbounded below; NaN where the observed column does not vary.

    Examples
    --------
    >>> import numpy as np
    >>> r2(np.array([[0.0], [2.0]]), np.array([[1.0], [1.0]])).tolist()
    [0.0]
    """
    total = np.square(_deviations(observed)).sum(axis=0)
    error = np.square(observed.astype(np.float64) - predicted).sum(axis=0)
    score: NDArray[np.float64] = 1 - error / np.where(total > 0, total, np.nan)
    return score


def signed_r2(observed: FloatArray, predicted: FloatArray) -> NDArray[np.float64]:
    """Compute ``r |r|`` of each column, r Pearson's: the units of a ceiling, with the sign kept.

    Parameters
    ----------
    observed, predicted
        Arrays, shape (n_stimuli, n_neuroids).

    Returns
    -------
    array, shape (n_neuroids,), float64
        NaN where a column does not vary.

    Examples
    --------
    >>> import numpy as np
    >>> signed_r2(np.array([[1.0], [2.0], [4.0]]), -np.array([[3.0], [5.0], [9.0]])).round(6).tolist()
    [-1.0]
    """
    r = pearson(observed, predicted)
    return r * np.abs(r)


SCORES: dict[str, Callable[[FloatArray, FloatArray], NDArray[np.float64]]] = {
    "pearson": pearson,
    "r2": r2,
    "signed_r2": signed_r2,
}

UNITS = {"pearson": "r", "r2": "r2", "signed_r2": "r2"}
"""In which units a ceiling bounds each score."""

MIN_TEST = {"pearson": 3, "r2": 2, "signed_r2": 3}
"""How many test stimuli a fold needs: any two points correlate by 1 or -1, and one point has no variance."""


def _deviations(values: FloatArray) -> NDArray[np.float64]:
    """Deviations from each column's mean; exactly 0 where they are no more than rounding."""
    wide = values.astype(np.float64)
    deviations: NDArray[np.float64] = wide - wide.mean(axis=0)
    size = np.abs(wide).max(axis=0)
    rounding = np.abs(deviations).max(axis=0) <= 4 * np.finfo(np.float64).eps * size
    deviations[:, rounding] = 0
    return deviations
