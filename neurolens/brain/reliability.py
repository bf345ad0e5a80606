"""Reliability of responses: what any model could explain of them at most."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from neurolens.brain.blocks import DEFAULT_MEMORY
from neurolens.brain.measuring import Units, in_units, measure_neuroids
from neurolens.errors import InputError, check_choice
from neurolens.numerics import components, reliability
from neurolens.numerics.moments import Moments, UnequalMoments
from neurolens.schema import hash_array, provenance, require_labels

__all__ = ["estimate_ncsnr", "explainable_variance", "ncsnr_ceiling", "noise_ceiling", "split_half"]

LARGEST_NCSNR = 20.0  # a ceiling of .9992 with 3 trials; no measurement of a brain comes near it


def explainable_variance(data: xr.DataArray, *, memory: str | int = DEFAULT_MEMORY) -> xr.DataArray:
    """Estimate the share of a single trial's variance over stimuli that repeats.

    With R repetitions, ``EV = var(mean over repetitions) / mean(var of each repetition)`` and
    ``c1 = EV - (1 - EV) / (R - 1)``. Where some trials are missing (NaN for every neuroid) it is
    signal / (signal + noise), from the variance within stimuli and that of their means.

    Parameters
    ----------
    data
        DataArray (repetition, stimulus, neuroid[, time]), in memory or opened from a file.
    memory
        For one block of trials with its temporary copies, e.g. "1 GB".

    Returns
    -------
    DataArray (neuroid[, time]), float64
        c1, at most 1; for noise about 0, as often negative as positive. Coords of `neuroid`; attrs `units`
        ("r2"), `n_averaged` (1), method, parameters and input hash. NaN, with a warning, where a neuroid is
        constant or contains NaN.

    Raises
    ------
    InputError
        If there are fewer than 2 repetitions or 2 stimuli, or a stimulus has no trial at all.

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
    attrs = {"long_name": "explainable variance of a single trial", "units": "r2", "n_averaged": 1}
    return measure_neuroids(
        reliability.explainable_variance, data, "explainable-variance", lambda _: attrs, memory=memory
    )


def noise_ceiling(
    data: xr.DataArray,
    *,
    units: Units = "r2",
    n_averaged: float | None = None,
    memory: str | int = DEFAULT_MEMORY,
) -> xr.DataArray:
    """Estimate the best score that any model can reach with the mean of some repetitions.

    ``c = k c1 / (1 + (k - 1) c1)`` bounds r², its square root bounds r; c1 is the explainable variance of
    a single trial and k = `n_averaged`.

    Parameters
    ----------
    data
        DataArray (repetition, stimulus, neuroid[, time]), in memory or opened from a file.
    units
        "r2", or "r" for its square root (NaN where the estimate is negative).
    n_averaged
        How many trials the scored response is the mean of; by default all repetitions of `data`, where numbers
        differ between stimuli their harmonic mean.
    memory
        For one block of trials with its temporary copies, e.g. "1 GB".

    Returns
    -------
    DataArray (neuroid[, time]), float64
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

    def describe(moments: Moments | UnequalMoments) -> dict[str, Any]:
        count = reliability.choose_averaged(n_averaged, moments)
        return {
            "long_name": f"noise ceiling on {units} of the mean of {count:g} trials",
            "units": units,
            "n_averaged": count,
        }

    def bound(moments: Moments | UnequalMoments) -> np.ndarray[Any, Any]:
        return in_units(reliability.noise_ceiling(moments, n_averaged=n_averaged), units)

    return measure_neuroids(bound, data, "noise-ceiling", describe, memory=memory)


def split_half(
    data: xr.DataArray,
    *,
    n_splits: int = 100,
    seed: int = 0,
    units: Units = "r2",
    memory: str | int = DEFAULT_MEMORY,
) -> xr.DataArray:
    """Estimate the reliability of the mean of all repetitions from correlations of halves.

    Halves of h = floor(R / 2) repetitions are correlated over stimuli; r is averaged over splits, and the
    reliability is ``k r / (1 + (k - 1) r)`` with k = R / h (Spearman-Brown).

    Parameters
    ----------
    data
        DataArray (repetition, stimulus, neuroid[, time]), in memory or opened from a file.
    n_splits
        How many random splits; where there are no more different ones than that, each is used once.
    seed
        Of the random splits.
    units
        "r2": a ceiling on r²; "r": its square root (NaN where the estimate is negative).
    memory
        For one block of trials with its temporary copies, e.g. "1 GB".

    Returns
    -------
    DataArray (neuroid[, time]), float64
        Coords of `neuroid`; attrs `units`, `n_averaged`, method, parameters, seed and input hash. NaN, with a
        warning, where a neuroid is NaN or constant.

    Raises
    ------
    InputError
        If there are fewer than 2 repetitions or 2 stimuli, stimuli have different numbers of repetitions,
        `units` is unknown, or `n_splits` is below 1.

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

    def describe(moments: Moments | UnequalMoments) -> dict[str, Any]:
        count = reliability.count_repetitions(moments)
        return {
            "long_name": f"split-half reliability in {units} of the mean of {count:g} trials",
            "units": units,
            "n_averaged": count,
        }

    def halve(moments: Moments | UnequalMoments) -> np.ndarray[Any, Any]:
        if isinstance(moments, UnequalMoments):
            raise InputError(
                "Split-half reliability needs the same number of repetitions for every stimulus, and some "
                "trials are missing. Keep complete stimuli, data.dropna('stimulus', how='any'), or use "
                "noise_ceiling, which takes any numbers."
            )
        return in_units(reliability.split_half(moments, n_splits=n_splits, seed=seed), units)

    parameters = {"n_splits": n_splits}
    return measure_neuroids(
        halve, data, "split-half", describe, memory=memory, seed=seed, parameters=parameters
    )


