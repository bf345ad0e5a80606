"""Halves of the stimuli: what an operation is chosen on must not score it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from neurolens.comparison.plan import Plan
from neurolens.errors import InputError
from neurolens.rsa.patterns import MIN_STIMULI
from neurolens.schema import STIMULUS, STIMULUS_B, SUBJECT

__all__ = ["SPLIT", "average_subjects", "score_halves"]

SPLIT = "split"

Score = Callable[[xr.DataArray, xr.DataArray], xr.DataArray]


def score_halves(
    left: xr.DataArray, right: xr.DataArray, plan: Plan, score: Score
) -> dict[str, xr.DataArray]:
    """Score RDMs on halves of the stimuli, each half once to choose by and once to be scored on.

    Parameters
    ----------
    left, right
        DataArray (op, stimulus, stimulus_b) and ([subject,] stimulus, stimulus_b), over the same stimuli.
    plan
        Its `n_splits` and `seed`.
    score
        From both sides to scores (op).

    Returns
    -------
    dict
        `score_choice` and `score_test` (split, op), or nothing where halves are too small to be scored.
    """
    n_stimuli = left.sizes[STIMULUS]
    if not plan.n_splits or n_stimuli < 2 * (MIN_STIMULI + 1):
        return {}
    rng = np.random.default_rng(plan.seed)
    choice, test = [], []
    for _ in range(plan.n_splits):
        order = rng.permutation(n_stimuli)
        halves = [np.sort(part) for part in np.array_split(order, 2)]
        try:
            scores = [score(_take(left, half), _take(right, half)) for half in halves]
        except InputError:  # what has a definition on all stimuli may have none on half of them
            return {}
        choice += scores
        test += scores[::-1]
    return {"score_choice": xr.concat(choice, SPLIT), "score_test": xr.concat(test, SPLIT)}


def _take(rdms: xr.DataArray, stimuli: np.ndarray[tuple[int], np.dtype[np.intp]]) -> xr.DataArray:
    return rdms.isel({STIMULUS: stimuli, STIMULUS_B: stimuli})


def average_subjects(scores: xr.DataArray) -> xr.DataArray:
    """Average over subjects, where there are any."""
    return scores.mean(SUBJECT, skipna=False) if SUBJECT in scores.dims else scores
