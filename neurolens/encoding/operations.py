"""Operations: all that is done to one of them, with nothing kept in between, so that any process can do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.encoding.features import CHUNK_BYTES, Features, describe_operation, find_missing, why_skipped
from neurolens.encoding.fits import fit_folds
from neurolens.encoding.folds import CrossValidator
from neurolens.encoding.plans import Plan, align_plans, make_plan
from neurolens.encoding.recordings import Recording
from neurolens.encoding.scores import SCORES, ScoreName
from neurolens.errors import LabelError, list_names
from neurolens.schema import STIMULUS, join_stimuli

__all__ = [
    "OperationScores",
    "Question",
    "join_recording",
    "make_plans",
    "name_operation",
    "score_operation",
]

Table = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """What `encode` was asked, but for the source.

    Attributes
    ----------
    model, cv, score, groups, seed, join
        As `encode` takes them.
    recordings
        One a subject.
    predictions
        Whether predictions are wanted.
    """

    model: Any
    cv: CrossValidator
    score: ScoreName
    groups: str | None
    seed: int
    join: Any
    recordings: tuple[Recording, ...]
    predictions: bool = False


@dataclass(frozen=True)
class OperationScores:
    """What one operation predicts, subjects side by side.

    Attributes
    ----------
    skipped
        Why it can predict nothing; "" where it can, and only then the rest is there.
    score, alpha
        Arrays, shape (n_neuroids, n_folds).
    predictions
        Arrays, shape (n_stimuli, n_neuroids of the subject), one a subject in the order of its plan; NaN where a
        stimulus is not tested. None where they were not wanted.
    n_edge
        How many choices of alpha were the smallest or the largest.
    digest
        Hash of the features.
    described
        Coords of `op`.
    """

    skipped: str = ""
    score: Table | None = None
    alpha: Table | None = None
    predictions: tuple[Table, ...] | None = None
    n_edge: int = 0
    digest: str = ""
    described: dict[str, Any] | None = None


@dataclass(frozen=True)
class _RecordingScores:
    """The same for one subject."""

    score: Table
    alpha: Table
    predictions: Table | None
    n_edge: int
    digest: str


def make_plans(question: Question, array: xr.DataArray, what: str) -> tuple[Plan, ...]:
    """Plan the cross-validation of every subject, from the stimuli that it shares with an operation.

    Parameters
    ----------
    question
        What was asked.
    array
        DataArray (stimulus, ...); only its coords are read.
    what
        What to call the operation in a message.

    Returns
    -------
    tuple of Plan
        One a subject.

    Raises
    ------
    InputError, LabelError
        As `encode`.
    """
    plans = []
    for recording in question.recordings:
        data, features = join_recording(question, recording, array, what)
        plans.append(
            make_plan(
                data,
                features,
                cv=question.cv,
                groups=question.groups,
                score=question.score,
                seed=question.seed,
                what=recording.what,
            )
        )
    if question.predictions:
        align_plans(plans, question.recordings)  # now, rather than after all the work
    return tuple(plans)


def join_recording(
    question: Question, recording: Recording, array: xr.DataArray, what: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Bring a subject's responses and an operation to the same stimuli, in the order of the responses."""
    return join_stimuli(recording.data, array, join=question.join, names=(recording.what, what))


def score_operation(
    question: Question, plans: tuple[Plan, ...], address: str, array: xr.DataArray, position: int
) -> OperationScores:
    """Score one operation for every subject, or say why it is skipped.

    Parameters
    ----------
    question
        What was asked.
    plans
        From `make_plans`.
    address
        Of the operation; "" for a lone array without a name.
    array
        Its activations, maybe not in memory.
    position
        Its place in the source.

    Returns
    -------
    OperationScores

    Raises
    ------
    InputError, LabelError
        As `encode`; anything that a model raises has a note that says for which operation.
    """
    if array.nbytes <= CHUNK_BYTES:
        array = array.compute()
    reason = why_skipped(array)
    if reason is not None:
        return OperationScores(skipped=reason)
    missing = sorted(
        {str(name) for name in find_missing(array)} & {str(i) for plan in plans for i in plan.ids}
    )
    if missing:
        return OperationScores(skipped=f"did not run for {len(missing)} stimuli: {list_names(missing, 3)}")
    what = name_operation(address)
    parts = [
        _score_recording(question, recording, plan, array, what)
        for recording, plan in zip(question.recordings, plans, strict=True)
    ]
    return OperationScores(
        score=np.concatenate([part.score for part in parts]),
        alpha=np.concatenate([part.alpha for part in parts]),
        predictions=tuple(part.predictions for part in parts if part.predictions is not None) or None,
        n_edge=sum(part.n_edge for part in parts),
        digest=" ".join(part.digest for part in parts),
        described=describe_operation(array, position),
    )


def name_operation(address: str) -> str:
    """Return what to call an operation in a message."""
    return f"operation {address!r}" if address else "the source"


def _score_recording(
    question: Question, recording: Recording, plan: Plan, array: xr.DataArray, what: str
) -> _RecordingScores:
    """Score one operation for one subject."""
    data, joined = join_recording(question, recording, array, what)
    if data.coords[STIMULUS].values.tolist() != plan.ids:
        raise LabelError(
            f"{what} has other stimuli in common with {recording.what} ({data.sizes[STIMULUS]}) than the "
            f"operations before it ({len(plan.ids)}), so that their scores could not be compared. Choose "
            "operations that ran for the same stimuli."
        )
    features = Features(joined, what)
    shape = (plan.usable.size, len(plan.folds))
    scores, alphas = np.full(shape, np.nan), np.full(shape, np.nan)
    predictions = np.full((len(plan.ids), plan.usable.size), np.nan) if question.predictions else None
    n_edge = 0
    try:
        fits = fit_folds(question.model, features, plan.task)
        for fold, ((_, test), fit) in enumerate(zip(plan.folds, fits, strict=True)):
            scores[plan.usable, fold] = SCORES[question.score](plan.task.targets[test], fit.predictions)
            alphas[plan.usable, fold] = fit.alpha
            n_edge += fit.n_edge
            if predictions is not None:
                predictions[np.ix_(test, plan.usable)] = fit.predictions
    except Exception as error:
        error.add_note(f"This happened while {type(question.model).__name__} was fitted to {what}.")
        raise
    return _RecordingScores(scores, alphas, predictions, n_edge, features.digest.hexdigest())
