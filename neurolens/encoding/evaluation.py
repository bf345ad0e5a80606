"""Evaluation: how well each operation's features predict each neuroid, on held-out stimuli."""

from __future__ import annotations

import json
import warnings
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.activations import as_activations
from neurolens.brain.responses import BrainData
from neurolens.encoding.folds import CrossValidator
from neurolens.encoding.operations import Question
from neurolens.encoding.plans import Plan
from neurolens.encoding.predictions import label_predictions
from neurolens.encoding.recordings import (
    CeilingName,
    concatenate_ceilings,
    neuroid_coords,
    prepare_recordings,
)
from neurolens.encoding.ridge import Ridge, warn_edge
from neurolens.encoding.scores import SCORES, UNITS, ScoreName
from neurolens.encoding.spreading import Found, score_operations
from neurolens.errors import InputError, NeurolensWarning, check_choice, check_name, list_names
from neurolens.schema import FOLD, NEUROID, OP, provenance

__all__ = ["Join", "ask", "encode", "label_scores"]

Join = Literal["exact", "inner"]


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
    predictions: bool = False,
    progress: bool = True,
    client: Any = None,
) -> xr.Dataset:
    """Predict measured responses from the features of each operation, and score the predictions.

    For each fold the model is fitted on the training stimuli alone and predicts the test stimuli; each
    neuroid is scored within the fold.

    Parameters
    ----------
    source
        Activations, a DataTree, a Dataset, a dict of DataArrays, or one DataArray; each with a labelled dim
        `stimulus`. All other dims are flattened into features. Operations are read one after the other. The
        computation is in the dtype of the features (float32 or float64). For `Ridge`, `Linear`, `PLS` and
        `BandedRidge` only the kernel over stimuli is kept where features outnumber stimuli: an operation that
        lies in a store is read in pieces and never held as a whole (but for ``Ridge(standardize=True)``).
    responses
        DataArray ([subject,] [repetition,] stimulus, neuroid), or a dict or DataTree of them by subject: each
        subject is joined and scored on its own, then they are concatenated along `neuroid`. Repetitions are
        averaged. `voxel` means `neuroid`.
    model
        A scikit-learn regressor of many targets, maybe a Pipeline; by default `Ridge()`. It is cloned, never
        changed, and fitted, with all of its steps, on the training stimuli of each fold alone.
    cv
        A number of folds (seeded, and the same whatever the order of stimuli); a scikit-learn splitter; the name
        of a coord of `stimulus` (run, category): each of its values is held out once, or, where its values are
        "train" and "test", the test stimuli once; or ``{"train": ids, "test": ids}``.
    score
        "pearson" r; "r2" = 1 - SSE/SST about the test mean; "signed_r2" = r|r|.
    groups
        Name of a coord of `stimulus`, of the responses or else of the source (run, category, ...): no fold
        separates stimuli of one group, and neither do the inner folds of `Ridge`. By default the coord that
        `cv` names.
    ceiling
        "noise_ceiling" or "split_half": also give the bound on r² that the noise of the repetitions sets.
    seed
        Of the folds where `cv` is a number, and of the halves of "split_half".
    join
        "exact": a stimulus on one side only is an error that names it. "inner": use what both sides have.
    predictions
        Also return the held-out predictions, which significance tests and RDMs of predictions start from. Each
        stimulus may then be tested in one fold at most, and subjects must have the same stimuli.
    progress
        Show a progress bar over operations, where there is a terminal.
    client
        A `dask.distributed.Client`: operations are spread over its workers. The numbers are the same where
        workers compute with as many threads as this process does.

    Returns
    -------
    Dataset
        `score` and `alpha` (op, neuroid, fold), float64; `n_train` and `n_test` (neuroid, fold), numbers of
        stimuli; `ceiling` (neuroid), in units of r², where asked for. No `op` where the source is one
        DataArray. `alpha` is NaN for a model without `alpha_`. With `predictions`: `prediction` (op, stimulus,
        neuroid) and `observed` (stimulus, neuroid) of the tested stimuli, with coords `test_fold` and `block`
        (the group) of `stimulus`, and attrs["pair_reuse"] (see `numerics.heldout.count_reuse`).
        Coords: depth, step, module, function, n_features of `op`; all coords of `neuroid` of the responses.
        Attrs: method, parameters, seed, versions, input hashes, and `skipped` (JSON): the operations without a
        stimulus axis, with a constant output, or that did not run for some of the stimuli, and why. The score
        of a neuroid that is constant or has NaN is NaN, and a warning names it.

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
    question, inputs = ask(
        responses,
        model=model,
        cv=cv,
        score=score,
        groups=groups,
        ceiling=ceiling,
        seed=seed,
        join=join,
        predictions=predictions,
    )
    found = score_operations(as_activations(source), question, progress=progress, client=client)
    _check_scores(found, question)
    result = label_scores(found, question)
    if predictions:
        result = label_predictions(result, found, question.recordings)
    result.attrs |= found.attrs | {"skipped": json.dumps(found.skipped)}
    result.attrs |= provenance(
        "encode",
        parameters=_parameters(question) | {"ceiling": ceiling},
        inputs=inputs | {"source": found.digest},
        seed=seed,
    )
    return result.isel({OP: 0}, drop=True) if isinstance(source, xr.DataArray) else result


def ask(
    responses: BrainData,
    *,
    model: Any = None,
    cv: CrossValidator = 5,
    score: ScoreName = "pearson",
    groups: str | None = None,
    ceiling: CeilingName | None = None,
    seed: int = 0,
    join: Join = "exact",
    predictions: bool = False,
) -> tuple[Question, dict[str, str]]:
    """Check what was asked, and prepare the responses.

    Parameters
    ----------
    responses, model, cv, score, groups, ceiling, seed, join, predictions
        As `encode` takes them.

    Returns
    -------
    tuple
        The Question, and the hash of each subject's responses.

    Raises
    ------
    InputError, LabelError
        As `encode`.
    """
    check_choice(score, SCORES, "score")
    check_choice(join, ("exact", "inner"), "join")
    if groups is not None:
        check_name(groups, "groups", "coord of 'stimulus'")
    model = Ridge() if model is None else model
    if not (hasattr(model, "fit") and hasattr(model, "predict")) or isinstance(model, type):
        raise InputError(f"model={model!r} is no regressor; give an estimator such as Ridge(), with its ().")
    recordings = tuple(prepare_recordings(responses, ceiling, seed=seed))
    hashes = {f"responses {r.subject}".strip(): r.hash for r in recordings}
    return Question(model, cv, score, groups, seed, join, recordings, predictions), hashes


def _check_scores(found: Found, question: Question) -> None:
    """Raise where nothing was scored, and warn of what should be known before a score is trusted."""
    if not found.scores:
        why = [f"{address}: {reason}" for address, reason in found.skipped.items()]
        raise InputError(f"No operation can predict anything; skipped {list_names(why, 5)}.")
    names = neuroid_coords(question.recordings)[NEUROID][1]
    usable = np.concatenate([plan.usable for plan in found.plans])
    if not usable.all():
        _warn(
            f"{int((~usable).sum())} of {usable.size} neuroids are constant or contain NaN "
            f"({list_names(names[~usable].tolist(), 5)}); their score is NaN."
        )
    undefined = np.isnan(found.stack("score")).any(axis=(0, 2)) & usable
    if undefined.any():
        _warn(
            f"{int(undefined.sum())} of {usable.size} neuroids ({list_names(names[undefined].tolist(), 5)}) "
            "have no score in some fold, where their responses or predictions do not vary: NaN there."
        )
    n_fits = sum(int(plan.usable.sum()) * len(plan.folds) for plan in found.plans)
    n_edge = sum(scores.n_edge for scores in found.scores.values())
    warn_edge(n_edge, len(found.scores) * n_fits, stacklevel=4)


def label_scores(found: Found, question: Question) -> xr.Dataset:
    """Give the tables of `encode` their dims, coords and attrs."""
    described = [scores.described or {} for scores in found.scores.values()]
    coords: dict[str, Any] = {OP: list(found.scores), FOLD: np.arange(len(found.plans[0].folds))}
    coords |= {name: (OP, [known[name] for known in described]) for name in described[0]}
    sizes = [np.concatenate([_count_stimuli(plan, side) for plan in found.plans]) for side in (0, 1)]
    result = xr.Dataset(
        {
            "score": ((OP, NEUROID, FOLD), found.stack("score")),
            "alpha": ((OP, NEUROID, FOLD), found.stack("alpha")),
            "n_train": ((NEUROID, FOLD), sizes[0]),
            "n_test": ((NEUROID, FOLD), sizes[1]),
        },
        coords=coords | neuroid_coords(question.recordings),
    )
    result["score"].attrs = {
        "long_name": f"{question.score} within test folds",
        "score": question.score,
        "units": UNITS[question.score],
    }
    result["alpha"].attrs = {"long_name": "penalty of the ridge, in units of squared features"}
    ceiling = concatenate_ceilings(question.recordings)
    return result if ceiling is None else result.assign(ceiling=ceiling)


def _count_stimuli(plan: Plan, side: int) -> NDArray[np.int64]:
    """Count stimuli (neuroid, fold) on one side of the folds; 0 train, 1 test."""
    sizes = np.array([fold[side].size for fold in plan.folds], dtype=np.int64)
    return np.tile(sizes, (plan.usable.size, 1))


def _parameters(question: Question) -> dict[str, object]:
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


def _warn(message: str) -> None:
    """Warn at the line that called `encode`."""
    warnings.warn(message, NeurolensWarning, stacklevel=4)
