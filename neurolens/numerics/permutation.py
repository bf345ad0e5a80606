"""Permutation of stimulus labels: the similarity of two sides that have nothing to do with each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError, check_choice, check_count
from neurolens.numerics.embedding import (
    KINDS,
    Array,
    Embedding,
    Indices,
    Kind,
    Pairs,
    compute_inner,
    draw_sample,
    embed,
    list_pairs,
    prepare_vectors,
)
from neurolens.numerics.similarity import MEASURES, Similarity

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
    expected
        array, shape (m, k): the mean similarity over all permutations; 0 but for the cosines.
    n_permutations
        how many permutations were made, the identity not counted.
    """

    score: Array
    p: Array
    p_max: Array
    expected: Array
    n_permutations: int


@dataclass(frozen=True)
class _Cells:
    """Embedded vectors as numbers that a permutation of stimuli moves about.

    One number a pair and, for the whitened measures, one a stimulus (what V^-1 has besides the identity).
    """

    rows: Indices
    columns: Indices  # equal to `rows` where the number is a stimulus'
    classes: Indices  # a permutation moves numbers within these
    left: Array  # (m, n_cells)
    right: Array  # (n_vectors, n_cells)
    basis: Array  # (q, n_cells): orthonormal, what the control vectors span; on the left side


def draw_permutations(
    n_stimuli: int, n_permutations: int, seed: int, groups: NDArray[np.intp] | None = None
) -> Indices:
    """Draw orders of stimuli; where there are as few as for seven stimuli list them all.

    Parameters
    ----------
    n_stimuli
        Number of stimuli.
    n_permutations
        How many to draw where not all are listed.
    seed
        Seed of the draw.
    groups
        array of int, shape (n_stimuli,): stimuli change places within their group only.

    Returns
    -------
    ndarray of int
        shape (n_permutations, n_stimuli). A full list has one row less than there are orders: the identity is
        the observed order itself, which p = (1 + #) / (1 + N) counts.

    Raises
    ------
    InputError
        If `n_permutations` is below 1, or no group has two stimuli.
    """
    check_count(n_permutations, "n_permutations")
    groups = np.zeros(n_stimuli, dtype=np.intp) if groups is None else np.asarray(groups)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    n_orders = math.prod(math.factorial(len(one)) for one in members)
    if n_orders < 2:
        raise InputError("Stimuli cannot change places: no group has two of them.")
    orders = np.tile(np.arange(n_stimuli), (n_permutations, 1))
    if n_orders <= math.factorial(MAX_LISTED):
        listed = itertools.product(*(itertools.permutations(one) for one in members))
        orders = np.tile(np.arange(n_stimuli), (n_orders, 1))
        orders[:, np.concatenate(members)] = [list(itertools.chain(*order)) for order in listed]
        return orders[1:]
    rng = np.random.default_rng(seed)
    for order in orders:
        for one in members:
            order[one] = rng.permutation(one)
    return orders


def compute_permutation_test(
    models: Array,
    references: Sequence[Array],
    method: Similarity = "rho-a",
    *,
    permutations: Indices,
    groups: NDArray[np.intp] | None = None,
    control: Array | None = None,
) -> PermutationTest:
    """Test whether models are more like references than chance, by permuting the references' stimuli.

    One permutation acts on all references, subjects and models together.
    p = (1 + #{null >= observed}) / (1 + N). The maximum over models is taken of the similarity minus its mean
    over all permutations, which is 0 but for the cosines. With `control`, what it does not explain of a
    reference is permuted, and partial similarities are computed anew (Freedman and Lane).

    Parameters
    ----------
    models
        array, shape (m, n_pairs): upper triangles of RDMs, row by row, or the kept pairs of them; no NaN.
    references
        k arrays, each of shape (n_subjects, n_pairs).
    method
        The measure.
    permutations
        array, shape (N, n_stimuli), as `draw_permutations` gives them.
    groups
        array of int, shape (n_stimuli,): only pairs within a group are kept, and `permutations` stay within
        groups.
    control
        array, shape (q, n_pairs): what it explains of both sides is removed.

    Returns
    -------
    PermutationTest

    Raises
    ------
    InputError
        If a Kendall measure would need too many comparisons (it has no matrix product), or is to be controlled.

    References
    ----------
    Schütt et al. (2023), eLife 12:e82566, doi:10.7554/eLife.82566.
    Freedman & Lane (1983), J. Bus. Econ. Stat. 1:292, doi:10.1080/07350015.1983.10509354.
    """
    check_choice(method, MEASURES, "method")
    n_stimuli = permutations.shape[1]
    groups = np.zeros(n_stimuli, dtype=np.intp) if groups is None else groups
    rows, columns = np.triu_indices(n_stimuli, 1)
    pairs = list_pairs(n_stimuli, groups[rows] == groups[columns])
    sizes = [len(reference) for reference in references]
    stacked = np.concatenate([np.asarray(reference, dtype=np.float64) for reference in references])
    cells = _embed_cells(np.asarray(models, dtype=np.float64), stacked, control, method, pairs, groups)
    if method not in KINDS:
        check_work(method, len(cells.left) * len(stacked) * len(permutations))
    elif not len(cells.basis):  # the mean over subjects of inner products is the inner product with the mean
        cells, sizes = _average_subjects(cells, sizes), [1] * len(sizes)
    return _count_exceeding(cells, sizes, method, permutations)


