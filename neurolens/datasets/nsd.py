"""The Natural Scenes Dataset: single-trial betas at 7 tesla, up to 10,000 photographs three times each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat

from neurolens import brain
from neurolens.brain.extras import import_extra
from neurolens.brain.volumes import describe_space, label_voxels
from neurolens.datasets.choice import Choice
from neurolens.datasets.trees import SPLIT, add_regions, make_tree
from neurolens.errors import StoreError
from neurolens.schema import NEUROID, PRESENTATION, SESSION, STIMULUS
from neurolens.stimuli import Stimuli

__all__ = ["load_nsd"]

BETAS = "betas_fithrf_GLMdenoise_RR"
SCALE = 300  # betas are stored as whole numbers: % signal change times this
TRIALS = 750  # in a session
BLOCK = 50  # trials that are held at once, of the whole brain
VISUAL: dict[
    str, tuple[int, ...]
] = {  # numbers of prf-visualrois; the dorsal and the ventral part of an area are one region
    "V1": (1, 2),
    "V2": (3, 4),
    "V3": (5, 6),
    "hV4": (7,),
}
STREAMS: dict[str, tuple[int, ...]] = {  # numbers of streams
    "early": (1,),
    "midventral": (2,),
    "midlateral": (3,),
    "midparietal": (4,),
    "ventral": (5,),
    "lateral": (6,),
    "parietal": (7,),
}
ATLASES: dict[str, dict[str, tuple[int, ...]]] = {"prf-visualrois": VISUAL, "streams": STREAMS}

Array = NDArray[Any]


def load_nsd(folder: Path, choice: Choice) -> tuple[Stimuli, xr.DataTree]:
    """Read the betas of the visual areas and streams, each voxel z-scored within its session."""
    root = folder / "nsddata_betas" / "ppdata"
    present = sorted(
        path.parents[2].name for path in root.glob(f"subj*/func1pt8mm/{BETAS}/betas_session01.hdf5")
    )
    design = loadmat(folder / "nsddata" / "experiments" / "nsd" / "nsd_expdesign.mat")
    nodes: dict[str, xr.Dataset] = {}
    for subject in choice.take_subjects(present, "nsd"):
        nodes = _read_subject(folder, subject, design, choice, nodes)
    shown = sorted({name for node in nodes.values() for name in node[STIMULUS].values.tolist()})
    return _make_stimuli(folder, shown, design), make_tree(nodes, "nsd")


def _read_subject(
    folder: Path, subject: str, design: dict[str, Any], choice: Choice, nodes: dict[str, xr.Dataset]
) -> dict[str, xr.Dataset]:
    nibabel = import_extra("nibabel")
    rois = folder / "nsddata" / "ppdata" / subject / "func1pt8mm" / "roi"
    atlases = {name: nibabel.load(rois / f"{name}.nii.gz") for name in ATLASES}
    masks = {
        region: np.isin(np.asarray(atlases[atlas].dataobj), numbers)
        for atlas, regions in ATLASES.items()
        for region, numbers in regions.items()
    }
    masks = {region: masks[region] for region in choice.take_regions(masks, "nsd")}
    where = np.any(list(masks.values()), axis=0)
    if not where.any():
        raise StoreError(f"{rois} labels no voxel of {list(masks)}. Are prf-visualrois and streams complete?")
    betas = folder / "nsddata_betas" / "ppdata" / subject / "func1pt8mm" / BETAS
    sessions = _find_sessions(betas)
    values = np.concatenate([_read_session(path, where) for path in sessions])
    ids = _find_images(design, int(subject.removeprefix("subj")))[: len(values)]
    reference = atlases["streams"]
    trials = xr.DataArray(
        values,
        dims=(PRESENTATION, NEUROID),
        coords={
            STIMULUS: (PRESENTATION, [_name_image(number) for number in ids]),
            SESSION: (PRESENTATION, np.repeat(np.arange(1, len(sessions) + 1), TRIALS)[: len(values)]),
            **label_voxels(where, reference),
            "ncsnr": (NEUROID, _read_ncsnr(betas / "ncsnr.nii.gz", where)),
        },
        attrs=describe_space(reference, f"NSD {subject} func1pt8mm")
        | {"units": "z-score of % signal change"},
    )
    data = _mark_shared(brain.stack_repetitions(trials), design)
    return add_regions(nodes, data, subject, {region: mask[where] for region, mask in masks.items()})


def _find_sessions(betas: Path) -> list[Path]:
    """List the files of sessions, from the first without a gap: a gap would shift every later trial."""
    paths = sorted(betas.glob("betas_session*.hdf5"))
    numbers = [int(path.stem.removeprefix("betas_session")) for path in paths]
    if numbers != list(range(1, len(paths) + 1)):
        missing = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
        raise StoreError(f"{betas} lacks the sessions {missing}. Sessions may be fewer, but without a gap.")
    return paths


def _read_session(path: Path, where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the betas of one session, z-scored; (trial, voxel). The file holds (trial, z, y, x)."""
    h5py = import_extra("h5py")
    with h5py.File(path, "r") as file:
        stored = file["betas"]
        if stored.shape[1:] != where.shape[::-1] or stored.dtype.kind != "i":
            raise StoreError(
                f"{path} holds betas of shape {stored.shape}, {stored.dtype}; expected whole numbers of shape (trials, "
                f"{', '.join(str(size) for size in where.shape[::-1])}), the space of the regions turned round."
            )
        blocks = [
            stored[start : start + BLOCK].transpose(0, 3, 2, 1)[:, where].astype(np.float32) / SCALE
            for start in range(0, len(stored), BLOCK)
        ]
    values = np.concatenate(blocks)
    spread = values.std(axis=0, ddof=1)
    spread[spread == 0] = np.nan  # voxels outside the field of view of the session
    scored: NDArray[np.float32] = (values - values.mean(axis=0)) / spread
    return scored


