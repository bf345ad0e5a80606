"""Events: what was shown when, checked against the runs it was shown in."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from neurolens.brain.runs import iterate_runs, repetition_time
from neurolens.errors import (
    InputError,
    LabelError,
    NeurolensWarning,
    as_names,
    explain_unreadable,
    list_names,
)
from neurolens.schema import RUN, TIME

__all__ = ["Events", "read_events"]

Events = pd.DataFrame | str | os.PathLike[str] | Sequence[Any]


def read_events(
    events: Events,
    series: xr.DataArray,
    *,
    column: str = "trial_type",
    ignore: str | Sequence[str] = (),
    stimuli: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Read the events of every run, and check that they lie within it.

    Parameters
    ----------
    events
        For each run of the series, in order: a table or the path of one (tab-separated as in BIDS, or .csv) with
        the columns `onset` and `duration` in seconds since the run began, and `column`. Or one table of all with
        a column `run`. A single table will do for a single run.
    series
        DataArray (time, neuroid) with the coord `run`.
    column
        Which column names the stimulus.
    ignore
        Names of events that are no stimuli, such as "rest".
    stimuli
        The stimuli that are expected; any other one, or one that never comes, is an error.

    Returns
    -------
    DataFrame
        Columns onset, duration, stimulus (text) and run; sorted by run and onset.

    Raises
    ------
    InputError
        If columns or numbers are missing, onsets lie outside their run, or tables don't fit the runs in number.
    LabelError
        If the stimuli are not those expected.

    Warns
    -----
    NeurolensWarning
        If an event begins in its run but ends after the last volume.

    Examples
    --------
    >>> coords = {"time": np.arange(10) * 2.0, "run": ("time", ["a"] * 10)}
    >>> series = xr.DataArray(np.zeros((10, 1)), dims=("time", "neuroid"), coords=coords)
    >>> table = pd.DataFrame({"onset": [4.0], "duration": [2.0], "trial_type": ["cat"]})
    >>> read_events(table, series).stimulus.tolist()
    ['cat']
    """
    runs, left_out = dict(iterate_runs(series)), as_names(ignore, "ignore")
    parts = []
    for run, table in _by_run(events, list(runs)).items():
        table = _check_columns(table, column, f"The events of run {run!r}")
        table = table[~table["stimulus"].isin(left_out)].assign(**{RUN: run})
        end = float(series[TIME].values[runs[run]].max()) + repetition_time(series)
        _check_times(table, end, f"of run {run!r}")
        parts.append(table.sort_values("onset", kind="stable"))
    found = pd.concat(parts, ignore_index=True)
    if found.empty:
        raise InputError("The events name no stimulus at all.")
    if stimuli is not None:
        _check_stimuli(found, stimuli)
    return found


def _by_run(events: Events, runs: list[Any]) -> dict[Any, pd.DataFrame]:
    """Return one table a run."""
    if isinstance(events, pd.DataFrame | str | os.PathLike):
        table = _read_table(events)
        if RUN in table:
            return _take_apart(table, runs)
        events = [table]
    tables = [_read_table(one) for one in events]
    if len(tables) != len(runs):
        raise InputError(
            f"There are {len(tables)} tables of events for {len(runs)} runs ({list_names(runs, 5)}). Give one for "
            "each run, in order, or one table with a column 'run'."
        )
    return dict(zip(runs, tables, strict=True))


def _take_apart(table: pd.DataFrame, runs: list[Any]) -> dict[Any, pd.DataFrame]:
    """Split a table of all runs by its column `run`."""
    by_name = {str(name): part for name, part in table.groupby(RUN, sort=False)}
    unknown = [name for name in by_name if name not in {str(run) for run in runs}]
    missing = [run for run in runs if str(run) not in by_name]
    if unknown or missing:
        raise LabelError(
            f"The events name the runs {list_names(by_name, 5)}; the series has {list_names(runs, 5)}. Without "
            f"events: {list_names(missing, 5) or 'none'}; without volumes: {list_names(unknown, 5) or 'none'}."
        )
    return {run: by_name[str(run)].drop(columns=RUN) for run in runs}


def _read_table(table: Any) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        return table
    if not isinstance(table, str | os.PathLike):
        raise InputError(f"Events are a table or the path of one; got {type(table).__name__}.")
    path = os.fspath(table)
    if not os.path.isfile(path):  # noqa: PTH113 - a str is as welcome as a Path
        raise InputError(f"The file of events {path} does not exist.")
    with explain_unreadable(path):
        found: pd.DataFrame = pd.read_csv(path, sep="," if path.endswith(".csv") else "\t")
    return found


def _check_columns(table: pd.DataFrame, column: str, what: str) -> pd.DataFrame:
    """Return onset, duration and stimulus."""
    missing = [name for name in ("onset", "duration", column) if name not in table]
    if missing:
        raise InputError(
            f"{what} lack the column {list_names(missing)}; they have {list_names(table.columns)}. Name the "
            "column of stimuli with column=."
        )
    times = table[["onset", "duration"]].apply(pd.to_numeric, errors="coerce")
    bad = times.isna().any(axis=1) | table[column].isna()
    if bad.any():
        raise InputError(
            f"{what} have {int(bad.sum())} rows without onset, duration or {column} (first: row "
            f"{int(np.flatnonzero(bad)[0])}). Drop or complete them."
        )
    found: pd.DataFrame = times.assign(stimulus=table[column].astype(str))
    return found


def _check_times(table: pd.DataFrame, end: float, what: str) -> None:
    """Raise where an event is not in its run at all, and warn where it is not wholly."""
    outside = table[(table["onset"] < 0) | (table["onset"] >= end) | (table["duration"] < 0)]
    if len(outside):
        row = outside.iloc[0]
        raise InputError(
            f"{len(outside)} of {len(table)} events {what} lie outside it: {row['stimulus']!r} at "
            f"{row['onset']:g} s for {row['duration']:g} s, but the run lasts from 0 to {end:g} s. Are onsets in "
            "seconds since the first volume that was kept, and tables in the order of the runs?"
        )
    late = table[table["onset"] + table["duration"] > end + 1e-6]
    if len(late):
        row = late.iloc[0]
        warnings.warn(
            f"{len(late)} of {len(table)} events {what} end after its last volume ({end:g} s), first "
            f"{row['stimulus']!r} at {row['onset']:g} s; only what was measured of them counts.",
            NeurolensWarning,
            stacklevel=4,
        )


def _check_stimuli(found: pd.DataFrame, stimuli: Sequence[str]) -> None:
    shown, expected = set(found["stimulus"]), {str(name) for name in stimuli}
    if shown != expected:
        raise LabelError(
            f"The events don't show the stimuli that are expected. Never shown: "
            f"{list_names(sorted(expected - shown), 5) or 'none'}; not expected: "
            f"{list_names(sorted(shown - expected), 5) or 'none'}. Mend the names, or ignore= what is no stimulus."
        )
