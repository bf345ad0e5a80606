"""Interop: Brain-Score assemblies, rsatoolbox datasets and MNE epochs, to labelled responses and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurolens.brain.extras import import_extra
from neurolens.brain.repetitions import CONDITION, flatten_repetitions, stack_repetitions
from neurolens.brain.responses import check_responses
from neurolens.errors import InputError, LabelError, list_names
from neurolens.schema import NEUROID, PRESENTATION, REPETITION, STIMULUS, SUBJECT, TIME

__all__ = ["from_brainscore", "from_mne", "from_rsatoolbox", "to_brainscore", "to_rsatoolbox"]

TIME_BIN = "time_bin"
IDS = ("stimulus_id", "image_id")  # Brain-Score's name of today, and of the published files


def from_brainscore(assembly: xr.DataArray) -> xr.DataArray:
    """Read a Brain-Score assembly.

    Parameters
    ----------
    assembly
        DataArray (presentation, neuroid[, time_bin]) in any order, with coords on these dims, as levels of an
        index or plain; `stimulus_id` or `image_id` of `presentation` names the stimulus.

    Returns
    -------
    DataArray ([repetition,] stimulus, neuroid[, time])
        A single time bin is dropped; several become `time`, the middle of each in seconds. `animal` becomes
        `subject`. No `repetition` where every stimulus comes once.

    Raises
    ------
    LabelError
        If dims or ids of stimuli are missing.

    References
    ----------
    Schrimpf et al., Neuron 2020, doi:10.1016/j.neuron.2020.07.040.

    Examples
    --------
    >>> from neurolens import brain
    >>> data = brain.responses(np.zeros((2, 3, 4)), stimulus=["a", "b", "c"], region="IT")
    >>> from_brainscore(to_brainscore(data)).sizes
    Frozen({'repetition': 2, 'stimulus': 3, 'neuroid': 4})
    """
    plain = xr.DataArray(assembly) if type(assembly) is xr.DataArray else _as_plain(assembly)
    missing = [dim for dim in (PRESENTATION, NEUROID) if dim not in plain.dims]
    if missing:
        raise LabelError(
            f"An assembly has the dims 'presentation' and 'neuroid'; this has {list_names(plain.dims)}."
        )
    for dim in (PRESENTATION, NEUROID, TIME_BIN):
        if dim in plain.indexes:
            plain = plain.reset_index(dim)
            plain = plain.drop_vars(dim, errors="ignore")
    name = next((name for name in IDS if name in plain.coords), None)
    if name is None:
        raise LabelError(
            f"The assembly has neither 'stimulus_id' nor 'image_id'; it has {list_names(plain.coords)}."
        )
    plain = plain.rename({name: STIMULUS}).drop_vars([REPETITION, *IDS], errors="ignore")
    renamed = {"animal": SUBJECT} if "animal" in plain.coords and SUBJECT not in plain.coords else {}
    plain = _read_time_bins(plain.rename(renamed))
    if "neuroid_id" in plain.coords:
        plain = plain.assign_coords({NEUROID: plain["neuroid_id"].values})
    stacked = stack_repetitions(plain)
    return stacked.isel({REPETITION: 0}, drop=True) if stacked.sizes[REPETITION] == 1 else stacked


def to_brainscore(data: xr.DataArray) -> xr.DataArray:
    """Write responses in the form that Brain-Score's NeuroidAssembly is made from.

    Parameters
    ----------
    data
        DataArray ([repetition,] stimulus, neuroid[, time]).

    Returns
    -------
    DataArray (presentation, neuroid[, time_bin])
        Coords `stimulus_id` and `repetition` of `presentation`, `neuroid_id` of `neuroid`, `time_bin_start` and
        `time_bin_end` in ms (equal, for time points), and all others. ``NeuroidAssembly(array)`` makes its
        indexes of them.

    Raises
    ------
    InputError, LabelError
        As `check_responses`.

    Examples
    --------
    >>> from neurolens import brain
    >>> to_brainscore(brain.responses(np.zeros((2, 3)), stimulus=["a", "b"])).stimulus_id.values.tolist()
    ['a', 'b']
    """
    data = check_responses(data, time=True)
    flat = flatten_repetitions(data) if REPETITION in data.dims else data
    condition = flat[CONDITION].values if CONDITION in flat.coords else flat[STIMULUS].values
    repetition = flat[REPETITION].values if REPETITION in flat.coords else np.zeros(len(condition), int)
    ids = flat[NEUROID].values
    flat = flat.drop_vars([CONDITION, REPETITION, STIMULUS, NEUROID], errors="ignore")
    flat = flat.rename({STIMULUS: PRESENTATION}).assign_coords(
        stimulus_id=(PRESENTATION, condition),
        repetition=(PRESENTATION, repetition),
        neuroid_id=(NEUROID, ids),
    )
    if TIME not in flat.dims:
        return flat
    milliseconds = flat[TIME].values * 1000
    bins = {"time_bin_start": (TIME_BIN, milliseconds), "time_bin_end": (TIME_BIN, milliseconds)}
    return flat.drop_vars(TIME).rename({TIME: TIME_BIN}).assign_coords(bins)


def from_rsatoolbox(dataset: Any, *, stimulus: str = "stimulus") -> xr.DataArray:
    """Read a dataset of rsatoolbox.

    Parameters
    ----------
    dataset
        An rsatoolbox Dataset or TemporalDataset.
    stimulus
        Which descriptor of observations names the stimulus ("conds" in many of its examples). What comes again
        is a repetition.

    Returns
    -------
    DataArray ([repetition,] stimulus, neuroid[, time])
        Descriptors of observations, channels and time become coords. No `repetition` where every stimulus comes
        once.

    Raises
    ------
    LabelError
        If there is no such descriptor.

    References
    ----------
    Nili et al., PLoS Computational Biology 2014, doi:10.1371/journal.pcbi.1003553.

    Examples
    --------
    >>> from rsatoolbox.data import Dataset
    >>> trials = Dataset(np.zeros((4, 3)), obs_descriptors={"conds": ["a", "b", "a", "b"]})
    >>> from_rsatoolbox(trials, stimulus="conds").sizes
    Frozen({'repetition': 2, 'stimulus': 2, 'neuroid': 3})
    """
    described = dict(dataset.obs_descriptors)
    if stimulus not in described:
        raise LabelError(
            f"The dataset has no descriptor {stimulus!r} of observations; it has {list_names(described)}."
        )
    coords: dict[str, Any] = {STIMULUS: (PRESENTATION, np.asarray(described.pop(stimulus)))}
    ignored = {"index", REPETITION}
    coords |= {key: (PRESENTATION, np.asarray(v)) for key, v in described.items() if key not in ignored}
    channels = {key: np.asarray(v) for key, v in dataset.channel_descriptors.items() if key != "index"}
    coords |= {key: (NEUROID, column) for key, column in channels.items()}
    if NEUROID in channels:
        coords[NEUROID] = channels[NEUROID]
    values = np.asarray(dataset.measurements)
    dims: tuple[str, ...] = (PRESENTATION, NEUROID)
    if values.ndim == 3:
        dims = (*dims, TIME)
        coords[TIME] = np.asarray(dataset.time_descriptors["time"], dtype=np.float64)
    trials = xr.DataArray(values, dims=dims, coords=coords, attrs=_plain_attrs(dataset.descriptors))
    stacked = stack_repetitions(trials)
    return stacked.isel({REPETITION: 0}, drop=True) if stacked.sizes[REPETITION] == 1 else stacked


def to_rsatoolbox(data: xr.DataArray) -> Any:
    """Write responses as a dataset of rsatoolbox.

    Parameters
    ----------
    data
        DataArray ([repetition,] stimulus, neuroid[, time]).

    Returns
    -------
    rsatoolbox.data.Dataset, or TemporalDataset where there is `time`
        Descriptors: `stimulus`, `repetition` and every other coord of stimuli for observations; coords of
        `neuroid` for channels; attrs of text and numbers for the dataset.

    Raises
    ------
    InputError
        If rsatoolbox is not installed.

    Examples
    --------
    >>> from neurolens import brain
    >>> to_rsatoolbox(brain.responses(np.zeros((2, 3)), stimulus=["a", "b"])).measurements.shape
    (2, 3)
    """
    module = import_extra("rsatoolbox.data", "interop")
    data = check_responses(data, time=True)
    flat = flatten_repetitions(data) if REPETITION in data.dims else data
    observations = {
        str(name): coord.values.tolist() for name, coord in flat.coords.items() if coord.dims == (STIMULUS,)
    }
    if CONDITION in observations:
        observations[STIMULUS] = observations.pop(CONDITION)
    channels = {
        str(name): coord.values.tolist() for name, coord in flat.coords.items() if coord.dims == (NEUROID,)
    }
    given = {
        "measurements": np.asarray(flat.values),
        "descriptors": _plain_attrs(flat.attrs),
        "obs_descriptors": observations,
        "channel_descriptors": channels,
    }
    if TIME not in flat.dims:
        return module.Dataset(**given)
    return module.TemporalDataset(**given, time_descriptors={TIME: flat[TIME].values.tolist()})


def from_mne(epochs: Any, *, stimulus: str | Sequence[object] | None = None) -> xr.DataArray:
    """Read epochs of MNE: MEG or EEG responses resolved in time.

    Parameters
    ----------
    epochs
        An mne.Epochs or EpochsArray, or anything with `get_data()`, `times`, `ch_names`, `events` and `event_id`.
    stimulus
        A column of `epochs.metadata`, or one label an epoch; by default the names of `event_id`.

    Returns
    -------
    DataArray ([repetition,] stimulus, neuroid, time)
        In the units of MNE (V, T, T/m). `neuroid` is the channel's name, `time` in seconds; coords
        `channel_type`, and x, y, z in mm in the frame of the head or device, where epochs tell. No `repetition`
        where every stimulus comes once.

    Raises
    ------
    InputError
        If `epochs` lacks what is needed.
    LabelError
        If labels are missing or don't fit.

    References
    ----------
    Gramfort et al., Frontiers in Neuroscience 2013, doi:10.3389/fnins.2013.00267.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> epochs = SimpleNamespace(get_data=lambda: np.zeros((2, 3, 5)), times=np.arange(5) / 100,
    ...     ch_names=["Oz", "O1", "O2"], events=np.array([[0, 0, 1], [9, 0, 2]]), event_id={"cat": 1, "dog": 2})
    >>> from_mne(epochs).sizes
    Frozen({'stimulus': 2, 'neuroid': 3, 'time': 5})
    """
    missing = [
        name for name in ("get_data", "times", "ch_names", "events", "event_id") if not hasattr(epochs, name)
    ]
    if missing:
        raise InputError(f"{type(epochs).__name__} has no {list_names(missing)}; give epochs of MNE.")
    values = np.asarray(epochs.get_data())
    names = [str(name) for name in epochs.ch_names]
    labels = _label_epochs(epochs, stimulus)
    if values.shape != (len(labels), len(names), len(epochs.times)):
        raise LabelError(
            f"The epochs' data have shape {values.shape}, but there are {len(labels)} labels, {len(names)} channels "
            f"and {len(epochs.times)} times."
        )
    coords: dict[str, Any] = {
        STIMULUS: (PRESENTATION, labels),
        NEUROID: names,
        TIME: np.asarray(epochs.times, dtype=np.float64),
    }
    if hasattr(epochs, "get_channel_types"):
        coords["channel_type"] = (NEUROID, np.array(epochs.get_channel_types(), dtype=object))
    coords |= _place_channels(epochs, len(names))
    trials = xr.DataArray(values, dims=(PRESENTATION, NEUROID, TIME), coords=coords)
    stacked = stack_repetitions(trials)
    return stacked.isel({REPETITION: 0}, drop=True) if stacked.sizes[REPETITION] == 1 else stacked


def _as_plain(assembly: xr.DataArray) -> xr.DataArray:
    """Return a DataArray of xarray's own class: subclasses answer some questions differently."""
    return xr.DataArray(assembly.variable, coords=assembly.coords, name=assembly.name)