def _find_images(design: dict[str, Any], subject: int) -> Array:
    """Return the number (from 1) of the image of every trial."""
    order = design["masterordering"].ravel() - 1
    return np.asarray(design["subjectim"][subject - 1][order])


def _mark_shared(data: xr.DataArray, design: dict[str, Any]) -> xr.DataArray:
    """Say which images all subjects share, and which are the test set: shared and seen by this one three times."""
    shared = np.isin(data[STIMULUS].values, [_name_image(number) for number in design["sharedix"].ravel()])
    seen = np.isfinite(data.values).any(axis=2).sum(axis=0)
    split = np.where(shared & (seen == 3), "test", np.where(shared, "shared, incomplete", "train"))
    labels = {"shared": (STIMULUS, shared), SPLIT: (STIMULUS, split.astype(object))}
    labels = {"shared": (STIMULUS, shared), SPLIT: (STIMULUS, split.astype(object))}
    return data.assign_coords(labels)


def _read_ncsnr(path: Path, where: NDArray[np.bool_]) -> NDArray[np.float64]:
    values = np.asarray(import_extra("nibabel").load(path).dataobj, dtype=np.float64)
    if values.shape != where.shape:
        raise StoreError(f"{path} has shape {values.shape}; the regions have {where.shape}.")
    return np.asarray(values[where])


def _name_image(number: int) -> str:
    """Name an image by its number from 1 among all 73,000, as the published file names do."""
    return f"nsd{number:05d}"


class _Photographs:
    """The images of the stimulus file, read one at a time; a torch Dataset by its two methods."""

    def __init__(self, path: Path, numbers: Iterable[int]) -> None:
        self.path, self.numbers = path, tuple(numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Image.Image:
        with import_extra("h5py").File(self.path, "r") as file:
            return Image.fromarray(file["imgBrick"][self.numbers[index] - 1])


def _make_stimuli(folder: Path, ids: list[str], design: dict[str, Any]) -> Stimuli:
    numbers = [int(name.removeprefix("nsd")) for name in ids]
    path = folder / "nsddata_stimuli" / "stimuli" / "nsd" / "nsd_stimuli.hdf5"
    metadata = {"shared": np.isin(numbers, design["sharedix"].ravel())}
    dataset: Any = _Photographs(path, numbers)
    return Stimuli.from_dataset(dataset, ids=ids, metadata=metadata)
