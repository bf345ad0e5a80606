"""Plans: which stimuli and neuroids of a subject are scored, in which folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.encoding.folds import CrossValidator, Folds, resolve_folds
from neurolens.encoding.scores import MIN_TEST, ScoreName
from neurolens.errors import InputError, LabelError, list_names
from neurolens.schema import STIMULUS

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """One subject's cross-validation, the same for every operation.

    Attributes
    ----------
    ids
        Labels of the stimuli, in the order of `targets`.
    targets
        Array, shape (n_stimuli, n_usable), float64: responses of the usable neuroids.
    usable
        Bool array, shape (n_neuroids,): neither NaN nor constant.
    folds
        Pairs (train, test) of positions in `ids`.
    groups
        Array, shape (n_stimuli,): what no fold separates; the ids where there are no groups.
    grouped
        Whether groups were asked for.
    """

    ids: list[Any]
    targets: NDArray[np.float64]
    usable: NDArray[np.bool_]
    folds: Folds
    groups: NDArray[Any]
    grouped: bool


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
    labels = ids.astype(str) if groups is None else _group_labels(data, features, groups)
    folds = resolve_folds(cv, labels, seed=seed)
    smallest = min(test.size for _, test in folds)
    if smallest < MIN_TEST[score]:
        raise InputError(
            f"cv={cv!r} tests {smallest} of {ids.size} stimuli in a fold, and score={score!r} needs at least "
            f"{MIN_TEST[score]} there: scores are made within folds, since correlating predictions pooled "
            "over folds is biased below 0 on noise. Use fewer folds."
        )
    return Plan(ids.tolist(), values[:, usable], usable, folds, labels, groups is not None)


def _group_labels(data: xr.DataArray, features: xr.DataArray, groups: str) -> NDArray[Any]:
    """Values of the coord that names groups, from the responses or else from the features."""
    for side in (data, features):
        if groups in side.coords and side.coords[groups].dims == (STIMULUS,):
            labels = side.coords[groups]
            if labels.isnull().any():
                missing = data.coords[STIMULUS].values[labels.isnull().values].tolist()
                raise LabelError(f"groups={groups!r} has no value for the stimuli {list_names(missing, 5)}.")
            return np.asarray(labels.values).astype(str)
    known = {name for side in (data, features) for name, c in side.coords.items() if c.dims == (STIMULUS,)}
    raise LabelError(
        f"groups={groups!r} is no coord of 'stimulus', neither of the responses nor of the source; there are "
        f"{list_names(sorted(map(str, known)))}."
    )
