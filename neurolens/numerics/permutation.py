"""Permutation of stimulus labels: the similarity of two sides that have nothing to do with each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError, check_choice
from neurolens.numerics.similarity import MEASURES, Array, Measure, Similarity

MAX_LISTED = 7  # up to this many stimuli every permutation is listed
MAX_TAU_COMPARISONS = 200_000  # about a millisecond each at 92 stimuli
BLOCK_BYTES = 64 * 2**20
ROUNDING = 1e-9  # a permutation that changes nothing must count as >= in spite of rounding


@dataclass(frozen=True)
class PermutationTest:
    """Result of a permutation test of m models against k references.

    Attributes
    ----------
    score
        array, shape (m, k): the mean over a reference's subjects of the similarity with the model.
    p
        array, shape (m, k): one-sided, uncorrected.
    p_max
        array, shape (m, k): corrected over the m models by the maximum statistic.
    n_permutations
        how many permutations were made, the identity not counted.
    """

    score: Array
    p: Array
    p_max: Array
    n_permutations: int


def draw_permutations(n_stimuli: int, n_permutations: int, seed: int) -> NDArray[np.intp]:
    """Draw orders of stimuli; for up to seven stimuli list them all.

    Parameters
    ----------
    n_stimuli
        Number of stimuli.
    n_permutations
        How many to draw where not all are listed.
    seed
        Seed of the draw.

    Returns
    -------
    ndarray of int
        shape (n_permutations, n_stimuli). A full list has n_stimuli! - 1 rows: the identity is the observed
        order itself, which p = (1 + #) / (1 + N) counts.
    """
    if n_permutations < 1:
        raise InputError(f"n_permutations={n_permutations} must be at least 1.")
    if n_stimuli <= MAX_LISTED:
        listed = list(itertools.permutations(range(n_stimuli)))
        return np.array(listed[1:], dtype=np.intp)
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(n_stimuli) for _ in range(n_permutations)])


def compute_permutation_test(
    models: Array,
    references: Sequence[Array],
    method: Similarity = "rho-a",
    *,
    permutations: NDArray[np.intp],
) -> PermutationTest:
    """Test whether models are more like references than chance, by permuting the references' stimuli.

    One permutation acts on all references, subjects and models together.
    p = (1 + #{null >= observed}) / (1 + N). The maximum over models is taken of the similarity minus its mean
    over all permutations, which is 0 but for "cosine".

    Parameters
    ----------
    models
        array, shape (m, n_pairs): upper triangles of RDMs, row by row; no NaN.
    references
        k arrays, each of shape (n_subjects, n_pairs).
    method
        The measure.
    permutations
        array, shape (N, n_stimuli), as `draw_permutations` gives them.

    Returns
    -------
    PermutationTest

    Raises
    ------
    InputError
        If "kendall-tau-a" would need too many comparisons (it has no matrix product).

    References
    ----------
    Schütt et al. (2023), eLife 12:e82566, doi:10.7554/eLife.82566.
    """
    check_choice(method, MEASURES, "method")
    measure = MEASURES[method]
    embedded = measure.embed(np.asarray(models, dtype=np.float64))
    targets = [measure.embed(np.asarray(reference, dtype=np.float64)) for reference in references]
    if measure.linear:  # the mean over subjects of inner products is the inner product with the mean
        targets = [target.mean(axis=0, keepdims=True) for target in targets]
    sizes = [len(target) for target in targets]
    stacked = np.concatenate(targets)
    _check_work(measure, method, len(embedded) * len(stacked) * len(permutations))

    score = _average(measure.compare(embedded, stacked), sizes)
    centre = _average(_expected(measure, embedded, stacked), sizes)
    count = np.zeros(score.shape)
    count_max = np.zeros(score.shape)
    for permuted in _permuted(stacked, permutations):
        for one in _null(measure, embedded, permuted, sizes):
            count += one >= score - ROUNDING
            count_max += np.fmax.reduce(one - centre, axis=0) >= score - centre - ROUNDING
    n = len(permutations)
    undefined = np.isnan(score)
    p = np.where(undefined, np.nan, (1 + count) / (1 + n))
    p_max = np.where(undefined, np.nan, (1 + count_max) / (1 + n))
    return PermutationTest(score=score, p=p, p_max=p_max, n_permutations=n)


def _check_work(measure: Measure, method: str, n_comparisons: int) -> None:
    if not measure.linear and n_comparisons > MAX_TAU_COMPARISONS:
        raise InputError(
            f"A permutation test with {method!r} needs {n_comparisons:,} comparisons one by one; at most "
            f'{MAX_TAU_COMPARISONS:,} are made. Use "rho-a" (also of ranks, one matrix product), fewer '
            "operations, or n_permutations=0."
        )


def _expected(measure: Measure, embedded: Array, stacked: Array) -> Array:
    """Mean similarity over all permutations: every pair meets every pair equally often."""
    if not measure.linear:
        return np.zeros((len(embedded), len(stacked)))
    return np.outer(embedded.sum(axis=1), stacked.mean(axis=1))


def _average(scores: Array, sizes: Sequence[int]) -> Array:
    """Average over the subjects of each reference, shape (..., sum of sizes) -> (..., n_references)."""
    starts = np.r_[0, np.cumsum(sizes)[:-1]]
    averaged: Array = np.add.reduceat(scores, starts, axis=-1) / np.asarray(sizes)
    return averaged


def _permuted(vectors: Array, permutations: NDArray[np.intp]) -> Iterator[Array]:
    """Yield blocks of permuted vectors, shape (n_block, n_vectors, n_pairs), each block bounded in memory."""
    n_stimuli = permutations.shape[1]
    rows, columns = np.triu_indices(n_stimuli, 1)
    squares = np.zeros((len(vectors), n_stimuli, n_stimuli))
    squares[:, rows, columns] = vectors
    squares[:, columns, rows] = vectors
    flat = squares.reshape(len(vectors), -1)
    step = max(1, BLOCK_BYTES // (vectors.nbytes + 1))
    for start in range(0, len(permutations), step):
        orders = permutations[start : start + step]
        cells = orders[:, rows] * n_stimuli + orders[:, columns]
        yield flat[:, cells].transpose(1, 0, 2)


def _null(measure: Measure, embedded: Array, permuted: Array, sizes: Sequence[int]) -> Array:
    """Scores under each permutation of a block, shape (n_block, n_models, n_references)."""
    n_block, n_vectors, n_pairs = permuted.shape
    scores = measure.compare(embedded, permuted.reshape(-1, n_pairs))
    scores = scores.reshape(len(embedded), n_block, n_vectors).transpose(1, 0, 2)
    return _average(scores, sizes)
