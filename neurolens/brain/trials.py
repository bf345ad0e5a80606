"""Trials: from cleaned series and events to one response for every time a stimulus was shown."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from neurolens.brain.events import Events, read_events
from neurolens.brain.extras import import_extra
from neurolens.brain.repetitions import stack_repetitions
from neurolens.brain.runs import check_series, iterate_runs, read_confounds, repetition_time
from neurolens.errors import InputError, NeurolensWarning, as_names, check_choice, check_count
from neurolens.numerics.digest import compute_digest
from neurolens.schema import NEUROID, PRESENTATION, RUN, STIMULUS, TIME, hash_array, provenance

__all__ = ["average_blocks", "fit_betas"]

Method = Literal["glm", "lsa", "lss", "fir"]
NoiseModel = Literal["ar1", "ols"]


def average_blocks(
    series: xr.DataArray,
    events: Events,
    *,
    delay: float = 5.0,
    column: str = "trial_type",
    ignore: str | Sequence[str] = (),
    stimuli: Sequence[str] | None = None,
) -> xr.DataArray:
    """Average the volumes of every block, moved by the delay of the haemodynamic response.

    Parameters
    ----------
    series
        DataArray (time, neuroid) with the coord `run`, as `clean_series` gives it.
    events, column, ignore, stimuli
        As for `read_events`.
    delay
        Seconds: a block is the volumes from onset + delay up to onset + duration + delay.

    Returns
    -------
    DataArray (repetition, stimulus, neuroid)
        The first repetition of a stimulus is its first block; NaN where it has fewer than another. Coords `run`
        and `onset` (repetition, stimulus), and all coords of `neuroid`; attrs of the series, method and
        parameters.

    Raises
    ------
    InputError
        As `read_events`; also if no volume falls into a block.

    Examples
    --------
    >>> coords = {"time": np.arange(10) * 2.0, "run": ("time", [1] * 10)}
    >>> series = xr.DataArray(np.arange(10.0)[:, None], dims=("time", "neuroid"), coords=coords)
    >>> table = pd.DataFrame({"onset": [0.0], "duration": [4.0], "trial_type": ["cat"]})
    >>> average_blocks(series, table, delay=4.0).values.ravel().tolist()
    [2.5]
    """
    series = check_series(series)
    table = read_events(events, series, column=column, ignore=ignore, stimuli=stimuli)
    runs = dict(iterate_runs(series))
    means = np.empty((len(table), series.sizes[NEUROID]), dtype=series.dtype)
    columns = (table[name].tolist() for name in (RUN, "stimulus", "onset", "duration"))
    for row, (run, stimulus, onset, duration) in enumerate(zip(*columns, strict=True)):
        rows = runs[run]
        seconds = series[TIME].values[rows]
        start = onset + delay
        inside = rows[(seconds >= start - 1e-6) & (seconds < start + duration - 1e-6)]
        if inside.size == 0:
            raise InputError(
                f"No volume of run {run!r} falls into the block {stimulus!r} ({onset:g} s for "
                f"{duration:g} s, delayed by {delay:g} s). For events shorter than a volume use fit_betas."
            )
        means[row] = series.values[inside].mean(axis=0, dtype=np.float64)
    parameters = {"delay": delay, "column": column, "ignore": as_names(ignore, "ignore")}
    return _stack(means, table, series, "block-average", parameters, {})


def fit_betas(
    series: xr.DataArray,
    events: Events,
    *,
    method: Method = "glm",
    noise_model: NoiseModel = "ar1",
    confounds: Sequence[ArrayLike] | None = None,
    fir_delays: Sequence[int] | None = None,
    column: str = "trial_type",
    ignore: str | Sequence[str] = (),
    stimuli: Sequence[str] | None = None,
    **design: Any,
) -> xr.DataArray:
    """Fit a general linear model to each run, by nilearn, and give its betas as responses.

    Parameters
    ----------
    series
        DataArray (time, neuroid) with the coord `run`. Its units are those of the betas: give
        `clean_series(series, detrend=False, standardize="percent")` for % signal change, as nilearn's
        FirstLevelModel scales it.
    events, column, ignore, stimuli
        As for `read_events`.
    method
        "glm": one regressor a stimulus and run, so that a repetition is a run. "lsa": one regressor a trial, all
        in one model (least squares all). "lss": for each trial a model of that trial, and the others of every
        stimulus together (least squares separate), for trials that overlap. "fir": one regressor a stimulus, run
        and delay, whatever the shape of the response.
    noise_model
        "ar1" or "ols".
    confounds
        Further regressors: a list, for each run one array or table (n_volumes, n_confounds); of a single run the
        table alone will do.
    fir_delays
        Delays in volumes, for "fir" alone: 0 to 7 by default.
    **design
        Passed on to nilearn's make_first_level_design_matrix: hrf_model ("glover"), drift_model ("cosine"),
        high_pass (0.01), drift_order.

    Returns
    -------
    DataArray (repetition, stimulus, neuroid[, time])
        For "fir" with `time`, seconds of delay. NaN where a stimulus has fewer repetitions than another, and for
        voxels that are NaN. Coords `run` and, for single trials, `onset` (repetition, stimulus).

    Raises
    ------
    InputError
        As `read_events`; also if a run has no more volumes than its model has regressors, or an option has no
        meaning for the method.

    Warns
    -----
    NeurolensWarning
        If nilearn says something of a model, such as that its regressors depend on each other.

    References
    ----------
    Mumford et al., NeuroImage 2012, doi:10.1016/j.neuroimage.2011.08.076.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> coords = {"time": np.arange(60) * 2.0, "run": ("time", [1] * 60)}
    >>> series = xr.DataArray(rng.normal(size=(60, 3)), dims=("time", "neuroid"), coords=coords)
    >>> table = pd.DataFrame({"onset": [10.0, 60.0], "duration": 2.0, "trial_type": ["cat", "dog"]})
    >>> dict(fit_betas(series, table).sizes)
    {'repetition': 1, 'stimulus': 2, 'neuroid': 3}
    """
    check_choice(method, _METHODS, "method")
    check_choice(noise_model, ("ar1", "ols"), "noise_model")
    design |= _choose_delays(method, fir_delays, design)
    series = check_series(series)
    table = read_events(events, series, column=column, ignore=ignore, stimuli=stimuli)
    runs = list(iterate_runs(series))
    regressors = read_confounds(confounds, runs)
    alive = np.isfinite(series.values).all(axis=0)
    fits = []
    for number, (run, rows) in enumerate(runs):
        glm = _Run(
            run=run,
            values=series.values[np.ix_(rows, alive)].astype(np.float64),
            seconds=series[TIME].values[rows],
            confounds=regressors[number],
            noise_model=noise_model,
            design=design,
        )
        fits.append(_METHODS[method](glm, table[table[RUN] == run]))
    trials = pd.concat([trials for trials, _ in fits], ignore_index=True)
    found = np.concatenate([betas for _, betas in fits])
    betas = np.full((len(found), alive.size, *found.shape[2:]), np.nan)
    betas[:, alive] = found
    parameters = {
        "method": method,
        "noise_model": noise_model,
        "column": column,
        "ignore": as_names(ignore, "ignore"),
    }
    delays = np.array(design["fir_delays"]) * repetition_time(series) if method == "fir" else None
    taken_out = [one for one in regressors if one is not None]
    inputs = {"confounds": compute_digest(np.concatenate(taken_out, axis=None))} if taken_out else {}
    return _stack(betas, trials, series, f"betas-{method}", parameters | design, inputs, delays)


def _choose_delays(method: str, delays: Sequence[int] | None, design: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `method="fir"` asks of nilearn, and nothing for other methods."""
    if method != "fir":
        if delays is not None or design.get("hrf_model") == "fir":
            raise InputError(f"Responses at several delays are for method='fir', not method={method!r}.")
        return {}
    if design.get("hrf_model", "fir") != "fir":
        raise InputError(f"method='fir' takes no hrf_model, which is {design['hrf_model']!r}; leave it out.")
    chosen = list(range(8) if delays is None else delays)
    for delay in chosen:
        check_count(delay, "A delay of fir_delays", 0)
    return {"hrf_model": "fir", "fir_delays": [int(delay) for delay in chosen]}


