"""Ranks of long vectors, at the speed of sorting plain numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["compute_average_ranks"]

BITS = 62  # of an integer of 64 bits: one for the sign, one to spare for rounding


def compute_average_ranks(vectors: NDArray[Any], *, origin: float = 0.0) -> NDArray[np.float64]:
    """Rank each row from 1, tied values sharing the average of their ranks.

    Parameters
    ----------
    vectors
        array, shape (n_vectors, n_pairs), real; NaN ranks last.
    origin
        What is subtracted from every rank, such as their mean.

    Returns
    -------
    ndarray
        shape (n_vectors, n_pairs), float64.

    Examples
    --------
    >>> compute_average_ranks(np.array([[0.5, -1.0, 0.5, 2.0]]))
    array([[2.5, 1. , 2.5, 4. ]])
    """
    n_pairs = vectors.shape[1]
    ranks = np.empty(vectors.shape, dtype=np.float64)
    # Fresh memory costs as much as sorting, so it is taken once for all rows.
    keys, ordered = np.empty(n_pairs, dtype=np.int64), np.empty(n_pairs, dtype=vectors.dtype)
    starts, positions = np.ones(n_pairs, dtype=bool), np.arange(n_pairs)
    counting = np.arange(1.0, n_pairs + 1) - origin
    for row, out in zip(vectors, ranks, strict=True):
        order, differ = _find_order(row, keys, positions, ordered)
        if not differ:
            np.not_equal(ordered[1:], ordered[:-1], out=starts[1:])
            differ = bool(starts.all())
        if differ:
            out[order] = counting
        else:
            first = np.flatnonzero(starts)  # where each run of ties starts
            last = np.r_[first[1:], n_pairs]
            out[order] = np.repeat((first + 1 + last) / 2 - origin, last - first)
    return ranks


def _find_order(
    row: NDArray[Any], keys: NDArray[np.int64], positions: NDArray[np.int64], ordered: NDArray[Any]
) -> tuple[NDArray[np.intp], bool]:
    """Return where the ascending values stand, and whether it is seen that all differ; else write them to `ordered`.

    Numbers are sorted several times faster than positions of numbers. So value and position are packed into one
    integer, the value, between the smallest and the largest, in its first bits. Where these cannot tell two values
    apart, which is rare and is seen, what is almost in order is sorted again.
    """
    n_bits = max(1, (len(row) - 1).bit_length())
    if not _pack(row, 2.0 ** (BITS - n_bits), keys, ordered):
        order = np.argsort(row)
        np.take(row, order, out=ordered, mode="clip")
        return order, False
    np.left_shift(keys, n_bits, out=keys)
    np.bitwise_or(keys, positions, out=keys)
    keys.sort()
    levels = np.right_shift(keys, n_bits, out=ordered.view(np.int64))
    differ = not (levels[1:] == levels[:-1]).any()
    np.bitwise_and(keys, 2**n_bits - 1, out=keys)
    order = keys.astype(np.intp, copy=False)
    if differ:
        return order, True
    np.take(row, order, out=ordered, mode="clip")
    if (ordered[1:] < ordered[:-1]).any():
        order = order[np.argsort(ordered, kind="stable")]
        np.take(row, order, out=ordered, mode="clip")
    return order, False


def _pack(row: NDArray[Any], levels: float, keys: NDArray[np.int64], scaled: NDArray[Any]) -> bool:
    """Write whole numbers from 0 to `levels` that never fall where values rise; say whether there are any."""
    if row.dtype != np.float64:
        return False
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        low = row.min()
        scale = levels / (row.max() - low)
        if not (np.isfinite(scale) and scale > 0):  # constant, or not finite
            return False
    np.subtract(row, low, out=scaled)
    np.multiply(scaled, scale, out=scaled)
    np.copyto(keys, scaled, casting="unsafe")
    return True
