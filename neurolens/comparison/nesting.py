"""Nested cross-validation: each fold's operation is chosen by models that never saw the stimuli that test it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.comparison.splits import SPLIT
from neurolens.encoding.folds import INNER_FOLDS, Folds, group_folds
from neurolens.encoding.scores import MIN_TEST
from neurolens.errors import NeurolensWarning
from neurolens.schema import FOLD, OP, STIMULUS

__all__ = ["score_nested"]

Summarize = Callable[[xr.Dataset], xr.DataArray]


@dataclass(frozen=True, repr=False)
class InnerFolds:
    """A splitter of scikit-learn's kind whose folds are given; its repr stays short, however many they are."""

    folds: Folds

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Folds:
        """Return the folds."""
        return self.folds

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Count the folds."""
        return len(self.folds)

    def __repr__(self) -> str:
        return f"{len(self.folds)} inner folds"


Encode = Callable[[xr.DataArray, InnerFolds], xr.Dataset]


def score_nested(
    result: xr.Dataset, responses: xr.DataArray, encode: Encode, summarize: Summarize, *, seed: int
) -> dict[str, xr.DataArray]:
    """Choose on the training stimuli of each fold by cross-validation among them, and score on its test stimuli.

    The folds of one cross-validation train on each other's responses: an operation chosen on the scores of the other
    folds was chosen with the help of the responses that are to score it. Here it is not: the models that choose
    are fitted again on the other folds' stimuli alone.

    Parameters
    ----------
    result
        Of `encode`, with predictions.
    responses
        DataArray (..., stimulus, neuroid) that it is of.
    encode
        From responses and folds of their stimuli to a result without predictions.
    summarize
        From a result to scores (op, region).
    seed
        Of the inner folds.

    Returns
    -------
    dict
        `score_choice` and `score_test` (split, op, region), a split for each fold; nothing where there is one fold, or
        training stimuli are too few for folds of their own.
    """
    fold_of, blocks = result["test_fold"].values, result["block"].values
    least = MIN_TEST[result["score"].attrs["score"]]
    outer = range(result.sizes[FOLD])
    inner = [_split_training(np.flatnonzero(fold_of != fold), blocks, least, seed) for fold in outer]
    if len(outer) < 2 or not all(inner):
        return {}
    folds = [fold for own in inner for fold in own]
    with warnings.catch_warnings():  # what it would warn of was said of the outer folds
        warnings.simplefilter("ignore", NeurolensWarning)
        refitted = encode(responses.sel({STIMULUS: result[STIMULUS].values}), InnerFolds(folds))
    places = np.split(np.arange(refitted.sizes[FOLD]), np.cumsum([len(own) for own in inner])[:-1])
    choice = [summarize(refitted.isel({FOLD: rows})).reindex({OP: result[OP]}) for rows in places]
    test = [summarize(result.isel({FOLD: [fold]})) for fold in outer]
    return {"score_choice": xr.concat(choice, SPLIT), "score_test": xr.concat(test, SPLIT)}


def _split_training(rows: NDArray[np.intp], blocks: NDArray[Any], least: int, seed: int) -> Folds:
    """Split the training stimuli at `rows` into as many folds, up to five, as test enough stimuli each; or none."""
    labels = blocks[rows]
    for n_folds in range(min(INNER_FOLDS, np.unique(labels).size), 1, -1):
        folds = group_folds(labels, n_folds, seed=seed)
        if min(test.size for _, test in folds) >= least:
            return [(rows[train], rows[test]) for train, test in folds]
    return []
