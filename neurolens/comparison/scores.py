"""Scores, ceilings and p-values of all operations and regions, before they get their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.numerics.ceiling import compute_ceiling
from neurolens.numerics.permutation import compute_permutation_test
from neurolens.numerics.similarity import Similarity, compute_similarity


@dataclass(frozen=True)
class Scores:
    """Numbers of all operations (rows) and regions (columns); an operation with missing pairs has NaN."""

    score: NDArray[Any]  # (n_ops, n_regions)
    p: NDArray[Any]  # (n_ops, n_regions), uncorrected
    p_max: NDArray[Any]  # (n_ops, n_regions), corrected by the maximum statistic over operations
    by_subject: list[NDArray[Any]]  # one a region: (n_ops, n_subjects)
    ceilings: NDArray[Any]  # (2, n_regions): low, high


def compute_scores(
    vectors: NDArray[Any],
    references: list[NDArray[Any]],
    similarity: Similarity,
    permutations: NDArray[np.intp] | None,
) -> Scores:
    """Score operations against regions.

    Parameters
    ----------
    vectors
        array, shape (n_ops, n_pairs); a row with NaN is left out.
    references
        one array a region, shape (n_subjects, n_pairs), complete.
    similarity
        The measure.
    permutations
        array, shape (n_permutations, n_stimuli), or None for no test.
    """
    complete = ~np.isnan(vectors).any(axis=1)
    by_subject = []
    for reference in references:
        scores = np.full((len(vectors), len(reference)), np.nan)
        if complete.any():
            scores[complete] = compute_similarity(vectors[complete], reference, similarity)
        by_subject.append(scores)
    shape = (len(vectors), len(references))
    p, p_max = np.full(shape, np.nan), np.full(shape, np.nan)
    if permutations is not None and complete.any():
        test = compute_permutation_test(vectors[complete], references, similarity, permutations=permutations)
        p[complete], p_max[complete] = test.p, test.p_max
    return Scores(
        score=np.stack([scores.mean(axis=1) for scores in by_subject], axis=1),
        p=p,
        p_max=p_max,
        by_subject=by_subject,
        ceilings=np.array([_find_ceiling(reference, similarity) for reference in references]).T,
    )


def _find_ceiling(reference: NDArray[Any], similarity: Similarity) -> tuple[float, float]:
    low, high = compute_ceiling(reference, similarity)
    return float(low.mean()), float(high.mean())
