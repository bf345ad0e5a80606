"""Fits: train a model on each fold and predict its test stimuli.

The linear models of this room share one kernel between all folds and never form their coefficients, which for
large activations would be larger than the features; any other scikit-learn regressor is fitted fold by fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from neurolens.encoding.banded import BandedRidge, stack_kernels
from neurolens.encoding.features import Features
from neurolens.encoding.folds import Folds
from neurolens.encoding.linear import Linear
from neurolens.encoding.pipelines import fit_model, predict_model, prepare_model
from neurolens.encoding.pls import PLS
from neurolens.encoding.ridge import Ridge, check_alphas
from neurolens.errors import InputError, check_count
from neurolens.numerics.arrays import to_device
from neurolens.numerics.banded import fit_banded, predict_bands, split_bands
from neurolens.numerics.design import Design, accumulate_kernel, make_design, split_design
from neurolens.numerics.least_squares import predict_least_squares, predict_pls
from neurolens.numerics.ridge import default_alphas, predict_split, select_alphas
from neurolens.schema import BAND

__all__ = ["FoldFit", "Task", "fit_folds"]

Targets = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """What a model is to predict, and how it is split.

    Attributes
    ----------
    targets
        Array, shape (n_stimuli, n_neuroids), float64, finite.
    folds
        Pairs (train, test) of positions.
    groups
        Array, shape (n_stimuli,): labels that an inner cross-validation must not separate.
    grouped
        Whether these are groups of several stimuli, rather than the stimuli themselves.
    """

    targets: Targets
    folds: Folds
    groups: NDArray[Any]
    grouped: bool = False


@dataclass(frozen=True)
class FoldFit:
    """What a model trained on one fold says about it.

    Attributes
    ----------
    predictions
        Array, shape (n_test, n_neuroids), float64.
    alpha
        Array, shape (n_neuroids,), float64; NaN for a model that has no `alpha_`.
    n_edge
        How many neuroids chose the smallest or the largest of several alphas.
    """

    predictions: Targets
    alpha: NDArray[np.float64]
    n_edge: int


def fit_folds(model: Any, features: Features, task: Task) -> Iterator[FoldFit]:
    """Fit a model on the training part of each fold, and predict the rest.

    Parameters
    ----------
    model
        A scikit-learn regressor; cloned, never changed. Groups are handed to models whose `fit` takes `groups`
        and to such steps of a Pipeline; groups of several stimuli to GridSearchCV and its like, too.
    features
        Of the same stimuli as the task.
    task
        Responses and folds.

    Yields
    ------
    FoldFit

    Raises
    ------
    InputError
        If features are not finite, or the model does not predict every neuroid.
    """
    own = OWN.get(type(model))
    yield from (_any_folds if own is None else own)(model, features, task)


def make_features_design(features: Features, *, dtype: Any = None, device: str | None = None) -> Design:
    """Make a design of features that may be too many to hold: of their kernel, where they outnumber stimuli."""
    n_stimuli, n_features = features.shape
    chunks = (chunk if dtype is None else chunk.astype(dtype) for chunk in features.chunks())
    if n_features > n_stimuli:
        return Design(kernel=accumulate_kernel(chunks, device=device), features=None)
    return make_design(np.concatenate(list(chunks), axis=1), device=device)


def _ridge_folds(model: Ridge, features: Features, task: Task) -> Iterator[FoldFit]:
    """Fit `Ridge` on all folds from one design; the same numbers as one `fit` and `predict` a fold."""
    if model.standardize:  # each split has its own scales, and so its own kernel
        design = make_design(features.matrix(), standardize=True, device=model.device)
    else:
        design = make_features_design(features, device=model.device)
    grid = check_alphas(model.alphas)
    offset, shifted = _centre(task.targets, features.dtype)
    centred = to_device(shifted, model.device)
    for train, test in task.folds:
        alphas = default_alphas(design, train) if grid is None else grid
        inner = [] if alphas.size == 1 else model.inner_folds(task.groups[train])
        choice = select_alphas(
            design,
            centred,
            alphas=alphas,
            folds=[(train[inside], train[outside]) for inside, outside in inner],
        )
        predictions = predict_split(split_design(design, train, test), centred[train], choice.alpha)
        yield FoldFit(predictions + offset, choice.alpha, int(choice.at_edge.sum()))


def _linear_folds(model: Linear, features: Features, task: Task) -> Iterator[FoldFit]:
    """Fit `Linear` on all folds from one design."""
    design = make_features_design(features, dtype=np.float64)
    for train, test in task.folds:
        predictions = predict_least_squares(split_design(design, train, test), task.targets[train])
        yield _plain_fit(predictions)


def _pls_folds(model: PLS, features: Features, task: Task) -> Iterator[FoldFit]:
    """Fit `PLS` on all folds from one design."""
    check_count(model.n_components, "n_components")
    design = make_features_design(features, dtype=np.float64)
    for train, test in task.folds:
        split = split_design(design, train, test)
        yield _plain_fit(predict_pls(split, task.targets[train], n_components=model.n_components))


def _banded_folds(model: BandedRidge, features: Features, task: Task) -> Iterator[FoldFit]:
    """Fit `BandedRidge` on all folds from one kernel a band."""
    bands = features.bands()
    if not bands or model.bands is not None:
        raise InputError(
            f"BandedRidge takes the bands of {features.what} from a coord {BAND!r} along one dim of the features"
            f"{', not from its argument bands=' if bands else ', which is missing'}. Make one array of several "
            "feature spaces with neurolens.encoding.join_spaces({'a': ..., 'b': ...})."
        )
    kernels = stack_kernels({name: band.chunks() for name, band in bands.items()}, features.shape[0])
    offset, centred = _centre(task.targets, kernels.dtype)
    for train, test in task.folds:
        split = split_bands(kernels, train, test)
        fit = fit_banded(split, centred[train], **model.options(task.groups[train]))
        predictions = predict_bands(fit, split.cross).sum(axis=0) + fit.mean
        yield FoldFit(predictions + offset, fit.alpha, int(fit.at_edge.sum()))


def _any_folds(model: Any, features: Features, task: Task) -> Iterator[FoldFit]:
    """Fit any regressor, fold by fold."""
    matrix = features.matrix()
    prepared = prepare_model(model, features.sizes, grouped=task.grouped)
    for train, test in task.folds:
        fitted = fit_model(
            clone(prepared), matrix[train], task.targets[train], task.groups[train], grouped=task.grouped
        )
        predictions = predict_model(fitted, matrix[test], task.groups[test])
        if predictions.size != test.size * task.targets.shape[1]:
            raise InputError(
                f"{type(model).__name__} predicts shape {predictions.shape} for {test.size} stimuli and "
                f"{task.targets.shape[1]} neuroids; the model must predict all neuroids at once."
            )
        alpha = getattr(fitted[-1] if hasattr(fitted, "steps") else fitted, "alpha_", np.nan)
        alpha = np.broadcast_to(np.asarray(alpha, dtype=np.float64), task.targets.shape[1:])
        yield FoldFit(predictions.reshape(test.size, -1), alpha, n_edge=0)


def _centre(targets: Targets, dtype: np.dtype[Any]) -> tuple[Targets, NDArray[Any]]:
    """Remove the mean so that float32 holds small differences; every fold centres again."""
    offset = targets.mean(axis=0)
    return offset, (targets - offset).astype(dtype)


def _plain_fit(predictions: NDArray[Any]) -> FoldFit:
    """Wrap predictions of a model that chooses no penalty."""
    return FoldFit(predictions.astype(np.float64), np.full(predictions.shape[1], np.nan), n_edge=0)


OWN: dict[type, Callable[[Any, Features, Task], Iterator[FoldFit]]] = {
    Ridge: _ridge_folds,
    Linear: _linear_folds,
    PLS: _pls_folds,
    BandedRidge: _banded_folds,
}
