"""Plans: which stimuli and neuroids of a subject are scored, in which folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.encoding.fits import Task
from neurolens.encoding.folds import CrossValidator, Folds, check_fold, fixed_fold, label_folds, resolve_folds
from neurolens.encoding.recordings import Recording
from neurolens.encoding.scores import MIN_TEST, ScoreName
from neurolens.errors import InputError, LabelError, list_names
from neurolens.schema import STIMULUS

__all__ = ["Plan", "align_plans", "find_test_folds", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """One subject's cross-validation, the same for every operation.

    Attributes
    ----------
    ids
        Labels of the stimuli, in the order of the task.
    usable
        Bool array, shape (n_neuroids,): neither NaN nor constant.
    task
        Responses of the usable neuroids, folds, and the groups that no fold separates.
    """

    ids: list[Any]
    usable: NDArray[np.bool_]
    task: Task

    @property
    def folds(self) -> Folds:
        """Pairs (train, test) of positions in `ids`."""
        return self.task.folds


def make_plan(
    data: xr.DataArray,
    features: xr.DataArray,
    *,
    cv: CrossValidator,
    groups: str | None,
    score: ScoreName,
    seed: int,
    what: str,
) -> Plan:
    """Choose folds and usable neuroids for responses that are joined with features.

    Parameters
    ----------
    data
        DataArray (stimulus, neuroid).
    features
        DataArray (stimulus, ...), same stimuli; read for its coords only.
    cv, groups, score, seed
        As `encode` takes them.
    what
        What to call the responses in a message.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        If no neuroid can be scored, or a fold tests too few stimuli for the score.
    LabelError
        If there is no coord `groups`, or it has missing values.
    """
    values = data.values
    usable = np.isfinite(values).all(axis=0) & (values.max(axis=0) > values.min(axis=0))
    if not usable.any():
        raise InputError(
            f"Every neuroid of {what} is constant or contains NaN, so none can be scored. If stimuli were "
            "shown "
            'unequally often, average what there is: responses.mean("repetition", skipna=True).'
        )
    ids = data.coords[STIMULUS].values
    groups = cv if groups is None and isinstance(cv, str) else groups
    labels = ids.astype(str) if groups is None else _read_labels(data, features, groups, "groups")
    if set(labels.tolist()) == {"train", "test"}:  # sides of a fixed split are no groups
        groups, labels = None, ids.astype(str)
    folds = _make_folds(data, features, cv, labels, seed)
    smallest = min(test.size for _, test in folds)
    if smallest < MIN_TEST[score]:
        raise InputError(
            f"{say_cv(cv)} tests {smallest} of {ids.size} stimuli in a fold, and score={score!r} needs at least "
            f"{MIN_TEST[score]} there: scores are made within folds, since correlating predictions pooled "
            "over folds is biased below 0 on noise. Use fewer folds."
        )
    return Plan(ids.tolist(), usable, Task(values[:, usable], folds, labels, groups is not None))


def say_cv(cv: CrossValidator) -> str:
    """Write `cv` for a message, without the labels of a fixed split."""
    return "cv" if isinstance(cv, Mapping) else f"cv={cv!r}"


def _make_folds(
    data: xr.DataArray, features: xr.DataArray, cv: CrossValidator, labels: NDArray[Any], seed: int
) -> Folds:
    """Make folds of what names them: a coord, the labels of a fixed split, or what scikit-learn takes."""
    if not isinstance(cv, Mapping | str):
        return resolve_folds(cv, labels, seed=seed)
    if isinstance(cv, str):
        folds = label_folds(_read_labels(data, features, cv, "cv"), what=cv)
    else:
        folds = fixed_fold(cv, data.coords[STIMULUS].values)
    for train, test in folds:
        check_fold(train, test, labels, say_cv(cv))
    return folds


def _read_labels(data: xr.DataArray, features: xr.DataArray, name: str, argument: str) -> NDArray[Any]:
    """Values of a coord of stimuli, from the responses or else from the features."""
    for side in (data, features):
        if name in side.coords and side.coords[name].dims == (STIMULUS,):
            labels = side.coords[name]
            if labels.isnull().any():
                missing = data.coords[STIMULUS].values[labels.isnull().values].tolist()
                raise LabelError(
                    f"{argument}={name!r} has no value for the stimuli {list_names(missing, 5)}."
                )
            return np.asarray(labels.values).astype(str)
    known = {name for side in (data, features) for name, c in side.coords.items() if c.dims == (STIMULUS,)}
    raise LabelError(
        f"{argument}={name!r} is no coord of 'stimulus', neither of the responses nor of the source; there are "
        f"{list_names(sorted(map(str, known)))}."
    )


def align_plans(plans: Sequence[Plan], recordings: Sequence[Recording]) -> list[NDArray[np.intp]]:
    """Find, for each subject, the positions of its stimuli in the order of the first subject.

    Raises
    ------
    InputError
        If predictions could not share one dim: subjects have other stimuli or folds, or a stimulus is tested in
        several folds.
    """
    orders = []
    for plan, recording in zip(plans, recordings, strict=True):
        place = {name: i for i, name in enumerate(plan.ids)}
        if set(place) != set(plans[0].ids):
            raise InputError(
                f"Predictions of subjects share the dim 'stimulus', and {recording.what} have other stimuli than "
                f"{recordings[0].what}. Call encode for each subject, or without predictions."
            )
        orders.append(np.array([place[name] for name in plans[0].ids], dtype=np.intp))
        if not np.array_equal(find_test_folds(plan)[orders[-1]], find_test_folds(plans[0])):
            raise InputError(
                f"{recording.what} are tested in other folds than {recordings[0].what}, so that their predictions "
                "cannot share the dim 'stimulus'. Order all subjects' stimuli alike, or call encode for each."
            )
    return orders


def find_test_folds(plan: Plan) -> NDArray[np.intp]:
    """Return the fold that tests each stimulus, -1 for none; raise InputError where there are several."""
    fold_of = np.full(len(plan.ids), -1, dtype=np.intp)
    for fold, (_, test) in enumerate(plan.folds):
        if (fold_of[test] >= 0).any():
            name = plan.ids[int(test[fold_of[test] >= 0][0])]
            raise InputError(
                f"Stimulus {name!r} is tested in several folds and has no single prediction. Use folds that test "
                "each stimulus once (a number of folds, KFold), or predictions=False."
            )
        fold_of[test] = fold
    return fold_of
