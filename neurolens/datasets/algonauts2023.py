"""Algonauts 2023: responses of eight people to photographs on the cortical surface, from the Natural Scenes Dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens import brain
from neurolens.datasets.choice import Choice
from neurolens.datasets.trees import SPLIT, add_regions, make_tree
from neurolens.errors import StoreError
from neurolens.numerics.pickles import read_pickled_mapping
from neurolens.schema import STIMULUS
from neurolens.stimuli import Stimuli

__all__ = ["load_algonauts2023"]

HEMISPHERES = ("lh", "rh")
ATLASES = ("prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words", "streams")
JOINED = {"V1v": "V1", "V1d": "V1", "V2v": "V2", "V2d": "V2", "V3v": "V3", "V3d": "V3"}

Regions = dict[str, NDArray[np.bool_]]


def load_algonauts2023(folder: Path, choice: Choice) -> tuple[Stimuli, xr.DataTree]:
    """Read the training responses; the test responses of the challenge are not published with it."""
    present = sorted(
        path.parents[2].name
        for path in folder.glob("subj*/training_split/training_fmri/lh_training_fmri.npy")
    )
    nodes: dict[str, xr.Dataset] = {}
    images: dict[str, tuple[Path, str]] = {}
    for subject in choice.take_subjects(present, "algonauts2023"):
        root = folder / subject
        own = _find_images(root, "training") | _find_images(root, "test")
        data = _read_responses(root, [name for name, (_, split) in own.items() if split == "train"])
        regions = _read_regions(root)
        regions = {name: regions[name] for name in choice.take_regions(regions, f"algonauts2023 {subject}")}
        nodes = add_regions(nodes, data, subject, regions)
        images |= {name: given for name, given in own.items() if name not in images or given[1] == "train"}
    ids = sorted(images)
    paths = [images[name][0] for name in ids]
    stimuli = Stimuli.from_files(paths, ids=ids, metadata={SPLIT: [images[name][1] for name in ids]})
    return stimuli, make_tree(nodes, "algonauts2023")


def _find_images(root: Path, split: str) -> dict[str, tuple[Path, str]]:
    """Map the id of every image, in the order of the responses, to its file; "train-0001_nsd-00013" is nsd-00013."""
    found = sorted((root / f"{split}_split" / f"{split}_images").glob("*.png"))
    return {path.stem.split("_")[-1]: (path, "train" if split == "training" else "test") for path in found}


def _read_responses(root: Path, ids: list[str]) -> xr.DataArray:
    """Read both hemispheres; vertices are those of fsaverage, where the files say which."""
    parts, vertices = [], []
    for side in HEMISPHERES:
        values = np.load(
            root / "training_split" / "training_fmri" / f"{side}_training_fmri.npy", allow_pickle=False
        )
        if len(values) != len(ids):
            raise StoreError(f"{root} has {len(values)} responses ({side}) to {len(ids)} training images.")
        parts.append(values.astype(np.float32, copy=False))
        mask = np.load(root / "roi_masks" / f"{side}.all-vertices_fsaverage_space.npy", allow_pickle=False)
        vertices.append(np.flatnonzero(mask))
        if len(vertices[-1]) != values.shape[1]:
            raise StoreError(
                f"{root} has responses of {values.shape[1]} vertices ({side}), but {len(vertices[-1])} places of them."
            )
    sizes = [part.shape[1] for part in parts]
    names = [f"{side}-{vertex}" for side, own in zip(HEMISPHERES, vertices, strict=True) for vertex in own]
    coords: dict[str, Any] = {
        "hemisphere": np.repeat(["left", "right"], sizes).astype(object),
        "vertex": np.concatenate(vertices),
    }
    data = brain.responses(np.concatenate(parts, axis=1), stimulus=ids, neuroid=names, coords=coords)
    data = data.assign_coords({SPLIT: (STIMULUS, np.full(len(ids), "train", dtype=object))})
    return data.assign_attrs(space="fsaverage", units="z-score, mean over repetitions")


def _read_regions(root: Path) -> Regions:
    """Read the regions of every atlas; dorsal and ventral parts of an area are one."""
    masks: dict[str, list[NDArray[np.bool_]]] = {}
    sides = [
        np.load(root / "roi_masks" / f"{side}.all-vertices_fsaverage_space.npy", allow_pickle=False).sum()
        for side in HEMISPHERES
    ]
    for atlas in ATLASES:
        mapping = root / "roi_masks" / f"mapping_{atlas}.npy"
        if not mapping.is_file():
            continue
        for number, name in read_pickled_mapping(mapping).items():
            if int(number) == 0:
                continue
            parts = [
                np.load(root / "roi_masks" / f"{side}.{atlas}_challenge_space.npy", allow_pickle=False)
                == number
                for side in HEMISPHERES
            ]
            masks.setdefault(JOINED.get(str(name), str(name)), []).append(np.concatenate(parts))
    everywhere = np.ones(int(sum(sides)), dtype=bool)
    regions = {name: np.any(parts, axis=0) for name, parts in masks.items()}
    return {name: mask for name, mask in regions.items() if mask.any()} or {"all": everywhere}