@dataclass(frozen=True)
class _Run:
    """One run's series, and the model of it with some events."""

    run: Any
    values: NDArray[np.float64]
    seconds: NDArray[np.float64]
    confounds: NDArray[np.float64] | None
    noise_model: str
    design: dict[str, Any]

    def fit(self, events: pd.DataFrame) -> tuple[list[str], NDArray[np.float64]]:
        """Return the names of the model's regressors and their betas (regressor, voxel)."""
        glm = import_extra("nilearn.glm.first_level")
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            matrix = glm.make_first_level_design_matrix(
                self.seconds,
                events[["onset", "duration", "trial_type"]],
                add_regs=self.confounds,
                **self.design,
            )
        if len(matrix) <= matrix.shape[1]:
            raise InputError(
                f"Run {self.run!r} has {len(matrix)} volumes, but its model has {matrix.shape[1]} regressors, so "
                "that it would fit anything. Use fewer: another method, fewer delays or confounds, or a lower "
                "high_pass."
            )
        for complaint in complaints:
            message = f"The model of run {self.run!r}: {complaint.message}"
            warnings.warn(message, NeurolensWarning, stacklevel=5)
        labels, results = glm.run_glm(self.values, matrix.values, noise_model=self.noise_model)
        betas = np.empty((matrix.shape[1], self.values.shape[1]))
        for label, result in results.items():
            betas[:, labels == label] = result.theta
        return [str(name) for name in matrix.columns], betas


