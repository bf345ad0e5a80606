"""RDMs of labelled activations and responses."""

from __future__ import annotations

import json
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from neurolens.activations import as_activations
from neurolens.errors import InputError, NeurolensWarning, check_choice, list_names
from neurolens.numerics.distances import METRICS, Metric, compute_rdm, find_undefined
from neurolens.rsa.patterns import (
    KEPT_DIMS,
    check_stimuli,
    compute_digest,
    extract_patterns,
    find_kept_dims,
    find_refusal,
    is_same_for_all,
    prepare_array,
)
from neurolens.schema import OP, STIMULUS, STIMULUS_B, join_stimuli, provenance, require_dims

SHARED_ATTRS = ("model", "weights", "preprocessing", "torch_version")
OP_DEFAULTS: dict[str, Any] = {"depth": np.nan, "step": -1, "module": "", "function": ""}

Item = TypeVar("Item")


@dataclass(frozen=True)
class _Matrices:
    """The RDMs of one array, still without labels."""

    values: NDArray[Any]  # (*kept dims, n_stimuli, n_stimuli)
    n_features: int
    undefined: tuple[str, ...]  # stimuli without a distance in at least one of the RDMs
    digest: str  # of the patterns


@dataclass
class _Walk:
    """What a walk over many arrays has found so far."""

    metric: Metric
    over: tuple[str, ...]
    matrices: dict[str, _Matrices] = field(default_factory=dict)
    attrs: dict[str, dict[str, Any]] = field(default_factory=dict)
    equivalent_to: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    first_with: dict[str, str] = field(default_factory=dict)  # digest -> address
    template: xr.DataArray | None = None


def rdm(
    source: object,
    *,
    metric: Metric = "correlation",
    ops: str | Iterable[str] = "**",
    over: Sequence[str] = KEPT_DIMS,
    progress: bool = False,
) -> xr.DataArray:
    """Compute how dissimilar every two stimuli are, for every operation of a source.

    A pattern is what one stimulus evoked, with all dims but `stimulus` flattened into features. Dims named in
    `over` are no features: each entry (each subject, say) has an RDM of its own. A dim `repetition` is
    averaged first. So the passes of an operation (`pass`) are features, unless `over` names them. Activations
    are read once, one operation at a time.

    Parameters
    ----------
    source
        Activations, DataTree, Dataset, Mapping of DataArrays, or one DataArray (stimulus, ...).
    metric
        "correlation" (1 - Pearson r), "cosine" (1 - cosine), "euclidean" or "sqeuclidean".
    ops
        Which operations of the source: a glob on addresses, or a list of these.
    over
        Dims to keep, where an array has them.
    progress
        Whether to show a progress bar on stderr.

    Returns
    -------
    DataArray
        (op, [kept dims,] stimulus, stimulus_b); without `op` for one DataArray. float32 for float32 and
        float16 values, else float64. Stimuli in the order given, with their metadata on `stimulus`. Coords of
        `op`: depth, step, module, function (as far as the source tells them), n_features, and equivalent_to:
        the earlier operation with identical values per stimulus (a view, dropout in eval mode), "" where
        there is none. attrs: metric, `skipped` (JSON, address -> why: no stimulus dim, the same for all
        stimuli ...).
        A pattern without a distance (NaN or infinite values; constant under correlation; zero under cosine)
        has NaN entries, and a warning names it.

    Raises
    ------
    InputError
        If there are fewer than 3 stimuli, or nothing has an RDM.
    LabelError
        If stimuli or kept dims are not labelled, or differ between operations.

    Warns
    -----
    NeurolensWarning
        If patterns have no distance.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Front. Syst. Neurosci. 2:4, doi:10.3389/neuro.06.004.2008.

    Examples
    --------
    >>> values = np.random.default_rng(0).random((4, 10))
    >>> array = xr.DataArray(values, {"stimulus": list("abcd")}, ("stimulus", "unit"))
    >>> rdm({"conv": array, "relu": array}).dims
    ('op', 'stimulus', 'stimulus_b')
    """
    check_choice(metric, METRICS, "metric")
    walk = _Walk(metric, tuple(over))
    activations = as_activations(source, ops)
    if isinstance(source, xr.DataArray):
        (array,) = activations.values()
        return _rdm_of_array(prepare_array(array), walk)
    for address, array in _track(activations.items(), len(activations), progress):
        _visit(walk, address, prepare_array(array))
    if walk.template is None:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(walk.skipped.items())[:5])
        raise InputError(f"No operation of the source has an RDM ({reasons or 'it is empty'}).")
    _warn_undefined(walk.matrices, metric)
    return _assemble(walk, walk.template)


