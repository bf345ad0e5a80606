"""Similarity of dissimilarity vectors: every measure is "embed once, then compare".

`embed` does what depends on one vector alone (ranks, centring, whitening, norm). For all measures but Kendall's
the similarity is then an inner product, so that all pairs cost one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from neurolens.errors import InputError, check_choice
from neurolens.numerics.ranks import compute_average_ranks
from neurolens.numerics.whitening import whiten_by_covariance, whiten_equal, whiten_incomplete

Array = NDArray[np.float64]
Similarity = Literal[
    "rho-a",
    "spearman",
    "pearson",
    "cosine",
    "kendall-tau-a",
    "kendall-tau-b",
    "whitened-pearson",
    "whitened-cosine",
]
ControlSide = Literal["both", "left", "right"]

EXPLAINED = 1e-7  # of its length: a residual below this is rounding


@dataclass(frozen=True)
class Measure:
    """One way to say how alike two dissimilarity vectors are.

    Reordering the stimuli of a vector reorders its embedding alike, which permutation tests rest on.
    """

    embed: Callable[[Array], Array]  # (n_vectors, n_pairs) -> (n_vectors, n_pairs)
    compare: Callable[[Array, Array], Array]  # embeddings (m, n_pairs), (k, n_pairs) -> (m, k)
    linear: bool  # `compare` is the inner product
    pool: Callable[[Array], Array]  # what of each subject is averaged for a noise ceiling
    label: str
    prepare: Callable[[Array], Array] | None = None  # what comes before whitening, for whitened measures


def compute_similarity(
    left: NDArray[Any],
    right: NDArray[Any],
    method: Similarity = "rho-a",
    *,
    covariance: NDArray[Any] | None = None,
    kept: NDArray[np.bool_] | None = None,
    controls: NDArray[Any] | None = None,
    control_side: ControlSide = "both",
) -> Array:
    """Compare every dissimilarity vector of one set with every one of another.

    Parameters
    ----------
    left, right
        arrays, shape (n_left, n_pairs) and (n_right, n_pairs), finite.
    method
        "pearson"; "spearman" (average ranks); "cosine"; "rho-a" = 12 <r1 - mean, r2 - mean> / (P^3 - P) with
        average ranks r over P pairs, the expected Spearman correlation when ties are broken at random;
        "kendall-tau-a" = (concordant - discordant) / (P (P - 1) / 2), where ties count 0; "kendall-tau-b", which
        corrects for ties; "whitened-cosine" and "whitened-pearson" (which removes the mean first), cosines
        after whitening by the covariance V of distances.
    covariance
        array, shape (n_stimuli, n_stimuli): the covariance of the stimulus estimates, of which V is made; the
        identity by default. For whitened measures only.
    kept
        array of bool: which of the pairs of all stimuli the vectors hold, row by row; all by default.
    controls
        array, shape (n_controls, n_pairs): what they explain (of ranks, for rank measures) is removed before
        vectors are compared, a partial correlation. "rho-a" then equals "spearman".
    control_side
        Where it is removed; "left" or "right" alone is a semipartial correlation.

    Returns
    -------
    ndarray
        shape (n_left, n_right), float64. NaN where a vector has no similarity (constant under "pearson",
        "spearman", "kendall-tau-b" and "whitened-pearson", zero under "cosine" and "whitened-cosine", or
        explained by the controls).

    Raises
    ------
    InputError
        If the method is not known, the numbers of pairs differ, a value is not finite, the covariance does not fit or
        is not positive definite, or an option has no meaning for the method.

    References
    ----------
    Schütt et al. (2023), eLife 12:e82566, doi:10.7554/eLife.82566 (rho-a).
    Diedrichsen et al. (2021), Neurons, Behavior, Data analysis, and Theory 5, doi:10.51628/001c.27664 (whitening).

    Examples
    --------
    >>> compute_similarity(np.array([[1.0, 2.0, 3.0]]), np.array([[2.0, 4.0, 9.0], [3.0, 2.0, 1.0]]))
    array([[ 1., -1.]])
    """
    check_choice(method, MEASURES, "method")
    measure = MEASURES[method]
    sides = [np.atleast_2d(side).astype(np.float64, copy=False) for side in (left, right)]
    if controls is not None:
        sides.append(np.atleast_2d(controls).astype(np.float64))
    _check_vectors(sides)
    if covariance is not None and measure.prepare is None:
        raise InputError(
            f"A covariance has no meaning for method={method!r}; it belongs to the whitened measures."
        )
    embedded = [_embed(side, measure, covariance, kept) for side in sides]
    if controls is None:
        return measure.compare(embedded[0], embedded[1])
    if not measure.linear:
        raise InputError(
            f"There is no partial form of method={method!r} here; use 'spearman', which also ranks."
        )
    return _compare_residuals(embedded[0], embedded[1], embedded[2], control_side)


def _check_vectors(sides: list[Array]) -> None:
    n_pairs = [side.shape[1] for side in sides]
    if len(set(n_pairs)) > 1 or n_pairs[0] < 2:
        raise InputError(
            f"Vectors must have the same number of pairs, at least 2; got {' and '.join(map(str, n_pairs))}."
        )
    if all(np.isfinite(side).all() for side in sides):
        return
    if any(np.isnan(side).any() for side in sides):
        raise InputError("Dissimilarities must not be NaN here; remove the pairs that both sides miss first.")
    raise InputError(
        "Dissimilarities are infinite for some pairs, and no similarity follows from those. If inf stands for a "
        "missing pair, make it NaN on both sides: rdm.where(np.isfinite(rdm))."
    )


def _embed(
    vectors: Array, measure: Measure, covariance: NDArray[Any] | None, kept: NDArray[np.bool_] | None
) -> Array:
    """Embed as the measure does, with whitening for a covariance or for missing pairs where it is asked for."""
    incomplete = kept is not None and not kept.all()
    if measure.prepare is None or (covariance is None and not incomplete):
        return measure.embed(vectors)
    prepared = measure.prepare(vectors)
    if incomplete:
        assert kept is not None
        whitened = whiten_incomplete(prepared, kept, covariance)
    else:
        assert covariance is not None
        whitened = whiten_by_covariance(prepared, covariance)
    whitened[~prepared.any(axis=1)] = np.nan
    return _normalize(whitened)


def _compare_residuals(left: Array, right: Array, controls: Array, side: ControlSide) -> Array:
    check_choice(side, ("both", "left", "right"), "control_side")
    if np.isnan(controls).any():
        raise InputError("A control is constant (or zero), so it explains nothing; leave it out.")
    vectors, sizes, _ = np.linalg.svd(controls.T, full_matrices=False)
    basis = vectors[:, sizes > EXPLAINED * sizes[0]]
    left = _remove(left, basis) if side in ("both", "left") else _normalize(left)
    right = _remove(right, basis) if side in ("both", "right") else _normalize(right)
    return _compare_inner(left, right)


def _remove(vectors: Array, basis: Array) -> Array:
    """Residuals of unit length; what the controls explain but for rounding has none."""
    residuals = vectors - vectors @ basis @ basis.T
    residuals -= residuals @ basis @ basis.T
    explained = np.linalg.norm(residuals, axis=1) <= EXPLAINED * np.linalg.norm(vectors, axis=1)
    residuals[explained] = np.nan
    return _normalize(residuals)


def _centre(vectors: Array) -> Array:
    centred: Array = vectors - vectors.mean(axis=1, keepdims=True)
    return centred


def _normalize(vectors: Array) -> Array:
    """Scale to unit length; a vector without length has no similarity, which NaN says."""
    return vectors / _measure_lengths(vectors)


def _measure_lengths(vectors: Array) -> Array:
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return np.where(lengths > 0, lengths, np.nan)


def _is_constant(vectors: Array) -> NDArray[np.bool_]:
    return np.asarray((vectors == vectors[:, :1]).all(axis=1))


def _embed_pearson(vectors: Array) -> Array:
    embedded = _centre(vectors)
    embedded /= _measure_lengths(embedded)
    embedded[_is_constant(vectors)] = np.nan  # the rounded mean of a constant leaves a residue
    return embedded


def _centre_ranks(vectors: Array) -> Array:
    """Average ranks minus their mean, which is the same for all vectors; a constant is zero."""
    return compute_average_ranks(vectors, origin=(vectors.shape[1] + 1) / 2)


def _embed_spearman(vectors: Array) -> Array:
    embedded = _centre_ranks(vectors)
    embedded /= _measure_lengths(embedded)
    return embedded


def _embed_rho_a(vectors: Array) -> Array:
    n_pairs = float(vectors.shape[1])
    embedded = _centre_ranks(vectors)
    embedded *= np.sqrt(12 / (n_pairs**3 - n_pairs))
    return embedded


def _compare_inner(left: Array, right: Array) -> Array:
    similarity: Array = left @ right.T
    return similarity


def _embed_whitened_cosine(vectors: Array) -> Array:
    return _normalize(whiten_equal(vectors))


def _centre_unless_constant(vectors: Array) -> Array:
    """Remove the plain mean; a constant becomes zero in all its digits."""
    centred = _centre(vectors)
    centred[_is_constant(vectors)] = 0
    return centred


def _embed_whitened_pearson(vectors: Array) -> Array:
    return _embed_whitened_cosine(_centre_unless_constant(vectors))


def _keep(vectors: Array) -> Array:
    return vectors


def _pool_whitened_pearson(vectors: Array) -> Array:
    return _pool_whitened_cosine(_centre_unless_constant(vectors))


def _pool_whitened_cosine(vectors: Array) -> Array:
    """Divide by sqrt(d' V^-1 d): what is averaged are still distances."""
    lengths = np.linalg.norm(whiten_equal(vectors), axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, np.nan)


def _compare_tau_b(left: Array, right: Array) -> Array:
    """tau-b by scipy (n log n)."""
    out = np.full((len(left), len(right)), np.nan)
    varied_left, varied_right = ~_is_constant(left), ~_is_constant(right)
    for i in np.flatnonzero(varied_left):
        for j in np.flatnonzero(varied_right):
            out[i, j] = stats.kendalltau(left[i], right[j], method="asymptotic").statistic
    return out


def _compare_tau_a(left: Array, right: Array) -> Array:
    """tau-a from tau-b: undo its correction for ties; a constant has no concordant pair, and 0."""
    untied = np.sqrt(np.outer(_untied_fraction(left), _untied_fraction(right)))
    return np.where(untied > 0, np.nan_to_num(_compare_tau_b(left, right)) * untied, 0.0)


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
    "kendall-tau-b": Measure(
        compute_average_ranks, _compare_tau_b, False, compute_average_ranks, "Kendall's τ-b"
    ),
    "whitened-pearson": Measure(
        _embed_whitened_pearson,
        _compare_inner,
        True,
        _pool_whitened_pearson,
        "whitened Pearson's r",
        _centre_unless_constant,
    ),
    "whitened-cosine": Measure(
        _embed_whitened_cosine,
        _compare_inner,
        True,
        _pool_whitened_cosine,
        "whitened cosine similarity",
        _keep,
    ),
}
