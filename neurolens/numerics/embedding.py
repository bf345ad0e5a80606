"""Dissimilarity vectors under counts: what a measure keeps of them when stimuli are drawn more than once.

In a sample where stimulus i was drawn c_i times, the pair (i, j) stands there c_i c_j times; pairs of a stimulus
with itself are dropped. So a sample is a weighting of pairs, and every measure but Kendall's is an inner product of
embeddings under that weighting: ranks are recounted, means removed, norms made 1.

For the whitened measures V = (C C') o (C C') over the pairs of a sample, with C its pair contrasts. With B the
incidence of pairs and drawn stimuli, V = 2 I + B B', so that V^-1 = (I - B (2 I + B'B)^-1 B') / 2: a solve of the
size of the stimuli. Copies of a stimulus have equal rows and share one unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError
from neurolens.numerics.factors import solve_lower

__all__ = [
    "KINDS",
    "Embedding",
    "Kind",
    "PairVectors",
    "Pairs",
    "Sample",
    "compute_inner",
    "draw_sample",
    "embed",
    "list_pairs",
    "prepare_vectors",
    "project",
    "rank_weighted",
]

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
NO_LENGTH = 1e-24  # squared length, relative to the values' largest: what rounding leaves of a constant


@dataclass(frozen=True)
class Kind:
    """What a measure keeps of a vector."""

    ranked: bool = False
    centred: bool = True
    whitened: bool = False
    by_length: bool = True  # divided by its own length; else by the length that untied ranks have


KINDS: dict[str, Kind] = {  # the measures that are inner products
    "rho-a": Kind(ranked=True, by_length=False),
    "spearman": Kind(ranked=True),
    "pearson": Kind(),
    "cosine": Kind(centred=False),
    "whitened-pearson": Kind(whitened=True),
    "whitened-cosine": Kind(whitened=True, centred=False),
}


@dataclass(frozen=True)
class Pairs:
    """The pairs of stimuli that count: all of them, or those within a category, or those that are not missing."""

    n_stimuli: int
    rows: Indices  # (n_pairs,)
    columns: Indices  # (n_pairs,), columns > rows

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class PairVectors:
    """Vectors over pairs, with what does not change from sample to sample."""

    values: Array  # (n_vectors, n_pairs), without their mean where the measure removes it
    levels: (
        Indices | None
    )  # (n_vectors, n_pairs): the position of a value among the different ones; of ranked
    squares: Array | None  # (n_vectors, n_stimuli, n_stimuli), 0 where no pair is; of whitened
    extent: Array  # (n_vectors,): the largest absolute value, to know rounding from substance

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Sample:
    """How often each stimulus, and so each pair, stands in a sample."""

    counts: Array  # (n_stimuli,)
    kept: Indices  # (n_kept,): the pairs that stand in it
    weights: Array  # (n_kept,)
    links: Array | None  # (n_stimuli, n_stimuli): c_j where (i, j) is a pair; of whitened
    factor: Array | None  # lower Cholesky factor of 2 I + B'B, copies merged; of whitened


@dataclass(frozen=True)
class Embedding:
    """Vectors whose inner product, ``values @ values' - loads @ loads'`` by their lengths, is the measure."""

    values: Array  # (n_vectors, n_kept)
    loads: Array  # (n_vectors, n_stimuli), or no column
    lengths: Array  # (n_vectors,); NaN where a vector has none

    def __getitem__(self, chosen: Indices) -> Embedding:
        return Embedding(self.values[chosen], self.loads[chosen], self.lengths[chosen])

    def normalize(self) -> Embedding:
        """Divide by the lengths, which then are 1."""
        lengths = self.lengths[:, None]
        return Embedding(self.values / lengths, self.loads / lengths, np.ones(len(self)))

    def __len__(self) -> int:
        return len(self.values)


def list_pairs(n_stimuli: int, kept: NDArray[np.bool_] | None = None) -> Pairs:
    """List pairs row by row, as the upper triangle of an RDM; `kept` chooses among them."""
    rows, columns = np.triu_indices(n_stimuli, 1)
    if kept is None:
        return Pairs(n_stimuli, rows, columns)
    return Pairs(n_stimuli, rows[kept], columns[kept])


def prepare_vectors(vectors: NDArray[Any], pairs: Pairs, kind: Kind) -> PairVectors:
    """Do once what all samples share.

    Parameters
    ----------
    vectors
        array, shape (n_vectors, n_pairs); no NaN.
    pairs
        The pairs that the columns are.
    kind
        What the measure keeps.
    """
    values = np.array(vectors, dtype=np.float64, ndmin=2)
    if values.shape[1] != len(pairs):
        raise InputError(f"Vectors have {values.shape[1]} values for {len(pairs)} pairs of stimuli.")
    levels = squares = None
    if kind.ranked:
        found = [np.unique(vector, return_inverse=True)[1] for vector in values]
        levels = np.array(found, dtype=np.intp).reshape(values.shape)
    elif kind.centred:  # the mean of a sample is near this one: what is left of it loses no digits
        values -= values.mean(axis=1, keepdims=True)
    if kind.whitened:
        squares = np.zeros((len(values), pairs.n_stimuli, pairs.n_stimuli))
        squares[:, pairs.rows, pairs.columns] = values
        squares[:, pairs.columns, pairs.rows] = values
    return PairVectors(values, levels, squares, np.abs(values).max(axis=1, initial=0))


def draw_sample(counts: NDArray[Any], pairs: Pairs, kind: Kind) -> Sample:
    """Describe the sample in which stimuli stand `counts` times.

    Parameters
    ----------
    counts
        array, shape (n_stimuli,): whole numbers, at least 0.
    """
    counts = np.asarray(counts, dtype=np.float64)
    weights = counts[pairs.rows] * counts[pairs.columns]
    kept = np.flatnonzero(weights)
    weights = weights[kept]
    if not kind.whitened:
        return Sample(counts, kept, weights, None, None)
    linked = np.zeros((pairs.n_stimuli, pairs.n_stimuli))
    linked[pairs.rows, pairs.columns] = linked[pairs.columns, pairs.rows] = 1
    root = np.sqrt(counts)
    links = linked * counts
    system = linked * np.outer(root, root)
    system[np.diag_indices_from(system)] = 2 + links.sum(axis=1)
    factor = np.asarray(np.linalg.cholesky(system), dtype=np.float64)
    return Sample(counts, kept, weights, links, factor)


def embed(vectors: PairVectors, sample: Sample, kind: Kind, control: Embedding | None = None) -> Embedding:
    """Embed vectors, so that the measure is the inner product of embeddings.

    Parameters
    ----------
    vectors
        As `prepare_vectors` gives them.
    sample
        As `draw_sample` gives it.
    kind
        What the measure keeps.
    control
        Embedded vectors that are removed by least squares under the measure's own inner product. What is left
        is divided by its own length, also for "rho-a".

    Returns
    -------
    Embedding
        NaN for a vector that has no length: constant where the mean is removed, zero else. Under "rho-a" a
        constant has the similarity 0.
    """
    embedding = project(vectors, sample, kind, control)
    total = sample.weights.sum()
    if not kind.by_length and control is None:
        return replace(embedding, lengths=np.full(len(vectors), np.sqrt((total**3 - total) / 12)))
    squared = _square_lengths(embedding)
    extent = total if kind.ranked else vectors.extent
    has_length = squared > NO_LENGTH * total * extent**2
    return replace(embedding, lengths=np.sqrt(np.where(has_length, squared, np.nan)))


def project(vectors: PairVectors, sample: Sample, kind: Kind, control: Embedding | None = None) -> Embedding:
    """Embed vectors without making their lengths 1."""
    root = np.sqrt(sample.weights)
    total = sample.weights.sum()
    values = _take(vectors, sample, total)
    mean = np.zeros(len(values))
    if kind.centred and not kind.ranked:
        mean = values @ sample.weights / total
        values -= mean[:, None]
    values *= root
    loads = _load(vectors, sample, mean) if kind.whitened else np.zeros((len(values), 0))
    embedding = Embedding(values, loads, np.ones(len(values)))
    return embedding if control is None else _remove(embedding, control)


def _take(vectors: PairVectors, sample: Sample, total: float) -> Array:
    if vectors.levels is None:
        return vectors.values[:, sample.kept]
    return rank_weighted(vectors.levels[:, sample.kept], sample.weights) - (total + 1) / 2


def rank_weighted(levels: Indices, weights: Array) -> Array:
    """Rank from 1 where each entry stands there as often as its weight says, ties sharing their average rank.

    Parameters
    ----------
    levels
        array of int, shape (n_vectors, n_pairs): whole numbers from 0, in the order of the values.
    weights
        array, shape (n_pairs,): whole numbers.

    Returns
    -------
    ndarray
        shape (n_vectors, n_pairs), float64: multiples of 1/2, exact.
    """
    width = int(levels.max(initial=0)) + 1
    ranks: Array = np.empty(levels.shape)
    for row, found in zip(levels, ranks, strict=True):  # one at a time, so that all of it stays in the cache
        tied = np.bincount(row, weights, width)
        average = tied.astype(np.int64).cumsum() - (tied - 1) / 2  # whole numbers are added up faster
        average.take(row, out=found, mode="clip")
    return ranks


def _load(vectors: PairVectors, sample: Sample, mean: Array) -> Array:
    """Half of V^-1 that is not the identity: L^-1 sqrt(c) B'x, with 2 I + B'B = L L'."""
    assert vectors.squares is not None
    assert sample.links is not None
    assert sample.factor is not None
    sums = vectors.squares @ sample.counts - mean[:, None] * sample.links.sum(axis=1)
    scaled = sums * np.sqrt(sample.counts)
    loads: Array = solve_lower(sample.factor, scaled.T).T
    return loads


def compute_inner(left: Embedding, right: Embedding) -> Array:
    """Inner products of all with all, shape (n_left, n_right)."""
    inner: Array = left.values @ right.values.T
    if left.loads.shape[1]:
        inner -= left.loads @ right.loads.T
    return inner / left.lengths[:, None] / right.lengths


def _square_lengths(embedding: Embedding) -> Array:
    squared: Array = np.einsum("ij,ij->i", embedding.values, embedding.values)
    if embedding.loads.shape[1]:
        squared -= np.einsum("ij,ij->i", embedding.loads, embedding.loads)
    return squared


def _remove(embedding: Embedding, control: Embedding) -> Embedding:
    control = control.normalize()
    within = compute_inner(control, control)
    slopes = compute_inner(embedding, control) @ np.linalg.pinv(within, hermitian=True)
    return replace(
        embedding,
        values=embedding.values - slopes @ control.values,
        loads=embedding.loads - slopes @ control.loads,
    )
