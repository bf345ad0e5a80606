"""The one form of measured sets: region, then subject, then `responses`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.schema import NEUROID, REGION, SUBJECT

__all__ = ["SPLIT", "add_regions", "make_tree"]

SPLIT = "split"  # coord of `stimulus`: "train" or "test", as published

Regions = Mapping[str, NDArray[np.bool_]]


def add_regions(
    nodes: dict[str, xr.Dataset], data: xr.DataArray, subject: str, regions: Regions
) -> dict[str, xr.Dataset]:
    """Put one subject's responses under each region that has neuroids in it; regions may overlap."""
    for region, mask in regions.items():
        chosen = np.flatnonzero(mask)
        if chosen.size:
            nodes[f"{region}/{subject}"] = _label(data.isel({NEUROID: chosen}), region, subject)
    return nodes


def make_tree(nodes: Mapping[str, xr.Dataset], name: str) -> xr.DataTree:
    """Return the tree of all nodes, regions in order of first appearance."""
    ordered = {
        path: nodes[path]
        for region in dict.fromkeys(_regions(nodes))
        for path in nodes
        if _of(path) == region
    }
    return xr.DataTree.from_dict(ordered, name=name)


def _regions(nodes: Mapping[str, Any]) -> Iterator[str]:
    return (_of(path) for path in nodes)


def _of(path: str) -> str:
    return path.split("/")[0]


def _label(data: xr.DataArray, region: str, subject: str) -> xr.Dataset:
    """Give responses the coords `region` and `subject`, and attrs that say they were measured."""
    n_neuroids = data.sizes[NEUROID]
    coords = {
        name: (NEUROID, np.full(n_neuroids, text, dtype=object))
        for name, text in ((REGION, region), (SUBJECT, subject))
    }
    labelled = data.assign_coords(coords).assign_attrs(
        simulated=0, long_name=f"responses of {region}, {subject}"
    )
    return labelled.to_dataset(name="responses")
