"""How well any RDM could match the subjects, given how much the subjects differ."""

from __future__ import annotations

from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError, check_choice
from neurolens.numerics.embedding import (
    KINDS,
    Array,
    Embedding,
    Indices,
    Pairs,
    PairVectors,
    Sample,
    compute_inner,
    draw_sample,
    embed,
    list_pairs,
    prepare_vectors,
    rank_weighted,
)
from neurolens.numerics.ranks import compute_average_ranks
from neurolens.numerics.similarity import MEASURES, Similarity, compute_similarity

__all__ = ["bound_by_comparing", "bound_by_ranks", "bound_by_sums", "compute_ceiling", "find_pairs"]


def compute_ceiling(
    vectors: NDArray[Any], method: Similarity = "rho-a", *, pairs: Pairs | None = None
) -> tuple[Array, Array]:
    """Compute the lower and upper noise ceiling of each subject's dissimilarities.

    The pool is the mean over subjects of what the measure keeps of a vector (cosine: divided by its norm;
    pearson: z-scored; whitened: divided by sqrt(d' V^-1 d); spearman: z-scored ranks; rho-a and Kendall's:
    average ranks). Upper: similarity of the pool of all with the subject. Lower: the subject is left out of
    the pool. The ceiling of a score that is a mean over subjects is the mean of these over subjects.

    Parameters
    ----------
    vectors
        array, shape (n_subjects, n_pairs); no NaN. Average the sessions of a subject before.
    method
        The measure that scores.
    pairs
        Which pairs of stimuli the columns are; by default all, row by row.

    Returns
    -------
    lower, upper : ndarray
        shape (n_subjects,), float64, in units of the measure; NaN for fewer than two subjects. For Kendall's
        measures both are approximate: no closed form of the best pool is known.

    References
    ----------
    Nili et al. (2014), PLoS Computational Biology 10:e1003553, doi:10.1371/journal.pcbi.1003553.

    Examples
    --------
    >>> lower, upper = compute_ceiling(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]))
    >>> lower.round(9).tolist(), upper.round(9).tolist()
    ([1.0, 1.0], [1.0, 1.0])
    """
    check_choice(method, MEASURES, "method")
    vectors = np.asarray(vectors, dtype=np.float64)
    once = np.ones(len(vectors))
    if len(vectors) < 2:
        return once * np.nan, once * np.nan
    if method not in KINDS:
        return bound_by_comparing(vectors, method, once)
    kind = KINDS[method]
    if pairs is None and kind.whitened:
        pairs = find_pairs(vectors.shape[1])
    if pairs is None:  # nothing but V asks which stimuli a pair is made of
        columns = np.arange(vectors.shape[1])
        pairs = Pairs(1, np.zeros_like(columns), np.zeros_like(columns))
    prepared, sample = (
        prepare_vectors(vectors, pairs, kind),
        draw_sample(np.ones(pairs.n_stimuli), pairs, kind),
    )
    embedded = embed(prepared, sample, kind)
    if kind.ranked:
        return bound_by_ranks(prepared, embedded, sample, method, once)
    return bound_by_sums(compute_inner(embedded, embedded), once)


def find_pairs(n_pairs: int) -> Pairs:
    """Find the number of stimuli of a complete upper triangle.

    Raises
    ------
    InputError
        If no number of stimuli has so many pairs.
    """
    n_stimuli = (1 + isqrt(1 + 8 * n_pairs)) // 2
    if n_stimuli * (n_stimuli - 1) // 2 != n_pairs:
        raise InputError(
            f"{n_pairs} is no number of pairs: n stimuli have n (n - 1) / 2. The whitened measures need to know "
            "which stimuli a pair is made of."
        )
    return list_pairs(n_stimuli)


