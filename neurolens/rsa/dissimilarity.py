"""RDMs of labelled activations and responses."""

from __future__ import annotations

import json
import warnings
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from neurolens.activations import Activations, as_activations
from neurolens.activations.distributed import check_client
from neurolens.activations.sizes import parse_bytes
from neurolens.errors import InputError, NeurolensWarning, as_names, list_names
from neurolens.numerics.digest import compute_digest
from neurolens.numerics.distances import METRICS, Metric, Normalize
from neurolens.rsa.matrices import Matrices, Missing, Settings, compute_matrices, make_settings
from neurolens.rsa.patterns import (
    KEPT_DIMS,
    check_stimuli,
    find_kept_dims,
    find_refusal,
    prepare_array,
)
from neurolens.schema import OP, STIMULUS, STIMULUS_B, join_stimuli, provenance, require_dims

SHARED_ATTRS = ("model", "weights", "preprocessing", "torch_version")
OP_DEFAULTS: dict[str, Any] = {"depth": np.nan, "step": -1, "module": "", "function": ""}

Item = TypeVar("Item")


@dataclass
class _Walk:
    """What a walk over many arrays has found so far."""

    settings: Settings
    matrices: dict[str, Matrices] = field(default_factory=dict)
    attrs: dict[str, dict[str, Any]] = field(default_factory=dict)
    equivalent_to: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    known: dict[str, Matrices] = field(default_factory=dict)  # by digest
    first_with: dict[str, str] = field(default_factory=dict)  # digest -> address
    template: xr.DataArray | None = None


