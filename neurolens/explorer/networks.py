"""Networks from what users hold: a trace, or activations with their attrs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import xarray as xr
from torch.overrides import resolve_name

from neurolens.activations import Activations, StoredActivations
from neurolens.activations.sizes import say_bytes
from neurolens.errors import AddressError
from neurolens.explorer.outline import Item, Network
from neurolens.recording.names import Place, results
from neurolens.schema import STIMULUS
from neurolens.tracing import Operation, Source, Trace

_LONGEST = 120  # letters of one argument
_MOST_PASSES = 30  # that are listed


def read_trace(trace: Trace) -> Network:
    """Return the operations of a trace, with arrows, source lines and all that is known of each."""
    names, graph = trace.names, trace.graph
    position = {address: k for k, address in enumerate(names.operations)}
    of_event = [position[names.of_event[event.index][0].address] for event in trace.recording.events]
    edges: dict[tuple[int, int], None] = {}
    loops: dict[tuple[int, int], None] = {}
    for index, parents in enumerate(graph.parents):
        for parent in parents:
            pair = of_event[parent], of_event[index]
            (edges if pair[0] < pair[1] else loops)[pair] = None
    operations = [Operation(trace, address) for address in names.operations]
    flops = [operation.flops for operation in operations]
    return Network(
        name=trace.model.name,
        items=tuple(
            _read_operation(trace, operation, count)
            for operation, count in zip(operations, flops, strict=True)
        ),
        edges=tuple(edges),
        loops=tuple(pair for pair in loops if pair not in edges),
        classes={path: place.name for path, place in names.places.items() if place.kind != "operation"},
        numbers={
            "depth": [operation.depth for operation in operations],
            "bytes of the output": [float(operation.bytes) for operation in operations],
            "floating-point operations": [math.nan if count is None else float(count) for count in flops],
        },
    )


def _read_operation(trace: Trace, operation: Operation, flops: int | None) -> Item:
    place = trace.names.operations[operation.address]
    source = operation.source
    return Item(
        address=operation.address,
        function=place.name,
        owners=tuple(_find_owners(trace, place)),
        step=operation.step,
        depth=operation.depth,
        shape=_say_shapes(place),
        n_passes=len(place.passes),
        facts=tuple((name, text) for name, text in _list_facts(trace, operation, place, flops) if text),
        source=("", "") if source is None else (f"{_shorten_path(source.file)}:{source.line}", source.text),
    )


def _find_owners(trace: Trace, place: Place) -> Iterator[str]:
    """Yield the paths of modules, then of composites, around an operation, the outermost first."""
    yield from _list_prefixes(place.module)
    composites = []
    while place.composite:
        place = trace.names.places[place.composite]
        composites.append(place.address)
    yield from reversed(composites)


def _list_prefixes(path: str) -> list[str]:
    parts = path.split(".") if path else []
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _list_facts(
    trace: Trace, operation: Operation, place: Place, flops: int | None
) -> Iterator[tuple[str, str]]:
    """Yield what is known, in the order in which it is shown."""
    values = list(results(place.passes[0]).values())
    kinds = dict.fromkeys(str(value.dtype).removeprefix("torch.") for value in values)
    yield "function", _name_function(operation)
    yield "module", _say_module(trace, place)
    yield "composite", place.composite
    yield "dtype", ", ".join(kinds)
    yield "device", ", ".join(dict.fromkeys(str(value.device) for value in values))
    yield "size", say_bytes(operation.bytes)
    yield "FLOPs", f"{flops:,}" if flops else ""
    yield "parameters", _say_parameters(operation)
    yield "arguments", "; ".join(_say_argument(name, value) for name, value in operation.arguments.items())
    yield "distance", "{} from the input, {} to the output".format(*operation.distances)
    yield "writes memory", "yes, of an argument" if operation.mutates else ""
    yield "random", "yes" if operation.is_random else ""
    yield "branch", _say_branch(operation)
    yield "passes", _say_passes(place)


def _name_function(operation: Operation) -> str:
    function = operation.function
    if function is None:
        return operation.name
    return resolve_name(function) or str(getattr(function, "__name__", operation.name))


def _say_module(trace: Trace, place: Place) -> str:
    path = place.module
    known = trace.names.places.get(path)
    return f"{path} ({known.name})" if known is not None and path else path


def _say_parameters(operation: Operation) -> str:
    shapes = ((name, "×".join(map(str, tensor.shape))) for name, tensor in operation.parameters.items())
    return ", ".join(f"{name} ({shape or 'scalar'})" for name, shape in shapes)


def _say_argument(name: int | str, value: Any) -> str:
    text = shorten(value if isinstance(value, str) else repr(value), _LONGEST, placeholder=" …")
    return text if isinstance(name, int) else f"{name}={text}"


def _say_branch(operation: Operation) -> str:
    branch = operation.branch
    if branch is None:
        return ""
    side = "true" if branch.taken else "false"
    deciders = f", decided by {', '.join(branch.decided_by)}" if branch.decided_by else ""
    return f"{branch.source.text} was {side}{deciders} ({_say_line(branch.source)})"


def _say_line(source: Source) -> str:
    return f"{_shorten_path(source.file)}:{source.line}"


def _say_passes(place: Place) -> str:
    count = len(place.passes)
    if count < 2:
        return ""
    shapes = [_say_shape(item) for item in place.passes]
    if len(set(shapes)) == 1:
        return f"{count}, each {shapes[0]}"
    listed = ", ".join(f":{n} {shape}" for n, shape in enumerate(shapes[:_MOST_PASSES], 1))
    return f"{count}: {listed}" + (" …" if count > _MOST_PASSES else "")


def _say_shapes(place: Place) -> str:
    shapes = list(dict.fromkeys(_say_shape(item) for item in place.passes))
    return " | ".join(shapes if len(shapes) <= 2 else [shapes[0], f"{len(shapes) - 1} more"])


def _say_shape(item: Any) -> str:
    shapes = ("×".join(map(str, value.shape)) or "scalar" for value in results(item).values())
    return ", ".join(list(dict.fromkeys(shapes))[:3])


def _shorten_path(file: str) -> str:
    """Leave out of a path what only says where this machine keeps its files."""
    for folder in ("site-packages", "dist-packages"):
        _, found, rest = file.replace(os.sep, "/").rpartition(f"/{folder}/")
        if found:
            return rest
    try:
        return Path(file).relative_to(Path.cwd()).as_posix()
    except ValueError:
        return file


# ---------------------------------------------------------------------- activations alone


def read_activations(activations: Activations) -> Network:
    """Return the operations that activations are of, as far as their attrs tell: arrows, where they name parents."""
    items: list[Item] = []
    classes: dict[str, str] = {}
    arrays = activations.store if isinstance(activations, StoredActivations) else activations
    name = ""
    parents: list[list[str]] = []
    for position, address in enumerate(activations.addresses()):
        array = arrays[address]
        name = name or str(array.attrs.get("model", ""))
        items.append(_read_array(address, array, position))
        parents.append(list(array.attrs.get("parents", ())))
        classes |= dict.fromkeys(items[-1].owners, "")
    depths = [item.depth for item in items]
    numbers = {"depth": depths} if np.isfinite(depths).any() else {}
    pairs = dict.fromkeys(_find_arrows([item.address for item in items], parents))
    return Network(
        name or "activations",
        tuple(items),
        edges=tuple(pair for pair in pairs if pair[0] < pair[1]),
        loops=tuple(pair for pair in pairs if pair[0] >= pair[1]),
        classes=classes,
        numbers=numbers,
        has_arrows=bool(pairs),
    )


def _find_arrows(addresses: list[str], parents: list[list[str]]) -> Iterator[tuple[int, int]]:
    """Yield arrows between operations that are there; a parent without `[...]` means all parts of its result."""
    holders: dict[str, set[int]] = {}
    for position, address in enumerate(addresses):
        whole = address.rsplit(":", 1)[0]
        for name in (address, whole, whole.split("[")[0]):
            holders.setdefault(name, set()).add(position)
    for position, names in enumerate(parents):
        for name in names:
            yield from ((parent, position) for parent in sorted(holders.get(name, ())))


def _read_array(address: str, array: xr.DataArray, position: int) -> Item:
    attrs = array.attrs
    module = str(attrs.get("module", ""))
    inside = address.startswith(f"{module}.")
    sizes = [f"{dim} {size}" for dim, size in array.sizes.items() if dim != STIMULUS]
    known = ("operation", "traced_dtype", "preprocessing", "weights", "stimulus_axis", "torch_version")
    facts = [
        ("function", str(attrs.get("function", ""))),
        ("module", module),
        ("dims", ", ".join(sizes)),
        ("dtype", str(array.dtype)),
        ("stimuli", str(array.sizes.get(STIMULUS, "none: the same for all"))),
        *((key.replace("_", " "), str(attrs[key])) for key in known if key in attrs),
    ]
    return Item(
        address=address,
        function=str(attrs.get("function", "")),
        owners=tuple(_list_prefixes(module)) if inside else (),
        step=int(attrs.get("step", position)),
        depth=float(attrs.get("depth", math.nan)),
        shape="×".join(str(size) for dim, size in array.sizes.items() if dim != STIMULUS) or "scalar",
        n_passes=array.sizes.get("pass", 1),
        facts=tuple((name, text) for name, text in facts if text),
    )


# ---------------------------------------------------------------------- from other names to operations


class Finder:
    """Finds the operation that a name in a result means: an address, a pass, a part, or an alias."""

    def __init__(self, network: Network, source: Trace | Activations) -> None:
        self._position = {item.address: k for k, item in enumerate(network.items)}
        self._source = source

    def find(self, address: str) -> int | None:
        """Return the position of the operation; None where there is none."""
        return next(
            (self._position[name] for name in self._list_names(address) if name in self._position), None
        )

    def find_all(self, addresses: Iterable[str]) -> dict[str, int]:
        """Return the positions of those that are found."""
        found = ((address, self.find(address)) for address in addresses)
        return {address: position for address, position in found if position is not None}

    def _list_names(self, address: str) -> Iterator[str]:
        yield address
        bare = address.rsplit(":", 1)[0]
        yield bare
        if isinstance(self._source, Trace):
            try:
                values = self._source.resolve(address).values
            except AddressError:
                return
            yield self._source.address_of(values[-1].event)
        else:
            aliases: Mapping[str, str] = getattr(getattr(self._source, "store", None), "aliases", {})
            yield from (aliases.get(name, "") for name in (address, bare))
            yield bare.split("[")[0]
