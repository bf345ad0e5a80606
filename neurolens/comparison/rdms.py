"""Profiles by RSA: every operation's RDM against each region's, by the inference of `rsa`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from neurolens.comparison.plan import Plan
from neurolens.comparison.splits import average_subjects, score_halves
from neurolens.errors import NeurolensWarning
from neurolens.rsa.inference import infer
from neurolens.rsa.similarity import compare_rdms
from neurolens.schema import OP, STIMULUS, STIMULUS_B, SUBJECT

__all__ = ["find_incomplete", "score_rdms"]

KEPT = ("score", "p", "p_corrected", "ci_low", "ci_high", "ceiling_low", "ceiling_high", "score_subject")


def score_rdms(rdms: xr.DataArray, target: xr.DataArray, plan: Plan) -> xr.Dataset:
    """Score RDMs (op, stimulus, stimulus_b) against one region's ([subject,] stimulus, stimulus_b).

    Returns
    -------
    Dataset
        What `infer` says of scores, p, intervals and ceilings, and `score_choice`, `score_test` (split, op).
    """
    has_subjects = target.sizes.get(SUBJECT, 1) > 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The lower noise ceiling", NeurolensWarning)  # the profile shows it
        warnings.filterwarnings("ignore", r"\d+ models have no score", NeurolensWarning)  # said once for all
        result = infer(
            rdms,
            target,
            method=plan.similarity,
            correction=plan.correction,
            control=plan.control,
            within=plan.within,
            n_bootstraps=plan.n_bootstraps,
            n_permutations=plan.n_permutations,
            seed=plan.seed,
            join=plan.join,
            **_choose_options(plan, has_subjects),
        )
    found = result[[name for name in KEPT if name in result]]
    complete = ~rdms.isnull().any([STIMULUS, STIMULUS_B]).values
    halves = score_halves(
        rdms.isel({OP: complete}), target, plan, lambda left, right: _compare(left, right, plan)
    )
    found = found.assign({name: half.reindex({OP: rdms[OP]}) for name, half in halves.items()})
    has_interval = plan.n_bootstraps or result.attrs["resample"] == "subject"
    told = {name: result.attrs[name] for name in ("n_permutations", "p_of", "ceiling_kind")}
    return found.assign_attrs(told | {"ci_of": result.attrs["ci_of"] if has_interval else "none"})


def _choose_options(plan: Plan, has_subjects: bool) -> dict[str, Any]:
    options = {name: plan.options[name] for name in ("resample", "confidence") if name in plan.options}
    if not has_subjects:
        options["resample"] = "stimulus"
    return options


def _compare(left: xr.DataArray, right: xr.DataArray, plan: Plan) -> xr.DataArray:
    similarity = compare_rdms(left, right, method=plan.similarity, control=plan.control, within=plan.within)
    return average_subjects(similarity)


def find_incomplete(rdms: xr.DataArray) -> list[Any]:
    """List the operations some of whose patterns have no distance."""
    return list(rdms[OP].values[np.isnan(rdms.values).any(axis=(1, 2))].tolist())
