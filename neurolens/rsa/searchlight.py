"""RSA in every neighbourhood of a volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr

from neurolens.activations.progress import track
from neurolens.errors import InputError, LabelError, check_choice, list_names
from neurolens.numerics.searchlights import (
    SEARCHLIGHT_METRICS,
    SearchlightMetric,
    find_neighbours,
    walk_rdms,
)
from neurolens.numerics.similarity import MEASURES, Similarity, compute_similarity
from neurolens.rsa.pairs import check_rdm, extract_pairs, other_dims
from neurolens.rsa.patterns import MIN_STIMULI, prepare_array
from neurolens.schema import NEUROID, STIMULUS, hash_array, join_stimuli, provenance, require_dims

__all__ = ["searchlight"]


def searchlight(
    responses: xr.DataArray,
    models: xr.DataArray,
    *,
    radius: float,
    metric: SearchlightMetric = "correlation",
    method: Similarity = "rho-a",
    positions: Sequence[str] = ("x", "y", "z"),
    min_share: float = 0.5,
    join: Literal["exact", "inner"] = "exact",
    progress: bool = False,
) -> xr.DataArray:
    """Compare models with the RDM of the neighbourhood of every neuroid.

    Neighbourhoods are the neuroids within `radius`, those that are there: nothing outside the given ones enters.

    Parameters
    ----------
    responses
        DataArray (stimulus, [repetition,] neuroid) of one subject; repetitions are averaged. `positions` are
        coords of `neuroid`, voxel indices or millimetres.
    models
        RDMs, DataArray (..., stimulus, stimulus_b).
    radius
        In the units of `positions`; the distance itself is included.
    metric
        "correlation", "cosine", "euclidean" or "sqeuclidean".
    method
        How RDMs are compared, as in `compare_rdms`.
    positions
        Names of the coords that say where a neuroid is.
    min_share
        Neighbourhoods with fewer neuroids than this share of the largest have no score.
    join
        "exact": a stimulus on one side only is an error; "inner": use what both have.
    progress
        Whether to show a progress bar on stderr.

    Returns
    -------
    DataArray
        Similarity (..., neuroid), float64, with the coords of `neuroid` and `n_neighbours`. NaN where there are
        too few neighbours, or a pattern has no distance.

    Raises
    ------
    LabelError
        If stimuli or positions are not labelled, or stimuli do not match.
    InputError
        If responses have other dims or NaN, there are fewer than 3 stimuli, or a choice is not known.

    References
    ----------
    Kriegeskorte, Goebel & Bandettini (2006), PNAS 103:3863, doi:10.1073/pnas.0600244103.

    Examples
    --------
    >>> from neurolens.rsa import rdm
    >>> rng = np.random.default_rng(0)
    >>> grid = np.indices((4, 4, 4)).reshape(3, -1)
    >>> places = {name: ("neuroid", axis) for name, axis in zip("xyz", grid)}
    >>> volume = xr.DataArray(rng.random((6, 64)), {"stimulus": list("abcdef"), **places}, ("stimulus", "neuroid"))
    >>> searchlight(volume, rdm(volume), radius=2).dims
    ('neuroid',)
    """
    check_choice(metric, SEARCHLIGHT_METRICS, "metric")
    check_choice(method, MEASURES, "method")
    if not 0 <= min_share <= 1:
        raise InputError(f"min_share={min_share!r} is a share, between 0 and 1.")
    responses = _check_responses(prepare_array(responses), positions)
    check_rdm(models, "models")
    inputs = {"responses": hash_array(responses), "models": hash_array(models)}
    responses, models = join_stimuli(responses, models, join=join, names=("responses", "models"))
    if responses.sizes[STIMULUS] < MIN_STIMULI:
        raise InputError(
            f"{responses.sizes[STIMULUS]} stimuli are too few for an RDM; at least {MIN_STIMULI}."
        )
    vectors = extract_pairs(models)
    if np.isnan(vectors).any():
        raise InputError("models have missing pairs (NaN): drop the stimuli they belong to.")
    places = np.stack([responses[name].values for name in positions], axis=1)
    neighbours, counts = find_neighbours(places, radius)
    chosen = np.flatnonzero((counts >= min_share * counts.max(initial=0)) & (counts > 1))
    scores = np.full((len(vectors), len(counts)), np.nan)
    blocks = walk_rdms(responses.values, neighbours[chosen], counts[chosen], metric)
    for block, found in track(blocks, "Searchlights", shown=progress):
        whole = ~np.isnan(found).any(axis=1)
        if whole.any():
            scores[:, chosen[block][whole]] = compute_similarity(vectors, found[whole], method)
    dims = other_dims(models)
    coords = {name: coord for name, coord in models.coords.items() if coord.dims and {*coord.dims} <= {*dims}}
    coords |= {name: coord for name, coord in responses.coords.items() if coord.dims == (NEUROID,)}
    coords["n_neighbours"] = xr.DataArray(counts, dims=NEUROID)
    parameters = {"radius": radius, "metric": metric, "positions": list(positions), "min_share": min_share}
    return xr.DataArray(
        scores.reshape(*(models.sizes[dim] for dim in dims), -1),
        coords,
        (*dims, NEUROID),
        "similarity",
        {**provenance(method, parameters=parameters, inputs=inputs), "long_name": MEASURES[method].label},
    )


def _check_responses(responses: xr.DataArray, positions: Sequence[str]) -> xr.DataArray:
    require_dims(responses, STIMULUS, NEUROID, what="A searchlight")
    extra = [dim for dim in responses.dims if dim not in (STIMULUS, NEUROID)]
    if extra:
        raise InputError(
            f"responses have the dim {list_names(extra)}; a searchlight is for one subject's (stimulus, neuroid). "
            f"Choose an entry, isel({extra[0]}=0)."
        )
    missing = [
        name for name in positions if name not in responses.coords or responses[name].dims != (NEUROID,)
    ]
    if missing:
        raise LabelError(
            f"responses have no coord {list_names(missing)} on {NEUROID!r}: say where each is, "
            f"assign_coords({missing[0]}=({NEUROID!r}, [...])), or name other coords (positions=)."
        )
    responses = responses.transpose(STIMULUS, NEUROID)
    bad = np.flatnonzero(~np.isfinite(responses.values).all(axis=0))
    if len(bad):
        raise InputError(
            f"{len(bad)} neuroids have NaN or infinite responses, the first is number {bad[0]}; leave them out."
        )
    return responses
