"""Evaluation: how well each operation's features predict each neuroid, on held-out stimuli."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from neurolens.activations import as_activations
from neurolens.brain.responses import BrainData
from neurolens.encoding.fits import fit_folds
from neurolens.encoding.folds import CrossValidator
from neurolens.encoding.plans import Plan, make_plan
from neurolens.encoding.recordings import (
    CeilingName,
    Recording,
    concatenate_ceilings,
    neuroid_coords,
    prepare_recordings,
)
from neurolens.encoding.ridge import Ridge, warn_edge
from neurolens.encoding.scores import SCORES, ScoreName
from neurolens.encoding.sources import describe_operation, feature_matrix, why_skipped
from neurolens.errors import InputError, LabelError, NeurolensWarning, check_choice, list_names
from neurolens.schema import FOLD, NEUROID, OP, STIMULUS, hash_array, join_stimuli, provenance

__all__ = ["encode"]

Join = Literal["exact", "inner"]
Table = NDArray[np.float64]

UNITS = {"pearson": "r", "r2": "r2", "signed_r2": "r2"}
FROM_ACTIVATIONS = ("model", "weights", "preprocessing")


@dataclass(frozen=True)
class _Question:
    """What `encode` was asked, but for the source."""

    model: Any
    cv: CrossValidator
    score: ScoreName
    groups: str | None
    seed: int
    join: Join
    recordings: list[Recording]


@dataclass
class _Answer:
    """What has been found so far, operation by operation."""

    scores: list[Table] = field(default_factory=list)
    alphas: list[Table] = field(default_factory=list)
    operations: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    described: dict[str, Any] = field(default_factory=dict)
    n_edge: int = 0
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=8))


def encode(
    source: Any,
    responses: BrainData,
    *,
    model: Any = None,
    cv: CrossValidator = 5,
    score: ScoreName = "pearson",
    groups: str | None = None,
    ceiling: CeilingName | None = None,
    seed: int = 0,
    join: Join = "exact",
    progress: bool = True,
) -> xr.Dataset:
    """Predict measured responses from the features of each operation, and score the predictions.

    For each fold the model is fitted on the training stimuli alone and predicts the test stimuli; each
    neuroid is scored within the fold.

    Parameters
    ----------
    source
        Activations, a DataTree, a Dataset, a dict of DataArrays, or one DataArray; each with a labelled dim
        `stimulus`. All other dims are flattened into features. Operations are read one after the other, once.
        The computation is in the dtype of the features (float32 or float64).
    responses
        DataArray ([subject,] [repetition,] stimulus, neuroid), or a dict or DataTree of them by subject: each
        subject is joined and scored on its own, then they are concatenated along `neuroid`. Repetitions are
        averaged. `voxel` means `neuroid`.
    model
        A scikit-learn regressor of many targets; by default `Ridge()`. It is cloned, never changed.
    cv
        A number of folds (seeded, and the same whatever the order of stimuli), or a scikit-learn splitter.
    score
        "pearson" r; "r2" = 1 - SSE/SST about the test mean; "signed_r2" = r|r|.
    groups
        Name of a coord of `stimulus`, of the responses or else of the source (run, category, ...): no fold
        separates stimuli of one group, and neither do the inner folds of `Ridge`.
    ceiling
        "noise_ceiling" or "split_half": also give the bound on r² that the noise of the repetitions sets.
    seed
        Of the folds where `cv` is a number, and of the halves of "split_half".
    join
        "exact": a stimulus on one side only is an error that names it. "inner": use what both sides have.
    progress
        Show a progress bar over operations, where there is a terminal.

    Returns
    -------
    Dataset
        `score` and `alpha` (op, neuroid, fold), float64; `n_train` and `n_test` (neuroid, fold), numbers of
        stimuli; `ceiling` (neuroid), in units of r², where asked for. No `op` where the source is one
        DataArray. `alpha` is NaN for a model without `alpha_`. Coords: depth, step, module, function,
        n_features of `op`; all coords of `neuroid` of the responses. Attrs: method, parameters, seed,
        versions, input hashes, and `skipped` (JSON): the operations without a stimulus axis or with a
        constant output, and why. The score of a neuroid that is constant or has NaN is NaN, and a warning
        names it.

    Raises
    ------
    LabelError
        If stimuli have no labels or differ between the sides, or `groups` names no coord.
    InputError
        If features contain NaN, no neuroid or operation can be scored, there are fewer groups than folds, a
        fold tests too few stimuli for its score (leave-one-out), or an option is unknown.

    References
    ----------
    Naselaris et al., NeuroImage 2011, doi:10.1016/j.neuroimage.2010.07.073.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import neurolens as nl
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(60)]
    >>> conv = xr.DataArray(rng.normal(size=(60, 4)), dims=("stimulus", "unit"), coords={"stimulus": ids})
    >>> voxels = nl.brain.responses(conv.values @ rng.normal(size=(4, 3)), stimulus=ids)
    >>> scores = nl.encode({"conv": conv}, voxels, model=nl.Ridge(alphas=1e-3), progress=False)
    >>> dict(scores.score.sizes), bool((scores.score > 0.99).all())
    ({'op': 1, 'neuroid': 3, 'fold': 5}, True)
    """
    check_choice(score, SCORES, "score")
    model = Ridge() if model is None else model
    if not (hasattr(model, "fit") and hasattr(model, "predict")) or isinstance(model, type):
        raise InputError(f"model={model!r} is no regressor; give an estimator such as Ridge(), with its ().")
    recordings = prepare_recordings(responses, ceiling, seed=seed)
    question = _Question(model, cv, score, groups, seed, join, recordings)
    answer = _Answer()
    items = as_activations(source)
    for address, array in _tracked(items.items(), len(items), progress):
        _add_operation(answer, question, address, array)
    _check_answer(answer, question)
    result = _to_dataset(answer, question)
    result.attrs |= provenance(
        "encode",
        parameters=_parameters(question) | {"ceiling": ceiling},
        inputs={f"responses {r.subject}".strip(): r.hash for r in recordings}
        | {"source": answer.digest.hexdigest()},
        seed=seed,
    )
    return result.isel({OP: 0}, drop=True) if isinstance(source, xr.DataArray) else result


def _add_operation(answer: _Answer, question: _Question, address: str, array: xr.DataArray) -> None:
    """Score one operation for every subject, or note why it is skipped."""
    what = f"operation {address!r}" if address else "the source"
    array = array.compute()
    reason = why_skipped(array)
    if reason is not None:
        answer.skipped[address] = reason
        return
    tables = [_score_recording(answer, question, recording, array, what) for recording in question.recordings]
    answer.digest.update(f"{address} {hash_array(array)}".encode())
    answer.scores.append(np.concatenate([scores for scores, _ in tables]))
    answer.alphas.append(np.concatenate([alphas for _, alphas in tables]))
    if not answer.operations:
        answer.described |= {key: array.attrs[key] for key in FROM_ACTIVATIONS if key in array.attrs}
    answer.operations[address] = describe_operation(array, len(answer.operations) + len(answer.skipped))


def _score_recording(
    answer: _Answer, question: _Question, recording: Recording, array: xr.DataArray, what: str
) -> tuple[Table, Table]:
    """Return score and alpha, each (neuroid, fold), of one operation for one subject."""
    brain = f"the responses of subject {recording.subject!r}" if recording.subject else "the responses"
    data, features = join_stimuli(recording.data, array, join=question.join, names=(brain, what))
    if recording.subject not in answer.plans:
        answer.plans[recording.subject] = make_plan(
            data,
            features,
            cv=question.cv,
            groups=question.groups,
            score=question.score,
            seed=question.seed,
            what=brain,
        )
    plan = answer.plans[recording.subject]
    if data.coords[STIMULUS].values.tolist() != plan.ids:
        raise LabelError(
            f"{what} has other stimuli in common with {brain} ({data.sizes[STIMULUS]}) than the operations "
            f"before it ({len(plan.ids)}), so that their scores could not be compared. Choose operations "
            "that ran for the same stimuli."
        )
    shape = (plan.usable.size, len(plan.folds))
    scores, alphas = np.full(shape, np.nan), np.full(shape, np.nan)
    matrix = feature_matrix(features, what=what)
    fits = fit_folds(
        question.model, matrix, plan.targets, folds=plan.folds, groups=plan.groups, grouped=plan.grouped
    )
    try:
        for fold, ((_, test), fit) in enumerate(zip(plan.folds, fits, strict=True)):
            scores[plan.usable, fold] = SCORES[question.score](plan.targets[test], fit.predictions)
            alphas[plan.usable, fold] = fit.alpha
            answer.n_edge += fit.n_edge
    except Exception as error:
        error.add_note(f"This happened while {type(question.model).__name__} was fitted to {what}.")
        raise
    return scores, alphas


def _check_answer(answer: _Answer, question: _Question) -> None:
    """Raise where nothing was scored, and warn of what should be known before a score is trusted."""
    if not answer.operations:
        why = [f"{address}: {reason}" for address, reason in answer.skipped.items()]
        raise InputError(f"No operation can predict anything; skipped {list_names(why, 5)}.")
    coords = neuroid_coords(question.recordings)
    names = coords[NEUROID][1]
    usable = np.concatenate([answer.plans[recording.subject].usable for recording in question.recordings])
    if not usable.all():
        _warn(
            f"{int((~usable).sum())} of {usable.size} neuroids are constant or contain NaN "
            f"({list_names(names[~usable].tolist(), 5)}); their score is NaN."
        )
    undefined = np.isnan(answer.scores).any(axis=(0, 2)) & usable
    if undefined.any():
        _warn(
            f"{int(undefined.sum())} of {usable.size} neuroids ({list_names(names[undefined].tolist(), 5)}) "
            "have no score in some fold, where their responses or predictions do not vary: NaN there."
        )
    warn_edge(answer.n_edge, len(answer.scores) * _n_fits(answer), stacklevel=4)


def _to_dataset(answer: _Answer, question: _Question) -> xr.Dataset:
    """Give the tables their dims, coords and attrs."""
    plans = [answer.plans[recording.subject] for recording in question.recordings]
    operations = answer.operations
    coords: dict[str, Any] = {OP: list(operations), FOLD: np.arange(len(plans[0].folds))}
    coords |= {name: (OP, [known[name] for known in operations.values()]) for name in _op_names(operations)}
    sizes = [np.concatenate([_sizes(plan, side) for plan in plans]) for side in (0, 1)]
    result = xr.Dataset(
        {
            "score": ((OP, NEUROID, FOLD), np.stack(answer.scores)),
            "alpha": ((OP, NEUROID, FOLD), np.stack(answer.alphas)),
            "n_train": ((NEUROID, FOLD), sizes[0]),
            "n_test": ((NEUROID, FOLD), sizes[1]),
        },
        coords=coords | neuroid_coords(question.recordings),
        attrs=answer.described | {"skipped": json.dumps(answer.skipped)},
    )
    result["score"].attrs = {
        "long_name": f"{question.score} within test folds",
        "units": UNITS[question.score],
    }
    result["alpha"].attrs = {"long_name": "penalty of the ridge, in units of squared features"}
    ceiling = concatenate_ceilings(question.recordings)
    return result if ceiling is None else result.assign(ceiling=ceiling)


def _op_names(operations: dict[str, dict[str, Any]]) -> list[str]:
    """Names of the coords of `op`, the same for every operation."""
    return list(next(iter(operations.values())))


def _sizes(plan: Plan, side: int) -> NDArray[np.int64]:
    """Numbers of stimuli (neuroid, fold) on one side of the folds; 0 train, 1 test."""
    sizes = np.array([fold[side].size for fold in plan.folds], dtype=np.int64)
    return np.tile(sizes, (plan.usable.size, 1))


def _n_fits(answer: _Answer) -> int:
    """How many alphas were chosen for one operation."""
    return sum(int(plan.usable.sum()) * len(plan.folds) for plan in answer.plans.values())


def _parameters(question: _Question) -> dict[str, object]:
    """Everything that decides the result, for the attrs."""
    model = question.model
    options = model.get_params(deep=False) if hasattr(model, "get_params") else {}
    return {
        "model": type(model).__name__,
        "model_parameters": options,
        "cv": question.cv,
        "score": question.score,
        "groups": question.groups,
        "join": question.join,
    }


def _tracked(items: Iterable[Any], n_items: int, progress: bool) -> Iterable[Any]:
    """Show a bar while items are read, where somebody can see it."""
    console = Console(stderr=True)
    seen = progress and (console.is_terminal or console.is_jupyter)
    return track(items, "Encoding", total=n_items, console=console, transient=True, disable=not seen)


def _warn(message: str) -> None:
    """Warn at the line that called `encode`."""
    warnings.warn(message, NeurolensWarning, stacklevel=4)
