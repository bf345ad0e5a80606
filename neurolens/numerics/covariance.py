"""Noise covariances: estimated with shrinkage, and divided out of patterns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError

from neurolens.errors import InputError, check_choice, list_names
from neurolens.numerics.factors import cholesky, solve_lower

Array = NDArray[np.float64]
CovarianceMethod = Literal["schaefer-strimmer", "ledoit-wolf", "full", "diagonal"]

ASYMMETRY = 1e-8  # of the largest entry: more is no rounding


def estimate_covariance(
    residuals: NDArray[Any], method: CovarianceMethod = "schaefer-strimmer", *, dof: float | None = None
) -> Array:
    """Estimate the covariance of measurement noise from residuals.

    Parameters
    ----------
    residuals
        array, shape (n_observations, n_features); the mean of each feature is removed.
    method
        "full": X'X / dof. "diagonal": its diagonal. "ledoit-wolf": shrunk to a multiple of the identity,
        "schaefer-strimmer": correlations shrunk to 0, variances kept; both by the amount that minimises the
        expected squared error.
    dof
        Degrees of freedom of the residuals, n_observations - 1 by default. After a GLM, subtract the number of
        regressors.

    Returns
    -------
    ndarray
        shape (n_features, n_features), float64, symmetric.

    Raises
    ------
    InputError
        If the method is not known, a value is not finite, there are fewer than two observations or no degree
        of freedom, or a feature does not vary.

    References
    ----------
    Ledoit & Wolf (2004), J. Multivariate Analysis 88:365, doi:10.1016/S0047-259X(03)00096-4.
    Schäfer & Strimmer (2005), Stat. Appl. Genet. Mol. Biol. 4:32, doi:10.2202/1544-6115.1175.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((50, 3))
    >>> estimate_covariance(noise, "diagonal").shape
    (3, 3)
    """
    check_choice(method, ESTIMATORS, "method")
    values = np.asarray(residuals, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise InputError(
            f"Residuals must be a matrix (n_observations, n_features) of at least 2 observations; got {values.shape}."
        )
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=0)).tolist()
        raise InputError(f"Residuals are not finite for the features {list_names(bad)}; leave those out.")
    dof = float(len(values) - 1 if dof is None else dof)
    if not dof > 0:
        raise InputError(
            f"dof={dof:g} must be positive: observations minus what was fitted to them. Fit less, or measure more."
        )
    centred = values - values.mean(axis=0)
    constant = (values == values[0]).all(axis=0)
    if constant.any():
        raise InputError(
            f"The residuals of the features {list_names(np.flatnonzero(constant).tolist())} do not vary, so no "
            "covariance with them can be divided out; leave those features out."
        )
    return ESTIMATORS[method](centred, dof)


def _estimate_full(centred: Array, dof: float) -> Array:
    covariance: Array = centred.T @ centred / dof
    return covariance


def _estimate_diagonal(centred: Array, dof: float) -> Array:
    covariance: Array = np.diag(np.einsum("ij,ij->j", centred, centred) / dof)
    return covariance


def _estimate_ledoit_wolf(centred: Array, dof: float) -> Array:
    """Shrink to the identity; the sum over observations of |x x' - S|² needs only the lengths of the x."""
    n, p = centred.shape
    plain = centred.T @ centred
    plain /= n
    size = np.trace(plain) / p
    squared = np.einsum("ij,ij->", plain, plain)
    distance = squared - p * size**2  # |S - size I|²
    lengths = np.einsum("ij,ij->i", centred, centred)
    error = min((np.mean(lengths**2) - squared) / n, distance)
    weight = error / distance if distance > 0 else 1.0
    plain *= (1 - weight) * n / dof
    plain[np.diag_indices(p)] += weight * size * n / dof
    return plain


def _estimate_schaefer_strimmer(centred: Array, dof: float) -> Array:
    """Shrink to the diagonal; sums of fourth moments over pairs of features are squares of sums over features."""
    n = len(centred)
    covariance = _estimate_full(centred, dof)
    deviation = np.sqrt(np.diag(covariance))
    squares = (centred / deviation) ** 2
    moments = ((squares.sum(axis=1) ** 2).sum() - (squares**2).sum()) / (n - 1)
    correlation_scale = dof / (n - 1)
    scaled = covariance / deviation
    scaled /= deviation[:, None]
    off_diagonal = np.einsum("ij,ij->", scaled, scaled) - (np.diag(scaled) ** 2).sum()
    off_diagonal *= correlation_scale**2
    variance = n / dof**2 * (moments - off_diagonal)
    weight = float(np.clip(variance / off_diagonal, 0, 1)) if off_diagonal > 0 else 1.0
    variances = np.diag(covariance).copy()
    covariance *= 1 - weight
    np.fill_diagonal(covariance, variances)
    return covariance


ESTIMATORS: dict[str, Callable[[Array, float], Array]] = {
    "schaefer-strimmer": _estimate_schaefer_strimmer,
    "ledoit-wolf": _estimate_ledoit_wolf,
    "full": _estimate_full,
    "diagonal": _estimate_diagonal,
}


def whiten(patterns: NDArray[Any], covariance: NDArray[Any]) -> Array:
    """Divide noise out of patterns: rows become L^-1 row, where L L' is the covariance.

    Parameters
    ----------
    patterns
        array, shape (n_stimuli, n_features).
    covariance
        array, shape (n_features, n_features), or (n_features,) variances.

    Returns
    -------
    ndarray
        shape (n_stimuli, n_features), float64: its inner products are those of x' S^-1 y.

    Raises
    ------
    InputError
        If the covariance does not fit, is not symmetric or not positive definite.
    """
    n_features = patterns.shape[1]
    if covariance.shape == (n_features,):
        if not (covariance > 0).all():
            raise InputError(f"Noise variances must be positive; the smallest is {covariance.min():.3g}.")
        scaled: Array = patterns / np.sqrt(covariance)
        return scaled
    if covariance.shape != (n_features, n_features):
        raise InputError(
            f"The noise covariance has shape {covariance.shape}, the patterns have {n_features} features; it must "
            "be (n_features, n_features), or the variances (n_features,)."
        )
    lower = factor_covariance(covariance, "The noise covariance")
    whitened: Array = solve_lower(lower, patterns.T).T
    return whitened


def factor_covariance(covariance: NDArray[Any], what: str) -> Array:
    """Return the lower Cholesky factor; raise InputError where there is none, with the reason."""
    values = np.asarray(covariance, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{what} has NaN or infinite entries.")
    if np.abs(values - values.T).max() > ASYMMETRY * np.abs(values).max():
        raise InputError(f"{what} is not symmetric; average both halves: (S + S.T) / 2.")
    try:
        lower: Array = cholesky(values)
    except LinAlgError:
        smallest = np.linalg.eigvalsh(values)[0]
        raise InputError(
            f"{what} is not positive definite (smallest eigenvalue {smallest:.3g}), so it cannot be inverted. "
            "With fewer observations than features use a shrinkage estimate (schaefer-strimmer, ledoit-wolf)."
        ) from None
    if lower.diagonal().min() < 1e-8 * lower.diagonal().max() * len(lower) ** -0.5:
        smallest, largest = np.linalg.eigvalsh(values)[[0, -1]]
        if smallest <= 1e-14 * len(values) * largest:
            raise InputError(
                f"{what} is singular in all its digits (eigenvalues {smallest:.3g} to {largest:.3g}), so it cannot "
                "be inverted. With fewer observations than features use a shrinkage estimate (schaefer-strimmer, "
                "ledoit-wolf)."
            )
    return lower
