"""Profiles by encoding models: how well every operation's features predict each region's responses."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurolens.comparison.nesting import score_nested
from neurolens.comparison.plan import Plan
from neurolens.encoding import PLS, Ridge, bootstrap_stimuli, encode, permute_responses, predicted_rdm
from neurolens.encoding.summaries import summarize_regions
from neurolens.schema import REGION, SUBJECT

__all__ = ["choose_options", "predict_rdms", "score_encodings"]

MODELS = {"ridge": Ridge, "pls": PLS, "ersa": Ridge}


def _encode(
    source: Any, responses: xr.DataArray, plan: Plan, *, predictions: bool = True, **given: Any
) -> xr.Dataset:
    options = choose_options(plan, "model", "cv", "groups", "ceiling", "score")
    return encode(
        source,
        responses,
        seed=plan.seed,
        predictions=predictions,
        progress=plan.progress,
        client=plan.client,
        **({"join": plan.join} | options | given),
    )


def choose_options(plan: Plan, *names: str) -> dict[str, Any]:
    """Return those of the given options that have these names, and a model in any case."""
    options = {name: plan.options[name] for name in names if name in plan.options}
    return {"model": MODELS[plan.method]()} | options


def predict_rdms(source: Any, responses: xr.DataArray, plan: Plan) -> xr.DataArray:
    """RDMs of held-out predictions (op, region, stimulus, stimulus_b)."""
    return predicted_rdm(_encode(source, responses, plan), metric=plan.metric)


def score_encodings(source: Any, responses: xr.DataArray, plan: Plan) -> xr.Dataset:
    """Predict responses (stimulus, neuroid) with the coord `region`, and `subject` where there are several.

    Returns
    -------
    Dataset
        `score`, `p`, `p_corrected`, `ci_low`, `ci_high` (op, region), `ceiling_low`, `ceiling_high` (region),
        `score_subject` (op, region, subject), `score_choice`, `score_test` (fold, op, region).
    """
    result = _encode(source, responses, plan)
    together = result.drop_vars(
        SUBJECT, errors="ignore"
    )  # a region's score is over the neuroids of all subjects
    found = xr.Dataset({"score": _summarize(together)})
    empty = found["score"] * np.nan
    tested: dict[str, Any] = {"p": empty, "p_corrected": empty, "ci_low": empty, "ci_high": empty}
    if plan.n_permutations:
        test = permute_responses(
            together,
            n_permutations=plan.n_permutations,
            by=REGION,
            correction=plan.correction,
            seed=plan.seed,
        )
        tested |= {"p": test["p"], "p_corrected": test["p_corrected"]}
        found.attrs["p_of"] = test.attrs["p_of"]
    if plan.n_bootstraps:
        confidence = plan.options.get("confidence", 0.95)
        interval = bootstrap_stimuli(
            together, n_bootstraps=plan.n_bootstraps, by=REGION, confidence=confidence, seed=plan.seed
        )
        tested |= {"ci_low": interval["ci_low"], "ci_high": interval["ci_high"]}
    found = found.assign(tested).assign(_bound(together))
    if SUBJECT in result.coords:
        found["score_subject"] = _summarize(result)
    nested = _choose_nested(source, responses, together, plan) if plan.n_splits else {}
    unit = result["score"].attrs["units"]
    return found.assign(nested).assign_attrs(
        {key: result.attrs[key] for key in ("skipped", "inputs") if key in result.attrs},
        score_of=f"{result['score'].attrs['long_name']}, mean over folds, median over neuroids",
        n_permutations=plan.n_permutations,
        units=unit,
        n_stimuli=result.sizes["stimulus"],
        p_of=found.attrs.get("p_of", "none"),
        ceiling_kind="square root of the median reliability of neuroids"
        if unit == "r"
        else "median reliability",
        ci_of="percentiles of a bootstrap of test stimuli" if plan.n_bootstraps else "none",
    )


def _summarize(result: xr.Dataset) -> xr.DataArray:
    return summarize_regions(result).drop_vars("n_neuroids", errors="ignore")


def _bound(result: xr.Dataset) -> dict[str, Any]:
    """Bound a region by the noise of its repetitions: a perfect model has one score, hence low equals high."""
    regions = list(dict.fromkeys(result[REGION].values.tolist()))
    if "ceiling" not in result:
        return {name: (REGION, np.full(len(regions), np.nan)) for name in ("ceiling_low", "ceiling_high")}
    of_r = result["score"].attrs["units"] == "r"
    ceiling = np.maximum(result["ceiling"].values, 0)
    ceiling = np.sqrt(ceiling) if of_r else ceiling
    labels = result[REGION].values
    medians = np.array([np.nanmedian(ceiling[labels == region]) for region in regions])
    return dict.fromkeys(("ceiling_low", "ceiling_high"), (REGION, medians))


def _choose_nested(
    source: Any, responses: xr.DataArray, result: xr.Dataset, plan: Plan
) -> dict[str, xr.DataArray]:
    """Fit again on each fold's training stimuli; the source may hold more stimuli than are tested."""
    cv = plan.options.get("cv")
    groups = plan.options.get("groups") or (cv if isinstance(cv, str) else None)
    alone: dict[str, Any] = {"predictions": False, "join": "inner", "groups": groups, "ceiling": None}
    return score_nested(
        result,
        responses.drop_vars(SUBJECT, errors="ignore"),
        lambda part, folds: _encode(source, part, plan, cv=folds, **alone),
        _summarize,
        seed=plan.seed,
    )
