"""Predictions: what a cross-validated model says of every stimulus that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurolens.encoding.plans import align_plans, find_test_folds
from neurolens.encoding.recordings import Recording
from neurolens.encoding.spreading import Found
from neurolens.errors import InputError, check_choice, check_name, list_names
from neurolens.numerics.distances import METRICS, Metric, compute_rdm
from neurolens.numerics.heldout import count_reuse
from neurolens.schema import NEUROID, OP, REGION, STIMULUS, STIMULUS_B, provenance

__all__ = ["label_predictions", "predicted_rdm", "require_predictions"]

TEST_FOLD, BLOCK = "test_fold", "block"


def label_predictions(result: xr.Dataset, found: Found, recordings: Sequence[Recording]) -> xr.Dataset:
    """Add held-out predictions and the responses they are of.

    Parameters
    ----------
    result
        Of `encode`, without predictions.
    found
        Scores with predictions.
    recordings
        One a subject.

    Returns
    -------
    Dataset
        With `prediction` (op, stimulus, neuroid) and `observed` (stimulus, neuroid).

    Raises
    ------
    InputError
        If a stimulus is tested in several folds, or subjects have different stimuli.
    """
    plan, orders = found.plans[0], align_plans(found.plans, recordings)
    fold_of = find_test_folds(plan)
    tested = np.flatnonzero(fold_of >= 0)
    values = np.stack(
        [
            np.concatenate(
                [part[order[tested]] for part, order in zip(one.predictions or (), orders, strict=True)],
                axis=1,
            )
            for one in found.scores.values()
        ]
    )
    responses = [recording.data.sel({STIMULUS: plan.ids}) for recording in recordings]
    observed = np.concatenate([data.values for data in responses], axis=1)[tested]
    first = responses[0]
    coords = {
        name: coord.variable[tested] for name, coord in first.coords.items() if coord.dims == (STIMULUS,)
    }
    result = result.assign(
        prediction=((OP, STIMULUS, NEUROID), values), observed=((STIMULUS, NEUROID), observed)
    ).assign_coords(
        coords | {TEST_FOLD: (STIMULUS, fold_of[tested]), BLOCK: (STIMULUS, plan.task.groups[tested])}
    )
    result.attrs["pair_reuse"] = count_reuse(plan.folds, len(plan.ids))
    return result


def predicted_rdm(
    result: xr.Dataset, *, metric: Metric = "correlation", by: str | None = REGION
) -> xr.DataArray:
    """Compute RDMs of held-out predictions, to be compared with RDMs of the data (encoding RSA).

    The pattern of a stimulus is what the model predicts of it, over neuroids, from the fold that tests it.

    Parameters
    ----------
    result
        Of ``encode(..., predictions=True)``.
    metric
        As `rdm` takes it.
    by
        A coord of `neuroid`: one RDM for each of its values; None for one of all neuroids. Ignored where it is
        "region" and there are no regions.

    Returns
    -------
    DataArray ([op,] [region,] stimulus, stimulus_b)
        float64. Neuroids without predictions are left out.

    Raises
    ------
    InputError
        If there are no predictions, or the metric is unknown.

    References
    ----------
    Khaligh-Razavi et al., Journal of Mathematical Psychology 2017, doi:10.1016/j.jmp.2016.10.007.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import neurolens as nl
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(60)]
    >>> conv = xr.DataArray(rng.normal(size=(60, 4)), dims=("stimulus", "unit"), coords={"stimulus": ids})
    >>> voxels = nl.brain.responses(conv.values @ rng.normal(size=(4, 9)), stimulus=ids)
    >>> scores = nl.encode({"conv": conv}, voxels, model=nl.Ridge(alphas=1.0), predictions=True)
    >>> nl.encoding.predicted_rdm(scores).dims
    ('op', 'stimulus', 'stimulus_b')
    """
    check_choice(metric, METRICS, "metric")
    require_predictions(result)
    prediction = result["prediction"]
    known = prediction.notnull().all([dim for dim in prediction.dims if dim != NEUROID])
    prediction = prediction.isel({NEUROID: np.flatnonzero(known.values)})
    if by is not None:
        check_name(by, "by", "coord of 'neuroid'")
    if by is not None and by != REGION and by not in prediction.coords:
        raise InputError(
            f"by={by!r} is no coord of 'neuroid'; there are {list_names(map(str, prediction.coords))}."
        )
    if by is None or by not in prediction.coords:
        rdms = _rdm_of(prediction, metric)
    else:
        labels = prediction.coords[by].values
        names = list(dict.fromkeys(labels.tolist()))
        parts = [
            _rdm_of(prediction.isel({NEUROID: np.flatnonzero(labels == name)}), metric) for name in names
        ]
        rdms = xr.concat(
            parts, dim=xr.Variable(by, names), coords="minimal", compat="override", join="override"
        )
        rdms = rdms.transpose(..., by, STIMULUS, STIMULUS_B)
    rdms.attrs = {
        key: value for key, value in result.attrs.items() if key in ("model", "weights")
    } | provenance(
        "predicted_rdm", parameters={"metric": metric, "by": by}, inputs={"encode": result.attrs["inputs"]}
    )
    return rdms.assign_attrs(metric=metric, long_name=f"{metric} distance of predicted patterns").rename(
        "rdm"
    )


def require_predictions(result: xr.Dataset) -> None:
    """Raise InputError unless a result of `encode` has predictions."""
    if not isinstance(result, xr.Dataset) or "prediction" not in result:
        raise InputError("This needs held-out predictions; make them with encode(..., predictions=True).")


def _rdm_of(prediction: xr.DataArray, metric: Metric) -> xr.DataArray:
    """RDM of each operation's predicted patterns."""
    values = prediction.transpose(..., STIMULUS, NEUROID).values
    lead = values.shape[:-2]
    squares = np.stack([compute_rdm(one, metric) for one in values.reshape(-1, *values.shape[-2:])])
    dims = [dim for dim in prediction.dims if dim not in (STIMULUS, NEUROID)]
    coords: dict[Any, Any] = {
        name: coord.variable for name, coord in prediction.coords.items() if NEUROID not in coord.dims
    }
    coords[STIMULUS_B] = prediction[STIMULUS].values
    return xr.DataArray(squares.reshape(*lead, *squares.shape[-2:]), coords, [*dims, STIMULUS, STIMULUS_B])
