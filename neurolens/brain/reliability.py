"""Reliability of responses: what any model could explain of them at most."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import xarray as xr

from neurolens.brain.responses import check_responses
from neurolens.errors import InputError, NeurolensWarning, check_choice, list_names
from neurolens.numerics import reliability
from neurolens.schema import NEUROID, REPETITION, STIMULUS, hash_array, provenance

__all__ = ["explainable_variance", "noise_ceiling", "split_half"]

Units = Literal["r2", "r"]


def explainable_variance(data: xr.DataArray) -> xr.DataArray:
    """Estimate the share of a single trial's variance over stimuli that repeats.

    With R repetitions, ``EV = var(mean over repetitions) / mean(var of each repetition)`` and
    ``c1 = EV - (1 - EV) / (R - 1)``.

    Parameters
    ----------
    data
        DataArray (repetition, stimulus, neuroid).

    Returns
    -------
    DataArray (neuroid), float64
        c1, at most 1; for noise about 0, as often negative as positive. Coords of `neuroid`; attrs `units`
        ("r2"), `n_averaged` (1), method, parameters and input hash. NaN, with a warning, where a neuroid is
        constant or contains NaN.

    Raises
    ------
    InputError
        If there are fewer than 2 repetitions or 2 stimuli.

    References
    ----------
    Sahani and Linden, "How linear are auditory cortical responses?", NeurIPS 2002.
    Hsu, Borst and Theunissen, Network 2004, doi:10.1088/0954-898X_15_2_002.

    Examples
    --------
    >>> import numpy as np
    >>> from neurolens import brain
    >>> signal = np.random.default_rng(0).normal(size=(1, 20, 3))
    >>> data = brain.responses(np.repeat(signal, 2, axis=0), stimulus=range(20))
    >>> brain.explainable_variance(data).values.round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    data = _repeated(data)
    attrs = {"long_name": "explainable variance of a single trial", "units": "r2", "n_averaged": 1}
    return _per_neuroid(reliability.explainable_variance, data, "explainable-variance", attrs)


