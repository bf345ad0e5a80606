"""Null distributions: from statistics of an operation and what chance made of them to p-values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurolens.numerics.corrections import Correction, control_fdr, correct_by_maximum

__all__ = ["ROUNDING", "Counted", "adjust_fdr", "correct_tests", "count_exceedances"]

Table = NDArray[np.float64]

ROUNDING = 1e-9  # a permutation that changes nothing must count as >= in spite of rounding


@dataclass(frozen=True)
class Counted:
    """Tests of one operation.

    Attributes
    ----------
    observed, p
        Arrays, shape (n_cells,): the statistic, and its uncorrected p.
    null
        Array, shape (n_permutations, n_cells), where it was kept; else (n_permutations, n_pieces): the largest
        of each piece.
    """

    observed: Table
    p: Table
    null: Table


def count_exceedances(pieces: Iterable[tuple[Table, Table]], *, keep: bool) -> Counted:
    """Compute ``p = (1 + #{null >= observed}) / (1 + N)`` of cells that come in pieces.

    Parameters
    ----------
    pieces
        Statistics (n_some,) and their null (n_permutations, n_some).
    keep
        Whether to keep all of the null, or only the largest of a piece.

    Returns
    -------
    Counted
    """
    observed, p, null = [], [], []
    for statistic, chance in pieces:
        observed.append(statistic)
        p.append(_find_p(statistic, (chance >= statistic - ROUNDING).sum(axis=0), len(chance)))
        null.append(chance if keep else np.fmax.reduce(chance, axis=1)[:, None])
    return Counted(np.concatenate(observed), np.concatenate(p), np.concatenate(null, axis=1))


def correct_tests(
    tests: Sequence[Counted], correction: Correction, *, over_operations: bool
) -> tuple[Table, Table, Table]:
    """Lay the tests of all operations side by side, and correct them.

    Parameters
    ----------
    tests
        One an operation; with all of the null where correction is over operations.
    correction
        "max" or "bh".
    over_operations
        Whether the family is all operations in one cell, rather than all cells of one operation.

    Returns
    -------
    tuple of array, shape (n_ops, n_cells)
        The statistic, p, and corrected p.
    """
    observed, p = np.stack([test.observed for test in tests]), np.stack([test.p for test in tests])
    if correction == "bh":
        return observed, p, adjust_fdr(p, over_operations=over_operations)
    if over_operations:
        return observed, p, correct_by_maximum(observed, np.stack([test.null for test in tests], axis=1))
    return observed, p, np.stack([_correct_cells(test) for test in tests])


def adjust_fdr(p: Table, *, over_operations: bool) -> Table:
    """Adjust (op, cell) by Benjamini-Hochberg over operations, or over cells."""
    return control_fdr(p) if over_operations else control_fdr(p.T).T


def _correct_cells(test: Counted) -> Table:
    """Compare each cell with the largest of all under each permutation."""
    largest = np.sort(np.fmax.reduce(test.null, axis=1))
    below = np.searchsorted(largest, test.observed - ROUNDING, side="left")
    return _find_p(test.observed, largest.size - below, largest.size)


def _find_p(observed: Table, count: NDArray[np.intp], n_permutations: int) -> Table:
    return np.where(np.isnan(observed), np.nan, (1 + count) / (1 + n_permutations))
