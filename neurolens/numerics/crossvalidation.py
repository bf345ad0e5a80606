"""Fitted models of RDMs, cross-validated over stimuli, with and without a bootstrap around it.

Stimuli are split into folds; a model is fitted to the pairs among the training stimuli and scored on the pairs among
the test stimuli. Copies of a stimulus in a bootstrap sample share its fold. A score hangs on how the folds were
drawn; with n_cv splits a sample, that noise is taken out of the variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError
from neurolens.numerics.bootstrap import (
    MIN_STIMULI,
    Bootstrap,
    Resampling,
    bound_sample,
    combine_variances,
    contrast_covariance,
    draw_counts,
    estimate_covariance,
    unbias_variance,
)
from neurolens.numerics.embedding import (
    KINDS,
    Array,
    Embedding,
    Pairs,
    PairVectors,
    compute_inner,
    draw_sample,
    embed,
    prepare_vectors,
)
from neurolens.numerics.mixtures import Mixture, Target, fit_mixture
from neurolens.numerics.similarity import Similarity

__all__ = ["Crossvalidation", "compute_crossvalidated_bootstrap", "compute_crossvalidated_null", "draw_folds"]


@dataclass(frozen=True)
class Crossvalidation:
    """Models, data, and how they are fitted and scored."""

    mixtures: Sequence[Mixture]
    components: Array  # (n_components, n_pairs), scaled to comparable lengths
    subjects: Array  # (n_subjects, n_pairs)
    method: Similarity
    pairs: Pairs
    n_folds: int
    control: Array | None = None


def draw_folds(counts: NDArray[np.int64], n_folds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Assign the stimuli that were drawn to folds of about equal size, shape (n_stimuli,); -1 where not drawn.

    Raises
    ------
    InputError
        If a fold would have fewer than 3 different stimuli.
    """
    drawn = np.flatnonzero(counts)
    if len(drawn) < MIN_STIMULI * n_folds:
        raise InputError(
            f"{len(drawn)} stimuli do not make {n_folds} folds of at least {MIN_STIMULI}; "
            f"use n_folds={max(len(drawn) // MIN_STIMULI, 2)} or fewer, or more stimuli."
        )
    folds = np.full(len(counts), -1, dtype=np.intp)
    folds[rng.permutation(drawn)] = np.arange(len(drawn)) % n_folds
    return folds


def score_folds(
    setup: Crossvalidation,
    counts: NDArray[np.int64],
    drawn: Array,
    folds: NDArray[np.intp],
    subjects: PairVectors | None = None,
) -> tuple[Array, tuple[float, float]]:
    """Score each model on each test fold, fitted to the others.

    Parameters
    ----------
    setup
        Models and data.
    counts, drawn
        arrays, shape (n_stimuli,) and (n_subjects,): how often each stands in the sample.
    folds
        array of int, shape (n_stimuli,).
    subjects
        Prepared vectors, where they are not those of `setup` (permuted ones).

    Returns
    -------
    score : ndarray
        shape (n_models, n_subjects): mean over folds.
    ceiling : tuple of float
        lower and upper, mean over folds.
    """
    kind = KINDS[setup.method]
    prepared = prepare_vectors(setup.subjects, setup.pairs, kind) if subjects is None else subjects
    scores, bounds = [], []
    for fold in range(setup.n_folds):
        target = _embed_target(setup, np.where(folds == fold, 0, counts), drawn, prepared)
        test = _embed_target(setup, np.where(folds == fold, counts, 0), drawn, prepared)
        predicted = np.stack(
            [
                fit_mixture(mixture, setup.components[mixture.rows], target) @ setup.components[mixture.rows]
                for mixture in setup.mixtures
            ]
        )
        embedded = embed(prepare_vectors(predicted, setup.pairs, kind), test.sample, kind, test.control)
        scores.append(compute_inner(embedded, test.subjects))
        bounds.append(bound_sample(prepared, test.subjects, test.sample, setup.method, test.control)(drawn))
    low, high = np.mean(bounds, axis=0)
    return np.mean(scores, axis=0), (float(low), float(high))


def _embed_target(
    setup: Crossvalidation, counts: NDArray[np.int64], drawn: Array, subjects: PairVectors
) -> Target:
    kind = KINDS[setup.method]
    sample = draw_sample(counts, setup.pairs, kind)
    control: Embedding | None = None
    if setup.control is not None:
        control = embed(prepare_vectors(setup.control, setup.pairs, kind), sample, kind)
    return Target(embed(subjects, sample, kind, control), drawn, sample, setup.pairs, kind, control)


