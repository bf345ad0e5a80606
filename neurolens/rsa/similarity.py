"""Comparing labelled RDMs with labelled RDMs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.errors import InputError, LabelError, check_choice, check_name, list_names
from neurolens.numerics.similarity import MEASURES, Similarity, compute_similarity
from neurolens.rsa.pairs import check_rdm, extract_pairs, other_dims
from neurolens.schema import STIMULUS, STIMULUS_B, hash_array, join_stimuli, provenance

Controls = xr.DataArray | Sequence[xr.DataArray] | Mapping[str, xr.DataArray]
SIDES = {"both": "both", "rdms": "left", "reference": "right"}


def compare_rdms(
    rdms: xr.DataArray,
    reference: xr.DataArray,
    *,
    method: Similarity = "rho-a",
    join: Literal["exact", "inner"] = "exact",
    covariance: xr.DataArray | NDArray[Any] | None = None,
    control: Controls | None = None,
    control_of: Literal["both", "rdms", "reference"] = "both",
    within: str | None = None,
) -> xr.DataArray:
    """Compare every RDM of one set with every RDM of another.

    Each RDM is ranked (centred, whitened, normed) once, and all similarities are one matrix product. Only the
    upper triangle counts; stimuli are joined by label.

    Parameters
    ----------
    rdms
        DataArray (..., stimulus, stimulus_b), e.g. with `op`.
    reference
        DataArray (..., stimulus, stimulus_b), e.g. with `subject`; shares no other dim with `rdms`.
    method
        "rho-a" (the expected Spearman correlation when ties are broken at random), "spearman", "pearson",
        "cosine", "kendall-tau-a", "kendall-tau-b", "whitened-pearson" or "whitened-cosine": the last two weigh
        pairs by the covariance that distances have since pairs share stimuli.
    join
        "exact": a stimulus on one side only is an error; "inner": compare over the common stimuli.
    covariance
        Covariance of the stimulus estimates, for whitened measures: DataArray (stimulus, stimulus_b), joined by
        label, or array, shape (n_stimuli, n_stimuli), in the order of `rdms` (before stimuli are joined). The
        identity by default: stimuli measured equally well and independently.
    control
        RDMs whose share is taken out before comparing (a partial correlation; of ranks, for rank measures):
        DataArray (..., stimulus, stimulus_b), or a list or mapping of these. Under a control "rho-a" equals
        "spearman"; Kendall's measures have none.
    control_of
        Where that share is taken out: of "both", or of one side (a semipartial correlation).
    within
        Name of a coord of `stimulus`: only pairs of stimuli that have the same value there are compared. The pairs
        of all categories are pooled into one comparison, so that differences between the categories' mean
        dissimilarities still count. For one category on its own choose its stimuli on both sides.

    Returns
    -------
    DataArray
        Similarity, higher is more similar, dims: those of `rdms`, then those of `reference`, without stimuli.
        NaN where an RDM is constant under "pearson", "spearman", "kendall-tau-b" and "whitened-pearson", zero
        under "cosine" and "whitened-cosine", or explained by the controls.

    Raises
    ------
    LabelError
        If labels are missing, repeated or do not match.
    InputError
        If a pair is missing (NaN) in some RDMs and not in others, fewer than 3 pairs are left, both sides share
        another dim, an RDM is not symmetric, a covariance is not positive definite, or an option has no meaning
        for the method.

    References
    ----------
    Schütt et al. (2023), eLife 12:e82566, doi:10.7554/eLife.82566.
    Diedrichsen et al. (2021), Neurons, Behavior, Data analysis, and Theory 5, doi:10.51628/001c.27664 (whitening).

    Examples
    --------
    >>> from neurolens.rsa import rdm
    >>> patterns = np.random.default_rng(0).random((2, 6, 9))
    >>> arrays = [xr.DataArray(p, {"stimulus": list("abcdef")}, ("stimulus", "unit")) for p in patterns]
    >>> round(float(compare_rdms(rdm(arrays[0]), rdm(arrays[0]), method="spearman")), 6)
    1.0
    """
    check_choice(method, MEASURES, "method")
    check_choice(control_of, SIDES, "control_of")
    controls = _list_controls(control, control_of)
    check_rdm(rdms, "rdms")
    check_rdm(reference, "reference")
    _check_dims_differ(rdms, reference)
    named = {"rdms": rdms, "reference": reference, **controls}
    inputs = {name: hash_array(array) for name, array in named.items()}
    labelled = _label_covariance(covariance, rdms)
    if labelled is not None:
        inputs["covariance"] = hash_array(labelled)
    rdms, reference = join_stimuli(rdms, reference, join=join, names=("rdms", "reference"))
    kept = _find_category_pairs(within, rdms, reference)
    of_controls = [extract_pairs(_follow(array, rdms, name)) for name, array in controls.items()]
    sides = [
        extract_pairs(rdms),
        extract_pairs(reference),
        *([np.concatenate(of_controls)] if controls else []),
    ]
    kept &= ~_find_missing(sides, kept)
    stimuli = _find_used_stimuli(kept, rdms.sizes[STIMULUS])
    used = stimuli[:, None] & stimuli[None, :]
    if not kept.all():
        sides = [vectors[:, kept] for vectors in sides]
    values = compute_similarity(
        sides[0],
        sides[1],
        method,
        covariance=None
        if labelled is None
        else _follow(labelled, rdms, "covariance").values[np.ix_(stimuli, stimuli)],
        kept=kept[used[np.triu_indices(len(used), 1)]],
        controls=sides[2] if controls else None,
        control_side=SIDES[control_of],  # type: ignore[arg-type]
    )
    dims = (*other_dims(rdms), *other_dims(reference))
    sizes = {**rdms.sizes, **reference.sizes}
    parameters = {
        "method": method,
        "join": join,
        "within": within,
        "control_of": control_of if controls else None,
    }
    return xr.DataArray(
        values.reshape([sizes[dim] for dim in dims]),
        coords={**_other_coords(reference), **_other_coords(rdms)},
        dims=dims,
        name="similarity",
        attrs={
            **provenance(method, parameters=parameters, inputs=inputs),
            "long_name": f"partial {MEASURES[method].label}" if controls else MEASURES[method].label,
            "n_pairs": int(kept.sum()),
        },
    )


def _list_controls(control: Controls | None, control_of: str) -> dict[str, xr.DataArray]:
    """Name the controls and check each; without any there is no side to take them out of."""
    if control is None:
        if control_of != "both":
            raise InputError(
                f"control_of={control_of!r} says where controls are taken out; give control= as well."
            )
        return {}
    if isinstance(control, xr.DataArray):
        named = {"control": control}
    elif isinstance(control, Mapping):
        named = {f"control {name}": array for name, array in control.items()}
    else:
        named = {f"control {i}": array for i, array in enumerate(control)}
    if not named:
        raise InputError("control= is empty; leave it out, or give RDMs.")
    for name, array in named.items():
        if not isinstance(array, xr.DataArray):
            raise InputError(
                f"{name} is a {type(array).__name__}; a control is a DataArray (stimulus, stimulus_b)."
            )
        check_rdm(array, name)
    return named


def _follow(array: xr.DataArray, rdms: xr.DataArray, name: str) -> xr.DataArray:
    """Bring a further square to the stimuli that are compared; it may have more, never fewer."""
    known = set(array[STIMULUS].values.tolist())
    missing = [label for label in rdms[STIMULUS].values.tolist() if label not in known]
    if missing:
        raise LabelError(f"{name} lacks the stimuli {list_names(missing, 5)}, which rdms and reference have.")
    return join_stimuli(rdms, array, join="inner", names=("rdms", name))[1].transpose(
        ..., STIMULUS, STIMULUS_B
    )


def _label_covariance(
    covariance: xr.DataArray | NDArray[Any] | None, rdms: xr.DataArray
) -> xr.DataArray | None:
    if covariance is None or isinstance(covariance, xr.DataArray):
        if covariance is not None:
            check_rdm(covariance, "covariance")
        return covariance
    values = np.asarray(covariance)
    n_stimuli = rdms.sizes[STIMULUS]
    if values.shape != (n_stimuli, n_stimuli):
        raise InputError(
            f"covariance has shape {values.shape}; rdms have {n_stimuli} stimuli, so it must be "
            f"({n_stimuli}, {n_stimuli}). Of variances alone make a matrix: np.diag(variances)."
        )
    ids = rdms[STIMULUS].values
    return xr.DataArray(values, {STIMULUS: ids, STIMULUS_B: ids}, (STIMULUS, STIMULUS_B))


def _find_category_pairs(within: str | None, *sides: xr.DataArray) -> NDArray[np.bool_]:
    """Say of each pair whether its stimuli are of one category; of all pairs, without categories."""
    n_stimuli = sides[0].sizes[STIMULUS]
    rows, columns = np.triu_indices(n_stimuli, 1)
    if within is None:
        return np.ones(len(rows), dtype=bool)
    check_name(within, "within", "coord of 'stimulus'")
    for side in sides:
        if within in side.coords and side[within].dims == (STIMULUS,):
            labels = side[within].values
            return np.asarray(labels[rows] == labels[columns])
    found = {str(name) for side in sides for name, coord in side.coords.items() if coord.dims == (STIMULUS,)}
    raise LabelError(
        f"within={within!r} is no coord of {STIMULUS!r}; there are {list_names(sorted(found))}. Give it: "
        f"rdms.assign_coords({within}=({STIMULUS!r}, [...]))."
    )


def _check_dims_differ(rdms: xr.DataArray, reference: xr.DataArray) -> None:
    shared = [dim for dim in other_dims(rdms) if dim in other_dims(reference)]
    if shared:
        raise InputError(
            f"rdms and reference both have the dim {list_names(shared)}, and each RDM is compared with each "
            f'other one. Rename it on one side: reference.rename({shared[0]}="{shared[0]}_b").'
        )


def _find_missing(sides: list[NDArray[Any]], kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the pairs that all RDMs miss; a pair that only some miss has no answer."""
    missing = np.asarray(np.isnan(sides[0][0]))
    for name, vectors in zip(("rdms", "reference", "control"), sides, strict=False):
        for number, vector in enumerate(vectors):  # one by one: inside the cache
            if ((np.isnan(vector) != missing) & kept).any():
                raise InputError(
                    f"NaN pairs differ: number {number} of {name} misses other pairs than the first of rdms. All "
                    "must miss the same ones; drop the stimuli without a pattern on both sides."
                )
    n_left = int((kept & ~missing).sum())
    if n_left < 3:
        raise InputError(f"RDMs are compared over at least 3 pairs of stimuli; {n_left} are left.")
    return missing


def _find_used_stimuli(kept: NDArray[np.bool_], n_stimuli: int) -> NDArray[np.bool_]:
    """Find the stimuli of which a pair is kept: without the others all pairs may be there."""
    used = np.zeros(n_stimuli, dtype=bool)
    for side in np.triu_indices(n_stimuli, 1):
        used[side[kept]] = True
    return used


def _other_coords(rdm: xr.DataArray) -> dict[Hashable, xr.DataArray]:
    dims = set(other_dims(rdm))
    return {name: coord for name, coord in rdm.coords.items() if coord.dims and set(coord.dims) <= dims}
