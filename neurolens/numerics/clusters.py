"""Cluster-based sign-flip test: where, along time or over time x time, subjects' scores differ from chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from neurolens.errors import InputError, is_between
from neurolens.numerics.signflip import draw_signs

__all__ = ["ClusterTest", "compute_cluster_test"]

Array = NDArray[np.float64]
ROUNDING = 1e-9
BLOCK_VALUES = 2**20


@dataclass(frozen=True)
class ClusterTest:
    """Result of a cluster test.

    Attributes
    ----------
    t
        array, shape (*grid): one-sample t over subjects.
    label
        array of int, shape (*grid): number of the cluster from 1, 0 outside.
    p
        array, shape (n_clusters,): of cluster 1, 2, ...; family-wise over the grid.
    mass
        array, shape (n_clusters,): sum of t within.
    n_flips
        how many sign flips were made, the observed signs not counted.
    """

    t: Array
    label: NDArray[np.intp]
    p: Array
    mass: Array
    n_flips: int


def compute_cluster_test(
    scores: NDArray[Any], *, threshold: float, n_flips: int, seed: int, two_sided: bool = False
) -> ClusterTest:
    """Test clusters of scores that differ from 0, by flipping the signs of subjects.

    Parameters
    ----------
    scores
        array, shape (n_subjects, *grid): minus chance; no NaN. The grid has one or more axes, and neighbours
        along them belong together.
    threshold
        p of a one-sample t (one- or two-sided as the test) below which a point may be in a cluster.
    n_flips
        How many sign flips; all of them for up to 12 subjects.
    seed
        Seed of the flips.
    two_sided
        Whether clusters below 0 count as well; they are kept apart from those above.

    Returns
    -------
    ClusterTest
        A cluster's p compares its mass with the largest of each flip: it says that there is something, not
        where it begins or ends.

    References
    ----------
    Maris & Oostenveld (2007), J. Neurosci. Methods 164:177, doi:10.1016/j.jneumeth.2007.03.024.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape[0] < 2 or scores.ndim < 2:
        raise InputError(
            f"A cluster test needs scores (n_subjects, *grid) of at least 2 subjects; got {scores.shape}."
        )
    if np.isnan(scores).any():
        raise InputError("Scores contain NaN; leave out the subjects or times they belong to.")
    if not is_between(threshold, 0, 0.5):
        raise InputError(f"threshold={threshold!r} is a p-value that forms clusters, above 0 and below .5.")
    n_subjects, grid = len(scores), scores.shape[1:]
    limit = float(stats.t.isf(threshold / (2 if two_sided else 1), n_subjects - 1))
    flat = scores.reshape(n_subjects, -1)
    squares = (flat**2).sum(axis=0)
    t = _compute_t(flat.sum(axis=0), squares, n_subjects).reshape(grid)
    label, mass = _find_clusters(t, limit, two_sided)
    signs = draw_signs(n_subjects, n_flips, seed)
    step = max(1, BLOCK_VALUES // flat.shape[1])
    largest = np.concatenate(
        [
            _find_largest(
                _compute_t(signs[i : i + step] @ flat, squares, n_subjects).reshape(-1, *grid),
                limit,
                two_sided,
            )
            for i in range(0, len(signs), step)
        ]
    )
    count = (largest >= np.abs(mass)[:, None] * (1 - ROUNDING)).sum(axis=1)
    return ClusterTest(t, label, (1 + count) / (1 + len(signs)), mass, len(signs))


def _find_largest(t: Array, limit: float, two_sided: bool) -> Array:
    """Largest mass of each flip, shape (n_flips,): one labelling of all, in which flips do not touch."""
    apart = ndimage.generate_binary_structure(t.ndim, 1)
    apart[[0, 2]] = False
    largest = np.zeros(len(t))
    for side in (t, -t) if two_sided else (t,):
        label, n = ndimage.label(side > limit, structure=apart)
        mass = np.bincount(label.ravel(), side.ravel(), minlength=n + 1)[1:]
        inside = label.reshape(len(t), -1)
        flips, places = np.nonzero(inside)
        np.maximum.at(largest, flips, mass[inside[flips, places] - 1])
    return largest


def _compute_t(sums: Array, squares: Array, n: int) -> Array:
    """One-sample t from sums and sums of squares, which flips leave as they are."""
    mean = sums / n
    variance = np.maximum(squares - n * mean**2, 0) / (n - 1)
    t: Array = np.divide(mean, np.sqrt(variance / n), out=np.zeros_like(mean), where=variance > 0)
    return t


def _find_clusters(t: Array, limit: float, two_sided: bool) -> tuple[NDArray[np.intp], Array]:
    label, n = ndimage.label(t > limit)
    if two_sided:
        below, n_below = ndimage.label(t < -limit)
        label = np.where(below > 0, below + n, label)
        n += n_below
    mass = np.bincount(label.ravel(), t.ravel(), minlength=n + 1)[1:]
    return np.asarray(label, dtype=np.intp), np.asarray(mass, dtype=np.float64)