def _rdm_of_array(array: xr.DataArray, walk: _Walk) -> xr.DataArray:
    name = str(array.name or "array")
    require_dims(array, STIMULUS, what="An RDM")
    refusal = find_refusal(array)
    if refusal:
        raise InputError(f"{name} has no RDM: {refusal}.")
    check_stimuli(array, name)
    patterns = extract_patterns(array, walk.over)
    matrices = _compute(patterns, compute_digest(patterns), array, walk.metric)
    _warn_undefined({name: matrices}, walk.metric, stacklevel=4)
    template = _make_template(array, walk.over)
    attrs = {"address": array.attrs.get("address", name)}
    attrs |= _shared_attrs([array.attrs]) | _describe(walk, matrices.digest)
    return xr.DataArray(matrices.values, _square_coords(template), _square_dims(template), "rdm", attrs)


def _visit(walk: _Walk, address: str, array: xr.DataArray) -> None:
    """Add the RDMs of one operation, or the reason why it has none."""
    refusal = find_refusal(array)
    if refusal:
        walk.skipped[address] = refusal
        return
    if walk.template is None:
        check_stimuli(array, address)
    else:
        array = _follow_template(array, address, walk)
    patterns = extract_patterns(array, walk.over)
    digest = compute_digest(patterns)
    first = walk.first_with.get(digest, "")
    if not first and is_same_for_all(patterns):
        walk.skipped[address] = "the same for all stimuli"
        return
    matrices = walk.matrices[first] if first else _compute(patterns, digest, array, walk.metric)
    if _is_empty(matrices.values):
        walk.skipped[address] = f"every pattern is {METRICS[walk.metric].reason}"
        return
    if walk.template is None:
        walk.template = _make_template(array, walk.over)
    walk.first_with.setdefault(digest, address)
    walk.matrices[address] = matrices
    walk.attrs[address] = dict(array.attrs)
    walk.equivalent_to[address] = first


def _compute(patterns: NDArray[Any], digest: str, array: xr.DataArray, metric: Metric) -> _Matrices:
    *kept, n_stimuli, n_features = patterns.shape
    stacked = patterns.reshape(-1, n_stimuli, n_features)
    values = np.stack([compute_rdm(one, metric) for one in stacked])
    ids = array[STIMULUS].values.tolist()
    # Only an RDM with NaN is searched for the patterns that caused them.
    suspects = [one for one, square in zip(stacked, values, strict=True) if np.isnan(square).any()]
    bad = np.zeros(n_stimuli, dtype=bool)
    for one in suspects:
        bad |= find_undefined(one, metric)
    return _Matrices(
        values=values.reshape(*kept, n_stimuli, n_stimuli),
        n_features=n_features,
        undefined=tuple(str(ids[i]) for i in np.flatnonzero(bad)),
        digest=digest,
    )


def _is_empty(values: NDArray[Any]) -> bool:
    rows, columns = np.triu_indices(values.shape[-1], 1)
    return bool(np.isnan(values[..., rows, columns]).all())


