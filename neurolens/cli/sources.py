"""What commands start from: models, stimuli, activations and brain data, as one names them on a command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from neurolens.activations import (
    Activations,
    ChosenUnits,
    Pooling,
    RandomProjection,
    StoredActivations,
    open,
    stream,
)
from neurolens.activations.reduce import Reduction
from neurolens.brain import read_responses
from neurolens.cli.failures import say
from neurolens.cli.options import Brain, Source, Weights
from neurolens.datasets import fetch, list_datasets
from neurolens.errors import InputError, LabelError, StimulusError, StoreError, list_names, near_misses
from neurolens.models import Model, load_model
from neurolens.models.libraries import SOURCES
from neurolens.rsa import read_rdms
from neurolens.schema import NEUROID, REGION, STIMULUS, STIMULUS_B
from neurolens.stimuli import Stimuli

TABLES = {".csv": ",", ".tsv": "\t"}


def load(spec: str, weights: Weights) -> Model:
    """Load a model; say so where that runs a program of the user's."""
    source, _, name = spec.rpartition(":")
    if source and name and spec.partition(":")[0] not in SOURCES:
        say(f"running the code of {source}")
    return load_model(
        spec, pretrained=not weights.untrained, checkpoint=weights.checkpoint, seed=weights.weights_seed
    )


# ------------------------------------------------------------------ stimuli


def read_stimuli(name: str, ids: str | None = None) -> Stimuli:
    """Read stimuli from a dataset, a folder, a table, a text file or one image.

    A dataset's name is the dataset; a folder of that name is written `./name`.
    """
    path = Path(name)
    kind = path.suffix.lower()
    if ids is not None and kind not in TABLES:
        raise InputError(f"--ids {ids} names a column of a table (.csv, .tsv), which {name!r} is not.")
    if name in list_datasets():
        return fetch(name).stimuli
    if path.is_dir():
        return Stimuli.from_folder(path)
    if not path.exists():
        close = near_misses(name, list_datasets(), n=2)
        hint = f" Did you mean the dataset {list_names(close)}?" if close else ""
        raise StimulusError(
            f"There are no stimuli {name!r}: it is no folder, no file, and none of the datasets "
            f"{list_names(list_datasets(), 20)}.{hint}"
        )
    if kind in TABLES:
        return _read_table(path, ids)
    if kind == ".txt":
        return _read_texts(path)
    return Stimuli.from_files([path])


def _read_table(path: Path, ids: str | None) -> Stimuli:
    try:
        frame = pd.read_csv(path, sep=TABLES[path.suffix.lower()], dtype={ids: str} if ids else None)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise StimulusError(f"{path} can't be read as a table: {error}.") from error
    columns = [str(column) for column in frame.columns]
    if ids is not None and ids not in columns:
        raise StimulusError(f"{path} has no column {ids!r} of ids; it has {list_names(columns)}.")
    if "path" in columns:
        return Stimuli.from_frame(frame, ids=ids, root=path.parent)
    if "text" not in columns:
        raise StimulusError(
            f"{path} has the columns {list_names(columns)}; one must be named 'path' (of image files, from the "
            "folder of the table) or 'text'."
        )
    labels = frame[ids] if ids is not None else [f"text_{number}" for number in range(1, len(frame) + 1)]
    rest = frame.drop(columns=["text", *([ids] if ids else [])]).reset_index(drop=True)
    return Stimuli.from_texts(frame["text"].astype(str), ids=labels, metadata=rest)


def _read_texts(path: Path) -> Stimuli:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise StimulusError(f"{path} is no text in UTF-8: {error}. Save it in UTF-8.") from error
    texts = {f"line_{number}": line for number, line in enumerate(lines, 1) if line.strip()}
    if not texts:
        raise StimulusError(f"{path} holds no text; expected one a line.")
    return Stimuli.from_texts(texts.values(), ids=texts)


# ------------------------------------------------------------------ activations


def read_reduction(text: str | None) -> Reduction | None:
    """Read `mean`, `max`, `random:N` or `units:N`."""
    if text is None:
        return None
    name, _, number = text.partition(":")
    if name in ("mean", "max") and not number:
        return Pooling(method="mean" if name == "mean" else "max")
    counted: dict[str, Callable[[int], Reduction]] = {"random": RandomProjection, "units": ChosenUnits}
    if name in counted and number.isdecimal():
        return counted[name](int(number))
    raise InputError(
        f"--reduce {text} is not known: write mean, max, random:N or units:N, with a number for N, as in random:1000."
    )


def open_source(chosen: Source) -> Activations:
    """Open a store, or run a model over stimuli and store nothing."""
    if chosen.stimuli is None:
        _refuse_of_models(chosen)
        stored = _open_store(chosen.source)
        return stored.select(list(chosen.ops)) if chosen.ops else stored
    if Path(chosen.source).is_dir():
        raise InputError(
            f"{chosen.source} is a store, which has its own stimuli; leave --stimuli out, or name a model."
        )
    return stream(
        load(chosen.source, chosen),
        read_stimuli(chosen.stimuli, chosen.ids),
        ops=list(chosen.ops) if chosen.ops else "**",
        memory=chosen.memory,
        batch_size=chosen.batch_size,
        progress=not chosen.quiet,
    )


