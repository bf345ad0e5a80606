"""Weights: what a model multiplies each feature with, on the axes that the features had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from neurolens.brain.responses import BrainData
from neurolens.encoding.banded import BandedRidge
from neurolens.encoding.evaluation import Join, ask
from neurolens.encoding.features import Features, find_missing, why_skipped
from neurolens.encoding.operations import Question, join_recording
from neurolens.encoding.pipelines import fit_model, predict_model, prepare_model
from neurolens.encoding.plans import Plan, make_plan
from neurolens.encoding.recordings import Recording, neuroid_coords
from neurolens.errors import InputError, list_names
from neurolens.schema import BAND, DELAY, NEUROID, STIMULUS, provenance, require_labels

__all__ = ["fit_weights"]

Table = NDArray[np.float64]

PROBE_ELEMENTS = 2**22  # values of the unit patterns that are predicted at a time


def fit_weights(
    array: xr.DataArray,
    responses: BrainData,
    *,
    model: Any = None,
    groups: str | None = None,
    seed: int = 0,
    join: Join = "exact",
) -> xr.DataArray:
    """Fit a linear model to all stimuli, and give its weights on the axes of the features.

    These are weights to look at, not to predict with: nothing is held out. The weights of a Pipeline are those
    of the whole of it, in the units of the features it was given: found by predicting unit patterns. Where a
    step spreads features over time (`Delay`, `HRF`), they have a dim `delay`.

    Parameters
    ----------
    array
        DataArray (stimulus, ...).
    responses
        As `encode` takes them.
    model
        A linear scikit-learn regressor, or a Pipeline of linear steps; by default `Ridge()`.
    groups
        As `encode` takes it: what inner folds respect, and the runs of `Delay` and `HRF`.
    seed, join
        As `encode` takes them.

    Returns
    -------
    DataArray (neuroid, [delay,] ...)
        The dims and coords of the features, e.g. (neuroid, channel, y, x); NaN for a neuroid that is constant or
        has NaN. float64.

    Raises
    ------
    InputError
        If the model is not linear, the array is constant or not finite; else as `encode`.
    LabelError
        As `encode`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import neurolens as nl
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(60)]
    >>> maps = xr.DataArray(rng.normal(size=(60, 2, 3, 3)), {"stimulus": ids}, ("stimulus", "channel", "y", "x"))
    >>> voxels = nl.brain.responses(maps.values[:, 1, :, 2] @ np.ones((3, 1)), stimulus=ids)
    >>> weights = nl.encoding.fit_weights(maps, voxels, model=nl.Ridge(alphas=1e-6))
    >>> weights.dims, abs(weights.sel(neuroid=0, channel=1).sum("y")).round(2).values.tolist()
    (('neuroid', 'channel', 'y', 'x'), [0.0, 0.0, 3.0])
    """
    require_labels(array, "fit_weights, of one operation (or several laid side by side by join_spaces),")
    reason = why_skipped(array)
    if reason is not None:
        raise InputError(f"The array can predict nothing: {reason}.")
    if find_missing(array):
        raise InputError(f"The array is missing for the stimuli {list_names(find_missing(array), 5)}.")
    question, inputs = ask(responses, model=model, groups=groups, seed=seed, join=join)
    parts = [_fit_recording(question, recording, array) for recording in question.recordings]
    values = np.concatenate([part for part, _ in parts])
    sizes = parts[0][1].sizes
    dims = [NEUROID, *([DELAY] if values.shape[1] > 1 or _spreads(question.model) else []), *sizes]
    coords: dict[Any, Any] = {
        name: coord.variable
        for name, coord in array.coords.items()
        if STIMULUS not in coord.dims and coord.ndim and {str(dim) for dim in coord.dims} <= set(sizes)
    }
    coords |= neuroid_coords(question.recordings)
    if DELAY in dims:
        coords[DELAY] = np.arange(values.shape[1])
    shape = [values.shape[0], *([values.shape[1]] if DELAY in dims else []), *sizes.values()]
    attrs = {key: array.attrs[key] for key in ("address", "model", "weights") if key in array.attrs}
    attrs |= provenance(
        "fit_weights",
        parameters={"model": repr(question.model), "groups": groups, "join": join},
        inputs=inputs | {"source": parts[0][1].digest.hexdigest()},
        seed=seed,
    )
    return xr.DataArray(values.reshape(shape), coords, dims, name="weight", attrs=attrs)


def _fit_recording(question: Question, recording: Recording, array: xr.DataArray) -> tuple[Table, Features]:
    """Return weights (neuroid, lag, feature) of one subject, and the features."""
    data, joined = join_recording(question, recording, array, "the array")
    plan = make_plan(data, joined, cv=2, groups=question.groups, score="r2", seed=0, what=recording.what)
    features = Features(joined.transpose(STIMULUS, ...), "the array")
    weights = _weigh(question.model, features, plan)
    table = np.full((plan.usable.size, *weights.shape[1:]), np.nan)
    table[plan.usable] = weights
    return table, features


def _weigh(model: Any, features: Features, plan: Plan) -> Table:
    """Fit a model to all stimuli, and return its weights (neuroid, lag, feature)."""
    task, X = plan.task, features.matrix()
    prepared = prepare_model(model, features.sizes, grouped=task.grouped)
    if type(prepared) is BandedRidge and prepared.bands is None and BAND in features.array.coords:
        prepared.set_params(bands=_flatten_bands(features))
    fitted = fit_model(prepared, X, task.targets, task.groups, grouped=task.grouped)
    if not isinstance(fitted, Pipeline) and hasattr(fitted, "coef_"):
        return np.asarray(fitted.coef_, dtype=np.float64).reshape(task.targets.shape[1], 1, -1)
    _check_linear(fitted, X)
    return np.concatenate(list(_probe(fitted, X.shape[1], X.dtype)), axis=2)


def _probe(fitted: Any, n_features: int, dtype: Any) -> Iterator[Table]:
    """Yield weights (neuroid, lag, some features): responses to one feature at a time, at the start of a run."""
    n_lags = max([1, *(step.n_lags for step in _spreads(fitted))])
    at_rest = _predict_runs(fitted, np.zeros((n_lags, n_features), dtype), 1)
    width = max(1, PROBE_ELEMENTS // (n_lags * n_features))
    for start in range(0, n_features, width):
        some = np.arange(start, min(start + width, n_features))
        runs = np.zeros((some.size, n_lags, n_features), dtype)
        runs[np.arange(some.size), 0, some] = 1
        predicted = _predict_runs(fitted, runs.reshape(-1, n_features), some.size)
        yield (predicted - at_rest).transpose(2, 1, 0)


def _predict_runs(fitted: Any, X: NDArray[Any], n_runs: int) -> Table:
    """Predictions (run, lag, neuroid) of runs of equal length."""
    predicted = predict_model(fitted, X, np.repeat(np.arange(n_runs), len(X) // n_runs))
    return predicted.reshape(n_runs, len(X) // n_runs, -1)


def _check_linear(fitted: Any, X: NDArray[Any]) -> None:
    """Raise InputError unless predictions of a sum of patterns are the sum of predictions."""
    a, b = X[:1] - X[1:2], X[1:2] - X[2:3]
    rest, first, second, both = (
        predict_model(fitted, part, np.zeros(1, dtype=int)) for part in (0 * a, a, b, a + b)
    )
    error = np.abs(both - first - second + rest).max()
    if error > 1e-3 * max(np.abs(part - rest).max() for part in (first, second, both)) + 1e-12:
        raise InputError(
            f"{type(fitted).__name__} is not linear in its features, so it has no weights. Choose a linear model "
            "and linear steps (StandardScaler, PCA, SparseRandomProjection, Delay, Pool with the mean)."
        )


def _spreads(model: Any) -> list[Any]:
    """List the steps that spread features over time."""
    steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else []
    return [step for step in steps if hasattr(step, "n_lags")]


def _flatten_bands(features: Features) -> list[str]:
    """Name the band of each feature, in the order of the matrix."""
    coord = features.array.coords[BAND]
    template = features.array.isel({STIMULUS: 0}, drop=True)
    return [str(name) for name in coord.broadcast_like(template).transpose(*template.dims).values.ravel()]