def rdm(
    source: object,
    *,
    metric: Metric = "correlation",
    ops: str | Iterable[str] = "**",
    over: str | Sequence[str] = KEPT_DIMS,
    normalize: Normalize = "none",
    noise: xr.DataArray | NDArray[Any] | None = None,
    missing: Missing = "nan",
    device: str | None = None,
    memory: str | int = "4 GB",
    client: Any = None,
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
        "correlation" (1 - Pearson r), "cosine" (1 - cosine), "sqeuclidean" (sum of squared differences),
        "euclidean" (its root), "mahalanobis" ((x - y)' S^-1 (x - y) / n_features), "crossnobis" (the same,
        cross-validated over the dim `run`, of which there are at least 2: unbiased, may be negative), or
        "poisson" (symmetrised Kullback-Leibler divergence of rates).
    ops
        Which operations of the source: a glob on addresses, or a list of these.
    over
        Dims to keep, by default those of these that an array has; under "crossnobis" `run` is never kept.
    normalize
        "features" divides "sqeuclidean" by the number of features ("euclidean" is then the root of that).
    noise
        Covariance S of the noise for "mahalanobis" and "crossnobis" (there, by default, the identity): array
        or DataArray (neuroid, neuroid_b), as `noise_covariance` gives it, or variances (neuroid). A DataArray
        may also have kept dims, such as `subject`; neuroids are matched by label where both have labels.
    missing
        What a missing value (NaN) does. "nan": the stimulus has no distance to any other. "pairwise": each
        pair is compared over the features that both have ("correlation", "cosine", and "sqeuclidean" scaled by
        n_features / n_common); the coord `n_common` counts them. Under "crossnobis" a stimulus that a run does
        not have is left out of that run alone, and the coord `n_runs` counts what each pair rests on.
    device
        Where matrix products are made: None (numpy), or a device of torch such as "cuda".
    memory
        Budget for the patterns of one operation: bytes, or text such as "4 GB". What is larger is read in
        parts, each as often as the budget asks for, and never held as a whole; the RDM itself comes on top,
        in float64 while it is computed. "mahalanobis", "crossnobis", "poisson" and missing="pairwise" hold all
        patterns of an operation.
    client
        A dask.distributed.Client: operations are spread over its workers, which read stored ones themselves.
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
        A pattern without a distance (NaN or infinite values; constant under correlation; zero under cosine;
        negative under poisson) has NaN entries, and a warning names it.

    Raises
    ------
    InputError
        If there are fewer than 3 stimuli, nothing has an RDM, options do not fit each other, `over` names a dim
        that is not there, or the covariance does not fit or is not positive definite.
    LabelError
        If stimuli or kept dims are not labelled, or differ between operations.

    Warns
    -----
    NeurolensWarning
        If patterns have no distance.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Front. Syst. Neurosci. 2:4, doi:10.3389/neuro.06.004.2008.
    Walther et al. (2016), NeuroImage 137:188, doi:10.1016/j.neuroimage.2015.12.012 (crossnobis).

    Examples
    --------
    >>> values = np.random.default_rng(0).random((4, 10))
    >>> array = xr.DataArray(values, {"stimulus": list("abcd")}, ("stimulus", "unit"))
    >>> rdm({"conv": array, "relu": array}).dims
    ('op', 'stimulus', 'stimulus_b')
    """
    budget = parse_bytes(memory)
    settings = make_settings(
        metric,
        as_names(over, "over"),
        normalize=normalize,
        missing=missing,
        noise=noise,
        device=device,
        memory=budget,
    )
    walk = _Walk(settings)
    activations = as_activations(source, ops)
    if isinstance(source, xr.DataArray):
        (array,) = activations.values()
        return _rdm_of_array(prepare_array(array), walk)
    found = _compute_here(activations, walk) if client is None else _compute_on(client, activations, walk)
    for address, outline, matrices in _track(found, len(activations), progress):
        _record(walk, address, outline, matrices)
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
    _check_over(array, name, walk.settings.over)
    check_stimuli(array, name)
    matrices = compute_matrices(array, walk.settings, {})
    _warn_undefined({name: matrices}, walk.settings.metric, stacklevel=4)
    template = _outline(array, walk.settings.over)
    attrs = {"address": array.attrs.get("address", name)}
    attrs |= _shared_attrs([array.attrs]) | _describe(walk, matrices.digest)
    dims = _square_dims(template)
    coords = _square_coords(template)
    if matrices.counts is not None:
        coords[walk.settings.count] = (dims, matrices.counts)
    return xr.DataArray(matrices.values, coords, dims, "rdm", attrs)


def _open(activations: Activations, walk: _Walk) -> Iterator[tuple[str, xr.DataArray]]:
    """Walk over what has patterns, brought to the stimuli of the first; note why the rest has none."""
    for address, array in activations.items():
        array = prepare_array(array)
        refusal = find_refusal(array)
        if refusal:
            walk.skipped[address] = refusal
        elif walk.template is None:
            check_stimuli(array, address)
            _check_over(array, address, walk.settings.over)
            yield address, array
        else:
            yield address, _follow_template(array, address, walk)
        del array  # a stream makes room for its next group before it is asked for the next array


def _check_over(array: xr.DataArray, name: str, over: tuple[str, ...]) -> None:
    """Raise where a dim that was asked for is not there: what stands in its place would be features."""
    missing = [dim for dim in over if dim not in array.dims and dim not in KEPT_DIMS]
    if missing:
        raise InputError(
            f"over={list(over)}: {name} has no dim {list_names(missing)}; its dims are {list_names(array.dims)}."
        )


def _compute_here(activations: Activations, walk: _Walk) -> Iterator[tuple[str, xr.DataArray, Matrices]]:
    for address, array in _open(activations, walk):
        matrices = compute_matrices(array, walk.settings, walk.known)
        outline = _outline(array, walk.settings.over)
        del array
        yield address, outline, matrices


def _compute_on(
    client: Any, activations: Activations, walk: _Walk
) -> Iterator[tuple[str, xr.DataArray, Matrices]]:
    """Keep two operations under way for each thread of the cluster; results come in the order of operations."""
    check_client(client)
    room = 2 * max(1, sum(client.nthreads().values()))
    under_way: deque[tuple[str, xr.DataArray, Any]] = deque()
    for address, array in _open(activations, walk):
        future = client.submit(compute_matrices, array, walk.settings, {}, pure=False)
        outline = _outline(array, walk.settings.over)
        del array
        if walk.template is None:  # later operations must follow the first with an RDM: wait for it
            yield address, outline, future.result()
            continue
        under_way.append((address, outline, future))
        if len(under_way) >= room:
            address, outline, future = under_way.popleft()
            yield address, outline, future.result()
    for address, outline, future in under_way:
        yield address, outline, future.result()


def _record(walk: _Walk, address: str, outline: xr.DataArray, matrices: Matrices) -> None:
    """Add the RDMs of one operation, or the reason why it has none."""
    if matrices.refusal:
        walk.skipped[address] = matrices.refusal
        return
    if walk.template is None:
        walk.template = outline
    first = walk.first_with.setdefault(matrices.digest, address)
    walk.known.setdefault(matrices.digest, matrices)
    walk.matrices[address] = walk.known[matrices.digest]
    walk.attrs[address] = dict(outline.attrs)
    walk.equivalent_to[address] = "" if first == address else first


def _outline(array: xr.DataArray, over: tuple[str, ...]) -> xr.DataArray:
    """Keep stimuli and kept dims of an array, with their labels, metadata and attrs, without a value of it."""
    dims = (*find_kept_dims(array, over), STIMULUS)
    coords = {
        name: coord.variable
        for name, coord in array.coords.items()
        if coord.dims and {*coord.dims} <= {*dims}
    }
    empty = np.zeros([array.sizes[dim] for dim in dims], dtype=bool)
    return xr.DataArray(empty, coords, dims, attrs=array.attrs)


def _follow_template(array: xr.DataArray, address: str, walk: _Walk) -> xr.DataArray:
    """Bring an operation to the stimuli of the first one; kept dims must be the same."""
    assert walk.template is not None
    array = join_stimuli(walk.template, array, names=("the operations before", address))[1]
    kept = find_kept_dims(array, walk.settings.over)
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
    dims = (OP, *_square_dims(template))
    counts = [found.counts for found in walk.matrices.values() if found.counts is not None]
    if counts:
        coords[walk.settings.count] = (dims, np.stack(counts))
    digests = "".join(walk.matrices[address].digest for address in addresses)
    attrs = _shared_attrs(walk.attrs.values())
    attrs |= _describe(walk, compute_digest(np.frombuffer(digests.encode(), dtype=np.uint8)))
    attrs["skipped"] = json.dumps(walk.skipped)
    return xr.DataArray(values, coords, dims, "rdm", attrs)


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
    settings = walk.settings
    parameters = {
        "metric": settings.metric,
        "over": settings.over,
        "normalize": settings.normalize,
        "missing": settings.missing,
    }
    inputs = {"source": digest}
    if settings.noise is not None:
        inputs["noise"] = compute_digest(np.asarray(settings.noise))
    attrs = provenance("rdm", parameters=parameters, inputs=inputs)
    return {**attrs, "metric": settings.metric, "long_name": f"{settings.metric} distance"}


def _warn_undefined(matrices: Mapping[str, Matrices], metric: Metric, stacklevel: int = 3) -> None:
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
