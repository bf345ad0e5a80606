"""Repetitions: single trials on a dim of their own, averaged, or taken one by one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from neurolens.brain.blocks import DEFAULT_MEMORY, cut_blocks, find_missing, find_presented, load_block
from neurolens.brain.measuring import check_presented
from neurolens.brain.responses import check_responses
from neurolens.errors import InputError, LabelError, StoreError
from neurolens.numerics.components import effective_repetitions
from neurolens.schema import NEUROID, PRESENTATION, REPETITION, STIMULUS, rename_aliases, require_dims

__all__ = ["average_repetitions", "flatten_repetitions", "stack_repetitions"]

N_REPETITIONS = "n_repetitions"  # a coord of `stimulus`, where numbers differ
CONDITION = "condition"  # what a single trial was a repetition of
VARIABLE = "responses"
LARGE_CHUNK = 4_000_000  # bytes

StrPath = str | os.PathLike[str]


def average_repetitions(
    data: xr.DataArray, *, store: StrPath | None = None, memory: str | int = DEFAULT_MEMORY
) -> xr.DataArray:
    """Average responses over the repetitions that took place.

    A trial that is NaN for every neuroid did not take place: its stimulus is averaged over the others. A NaN in
    some neuroids only is a hole in the data, and is NaN in the mean.

    Parameters
    ----------
    data
        DataArray ([repetition,] stimulus, neuroid[, time]), in memory or opened from a file.
    store
        A Zarr folder to write the mean to, block by block, where it does not fit into memory.
    memory
        For one block of trials with its temporary copies, e.g. "1 GB".

    Returns
    -------
    DataArray (stimulus, neuroid[, time])
        Opened from `store` where that is given. Attrs of `data`, and `n_averaged`: the number of repetitions (1
        where there is no such dim, unless the data say otherwise already). Where numbers differ, `n_averaged`
        is their harmonic mean, and the coord `n_repetitions` of `stimulus` gives each.

    Raises
    ------
    InputError, LabelError
        As `check_responses`; also where a stimulus has no trial at all.
    StoreError
        If `store` exists already.

    Examples
    --------
    >>> import numpy as np
    >>> from neurolens import brain
    >>> twice = brain.responses(np.array([[[0.0], [2.0]], [[2.0], [4.0]]]), stimulus=["a", "b"])
    >>> brain.average_repetitions(twice).values.ravel().tolist()
    [1.0, 3.0]
    """
    data = check_responses(data, time=True)
    if REPETITION not in data.dims:
        return data.assign_attrs(n_averaged=data.attrs.get("n_averaged", 1))
    mean = _mean_template(data)
    rows, columns = cut_blocks(data, memory)
    target: Any = (
        np.empty(mean.shape, data.dtype) if store is None else _create_target(mean, Path(store), rows[0].stop)
    )
    presented: NDArray[np.bool_] | None = None
    for neuroids in columns:
        for stimuli in rows:
            values = load_block(data, stimuli, neuroids)
            if presented is None and find_missing(values).any():
                presented = check_presented(data, find_presented(data, memory))
            shown = None if presented is None else presented[:, stimuli]
            target[stimuli, neuroids] = _average(values, shown).reshape(-1, *_block_shape(mean, neuroids))
    result = _counted(mean, data, presented)
    if store is None:
        return xr.DataArray(target, dims=mean.dims, coords=result.coords, attrs=result.attrs, name=data.name)
    return _finish_target(result, Path(store))


def stack_repetitions(trials: xr.DataArray) -> xr.DataArray:
    """Bring single trials to one place a stimulus and repetition, in the order they were presented.

    Parameters
    ----------
    trials
        DataArray (presentation, neuroid[, time]) with a coord `stimulus` of `presentation`.

    Returns
    -------
    DataArray (repetition, stimulus, neuroid[, time])
        Stimuli in order of first appearance; NaN where a stimulus has fewer repetitions than another. A coord
        of `presentation` that is the same for all trials of a stimulus becomes one of `stimulus`; another gets
        the dims (repetition, stimulus), with NaN or "" where there was no trial.

    Raises
    ------
    LabelError
        If the dims or the coord `stimulus` are missing.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> shown = {"stimulus": ("presentation", ["a", "b", "a"])}
    >>> trials = xr.DataArray(np.arange(3.0)[:, None], dims=("presentation", "neuroid"), coords=shown)
    >>> stack_repetitions(trials).values[:, :, 0].tolist()
    [[0.0, 1.0], [2.0, nan]]
    """
    trials = rename_aliases(trials)
    require_dims(trials, PRESENTATION, NEUROID, what="the array of single trials")
    if STIMULUS not in trials.coords or trials[STIMULUS].dims != (PRESENTATION,):
        raise LabelError(
            "Single trials need a coord 'stimulus' of 'presentation' that names what was shown: "
            "trials.assign_coords(stimulus=('presentation', ids))."
        )
    trials = trials.transpose(PRESENTATION, NEUROID, ...)
    if PRESENTATION in trials.indexes:
        trials = trials.reset_index(PRESENTATION)
    shown = trials[STIMULUS].values
    ids = list(dict.fromkeys(shown.tolist()))
    place = {name: k for k, name in enumerate(ids)}
    stimulus = np.array([place[name] for name in shown.tolist()])
    repetition = _count_earlier(stimulus)
    shape = (int(repetition.max()) + 1, len(ids))
    dtype = trials.dtype if trials.dtype.kind == "f" else np.dtype(np.float64)
    values = np.full((*shape, *trials.shape[1:]), np.nan, dtype)
    values[repetition, stimulus] = trials.values
    coords: dict[str, Any] = {STIMULUS: np.array(ids, dtype=shown.dtype), REPETITION: np.arange(shape[0])}
    for name, coord in trials.coords.items():
        if name == STIMULUS:
            continue
        if coord.dims == (PRESENTATION,):
            coords[str(name)] = _stack_coord(coord.values, repetition, stimulus, shape)
        elif PRESENTATION not in coord.dims:
            coords[str(name)] = coord
    dims = (REPETITION, STIMULUS, *trials.dims[1:])
    stacked = xr.DataArray(values, dims=dims, coords=coords, attrs=trials.attrs, name=trials.name)
    return check_responses(stacked, time=True)


def flatten_repetitions(data: xr.DataArray) -> xr.DataArray:
    """Take every trial as a stimulus of its own, for analyses that hold out runs or sessions.

    Parameters
    ----------
    data
        DataArray (repetition, stimulus, neuroid[, time]).

    Returns
    -------
    DataArray (stimulus, neuroid[, time])
        Ids are "<stimulus>#<repetition>"; the coord `condition` holds the stimulus that was repeated. Trials
        that did not take place are left out. Coords of (repetition, stimulus), such as `run`, become coords of
        `stimulus`.

    Raises
    ------
    InputError
        If there is no dim `repetition`.

    Examples
    --------
    >>> import numpy as np
    >>> from neurolens import brain
    >>> twice = brain.responses(np.zeros((2, 2, 1)), stimulus=["a", "b"])
    >>> brain.flatten_repetitions(twice).stimulus.values.tolist()
    ['a#0', 'b#0', 'a#1', 'b#1']
    """
    data = check_responses(data, time=True)
    if REPETITION not in data.dims:
        raise InputError("These responses have no dim 'repetition': every trial is a stimulus already.")
    if REPETITION not in data.coords:
        data = data.assign_coords({REPETITION: np.arange(data.sizes[REPETITION])})
    conditions, repetitions = data[STIMULUS].values, data[REPETITION].values
    flat = data.stack({PRESENTATION: (REPETITION, STIMULUS)}, create_index=False)
    ids = [f"{name}#{k}" for k in repetitions.tolist() for name in conditions.tolist()]
    flat = flat.drop_vars([STIMULUS, REPETITION], errors="ignore").rename({PRESENTATION: STIMULUS})
    flat = flat.assign_coords(
        {
            STIMULUS: np.array(ids, dtype=object),
            CONDITION: (STIMULUS, np.tile(conditions, repetitions.size)),
            REPETITION: (STIMULUS, np.repeat(repetitions, conditions.size)),
        }
    )
    shown = ~flat.isnull().all([dim for dim in flat.dims if dim != STIMULUS])
    return check_responses(flat.isel({STIMULUS: np.flatnonzero(shown.values)}), time=True)


def _mean_template(data: xr.DataArray) -> xr.DataArray:
    """Make the dims and coords of the mean, with no values behind them."""
    coords = {name: coord for name, coord in data.coords.items() if REPETITION not in coord.dims}
    dims = [dim for dim in data.dims if dim != REPETITION]
    empty = np.broadcast_to(np.zeros((), data.dtype), tuple(data.sizes[dim] for dim in dims))
    return xr.DataArray(empty, dims=dims, coords=coords, attrs=data.attrs, name=data.name)


def _block_shape(mean: xr.DataArray, neuroids: slice) -> tuple[int, ...]:
    return (neuroids.stop - neuroids.start, *mean.shape[2:])


def _average(values: NDArray[Any], shown: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Mean over the first axis, of the trials shown."""
    if shown is None or shown.all():
        mean: NDArray[Any] = values.mean(axis=0)
        return mean
    total = np.where(shown[:, :, None], values, 0).sum(axis=0)
    average: NDArray[Any] = (total / shown.sum(axis=0)[:, None]).astype(values.dtype)
    return average


