"""Regions: which neuroids belong together, by one label each or by masks that may overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from neurolens.errors import InputError, LabelError, list_names
from neurolens.schema import NEUROID, REGION, rename_aliases, require_dims

__all__ = ["MASK_PREFIX", "label_regions", "region_masks", "split_regions"]

MASK_PREFIX = "in_"  # coord of `neuroid` that says whether it belongs to a region that may overlap others


def label_regions(
    data: xr.DataArray, regions: Sequence[str] | Mapping[str, ArrayLike] | xr.DataArray
) -> xr.DataArray:
    """Say which neuroids belong to which region.

    Parameters
    ----------
    data
        DataArray (..., neuroid).
    regions
        One name for each neuroid ("" is none); or, for regions that may overlap, a mapping from name to yes/no
        for each neuroid, or a bool DataArray (region, neuroid).

    Returns
    -------
    DataArray (..., neuroid)
        With the coord `region`, or one coord `in_<name>` for each mask. Earlier ones are replaced.

    Raises
    ------
    LabelError
        If the number of labels is not that of neuroids.
    InputError
        If a mask is not of yes and no, or is empty.

    Examples
    --------
    >>> from neurolens import brain
    >>> data = brain.responses(np.zeros((2, 3)), stimulus=["a", "b"])
    >>> labelled = label_regions(data, {"V1": [True, True, False], "early": [True, True, True]})
    >>> region_masks(labelled).sum("neuroid").values.tolist()
    [2, 3]
    """
    data = rename_aliases(data)
    require_dims(data, NEUROID, what="label_regions")
    data = data.drop_vars([REGION, *_mask_names(data).values()], errors="ignore")
    if isinstance(regions, xr.DataArray):
        require_dims(regions, REGION, NEUROID, what="the masks of regions")
        regions = {str(name): regions.sel({REGION: name}).values for name in regions[REGION].values}
    if isinstance(regions, Mapping):
        masks = {name: _check_mask(mask, name, data.sizes[NEUROID]) for name, mask in regions.items()}
        return data.assign_coords({f"{MASK_PREFIX}{name}": (NEUROID, mask) for name, mask in masks.items()})
    names = np.asarray(regions, dtype=object)
    if names.shape != (data.sizes[NEUROID],):
        raise LabelError(f"regions holds {names.size} names for {data.sizes[NEUROID]} neuroids.")
    return data.assign_coords({REGION: (NEUROID, names)})


def region_masks(data: xr.DataArray) -> xr.DataArray:
    """Return which neuroid belongs to which region.

    Parameters
    ----------
    data
        DataArray (..., neuroid) with the coord `region` or coords `in_<name>`; where it has both, all count.

    Returns
    -------
    DataArray (region, neuroid), bool
        Labels in order of first appearance, then masks.

    Raises
    ------
    LabelError
        If no region is named, or a label and a mask have the same name.

    Examples
    --------
    >>> from neurolens import brain
    >>> data = brain.responses(np.zeros((2, 3)), stimulus=["a", "b"], region=["V1", "V1", ""])
    >>> region_masks(data).values.tolist()
    [[True, True, False]]
    """
    data = rename_aliases(data)
    masks: dict[str, Any] = {}
    if REGION in data.coords:
        labels = np.broadcast_to(data[REGION].values, data.sizes[NEUROID])
        known = [label for label in dict.fromkeys(labels.tolist()) if not _is_nothing(label)]
        masks = {str(label): labels == label for label in known}
    overlapping = _mask_names(data)
    twice = set(masks) & set(overlapping)
    if twice:
        raise LabelError(f"{list_names(twice)} names both a label and a mask; rename one.")
    masks |= {name: data[coord].values.astype(bool) for name, coord in overlapping.items()}
    if not masks:
        raise LabelError(
            "These data name no regions. Label them: brain.label_regions(data, names) or, for overlapping ones, "
            "brain.label_regions(data, {name: mask})."
        )
    coords: dict[str, Any] = {REGION: list(masks)}
    if NEUROID in data.coords:
        coords[NEUROID] = data[NEUROID].values
    return xr.DataArray(np.stack(list(masks.values())), dims=(REGION, NEUROID), coords=coords)


def split_regions(data: xr.DataArray) -> xr.DataTree:
    """Take responses apart by region: the form that analyses of several regions take.

    Parameters
    ----------
    data
        DataArray (..., neuroid) with the coord `region` or coords `in_<name>`.

    Returns
    -------
    DataTree
        One node a region, with the variable `responses` and `region` as its label. A neuroid of several regions
        is in each. Attrs: `n_unlabelled_neuroids`, how many are in none.

    Raises
    ------
    LabelError
        As `region_masks`.

    Examples
    --------
    >>> from neurolens import brain
    >>> data = brain.responses(np.zeros((2, 3)), stimulus=["a", "b"], region=["V1", "IT", ""])
    >>> tree = split_regions(data)
    >>> list(tree.children), tree.attrs["n_unlabelled_neuroids"]
    (['V1', 'IT'], 1)
    """
    data = rename_aliases(data)
    masks = region_masks(data)
    plain = data.drop_vars([REGION, *_mask_names(data).values()], errors="ignore")
    nodes = {}
    for name in masks[REGION].values.tolist():
        chosen = np.flatnonzero(masks.sel({REGION: name}).values)
        part = plain.isel({NEUROID: chosen})
        label = np.full(chosen.size, name, dtype=object)
        nodes[_node_name(name)] = part.assign_coords({REGION: (NEUROID, label)}).to_dataset(name="responses")
    tree = xr.DataTree.from_dict(nodes)
    tree.attrs["n_unlabelled_neuroids"] = int((~masks.any(REGION)).sum())
    return tree


def _mask_names(data: xr.DataArray) -> dict[str, str]:
    """Region to coord, for every coord that is a mask."""
    names = [str(name) for name, coord in data.coords.items() if coord.dims == (NEUROID,)]
    return {name.removeprefix(MASK_PREFIX): name for name in names if name.startswith(MASK_PREFIX)}


def _node_name(region: str) -> str:
    """Return a region's name as one step of a path."""
    return region.replace("/", "-")


def _is_nothing(label: object) -> bool:
    return label == "" or bool(pd.isna(label))  # type: ignore[call-overload]


def _check_mask(mask: ArrayLike, name: str, n_neuroids: int) -> np.ndarray[Any, Any]:
    """Return a mask as bool, or say what is wrong with it."""
    values = np.asarray(mask)
    if values.shape != (n_neuroids,):
        raise LabelError(f"The mask {name!r} has shape {values.shape}; there are {n_neuroids} neuroids.")
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise InputError(f"The mask {name!r} must be of True and False (or 1 and 0); it has others.")
    if not values.any():
        raise InputError(f"The mask {name!r} is empty: no neuroid belongs to it. Leave it out.")
    return values.astype(bool)
