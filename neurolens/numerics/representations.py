"""Similarity of representations (CKA, Procrustes, CCA), and how many dimensions one has.

All of it is a function of the squared distances between patterns: the centred Gram matrix is -H D H / 2 with
H = I - 11'/n. So features are centred, never scaled, and are needed only once, a block at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError, check_choice, check_count

__all__ = [
    "REPRESENTATIONS",
    "Representation",
    "RepresentationMeasure",
    "compute_eigenspectrum",
    "compute_exponent",
    "compute_participation_ratio",
    "compute_representation_similarity",
    "prepare_representation",
]

Array = NDArray[np.float64]
RepresentationMeasure = Literal[
    "cka", "cka-biased", "rbf-cka", "rbf-cka-biased", "procrustes", "cca", "svcca", "pwcca"
]
SVCCA_VARIANCE = 0.99
MIN_DEBIASED = 4  # stimuli: the estimator divides by n (n - 3)
ZERO = 1e-10  # eigenvalues below this, relative to the largest, are rounding


@dataclass(frozen=True)
class Representation:
    """What a measure keeps of a set of patterns.

    Attributes
    ----------
    values
        array, (n_stimuli, n_stimuli) of norm 1 for the kernel measures; (n_stimuli, n_components), columns
        orthogonal, for the others.
    weights
        array, shape (n_components,): how long each column was; of "pwcca".
    """

    values: Array
    weights: Array


@dataclass(frozen=True)
class _Measure:
    prepare: Callable[[Array, int, int | None, float], Representation]
    compare: Callable[[Representation, Representation], float]
    is_kernel: bool  # permuting stimuli moves rows and columns, else rows


def prepare_representation(
    distances: NDArray[Any],
    method: RepresentationMeasure = "cka",
    *,
    n_features: int,
    n_components: int | None = None,
    bandwidth: float = 1.0,
) -> Representation:
    """Do once for a set of patterns what all its comparisons share.

    Parameters
    ----------
    distances
        array, shape (n_stimuli, n_stimuli): squared Euclidean distances between patterns; no NaN.
    method
        The measure.
    n_features
        How many features the patterns had.
    n_components
        Principal components to keep, for "procrustes" and the CCAs; None keeps all that patterns have ("svcca":
        those with 99 % of the variance). Must come out below n_stimuli / 4.
    bandwidth
        Of the RBF kernel, in units of the median distance.

    Raises
    ------
    InputError
        If there are too few stimuli, or too many dimensions for them.
    """
    check_choice(method, REPRESENTATIONS, "method")
    distances = np.asarray(distances, dtype=np.float64)
    measure = REPRESENTATIONS[method]
    if np.isnan(distances).any():
        raise InputError("Patterns with NaN have no similarity; leave out the stimuli they belong to.")
    return measure.prepare(distances, n_features, n_components, bandwidth)


def compute_representation_similarity(
    left: Representation,
    right: Representation,
    method: RepresentationMeasure = "cka",
    *,
    order: NDArray[np.intp] | None = None,
) -> float:
    """Compare two sets of patterns of the same stimuli; higher is more similar.

    Parameters
    ----------
    left, right
        As `prepare_representation` gives them.
    method
        The measure they were prepared for.
    order
        array of int, shape (n_stimuli,): the stimuli of `left` in another order, for a permutation test.

    Returns
    -------
    float
        NaN where patterns do not differ.
    """
    measure = REPRESENTATIONS[method]
    if order is not None:
        index: Any = np.ix_(order, order) if measure.is_kernel else order
        left = Representation(left.values[index], left.weights)
    return measure.compare(left, right)


def _centre(kernel: Array) -> Array:
    rows = kernel.mean(axis=0)
    centred: Array = kernel - rows - rows[:, None] + rows.mean()
    return centred


def _centre_unbiased(kernel: Array) -> Array:
    """U-centre: rows without their diagonal sum to 0, and inner products estimate HSIC without bias."""
    n = len(kernel)
    if n < MIN_DEBIASED:
        raise InputError(f"The debiased estimate needs at least {MIN_DEBIASED} stimuli; got {n}.")
    kernel = kernel - np.diag(np.diagonal(kernel))
    rows = kernel.sum(axis=0)
    centred: Array = kernel - (rows + rows[:, None]) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0)
    return centred


def _normalize(kernel: Array, scale: float) -> Representation:
    norm = np.linalg.norm(kernel)
    defined = norm > 1e-13 * scale * len(kernel)
    return Representation(kernel / (norm if defined else np.nan), np.ones(0))


def _prepare_kernel(
    centre: Callable[[Array], Array], rbf: bool
) -> Callable[[Array, int, int | None, float], Representation]:
    def prepare(
        distances: Array, n_features: int, n_components: int | None, bandwidth: float
    ) -> Representation:
        if n_components is not None:
            raise InputError("n_components is for 'procrustes' and the CCAs; CKA takes all features.")
        if not rbf:
            return _normalize(centre(-distances / 2), float(distances.max(initial=0)))
        if not bandwidth > 0:
            raise InputError(f"bandwidth={bandwidth!r} must be above 0, in units of the median distance.")
        rows, columns = np.triu_indices(len(distances), 1)
        width = bandwidth * np.median(np.sqrt(distances[rows, columns]))
        return _normalize(centre(np.exp(-distances / (2 * width**2 if width > 0 else 1))), 1.0)

    return prepare


def _compare_kernels(left: Representation, right: Representation) -> float:
    return float(np.vdot(left.values, right.values))


def compute_eigenspectrum(distances: NDArray[Any]) -> tuple[Array, Array]:
    """Eigenvalues of the centred Gram matrix, largest first, and eigenvectors; those of rounding left out.

    Parameters
    ----------
    distances
        array, shape (n_stimuli, n_stimuli): squared Euclidean distances; no NaN.

    Returns
    -------
    values, vectors : ndarray
        shape (rank,) and (n_stimuli, rank). Divided by n_stimuli - 1, the values are variances of principal
        components.
    """
    values, vectors = np.linalg.eigh(_centre(-np.asarray(distances, dtype=np.float64) / 2))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > ZERO * max(values[0], 0.0) if values[0] > 0 else np.zeros(len(values), dtype=bool)
    return values[kept], vectors[:, kept]


def _prepare_factor(
    variance: float | None, orthonormal: bool
) -> Callable[[Array, int, int | None, float], Representation]:
    def prepare(
        distances: Array, n_features: int, n_components: int | None, bandwidth: float
    ) -> Representation:
        values, vectors = compute_eigenspectrum(distances)
        rank = min(n_features, len(values))
        if n_components is not None:
            rank = min(rank, n_components)
        elif variance is not None and len(values):
            rank = min(rank, 1 + int(np.searchsorted(values.cumsum() / values.sum(), variance - 1e-12)))
        _check_rank(rank, len(distances), n_components)
        lengths = np.sqrt(values[:rank])
        total = np.linalg.norm(lengths)
        scaled = (
            vectors[:, :rank] if orthonormal else vectors[:, :rank] * lengths / (total if total else np.nan)
        )
        return Representation(scaled, lengths)

    return prepare


def _check_rank(rank: int, n_stimuli: int, n_components: int | None) -> None:
    if n_components is not None:
        check_count(n_components, "n_components")
    if 4 * rank >= n_stimuli:
        raise InputError(
            f"{rank} dimensions of patterns are too many for {n_stimuli} stimuli: Procrustes and CCA are then high "
            "for independent data too. Keep fewer than a quarter, "
            f"n_components={max((n_stimuli - 1) // 4, 1)} or less, "
            "or use 'cka'."
        )


def _compare_procrustes(left: Representation, right: Representation) -> float:
    if not left.values.shape[1] or not right.values.shape[1]:
        return float("nan")
    nuclear = np.linalg.svd(left.values.T @ right.values, compute_uv=False).sum()
    return float(1 - 2 * np.arccos(np.clip(nuclear, -1, 1)) / np.pi)


def _compare_cca(left: Representation, right: Representation) -> float:
    if not left.values.shape[1] or not right.values.shape[1]:
        return float("nan")
    return float(np.linalg.svd(left.values.T @ right.values, compute_uv=False).mean())


def _compare_pwcca(left: Representation, right: Representation) -> float:
    """Weigh each canonical correlation by how much of the left patterns its variate carries."""
    if not left.values.shape[1] or not right.values.shape[1]:
        return float("nan")
    directions, correlations, _ = np.linalg.svd(left.values.T @ right.values, full_matrices=False)
    carried = np.abs(directions * left.weights[:, None]).sum(axis=0)
    return float(correlations @ carried / carried.sum())


REPRESENTATIONS: dict[str, _Measure] = {
    "cka": _Measure(_prepare_kernel(_centre_unbiased, rbf=False), _compare_kernels, True),
    "cka-biased": _Measure(_prepare_kernel(_centre, rbf=False), _compare_kernels, True),
    "rbf-cka": _Measure(_prepare_kernel(_centre_unbiased, rbf=True), _compare_kernels, True),
    "rbf-cka-biased": _Measure(_prepare_kernel(_centre, rbf=True), _compare_kernels, True),
    "procrustes": _Measure(_prepare_factor(None, orthonormal=False), _compare_procrustes, False),
    "cca": _Measure(_prepare_factor(None, orthonormal=True), _compare_cca, False),
    "svcca": _Measure(_prepare_factor(SVCCA_VARIANCE, orthonormal=True), _compare_cca, False),
    "pwcca": _Measure(_prepare_factor(None, orthonormal=True), _compare_pwcca, False),
}


def compute_participation_ratio(variances: NDArray[Any]) -> float:
    """Count effective dimensions: (sum of variances)² / sum of squared variances; NaN without variance.

    References
    ----------
    Gao et al. (2017), bioRxiv, doi:10.1101/214262.

    Examples
    --------
    >>> compute_participation_ratio(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    variances = np.asarray(variances, dtype=np.float64)
    squared = (variances**2).sum()
    return float(variances.sum() ** 2 / squared) if squared > 0 else float("nan")


def compute_exponent(variances: NDArray[Any], ranks: tuple[int, int]) -> float:
    """Fit the exponent a of variance ~ rank^-a by least squares of logarithms, over ranks `first` to `last`.

    Parameters
    ----------
    variances
        array, shape (n,): largest first, above 0.
    ranks
        First and last rank, from 1, both included.

    Returns
    -------
    float
        NaN where fewer than 3 ranks are there.

    References
    ----------
    Stringer et al. (2019), Nature 571:361, doi:10.1038/s41586-019-1346-5.

    Examples
    --------
    >>> round(compute_exponent(np.arange(1.0, 50) ** -1.5, (5, 40)), 6)
    1.5
    """
    first, last = ranks
    chosen = np.asarray(variances, dtype=np.float64)[first - 1 : last]
    if len(chosen) < 3:
        return float("nan")
    return float(-np.polyfit(np.log(np.arange(first, first + len(chosen))), np.log(chosen), 1)[0])
