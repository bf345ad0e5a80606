"""The head of a store: what it is a store of. A run that resumes must have the same."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from neurolens.errors import ResumeError, StoreError, check_choice
from neurolens.schema import STIMULUS
from neurolens.store import layout
from neurolens.store.arrays import (
    ArrayFiles,
    Members,
    coordinates_attr,
    encode_coords,
    encode_metadata,
    member_files,
    plain_attrs,
)
from neurolens.store.chunks import COMPRESSIONS, OLDEST, Compression
from neurolens.store.files import write_files
from neurolens.store.layout import BLOCKS_DONE, METADATA
from neurolens.store.lock import make_folder


@dataclass(frozen=True)
class Head:
    """Attributes of the root, and the coordinates of the stimuli."""

    attrs: dict[str, Any]
    members: Members


def make_head(
    stimuli: Mapping[Any, Any], attrs: Mapping[str, Any], block_size: int, compression: Compression
) -> Head:
    """Check what a store is to hold and put it into its written form."""
    if block_size < 1:
        raise StoreError(f"block_size={block_size} holds no stimulus; give 1 or more.")
    check_choice(compression, COMPRESSIONS, "compression")
    members = encode_coords(stimuli, "the stimuli")
    for name, (array, _) in members.items():
        if array.dims != (STIMULUS,):
            raise StoreError(
                f"The stimulus coordinate {name!r} has dims {array.dims}; only ({STIMULUS!r},) can be stored."
            )
    if STIMULUS not in members or not len(members[STIMULUS][1]):
        raise StoreError(f"A store needs the ids of its stimuli: stimuli={{{STIMULUS!r}: ids, ...}}.")
    ids = members[STIMULUS][1].tolist()
    if len(set(ids)) < len(ids):
        repeated = next(i for i in ids if ids.count(i) > 1)
        raise StoreError(f"The stimulus id {repeated!r} occurs more than once; ids must be unique.")
    if BLOCKS_DONE in members:
        raise StoreError(f"The stimulus coordinate {BLOCKS_DONE!r} has a name that stores need; rename it.")
    head: dict[str, Any] = {
        layout.FORMAT_KEY: layout.FORMAT,
        "complete": False,
        "n_stimuli": len(ids),
        "block_size": int(block_size),
        "compression": compression,
        "run": plain_attrs(attrs, "the run"),
        "aliases": {},
        **coordinates_attr(members, dims=(STIMULUS,)),
    }
    return Head(head, members)


def write_head(path: Path, head: Head) -> None:
    """Make the folder of a store at once: it is either absent or has a head."""
    building = path.resolve().with_name(f".{path.resolve().name}.new")
    shutil.rmtree(building, ignore_errors=True)  # left by a run killed here
    n_blocks = -(-head.attrs["n_stimuli"] // head.attrs["block_size"])
    done = ArrayFiles((n_blocks,), np.dtype(bool), ("block",), attrs={}, block=1)
    root = {"attributes": head.attrs, "zarr_format": 3, "node_type": "group"}
    make_folder(building)
    write_files(
        building,
        {
            **member_files("", head.members),
            f"{BLOCKS_DONE}/{METADATA}": done.metadata,
            METADATA: encode_metadata(root),
        },
        flush=True,
    )
    try:
        building.rename(path)
    except OSError as error:
        raise StoreError(f"The store {path} can't be made: {error.strerror or error}.") from error


def check_resumable(path: Path, head: Head, *, resume: bool) -> None:
    """Raise ResumeError unless the store at `path` was begun with the same head."""
    if not resume:
        raise StoreError(
            f"{path} exists already. Choose another path, delete it, or pass resume=True to take it up."
        )
    if not (path / METADATA).is_file():
        raise StoreError(
            f"{path} exists and is no neurolens store, so nothing is written there. Give a path that does not exist "
            "yet: the folder is made."
        )
    attrs = layout.read_root(path)["attributes"]
    differing = [
        f"{name} was {old!r} and is now {new!r}"
        for name, old, new in [
            ("block_size", attrs.get("block_size"), head.attrs["block_size"]),
            ("compression", attrs.get("compression", OLDEST), head.attrs["compression"]),
            *_pairs(attrs.get("run", {}), head.attrs["run"]),
        ]
        if old != new
    ]
    differing += _differing_stimuli(path, head.members)
    if differing:
        raise ResumeError(
            f"The store {path} can't be resumed, because {'; '.join(differing)}. "
            "Do as the first run did, or choose another path."
        )


def _pairs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(name, old.get(name), new.get(name)) for name in sorted({*old, *new})]


def root_arrays(path: Path) -> list[str]:
    """Return the names of the stimulus coordinates in a store."""
    files = sorted(path.glob(f"*/{METADATA}"))
    return [
        file.parent.name
        for file in files
        if file.parent.name != BLOCKS_DONE and layout.read_json(file).get("node_type") == "array"
    ]


def stimulus_ids(path: Path) -> list[Any]:
    """Return the ids of the stimuli in a store."""
    return _read_values(path, STIMULUS)


def _read_values(path: Path, name: str) -> list[Any]:
    layout.check_codecs(layout.read_json(path / name / METADATA), path / name)
    array = zarr.open_array(path / name, mode="r", zarr_format=3)
    return list(np.asarray(array[...]).tolist())


def _differing_stimuli(path: Path, members: Members) -> list[str]:
    names = root_arrays(path)
    differing = [f"the stimulus column {name!r} is gone" for name in names if name not in members]
    for name, member in members.items():
        if name not in names:
            differing.append(f"the stimulus column {name!r} is new")
            continue
        files = member_files("", {name: member})
        if any(not (path / f).is_file() or (path / f).read_bytes() != data for f, data in files.items()):
            differing.append(_say_difference(name, _read_values(path, name), member[1].tolist()))
    return differing


def _say_difference(name: str, old: list[Any], new: list[Any]) -> str:
    if len(old) != len(new):
        return f"{len(old)} values of {name!r} are now {len(new)}"
    for i, (a, b) in enumerate(zip(old, new, strict=True)):
        if repr(a) != repr(b):  # True is not 1 here, and NaN is NaN
            return f"value {i} of {name!r} was {a!r} and is now {b!r}"
    return f"the values of {name!r} are of another type"
