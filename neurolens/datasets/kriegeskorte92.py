"""The 92 objects of Kriegeskorte et al. (2008): photographs, IT of man and monkey, judgements."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.io import loadmat
from scipy.spatial.distance import squareform

from neurolens import schema
from neurolens.stimuli import Stimuli

__all__ = ["load_kriegeskorte92"]

Array = np.ndarray[Any, Any]

_CATEGORIES = {  # the words of the file -> the words of ids and of the column `category`
    "human bodypart": "human body",
    "human face": "human face",
    "nonhuman bodypart": "nonhuman body",
    "nonhuman face": "nonhuman face",
    "natural inanimate": "natural object",
    "artificial inanimate": "artificial object",
}
_FLAGS = ("human", "face", "animal", "natural")  # fields of every stimulus
_LABELS = {  # columns of `categoryVectors` that say more than the fields
    "animate": "animate",
    "inanim": "inanimate",
    "nonhumani": "nonhuman_animal",
    "body": "body",
    "natObj": "natural_object",
    "artiObj": "artificial_object",
    "rand24": "random_24",
    "rand48": "random_48",
    "other48": "other_48",
    "monkeyape": "monkey_or_ape",
}


def load_kriegeskorte92(folder: Path) -> tuple[Stimuli, xr.DataTree]:
    """Read photographs and RDMs; the order of stimuli is that of the files, the same in all of them."""
    published = loadmat(folder / "Kriegeskorte_Neuron2008_supplementalData.mat")
    sessions = loadmat(folder / "92_brainRDMs.mat")["RDMs"][0]
    judgements = loadmat(folder / "92_behavRDMs.mat")["rdms_behav_92"].ravel()
    stimuli = _label_stimuli(published)
    means = {
        str(entry["name"][0]): squareform(entry["RDM"][0]) for entry in published["RDMs_mIT_hIT_fig1"][0]
    }
    distance = {"metric": "correlation", "units": "1 - Pearson r"}
    human = {"long_name": "human IT, 316 voxels", **distance}
    regions = {
        "human_IT": _label_rdm(
            np.array([[entry["RDM"] for entry in subject] for subject in sessions]),
            stimuli,
            {
                schema.SUBJECT: [_part(subject[0], 1) for subject in sessions],
                schema.SESSION: [int(_part(entry, 2).split()[-1]) for entry in sessions[0]],
            },
            human,
        ),
        "human_IT_mean": _label_rdm(means["hITvisStim_316vx"], stimuli, {}, human),
        "monkey_IT": _label_rdm(
            means["mIT_674neurons"], stimuli, {}, {"long_name": "monkey IT, 674 neurons", **distance}
        ),
        "judgements": _label_rdm(
            np.array([entry["RDM"] for entry in judgements]),
            stimuli,
            {schema.SUBJECT: [_part(entry, 1) for entry in judgements]},
            {"long_name": "similarity judgements", "metric": "arrangement", "units": "arbitrary"},
        ),
    }
    return stimuli, xr.DataTree.from_dict(regions, name="kriegeskorte92")


def _part(entry: Any, position: int) -> str:
    """Take one part of a name such as "hIT | BE | Session: 1"."""
    return str(entry["name"][0]).split("|")[position].strip()


def _label_stimuli(published: dict[str, Any]) -> Stimuli:
    """Name photographs by category and number within it, and give every label of the file as a column."""
    entries = published["stimuli_92objs"][0]
    categories = [_CATEGORIES[str(entry["category"][0])] for entry in entries]
    counts: Counter[str] = Counter()
    ids = []
    for category in categories:
        counts[category] += 1
        ids.append(f"{category.replace(' ', '_')}_{counts[category]:02d}")
    names = [str(label[0]) for label in published["categoryLabels"][0]]
    vectors = published["categoryVectors"].astype(bool)
    metadata: dict[str, Any] = {"category": categories, "number": np.arange(1, len(entries) + 1)}
    metadata |= {flag: [bool(entry[flag].item()) for entry in entries] for flag in _FLAGS}
    metadata |= {column: vectors[:, names.index(label)] for label, column in _LABELS.items()}
    return Stimuli.from_array(np.stack([entry["image"] for entry in entries]), ids=ids, metadata=metadata)


def _label_rdm(
    values: Array, stimuli: Stimuli, extra: dict[str, list[Any]], attrs: dict[str, Any]
) -> xr.Dataset:
    ids = np.array(stimuli.ids, dtype=object)
    coords: dict[str, Any] = {schema.STIMULUS_B: ids, **stimuli.coords()}
    for dim, labels in extra.items():
        coords[dim] = np.array(labels, dtype=object if isinstance(labels[0], str) else None)
    rdm = xr.DataArray(
        values.astype(np.float64),
        dims=(*extra, schema.STIMULUS, schema.STIMULUS_B),
        coords=coords,
        attrs={**attrs, "simulated": 0},
    )
    return rdm.to_dataset(name="rdm")
