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
from neurolens.schema import NEUROID, REGION, STIMULUS_B, SUBJECT, rename_aliases, require_dims

NO_REGION = ""  # the key of data that name no region
NAMED = ("rdm", "responses")  # the variable to take where a region holds several


def read_targets(brain: object, *, metric: Metric) -> dict[str, xr.DataArray]:
    """Bring brain data to RDMs by region.

    Parameters
    ----------
    brain
        A DataArray: RDMs ([region,] [subject,] [session,] stimulus, stimulus_b), or responses ([subject,]
        [session,] stimulus, [repetition,] neuroid), whose `neuroid` may have coords `region` and `subject`.
        Or a DataTree, Dataset or Mapping: region -> such a DataArray.
    metric
        The distance between responses; RDMs are taken as they are.

    Returns
    -------
    dict
        region -> DataArray ([subject,] stimulus, stimulus_b), sessions averaged. Data that name no region are
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
        return rdm(responses, metric=metric)
    labels = pd.Index(list(subjects), name=SUBJECT)
    rdms = [rdm(part.drop_vars(SUBJECT), metric=metric) for part in subjects.values()]
    return xr.concat(rdms, dim=labels, join="exact", combine_attrs="drop_conflicts")


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
    extra = [dim for dim in other_dims(target) if dim != SUBJECT]
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
