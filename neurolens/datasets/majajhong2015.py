"""Majaj, Hong et al. (2015): V4 and IT of two macaques, objects on backgrounds, as Brain-Score publishes it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import xarray as xr

from neurolens import brain
from neurolens.datasets.choice import Choice
from neurolens.datasets.trees import add_regions, make_tree
from neurolens.errors import StoreError
from neurolens.schema import REGION, STIMULUS, SUBJECT
from neurolens.stimuli import Stimuli

__all__ = ["load_majajhong2015"]

ASSEMBLY = "assy_dicarlo_MajajHong2015_public.nc"
TABLE = "image_dicarlo_hvm-public.csv"
IMAGES = "image_dicarlo_hvm-public"


def load_majajhong2015(folder: Path, choice: Choice) -> tuple[Stimuli, xr.DataTree]:
    """Read the assembly and the table of images."""
    with xr.open_dataset(folder / ASSEMBLY, engine="h5netcdf") as file:
        variables = list(file.data_vars)
        if len(variables) != 1:
            raise StoreError(f"{folder / ASSEMBLY} holds the variables {variables}; expected one assembly.")
        data = brain.from_brainscore(file[variables[0]].load())
    subjects = choice.take_subjects(sorted({str(name) for name in data[SUBJECT].values}), "majajhong2015")
    regions = choice.take_regions(dict.fromkeys(data[REGION].values.astype(str).tolist()), "majajhong2015")
    data = data.assign_attrs(units="spikes, normalised as published")
    nodes: dict[str, xr.Dataset] = {}
    for subject in subjects:
        own = data[SUBJECT].values.astype(str) == subject
        of_region = data[REGION].values.astype(str)
        masks = {region: own & (of_region == region) for region in regions}
        nodes = add_regions(nodes, data, subject, masks)
    return _make_stimuli(folder, data[STIMULUS].values.tolist()), make_tree(nodes, "majajhong2015")


def _make_stimuli(folder: Path, ids: list[str]) -> Stimuli:
    """Read the images of the responses, with every column of the table."""
    table = pd.read_csv(folder / TABLE)
    name = "image_id" if "image_id" in table else "stimulus_id"
    table = table.drop_duplicates(name).set_index(name)
    missing = [one for one in ids if one not in table.index]
    if missing:
        raise StoreError(
            f"{folder / TABLE} lacks {len(missing)} images of the assembly, such as {missing[0]!r}."
        )
    table = table.loc[ids]
    column = next(one for one in ("filename", "image_file_name", "image_path_within_store") if one in table)
    paths = [folder / IMAGES / str(file) for file in table[column]]
    return Stimuli.from_files(paths, ids=ids, metadata=table.reset_index(drop=True))
