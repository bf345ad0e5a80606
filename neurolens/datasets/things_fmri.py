"""THINGS-fMRI: single-trial responses of three people to 8,740 photographs of 720 objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from neurolens import brain
from neurolens.brain.extras import import_extra
from neurolens.datasets.choice import Choice
from neurolens.datasets.trees import SPLIT, add_regions, make_tree
from neurolens.errors import StoreError
from neurolens.schema import NEUROID, PRESENTATION, RUN, SESSION, STIMULUS
from neurolens.stimuli import Stimuli

__all__ = ["load_things_fmri"]

TABLES = "betas_csv"
PLACE = {"i": "voxel_x", "j": "voxel_y", "k": "voxel_z"}
PARCELS = "glasser-"  # 180 parcels of the whole cortex, read where they are asked for
CEILINGS = ("nc_singletrial", "nc_testset")  # % of variance
PER_VOXEL = (
    "voxel_id",
    "subject_id",
    "splithalf_uncorrected",
    "splithalf_corrected",
)  # no regions, even if 0 and 1


def load_things_fmri(folder: Path, choice: Choice) -> tuple[Stimuli, xr.DataTree]:
    """Read the tables of responses, stimuli and voxels of each subject."""
    root = folder / TABLES
    present = sorted(
        path.name.removesuffix("_ResponseData.h5") for path in root.glob("sub-*_ResponseData.h5")
    )
    nodes: dict[str, xr.Dataset] = {}
    shown: dict[str, str] = {}
    for subject in choice.take_subjects(present, "things_fmri"):
        voxels = pd.read_csv(root / f"{subject}_VoxelMetadata.csv")
        trials = pd.read_csv(root / f"{subject}_StimulusMetadata.csv")
        regions = _find_regions(voxels)
        if choice.regions is None:
            regions = {name: mask for name, mask in regions.items() if not name.startswith(PARCELS)}
        regions = {name: regions[name] for name in choice.take_regions(regions, f"things_fmri {subject}")}
        inside = np.any(list(regions.values()), axis=0)
        values = _read_values(root / f"{subject}_ResponseData.h5", inside, (len(voxels), len(trials)))
        single = _label(values, voxels[inside], trials)
        shown |= dict(zip(single[STIMULUS].values.tolist(), single[SPLIT].values.tolist(), strict=True))
        for name, mask in regions.items():  # one after the other: with its empty places a region is large
            data = brain.stack_repetitions(single.isel({NEUROID: np.flatnonzero(mask[inside])}))
            nodes = add_regions(nodes, data, subject, {name: np.ones(data.sizes[NEUROID], dtype=bool)})
    return _make_stimuli(folder, shown), make_tree(nodes, "things_fmri")


def _find_regions(voxels: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Return the regions: the columns of 0 and 1, left and right parts of an area together."""
    regions: dict[str, NDArray[np.bool_]] = {}
    for column in voxels.columns:
        values = voxels[column].to_numpy()
        known = (*PLACE.values(), *CEILINGS, *PER_VOXEL)
        if (
            column in known
            or column.startswith("prf-")
            or not np.isin(values, (0, 1)).all()
            or not values.any()
        ):
            continue
        both = column[:1] in "lr" and f"{'r' if column[0] == 'l' else 'l'}{column[1:]}" in voxels.columns
        name = (column[1:] if both else column).replace("/", "-")
        regions[name] = regions.get(name, False) | values.astype(bool)
    return regions


def _read_values(path: Path, inside: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return (trial, voxel) of a table that pandas wrote: rows are voxels, columns their number and trials."""
    h5py = import_extra("h5py")
    with h5py.File(path, "r") as file:
        table = file[next(iter(file))]
        blocks = [table[name] for name in table if name.startswith("block") and name.endswith("_values")]
        of_trials = [block for block in blocks if block.shape == shape]
        if len(of_trials) != 1:
            found = ", ".join(str(block.shape) for block in blocks)
            raise StoreError(
                f"{path} holds tables of shape {found}; expected one of {shape}, the voxels and trials of the "
                "tables beside it. Are all three of one subject?"
            )
        rows = np.flatnonzero(inside)
        block = of_trials[0]
        step = 2000
        parts = [
            block[start : start + step][rows[(rows >= start) & (rows < start + step)] - start]
            for start in range(0, shape[0], step)
        ]
    values: NDArray[np.float32] = np.concatenate(parts).T.astype(np.float32)
    return values


def _label(values: NDArray[np.float32], voxels: pd.DataFrame, trials: pd.DataFrame) -> xr.DataArray:
    coords: dict[str, Any] = {
        STIMULUS: (PRESENTATION, [Path(name).stem for name in trials["stimulus"]]),
        SPLIT: (PRESENTATION, trials["trial_type"].to_numpy(dtype=object)),
        NEUROID: voxels["voxel_id"].to_numpy(),
    }
    coords |= {name: (PRESENTATION, trials[name].to_numpy()) for name in (SESSION, RUN) if name in trials}
    coords |= {
        name: (NEUROID, voxels[column].to_numpy()) for name, column in PLACE.items() if column in voxels
    }
    coords |= {name: (NEUROID, voxels[name].to_numpy()) for name in CEILINGS if name in voxels}
    array = xr.DataArray(values, dims=(PRESENTATION, NEUROID), coords=coords, attrs={"units": "beta"})
    return array.isel({PRESENTATION: np.flatnonzero(trials["trial_type"].isin(["train", "test"]).to_numpy())})


def _make_stimuli(folder: Path, shown: dict[str, str]) -> Stimuli:
    """Name the photographs; their files are given where the archive of images lies beside the tables."""
    ids = sorted(shown)
    concepts = [name.rsplit("_", 1)[0] for name in ids]
    metadata = {"concept": concepts, SPLIT: [shown[name] for name in ids]}
    paths = [folder / "images" / concept / f"{name}.jpg" for concept, name in zip(concepts, ids, strict=True)]
    return Stimuli.from_files(paths, ids=ids, metadata=metadata)
