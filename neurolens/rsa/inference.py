"""Inference on models of RDMs: scores, intervals, tests, comparisons and ceilings in one table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr
from scipy import stats

from neurolens.activations.progress import track
from neurolens.errors import InputError, NeurolensWarning, check_choice, check_count, is_between, list_names
from neurolens.numerics.bootstrap import RESAMPLINGS, Bootstrap, Resampling, compute_bootstrap, make_scorer
from neurolens.numerics.corrections import (
    CORRECTIONS,
    Correction,
    control_fdr,
    correct_by_maximum,
)
from neurolens.numerics.crossvalidation import (
    Crossvalidation,
    compute_crossvalidated_bootstrap,
    compute_crossvalidated_null,
)
from neurolens.numerics.embedding import KINDS, Array, Indices, draw_sample, embed, prepare_vectors
from neurolens.numerics.mixtures import Target, fit_mixture
from neurolens.numerics.permutation import compute_permutation_test, draw_permutations
from neurolens.numerics.signflip import compute_signflip_test
from neurolens.numerics.similarity import MEASURES, Similarity
from neurolens.rsa.models import Selected, Weighted
from neurolens.rsa.results import TESTS, Settings, Test, Tested, assemble_result, correct_p, describe_result
from neurolens.rsa.table import RdmTable, build_table
from neurolens.schema import SUBJECT, provenance, require_labels

__all__ = ["infer"]

UNBIASED = ("crossnobis",)  # distances with expectation 0 where patterns do not differ
MIN_FLIPPED = 5  # fewer subjects cannot reach .05


def infer(
    models: xr.DataArray | Mapping[str, xr.DataArray | Weighted | Selected],
    data: xr.DataArray,
    *,
    method: Similarity = "rho-a",
    resample: Resampling | None = None,
    test: Test = "permutation",
    correction: Correction = "max",
    control: xr.DataArray | None = None,
    within: str | None = None,
    n_bootstraps: int = 1000,
    n_permutations: int = 1000,
    n_folds: int | None = None,
    n_repeats: int = 2,
    confidence: float = 0.95,
    seed: int = 0,
    join: Literal["exact", "inner"] = "exact",
    progress: bool = False,
) -> xr.Dataset:
    """Score models against subjects' RDMs, with intervals, tests, comparisons of all pairs and noise ceilings.

    The score is the mean over subjects of the similarity of the model's RDM with the subject's. Its standard
    error comes from resampling: attrs["generalises_to"] says to what. In a sample with copies of a stimulus,
    pairs of it with itself are dropped; samples with fewer than 3 different stimuli are dropped. Intervals are
    score ± t se. Subjects' sessions are averaged first.

    Models that are fitted (`Weighted`, `Selected`) make all scores cross-validated over stimuli: fitted on the
    pairs of the training stimuli, scored on the pairs of the test stimuli, and the noise of the splits is taken
    out of the variance.

    Parameters
    ----------
    models
        RDMs, a DataArray ([op or any one dim,] stimulus, stimulus_b), or a Mapping from names to such an RDM,
        `Weighted` or `Selected`.
    data
        DataArray ([subject,] [session,] stimulus, stimulus_b).
    method
        The measure, as in `compare_rdms`; the whitened ones take the estimates of stimuli as independent.
    resample
        "stimulus"; "subject" (exact, no samples needed); "both"; "dual" (both, without the noise that both
        draws count). By default "dual" where there are several subjects, else "stimulus".
    test
        Against chance: "permutation" of stimulus labels (`n_permutations`; all of them for up to 7 stimuli),
        "t" (score by standard error), or "sign-flip" over subjects. Chance is 0 but for the cosines of
        distances that are biased: there it is the mean over all permutations.
    correction
        Over models, and over pairs of models: "max" (family-wise: maximum statistic where a null was
        resampled; Holm for t and for differences), or "bh" (false discovery rate).
    control
        DataArray ([any one dim,] stimulus, stimulus_b): what it explains is removed from models and subjects,
        of ranks for rank measures. The measure is then a partial correlation (no 12 / (P^3 - P) for "rho-a").
        Where dissimilarities add up, ranks do not: a rank measure then leaves some of the control behind
        (docs/calibration.md), "pearson" does not.
    within
        A coord of `stimulus`: only pairs within the same value count, those of all values pooled, and labels are
        permuted within it.
    n_bootstraps, n_permutations
        How many; 0 leaves intervals or p out (NaN). With resample="subject" samples serve the errors of the
        ceilings alone.
    n_folds, n_repeats
        Of cross-validation, for models that are fitted: folds (5 where stimuli suffice), and splits into folds
        for each sample.
    confidence
        Of the intervals.
    seed
        Of all draws.
    join
        "exact": a stimulus on one side only is an error; "inner": use what all have.
    progress
        Whether to show a progress bar on stderr.

    Returns
    -------
    Dataset
        Over the models' dim (`op`, or `model` for a Mapping): `score`, `standard_error`, `ci_low`, `ci_high`,
        `chance`, `p`, `p_corrected`; `score_subject` (.., subject) where there are subjects. Over pairs (..,
        .._b): `difference` (row minus column), `p_difference` (two-sided), `p_difference_corrected`. Scalars:
        `ceiling_low`, `ceiling_high`, `ceiling_low_error`, `ceiling_high_error`, NaN without several subjects.
        With fitted models `weight` (component): fitted to all stimuli, absolute values summing to 1 a model, for
        components of equal spread.
        A model with missing pairs, or without similarity, has NaN. attrs: method, resample, generalises_to,
        dof, n_samples, p_of, ceiling_kind, ...

    Raises
    ------
    LabelError
        If stimuli are not labelled or do not match.
    InputError
        If a choice is not known or has no definition here, a subject's RDM is missing, or stimuli are too few.

    Warns
    -----
    NeurolensWarning
        If a model has missing pairs, the lower ceiling is not positive, or subjects are too few for a sign-flip.

    References
    ----------
    Schütt et al. (2023), eLife 12:e82566, doi:10.7554/eLife.82566.
    Nili et al. (2014), PLoS Computational Biology 10:e1003553, doi:10.1371/journal.pcbi.1003553.

    Examples
    --------
    >>> from neurolens.rsa import rdm
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(12)]
    >>> truth = rng.random((12, 20))
    >>> noisy = truth + rng.random((6, 12, 20))
    >>> subjects = rdm(xr.DataArray(noisy, {"subject": range(6), "stimulus": ids}, ("subject", "stimulus", "unit")))
    >>> layer = rdm({"conv": xr.DataArray(truth, {"stimulus": ids}, ("stimulus", "unit"))})
    >>> result = infer(layer, subjects, n_bootstraps=100, n_permutations=99)
    >>> bool(result.ci_low[0] < result.score[0] < result.ci_high[0]), float(result.p[0])
    (True, 0.01)
    """
    settings = Settings(
        method,
        _choose_resampling(resample, data),
        test,
        correction,
        n_bootstraps,
        n_permutations,
        n_repeats,
        seed,
    )
    _check_settings(settings, confidence)
    table = build_table(models, data, control=control, within=within, join=join)
    _check_table(table, settings)
    folds = _choose_folds(table, n_folds, settings)
    bootstrap = _run_bootstrap(table, settings, folds, progress)
    tested = _run_test(table, settings, folds, bootstrap, progress)
    parameters = {
        **settings.__dict__,
        "within": within,
        "n_folds": folds,
        "confidence": confidence,
        "join": join,
        "control": control is not None,
    }
    attrs = provenance(method, parameters=parameters, inputs=table.hashes, seed=seed)
    attrs |= describe_result(table, settings, folds)
    weights = _fit_weights(table, settings) if table.has_fits else []
    result = assemble_result(table, settings, bootstrap, tested, weights, confidence, attrs)
    _warn(result, settings)
    return result


def _choose_resampling(resample: Resampling | None, data: xr.DataArray) -> Resampling:
    require_labels(data, "Inference")
    if resample is None:
        return "dual" if data.sizes.get(SUBJECT, 1) > 1 else "stimulus"
    check_choice(resample, RESAMPLINGS, "resample")
    return resample


def _check_settings(settings: Settings, confidence: float) -> None:
    check_choice(settings.method, MEASURES, "method")
    check_choice(settings.test, TESTS, "test")
    check_choice(settings.correction, CORRECTIONS, "correction")
    for name in ("n_bootstraps", "n_permutations"):
        check_count(getattr(settings, name), name, 0, " (none)")
    if settings.n_bootstraps == 1:
        raise InputError("n_bootstraps=1: one sample has no spread. Give 0 (no interval) or many, e.g. 1000.")
    if not is_between(confidence, 0, 1):
        raise InputError(f"confidence={confidence!r} must lie between 0 and 1, e.g. 0.95.")
    if settings.test == "t" and not settings.n_bootstraps and settings.resample != "subject":
        raise InputError("test='t' needs a standard error: n_bootstraps must be above 0.")


def _check_table(table: RdmTable, settings: Settings) -> None:
    if len(table.subjects) < 2 and (settings.resample != "stimulus" or settings.test == "sign-flip"):
        raise InputError(
            f"resample={settings.resample!r} and test={settings.test!r} need several subjects; data have one. "
            "Use resample='stimulus' and test='permutation' or 't'."
        )
    if settings.test == "permutation" and settings.n_permutations and table.is_incomplete:
        raise InputError(
            "Pairs of stimuli are missing (NaN), so labels cannot be permuted: drop the stimuli they belong to, "
            "or pass n_permutations=0."
        )
    has_unknown_chance = _is_biased(table, settings) and (
        table.has_fits or table.is_incomplete or table.control is not None
    )
    if settings.test != "permutation" and has_unknown_chance:
        raise InputError(
            f"{settings.method!r} of distances that are biased upwards is not 0 by chance, and here chance is not "
            "known: use test='permutation', a correlation, or crossnobis distances."
        )
    if table.has_fits and settings.method not in KINDS:
        raise InputError(
            f"Models cannot be fitted for {settings.method!r}; choose one of {list_names(KINDS)}."
        )


def _choose_folds(table: RdmTable, n_folds: int | None, settings: Settings) -> int:
    """Return the number of folds; 0 where no model is fitted."""
    if not table.has_fits:
        if n_folds is not None or settings.n_repeats != 2:
            raise InputError(
                "n_folds and n_repeats are for models that are fitted, Weighted or Selected; there is none."
            )
        return 0
    chosen = min(5, max(table.pairs.n_stimuli // 6, 2)) if n_folds is None else n_folds
    check_count(chosen, "n_folds", 2, " folds")
    return chosen


def _set_up(table: RdmTable, settings: Settings, folds: int) -> Crossvalidation:
    return Crossvalidation(
        table.mixtures, table.components, table.subjects, settings.method, table.pairs, folds, table.control
    )


def _run_bootstrap(table: RdmTable, settings: Settings, folds: int, progress: bool) -> Bootstrap:
    if folds:
        return compute_crossvalidated_bootstrap(
            _set_up(table, settings, folds),
            resample=settings.resample,
            n_samples=settings.n_bootstraps,
            n_repeats=settings.n_repeats,
            seed=settings.seed,
            walk=lambda samples: track(samples, "Bootstrap", shown=progress, total=settings.n_bootstraps),
        )
    scorer = make_scorer(
        table.components, table.subjects, settings.method, pairs=table.pairs, control=table.control
    )
    return compute_bootstrap(
        scorer,
        n_stimuli=table.pairs.n_stimuli,
        n_subjects=len(table.subjects),
        resample=settings.resample,
        n_samples=settings.n_bootstraps,
        seed=settings.seed,
        walk=lambda samples: track(samples, "Bootstrap", shown=progress, total=settings.n_bootstraps),
    )


def _run_test(
    table: RdmTable, settings: Settings, folds: int, bootstrap: Bootstrap, progress: bool
) -> Tested:
    nothing = np.full(len(bootstrap.score_subject), np.nan)
    chance = _find_chance(table, settings)
    if settings.test == "t":
        error = np.sqrt(bootstrap.variance)
        above = bootstrap.score_subject.mean(axis=1) - chance
        p = stats.t.sf(
            np.divide(above, error, out=np.full_like(above, np.nan), where=error > 0), bootstrap.dof
        )
        return Tested(chance, p, correct_p(p, settings.correction), 0)
    if not settings.n_permutations:
        return Tested(chance, nothing, nothing, 0)
    if settings.test == "sign-flip":
        p, p_max, n = compute_signflip_test(
            bootstrap.score_subject - chance[:, None], n_flips=settings.n_permutations, seed=settings.seed
        )
    else:
        p, p_max, n = _permute(table, settings, folds, progress)
    return Tested(chance, p, p_max if settings.correction == "max" else control_fdr(p), n)


def _permute(table: RdmTable, settings: Settings, folds: int, progress: bool) -> tuple[Array, Array, int]:
    orders: Indices = draw_permutations(
        table.pairs.n_stimuli, settings.n_permutations, settings.seed, table.groups
    )
    if not folds:
        found = compute_permutation_test(
            table.components,
            [table.subjects],
            settings.method,
            permutations=orders,
            groups=table.groups,
            control=table.control,
        )
        return found.p[:, 0], found.p_max[:, 0], found.n_permutations
    observed, null = compute_crossvalidated_null(
        _set_up(table, settings, folds),
        orders,
        settings.seed,
        walk=lambda one: track(one, "Permutations", shown=progress, total=len(orders)),
    )
    centre = null.mean(axis=0)
    p = (1 + (null >= observed - 1e-9).sum(axis=0)) / (1 + len(null))
    p = np.where(np.isnan(observed), np.nan, p)
    return p, correct_by_maximum(observed - centre, null - centre), len(orders)


def _fit_weights(table: RdmTable, settings: Settings) -> list[Array]:
    """Fit each model to all stimuli: what the weights are, no part of any score."""
    kind = KINDS[settings.method]
    sample = draw_sample(np.ones(table.pairs.n_stimuli), table.pairs, kind)
    removed = None
    if table.control is not None:
        removed = embed(prepare_vectors(table.control, table.pairs, kind), sample, kind)
    subjects = embed(prepare_vectors(table.subjects, table.pairs, kind), sample, kind, removed)
    target = Target(subjects, np.ones(len(subjects)), sample, table.pairs, kind, removed)
    weights = [fit_mixture(one, table.components[one.rows], target) for one in table.mixtures]
    return [one / max(np.abs(one).sum(), 1e-300) for one in weights]


def _is_biased(table: RdmTable, settings: Settings) -> bool:
    kind = KINDS.get(settings.method)
    return kind is not None and not kind.centred and table.metric not in UNBIASED


def _find_chance(table: RdmTable, settings: Settings) -> Array:
    """Mean similarity over all permutations where that is not 0: the cosines of distances that are biased."""
    if not _is_biased(table, settings):
        return np.zeros(len(table.mixtures))
    if table.has_fits or table.is_incomplete or table.control is not None:
        return np.full(len(table.mixtures), np.nan)
    one = np.arange(table.pairs.n_stimuli)[None]
    return compute_permutation_test(
        table.components, [table.subjects], settings.method, permutations=one, groups=table.groups
    ).expected[:, 0]


def _warn(result: xr.Dataset, settings: Settings) -> None:
    low = float(result.ceiling_low)
    if low <= 0:
        warnings.warn(
            f"The lower noise ceiling is {low:.3g}: the subjects' RDMs do not agree, so scores cannot tell models "
            "apart. More stimuli, repetitions or subjects are needed.",
            NeurolensWarning,
            stacklevel=3,
        )
    if settings.test == "sign-flip" and settings.n_permutations and result.attrs["n_subjects"] < MIN_FLIPPED:
        warnings.warn(
            f"{result.attrs['n_subjects']} subjects have {2 ** result.attrs['n_subjects']} sign flips: no p is "
            f"below {2.0 ** -result.attrs['n_subjects']:.3g}. Show every subject instead, or use another test.",
            NeurolensWarning,
            stacklevel=3,
        )
