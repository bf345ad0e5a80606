"""Runs: series of volumes that nothing may cross: neither cleaning, nor delays, nor the haemodynamic response."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from neurolens.brain.extras import import_extra
from neurolens.errors import InputError, LabelError, NeurolensWarning, check_choice, is_between
from neurolens.schema import NEUROID, RUN, TIME, require_dims, require_labels

__all__ = [
    "check_series",
    "clean_series",
    "convolve_hrf",
    "delay_features",
    "iterate_runs",
    "repetition_time",
]

Standardize = Literal["zscore", "percent", "none"]
HRF = Literal["glover", "spm"]

DELAY = "delay"

_STANDARDIZE = {"zscore": "zscore_sample", "percent": "psc", "none": None}
_UNITS = {"zscore": "standard deviations", "percent": "% of the mean"}


def clean_series(
    series: xr.DataArray,
    *,
    detrend: bool = True,
    standardize: Standardize = "zscore",
    high_pass: float | None = None,
    confounds: Sequence[ArrayLike] | None = None,
) -> xr.DataArray:
    """Remove drifts and confounds from each run on its own, and bring runs to one scale.

    Parameters
    ----------
    series
        DataArray (time, neuroid) with the coord `run` of `time`, as `read_bold` gives it.
    detrend
        Remove each run's mean and linear trend.
    standardize
        "zscore": mean 0 and standard deviation 1 (n - 1) in each run; "percent": % of the run's mean, which
        needs `detrend=False`, for a detrended series has mean 0; "none".
    high_pass
        Remove slower changes than this, in Hz, by discrete cosines.
    confounds
        Regressors to remove: a list, for each run one array or table (n_volumes, n_confounds); of a single run the
        table alone will do.

    Returns
    -------
    DataArray (time, neuroid), float32
        Voxels that are constant or NaN in any run are NaN throughout.

    Raises
    ------
    InputError
        If options contradict each other, or confounds don't fit the runs.
    LabelError
        If dims or the coord `run` are missing.

    Warns
    -----
    NeurolensWarning
        If voxels are constant or NaN.

    References
    ----------
    The nilearn developers, https://nilearn.github.io, doi:10.5281/zenodo.8397156.

    Examples
    --------
    >>> values = np.arange(10.0)[:, None] + np.random.default_rng(0).normal(size=(10, 2))
    >>> coords = {"time": np.tile(np.arange(5) * 2.0, 2), "run": ("time", [1] * 5 + [2] * 5)}
    >>> series = xr.DataArray(values, dims=("time", "neuroid"), coords=coords)
    >>> abs(clean_series(series).groupby("run").mean()).round(6).values.ravel().tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    check_choice(standardize, _STANDARDIZE, "standardize")
    if standardize == "percent" and detrend:
        raise InputError(
            'standardize="percent" divides by the mean, which detrending removes: detrend=False.'
        )
    signal = import_extra("nilearn.signal")
    series = check_series(series)
    parts = list(iterate_runs(series))
    regressors = read_confounds(confounds, parts)
    seconds = repetition_time(series)
    cleaned = np.full(series.shape, np.nan, dtype=np.float32)
    alive = np.ones(series.sizes[NEUROID], dtype=bool)
    for _, rows in parts:
        part = series.values[rows]
        alive &= (part.min(axis=0) < part.max(axis=0)) & np.isfinite(part).all(axis=0)
    for extra, (_, rows) in zip(regressors, parts, strict=True):
        cleaned[np.ix_(rows, alive)] = signal.clean(
            series.values[np.ix_(rows, alive)].astype(np.float64),
            detrend=detrend,
            standardize=_STANDARDIZE[standardize],
            confounds=extra,
            filter="cosine" if high_pass is not None else False,
            high_pass=high_pass,
            t_r=seconds,
        )
    if not alive.all():
        warnings.warn(
            f"{int((~alive).sum())} of {alive.size} neuroids are constant or NaN in some run; they are NaN now.",
            NeurolensWarning,
            stacklevel=2,
        )
    units = {"units": _UNITS[standardize]} if standardize in _UNITS else {}
    return series.copy(data=cleaned).assign_attrs(units)


def delay_features(features: xr.DataArray, delays: Sequence[int]) -> xr.DataArray:
    """Put features beside copies of themselves from some volumes earlier, never from another run.

    Parameters
    ----------
    features
        DataArray whose first dim has the coord `run`: (time, ...) or (stimulus, ...).
    delays
        Volumes by which the response lags behind, such as [1, 2, 3, 4]; whole numbers, negative ones look ahead.

    Returns
    -------
    DataArray (time or stimulus, delay, ...)
        0 where the run had not begun yet.

    Raises
    ------
    LabelError
        If there is no coord `run`.
    InputError
        If delays are empty, repeated or no whole numbers.

    References
    ----------
    Huth et al., Nature 2016, doi:10.1038/nature17637.

    Examples
    --------
    >>> coords = {"run": ("time", [1, 1, 2, 2])}
    >>> features = xr.DataArray([[1.0], [2.0], [3.0], [4.0]], dims=("time", "feature"), coords=coords)
    >>> delay_features(features, [0, 1]).values[:, :, 0].tolist()
    [[1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [4.0, 3.0]]
    """
    require_labels(features, "A delay")
    given = list(delays) if isinstance(delays, Iterable) else []
    steps = [int(delay) for delay in given if is_between(delay, -np.inf, np.inf)]
    if not steps or steps != given or len(set(steps)) != len(steps):
        raise InputError(f"delays={delays!r}: give different whole numbers of volumes, such as [1, 2, 3, 4].")
    dim = str(features.dims[0])
    values = np.zeros((features.shape[0], len(steps), *features.shape[1:]), dtype=features.dtype)
    for _, rows in iterate_runs(features):
        for column, step in enumerate(steps):
            n_kept = rows.size - abs(step)
            if n_kept > 0:
                later, earlier = rows[max(step, 0) :][:n_kept], rows[max(-step, 0) :][:n_kept]
                values[later, column] = features.values[earlier]
    coords = {name: coord for name, coord in features.coords.items() if name != DELAY}
    return xr.DataArray(
        values, dims=(dim, DELAY, *features.dims[1:]), coords={**coords, DELAY: steps}, attrs=features.attrs
    )


