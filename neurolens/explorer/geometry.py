"""RDMs in 255 levels, and their stimuli as points of a plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.explorer.pictures import quantise


@dataclass(frozen=True, slots=True)
class Geometry:
    """One RDM, as it is shown.

    Attributes
    ----------
    levels
        array, shape (n_pairs,), uint8: the upper triangle row by row; 1 is `low`, 255 is `high`, 0 is missing.
    low, high
        The range of dissimilarities.
    points
        array, shape (n_stimuli, 2), float, in [-1, 1]; empty where pairs are missing.
    share
        Part of the squared distances that the plane keeps, in [0, 1].
    """

    levels: NDArray[np.uint8]
    low: float
    high: float
    points: NDArray[np.float64]
    share: float


def make_geometry(square: NDArray[Any]) -> Geometry:
    """Prepare one RDM, shape (n_stimuli, n_stimuli), for the page."""
    rows, columns = np.triu_indices(len(square), 1)
    levels, low, high = quantise(square[rows, columns])
    points, share = scale_to_plane(square)
    return Geometry(levels, low, high, points, share)


def scale_to_plane(square: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Classical multidimensional scaling: the plane whose inner products are nearest to those of the distances.

    Parameters
    ----------
    square
        array, shape (n, n): distances, symmetric with zero diagonal.

    Returns
    -------
    points
        array, shape (n, 2), divided by the largest coordinate; shape (0, 2) where distances are missing. The sign of
        each axis is such that its largest coordinate is positive.
    share
        Sum of the two eigenvalues used, over the sum of all positive ones.

    References
    ----------
    Torgerson (1952), Psychometrika 17:401, doi:10.1007/BF02288916.

    Examples
    --------
    >>> points, share = scale_to_plane(np.array([[0, 3, 5], [3, 0, 4], [5, 4, 0.0]]))
    >>> round(share, 6)
    1.0
    """
    if not np.isfinite(square).all():
        return np.empty((0, 2)), float("nan")
    squared = np.asarray(square, dtype=np.float64) ** 2
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    kept = np.clip(values[:-3:-1], 0, None)
    points = vectors[:, :-3:-1] * np.sqrt(kept)
    points = points * np.sign(points[np.abs(points).argmax(axis=0), range(points.shape[1])] + 1e-300)
    largest = np.abs(points).max(initial=0.0)
    total = float(np.clip(values, 0, None).sum())
    if largest == 0 or total == 0:
        return np.zeros((len(square), 2)), 0.0
    return points / largest, float(kept.sum()) / total