def _count_exceeding(
    cells: _Cells, sizes: list[int], method: Similarity, permutations: Indices
) -> PermutationTest:
    score = _average(_compare(cells, cells.right, method), sizes)
    expected = _average(_expect(cells, method), sizes)
    count, count_max = np.zeros(score.shape), np.zeros(score.shape)
    for permuted in _permute(cells, permutations):
        for null in _score_block(cells, permuted, sizes, method):
            count += null >= score - ROUNDING
            count_max += np.fmax.reduce(null - expected, axis=0) >= score - expected - ROUNDING
    n = len(permutations)
    undefined = np.isnan(score)
    return PermutationTest(
        score=score,
        p=np.where(undefined, np.nan, (1 + count) / (1 + n)),
        p_max=np.where(undefined, np.nan, (1 + count_max) / (1 + n)),
        expected=expected,
        n_permutations=n,
    )


def _embed_cells(
    models: Array, stacked: Array, control: Array | None, method: Similarity, pairs: Pairs, groups: Indices
) -> _Cells:
    if method not in KINDS:
        if control is not None:
            raise InputError(f"{method!r} has no residuals to control with; use a measure that is a product.")
        measure = MEASURES[method]
        left, right = measure.embed(models), measure.embed(stacked)
        return _Cells(pairs.rows, pairs.columns, groups[pairs.rows], left, right, np.zeros((0, len(pairs))))
    kind = KINDS[method]
    sample = draw_sample(np.ones(pairs.n_stimuli), pairs, kind)
    removed = None
    basis = Embedding(
        np.zeros((0, len(pairs))), np.zeros((0, pairs.n_stimuli if kind.whitened else 0)), np.zeros(0)
    )
    if control is not None:
        removed = embed(prepare_vectors(control, pairs, kind), sample, kind)
        basis = _orthonormalize(removed)
    embedded = [
        embed(prepare_vectors(vectors, pairs, kind), sample, kind, removed) for vectors in (models, stacked)
    ]
    rows, columns = pairs.rows, pairs.columns
    if kind.whitened:
        every = np.arange(pairs.n_stimuli)
        rows, columns = np.r_[rows, every], np.r_[columns, every]
    classes = groups[rows] + (groups.max() + 1) * (rows == columns)
    left, right, spanned = (_join_cells(one, sample.factor, kind) for one in (*embedded, basis))
    flipped = np.where(rows == columns, -1.0, 1.0)  # loads are subtracted
    return _Cells(rows, columns, classes, left * flipped, right, spanned * flipped)


def _join_cells(embedding: Embedding, factor: Array | None, kind: Kind) -> Array:
    """Put values and loads side by side, loads made by the symmetric root, which permuting stimuli permutes."""
    embedding = embedding.normalize()
    if not kind.whitened:
        return embedding.values
    assert factor is not None
    left, _, right = np.linalg.svd(factor)  # factor = R Q with R symmetric: loads by R^-1 are Q loads
    return np.concatenate([embedding.values, embedding.loads @ (left @ right).T], axis=1)


def _orthonormalize(control: Embedding) -> Embedding:
    control = control.normalize()
    values, vectors = np.linalg.eigh(compute_inner(control, control))
    kept = values > 1e-10 * max(values.max(initial=0), 1e-300)
    mixing = (vectors[:, kept] / np.sqrt(values[kept])).T
    return Embedding(mixing @ control.values, mixing @ control.loads, np.ones(len(mixing)))


def _average_subjects(cells: _Cells, sizes: Sequence[int]) -> _Cells:
    right = _average(cells.right.T, sizes).T
    return _Cells(cells.rows, cells.columns, cells.classes, cells.left, right, cells.basis)