def _read_time_bins(plain: xr.DataArray) -> xr.DataArray:
    """Turn bins in ms into time in seconds, and drop a single one."""
    if TIME_BIN not in plain.dims:
        return plain
    if plain.sizes[TIME_BIN] == 1:
        return plain.isel({TIME_BIN: 0}, drop=True).drop_vars(
            ["time_bin_start", "time_bin_end"], errors="ignore"
        )
    if "time_bin_start" not in plain.coords or "time_bin_end" not in plain.coords:
        raise LabelError("The assembly has several time bins, but no 'time_bin_start' and 'time_bin_end'.")
    middle = (plain["time_bin_start"].values + plain["time_bin_end"].values) / 2000
    plain = plain.drop_vars(["time_bin_start", "time_bin_end", TIME_BIN], errors="ignore")
    return plain.rename({TIME_BIN: TIME}).assign_coords({TIME: middle})


def _plain_attrs(described: Any) -> dict[str, Any]:
    """Keep what any file format can hold."""
    return {str(key): value for key, value in dict(described).items() if isinstance(value, str | int | float)}


def _label_epochs(epochs: Any, stimulus: str | Sequence[object] | None) -> np.ndarray[Any, Any]:
    """Return what every epoch showed."""
    if isinstance(stimulus, str):
        table = getattr(epochs, "metadata", None)
        if not isinstance(table, pd.DataFrame) or stimulus not in table:
            known = list_names(table.columns) if isinstance(table, pd.DataFrame) else "no metadata"
            raise LabelError(f"The epochs' metadata have no column {stimulus!r}: {known}.")
        return table[stimulus].to_numpy()
    if stimulus is not None:
        return np.array(list(stimulus), dtype=object)
    names = {code: name for name, code in epochs.event_id.items()}
    codes = np.asarray(epochs.events)[:, 2].tolist()
    unknown = sorted(set(codes) - set(names))
    if unknown:
        raise LabelError(f"event_id names no stimulus for the codes {list_names(unknown)}.")
    return np.array([names[code] for code in codes], dtype=object)


def _place_channels(epochs: Any, n_channels: int) -> dict[str, Any]:
    """Return x, y and z of every channel in mm, where the epochs tell them."""
    info = getattr(epochs, "info", None)
    if info is None or "chs" not in info or len(info["chs"]) != n_channels:
        return {}
    place = np.array([np.asarray(channel["loc"], dtype=float)[:3] for channel in info["chs"]]) * 1000
    return {name: (NEUROID, place[:, axis]) for axis, name in enumerate("xyz")}
