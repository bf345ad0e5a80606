"""Bootstrap of RDM similarities over stimuli, subjects, or both: scores, their covariance, their ceilings.

Subjects are drawn with replacement n_subjects times, and the score of a sample is the mean over those drawn. Its
mean and covariance over such draws are known exactly, so that only stimuli are drawn: with both random, the
covariance is that of the mean over subjects plus the mean of the covariance over subjects (total variance).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError
from neurolens.numerics.ceiling import bound_by_comparing, bound_by_ranks, bound_by_sums
from neurolens.numerics.embedding import (
    KINDS,
    Array,
    Embedding,
    Pairs,
    PairVectors,
    Sample,
    compute_inner,
    draw_sample,
    embed,
    prepare_vectors,
)
from neurolens.numerics.similarity import Similarity, compute_similarity

__all__ = [
    "RESAMPLINGS",
    "Bootstrap",
    "Resampling",
    "Scorer",
    "bound_sample",
    "combine_variances",
    "compute_bootstrap",
    "contrast_covariance",
    "draw_counts",
    "estimate_covariance",
    "make_scorer",
    "unbias_variance",
]

Resampling = Literal["stimulus", "subject", "both", "dual"]
RESAMPLINGS: dict[str, str] = {  # what is drawn -> what the variance generalises to
    "stimulus": "stimuli of this kind; these subjects",
    "subject": "subjects of this kind; these stimuli",
    "both": "stimuli and subjects of this kind; counts measurement noise twice, hence conservative",
    "dual": "stimuli and subjects of this kind; variance corrected for the noise that both draws count",
}
MIN_STIMULI = 3  # different ones in a sample

# similarity (n_models, n_subjects), and a function of subject counts that gives the sample's two ceilings
Scored = tuple[Array, Callable[[Array], tuple[float, float]]]
Scorer = Callable[[NDArray[np.int64]], Scored]


@dataclass(frozen=True)
class Bootstrap:
    """What resampling says of the scores of m models.

    Attributes
    ----------
    score_subject
        array, shape (m, n_subjects): similarity with each subject, all stimuli once.
    variance
        array, shape (m,): of the score, the mean over subjects.
    variance_difference
        array, shape (m, m): of the difference of two scores; 0 on the diagonal.
    ceiling, ceiling_error
        arrays, shape (2,): lower and upper, and their standard errors; NaN without several subjects.
    dof
        degrees of freedom of t.
    n_samples
        how many samples of stimuli were used; fewer than asked for where some had under 3 different stimuli,
        or a model had no similarity in them. 0 where only subjects are random.
    """

    score_subject: Array
    variance: Array
    variance_difference: Array
    ceiling: Array
    ceiling_error: Array
    dof: int
    n_samples: int


def draw_counts(n: int, n_samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw n of n with replacement; return how often each was drawn, shape (n_samples, n)."""
    drawn = rng.integers(n, size=(n_samples, n)) + n * np.arange(n_samples)[:, None]
    return np.bincount(drawn.ravel(), minlength=n * n_samples).reshape(n_samples, n)


def make_scorer(
    models: Array, subjects: Array, method: Similarity, *, pairs: Pairs, control: Array | None = None
) -> Scorer:
    """Return the function that scores models in a sample, given how often each stimulus stands in it.

    Parameters
    ----------
    models, subjects, control
        arrays, shape (m, n_pairs), (n_subjects, n_pairs), (q, n_pairs); no NaN. What `control` explains of
        the others is removed, in each sample anew.
    method
        The measure.
    pairs
        Which pairs of stimuli the columns are.
    """
    if method not in KINDS:
        if control is not None:
            raise InputError(f"{method!r} has no residuals to control with; use a measure that is a product.")
        return lambda counts: _score_expanded(models, subjects, method, pairs, counts)
    kind = KINDS[method]
    sides = [prepare_vectors(vectors, pairs, kind) for vectors in (models, subjects)]
    controls = None if control is None else prepare_vectors(control, pairs, kind)

    def score(counts: NDArray[np.int64]) -> Scored:
        sample = draw_sample(counts, pairs, kind)
        removed = None if controls is None else embed(controls, sample, kind)
        left, right = (embed(vectors, sample, kind, removed) for vectors in sides)
        return compute_inner(left, right), bound_sample(sides[1], right, sample, method, removed)

    return score


