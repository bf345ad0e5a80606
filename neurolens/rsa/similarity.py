"""Comparing labelled RDMs with labelled RDMs."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.errors import InputError, check_choice, list_names
from neurolens.numerics.similarity import MEASURES, Similarity, compute_similarity
from neurolens.rsa.pairs import check_rdm, extract_pairs, other_dims
from neurolens.schema import hash_array, join_stimuli, provenance


def compare_rdms(
    rdms: xr.DataArray,
    reference: xr.DataArray,
    *,
    method: Similarity = "rho-a",
    join: Literal["exact", "inner"] = "exact",
) -> xr.DataArray:
    """Compare every RDM of one set with every RDM of another.

    Each RDM is ranked (centred, normed) once, and all similarities are one matrix product. Only the upper
    triangle counts; stimuli are joined by label.

    Parameters
    ----------
    rdms
        DataArray (..., stimulus, stimulus_b), e.g. with `op`.
    reference
        DataArray (..., stimulus, stimulus_b), e.g. with `subject`; shares no other dim with `rdms`.
    method
        "rho-a" (the expected Spearman correlation when ties are broken at random), "spearman", "pearson",
        "cosine" or "kendall-tau-a".
    join
        "exact": a stimulus on one side only is an error; "inner": compare over the common stimuli.

    Returns
    -------
    DataArray
        Similarity, higher is more similar, dims: those of `rdms`, then those of `reference`, without stimuli.
        NaN where an RDM is constant under "pearson" or "spearman", zero under "cosine".

    Raises
    ------
    LabelError
        If labels are missing, repeated or do not match.
    InputError
        If a pair is missing (NaN) in some RDMs and not in others, fewer than 3 stimuli are left, both sides
        share another dim, or an RDM is not symmetric.

    References
    ----------
    Schütt et al. (2023), eLife 12:e82566, doi:10.7554/eLife.82566.

    Examples
    --------
    >>> from neurolens.rsa import rdm
    >>> patterns = np.random.default_rng(0).random((2, 6, 9))
    >>> arrays = [xr.DataArray(p, {"stimulus": list("abcdef")}, ("stimulus", "unit")) for p in patterns]
    >>> round(float(compare_rdms(rdm(arrays[0]), rdm(arrays[0]), method="spearman")), 6)
    1.0
    """
    check_choice(method, MEASURES, "method")
    check_rdm(rdms, "rdms")
    check_rdm(reference, "reference")
    _check_dims_differ(rdms, reference)
    inputs = {"rdms": hash_array(rdms), "reference": hash_array(reference)}
    rdms, reference = join_stimuli(rdms, reference, join=join, names=("rdms", "reference"))
    left, right = _drop_missing(extract_pairs(rdms), extract_pairs(reference))
    values = compute_similarity(left, right, method)
    dims = (*other_dims(rdms), *other_dims(reference))
    sizes = {**rdms.sizes, **reference.sizes}
    return xr.DataArray(
        values.reshape([sizes[dim] for dim in dims]),
        coords={**_other_coords(reference), **_other_coords(rdms)},
        dims=dims,
        name="similarity",
        attrs={
            **provenance(method, parameters={"method": method, "join": join}, inputs=inputs),
            "long_name": MEASURES[method].label,
        },
    )


def _check_dims_differ(rdms: xr.DataArray, reference: xr.DataArray) -> None:
    shared = [dim for dim in other_dims(rdms) if dim in other_dims(reference)]
    if shared:
        raise InputError(
            f"rdms and reference both have the dim {list_names(shared)}, and each RDM is compared with each "
            f'other one. Rename it on one side: reference.rename({shared[0]}="{shared[0]}_b").'
        )


def _drop_missing(left: NDArray[Any], right: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Leave out the pairs that all RDMs miss; a pair that only some miss has no answer."""
    missing = np.isnan(left[0])
    for name, vectors in (("rdms", left), ("reference", right)):
        differs = (np.isnan(vectors) != missing).any(axis=1)
        if differs.any():
            raise InputError(
                f"NaN pairs differ: number {int(np.flatnonzero(differs)[0])} of {name} misses other pairs "
                "than the first of rdms. All must miss the same ones; drop the stimuli without a pattern "
                "on both sides."
            )
    left, right = left[:, ~missing], right[:, ~missing]
    if left.shape[1] < 3:
        raise InputError(f"RDMs are compared over at least 3 pairs of stimuli; {left.shape[1]} are left.")
    return left, right


def _other_coords(rdm: xr.DataArray) -> dict[Hashable, xr.DataArray]:
    dims = set(other_dims(rdm))
    return {name: coord for name, coord in rdm.coords.items() if coord.dims and set(coord.dims) <= dims}