def noise_ceiling(data: xr.DataArray, *, units: Units = "r2", n_averaged: int | None = None) -> xr.DataArray:
    """Estimate the best score that any model can reach with the mean of some repetitions.

    ``c = k c1 / (1 + (k - 1) c1)`` bounds r², its square root bounds r; c1 is the explainable variance of
    a single trial and k = `n_averaged`.

    Parameters
    ----------
    data
        DataArray (repetition, stimulus, neuroid).
    units
        "r2", or "r" for its square root (NaN where the estimate is negative).
    n_averaged
        How many trials the scored response is the mean of; by default all repetitions of `data`.

    Returns
    -------
    DataArray (neuroid), float64
        Never capped. Coords of `neuroid`; attrs `units`, `n_averaged`, method, parameters and input hash.
        NaN, with a warning, where a neuroid is NaN or constant.

    Raises
    ------
    InputError
        If there are fewer than 2 repetitions or 2 stimuli, `units` is unknown, or `n_averaged` is below 1.

    References
    ----------
    Schoppe et al., Frontiers in Computational Neuroscience 2016, doi:10.3389/fncom.2016.00010.

    Examples
    --------
    >>> import numpy as np
    >>> from neurolens import brain
    >>> rng = np.random.default_rng(0)
    >>> trials = rng.normal(size=(1, 4000, 1)) + rng.normal(size=(4, 4000, 1))
    >>> ceiling = brain.noise_ceiling(brain.responses(trials, stimulus=range(4000)))
    >>> round(float(ceiling[0]), 1), ceiling.attrs["n_averaged"]
    (0.8, 4)
    """
    check_choice(units, ("r2", "r"), "units")
    data = _repeated(data)
    count = data.sizes[REPETITION] if n_averaged is None else n_averaged
    attrs = {
        "long_name": f"noise ceiling on {units} of the mean of {count} trials",
        "units": units,
        "n_averaged": count,
    }

    def ceiling(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return _in_units(reliability.noise_ceiling(values, n_averaged=count), units)

    return _per_neuroid(ceiling, data, "noise-ceiling", attrs)


def split_half(
    data: xr.DataArray, *, n_splits: int = 100, seed: int = 0, units: Units = "r2"
) -> xr.DataArray:
    """Estimate the reliability of the mean of all repetitions from correlations of halves.

    Halves of h = floor(R / 2) repetitions are correlated over stimuli; r is averaged over splits, and the
    reliability is ``k r / (1 + (k - 1) r)`` with k = R / h (Spearman-Brown).

    Parameters
    ----------
    data
        DataArray (repetition, stimulus, neuroid).
    n_splits
        How many random splits; where there are no more different ones than that, each is used once.
    seed
        Of the random splits.
    units
        "r2": a ceiling on r²; "r": its square root (NaN where the estimate is negative).

    Returns
    -------
    DataArray (neuroid), float64
        Coords of `neuroid`; attrs `units`, `n_averaged`, method, parameters, seed and input hash. NaN, with a
        warning, where a neuroid is NaN or constant.

    Raises
    ------
    InputError
        If there are fewer than 2 repetitions or 2 stimuli, `units` is unknown, or `n_splits` is below 1.

    References
    ----------
    Spearman, British Journal of Psychology 1910, doi:10.1111/j.2044-8295.1910.tb00206.x.

    Examples
    --------
    >>> import numpy as np
    >>> from neurolens import brain
    >>> signal = np.random.default_rng(0).normal(size=(1, 20, 1))
    >>> data = brain.responses(np.repeat(signal, 4, axis=0), stimulus=range(20))
    >>> brain.split_half(data).values.round(6).tolist()
    [1.0]
    """
    check_choice(units, ("r2", "r"), "units")
    data = _repeated(data)
    count = data.sizes[REPETITION]
    attrs = {
        "long_name": f"split-half reliability in {units} of the mean of {count} trials",
        "units": units,
        "n_averaged": count,
    }

    def halves(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return _in_units(reliability.split_half(values, n_splits=n_splits, seed=seed), units)

    return _per_neuroid(halves, data, "split-half", attrs, seed=seed, n_splits=n_splits)


def _repeated(data: xr.DataArray) -> xr.DataArray:
    """Check responses that need a repetition dim."""
    data = check_responses(data)
    if REPETITION not in data.dims:
        raise InputError(
            "Reliability needs repeated measurements on the dim 'repetition'; these responses have "
            f"{list_names(data.dims)}. Give the single trials, not their mean."
        )
    return data


def _in_units(ceiling: np.ndarray[Any, Any], units: Units) -> np.ndarray[Any, Any]:
    """Turn a bound on r² into one on r where asked; a negative bound has no root."""
    if units == "r2":
        return ceiling
    root: np.ndarray[Any, Any] = np.sqrt(ceiling, out=np.full_like(ceiling, np.nan), where=ceiling >= 0)
    return root


def _per_neuroid(
    function: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]],
    data: xr.DataArray,
    method: str,
    attrs: dict[str, Any],
    *,
    seed: int | None = None,
    **parameters: object,
) -> xr.DataArray:
    """Apply a function of (repetition, stimulus, neuroid), keep the coords of neuroid, write the attrs."""
    core = [REPETITION, STIMULUS, NEUROID]
    result: xr.DataArray = xr.apply_ufunc(
        function, data.transpose(*core), input_core_dims=[core], output_core_dims=[[NEUROID]]
    )
    parameters |= {key: attrs[key] for key in ("units", "n_averaged")}
    result.attrs = attrs | provenance(
        method, parameters=parameters, inputs={"responses": hash_array(data)}, seed=seed
    )
    _warn_unreliable(data, method)
    return result.rename(method.replace("-", "_"))


def _warn_unreliable(data: xr.DataArray, method: str) -> None:
    """Name the neuroids for which reliability is not defined at all."""
    flat = (data.max(STIMULUS, skipna=False) == data.min(STIMULUS, skipna=False)).all(REPETITION)
    undefined = (flat | data.isnull().any([REPETITION, STIMULUS])).values
    if undefined.any():
        names = list_names(data[NEUROID].values[undefined].tolist(), 5)
        warnings.warn(
            f"{method}: {int(undefined.sum())} of {undefined.size} neuroids are constant or contain NaN "
            f"({names}); their value is NaN.",
            NeurolensWarning,
            stacklevel=4,
        )