def bound_sample(
    subjects: PairVectors, embedded: Embedding, sample: Sample, method: Similarity, control: Embedding | None
) -> Callable[[Array], tuple[float, float]]:
    """Return the function from subject counts to a sample's ceilings; residuals of ranks are pooled as they are."""
    if KINDS[method].ranked and control is None:
        return lambda counts: _average(bound_by_ranks(subjects, embedded, sample, method, counts), counts)
    inner = compute_inner(embedded, embedded)
    return lambda counts: _average(bound_by_sums(inner, counts), counts)


def _score_expanded(
    models: Array, subjects: Array, method: Similarity, pairs: Pairs, counts: NDArray[np.int64]
) -> Scored:
    """Kendall's measures are no inner products: write every pair as often as it stands there."""
    times = counts[pairs.rows] * counts[pairs.columns]
    left, right = np.repeat(models, times, axis=1), np.repeat(subjects, times, axis=1)

    return compute_similarity(left, right, method), lambda drawn: _average(
        bound_by_comparing(right, method, drawn), drawn
    )


def _average(bounds: tuple[Array, Array], counts: Array) -> tuple[float, float]:
    """Average the ceilings of the subjects that were drawn, each as often as it was."""
    low, high = (float(counts @ np.where(counts > 0, bound, 0) / counts.sum()) for bound in bounds)
    return low, high


def compute_bootstrap(
    scorer: Scorer,
    *,
    n_stimuli: int,
    n_subjects: int,
    resample: Resampling,
    n_samples: int,
    seed: int,
    walk: Callable[[Iterable[NDArray[np.int64]]], Iterable[NDArray[np.int64]]] = iter,
) -> Bootstrap:
    """Score models, and estimate how much scores, differences and ceilings vary with what is resampled.

    Parameters
    ----------
    scorer
        As `make_scorer` gives it.
    n_stimuli, n_subjects
        What the scorer's counts and scores are made for.
    resample
        "stimulus", "subject", "both", or "dual" (both, with the variance that the two draws count twice
        taken out).
    n_samples
        How many samples of stimuli; where only subjects are random, of subjects, for the ceilings alone.
    seed
        Seed of all draws.
    walk
        Wraps the samples, for a progress bar.

    Returns
    -------
    Bootstrap

    References
    ----------
    Schütt et al. (2023), eLife 12:e82566, doi:10.7554/eLife.82566.
    """
    rng_stimuli, rng_subjects = np.random.default_rng(seed).spawn(2)
    once = np.ones(n_subjects)
    observed, bound = scorer(np.ones(n_stimuli, dtype=np.int64))
    subject_counts = draw_counts(n_subjects, n_samples, rng_subjects).astype(np.float64)
    if resample == "subject":
        ceilings = np.array([bound(counts) for counts in subject_counts]).reshape(-1, 2)
        covariance = _covariance_of_draws(observed[None])[0]
        variance, difference = (unbias_variance(v, n_subjects) for v in contrast_covariance(covariance))
        used = np.zeros(0, dtype=np.intp)
    else:
        stimulus_counts = draw_counts(n_stimuli, n_samples, rng_stimuli)
        used = np.flatnonzero((stimulus_counts > 0).sum(axis=1) >= MIN_STIMULI)
        scores, ceilings = np.full((len(used), *observed.shape), np.nan), np.full((len(used), 2), np.nan)
        for i, counts in enumerate(walk(stimulus_counts[used])):
            scores[i], bound_drawn = scorer(counts)
            ceilings[i] = bound_drawn(once if resample == "stimulus" else subject_counts[i])
        used = used[~np.isnan(scores[:, ~np.isnan(observed).any(axis=1)]).any(axis=(1, 2))]
        variance, difference = _estimate_variance(observed, scores, resample, n_stimuli)
    dofs = {"stimulus": n_stimuli, "subject": n_subjects}
    return Bootstrap(
        score_subject=observed,
        variance=variance,
        variance_difference=difference,
        ceiling=np.array(bound(once)),
        ceiling_error=_spread(ceilings),
        dof=dofs.get(resample, min(n_stimuli, n_subjects)) - 1,
        n_samples=len(used),
    )