def compute_crossvalidated_bootstrap(
    setup: Crossvalidation,
    *,
    resample: Resampling,
    n_samples: int,
    n_repeats: int,
    seed: int,
    walk: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Bootstrap:
    """Score fitted models, and estimate how much scores, differences and ceilings vary with what is resampled.

    Parameters
    ----------
    setup
        Models and data.
    resample, n_samples, seed, walk
        As for `compute_bootstrap`; subjects are drawn too, since fits depend on them.
    n_repeats
        Splits into folds of each sample, at least 2: their noise is taken out of the variance by
        ``(n var(mean over splits) - mean var(one split)) / (n - 1)``.

    Returns
    -------
    Bootstrap
        The score is the mean over `10 n_repeats` splits of all stimuli.

    References
    ----------
    Schütt et al. (2023), eLife 12:e82566, doi:10.7554/eLife.82566.
    """
    if n_repeats < 2:
        raise InputError(f"n_repeats={n_repeats}: at least 2 splits tell their noise from that of a sample.")
    n_stimuli, n_subjects = setup.pairs.n_stimuli, len(setup.subjects)
    rng_stimuli, rng_subjects, rng_folds = np.random.default_rng(seed).spawn(3)
    all_stimuli, all_subjects = np.ones(n_stimuli, dtype=np.int64), np.ones(n_subjects)
    observed = [
        score_folds(setup, all_stimuli, all_subjects, draw_folds(all_stimuli, setup.n_folds, rng_folds))
        for _ in range(10 * n_repeats)
    ]
    stimuli, subjects = (
        draw_counts(n_stimuli, n_samples, rng_stimuli),
        draw_counts(n_subjects, n_samples, rng_subjects),
    )
    parts = ("subject", "stimulus", "both") if resample == "dual" else (resample,)
    scores = np.full((len(parts), n_samples, n_repeats, len(setup.mixtures)), np.nan)
    ceilings = np.full((n_samples, 2), np.nan)
    for i in walk(range(n_samples)):
        for j, part in enumerate(parts):
            counts = all_stimuli if part == "subject" else stimuli[i]
            drawn = all_subjects if part == "stimulus" else subjects[i].astype(np.float64)
            if (counts > 0).sum() >= MIN_STIMULI * setup.n_folds:
                folds = [draw_folds(counts, setup.n_folds, rng_folds) for _ in range(n_repeats)]
                found = [score_folds(setup, counts, drawn, one) for one in folds]
                scores[j, i] = [score @ drawn / drawn.sum() for score, _ in found]
                ceilings[i] = np.mean([bounds for _, bounds in found], axis=0)
    variance, difference = _estimate_variance(scores, resample, n_stimuli, n_subjects)
    dofs = {"stimulus": n_stimuli, "subject": n_subjects}
    return Bootstrap(
        score_subject=np.mean([score for score, _ in observed], axis=0),
        variance=variance,
        variance_difference=difference,
        ceiling=np.mean([bounds for _, bounds in observed], axis=0),
        ceiling_error=np.sqrt(np.diagonal(estimate_covariance(ceilings))),
        dof=dofs.get(resample, min(n_stimuli, n_subjects)) - 1,
        n_samples=int((~np.isnan(scores).any(axis=(0, 2, 3))).sum()),
    )


def _estimate_variance(
    scores: Array, resample: Resampling, n_stimuli: int, n_subjects: int
) -> tuple[Array, Array]:
    parts = [contrast_covariance(_remove_split_noise(part)) for part in scores]
    if resample == "dual":
        variance, difference = (
            combine_variances(*part, n_subjects=n_subjects, n_stimuli=n_stimuli)
            for part in zip(*parts, strict=True)
        )
        return variance, difference
    if resample == "both":
        return parts[0]
    n = n_stimuli if resample == "stimulus" else n_subjects
    variance, difference = (unbias_variance(one, n) for one in parts[0])
    return variance, difference


def _remove_split_noise(scores: Array) -> Array:
    """Covariance without the noise of splits, from scores (n_samples, n_repeats, n_models)."""
    n_repeats = scores.shape[1]
    of_mean = estimate_covariance(scores.mean(axis=1))
    of_one = np.mean([estimate_covariance(scores[:, i]) for i in range(n_repeats)], axis=0)
    corrected: Array = (n_repeats * of_mean - of_one) / (n_repeats - 1)
    return corrected


def compute_crossvalidated_null(
    setup: Crossvalidation,
    permutations: NDArray[np.intp],
    seed: int,
    walk: Callable[[Iterable[NDArray[np.intp]]], Iterable[NDArray[np.intp]]] = iter,
) -> tuple[Array, Array]:
    """Score fitted models on permuted stimuli, fitting anew each time, all with one split into folds.

    Returns
    -------
    observed : ndarray
        shape (n_models,): mean over subjects, with the same split.
    null : ndarray
        shape (n_permutations, n_models).
    """
    kind, pairs, n_stimuli = KINDS[setup.method], setup.pairs, setup.pairs.n_stimuli
    if setup.control is not None:
        raise InputError("Fitted models are not tested by permutation under control; use test='t'.")
    counts, drawn = np.ones(n_stimuli, dtype=np.int64), np.ones(len(setup.subjects))
    rng = np.random.default_rng(
        (seed, 1)
    )  # folds must have nothing to do with the permutations drawn by `seed`
    folds = draw_folds(counts, setup.n_folds, rng)
    squares = np.zeros((len(setup.subjects), n_stimuli, n_stimuli))
    squares[:, pairs.rows, pairs.columns] = squares[:, pairs.columns, pairs.rows] = setup.subjects

    def score(order: NDArray[np.intp]) -> Array:
        permuted = squares[:, order[pairs.rows], order[pairs.columns]]
        found = score_folds(setup, counts, drawn, folds, prepare_vectors(permuted, pairs, kind))[0]
        mean: Array = found.mean(axis=1)
        return mean

    return score(np.arange(n_stimuli)), np.array([score(order) for order in walk(permutations)])