Fit = tuple[pd.DataFrame, NDArray[np.float64]]


def _fit_conditions(run: _Run, table: pd.DataFrame) -> Fit:
    """Give one beta a stimulus."""
    codes, events = _encode(table, table["stimulus"])
    names, betas = run.fit(events)
    trials = table.drop_duplicates("stimulus")[["stimulus", RUN]]
    return trials, betas[[names.index(codes[name]) for name in trials["stimulus"]]]


def _fit_delays(run: _Run, table: pd.DataFrame) -> Fit:
    """Give one beta a stimulus and delay: (trial, voxel, delay)."""
    codes, events = _encode(table, table["stimulus"])
    names, betas = run.fit(events)
    trials = table.drop_duplicates("stimulus")[["stimulus", RUN]]
    columns = [
        [names.index(f"{codes[name]}_delay_{delay}") for delay in run.design["fir_delays"]]
        for name in trials["stimulus"]
    ]
    return trials, betas[np.array(columns)].transpose(0, 2, 1)


def _fit_all(run: _Run, table: pd.DataFrame) -> Fit:
    """Give one beta a trial, from one model with a regressor for each."""
    keys = pd.Series(np.arange(len(table)).astype(str), index=table.index)
    codes, events = _encode(table, keys)
    names, betas = run.fit(events)
    return table, betas[[names.index(codes[key]) for key in keys]]


def _fit_separate(run: _Run, table: pd.DataFrame) -> Fit:
    """Give one beta a trial, each from a model of its own."""
    rows = []
    for position in range(len(table)):
        keys = table["stimulus"].copy()
        keys.iloc[position] = "\0this trial"
        codes, events = _encode(table, keys)
        names, betas = run.fit(events)
        rows.append(betas[names.index(codes["\0this trial"])])
    return table, np.stack(rows)


_METHODS = {"glm": _fit_conditions, "lsa": _fit_all, "lss": _fit_separate, "fir": _fit_delays}


def _encode(table: pd.DataFrame, keys: pd.Series) -> tuple[dict[str, str], pd.DataFrame]:
    """Name regressors by plain words: nilearn changes names that are no Python identifiers."""
    codes = {key: f"event_{number}" for number, key in enumerate(dict.fromkeys(keys))}
    return codes, table[["onset", "duration"]].assign(trial_type=keys.map(codes))


def _stack(
    values: NDArray[Any],
    table: pd.DataFrame,
    series: xr.DataArray,
    method: str,
    parameters: dict[str, object],
    inputs: dict[str, str],
    delays: NDArray[np.float64] | None = None,
) -> xr.DataArray:
    """Label single trials and bring them to one place a stimulus and repetition."""
    coords: dict[str, Any] = {
        str(name): coord for name, coord in series.coords.items() if TIME not in coord.dims and name != TIME
    }
    columns = [name for name in (STIMULUS, RUN, "onset") if name in table]
    coords |= {name: (PRESENTATION, table[name].to_numpy()) for name in columns}
    dims: tuple[str, ...] = (PRESENTATION, NEUROID)
    if delays is not None:
        dims, coords = (*dims, TIME), coords | {TIME: delays}
    inputs = {"series": hash_array(series), "events": _hash_events(table), **inputs}
    attrs = dict(series.attrs) | provenance(method, parameters=parameters, inputs=inputs)
    return stack_repetitions(xr.DataArray(values, dims=dims, coords=coords, attrs=attrs))


def _hash_events(table: pd.DataFrame) -> str:
    numbers = pd.util.hash_pandas_object(table.drop(columns=RUN).astype(str), index=False).to_numpy()
    return f"{int(np.bitwise_xor.reduce(numbers * np.arange(1, 2 * numbers.size, 2, dtype=np.uint64))):016x}"
