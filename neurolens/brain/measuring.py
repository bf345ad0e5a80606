"""Measures of neuroids: from the numbers of `numerics` to labelled arrays that say how they were made."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.brain.blocks import (
    Checksum,
    MissingTrials,
    cut_blocks,
    find_presented,
    gather_moments,
    is_loaded,
)
from neurolens.brain.responses import check_responses
from neurolens.errors import InputError, NeurolensWarning, list_names
from neurolens.numerics.moments import Moments, UnequalMoments, is_constant
from neurolens.schema import NEUROID, REPETITION, STIMULUS, hash_array, provenance

__all__ = ["Units", "check_presented", "in_units", "measure_neuroids"]

Units = Literal["r2", "r"]
Values = NDArray[np.float64]
Measure = Callable[[Moments | UnequalMoments], Values]
Describe = Callable[[Moments | UnequalMoments], dict[str, Any]]


def in_units(ceiling: Values, units: Units) -> Values:
    """Turn a bound on r² into one on r where asked; a negative bound has no root."""
    if units == "r2":
        return ceiling
    root: Values = np.sqrt(ceiling, out=np.full_like(ceiling, np.nan), where=ceiling >= 0)
    return root


def measure_neuroids(
    measure: Measure,
    data: xr.DataArray,
    method: str,
    describe: Describe,
    *,
    memory: str | int,
    seed: int | None = None,
    parameters: Mapping[str, object] | None = None,
) -> xr.DataArray:
    """Measure every neuroid in one pass over the trials, block by block.

    Parameters
    ----------
    measure
        From the moments of trials to one value a target.
    data
        DataArray (repetition, stimulus, neuroid[, time]).
    method
        Its name, with hyphens.
    describe
        Gives long_name, units and n_averaged, which may depend on how many trials there are.
    memory
        For one block.
    seed, parameters
        For the attrs.

    Returns
    -------
    DataArray (neuroid[, time])
        Coords of `neuroid`; NaN, with a warning, where a neuroid is constant or contains NaN.

    Raises
    ------
    InputError, LabelError
        If there is no dim `repetition`, a stimulus has no trial, or as `check_responses`.
    """
    data = check_responses(data, time=True)
    if REPETITION not in data.dims:
        raise InputError(
            "Reliability needs repeated measurements on the dim 'repetition'; these responses have "
            f"{list_names(data.dims)}. Give the single trials, not their mean."
        )
    try:
        found, checksum = _gather(data, memory, None)
    except MissingTrials:
        presented = check_presented(data, find_presented(data, memory))
        found, checksum = _gather(data, memory, None if presented.all() else presented)
    attrs = describe(found[0])
    hashed = hash_array(data) if checksum is None else checksum.digest()
    attrs |= provenance(
        method,
        parameters={**(parameters or {}), "units": attrs["units"], "n_averaged": attrs["n_averaged"]},
        inputs={"responses": hashed},
        seed=seed,
    )
    result = _label(np.concatenate([measure(moments) for moments in found]), data)
    undefined = np.concatenate([is_constant(moments) | _has_nan(moments) for moments in found])
    _warn_undefined(_label(undefined, data), method)
    return result.assign_attrs(attrs).rename(method.replace("-", "_"))


def check_presented(data: xr.DataArray, presented: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Raise InputError where a stimulus was never presented."""
    never = ~presented.any(axis=0)
    if never.any():
        names = list_names(data[STIMULUS].values[never].tolist(), 5)
        raise InputError(
            f"{int(never.sum())} of {never.size} stimuli have no trial at all, only NaN ({names}). Leave them "
            "out: data.dropna('stimulus', how='all')."
        )
    return presented


def _gather(
    data: xr.DataArray, memory: str | int, presented: NDArray[np.bool_] | None
) -> tuple[list[Moments | UnequalMoments], Checksum | None]:
    """Return the moments of each block of neuroids, and what was read where it came from a file."""
    rows, columns = cut_blocks(data, memory)
    checksum = None if is_loaded(data) else Checksum(data)
    found = [
        gather_moments(data, neuroids, rows, presented=presented, checksum=checksum) for neuroids in columns
    ]
    return found, checksum


def _has_nan(moments: Moments | UnequalMoments) -> NDArray[np.bool_]:
    return np.asarray(np.isnan(np.atleast_2d(moments.mean)).any(axis=0))


def _label(values: NDArray[Any], data: xr.DataArray) -> xr.DataArray:
    """Give values of targets the dims and coords that remain without repetitions and stimuli."""
    gone = {REPETITION, STIMULUS}
    dims = [dim for dim in data.dims if dim not in gone]
    coords = {name: coord for name, coord in data.coords.items() if not gone & set(coord.dims)}
    return xr.DataArray(values.reshape([data.sizes[dim] for dim in dims]), dims=dims, coords=coords)


def _warn_undefined(undefined: xr.DataArray, method: str) -> None:
    """Name the neuroids for which reliability is not defined at all."""
    flagged = undefined.any([dim for dim in undefined.dims if dim != NEUROID]).values
    if flagged.any():
        names = list_names(undefined[NEUROID].values[flagged].tolist(), 5)
        warnings.warn(
            f"{method}: {int(flagged.sum())} of {flagged.size} neuroids are constant or contain NaN "
            f"({names}); their value is NaN.",
            NeurolensWarning,
            stacklevel=4,
        )
