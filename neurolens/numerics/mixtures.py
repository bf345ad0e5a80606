"""Models that are fitted: a weighted sum of several RDMs, or the best of them, for the very measure that scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import nnls

from neurolens.numerics.embedding import (
    Array,
    Embedding,
    Indices,
    Kind,
    Pairs,
    Sample,
    compute_inner,
    embed,
    prepare_vectors,
    project,
)
from neurolens.numerics.factors import cholesky, solve_lower

__all__ = ["FITS", "Fit", "Mixture", "Target", "fit_mixture"]

Fit = Literal["fixed", "weighted", "selected"]
FITS = ("fixed", "weighted", "selected")
JITTER = 1e-10  # relative: components that repeat each other share a weight instead of raising
FINEST_STEP = 0.03  # of the largest weight: finer ones change hardly a rank


@dataclass(frozen=True)
class Target:
    """What a model is fitted to: subjects in a training sample, and how often each of them counts."""

    subjects: Embedding
    counts: Array  # (n_subjects,)
    sample: Sample
    pairs: Pairs
    kind: Kind
    control: Embedding | None = None

    def compare(self, vectors: Array) -> Array:
        """Mean similarity of each vector with the subjects, shape (n_vectors,); -1 where there is none."""
        embedded = embed(
            prepare_vectors(vectors, self.pairs, self.kind), self.sample, self.kind, self.control
        )
        similarity = compute_inner(embedded, self.subjects) @ self.counts / self.counts.sum()
        return np.asarray(np.nan_to_num(similarity, nan=-1.0), dtype=np.float64)


@dataclass(frozen=True)
class Mixture:
    """A model made of components.

    Attributes
    ----------
    rows
        array of int: which component vectors belong to it.
    fit
        "fixed" (their sum as it is), "weighted", or "selected" (one of them).
    nonnegative
        whether weights below 0 are excluded; of "weighted".
    ridge
        penalty on the squared weights, relative to the squared length of a component; of "weighted".
    """

    rows: Indices
    fit: Fit = "fixed"
    nonnegative: bool = True
    ridge: float = 0.0


def fit_mixture(mixture: Mixture, components: Array, target: Target) -> Array:
    """Find the weights of a model's components that make it most similar to the subjects of a training sample.

    For a measure that is an inner product, the mean similarity over subjects is that with the mean of their
    embeddings, and least squares on it (non-negative, penalised) gives the direction that maximises it. For rank
    measures this is the start of a search that raises the rank measure itself.

    Parameters
    ----------
    mixture
        The model.
    components
        array, shape (n_components, n_pairs): those of the model alone, on comparable scales.
    target
        The training data.

    Returns
    -------
    ndarray
        shape (n_components,): weights; their scale has no meaning.
    """
    if mixture.fit == "fixed":
        return np.ones(len(components))
    if mixture.fit == "selected":
        chosen = np.zeros(len(components))
        chosen[np.argmax(target.compare(components))] = 1
        return chosen
    weights = _solve(mixture, components, target)
    return _search(mixture, components, target, weights) if target.kind.ranked else weights


def _solve(mixture: Mixture, components: Array, target: Target) -> Array:
    plain = Kind() if target.kind.ranked else target.kind  # a sum of RDMs is ranked, not a sum of ranks
    prepared = prepare_vectors(components, target.pairs, plain)
    control = None if target.kind.ranked else target.control
    parts = project(prepared, target.sample, plain, control)
    gram = compute_inner(parts, parts)
    towards = compute_inner(parts, target.subjects) @ target.counts / target.counts.sum()
    scale = max(float(np.trace(gram)) / len(gram), 1e-300)
    gram[np.diag_indices_from(gram)] += (mixture.ridge + JITTER) * scale
    if not mixture.nonnegative:
        weights: Array = np.linalg.solve(gram, towards)
        return weights
    if (towards <= 0).all():  # every sum of them is less similar than the best one alone
        weights = np.zeros(len(gram))
        weights[np.argmax(towards / np.sqrt(np.diagonal(gram)))] = 1
        return weights
    factor = cholesky(gram)
    return np.asarray(nnls(factor.T, solve_lower(factor, towards))[0], dtype=np.float64)


def _search(mixture: Mixture, components: Array, target: Target, weights: Array) -> Array:
    """Move one weight at a time while the rank measure rises: it has steps, so there is no slope to follow."""
    best, step = float(target.compare(weights[None] @ components)[0]), 0.5
    moves = np.concatenate([np.eye(len(weights)), -np.eye(len(weights))])
    while step > FINEST_STEP:
        weights = weights / max(np.abs(weights).max(), 1e-300)
        tried = weights + step * moves
        if mixture.nonnegative:
            tried = np.maximum(tried, 0)
        scores = target.compare(tried @ components)
        found = int(np.argmax(scores))
        if scores[found] > best:
            best, weights = float(scores[found]), tried[found]
        else:
            step /= 2
    return weights
