"""The embedded dataset: drawn images and simulated responses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from PIL import Image

from neurolens import schema
from neurolens.stimuli import Stimuli

__all__ = ["load_shapes80"]

_KINDS = ("face", "fish", "tree", "house", "star", "car", "three", "seven")  # the rows of the sheet
_ANIMATE = ("face", "fish")
_DIGITS = ("three", "seven")
_SIDE = 160


def load_shapes80(folder: Path) -> tuple[Stimuli, xr.DataTree]:
    """Read the sheet of images and the simulated responses."""
    images = _cut_sheet(folder / "images.png")
    n_each = len(images) // len(_KINDS)
    category = np.repeat(np.array(_KINDS, dtype=object), n_each)
    ids = [f"{kind}_{k + 1:02d}" for kind in _KINDS for k in range(n_each)]
    metadata = {
        "category": category,
        "animate": np.isin(category.astype(str), _ANIMATE),
        "digit": np.isin(category.astype(str), _DIGITS),
    }
    stimuli = Stimuli.from_array(images, ids=ids, metadata=metadata)
    with np.load(folder / "responses.npz", allow_pickle=False) as archive:
        regions = {name: _label_region(archive[name], name, stimuli) for name in archive.files}
    return stimuli, xr.DataTree.from_dict(regions, name="shapes80")


def _cut_sheet(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Cut the sheet into its images, row by row."""
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    rows = pixels.reshape(len(_KINDS), _SIDE, -1, _SIDE, 3)
    return rows.transpose(0, 2, 1, 3, 4).reshape(-1, _SIDE, _SIDE, 3)


def _label_region(values: np.ndarray[Any, Any], region: str, stimuli: Stimuli) -> xr.Dataset:
    n_subjects, _, n_neuroids = values.shape
    responses = xr.DataArray(
        values,
        dims=(schema.SUBJECT, schema.STIMULUS, schema.NEUROID),
        coords={
            **stimuli.coords(),
            schema.SUBJECT: np.array([f"simulated_{k + 1}" for k in range(n_subjects)], dtype=object),
            schema.NEUROID: np.arange(n_neuroids),
            schema.REGION: (schema.NEUROID, np.full(n_neuroids, region, dtype=object)),
        },
        attrs={"simulated": 1, "units": "arbitrary", "long_name": f"simulated responses, {region}"},
    )
    return responses.to_dataset(name="responses")
