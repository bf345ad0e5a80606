"""What a profile is made of: models, alone or several, as RDMs or as arrays of every operation."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
import xarray as xr
from torch import nn

from neurolens.activations import Activations, StreamedActivations, as_activations, stream
from neurolens.errors import InputError, check_count, list_names
from neurolens.models.model import Model, as_model
from neurolens.models.weights import hash_weights
from neurolens.numerics.distances import Metric
from neurolens.rsa.dissimilarity import rdm
from neurolens.rsa.pairs import check_rdm, other_dims
from neurolens.schema import OP, PASS, STIMULUS, STIMULUS_B
from neurolens.stimuli import Stimuli

__all__ = ["list_models", "make_twins", "open_source", "read_rdms"]


def list_models(source: object) -> dict[str, object]:
    """Name the models of a source: "" for one, else the keys of a Mapping of sources.

    Raises
    ------
    InputError
        If a Mapping holds both arrays of one model and whole models, or nothing.
    """
    if not isinstance(source, Mapping) or isinstance(source, Activations | xr.Dataset | xr.DataTree):
        return {"": source}
    if not source:
        raise InputError("source is empty: give activations, RDMs, or a dict of them by model.")
    whole = {str(name): _is_whole(value) for name, value in source.items()}
    if not any(whole.values()):
        return {"": source}
    if not all(whole.values()):
        arrays = [name for name, is_whole in whole.items() if not is_whole]
        raise InputError(
            f"source mixes models with single arrays ({list_names(arrays, 5)}). Give {{model: source}}, each "
            "source activations, RDMs or (model, stimuli); or {address: array} of one model."
        )
    return {str(name): value for name, value in source.items()}


def _is_whole(value: object) -> bool:
    """Whether a value is all of a model, rather than the activations of one operation."""
    return not isinstance(value, xr.DataArray) or STIMULUS_B in value.dims


def open_source(source: object, *, ops: Any, memory: str | int, progress: bool) -> object:
    """Open a model with its stimuli as a stream, a trace as its activations; return anything else as it is.

    Raises
    ------
    InputError
        If a tuple is not a model and its stimuli, or a trace kept nothing.
    """
    if isinstance(source, tuple):
        model, stimuli = _split_pair(source)
        return stream(model, stimuli, ops=ops, memory=memory, progress=progress)
    activations = getattr(source, "activations", None)  # of a trace, which this room does not import
    if isinstance(activations, Mapping):
        return as_activations(activations, ops)
    return source


def _split_pair(source: tuple[Any, ...]) -> tuple[Any, Stimuli]:
    if (
        len(source) == 2
        and isinstance(source[1], Stimuli)
        and callable(getattr(source[0], "module", source[0]))
    ):
        return source[0], source[1]
    kinds = ", ".join(type(part).__name__ for part in source)
    raise InputError(
        f"source is a tuple ({kinds}); expected (model, stimuli): nl.load_model(...), nl.Stimuli."
    )


def make_twins(source: object, n_seeds: int, seed: int) -> Iterator[tuple[Model, Stimuli]]:
    """Yield untrained twins of a model with its stimuli: every module that can draws new weights.

    Raises
    ------
    InputError
        If the source is not (model, stimuli), seeds are fewer than 2, or parameters could not be drawn anew.
    """
    if not isinstance(source, tuple):
        raise InputError(
            'control="untrained" makes twins of the model: give source=(model, stimuli). Of activations, compare '
            "those of untrained models: source={'trained': ..., 'untrained': ...}."
        )
    check_count(n_seeds, "n_seeds", 2, ", for a band of untrained twins; 5 or more are usual")
    given, stimuli = _split_pair(source)
    model = as_model(given)
    for one in range(seed, seed + n_seeds):
        module = draw_weights(model.module, one)
        name = f"{model.name} (untrained, seed {one})"
        yield Model(module, model.preprocess, name, hash_weights(module), model.preprocessing), stimuli


def draw_weights(module: Any, seed: int) -> nn.Module:
    """Return a copy whose weights are drawn anew by each module's own rule; global random state is left alone."""
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{type(module).__name__} has no weights to draw anew: untrained twins need an nn.Module."
        )
    twin = copy.deepcopy(module)
    own: set[int] = set()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for part in twin.modules():
            reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
            if callable(reset):
                reset()
                own |= {id(parameter) for parameter in part.parameters()}
    left = [name for name, parameter in twin.named_parameters() if id(parameter) not in own]
    if left:
        raise InputError(
            f"{len(left)} parameters have no rule to be drawn by ({list_names(left, 3)}). Make untrained models "
            "yourself, e.g. nl.load_model(spec, pretrained=False, seed=0), and give their profiles to plots."
        )
    return twin


