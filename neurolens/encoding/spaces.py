"""Feature spaces: several of them in one model, and the share of each in what is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.brain.responses import BrainData
from neurolens.encoding.banded import BandedRidge, stack_kernels
from neurolens.encoding.evaluation import Join, ask
from neurolens.encoding.features import Features, find_missing, why_skipped
from neurolens.encoding.folds import CrossValidator
from neurolens.encoding.operations import Question, join_recording
from neurolens.encoding.plans import Plan, make_plan
from neurolens.encoding.recordings import Recording, neuroid_coords
from neurolens.encoding.scores import r2
from neurolens.encoding.spreading import show_progress
from neurolens.errors import InputError, list_names
from neurolens.numerics.banded import fit_banded, predict_bands, split_bands
from neurolens.numerics.shares import Subset, find_parts, list_subsets, split_r2
from neurolens.schema import (
    BAND,
    FEATURE,
    FOLD,
    NEUROID,
    SPACE,
    STIMULUS,
    SUBSET,
    join_stimuli,
    provenance,
    stimulus_ids,
)

__all__ = ["join_spaces", "partition_variance"]

Table = NDArray[np.float64]

MAX_SPACES = 4


def join_spaces(spaces: Mapping[str, xr.DataArray], *, join: Join = "exact") -> xr.DataArray:
    """Lay several feature spaces side by side, as `BandedRidge` takes them.

    Parameters
    ----------
    spaces
        Name to DataArray (stimulus, ...); dims but `stimulus` are flattened.
    join
        "exact": a stimulus of one space only is an error. "inner": keep what all have.

    Returns
    -------
    DataArray (stimulus, feature)
        With a coord `band` on `feature`. float32 where all spaces are no wider, else float64.

    Raises
    ------
    LabelError
        If stimuli have no labels, or differ.
    InputError
        If there is no space, or values are not finite real numbers.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> one = xr.DataArray(np.eye(3, 2), dims=("stimulus", "unit"), coords={"stimulus": list("abc")})
    >>> join_spaces({"early": one, "late": one[:, :1]}).band.values.tolist()
    ['early', 'early', 'late']
    """
    arrays = _check_spaces(spaces)
    (name, first), *rest = arrays.items()
    for other, array in rest:
        first, _ = join_stimuli(first, array, join=join, names=(f"space {name!r}", f"space {other!r}"))
    ids = first[STIMULUS].values
    matrices = {
        name: Features(array.sel({STIMULUS: ids}), f"space {name!r}").matrix()
        for name, array in arrays.items()
    }
    bands = np.repeat(list(matrices), [matrix.shape[1] for matrix in matrices.values()])
    coords: dict[Any, Any] = {key: c.variable for key, c in first.coords.items() if c.dims == (STIMULUS,)}
    coords[BAND] = (FEATURE, bands)
    return xr.DataArray(
        np.concatenate(list(matrices.values()), axis=1), coords, (STIMULUS, FEATURE), name="+".join(arrays)
    )


def partition_variance(
    spaces: Mapping[str, xr.DataArray],
    responses: BrainData,
    *,
    model: BandedRidge | None = None,
    cv: CrossValidator = 5,
    groups: str | None = None,
    seed: int = 0,
    join: Join = "exact",
    progress: bool = True,
) -> xr.Dataset:
    """Partition what two to four feature spaces explain into what is unique to each and what they share.

    A banded ridge is fitted to every subset of the spaces; all are scored on the same held-out stimuli. The part
    of a set of spaces is what its members have in common and no space outside has, by inclusion and exclusion;
    parts sum to the r2 of all spaces together, and can be negative, as differences of cross-validated scores.

    Parameters
    ----------
    spaces
        Name to DataArray (stimulus, ...), two to four.
    responses
        As `encode` takes them.
    model
        The banded ridge; by default `BandedRidge()`.
    cv, groups, seed, join
        As `encode` takes them.
    progress
        Show a progress bar over models, where there is a terminal.

    Returns
    -------
    Dataset
        `r2` and `part` (subset, neuroid, fold), subsets named "a", "b", "a+b", ...; `unique` (space, neuroid,
        fold), the parts of single spaces; `product` (space, neuroid, fold), the product measure of the model of
        all spaces. `product` over spaces and `part` over subsets sum to r2 of all. Coords of `neuroid` as in
        `encode`.

    Raises
    ------
    InputError
        If there are not two to four spaces, one is constant or not finite, or the model is another one; else
        as `encode`.
    LabelError
        As `encode`.

    References
    ----------
    Lescroart, Stansbury and Gallant, Frontiers in Computational Neuroscience 2015,
    doi:10.3389/fncom.2015.00135.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import neurolens as nl
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(60)]
    >>> a, b = (xr.DataArray(rng.normal(size=(60, 4)), dims=("stimulus", "unit"), coords={"stimulus": ids})
    ...         for _ in range(2))
    >>> voxels = nl.brain.responses(a.values @ rng.normal(size=(4, 3)), stimulus=ids)
    >>> model = nl.encoding.BandedRidge(alphas=0.001, n_iter=10)
    >>> parts = nl.encoding.partition_variance({"a": a, "b": b}, voxels, model=model, progress=False)
    >>> abs(parts["product"].mean(["neuroid", "fold"])).round(1).values.tolist()
    [1.0, 0.0]
    """
    model = BandedRidge() if model is None else model
    if type(model) is not BandedRidge or model.bands is not None:
        raise InputError(f"model={model!r}: partition_variance takes a BandedRidge() without bands.")
    arrays = _check_spaces(spaces)
    if not 2 <= len(arrays) <= MAX_SPACES:
        raise InputError(f"Give two to {MAX_SPACES} feature spaces; there are {len(arrays)}.")
    question, inputs = ask(responses, model=model, cv=cv, score="r2", groups=groups, seed=seed, join=join)
    subsets = list_subsets(arrays)
    parts = [_partition(question, recording, arrays, subsets, progress) for recording in question.recordings]
    result = _label(parts, arrays, subsets, question.recordings)
    parameters = {"model": repr(model), "cv": cv, "groups": groups, "join": join}
    inputs |= {f"space {name}": digest for name, digest in parts[0].digests.items()}
    result.attrs = provenance("partition_variance", parameters=parameters, inputs=inputs, seed=seed)
    return result


class _Partition:
    """What was found for one subject: tables by subset and by space, each (neuroid, fold)."""

    def __init__(self, plan: Plan, subsets: Sequence[Subset], names: Sequence[str]) -> None:
        shape = (plan.usable.size, len(plan.folds))
        self.r2 = {subset: np.full(shape, np.nan) for subset in subsets}
        self.product = {name: np.full(shape, np.nan) for name in names}
        self.digests: dict[str, str] = {}


def _partition(
    question: Question,
    recording: Recording,
    arrays: Mapping[str, xr.DataArray],
    subsets: Sequence[Subset],
    progress: bool,
) -> _Partition:
    """Fit every subset of the spaces to one subject."""
    data, spaces = _join_all(question, recording, arrays)
    first = next(iter(spaces.values()))
    plan = make_plan(
        data,
        first.array,
        cv=question.cv,
        groups=question.groups,
        score="r2",
        seed=question.seed,
        what=recording.what,
    )
    names = list(spaces)
    kernels = stack_kernels({name: space.chunks() for name, space in spaces.items()}, len(plan.ids))
    found = _Partition(plan, subsets, names)
    found.digests = {name: space.digest.hexdigest() for name, space in spaces.items()}
    for subset in show_progress(subsets, len(subsets), "Partitioning", progress):
        rows = [row for row, name in enumerate(names) if name in subset]
        for fold, (train, test) in enumerate(plan.folds):
            predicted, mean = _predict_bands(question.model, kernels[rows], plan, train, test)
            observed = plan.task.targets[test]
            found.r2[subset][plan.usable, fold] = r2(observed, predicted.sum(axis=0) + mean)
            if len(subset) == len(names):
                for name, share in zip(names, split_r2(observed, predicted, mean), strict=True):
                    found.product[name][plan.usable, fold] = share
    return found


def _predict_bands(
    model: BandedRidge, kernels: NDArray[Any], plan: Plan, train: NDArray[np.intp], test: NDArray[np.intp]
) -> tuple[NDArray[Any], Table]:
    """Predictions (band, stimulus, neuroid) of the test stimuli of a fold, and what is beside them."""
    targets = plan.task.targets[train]
    mean = targets.mean(axis=0)
    options = model.options(plan.task.groups[train])
    if len(kernels) == 1:  # shares of one band are 1, whatever is drawn
        options |= {"n_iter": 1}
    split = split_bands(kernels, train, test)
    fit = fit_banded(split, (targets - mean).astype(kernels.dtype), **options)
    return predict_bands(fit, split.cross), fit.mean + mean


def _join_all(
    question: Question, recording: Recording, arrays: Mapping[str, xr.DataArray]
) -> tuple[xr.DataArray, dict[str, Features]]:
    """Bring responses and all spaces to the same stimuli."""
    data = recording.data
    for name, array in arrays.items():
        own = replace(recording, data=data)
        data, _ = join_recording(question, own, array, f"space {name!r}")
    ids = data[STIMULUS].values
    return data, {
        name: Features(array.sel({STIMULUS: ids}), f"space {name!r}") for name, array in arrays.items()
    }


def _check_spaces(spaces: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    if (
        not isinstance(spaces, Mapping)
        or not spaces
        or not all(isinstance(a, xr.DataArray) for a in spaces.values())
    ):
        raise InputError(
            "Feature spaces are given by name: {'early': DataArray (stimulus, ...), 'late': ...}."
        )
    arrays = {str(name): array for name, array in spaces.items()}
    plus = [name for name in arrays if "+" in name]
    if plus:
        raise InputError(f"Names of spaces are joined with '+'; rename {list_names(plus)}.")
    for name, array in arrays.items():
        reason = why_skipped(array)
        if reason is not None:
            raise InputError(f"space {name!r} can predict nothing: {reason}.")
        stimulus_ids(array, f"space {name!r}")
        missing = find_missing(array)
        if missing:
            raise InputError(f"space {name!r} is missing for the stimuli {list_names(missing, 5)}.")
    return arrays


def _label(
    parts: Sequence[_Partition],
    arrays: Mapping[str, xr.DataArray],
    subsets: Sequence[Subset],
    recordings: Sequence[Recording],
) -> xr.Dataset:
    """Give the tables of all subjects their dims and coords."""
    names = list(arrays)
    scores = {subset: np.concatenate([part.r2[subset] for part in parts]) for subset in subsets}
    products = [np.concatenate([part.product[name] for part in parts]) for name in names]
    exclusive = find_parts(scores)
    titles = ["+".join(name for name in names if name in subset) for subset in subsets]
    dims = (SUBSET, NEUROID, FOLD)
    result = xr.Dataset(
        {
            "r2": (dims, np.stack([scores[subset] for subset in subsets])),
            "part": (dims, np.stack([exclusive[subset] for subset in subsets])),
            "unique": ((SPACE, *dims[1:]), np.stack([exclusive[frozenset([name])] for name in names])),
            "product": ((SPACE, *dims[1:]), np.stack(products)),
        },
        coords={SUBSET: titles, SPACE: names, FOLD: np.arange(products[0].shape[1])}
        | neuroid_coords(recordings),
    )
    for name, text in DESCRIPTIONS.items():
        result[name].attrs = {"long_name": text, "units": "r2"}
    return result


DESCRIPTIONS = {
    "r2": "held-out r2 of the model of a subset",
    "part": "variance that exactly these spaces share",
    "unique": "variance that only this space explains",
    "product": "product measure of the model of all spaces",
}
