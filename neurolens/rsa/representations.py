"""Similarity of activations and responses without RDMs: CKA, Procrustes, CCA; effective dimensionality."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.activations.progress import track
from neurolens.errors import InputError, check_choice, check_count
from neurolens.numerics.corrections import CORRECTIONS, Correction, control_fdr, correct_by_maximum
from neurolens.numerics.permutation import draw_permutations
from neurolens.numerics.representations import (
    REPRESENTATIONS,
    Representation,
    RepresentationMeasure,
    compute_eigenspectrum,
    compute_exponent,
    compute_participation_ratio,
    compute_representation_similarity,
    prepare_representation,
)
from neurolens.rsa.dissimilarity import rdm
from neurolens.rsa.pairs import check_rdm, other_dims
from neurolens.schema import OP, STIMULUS, STIMULUS_B, SUBJECT, hash_array, join_stimuli, provenance

__all__ = ["compare_representations", "dimensionality"]

SECOND = "_b"  # ends the names of the reference's dims and coords


def compare_representations(
    source: object,
    reference: object,
    *,
    method: RepresentationMeasure = "cka",
    n_components: int | None = None,
    bandwidth: float | None = None,
    ops: str | Iterable[str] = "**",
    n_permutations: int = 100,
    correction: Correction = "max",
    seed: int = 0,
    join: Literal["exact", "inner"] = "exact",
    progress: bool = False,
) -> xr.Dataset:
    """Compare the patterns of every operation with those of a reference, feature by feature combined.

    Each side is read once, by blocks of stimuli or features, and all that is kept of it is its centred Gram
    matrix: the result is that of all data at once. Features are centred, never scaled. Every score comes with
    the mean of its permutation null, `chance`, since several of these measures are far from 0 for independent
    data.

    Parameters
    ----------
    source
        Activations, DataTree, Dataset, Mapping of DataArrays, or one DataArray (stimulus, ...).
    reference
        The same; a second source gives a dim `op_b` (layer by layer; or a Mapping from regions). With a dim
        `subject`, the score is the mean over subjects.
    method
        "cka": linear CKA from the debiased estimate of HSIC; may be slightly negative. "cka-biased": equal to
        the RV coefficient; above 0 for independent data. "rbf-cka", "rbf-cka-biased". "procrustes":
        1 - 2 theta / pi, with theta the angle after the best rotation. "cca": mean canonical correlation;
        "svcca": of the components with 99 % of the variance; "pwcca": weighted by how much of the source's
        principal components each canonical variate carries (the two sides are not exchangeable).
    n_components
        Principal components to keep, for "procrustes" and the CCAs. Where patterns have n_stimuli / 4
        dimensions or more these must be reduced, or it is an error.
    bandwidth
        Of the RBF kernel, in units of the median distance; 1 by default.
    ops
        Which operations of the source: a glob on addresses, or a list of these.
    n_permutations
        Permutations of the stimulus labels, the same for all; 0: chance and p are NaN.
    correction
        Over the operations: "max" (maximum statistic of the score minus chance) or "bh".
    seed
        Seed of the permutations.
    join
        "exact": a stimulus on one side only is an error; "inner": use what both have.
    progress
        Whether to show a progress bar on stderr.

    Returns
    -------
    Dataset
        `score`, `chance`, `p` (one-sided), `p_corrected` over (op, op_b) as far as the sides have them;
        `score_subject` (.., subject) where the reference has subjects. Higher is more similar. NaN where all
        patterns are the same.

    Raises
    ------
    LabelError
        If stimuli are not labelled or do not match.
    InputError
        If a pattern is NaN, a choice is not known or has no meaning for the method, or there are too many
        dimensions for the stimuli.

    References
    ----------
    Kornblith et al. (2019), ICML, arXiv:1905.00414 (CKA).
    Song et al. (2012), JMLR 13:1393, https://jmlr.org/papers/v13/song12a.html (debiased HSIC).
    Williams et al. (2021), NeurIPS, arXiv:2110.14739 (Procrustes angle).
    Raghu et al. (2017), NeurIPS, arXiv:1706.05806 (SVCCA); Morcos et al. (2018), arXiv:1806.05759 (PWCCA).

    Examples
    --------
    >>> values = np.random.default_rng(0).random((30, 5))
    >>> layer = xr.DataArray(values, {"stimulus": range(30)}, ("stimulus", "unit"))
    >>> result = compare_representations({"conv": layer, "scaled": 2 * layer}, layer)
    >>> result.score.round(6).values.tolist()
    [1.0, 1.0]
    """
    _check_options(method, bandwidth, correction, n_permutations)
    lefts, rights = _compute_distances(source, ops, progress), _compute_distances(reference, "**", progress)
    inputs = {"source": hash_array(lefts), "reference": hash_array(rights)}
    lefts, rights = join_stimuli(lefts, rights, join=join, names=("source", "reference"))
    if OP in rights.dims:
        rights = rights.rename(
            {name: f"{name}{SECOND}" for name in rights.coords if rights[name].dims == (OP,)}
        )
    options: dict[str, Any] = {
        "n_components": n_components,
        "bandwidth": 1.0 if bandwidth is None else bandwidth,
    }
    sides = [_prepare(side, method, options) for side in (lefts, rights)]
    shape = [side.sizes[dim] for side in (lefts, rights) for dim in other_dims(side)]
    dims = (*other_dims(lefts), *other_dims(rights))
    n_stimuli = lefts.sizes[STIMULUS]
    orders = (
        draw_permutations(n_stimuli, n_permutations, seed)
        if n_permutations
        else np.zeros((0, n_stimuli), dtype=np.intp)
    )
    pairs = [(left, right) for left in sides[0] for right in sides[1]]
    scores = np.array(
        [
            [compute_representation_similarity(*pair, method, order=order) for order in (None, *orders)]
            for pair in track(pairs, "Similarities", shown=progress, total=len(pairs))
        ]
    )
    by_pair = xr.DataArray(scores.reshape(*shape, -1), _other_coords(lefts, rights), (*dims, "order"))
    parameters = {
        **options,
        "ops": ops,
        "n_permutations": len(orders),
        "correction": correction,
        "join": join,
    }
    attrs = provenance(method, parameters=parameters, inputs=inputs, seed=seed)
    attrs |= {key: lefts.attrs[key] for key in ("model", "weights", "skipped") if key in lefts.attrs}
    return _summarize(by_pair, correction, attrs)


def _check_options(method: str, bandwidth: float | None, correction: str, n_permutations: int) -> None:
    check_choice(method, REPRESENTATIONS, "method")
    check_choice(correction, CORRECTIONS, "correction")
    if bandwidth is not None and not method.startswith("rbf"):
        raise InputError(f"bandwidth is for the RBF kernels; {method!r} has none.")
    check_count(n_permutations, "n_permutations", 0, " (none)")


def _compute_distances(source: object, ops: str | Iterable[str], progress: bool) -> xr.DataArray:
    """Squared distances keep all that a centred Gram matrix has, and `rdm` reads any source."""
    if isinstance(source, xr.DataArray) and STIMULUS_B in source.dims:
        return _take_distances(source)
    single = isinstance(source, xr.DataArray)
    arrays = {str(source.name or "array"): source} if isinstance(source, xr.DataArray) else source
    distances = rdm(arrays, metric="sqeuclidean", ops="**" if single else ops, progress=progress)
    if single:
        distances = distances.isel({OP: 0})
        gone = [name for name, coord in distances.coords.items() if not coord.dims and name != "n_features"]
        distances = distances.drop_vars(gone)
    return distances.transpose(..., STIMULUS, STIMULUS_B)


def _take_distances(distances: xr.DataArray) -> xr.DataArray:
    """Take what `rdm` made, so that patterns are read once for many references."""
    check_rdm(distances, "RDMs in the place of patterns")
    if distances.attrs.get("metric") != "sqeuclidean":
        raise InputError(
            f"RDMs of {distances.attrs.get('metric', 'an unknown')!r} distance do not keep the patterns; give "
            "the patterns themselves, or rdm(..., metric='sqeuclidean')."
        )
    if OP not in distances.dims:
        gone = [name for name, coord in distances.coords.items() if not coord.dims and name != "n_features"]
        distances = distances.drop_vars(gone)
    if "n_features" not in distances.coords:  # there are no more dimensions than stimuli
        distances = distances.assign_coords(n_features=distances.sizes[STIMULUS])
    return distances.transpose(..., STIMULUS, STIMULUS_B)


def _prepare(
    distances: xr.DataArray, method: RepresentationMeasure, options: dict[str, Any]
) -> list[Representation]:
    squares = distances.values.reshape(-1, *distances.shape[-2:])
    n_features = _count_features(distances)
    return [
        prepare_representation(square, method, n_features=n, **options)
        for square, n in zip(squares, n_features, strict=True)
    ]


def _count_features(distances: xr.DataArray) -> NDArray[np.int64]:
    """Return the number of features of each matrix: rounding can make its rank look larger."""
    name = "n_features" if "n_features" in distances.coords else f"n_features{SECOND}"
    counts = distances[name].broadcast_like(distances.isel({STIMULUS: 0, STIMULUS_B: 0}, drop=True))
    return np.asarray(counts.transpose(*other_dims(distances)).values.ravel())


def _other_coords(*sides: xr.DataArray) -> dict[Hashable, Any]:
    coords: dict[Hashable, Any] = {}
    for side in sides:
        kept = set(other_dims(side))
        coords |= {
            name: coord.variable
            for name, coord in side.coords.items()
            if coord.dims and {*coord.dims} <= kept
        }
    return coords


def _summarize(by_pair: xr.DataArray, correction: Correction, attrs: dict[str, Any]) -> xr.Dataset:
    """Average over subjects, and compare with the permutations; family: the operations of the source."""
    has_subjects = SUBJECT in by_pair.dims
    means = (by_pair.mean(SUBJECT, skipna=False) if has_subjects else by_pair).transpose(..., "order")
    score, null = means.isel(order=0), means.isel(order=slice(1, None))
    values = np.moveaxis(null.values, -1, 0)
    observed = score.values
    if len(values):
        chance = values.mean(axis=0)
        p = np.where(
            np.isnan(observed), np.nan, (1 + (values >= observed - 1e-9).sum(axis=0)) / (1 + len(values))
        )
        family = (len(observed), -1) if observed.ndim and means.dims[0] == OP else (1, -1)
        flat, flat_null = (observed - chance).reshape(family), (values - chance).reshape(len(values), *family)
        corrected = (
            correct_by_maximum(flat, flat_null) if correction == "max" else control_fdr(p.reshape(family))
        ).reshape(observed.shape)
    else:
        chance, p, corrected = (np.full(observed.shape, np.nan) for _ in range(3))
    variables: dict[Hashable, Any] = {
        "score": (score.dims, observed, {"units": attrs["method"]}),
        "chance": (score.dims, chance, {"long_name": "mean over permutations of stimulus labels"}),
        "p": (score.dims, p, {"long_name": "permutation of stimulus labels, one-sided"}),
        "p_corrected": (score.dims, corrected, {"long_name": f"over operations, {correction}"}),
    }
    if has_subjects:
        variables["score_subject"] = by_pair.isel(order=0)
    coords = {name: coord.variable for name, coord in by_pair.coords.items()}
    used = {name: coord for name, coord in coords.items() if SUBJECT not in coord.dims or has_subjects}
    return xr.Dataset(variables, used, attrs)


def dimensionality(
    source: object,
    *,
    ops: str | Iterable[str] = "**",
    ranks: tuple[int, int] = (11, 500),
    progress: bool = False,
) -> xr.Dataset:
    """Measure how many dimensions the patterns of every operation fill.

    From the variances of principal components over stimuli: the participation ratio (sum)² / sum of squares,
    and the exponent a of variance ~ rank^-a. Both are of the stimuli at hand and, for measured responses, of
    signal and noise together; noise raises the ratio and lowers the exponent.

    Parameters
    ----------
    source
        Activations, DataTree, Dataset, Mapping of DataArrays, or one DataArray (stimulus, ...).
    ops
        Which operations: a glob on addresses, or a list of these.
    ranks
        First and last rank of the fit, as far as there are so many components.
    progress
        Whether to show a progress bar on stderr.

    Returns
    -------
    Dataset
        `participation_ratio`, `exponent`, `rank` (components that vary) over `op` and kept dims. `exponent` is
        NaN with fewer than 3 ranks to fit; all are NaN for a pattern with NaN.

    Raises
    ------
    InputError
        If `ranks` are not two rising numbers from 1.

    References
    ----------
    Gao et al. (2017), bioRxiv, doi:10.1101/214262.
    Stringer et al. (2019), Nature 571:361, doi:10.1038/s41586-019-1346-5.

    Examples
    --------
    >>> values = np.random.default_rng(0).standard_normal((500, 10))
    >>> layer = xr.DataArray(values, {"stimulus": range(500)}, ("stimulus", "unit"))
    >>> round(float(dimensionality({"conv": layer}).participation_ratio[0]))
    10
    """
    if not 1 <= ranks[0] < ranks[1]:
        raise InputError(f"ranks={ranks!r} must be a first and a later last rank, counted from 1.")
    distances = _compute_distances(source, ops, progress)
    found = np.array(
        [_describe(square, ranks) for square in distances.values.reshape(-1, *distances.shape[-2:])]
    )
    dims = other_dims(distances)
    shape = [distances.sizes[dim] for dim in dims]
    names = ("participation_ratio", "exponent", "rank")
    attrs = provenance(
        "dimensionality", parameters={"ops": ops, "ranks": ranks}, inputs={"source": hash_array(distances)}
    )
    variables = {name: (dims, found[:, i].reshape(shape)) for i, name in enumerate(names)}
    return xr.Dataset(variables, _other_coords(distances), {**attrs, "n_stimuli": distances.sizes[STIMULUS]})


def _describe(square: NDArray[Any], ranks: tuple[int, int]) -> tuple[float, float, float]:
    if np.isnan(square).any():
        return np.nan, np.nan, np.nan
    variances = compute_eigenspectrum(square)[0] / (len(square) - 1)
    return compute_participation_ratio(variances), compute_exponent(variances, ranks), float(len(variances))
