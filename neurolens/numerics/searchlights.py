"""RDMs of many small neighbourhoods at once: searchlights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from neurolens.errors import InputError, check_choice

__all__ = ["SEARCHLIGHT_METRICS", "SearchlightMetric", "find_neighbours", "walk_rdms"]

Array = NDArray[np.float64]
SearchlightMetric = Literal["correlation", "cosine", "euclidean", "sqeuclidean"]
SEARCHLIGHT_METRICS = ("correlation", "cosine", "euclidean", "sqeuclidean")
BLOCK_VALUES = 2**17  # of gathered patterns: 1 MB stays in the cache


def find_neighbours(positions: NDArray[Any], radius: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find what lies within a radius of each position, itself included.

    Parameters
    ----------
    positions
        array, shape (n, 3) or any number of axes; in the units of `radius`.
    radius
        Largest distance, included.

    Returns
    -------
    neighbours : ndarray of int
        shape (n, n_largest): indices of neighbours, filled up with n.
    counts : ndarray of int
        shape (n,): how many there are.

    Raises
    ------
    InputError
        If the radius is not above 0, or a position is not a number.
    """
    positions = np.asarray(positions, dtype=np.float64)
    if not radius > 0:
        raise InputError(f"radius={radius!r} must be above 0, in the units of the positions.")
    if not np.isfinite(positions).all():
        raise InputError("Positions must be numbers; leave out units whose place is not known (NaN).")
    tree = KDTree(positions)
    found = tree.query_ball_point(positions, radius * (1 + 1e-9), return_sorted=True)
    counts = np.array([len(one) for one in found], dtype=np.intp)
    neighbours = np.full((len(positions), counts.max(initial=0)), len(positions), dtype=np.intp)
    neighbours[np.arange(neighbours.shape[1]) < counts[:, None]] = np.concatenate([*found, []]).astype(
        np.intp
    )
    return neighbours, counts


def walk_rdms(
    patterns: NDArray[Any],
    neighbours: NDArray[np.intp],
    counts: NDArray[np.intp],
    metric: SearchlightMetric = "correlation",
) -> Iterator[tuple[slice, Array]]:
    """Compute the RDM of each neighbourhood, a block of them at a time.

    Parameters
    ----------
    patterns
        array, shape (n_stimuli, n_units); no NaN.
    neighbours, counts
        As `find_neighbours` gives them, or some rows of that.
    metric
        "correlation", "cosine", "euclidean" or "sqeuclidean".

    Yields
    ------
    slice
        Which neighbourhoods.
    ndarray
        shape (n_block, n_pairs), float64: upper triangles. NaN where a pattern is constant under "correlation",
        or zero under "cosine".
    """
    check_choice(metric, SEARCHLIGHT_METRICS, "metric")
    n_stimuli = len(patterns)
    rows, columns = np.triu_indices(n_stimuli, 1)
    padded = np.zeros((patterns.shape[1] + 1, n_stimuli))  # units first: gathering copies whole rows
    padded[:-1] = np.asarray(patterns, dtype=np.float64).T
    padded[:-1] -= padded[:-1].mean(axis=1, keepdims=True) if metric in ("euclidean", "sqeuclidean") else 0
    step = max(1, BLOCK_VALUES // max(n_stimuli * max(neighbours.shape[1], n_stimuli), 1))
    for start in range(0, len(neighbours), step):
        block = slice(start, start + step)
        gathered = padded[neighbours[block]]  # (n_block, n_neighbours, n_stimuli)
        if metric == "correlation":
            gathered -= gathered.sum(axis=1, keepdims=True) / counts[block, None, None]
            gathered[neighbours[block] == patterns.shape[1]] = 0
        gram = gathered.transpose(0, 2, 1) @ gathered
        yield block, _measure(gram, rows, columns, metric)


def _measure(
    gram: Array, rows: NDArray[np.intp], columns: NDArray[np.intp], metric: SearchlightMetric
) -> Array:
    squares = np.einsum("bii->bi", gram)
    products = gram[:, rows, columns]
    if metric in ("correlation", "cosine"):
        largest = squares.max(axis=1, keepdims=True, initial=0)
        lengths = np.sqrt(np.where(squares > 1e-24 * largest, squares, np.nan))
        distances: Array = 1 - products / (lengths[:, rows] * lengths[:, columns])
        return distances
    squared: Array = np.maximum(squares[:, rows] + squares[:, columns] - 2 * products, 0)
    return squared if metric == "sqeuclidean" else np.sqrt(squared)