def _estimate_variance(
    observed: Array, scores: Array, resample: Resampling, n_stimuli: int
) -> tuple[Array, Array]:
    """Variances of scores and of their differences from scores (n_samples, n_models, n_subjects)."""
    n_subjects = observed.shape[1]
    of_stimuli = estimate_covariance(scores.mean(axis=2))
    if resample == "stimulus":
        variance, difference = (unbias_variance(v, n_stimuli) for v in contrast_covariance(of_stimuli))
        return variance, difference
    of_both = of_stimuli + _nanmean(_covariance_of_draws(scores))
    if resample == "both":
        return contrast_covariance(of_both)
    of_subjects = _covariance_of_draws(observed[None])[0]
    parts = [contrast_covariance(covariance) for covariance in (of_subjects, of_stimuli, of_both)]
    variance, difference = (
        combine_variances(*part, n_subjects=n_subjects, n_stimuli=n_stimuli)
        for part in zip(*parts, strict=True)
    )
    return variance, difference


def combine_variances(
    of_subjects: Array, of_stimuli: Array, of_both: Array, *, n_subjects: int, n_stimuli: int
) -> Array:
    """Take out of the variance over both draws what measurement noise adds to each of them.

    ``raw = a v_r + b v_p - a b (v_both - v_r - v_p)`` with a = n_r / (n_r - 1) for n_r subjects and
    b = n_p / (n_p - 1) for n_p stimuli, kept between the larger of a v_r and b v_p, and v_both.

    Parameters
    ----------
    of_subjects, of_stimuli, of_both
        arrays of one shape: variances v_r, v_p, v_both over draws of subjects, of stimuli, of both.
    n_subjects, n_stimuli
        How many there are.

    References
    ----------
    Schütt et al. (2023), eLife 12:e82566, doi:10.7554/eLife.82566.

    Examples
    --------
    >>> combine_variances(np.array(1.0), np.array(2.0), np.array(4.0), n_subjects=10, n_stimuli=20).round(3)
    np.float64(2.105)
    """
    a, b = n_subjects / (n_subjects - 1), n_stimuli / (n_stimuli - 1)
    raw = a * of_subjects + b * of_stimuli - a * b * (of_both - of_subjects - of_stimuli)
    floor = np.maximum(a * of_subjects, b * of_stimuli)
    variance: Array = np.minimum(np.maximum(raw, floor), of_both)
    return variance


def estimate_covariance(scores: Array) -> Array:
    """Covariance over samples (rows) of models (columns); samples without a score are left out by pair."""
    known = ~np.isnan(scores)
    n = known.T.astype(np.float64) @ known
    filled = np.where(known, scores - _nanmean(scores), 0)
    mean = np.divide(
        filled.T @ known, n, out=np.full(n.shape, np.nan), where=n > 0
    )  # of row over common ones
    covariance: Array = np.full(n.shape, np.nan)
    np.divide(filled.T @ filled - n * mean * mean.T, n - 1, out=covariance, where=n > 1)
    return covariance


def _covariance_of_draws(scores: Array) -> Array:
    """Covariance of the mean over drawn subjects: that over subjects / n_subjects, shape (n_samples, m, m)."""
    n_subjects = scores.shape[2]
    centred = scores - scores.mean(axis=2, keepdims=True)
    covariance: Array = centred @ centred.transpose(0, 2, 1) / n_subjects**2
    return covariance


def contrast_covariance(covariance: Array) -> tuple[Array, Array]:
    """Variances (m,), and variances of differences (m, m), of what has this covariance (m, m)."""
    variance = np.diagonal(covariance)
    difference: Array = np.maximum(variance[:, None] + variance - 2 * covariance, 0)
    return variance, difference


def unbias_variance(variance: Array, n: int) -> Array:
    """Undo that the mean of n drawn with replacement varies (n - 1) / n as much as that of n new ones."""
    return variance * n / (n - 1) if n > 1 else np.full_like(variance, np.nan)


def _nanmean(values: Array) -> Array:
    """Mean over the first axis of what is there; NaN where nothing is."""
    known = ~np.isnan(values)
    n = known.sum(axis=0)
    mean: Array = np.divide(
        np.where(known, values, 0).sum(axis=0), n, out=np.full(n.shape, np.nan), where=n > 0
    )
    return mean


def _spread(ceilings: Array) -> Array:
    return np.sqrt(np.diagonal(estimate_covariance(ceilings)))