def read_rdms(
    source: object,
    *,
    metric: Metric,
    ops: str | Iterable[str],
    passes: bool,
    memory: str | int,
    client: Any,
    progress: bool,
) -> xr.DataArray:
    """Bring a source to RDMs with one row an operation, or one a pass of it.

    Returns
    -------
    DataArray (op, stimulus, stimulus_b)
        With `passes`, `op` is a row for each pass, with the coords `address` and `pass`.

    Raises
    ------
    InputError
        If RDMs have other dims, or options do not fit RDMs.
    """
    if not (isinstance(source, xr.DataArray) and STIMULUS_B in source.dims):
        opened = open_source(source, ops=ops, memory=memory, progress=progress)
        chosen = ops if opened is source else "**"
        if passes:
            return _read_passes(as_activations(opened, chosen), metric)
        # what a stream gives is in memory and within the budget: to read it in parts would copy it
        budget = 3 * opened.memory if isinstance(opened, StreamedActivations) else memory
        options: dict[str, Any] = {
            "memory": budget,
            "client": client,
            "progress": progress and opened is source,
        }
        rdms = rdm(opened, metric=metric, ops=chosen, **options)
    elif ops != "**":
        raise InputError(f"ops={ops!r} chooses among activations; choose among RDMs with rdms.sel(op=[...]).")
    else:
        rdms = source
        check_rdm(rdms, "source")
    if OP not in rdms.dims:
        rdms = rdms.expand_dims({OP: [str(rdms.attrs.get("address", rdms.name or "source"))]})
    if passes and PASS in rdms.dims:
        return _flatten_passes(rdms)
    _refuse_dims(rdms)
    return rdms.transpose(OP, STIMULUS, STIMULUS_B)


def _refuse_dims(rdms: xr.DataArray) -> None:
    extra = [dim for dim in other_dims(rdms) if dim != OP]
    if extra:
        hint = "passes=True, " if PASS in extra else ""
        raise InputError(
            f"source has RDMs over {list_names(extra)} besides {OP!r}, which a profile does not have. "
            f"Choose {hint}an entry, isel({extra[0]}=0), or average over it."
        )


def _read_passes(activations: Activations, metric: Metric) -> xr.DataArray:
    """RDM of each pass of each operation, one operation in memory at a time."""
    parts: list[xr.DataArray] = []
    for address, array in activations.items():
        part = _read_passes_of(address, array, metric, is_alone=len(activations) == 1)
        del array  # a stream makes room for its next group before it is asked for the next array
        parts += [] if part is None else [part]
    if not parts:
        raise InputError("No operation of the source has an RDM.")
    return xr.concat(
        parts, OP, join="override", combine_attrs="drop_conflicts", coords="minimal", compat="override"
    )


def _read_passes_of(
    address: str, array: xr.DataArray, metric: Metric, *, is_alone: bool
) -> xr.DataArray | None:
    """RDMs of the passes of one operation; None where it has none and is not alone."""
    arrays = {address: array}
    if PASS in array.dims:
        labels = array[PASS].values.tolist() if PASS in array.coords else range(1, array.sizes[PASS] + 1)
        arrays = {f"{address}:{label}": array.isel({PASS: i}, drop=True) for i, label in enumerate(labels)}
    try:
        part = rdm(arrays, metric=metric)
    except InputError:
        if STIMULUS in array.dims and is_alone:
            raise
        return None
    known = [name.rpartition(":") if PASS in array.dims else (name, "", "1") for name in part[OP].values]
    coords = {"address": (OP, [address] * len(known)), PASS: (OP, [int(tail) for _, _, tail in known])}
    return part.assign_coords(coords)


def _flatten_passes(rdms: xr.DataArray) -> xr.DataArray:
    numbers = rdms[PASS].values.tolist() if PASS in rdms.coords else list(range(1, rdms.sizes[PASS] + 1))
    rows = list(itertools.product(range(rdms.sizes[OP]), range(len(numbers))))
    flat = [rdms.isel({OP: i, PASS: k}, drop=True) for i, k in rows]
    names = rdms[OP].values.tolist()
    stacked = xr.concat(flat, OP, combine_attrs="override", coords="minimal", compat="override")
    own = {name: coord for name, coord in rdms.coords.items() if coord.dims == (OP,)}
    coords: dict[Any, Any] = {name: (OP, [coord.values[i] for i, _ in rows]) for name, coord in own.items()}
    coords |= {
        OP: [f"{names[i]}:{numbers[k]}" for i, k in rows],
        "address": (OP, [names[i] for i, _ in rows]),
        PASS: (OP, [numbers[k] for _, k in rows]),
    }
    kept = stacked.assign_coords(coords)
    complete = ~kept.isnull().all([STIMULUS, STIMULUS_B])
    return kept.isel({OP: complete.values}).transpose(OP, STIMULUS, STIMULUS_B)
