"""Profiles by CKA, Procrustes and CCA: every operation's patterns against each region's responses."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from neurolens.comparison.plan import Plan
from neurolens.comparison.splits import score_halves
from neurolens.errors import InputError
from neurolens.rsa.representations import compare_representations
from neurolens.schema import OP, SUBJECT

__all__ = ["score_grams"]

CONFIDENCE = 0.95


def score_grams(distances: xr.DataArray, target: xr.DataArray, plan: Plan) -> xr.Dataset:
    """Score squared distances (op, stimulus, stimulus_b) against one region's ([subject,] stimulus, stimulus_b).

    Returns
    -------
    Dataset
        `score`, `chance`, `p`, `p_corrected`, `ci_low`, `ci_high` (op), `ceiling_low`, `ceiling_high` (),
        `score_subject` (op, subject) where there are subjects, `score_choice`, `score_test` (split, op).

    Raises
    ------
    InputError
        If the region is given as RDMs of another distance: they do not keep the patterns.
    """
    if target.attrs.get("metric") != "sqeuclidean":
        raise InputError(
            f"method={plan.method!r} compares patterns, which RDMs do not keep: give the brain's responses "
            "(stimulus, neuroid), or RDMs of nl.rdm(responses, metric='sqeuclidean')."
        )
    options: dict[str, Any] = {"method": plan.method, **plan.options}
    result = compare_representations(
        distances,
        target,
        n_permutations=plan.n_permutations,
        correction=plan.correction,
        seed=plan.seed,
        join=plan.join,
        **options,
    )
    halves = score_halves(
        distances,
        target,
        plan,
        lambda left, right: compare_representations(left, right, n_permutations=0, **options)["score"],
    )
    found = result.assign(_bound(result) | halves)
    low, high = _bound_by_others(target, plan, options)
    found = found.assign(ceiling_low=low, ceiling_high=high)
    n_subjects = result.sizes.get(SUBJECT, 1)
    return found.assign_attrs(
        n_permutations=plan.n_permutations,
        p_of="permutation of stimulus labels, one-sided; for these stimuli and subjects",
        ceiling_kind="the other subjects' responses side by side (low), all subjects' (high), against each subject",
        ci_of="score ± t standard error over subjects; subjects of this kind; these stimuli"
        if n_subjects > 1
        else "none",
    )


def _bound(result: xr.Dataset) -> dict[str, xr.DataArray]:
    score = result["score"]
    if result.sizes.get(SUBJECT, 1) < 2:
        return {"ci_low": score * np.nan, "ci_high": score * np.nan}
    n = result.sizes[SUBJECT]
    error = result["score_subject"].std(SUBJECT, ddof=1, skipna=False) / np.sqrt(n)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * error
    return {"ci_low": score - reach, "ci_high": score + reach}


def _bound_by_others(target: xr.DataArray, plan: Plan, options: dict[str, Any]) -> tuple[float, float]:
    """Responses laid side by side have squared distances that add up: so pools need no responses."""
    n = target.sizes.get(SUBJECT, 1)
    if n < 2:
        return np.nan, np.nan
    scaled = target / target.mean(["stimulus", "stimulus_b"])  # subjects count alike
    features = target["n_features"] if "n_features" in target.coords else None
    lows: list[float] = []
    highs: list[float] = []
    for i in range(n):
        others = [k for k in range(n) if k != i]
        for members, into in ((others, lows), (list(range(n)), highs)):
            pool = scaled.isel({SUBJECT: members}).sum(SUBJECT).expand_dims({OP: ["pool"]})
            pool.attrs["metric"] = "sqeuclidean"
            if features is not None:
                total = int(np.broadcast_to(features.values, n)[members].sum())
                pool = pool.assign_coords(n_features=(OP, [total]))
            one = target.isel({SUBJECT: i}, drop=True)
            into.append(float(compare_representations(pool, one, n_permutations=0, **options)["score"][0]))
    return float(np.mean(lows)), float(np.mean(highs))
