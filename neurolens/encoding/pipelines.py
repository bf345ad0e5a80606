"""Models of any kind, fitted with what only an experiment knows: runs, groups, and the axes of the features."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline

from neurolens.errors import InputError

__all__ = ["fit_model", "predict_model", "prepare_model"]

FloatArray = NDArray[np.floating[Any]]
Labels = NDArray[Any]


def prepare_model(model: Any, sizes: Mapping[str, int], *, grouped: bool) -> Any:
    """Return a copy of a model whose steps know the dims that the features were flattened from.

    Parameters
    ----------
    model
        A scikit-learn regressor.
    sizes
        Dims of the features and their sizes.
    grouped
        Whether there are groups (runs).

    Returns
    -------
    regressor

    Raises
    ------
    InputError
        If a step needs runs and there are none, or they cannot reach it.
    """
    prepared = clone(model)
    steps = [step for _, step in prepared.steps[:-1]] if isinstance(prepared, Pipeline) else []
    for part in _parts(prepared):
        if getattr(part, "feature_sizes", 0) is None:
            part.set_params(feature_sizes=dict(sizes))
        if not _takes_groups(part, "transform"):
            continue
        name = type(part).__name__
        if not grouped:
            raise InputError(
                f"{name} mixes the volumes of a run, so it must know the runs, and no fold may separate one: "
                'pass groups="run" (the name of the coord of stimulus that holds them).'
            )
        if not any(part is step for step in steps):
            raise InputError(
                f"{name} cannot be told the runs inside {type(model).__name__}; make it a step of the outer "
                f"pipeline: make_pipeline({name}(...), {type(model).__name__}(...))."
            )
    return prepared


def fit_model(model: Any, X: FloatArray, y: FloatArray, groups: Labels, *, grouped: bool) -> Any:
    """Fit a model in place; groups go to every `fit` and `transform` that takes them.

    Parameters
    ----------
    model
        From `prepare_model`, cloned.
    X, y
        Arrays, shapes (n_train, n_features) and (n_train, n_neuroids).
    groups
        Array, shape (n_train,).
    grouped
        Whether these are groups of several stimuli: if so they are handed to GridSearchCV and its like, too.

    Returns
    -------
    regressor
        The model.
    """
    if not (
        isinstance(model, Pipeline) and any(_takes_groups(step, "transform") for step in _leading(model))
    ):
        return model.fit(X, y, **_group_options(model, groups, grouped))
    for step in _leading(model):
        step.fit(X, y, **_known(step.fit, groups))
        X = step.transform(X, **_known(step.transform, groups))
    last = model.steps[-1][1]
    last.fit(X, y, **_group_options(last, groups, grouped))
    return model


def predict_model(model: Any, X: FloatArray, groups: Labels) -> NDArray[np.float64]:
    """Predict the test stimuli of a fold.

    Parameters
    ----------
    model
        From `fit_model`.
    X
        Array, shape (n_test, n_features).
    groups
        Array, shape (n_test,).

    Returns
    -------
    array, shape (n_test, n_neuroids) or (n_test,), float64
    """
    if isinstance(model, Pipeline) and any(_takes_groups(step, "transform") for step in _leading(model)):
        for step in _leading(model):
            X = step.transform(X, **_known(step.transform, groups))
        model = model.steps[-1][1]
    return np.asarray(model.predict(X), dtype=np.float64)


def _parts(model: Any) -> list[Any]:
    """List the model and all estimators inside it."""
    inside = model.get_params(deep=True).values() if hasattr(model, "get_params") else []
    return [model, *(part for part in inside if hasattr(part, "get_params") and not isinstance(part, type))]


def _leading(pipeline: Pipeline) -> list[Any]:
    """All steps but the last that do something."""
    return [step for _, step in pipeline.steps[:-1] if step is not None and step != "passthrough"]


def _takes_groups(step: Any, method: str) -> bool:
    function = getattr(step, method, None)
    return function is not None and "groups" in inspect.signature(function).parameters


def _known(function: Any, groups: Labels) -> dict[str, Labels]:
    return {"groups": groups} if "groups" in inspect.signature(function).parameters else {}


def _group_options(model: Any, groups: Labels, grouped: bool) -> dict[str, Any]:
    """Return the keyword that hands groups to the `fit` of a model, where it takes them."""
    if isinstance(model, Pipeline):
        name, last = model.steps[-1]
        return {f"{name}__{key}": value for key, value in _group_options(last, groups, grouped).items()}
    if isinstance(model, GridSearchCV | RandomizedSearchCV):
        return {"groups": groups} if grouped else {}
    return _known(model.fit, groups)
