"""Haxby et al. (2001): eight categories in blocks, twelve runs; the whole brain, or one slice of one subject."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from neurolens import brain
from neurolens.brain.extras import import_extra
from neurolens.datasets.choice import Choice
from neurolens.datasets.trees import add_regions, make_tree
from neurolens.errors import StoreError
from neurolens.schema import NEUROID, RUN, SUBJECT
from neurolens.stimuli import Stimuli

__all__ = ["load_haxby2001", "load_haxby2001_1slice"]

SECONDS = 2.5
DELAY = 2.5  # the published labels begin about one volume after the pictures already
CATEGORIES = {
    "face": "a photograph of a face",
    "house": "a photograph of a house",
    "cat": "a photograph of a cat",
    "bottle": "a photograph of a bottle",
    "scissors": "a photograph of scissors",
    "shoe": "a photograph of a shoe",
    "chair": "a photograph of a chair",
    "scrambledpix": "a scrambled photograph",
}
MASKS = {  # regions of the whole set, by file
    "ventral_temporal": "mask4_vt.nii.gz",
    "face": "mask8b_face_vt.nii.gz",
    "house": "mask8b_house_vt.nii.gz",
}


def load_haxby2001_1slice(folder: Path, choice: Choice) -> tuple[Stimuli, xr.DataTree]:
    """Read the slice: a folder for each run, with its volumes and its events."""
    subject = choice.take_subjects(["sub001"], "haxby2001_1slice")[0]
    root = folder / "haxby2001" / subject / "BOLD"
    runs = sorted(path for path in root.iterdir() if (path / "bold_1slice.nii.gz").is_file())
    images = [run / "bold_1slice.nii.gz" for run in runs]
    names = [int(run.name[-3:]) for run in runs]
    series = brain.read_bold(
        images, mask=_find_varying(images), repetition_time=SECONDS, runs=names, subject=subject
    )
    responses = _average(series, [run / "bold_events.tsv" for run in runs])
    regions = {"slice": np.ones(responses.sizes[NEUROID], dtype=bool)}
    return _make_stimuli(), make_tree(add_regions({}, responses, subject, regions), "haxby2001_1slice")


def load_haxby2001(folder: Path, choice: Choice) -> tuple[Stimuli, xr.DataTree]:
    """Read whole brains: a folder for each subject, with all runs in one image and a label for each volume."""
    present = sorted(path.parent.name for path in folder.glob("subj*/bold.nii.gz"))
    nodes: dict[str, xr.Dataset] = {}
    for subject in choice.take_subjects(present, "haxby2001"):
        nodes = _read_subject(folder / subject, subject, choice, nodes)
    return _make_stimuli(), make_tree(nodes, "haxby2001")


def _read_subject(
    folder: Path, subject: str, choice: Choice, nodes: dict[str, xr.Dataset]
) -> dict[str, xr.Dataset]:
    masks = {name: folder / file for name, file in MASKS.items() if (folder / file).is_file()}
    masks = {name: masks[name] for name in choice.take_regions(masks, f"haxby2001 {subject}")}
    labels = pd.read_csv(folder / "labels.txt", sep=r"\s+")
    series = brain.read_bold(
        folder / "bold.nii.gz", mask=_join_masks(list(masks.values())), masks=masks, repetition_time=SECONDS
    )
    if len(labels) != series.sizes["time"]:
        raise StoreError(
            f"{folder / 'labels.txt'} labels {len(labels)} volumes, but {folder / 'bold.nii.gz'} has "
            f"{series.sizes['time']}. One of the two is cut short; get it again."
        )
    runs = labels["chunks"].to_numpy()
    place = np.concatenate([np.arange(len(list(group))) for _, group in groupby(runs)])
    series = series.assign_coords({RUN: ("time", runs), "time": place * SECONDS})
    responses = _average(series, _find_events(labels))
    regions = brain.region_masks(responses)
    plain = responses.drop_vars([f"in_{name}" for name in masks])
    return add_regions(nodes, plain, subject, {name: regions.sel(region=name).values for name in masks})


def _average(series: xr.DataArray, events: list[Path] | pd.DataFrame) -> xr.DataArray:
    cleaned = brain.clean_series(series)
    found = brain.average_blocks(cleaned, events, delay=DELAY, ignore=["rest"], stimuli=list(CATEGORIES))
    return found.sel(stimulus=list(CATEGORIES)).drop_vars(SUBJECT, errors="ignore")


def _find_events(labels: pd.DataFrame) -> pd.DataFrame:
    """Turn the label of every volume into blocks."""
    rows = []
    for run, part in labels.groupby("chunks", sort=False):
        start = 0
        for name, group in groupby(part["labels"]):
            length = len(list(group))
            rows.append(
                {"run": run, "onset": start * SECONDS, "duration": length * SECONDS, "trial_type": name}
            )
            start += length
    return pd.DataFrame(rows)


def _find_varying(images: list[Path]) -> object:
    """Return the mask of voxels that hold a measurement in every run: most of the slice is air."""
    nibabel = import_extra("nibabel")
    loaded = [nibabel.load(image) for image in images]
    varying = np.all([np.ptp(np.asarray(image.dataobj), axis=3) > 0 for image in loaded], axis=0)
    return nibabel.Nifti1Image(varying.astype("uint8"), loaded[0].affine)


def _join_masks(masks: list[Path]) -> object:
    """Return the mask of voxels in any of some masks."""
    nibabel = import_extra("nibabel")
    loaded = [nibabel.load(mask) for mask in masks]
    inside = np.any([np.asarray(mask.dataobj).reshape(mask.shape[:3]) != 0 for mask in loaded], axis=0)
    return nibabel.Nifti1Image(inside.astype("uint8"), loaded[0].affine)


def _make_stimuli() -> Stimuli:
    """Name the categories; which pictures made up a block is not published with the data."""
    metadata = {"animate": [name in ("face", "cat") for name in CATEGORIES]}
    return Stimuli.from_texts(CATEGORIES.values(), ids=CATEGORIES, metadata=metadata)
