"""Responses: measured units by stimulus, labelled and checked, with repetitions on a dim of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from neurolens.errors import InputError, LabelError, list_names
from neurolens.schema import (
    NEUROID,
    REGION,
    REPETITION,
    STIMULUS,
    SUBJECT,
    TIME,
    make_texts_plain,
    rename_aliases,
    stimulus_ids,
)

__all__ = ["BrainData", "by_subject", "check_responses", "responses"]

BrainData = xr.DataArray | xr.Dataset | xr.DataTree | Mapping[str, xr.DataArray]


def responses(
    array: ArrayLike,
    *,
    stimulus: Sequence[object] | Mapping[str, Any],
    neuroid: Sequence[object] | None = None,
    region: str | Sequence[str] | None = None,
    subject: str | Sequence[str] | None = None,
    time: Sequence[float] | None = None,
    coords: Mapping[str, ArrayLike] | None = None,
) -> xr.DataArray:
    """Label an array of measured responses.

    Parameters
    ----------
    array
        Array, shape (n_stimuli, n_neuroids) or (n_repetitions, n_stimuli, n_neuroids), any real dtype. Where
        `time` is given, a last axis of time besides.
    stimulus
        The unique ids of the stimuli, in the order of the array; or a mapping with the key "stimulus" and
        further coords of `stimulus` (run, category, ...), as lists or as `Stimuli.coords()` gives them.
    neuroid
        Ids of the measured units; by default 0, 1, ...
    region, subject
        One name for all neuroids, or one for each.
    time
        Seconds from the onset of the stimulus, where responses are resolved in time.
    coords
        Further coords of `neuroid`, each with one value per neuroid: x, y, z in mm, hemisphere, ...

    Returns
    -------
    DataArray ([repetition,] stimulus, neuroid[, time])
        float32 stays float32, all else becomes float64; coords as given.

    Raises
    ------
    InputError
        If the array has another number of dimensions, or is not real.
    LabelError
        If labels are repeated or their number does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> it = responses(np.zeros((3, 2, 5)), stimulus=["cat", "dog"], region="IT", subject="A")
    >>> it.dims, it.region.values[0].item()
    (('repetition', 'stimulus', 'neuroid'), 'IT')
    """
    values = np.asarray(array)
    n_dims = values.ndim - (time is not None)
    if n_dims not in (2, 3):
        raise InputError(
            "Responses have shape (stimulus, neuroid) or (repetition, stimulus, neuroid), and time last where "
            f"time= is given; this array has {values.ndim} dimensions, shape {values.shape}."
        )
    dims = (REPETITION, STIMULUS, NEUROID)[-n_dims:] + ((TIME,) if time is not None else ())
    sizes = dict(zip(dims, values.shape, strict=True))
    n_neuroids = sizes[NEUROID]
    labels = _label_stimuli(stimulus)
    labels[NEUROID] = np.arange(n_neuroids) if neuroid is None else np.asarray(neuroid)
    if time is not None:
        labels[TIME] = np.asarray(time, dtype=np.float64)
    of_neuroid: dict[str, Any] = {REGION: region, SUBJECT: subject, **(coords or {})}
    for name, given in of_neuroid.items():
        if given is not None:
            column = np.repeat(given, n_neuroids) if isinstance(given, str) else np.asarray(given)
            labels[name] = (NEUROID, column)
    _check_lengths(labels, sizes)
    return check_responses(xr.DataArray(values, dims=dims, coords=labels), time=time is not None)


def check_responses(data: xr.DataArray, *, what: str = "the responses", time: bool = False) -> xr.DataArray:
    """Bring responses to one form, or say what is wrong with them.

    Parameters
    ----------
    data
        DataArray with dims `stimulus`, `neuroid` (or `voxel`) and maybe `repetition`, in any order.
    what
        What to call them in a message.
    time
        Whether they may have a dim `time` besides.

    Returns
    -------
    DataArray ([repetition,] stimulus, neuroid[, time])
        float32 or float64. A missing `neuroid` label is numbered 0, 1, ... What is in a file stays there.

    Raises
    ------
    InputError
        If a dim is missing or unknown, nothing was measured, or values are not real.
    LabelError
        If stimuli have no labels or repeated ones.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> raw = xr.DataArray(np.zeros((4, 2)), dims=("voxel", "stimulus"), coords={"stimulus": ["a", "b"]})
    >>> check_responses(raw).dims
    ('stimulus', 'neuroid')
    """
    data = make_texts_plain(rename_aliases(data))
    known = (REPETITION, STIMULUS, NEUROID)
    missing = [dim for dim in known[1:] if dim not in data.dims]
    allowed = (*known, TIME) if time else known
    unknown = [dim for dim in data.dims if dim not in allowed]
    if missing or unknown:
        raise InputError(
            f"{what} must have the dims 'stimulus', 'neuroid' and maybe 'repetition'; they have "
            f"{list_names(data.dims)}. {_dims_advice(missing, unknown)}"
        )
    if 0 in data.shape:
        raise InputError(f"{what} are empty: {dict(data.sizes)}.")
    stimulus_ids(data, what)
    if NEUROID not in data.coords:
        data = data.assign_coords({NEUROID: np.arange(data.sizes[NEUROID])})
    data = data.transpose(*(dim for dim in (*known, TIME) if dim in data.dims))
    if data.dtype in (np.float32, np.float64):
        return data
    if data.dtype.kind not in "fiub":
        raise InputError(f"{what} must be real numbers; they have dtype {data.dtype}.")
    return data.astype(np.float64)


def by_subject(data: BrainData, *, what: str = "the responses") -> dict[str, xr.DataArray]:
    """List responses by subject: each subject has stimuli and neuroids of its own.

    Parameters
    ----------
    data
        One DataArray (or a Dataset of one variable), maybe with a dim `subject`; a dict of them by subject;
        or a DataTree whose leaves are the subjects.
    what
        What to call them in a message.

    Returns
    -------
    dict of DataArray ([repetition,] stimulus, neuroid)
        Checked. A single one without a dim `subject` has the key "".

    Raises
    ------
    InputError
        If it is something else, holds nothing, or a subject holds several variables.
    LabelError
        As `check_responses`; also if the dim `subject` has no labels.

    Examples
    --------
    >>> import numpy as np
    >>> one = responses(np.zeros((2, 3)), stimulus=["a", "b"])
    >>> list(by_subject({"S1": one, "S2": one})), list(by_subject(one))
    (['S1', 'S2'], [''])
    """
    found: dict[str, Any] = {}
    if isinstance(data, xr.DataTree):
        leaves = {leaf.relative_to(data).strip("."): leaf.to_dataset() for leaf in data.leaves}
        found = {
            name: _only_variable(leaf, f"subject {name!r}" if name else what) for name, leaf in leaves.items()
        }
    elif isinstance(data, xr.Dataset):
        found = {"": _only_variable(data, what)}
    elif isinstance(data, xr.DataArray):
        found = {"": data}
    elif isinstance(data, Mapping):
        found = {str(name): array for name, array in data.items()}
    wrong = [f"{name}: {type(array).__name__}" for name, array in found.items() if not _is_array(array)]
    if wrong or not found:
        raise InputError(
            f"{what} must be a DataArray (stimulus, neuroid), or a dict or DataTree of them by subject; got "
            f"{list_names(wrong) if wrong else type(data).__name__ + ', without any'}. Label a plain array "
            "with neurolens.brain.responses(array, stimulus=ids)."
        )
    if list(found) == [""]:
        found = _split_subjects(found[""], what)
    return {
        name: check_responses(array, what=f"{what} of subject {name!r}" if name else what)
        for name, array in found.items()
    }


def _split_subjects(data: xr.DataArray, what: str) -> dict[str, xr.DataArray]:
    """Take the dim `subject` apart, where there is one."""
    data = rename_aliases(data)
    if SUBJECT not in data.dims:
        return {"": data}
    names = stimulus_ids(data, what, dim=SUBJECT)
    return {str(name): data.isel({SUBJECT: i}, drop=True) for i, name in enumerate(names)}


def _is_array(data: object) -> bool:
    return isinstance(data, xr.DataArray)


def _only_variable(data: xr.Dataset, what: str) -> xr.DataArray:
    """Return the one variable of a dataset."""
    if len(data.data_vars) != 1:
        raise InputError(
            f"{what} holds the variables {list_names(data.data_vars)}; exactly one array of responses is "
            "expected. Choose it: dataset[name]."
        )
    return next(iter(data.data_vars.values()))


def _label_stimuli(stimulus: Sequence[object] | Mapping[str, Any]) -> dict[str, Any]:
    """Return coords of `stimulus`: a plain column is one of this dim, as nothing else is asked for."""
    if not isinstance(stimulus, Mapping):
        return {STIMULUS: list(stimulus)}
    if STIMULUS not in stimulus:
        raise LabelError(
            f"stimulus= has the columns {list_names(stimulus)}; the ids are missing, under {STIMULUS!r}."
        )
    return {
        name: column if isinstance(column, tuple) or name == STIMULUS else (STIMULUS, np.asarray(column))
        for name, column in stimulus.items()
    }


def _check_lengths(labels: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    """Raise LabelError where a coord has another length than its dim."""
    for name, given in labels.items():
        dim, column = given if isinstance(given, tuple) else (name, given)
        if dim not in sizes or len(column) != sizes[dim]:
            raise LabelError(
                f"{name!r} has {len(column)} labels for the dim {dim!r}, but the array has "
                f"{sizes.get(dim, 'no such dim')} there: {dict(sizes)}."
            )


def _dims_advice(missing: Sequence[object], unknown: Sequence[object]) -> str:
    """Say what to do about dims that are missing or unknown."""
    if SUBJECT in unknown:
        return "Give subjects as a dict: {s: data.sel(subject=s) for s in data.subject.values}."
    if missing and unknown:
        return f"Rename one, e.g. data.rename({unknown[0]}={missing[0]!r})."
    if missing:
        return f"Add {missing[0]!r}, e.g. data.expand_dims({missing[0]!r})."
    return f"Select or average {unknown[0]!r} first, e.g. data.mean({unknown[0]!r})."
