"""The group of one operation: checked, turned into files, held against what is on disk."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurolens.errors import ResumeError, StoreError
from neurolens.schema import STIMULUS
from neurolens.store import layout
from neurolens.store.arrays import (
    KINDS,
    ArrayFiles,
    Members,
    coordinates_attr,
    encode_coords,
    encode_metadata,
    member_files,
    plain_attrs,
)
from neurolens.store.chunks import OLDEST
from neurolens.store.layout import ACTIVATION, METADATA

VERSION = "neurolens_version"  # attr of an array that a run of ours wrote


@dataclass(frozen=True)
class Operation:
    """What is declared of one operation."""

    address: str
    array: ArrayFiles
    members: Members  # coordinates of its dims


def make_operation(
    address: str,
    *,
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    dtype: Any,
    attrs: Mapping[str, Any],
    coords: Mapping[Any, Any],
    head: Mapping[str, Any],
) -> Operation:
    """Check a declaration against the head of its store and prepare its arrays."""
    what = f"operation {address!r}"
    if not isinstance(address, str) or not address:
        raise StoreError(f"An address is a text that is not empty, not {address!r}.")
    _check_array(what, dims, shape, dtype, n_stimuli=head["n_stimuli"])
    array = ArrayFiles(
        shape,
        np.dtype(dtype),
        dims,
        attrs=plain_attrs(attrs, what),
        block=block_of(dims, head),
        compression=head.get("compression", OLDEST),
    )
    members = encode_coords(coords, what)
    _check_members(what, members, dims, shape)
    return Operation(address, array, members)


def block_of(dims: tuple[str, ...], head: Mapping[str, Any]) -> int | None:
    """Return the stimuli in a block of an array with these dims; None where it has none."""
    return min(head["block_size"], head["n_stimuli"]) if STIMULUS in dims else None


def write_order(operation: Operation, path: str, *, existing: Collection[str]) -> list[dict[str, bytes]]:
    """Return the files of a group, in the order to write them: its own metadata last, then it is whole.

    Groups above it that are among `existing` are left as they are.
    """
    leaf = {"address": operation.address, **coordinates_attr(operation.members, dims=operation.array.dims)}
    above = {
        f"{parent}/{METADATA}": encode_metadata(group_metadata({}))
        for parent in layout.parent_groups(path)
        if parent not in existing
    }
    arrays = member_files(path, operation.members)
    arrays[f"{path}/{ACTIVATION}/{METADATA}"] = operation.array.metadata
    return [above | arrays, {f"{path}/{METADATA}": encode_metadata(group_metadata(leaf))}]


def check_same(store: Path, path: str, operation: Operation) -> None:
    """Raise ResumeError unless the group on disk was declared in the same way.

    Attributes that were added to the format since may be absent there: that group stays as it was begun.
    """
    new = json.loads(operation.array.metadata)
    old = layout.read_json(store / path / ACTIVATION / METADATA)
    _require_version(store, old["attributes"].get(VERSION), new["attributes"].get(VERSION))
    old["attributes"].pop(layout.MISSING, None)
    if old["attributes"].pop("_FillValue", None) is not None:  # noted with the missing stimuli
        old["fill_value"] = new["fill_value"]
    for name in layout.ADDED_ATTRS - old["attributes"].keys():
        new["attributes"].pop(name, None)
    differing = _differences(old, new)
    for name, data in member_files(path, operation.members).items():
        file = store / name
        if not file.is_file() or file.read_bytes() != data:
            differing.append(f"the coordinate {name.split('/')[-2]!r}")
    if differing:
        raise ResumeError(
            f"The operation {operation.address!r} differs from the one in the store {store}: "
            f"{'; '.join(dict.fromkeys(differing))}. Do as the first run did, or write to another path."
        )


def _require_version(store: Path, old: object, new: object) -> None:
    """Raise ResumeError where another version began the run: it may name operations or cut arrays otherwise."""
    if old != new:
        raise ResumeError(
            f"The run that writes {store} was begun with neurolens {old}, and this is {new}: one store is written by "
            "one version. Take it up with that one, or write to another path; what is there can be read "
            "(neurolens.open with incomplete=True)."
        )


def read_array(store: Path, path: str, head: Mapping[str, Any]) -> ArrayFiles:
    """Return the array of a group that another process declared."""
    file = store / path / ACTIVATION / METADATA
    found = layout.read_json(file)
    dims = tuple(found.get("dimension_names") or ())  # left out by Zarr where there are none
    array = ArrayFiles(
        tuple(found["shape"]),
        np.dtype(found["data_type"]),
        dims,
        attrs=found["attributes"],
        block=block_of(dims, head),
        compression=head.get("compression", OLDEST),
    )
    differing = _differences(found, json.loads(array.metadata))
    if differing:
        raise StoreError(f"{file} was written by another version: {'; '.join(differing)}. Write anew.")
    return array


def group_metadata(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a Zarr group."""
    return {"attributes": dict(attrs), "zarr_format": 3, "node_type": "group"}


def _check_array(
    what: str, dims: tuple[str, ...], shape: tuple[int, ...], dtype: Any, n_stimuli: int
) -> None:
    if len(dims) != len(shape) or len(set(dims)) < len(dims):
        raise StoreError(
            f"The {what} has dims {dims} for shape {shape}; give one name, each its own, an axis."
        )
    if STIMULUS in dims and (dims[0] != STIMULUS or shape[0] != n_stimuli):
        raise StoreError(
            f"The {what} has dims {dims} and shape {shape}; {STIMULUS!r} must come first and have the "
            f"{n_stimuli} stimuli of the store. Transpose it: array.transpose({STIMULUS!r}, ...)."
        )
    if np.dtype(dtype).kind not in KINDS:
        raise StoreError(
            f"The {what} has dtype {np.dtype(dtype)}, which a store can't hold. Cast it to boolean, integer, "
            "float or complex (bfloat16: to float32)."
        )


def _check_members(what: str, members: Members, dims: tuple[str, ...], shape: tuple[int, ...]) -> None:
    sizes = dict(zip(dims, shape, strict=True))
    for name, (array, _) in members.items():
        own = dict(zip(array.dims, array.shape, strict=True))
        fits = all(sizes.get(dim) == n for dim, n in own.items())
        if name == ACTIVATION or STIMULUS in (name, *array.dims) or not fits:
            raise StoreError(
                f"The coordinate {name!r} {own} of the {what} doesn't fit its dims {sizes}. Coordinates of "
                f"{STIMULUS!r} belong to create_store, and the name {ACTIVATION!r} is taken."
            )


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say which fields of two arrays' metadata differ, attributes one by one."""
    pairs = [(name, old.get(name), new.get(name)) for name in sorted({*old, *new} - {"attributes"})]
    attrs = (old.get("attributes", {}), new.get("attributes", {}))
    pairs += [
        (f"attr {name!r}", attrs[0].get(name), attrs[1].get(name)) for name in sorted({*attrs[0], *attrs[1]})
    ]
    return [f"{name} was {a!r} and is now {b!r}" for name, a, b in pairs if a != b]