def convolve_hrf(features: xr.DataArray, *, repetition_time: float, hrf: HRF = "glover") -> xr.DataArray:
    """Turn features sampled at every volume into the haemodynamic response to them, run by run.

    Parameters
    ----------
    features
        DataArray whose first dim has the coord `run`: (time, ...), one row a volume.
    repetition_time
        Seconds between volumes.
    hrf
        The canonical response, from nilearn: "glover" or "spm".

    Returns
    -------
    DataArray, dims as given, float64
        Nothing of a run is left in the next one.

    Raises
    ------
    InputError
        If the response is not known or the repetition time is not above 0.
    LabelError
        If there is no coord `run`.

    References
    ----------
    Glover, NeuroImage 1999, doi:10.1006/nimg.1998.0419.

    Examples
    --------
    >>> impulse = xr.DataArray(np.eye(12)[:, :1], dims=("time", "feature"), coords={"run": ("time", [1] * 12)})
    >>> int(convolve_hrf(impulse, repetition_time=2.0).argmax("time")[0])
    3
    """
    check_choice(hrf, ("glover", "spm"), "hrf")
    require_labels(features, "A response to features")
    if not is_between(repetition_time, 0, np.inf):
        raise InputError(f"repetition_time={repetition_time!r}: seconds between volumes are above 0.")
    models = import_extra("nilearn.glm.first_level.hemodynamic_models")
    kernel = {"glover": models.glover_hrf, "spm": models.spm_hrf}[hrf](repetition_time, oversampling=1)
    values = np.zeros(features.shape)
    for _, rows in iterate_runs(features):
        flat = features.values[rows].reshape(rows.size, -1)
        response = np.zeros(flat.shape)
        for lag, weight in enumerate(kernel[: rows.size]):
            response[lag:] += weight * flat[: rows.size - lag]
        values[rows] = response.reshape(rows.size, *features.shape[1:])
    return features.copy(data=values)


def check_series(series: xr.DataArray) -> xr.DataArray:
    """Return a series as (time, neuroid) with the coords `time` and `run`, or say what is missing.

    Raises
    ------
    LabelError
        If a dim or coord is missing.
    InputError
        If a run has fewer than 2 volumes.
    """
    require_dims(series, TIME, NEUROID, what="a series of volumes")
    series = series.transpose(TIME, NEUROID)
    if TIME not in series.coords:
        raise LabelError("The series has no coord 'time': the seconds of every volume since its run began.")
    for name, rows in iterate_runs(series):
        if rows.size < 2:
            raise InputError(f"Run {name!r} has {rows.size} volume; a series needs at least 2.")
    return series


def iterate_runs(series: xr.DataArray) -> Iterator[tuple[Any, NDArray[np.intp]]]:
    """Yield the name of every run with the positions of its volumes, in order of appearance."""
    dim = series.dims[0]
    if RUN not in series.coords or series[RUN].dims != (dim,):
        raise LabelError(
            f"The data have no coord 'run' of {str(dim)!r}, so that nothing would keep runs apart. Add it: "
            f"data.assign_coords(run=({str(dim)!r}, names)); one name for all if there is one run."
        )
    names = series[RUN].values
    for name in dict.fromkeys(names.tolist()):
        yield name, np.flatnonzero(names == name)


def repetition_time(series: xr.DataArray) -> float:
    """Return the seconds between the volumes of a series, from its attrs or its coord `time`."""
    if "repetition_time" in series.attrs:
        return float(series.attrs["repetition_time"])
    _, rows = next(iterate_runs(series))
    return float(np.median(np.diff(series[TIME].values[rows])))


def read_confounds(
    confounds: Sequence[ArrayLike] | None, runs: Sequence[tuple[Any, NDArray[np.intp]]]
) -> list[NDArray[np.float64] | None]:
    """Return the regressors of each run (its name and rows), shape (n_volumes, n_confounds), or None for each."""
    if confounds is None:
        return [None] * len(runs)
    given = [confounds] if getattr(confounds, "ndim", 0) == 2 else list(confounds)  # one table is one run's
    if len(given) != len(runs):
        raise InputError(
            f"confounds holds {len(given)} arrays for {len(runs)} runs; give a list, one for each."
        )
    return [_check_confounds(one, rows.size, run) for one, (run, rows) in zip(given, runs, strict=True)]


def _check_confounds(confounds: Any, n_volumes: int, run: object) -> NDArray[np.float64]:
    try:
        table = np.asarray(confounds, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"The confounds of run {run!r} are no numbers: {error}.") from error
    if table.ndim != 2 or len(table) != n_volumes:
        raise InputError(
            f"The confounds of run {run!r} have shape {table.shape}; expected ({n_volumes}, n_confounds)."
        )
    if not np.isfinite(table).all():
        columns = np.flatnonzero(~np.isfinite(table).all(axis=0)).tolist()
        raise InputError(
            f"The confounds of run {run!r} hold NaN in the columns {columns}. Where these are differences between "
            "volumes, the first has none: table.fillna(0)."
        )
    return table