def compare_each(left: Array, right: Array, method: Similarity, pairs: Pairs) -> Array:
    """Compare each vector with those of its own row: what is left to do where both sides change together.

    Parameters
    ----------
    left
        array, shape (n, n_pairs); no NaN.
    right
        array, shape (n, n_vectors, n_pairs); no NaN.
    method
        The measure.
    pairs
        Which pairs of stimuli the columns are.

    Returns
    -------
    ndarray
        shape (n, n_vectors), float64; NaN where a vector has no similarity.
    """
    left, flat = left.astype(np.float64), right.reshape(-1, right.shape[-1]).astype(np.float64)
    measure = MEASURES[method]
    if not measure.linear:
        rows = zip(measure.embed(left), measure.embed(flat).reshape(right.shape), strict=True)
        return np.concatenate([measure.compare(one[None], others) for one, others in rows])
    kind = KINDS[method]
    if not kind.whitened:
        embedded = measure.embed(flat).reshape(right.shape)
        return np.asarray(np.einsum("np,nkp->nk", measure.embed(left), embedded, optimize=True))
    sample = draw_sample(np.ones(pairs.n_stimuli), pairs, kind)
    one, others = (
        embed(prepare_vectors(side, pairs, kind), sample, kind).normalize() for side in (left, flat)
    )
    products = (
        np.einsum("np,nkp->nk", mine, theirs.reshape(*right.shape[:2], -1), optimize=True)
        for mine, theirs in ((one.values, others.values), (one.loads, others.loads))
    )
    values, loads = products
    return np.asarray(values - loads)


def check_work(method: str, n_comparisons: int) -> None:
    """Raise InputError where a measure without a matrix product would take too long."""
    if n_comparisons > MAX_TAU_COMPARISONS:
        raise InputError(
            f"A permutation test with {method!r} needs {n_comparisons:,} comparisons one by one; at most "
            f'{MAX_TAU_COMPARISONS:,} are made. Use "rho-a" (also of ranks, one matrix product), fewer '
            "operations, or n_permutations=0."
        )


def _compare(cells: _Cells, right: Array, method: Similarity) -> Array:
    """Similarity of models with (permuted) vectors, shape (m, n_vectors)."""
    if method not in KINDS:
        return MEASURES[method].compare(cells.left, right)
    similarity: Array = cells.left @ right.T
    if len(cells.basis):  # permuting brought something of the control vectors back: remove it again
        explained = ((cells.basis @ right.T) ** 2).sum(axis=0)
        similarity /= np.sqrt(np.where(explained < 1 - 1e-12, 1 - explained, np.nan))
    return similarity


def _score_block(cells: _Cells, permuted: Array, sizes: Sequence[int], method: Similarity) -> Array:
    """Scores under each permutation of a block, shape (n_block, m, n_references), by one matrix product."""
    n_block, n_vectors, n_cells = permuted.shape
    scores = _compare(cells, permuted.reshape(-1, n_cells), method)
    return _average(scores.reshape(len(cells.left), n_block, n_vectors).transpose(1, 0, 2), sizes)


def _expect(cells: _Cells, method: Similarity) -> Array:
    """Mean similarity over all permutations: within a class every number meets every other equally often."""
    if method not in KINDS or len(cells.basis):
        return np.zeros((len(cells.left), len(cells.right)))
    labels, index, sizes = np.unique(cells.classes, return_inverse=True, return_counts=True)
    member = (index[:, None] == np.arange(len(labels))).astype(np.float64)
    expected: Array = (cells.left @ member) @ ((cells.right @ member) / sizes).T
    return expected


def _average(scores: Array, sizes: Sequence[int]) -> Array:
    """Average over the subjects of each reference, shape (..., sum of sizes) -> (..., n_references)."""
    starts = np.r_[0, np.cumsum(sizes)[:-1]]
    averaged: Array = np.add.reduceat(scores, starts, axis=-1) / np.asarray(sizes)
    return averaged


def _permute(cells: _Cells, permutations: Indices) -> Iterator[Array]:
    """Yield blocks of permuted vectors, shape (n_block, n_vectors, n_cells), each block bounded in memory."""
    n_stimuli = permutations.shape[1]
    squares = np.zeros((len(cells.right), n_stimuli, n_stimuli))
    squares[:, cells.rows, cells.columns] = cells.right
    squares[:, cells.columns, cells.rows] = cells.right
    flat = squares.reshape(len(cells.right), -1)
    step = max(1, BLOCK_BYTES // (cells.right.nbytes + 1))
    for start in range(0, len(permutations), step):
        orders = permutations[start : start + step]
        places = orders[:, cells.rows] * n_stimuli + orders[:, cells.columns]
        yield flat[:, places].transpose(1, 0, 2)
