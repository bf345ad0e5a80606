"""Brain data in any accepted form, brought to one RDM, or one for each subject, for each region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from neurolens.errors import InputError, LabelError, list_names
from neurolens.numerics.distances import Metric
from neurolens.rsa.ceiling import average_sessions
from neurolens.rsa.dissimilarity import rdm
from neurolens.rsa.pairs import check_rdm, other_dims
from neurolens.schema import (
    NEUROID,
    REGION,
    STIMULUS_B,
    SUBJECT,
    TIME,
    join_stimuli,
    rename_aliases,
    require_dims,
)

NO_REGION = ""  # the key of data that name no region
NO_SUBJECT = ""  # the key of data that do not stand below a region as one subject
NAMED = ("rdm", "responses")  # the variable to take where a region holds several


def read_targets(
    brain: object, *, metric: Metric, join: Literal["exact", "inner"] = "exact"
) -> dict[str, xr.DataArray]:
    """Bring brain data to RDMs by region.

    Parameters
    ----------
    brain
        A DataArray: RDMs ([region,] [subject,] [session,] stimulus, stimulus_b), or responses ([subject,]
        [session,] stimulus, [repetition,] neuroid), whose `neuroid` may have coords `region` and `subject`.
        All may have a dim `time`.
        Or a DataTree, Dataset or Mapping: region -> such a DataArray, or region -> subject -> one without subjects.
    metric
        The distance between responses; RDMs are taken as they are.
    join
        Of the subjects of a region that are given one by one: "exact", or "inner": the stimuli that all of them saw.

    Returns
    -------
    dict
        region -> DataArray ([time,] [subject,] stimulus, stimulus_b), sessions averaged. Data that name no region are
        under "". Neuroids without a region are left out and counted in attrs["n_unlabelled_neuroids"].

    Raises
    ------
    LabelError
        If dims or labels are missing, or subjects differ in stimuli under "exact".
    InputError
        If the form is not one of these, or entries are missing.
    """
    targets: dict[str, xr.DataArray] = {}
    for name, subjects in _name_parts(brain).items():
        parts: dict[str, dict[str, xr.DataArray]] = {}
        for subject, array in _share_stimuli(name, subjects, join).items():
            for region, target in _read_array(array, "/".join(filter(None, (name, subject))), metric).items():
                parts.setdefault(_join_names(name, region), {})[subject] = target
        targets |= {
            path: _check_target(_stack_subjects(found, path), path or "brain")
            for path, found in parts.items()
        }
    if not targets:
        raise InputError("brain is empty: it names no region with data.")
    return targets


def _join_names(name: str, region: str) -> str:
    """Name a region of a node; one that is named after its one region is named once."""
    return "/".join(dict.fromkeys(part for part in (name, region) if part))


def _stack_subjects(parts: dict[str, xr.DataArray], name: str) -> xr.DataArray:
    """Lay the RDMs of subjects that were given one by one on the dim `subject`."""
    if list(parts) == [NO_SUBJECT]:
        return parts[NO_SUBJECT]
    alone = []
    for subject, part in parts.items():
        _require_one_subject(part, name, subject)
        alone.append(
            (part.isel({SUBJECT: 0}) if SUBJECT in part.dims else part).drop_vars(SUBJECT, errors="ignore")
        )
    return xr.concat(
        alone, pd.Index(list(parts), name=SUBJECT), coords="minimal", compat="override", join="exact",
        combine_attrs="drop_conflicts",
    )  # fmt: skip


def _require_one_subject(part: xr.DataArray, name: str, subject: str) -> None:
    labels = set(np.ravel(part[SUBJECT].values).tolist()) if SUBJECT in part.coords else set()
    if len(labels) > 1 or part.sizes.get(SUBJECT, 1) > 1:
        raise InputError(
            f"brain[{name!r}][{subject!r}] stands below its region, where each node is one subject, and has several "
            "itself. Give region -> subject -> data, or region -> data with a dim or coord `subject`."
        )


def _share_stimuli(
    name: str, subjects: dict[str, xr.DataArray], join: Literal["exact", "inner"]
) -> dict[str, xr.DataArray]:
    """Bring subjects that were given one by one to the same stimuli, before distances are taken."""
    if len(subjects) < 2 or not all(isinstance(array, xr.DataArray) for array in subjects.values()):
        return subjects  # what is no array is named where it is read
    (first_name, first), *rest = subjects.items()
    for other_name, other in rest:
        names = f"brain[{name!r}][{first_name!r}]", f"brain[{name!r}][{other_name!r}]"
        first, _ = join_stimuli(first, other, join=join, names=names)
    return {label: join_stimuli(first, array, join="inner")[1] for label, array in subjects.items()}


def _name_parts(brain: object) -> dict[str, dict[str, xr.DataArray]]:
    """Name region and subject of every array; "" where they are not named by where they stand."""
    if isinstance(brain, xr.DataArray):
        return {NO_REGION: {NO_SUBJECT: brain}}
    if isinstance(brain, xr.DataTree):
        parts: dict[str, dict[str, xr.DataArray]] = {}
        for node in brain.subtree:
            if node.data_vars:
                region, subject = _split_path(node.path.strip("/") or str(brain.name or NO_REGION))
                array = _only_variable(node.to_dataset(), node.path.strip("/"))
                parts.setdefault(region, {})[subject] = array
        return {region: _check_subjects(region, subjects) for region, subjects in parts.items()}
    if isinstance(brain, xr.Dataset | Mapping):
        names = brain.data_vars if isinstance(brain, xr.Dataset) else brain
        return {str(name): _name_subjects(str(name), brain[name]) for name in names}
    raise InputError(
        f"brain is a {type(brain).__name__}; expected a DataArray of RDMs (..., stimulus, stimulus_b) or of "
        "responses (stimulus, neuroid), or a DataTree or dict from region to these."
    )


def _split_path(path: str) -> tuple[str, str]:
    region, *below = path.split("/")
    if len(below) > 1:
        raise InputError(
            f"brain has the node {path!r}; nodes are regions, and those below them subjects, no deeper."
        )
    return region, below[0] if below else NO_SUBJECT


def _name_subjects(name: str, value: Any) -> dict[str, xr.DataArray]:
    if isinstance(value, xr.Dataset):
        return {NO_SUBJECT: _only_variable(value, name)}
    if isinstance(value, xr.DataTree):
        nodes = {NO_SUBJECT: value} if value.data_vars else {}
        nodes |= {str(key): child for key, child in value.children.items()}
        arrays = {key: _only_variable(node.to_dataset(), f"{name}/{key}") for key, node in nodes.items()}
        return _check_subjects(name, arrays)
    return (
        {str(key): one for key, one in value.items()} if isinstance(value, Mapping) else {NO_SUBJECT: value}
    )


def _check_subjects(region: str, subjects: dict[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    if NO_SUBJECT in subjects and len(subjects) > 1:
        raise InputError(
            f"brain[{region!r}] has data of its own and nodes of subjects below it "
            f"({list_names([name for name in subjects if name], 5)}); give the one or the other."
        )
    return subjects


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
        _refuse_empty_neuroids(responses)
        counted = rdm(responses, metric=metric)
        return (
            counted.assign_coords(n_features=responses.sizes[NEUROID]) if metric == "sqeuclidean" else counted
        )
    labels = pd.Index(list(subjects), name=SUBJECT)
    rdms = [_compute_rdm(part.drop_vars(SUBJECT), metric) for part in subjects.values()]
    return xr.concat(rdms, dim=labels, join="exact", combine_attrs="drop_conflicts")


def _refuse_empty_neuroids(responses: xr.DataArray) -> None:
    """Say it where neuroids without any value are why no stimulus has a distance: no stimulus is to blame then."""
    dims = [dim for dim in responses.dims if dim != NEUROID]
    if not responses.isel(dict.fromkeys(dims, slice(1))).isnull().any():
        return  # without reading more than one stimulus of what may be large
    empty = responses.isnull().all(dims).values
    if empty.any():
        known = NEUROID in responses.coords
        names = responses[NEUROID].values[empty] if known else np.flatnonzero(empty)
        labels = responses[REGION].astype(str).values.ravel().tolist() if REGION in responses.coords else []
        where = f" (region {list_names(sorted(set(labels)))})" if labels else ""
        raise InputError(
            f"{empty.sum()} of {empty.size} neuroids of brain{where} are NaN for all stimuli: "
            f"{list_names(names.tolist(), 5)}. Leave them out: responses.dropna('neuroid', how='all')."
        )


def read_responses(brain: object, *, join: Literal["exact", "inner"] = "exact") -> xr.DataArray:
    """Lay the responses of all regions and subjects side by side.

    Parameters
    ----------
    brain, join
        As `read_targets` takes them, but for RDMs.

    Returns
    -------
    DataArray ([time,] [repetition,] stimulus, neuroid)
        With the coord `region` on `neuroid` ("" where none is named), and `subject` where there are several.
        Neuroids without a region are left out and counted in attrs["n_unlabelled_neuroids"].

    Raises
    ------
    InputError
        If a region is given as RDMs, or parts differ in stimuli or repetitions.
    LabelError
        If subjects that are given one by one differ in stimuli under "exact", or only some name subjects.
    """
    parts: list[xr.DataArray] = []
    n_unlabelled = 0
    for name, subjects in _name_parts(brain).items():
        _refuse_rdms(name, subjects)
        for subject, given in _share_stimuli(name, subjects, join).items():
            array = rename_aliases(given)
            require_dims(array, NEUROID, what="responses")
            n_unlabelled += array.sizes[NEUROID]
            for region, part in (_split_neuroids(array, REGION) or {NO_REGION: array}).items():
                n_unlabelled -= part.sizes[NEUROID]
                parts += _lay_subjects(part, _join_names(name, region), subject)
    if not parts:
        raise InputError("brain is empty: it names no region with data.")
    known = [SUBJECT in part.coords for part in parts]
    if any(known) and not all(known):
        raise LabelError("Some regions of brain name subjects and others do not; give all of them `subject`.")
    if join == "inner":
        parts = list(_share_stimuli("", {str(i): part for i, part in enumerate(parts)}, join).values())
    try:
        joined = xr.concat(
            parts, NEUROID, join="exact", coords="minimal", compat="override", combine_attrs="override"
        )
    except ValueError as error:
        raise InputError(
            f"The regions or subjects of brain have other stimuli or repetitions ({error}); compare them one by one."
        ) from error
    return joined.assign_attrs(n_unlabelled_neuroids=n_unlabelled)


def _refuse_rdms(name: str, subjects: Mapping[str, object]) -> None:
    for given in subjects.values():
        if not isinstance(given, xr.DataArray) or STIMULUS_B in given.dims:
            raise InputError(
                f"brain{f'[{name!r}]' if name else ''} has no responses to be predicted; encoding models need "
                "(stimulus, [repetition,] neuroid). For RDMs use method='rsa'."
            )


def _lay_subjects(part: xr.DataArray, region: str, subject: str) -> list[xr.DataArray]:
    """Give neuroids a region, and subjects that are a dim, or a node, a coord."""
    if subject != NO_SUBJECT:
        _require_one_subject(part, region, subject)
        alone = part.isel({SUBJECT: 0}) if SUBJECT in part.dims else part
        part = alone.drop_vars(SUBJECT, errors="ignore").assign_coords({SUBJECT: subject})
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
