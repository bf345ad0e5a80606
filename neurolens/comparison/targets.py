"""Brain data in any accepted form, brought to one RDM, or one for each subject, for each region."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from neurolens.errors import InputError, LabelError, list_names
from neurolens.numerics.distances import Metric
from neurolens.rsa.ceiling import average_sessions
from neurolens.rsa.dissimilarity import rdm
from neurolens.rsa.pairs import check_rdm, other_dims
from neurolens.schema import NEUROID, REGION, STIMULUS_B, SUBJECT, TIME, rename_aliases, require_dims

NO_REGION = ""  # the key of data that name no region
NAMED = ("rdm", "responses")  # the variable to take where a region holds several


def read_targets(brain: object, *, metric: Metric) -> dict[str, xr.DataArray]:
    """Bring brain data to RDMs by region.

    Parameters
    ----------
    brain
        A DataArray: RDMs ([region,] [subject,] [session,] stimulus, stimulus_b), or responses ([subject,]
        [session,] stimulus, [repetition,] neuroid), whose `neuroid` may have coords `region` and `subject`.
        All may have a dim `time`.
        Or a DataTree, Dataset or Mapping: region -> such a DataArray.
    metric
        The distance between responses; RDMs are taken as they are.

    Returns
    -------
    dict
        region -> DataArray ([time,] [subject,] stimulus, stimulus_b), sessions averaged. Data that name no region are
        under "". Neuroids without a region are left out and counted in attrs["n_unlabelled_neuroids"].

    Raises
    ------
    LabelError
        If dims or labels are missing.
    InputError
        If the form is not one of these, or entries are missing.
    """
    targets: dict[str, xr.DataArray] = {}
    for name, array in _name_arrays(brain).items():
        for region, target in _read_array(array, name, metric).items():
            repeated = region == name.rpartition("/")[2]  # a node that holds the one region it is named after
            path = name if repeated else "/".join(part for part in (name, region) if part)
            targets[path] = _check_target(target, path or "brain")
    if not targets:
        raise InputError("brain is empty: it names no region with data.")
    return targets


def _name_arrays(brain: object) -> dict[str, xr.DataArray]:
    if isinstance(brain, xr.DataArray):
        return {NO_REGION: brain}
    if isinstance(brain, xr.DataTree):
        nodes = {node.path.strip("/"): node.to_dataset() for node in brain.subtree if node.data_vars}
        return {path or str(brain.name or NO_REGION): _only_variable(ds, path) for path, ds in nodes.items()}
    if isinstance(brain, xr.Dataset | Mapping):
        items = {
            str(name): brain[name] for name in (brain.data_vars if isinstance(brain, xr.Dataset) else brain)
        }
        return {
            name: _only_variable(v, name) if isinstance(v, xr.Dataset) else v for name, v in items.items()
        }
    raise InputError(
        f"brain is a {type(brain).__name__}; expected a DataArray of RDMs (..., stimulus, stimulus_b) or of "
        "responses (stimulus, neuroid), or a DataTree or dict from region to these."
    )


def _only_variable(dataset: xr.Dataset, name: str) -> xr.DataArray:
    variables = list(dataset.data_vars)
    chosen = variables if len(variables) == 1 else [v for v in NAMED if v in variables]
    if len(chosen) != 1:
        raise InputError(
            f"Region {name!r} of brain has the variables {list_names(variables)}; expected one, or one named "
            f"{' or '.join(map(repr, NAMED))}. Choose: tree[{name!r}][variable]."
        )
    return dataset[chosen[0]]


def _read_array(array: object, name: str, metric: Metric) -> dict[str, xr.DataArray]:
    what = f"brain[{name!r}]" if name else "brain"
    if not isinstance(array, xr.DataArray):
        raise InputError(f"{what} is a {type(array).__name__}; expected a DataArray.")
    if STIMULUS_B in array.dims:
        if REGION not in array.dims:
            return {NO_REGION: array}
        require_labels(array, REGION, what)
        return {str(label): array.sel({REGION: label}, drop=True) for label in array[REGION].values}
    array = rename_aliases(array)
    require_dims(array, NEUROID, what=f"{what} without {STIMULUS_B!r} must be responses, which")
    if REGION in array.dims:
        raise InputError(f"{what} are responses with a dim {REGION!r}; make it a coord of {NEUROID!r}.")
    parts = _split_neuroids(array, REGION) or {NO_REGION: array}
    n_unlabelled = array.sizes[NEUROID] - sum(part.sizes[NEUROID] for part in parts.values())
    rdms = {label: _compute_rdm(part, metric) for label, part in parts.items()}
    for target in rdms.values():
        target.attrs["n_unlabelled_neuroids"] = n_unlabelled
    return rdms


def _split_neuroids(responses: xr.DataArray, coord: str) -> dict[str, xr.DataArray]:
    """Split by a coord of `neuroid`, leaving out unlabelled neuroids; empty if there is no such coord."""
    if coord not in responses.coords or responses[coord].dims != (NEUROID,):
        return {}
    labels = responses[coord].values
    known = ~pd.isna(labels) & (labels.astype(str) != "")
    names = dict.fromkeys(labels[known].tolist())
    return {str(label): responses.isel({NEUROID: np.flatnonzero(labels == label)}) for label in names}


def _compute_rdm(responses: xr.DataArray, metric: Metric) -> xr.DataArray:
    subjects = _split_neuroids(responses, SUBJECT)
    if not subjects:
        counted = rdm(responses, metric=metric)
        return (
            counted.assign_coords(n_features=responses.sizes[NEUROID]) if metric == "sqeuclidean" else counted
        )
    labels = pd.Index(list(subjects), name=SUBJECT)
    rdms = [_compute_rdm(part.drop_vars(SUBJECT), metric) for part in subjects.values()]
    return xr.concat(rdms, dim=labels, join="exact", combine_attrs="drop_conflicts")


def read_responses(brain: object) -> xr.DataArray:
    """Lay the responses of all regions and subjects side by side.

    Parameters
    ----------
    brain
        As `read_targets` takes it, but for RDMs.

    Returns
    -------
    DataArray ([time,] [repetition,] stimulus, neuroid)
        With the coord `region` on `neuroid` ("" where none is named), and `subject` where there are several.
        Neuroids without a region are left out and counted in attrs["n_unlabelled_neuroids"].

    Raises
    ------
    InputError
        If a region is given as RDMs, or parts differ in stimuli or repetitions.
    """
    parts: list[xr.DataArray] = []
    n_unlabelled = 0
    for name, given in _name_arrays(brain).items():
        if not isinstance(given, xr.DataArray) or STIMULUS_B in given.dims:
            raise InputError(
                f"brain{f'[{name!r}]' if name else ''} has no responses to be predicted; encoding models need "
                "(stimulus, [repetition,] neuroid). For RDMs use method='rsa'."
            )
        array = rename_aliases(given)
        require_dims(array, NEUROID, what="responses")
        for region, part in (_split_neuroids(array, REGION) or {NO_REGION: array}).items():
            n_unlabelled -= part.sizes[NEUROID]
            label = "/".join(dict.fromkeys(one for one in (name, region) if one))
            parts += _lay_subjects(part, label)
        n_unlabelled += array.sizes[NEUROID]
    if not parts:
        raise InputError("brain is empty: it names no region with data.")
    known = [SUBJECT in part.coords for part in parts]
    if any(known) and not all(known):
        raise LabelError("Some regions of brain name subjects and others do not; give all of them `subject`.")
    try:
        joined = xr.concat(
            parts, NEUROID, join="exact", coords="minimal", compat="override", combine_attrs="override"
        )
    except ValueError as error:
        raise InputError(
            f"The regions or subjects of brain have other stimuli or repetitions ({error}); compare them one by one."
        ) from error
    return joined.assign_attrs(n_unlabelled_neuroids=n_unlabelled)


def _lay_subjects(part: xr.DataArray, region: str) -> list[xr.DataArray]:
    """Give neuroids a region, and subjects that are a dim a coord."""
    subjects = [part]
    if SUBJECT in part.dims:
        require_labels(part, SUBJECT, region or "brain")
        subjects = [part.sel({SUBJECT: label}) for label in part[SUBJECT].values]
    laid = []
    for one in subjects:
        n = one.sizes[NEUROID]
        coords = {REGION: (NEUROID, np.full(n, region, dtype=object))}
        if SUBJECT in one.coords and not one[SUBJECT].dims:
            coords[SUBJECT] = (NEUROID, np.full(n, one[SUBJECT].item(), dtype=object))
        plain = one.drop_vars([REGION, *([SUBJECT] if SUBJECT in coords else []), NEUROID], errors="ignore")
        laid.append(plain.assign_coords(coords))
    return laid


def split_times(array: xr.DataArray) -> dict[object, xr.DataArray]:
    """Return the array of each moment by its label; None is the key of what has no time."""
    if TIME not in array.dims:
        return {None: array}
    labels = array[TIME].values.tolist() if TIME in array.coords else range(array.sizes[TIME])
    return {label: array.isel({TIME: i}, drop=True) for i, label in enumerate(labels)}


def require_labels(array: xr.DataArray, dim: str, what: str) -> None:
    """Raise unless `dim` has labels."""
    if dim not in array.coords:
        raise LabelError(f"{what} has no labels on {dim!r}; give them: array.assign_coords({dim}=[...]).")


def _check_target(target: xr.DataArray, name: str) -> xr.DataArray:
    check_rdm(target, name)
    target = average_sessions(target)
    if SUBJECT in target.dims:
        require_labels(target, SUBJECT, name)
        target = target.transpose(SUBJECT, ...)
    extra = [dim for dim in other_dims(target) if dim not in (SUBJECT, TIME)]
    if extra:
        raise InputError(
            f"{name} has the dim {list_names(extra)}, which a profile does not have. Choose an entry, "
            f"isel({extra[0]}=0), or average over it."
        )
    missing = np.isnan(target.values).any(axis=tuple(range(target.ndim - 1)))
    n_stimuli = len(missing)
    square_missing = np.isnan(target.values).reshape(-1, n_stimuli, n_stimuli).sum(axis=(0, 2))
    if missing.any():
        worst = target[STIMULUS_B].values[np.argsort(-square_missing)][:3].tolist()
        raise InputError(
            f"{name} has NaN entries, most at the stimuli {list_names(worst)}. Labels can only be permuted "
            "between stimuli that all have data: leave those out on both sides."
        )
    return target