def estimate_ncsnr(data: xr.DataArray, *, memory: str | int = DEFAULT_MEMORY) -> xr.DataArray:
    """Estimate the noise ceiling signal-to-noise ratio of the Natural Scenes Dataset from trials.

    The ratio of standard deviations of signal and noise: noise from the variance within stimuli, signal from the
    variance of their means less the noise that is left in them.

    Parameters
    ----------
    data
        DataArray (repetition, stimulus, neuroid[, time]); trials may be missing (NaN for every neuroid).
    memory
        For one block of trials with its temporary copies, e.g. "1 GB".

    Returns
    -------
    DataArray (neuroid[, time]), float64
        0 where the estimated signal is negative. Attrs `units` ("ratio of standard deviations"), `n_averaged`
        (1), method and input hash.

    Raises
    ------
    InputError
        If there are fewer than 2 repetitions or 2 stimuli, or a stimulus has no trial at all.

    References
    ----------
    Allen et al., Nature Neuroscience 2022, doi:10.1038/s41593-021-00962-x.

    Examples
    --------
    >>> import numpy as np
    >>> from neurolens import brain
    >>> rng = np.random.default_rng(0)
    >>> trials = rng.normal(size=(1, 4000, 1)) + 2 * rng.normal(size=(3, 4000, 1))
    >>> round(float(brain.estimate_ncsnr(brain.responses(trials, stimulus=range(4000)))[0]), 1)
    0.5
    """
    attrs = {
        "long_name": "noise ceiling signal-to-noise ratio",
        "units": "ratio of standard deviations",
        "n_averaged": 1,
    }
    return measure_neuroids(components.estimate_ncsnr, data, "ncsnr", lambda _: attrs, memory=memory)


def ncsnr_ceiling(ncsnr: xr.DataArray, counts: ArrayLike, *, units: Units = "r2") -> xr.DataArray:
    """Turn published signal-to-noise ratios into ceilings for means of some trials.

    ``c = ncsnr² / (ncsnr² + f)``, with f the mean over the scored stimuli of 1 / number of trials; with A, B and
    C stimuli seen 1, 2 and 3 times, ``f = (A + B/2 + C/3) / (A + B + C)``.

    Parameters
    ----------
    ncsnr
        DataArray (neuroid): ratios of standard deviations, at least 0.
    counts
        How many trials were averaged: one number, or one for each stimulus that is scored (the coord
        `n_repetitions` of `average_repetitions`).
    units
        "r2": a bound on r²; "r": its square root.

    Returns
    -------
    DataArray (neuroid), float64
        Attrs `units`, `n_averaged` (harmonic mean of `counts`), method, parameters and input hash.

    Raises
    ------
    InputError
        If ratios are negative, or so large that they must be in percent; if a count is below 1.

    References
    ----------
    Allen et al., Nature Neuroscience 2022, doi:10.1038/s41593-021-00962-x.

    Examples
    --------
    >>> import xarray as xr
    >>> ncsnr_ceiling(xr.DataArray([0.5, 1.0], dims="neuroid"), 3).values.round(3).tolist()
    [0.429, 0.75]
    """
    check_choice(units, ("r2", "r"), "units")
    require_labels(ncsnr, "A ceiling from ncsnr")
    values = np.asarray(ncsnr.values, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if finite.size and finite.max() > LARGEST_NCSNR:
        raise InputError(
            f"ncsnr reaches {finite.max():.4g}, but a ratio of standard deviations of signal and noise is rarely "
            "above 3. These look like noise ceilings in percent: c / 100 bounds r² as it is, and "
            "ncsnr = sqrt(c / (100 - c) / n) for the n trials it was made for."
        )
    count = components.effective_repetitions(counts)
    ceiling = in_units(components.ncsnr_ceiling(values, counts), units)
    attrs: dict[str, Any] = {
        "long_name": f"noise ceiling on {units} of the mean of {count:g} trials, from the ncsnr",
        "units": units,
        "n_averaged": count,
    }
    attrs |= provenance(
        "ncsnr-ceiling",
        parameters={"units": units, "n_averaged": count},
        inputs={"ncsnr": hash_array(ncsnr)},
    )
    return ncsnr.copy(data=ceiling).rename("ncsnr_ceiling").drop_attrs().assign_attrs(attrs)
