"""Similarity of dissimilarity vectors: every measure is "embed once, then compare".

`embed` does what depends on one vector alone (ranks, centring, norm). For all measures but Kendall's the
similarity is then an inner product, so that all pairs cost one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from neurolens.errors import InputError, check_choice

Array = NDArray[np.float64]
Similarity = Literal["rho-a", "spearman", "pearson", "cosine", "kendall-tau-a"]


@dataclass(frozen=True)
class Measure:
    """One way to say how alike two dissimilarity vectors are.

    Reordering the pairs of a vector reorders its embedding alike, which permutation tests rest on.
    """

    embed: Callable[[Array], Array]  # (n_vectors, n_pairs) -> (n_vectors, n_pairs)
    compare: Callable[[Array, Array], Array]  # embeddings (m, n_pairs), (k, n_pairs) -> (m, k)
    linear: bool  # `compare` is the inner product
    pool: Callable[[Array], Array]  # what of each subject is averaged for a noise ceiling
    label: str


def compute_similarity(left: NDArray[Any], right: NDArray[Any], method: Similarity = "rho-a") -> Array:
    """Compare every dissimilarity vector of one set with every one of another.

    Parameters
    ----------
    left, right
        arrays, shape (n_left, n_pairs) and (n_right, n_pairs); no NaN.
    method
        "pearson"; "spearman" (average ranks); "cosine"; "rho-a" = 12 <r1 - mean, r2 - mean> / (P^3 - P) with
        average ranks r over P pairs, the expected Spearman correlation when ties are broken at random;
        "kendall-tau-a" = (concordant - discordant) / (P (P - 1) / 2), where ties count 0.

    Returns
    -------
    ndarray
        shape (n_left, n_right), float64. NaN where a vector has no similarity (constant under "pearson" and
        "spearman", zero under "cosine").

    Raises
    ------
    InputError
        If the method is not known, the numbers of pairs differ, or a value is NaN.

    References
    ----------
    Schütt et al. (2023), eLife 12:e82566, doi:10.7554/eLife.82566 (rho-a).

    Examples
    --------
    >>> compute_similarity(np.array([[1.0, 2.0, 3.0]]), np.array([[2.0, 4.0, 9.0], [3.0, 2.0, 1.0]]))
    array([[ 1., -1.]])
    """
    check_choice(method, MEASURES, "method")
    left, right = np.atleast_2d(left).astype(np.float64), np.atleast_2d(right).astype(np.float64)
    if left.shape[1] != right.shape[1] or left.shape[1] < 2:
        raise InputError(
            f"Vectors must have the same number of pairs, at least 2; "
            f"got {left.shape[1]} and {right.shape[1]}."
        )
    if np.isnan(left).any() or np.isnan(right).any():
        raise InputError("Dissimilarities must not be NaN here; remove the pairs that both sides miss first.")
    measure = MEASURES[method]
    return measure.compare(measure.embed(left), measure.embed(right))


def compute_average_ranks(vectors: NDArray[Any]) -> Array:
    """Rank each row from 1, tied values sharing the average of their ranks.

    Parameters
    ----------
    vectors
        array, shape (n_vectors, n_pairs).

    Returns
    -------
    ndarray
        shape (n_vectors, n_pairs), float64.
    """
    ranks = np.empty(vectors.shape, dtype=np.float64)
    for row, out in zip(vectors, ranks, strict=True):
        order = np.argsort(row)
        ordered = row[order]
        first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])  # where each run of ties starts
        last = np.r_[first[1:], len(row)]
        out[order] = np.repeat((first + 1 + last) / 2, last - first)
    return ranks


def _centre(vectors: Array) -> Array:
    centred: Array = vectors - vectors.mean(axis=1, keepdims=True)
    return centred


def _normalize(vectors: Array) -> Array:
    """Scale to unit length; a vector without length has no similarity, which NaN says."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, np.nan)


def _is_constant(vectors: Array) -> NDArray[np.bool_]:
    return np.asarray((vectors == vectors[:, :1]).all(axis=1))


def _embed_pearson(vectors: Array) -> Array:
    embedded = _normalize(_centre(vectors))
    embedded[_is_constant(vectors)] = np.nan  # the rounded mean of a constant leaves a residue
    return embedded


def _embed_spearman(vectors: Array) -> Array:
    return _embed_pearson(compute_average_ranks(vectors))


def _embed_rho_a(vectors: Array) -> Array:
    n_pairs = float(vectors.shape[1])
    embedded: Array = _centre(compute_average_ranks(vectors)) * np.sqrt(12 / (n_pairs**3 - n_pairs))
    return embedded


def _compare_inner(left: Array, right: Array) -> Array:
    similarity: Array = left @ right.T
    return similarity


def _compare_tau_a(left: Array, right: Array) -> Array:
    """tau-a from scipy's tau-b, which is quick (n log n): undo its correction for ties."""
    untied_left, untied_right = _untied_fraction(left), _untied_fraction(right)
    out = np.zeros((len(left), len(right)))
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            tied = np.sqrt(untied_left[i] * untied_right[j])
            if tied > 0:
                out[i, j] = stats.kendalltau(a, b, method="asymptotic").statistic * tied
    return out


def _untied_fraction(vectors: Array) -> Array:
    n_pairs = vectors.shape[1]
    counts = [np.unique(row, return_counts=True)[1].astype(np.float64) for row in vectors]
    tied = np.array([(count * (count - 1)).sum() for count in counts])
    fraction: Array = 1 - tied / (n_pairs * (n_pairs - 1))
    return fraction


MEASURES: dict[str, Measure] = {
    "rho-a": Measure(_embed_rho_a, _compare_inner, True, compute_average_ranks, "Spearman's ρ-a"),
    "spearman": Measure(_embed_spearman, _compare_inner, True, _embed_spearman, "Spearman's ρ"),
    "pearson": Measure(_embed_pearson, _compare_inner, True, _embed_pearson, "Pearson's r"),
    "cosine": Measure(_normalize, _compare_inner, True, _normalize, "cosine similarity"),
    "kendall-tau-a": Measure(
        compute_average_ranks, _compare_tau_a, False, compute_average_ranks, "Kendall's τ-a"
    ),
}