def _counted(mean: xr.DataArray, data: xr.DataArray, presented: NDArray[np.bool_] | None) -> xr.DataArray:
    """Say how many trials were averaged."""
    if presented is None or presented.all():
        return mean.assign_attrs(n_averaged=data.sizes[REPETITION])
    counts = presented.sum(axis=0)
    if (counts == counts[0]).all():
        return mean.assign_attrs(n_averaged=int(counts[0]))
    mean = mean.assign_coords({N_REPETITIONS: (STIMULUS, counts)})
    return mean.assign_attrs(n_averaged=effective_repetitions(counts))


def _create_target(mean: xr.DataArray, path: Path, height: int) -> Any:
    """Make the array on disk that the mean is written to; blocks of `height` stimuli are whole chunks."""
    if path.exists():
        raise StoreError(f"{path} exists already. Give a new folder, or delete it.")
    group = zarr.open_group(path, mode="w")
    n_bytes = mean.dtype.itemsize * int(np.prod(mean.shape[1:]))
    largest = max(1, LARGE_CHUNK // n_bytes)
    rows = next(k for k in range(min(height, largest), 0, -1) if height % k == 0)
    return group.create_array(
        VARIABLE,
        shape=mean.shape,
        dtype=mean.dtype,
        chunks=(rows, *mean.shape[1:]),
        fill_value=float("nan"),
        dimension_names=[str(dim) for dim in mean.dims],
    )


def _finish_target(result: xr.DataArray, path: Path) -> xr.DataArray:
    """Write labels and attrs beside the values, and open all of it."""
    coords = _texts_of_any_length(result.coords.to_dataset())
    coords.to_zarr(path, mode="a", consolidated=False)
    array = zarr.open_group(path, mode="r+")[VARIABLE]
    named = " ".join(str(name) for name in coords.coords if name not in result.dims)
    array.attrs.update({**result.attrs, "coordinates": named} if named else dict(result.attrs))
    opened: xr.DataArray = xr.open_zarr(path, chunks=None, consolidated=False)[VARIABLE]
    return opened.rename(result.name)


def _texts_of_any_length(coords: xr.Dataset) -> xr.Dataset:
    """Turn fixed-length texts into ones of any length: Zarr v3 has no settled form of the former."""
    fixed = {name: coord for name, coord in coords.coords.items() if coord.dtype.kind == "U"}
    return coords.assign_coords({name: coord.astype(object) for name, coord in fixed.items()})


def _count_earlier(stimulus: NDArray[np.intp]) -> NDArray[np.intp]:
    """Count earlier trials of the same stimulus, for every trial."""
    order = np.argsort(stimulus, kind="stable")
    ordered = stimulus[order]
    first = np.r_[0, np.flatnonzero(np.diff(ordered)) + 1]
    starts = np.repeat(first, np.diff(np.r_[first, ordered.size]))
    earlier = np.empty(stimulus.size, dtype=np.intp)
    earlier[order] = np.arange(stimulus.size) - starts
    return earlier


def _stack_coord(
    values: NDArray[Any],
    repetition: NDArray[np.intp],
    stimulus: NDArray[np.intp],
    shape: tuple[int, int],
) -> tuple[Any, NDArray[Any]]:
    """Give a coord of trials the dims of what it tells: stimuli, or single trials of them."""
    first = np.empty(shape[1], dtype=values.dtype)
    first[stimulus[::-1]] = values[::-1]
    if (first[stimulus] == values).all():
        return STIMULUS, first
    text = values.dtype.kind in "OUS"
    full = values.size == shape[0] * shape[1]
    kind = object if text else (values.dtype if full else np.float64)
    table = np.full(shape, "" if text else 0 if full else np.nan, dtype=kind)
    table[repetition, stimulus] = values
    return (REPETITION, STIMULUS), table