def _make_template(array: xr.DataArray, over: tuple[str, ...]) -> xr.DataArray:
    """Keep stimuli and kept dims of an array, with their labels and metadata, without a value of it."""
    dims = (*find_kept_dims(array, over), STIMULUS)
    coords = {
        name: coord.variable
        for name, coord in array.coords.items()
        if coord.dims and {*coord.dims} <= {*dims}
    }
    return xr.DataArray(np.zeros([array.sizes[dim] for dim in dims], dtype=bool), coords, dims)


def _follow_template(array: xr.DataArray, address: str, walk: _Walk) -> xr.DataArray:
    """Bring an operation to the stimuli of the first one; kept dims must be the same."""
    assert walk.template is not None
    array = join_stimuli(walk.template, array, names=("the operations before", address))[1]
    kept = find_kept_dims(array, walk.over)
    sizes = {dim: array.sizes[dim] for dim in kept}
    wanted = {str(dim): n for dim, n in walk.template.sizes.items() if dim != STIMULUS}
    if sizes != wanted:
        raise InputError(
            f"{address} has the dims {sizes} to keep apart, the operations before it {wanted}; RDMs of one "
            "result need the same. Choose operations that agree (ops=), or other dims (over=)."
        )
    return array


def _assemble(walk: _Walk, template: xr.DataArray) -> xr.DataArray:
    addresses = list(walk.matrices)
    coords: dict[Hashable, Any] = {OP: addresses, **_square_coords(template)}
    for name, default in OP_DEFAULTS.items():
        if any(name in attrs for attrs in walk.attrs.values()):
            coords[name] = (OP, [walk.attrs[address].get(name, default) for address in addresses])
    coords["n_features"] = (OP, [walk.matrices[address].n_features for address in addresses])
    coords["equivalent_to"] = (OP, [walk.equivalent_to[address] for address in addresses])
    values = np.stack([walk.matrices[address].values for address in addresses])
    digests = "".join(walk.matrices[address].digest for address in addresses)
    attrs = _shared_attrs(walk.attrs.values())
    attrs |= _describe(walk, compute_digest(np.frombuffer(digests.encode(), dtype=np.uint8)))
    attrs["skipped"] = json.dumps(walk.skipped)
    return xr.DataArray(values, coords, (OP, *_square_dims(template)), "rdm", attrs)


def _square_dims(template: xr.DataArray) -> tuple[Hashable, ...]:
    return (*template.dims, STIMULUS_B)


def _square_coords(template: xr.DataArray) -> dict[Hashable, Any]:
    return {**template.coords, STIMULUS_B: template[STIMULUS].values}


def _shared_attrs(all_attrs: Iterable[Mapping[Any, Any]]) -> dict[str, Any]:
    """Keep what all operations say alike of their model."""
    pool = list(all_attrs)
    return {
        key: pool[0][key]
        for key in SHARED_ATTRS
        if key in pool[0] and all(attrs.get(key) == pool[0][key] for attrs in pool)
    }


def _describe(walk: _Walk, digest: str) -> dict[str, Any]:
    parameters = {"metric": walk.metric, "over": walk.over}
    attrs = provenance("rdm", parameters=parameters, inputs={"source": digest})
    return {**attrs, "metric": walk.metric, "long_name": f"{walk.metric} distance"}


def _warn_undefined(matrices: Mapping[str, _Matrices], metric: Metric, stacklevel: int = 3) -> None:
    affected = {name: found.undefined for name, found in matrices.items() if found.undefined}
    if not affected:
        return
    shown = "; ".join(f"{name}: {list_names(ids, 5)}" for name, ids in list(affected.items())[:4])
    more = f"; and in {len(affected) - 4} more operations" if len(affected) > 4 else ""
    warnings.warn(
        f"Patterns that are {METRICS[metric].reason} have no {metric} distance; their entries are NaN. "
        f"{shown}{more}.",
        NeurolensWarning,
        stacklevel=stacklevel,
    )


def _track(items: Iterable[Item], total: int, progress: bool) -> Iterable[Item]:
    if not progress:
        return items
    return track(items, "RDMs", total=total, console=Console(stderr=True), transient=True)
