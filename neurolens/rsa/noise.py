"""Noise covariances of labelled residuals."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.numerics.covariance import CovarianceMethod, estimate_covariance
from neurolens.rsa.matrices import NEUROID_B
from neurolens.schema import NEUROID, RUN, SUBJECT, hash_array, provenance, rename_aliases, require_dims


def noise_covariance(
    residuals: xr.DataArray, *, method: CovarianceMethod = "schaefer-strimmer", dof: float | None = None
) -> xr.DataArray:
    """Estimate the covariance of measurement noise between neuroids.

    The mean over observations is removed, within each run where there is a dim `run`.

    Parameters
    ----------
    residuals
        DataArray ([subject,] ..., neuroid): what a GLM leaves (run, time, neuroid), or responses to the same
        stimulus (presentation, neuroid). Every dim but `neuroid` and `subject` counts observations.
    method
        "schaefer-strimmer" (correlations shrunk to 0), "ledoit-wolf" (shrunk to a multiple of the identity),
        "full" (no shrinkage) or "diagonal" (variances alone).
    dof
        Degrees of freedom; by default observations minus the number of means removed. After a GLM subtract the
        number of regressors of each run as well.

    Returns
    -------
    DataArray
        ([subject,] neuroid, neuroid_b), float64, for `rdm(noise=)`.

    Raises
    ------
    LabelError
        If there is no dim `neuroid`.
    InputError
        If values are not finite, a neuroid does not vary, or there are too few observations.

    References
    ----------
    Schäfer & Strimmer (2005), Stat. Appl. Genet. Mol. Biol. 4:32, doi:10.2202/1544-6115.1175.
    Walther et al. (2016), NeuroImage 137:188, doi:10.1016/j.neuroimage.2015.12.012.

    Examples
    --------
    >>> values = np.random.default_rng(0).standard_normal((2, 40, 5))
    >>> noise_covariance(xr.DataArray(values, dims=("run", "time", "neuroid"))).dims
    ('neuroid', 'neuroid_b')
    """
    residuals = rename_aliases(residuals)
    require_dims(residuals, NEUROID, what="A noise covariance")
    kept = (SUBJECT,) if SUBJECT in residuals.dims else ()
    runs = (RUN,) if RUN in residuals.dims else ()
    values = residuals.transpose(*kept, *runs, ..., NEUROID).values.astype(np.float64)
    n_neuroids = residuals.sizes[NEUROID]
    n_runs = residuals.sizes.get(RUN, 1)
    stacked = values.reshape(residuals.sizes.get(SUBJECT, 1), n_runs, -1, n_neuroids)
    covariances = [_estimate(one, method, dof) for one in stacked]
    dims = (*kept, NEUROID, NEUROID_B)
    coords: dict[Hashable, Any] = {
        name: coord.variable for name, coord in residuals.coords.items() if coord.dims in ((NEUROID,), kept)
    }
    if NEUROID in residuals.coords:
        coords[NEUROID_B] = residuals[NEUROID].values
    attrs = provenance(
        "noise_covariance",
        parameters={"method": method, "dof": dof},
        inputs={"residuals": hash_array(residuals)},
    )
    square = np.stack(covariances) if kept else covariances[0]
    return xr.DataArray(square, coords, dims, "noise_covariance", attrs)


def _estimate(runs: NDArray[Any], method: CovarianceMethod, dof: float | None) -> NDArray[Any]:
    """Remove the mean of each run, so that every run costs one degree of freedom."""
    centred = runs - runs.mean(axis=1, keepdims=True)
    flat = centred.reshape(-1, runs.shape[-1])
    return estimate_covariance(flat, method, dof=len(flat) - len(runs) if dof is None else dof)