def bound_by_sums(inner: Array, counts: Array) -> tuple[Array, Array]:
    """Ceilings of measures whose pool is a sum of embeddings, from the subjects' inner products alone.

    Parameters
    ----------
    inner
        array, shape (n_subjects, n_subjects): inner products of embeddings of length 1.
    counts
        array, shape (..., n_subjects): how often each subject was drawn; copies are left out together.

    Returns
    -------
    lower, upper : ndarray
        shape (..., n_subjects); NaN where nobody else was drawn, or the subject was not.
    """
    with_all = counts @ inner
    squared = (with_all * counts).sum(axis=-1, keepdims=True)
    own = np.diagonal(inner)
    without = squared - 2 * counts * with_all + counts**2 * own
    drawn = counts > 0
    others = drawn & ((counts > 0).sum(axis=-1, keepdims=True) > 1)
    lower = _divide(with_all - counts * own, without, others)
    return lower, _divide(with_all, np.broadcast_to(squared, with_all.shape), others)


def _divide(numerator: Array, squared: Array, defined: NDArray[np.bool_]) -> Array:
    defined = defined & (squared > 1e-12)
    ratio: Array = np.full(numerator.shape, np.nan)
    np.divide(numerator, np.sqrt(np.where(defined, squared, 1)), out=ratio, where=defined)
    return ratio


def bound_by_ranks(
    vectors: PairVectors, embedded: Embedding, sample: Sample, method: Similarity, counts: Array
) -> tuple[Array, Array]:
    """Ceilings of rank measures: pools are summed, ranked again and compared.

    Parameters
    ----------
    vectors, embedded
        The subjects, and their embeddings in `sample`.
    counts
        array, shape (n_subjects,): how often each subject was drawn; copies are left out together.

    Returns
    -------
    lower, upper : ndarray
        shape (n_subjects,); NaN where nobody else was drawn, or the subject was not.
    """
    lower, upper = np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    drawn = np.flatnonzero(counts)
    if len(drawn) < 2:
        return lower, upper
    if method == "spearman":
        parts = embedded[drawn].normalize().values / np.sqrt(sample.weights)
    else:  # twice an average rank is a whole number: sums are exact, and equal ones are ties
        assert vectors.levels is not None
        parts = 2 * rank_weighted(vectors.levels[drawn][:, sample.kept], sample.weights)
    parts = parts * counts[drawn, None]
    pool = parts.sum(axis=0)
    pools = np.concatenate([pool - parts, pool[None]])
    if method == "spearman":  # rounded: pairs of equal sum must stay tied in spite of the order of adding
        pools = np.round(pools / np.abs(pools).max(axis=1, keepdims=True), 12)
    levels = _find_levels(pools)
    everything = Sample(sample.counts, np.arange(pools.shape[1]), sample.weights, None, None)
    ranked = embed(PairVectors(pools, levels, None, np.ones(len(pools))), everything, KINDS[method])
    subjects = embedded[drawn]
    lengths = subjects.lengths * ranked.lengths[:-1]
    lower[drawn] = np.einsum("ij,ij->i", ranked.values[:-1], subjects.values) / lengths
    upper[drawn] = subjects.values @ ranked.values[-1] / (subjects.lengths * ranked.lengths[-1])
    return lower, upper


def _find_levels(values: Array) -> Indices:
    """Position of each value among the different ones of its row."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    steps = np.zeros(values.shape, dtype=np.intp)
    np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1, out=steps[:, 1:])
    levels = np.empty(values.shape, dtype=np.intp)
    np.put_along_axis(levels, order, steps, axis=1)
    return levels


def bound_by_comparing(vectors: Array, method: Similarity, counts: Array) -> tuple[Array, Array]:
    """Ceilings of any other measure, here Kendall's: the pool of average ranks is compared with each subject.

    Parameters
    ----------
    vectors
        array, shape (n_subjects, n_pairs).
    method
        The measure.
    counts
        array, shape (n_subjects,): how often each subject was drawn; copies are left out together.

    Returns
    -------
    lower, upper : ndarray
        shape (n_subjects,); NaN where nobody else was drawn, or the subject was not.
    """
    lower, upper = np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    drawn = np.flatnonzero(counts)
    if len(drawn) < 2:
        return lower, upper
    ranks = 2 * compute_average_ranks(vectors[drawn]) * counts[drawn, None]
    pool = ranks.sum(axis=0)
    upper[drawn] = compute_similarity(pool, vectors[drawn], method)[0]
    for i, own in zip(drawn, ranks, strict=True):
        lower[i] = compute_similarity(pool - own, vectors[i], method)[0, 0]
    return lower, upper