def _refuse_of_models(chosen: Source) -> None:
    """Raise InputError for an option that says how a model is run, where none is."""
    options = {
        "--untrained": chosen.untrained,
        "--weights-seed": chosen.weights_seed is not None,
        "--checkpoint": chosen.checkpoint is not None,
        "--ids": chosen.ids is not None,
    }
    given = [name for name, is_given in options.items() if is_given]
    if given:
        raise InputError(f"{given[0]} is for a model that is run here: say over which --stimuli.")


def _open_store(source: str) -> StoredActivations:
    path = Path(source)
    if not path.exists() and ":" in source:
        raise InputError(f"{source} is no store. If it is a model, say what it is shown: --stimuli.")
    if path.is_file():
        raise StoreError(
            f"{source} is a file; expected the folder of a store that `neurolens extract` wrote."
        )
    return open(path)


# ------------------------------------------------------------------ brain data


def read_brain(chosen: Brain) -> xr.DataTree:
    """Read responses or RDMs: one node a region, or one array whose neuroids name their regions."""
    name, regions, ids = chosen.brain, chosen.region, chosen.brain_ids
    variable, dims = chosen.variable, chosen.dims
    path = Path(name)
    if name in list_datasets():
        for option, value in (("--variable", variable), ("--dims", dims), ("--brain-ids", ids)):
            if value is not None:
                raise InputError(f"{option} {value} is about a file, and {name!r} is a dataset.")
        return fetch(name, regions=list(regions) if regions else None).brain
    if not path.exists():
        raise InputError(
            f"There are no brain data {name!r}: it is no file, and none of the datasets "
            f"{list_names(list_datasets(), 20)}."
        )
    axes = tuple(part.strip() for part in dims.split(",")) if dims else ()
    if path.suffix == ".nc" and not axes and ids is None:
        tree = _read_netcdf(path, variable)
    elif axes[-2:] == (STIMULUS, STIMULUS_B):
        tree = _plant(_read_rdms(path, axes[:-2], variable, ids))
    else:
        labels = None if ids is None else _read_ids(ids)
        tree = _plant(read_responses(path, variable=variable, dims=axes or None, stimulus=labels))
    return tree if not regions else _choose_regions(tree, list(regions), name)


def _read_netcdf(path: Path, variable: str | None) -> xr.DataTree:
    classic = path.read_bytes()[:3] == b"CDF"  # netCDF 3, which has no groups
    tree = xr.DataTree(xr.load_dataset(path)) if classic else xr.load_datatree(path)
    if variable is not None:
        if variable not in tree.data_vars:
            raise InputError(
                f"{path} has no array {variable!r} at its root; it has {list_names(tree.data_vars)}."
            )
        return _plant(tree.to_dataset()[variable])
    if len(tree.data_vars) > 1:  # as a Dataset from region to array
        return xr.DataTree.from_dict(
            {str(region): array.to_dataset(name="brain") for region, array in tree.data_vars.items()}
        )
    return tree


def _read_rdms(path: Path, lead: tuple[str, ...], variable: str | None, ids: str | None) -> xr.DataArray:
    if ids is None:
        raise LabelError(
            f"{path} does not name its stimuli, and these are joined by label: give --brain-ids."
        )
    labels = _read_ids(ids)
    if isinstance(labels, str):
        raise LabelError(f"--brain-ids {ids}: there is no such file; RDMs take their ids from one.")
    rdms = read_rdms(path, stimulus=labels, dims=lead, variable=variable)
    missing = [dim for dim in lead if dim not in rdms.coords]
    return rdms.assign_coords({dim: list(range(1, rdms.sizes[dim] + 1)) for dim in missing})


def _read_ids(ids: str) -> str | list[str]:
    """Return the lines of a file or the first column of a table; what is no file is the name of an array."""
    path = Path(ids)
    if not path.is_file():
        return ids
    if path.suffix.lower() in TABLES:
        frame = pd.read_csv(path, sep=TABLES[path.suffix.lower()], dtype=str)
        return [str(label) for label in frame.iloc[:, 0]]
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _plant(array: xr.DataArray) -> xr.DataTree:
    return xr.DataTree(array.to_dataset(name="brain"))


def _choose_regions(tree: xr.DataTree, regions: list[str], name: str) -> xr.DataTree:
    if tree.children:
        _check_regions(regions, tree.children, name)
        return xr.DataTree.from_dict({region: tree.children[region] for region in regions})
    dataset = tree.to_dataset()
    if REGION not in dataset.coords:
        raise LabelError(f"--region {regions[0]}: {name} names no regions.")
    labels = dataset[REGION].values
    _check_regions(regions, dict.fromkeys(labels.tolist()), name)
    dim = REGION if REGION in dataset.dims else NEUROID
    return xr.DataTree(dataset.isel({dim: [k for k, label in enumerate(labels) if str(label) in regions]}))


def _check_regions(regions: Sequence[str], there: Any, name: str) -> None:
    missing = [region for region in regions if region not in there]
    if missing:
        raise LabelError(f"{name} has no region {list_names(missing)}; it has {list_names(there, 20)}.")
