"""The node names of torchvision's feature extraction (torch.fx), as a second series of names for the same tensors.

They are derived from the recording alone; the model does not run again. A node is a call of a leaf module (one of
`torch.nn` but `Sequential`, or of `torchvision.ops`), or a call of a function in any other module, under the name
that fx gives it: the operator's (`truediv`), else the function's own (`add_`). Names are numbered as fx does it,
which also counts what is no tensor: `n, c, h, w = x.shape` is four nodes called `getitem`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from types import CodeType

from neurolens.recording import compat
from neurolens.recording.bytecode import count_shape_items, items_taken, operator_name
from neurolens.recording.events import Event, Scope, Site
from neurolens.recording.functions import raw_name
from neurolens.recording.names import Names, results
from neurolens.recording.passes import loops_around

Item = Event | Scope

_REFLECTED = frozenset(("radd", "rsub", "rmul", "rtruediv", "rdiv", "rfloordiv", "rpow", "rmod", "rmatmul"))
_NUMBERED = re.compile(r"(.+)_([0-9]+)$")


def fx_aliases(names: Names) -> dict[str, str]:
    """Return the address of each fx node name of a module that was recorded; empty for a plain function.

    Where fx cannot trace a model (its course depends on data), these are the names it would give if it followed
    the course that was recorded. Nodes that are no tensor of the recording (sizes, parameters) are left out.

    Examples
    --------
    >>> import torch
    >>> from neurolens.recording.names import assign_names
    >>> from neurolens.recording.recorder import record
    >>> class Shift(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x + 2
    >>> fx_aliases(assign_names(record(Shift(), (torch.ones(2),))))
    {'x': 'input', 'add': 'add'}
    """
    if names.aliases is None:
        calls = names.root.children if names.root is not None else []
        model = next((item for item in calls if isinstance(item, Scope) and item.path == ""), None)
        names.aliases = {} if model is None else _Aliases(names, model).found
    return names.aliases


class _Aliases:
    """Walks the calls of a model in order and names what fx would make a node of."""

    def __init__(self, names: Names, model: Scope) -> None:
        assert model.module is not None
        self.found: dict[str, str] = {}
        self.last: dict[str, int] = {}  # the last number given, by name without a number
        self.addresses = _addresses(names)
        self.parameters = {name for name, _ in model.module.named_parameters(remove_duplicate=False)}
        self.live = self._find_live(names)
        self.readers = _readers(names)
        self._name_inputs(names, model)
        self._follow(model)

    def _name_inputs(self, names: Names, model: Scope) -> None:
        assert model.module is not None
        for argument in inspect.signature(model.module.forward).parameters:
            alias = self._number(argument)
            for address in (names.input, f"{names.input}.{argument}"):
                if address in names.inputs:
                    self.found[alias] = address

    def _find_live(self, names: Names) -> set[int]:
        """Return the events that depend on an input or a parameter: fx computes all else while it traces."""
        live: set[int] = set()
        places = [*names.operations.values()]
        events = sorted((e for p in places for e in p.passes if isinstance(e, Event)), key=lambda e: e.index)
        for event in events:
            reads_parameter = any(value.parameter in self.parameters for value in event.inputs())
            if event.facts.name == "input" or reads_parameter or not live.isdisjoint(_makers(event)):
                live.add(event.index)
        return live

    def _follow(self, scope: Scope) -> None:
        """Name the nodes of one call of a module that fx opens."""
        frames = _Frames()
        path = scope.path or ""
        for name, group in _groups(scope):
            first = group[0]
            for _ in range(frames.advance(_outside(first.site))):
                self._number(_join(path, "getitem"))  # an item of a shape: a number, not a tensor
            if isinstance(first, Scope) and first.path is not None:
                if not _is_leaf(first):
                    self._follow(first)
                    continue
                self._add(self._number(first.path), first, path)
            elif any(index in self.live for item in group for index in _indexes(item)):
                self._add(self._number(_join(path, name)), self._result(group), path)

    def _result(self, group: list[Item]) -> Item | None:
        """Return the one of several calls whose result is used outside them: what the function returned."""
        if len(group) == 1:
            return group[0]
        inside = {index for item in group for index in _indexes(item)}
        used = [i for i in group if any(self.readers.get(index, set()) - inside for index in _indexes(i))]
        return used[0] if len(used) == 1 else None

    def _add(self, alias: str, item: Item | None, path: str) -> None:
        """Enter a node, and the items of its result that are taken where it is called."""
        if item is None:
            return
        address = self.addresses.get(id(item))
        labels = list(results(item))
        if address is None:
            return
        if labels == [""]:
            self.found.setdefault(alias, address)
            return
        for position in items_taken(item.site):
            taken = self._number(_join(path, "getitem"))
            if position < len(labels):
                self.found.setdefault(taken, address + labels[position])

    def _number(self, name: str) -> str:
        """Give a name its number as torchvision does: one at its end is dropped, and counted anew."""
        match = _NUMBERED.fullmatch(name)
        base = match[1] if match else name
        number = self.last.get(base, -1) + 1
        alias = f"{base}_{number}" if number else base
        self.last[alias] = 0
        self.last[base] = number
        return alias


class _Frames:
    """The frames of the last call, to count the items of shapes that were read since."""

    def __init__(self) -> None:
        self.stack: Site = ()

    def advance(self, site: Site) -> int:
        """Move to the next call (outermost frame first); return how many items were read on the way."""
        count = 0
        same = True
        for depth, (code, offset, frame) in enumerate(site):
            before = -1
            if same and depth < len(self.stack):
                last_code, last, last_frame = self.stack[depth]
                same = last_code is code and last_frame == frame
                before = last if same else -1
            else:
                same = False
            count += count_shape_items(code, before, offset)
            same = same and before == offset
        self.stack = site
        return count


def _groups(scope: Scope) -> Iterator[tuple[str, list[Item]]]:
    """Yield the calls that are nodes, with their names: those inside a function that fx wraps belong together."""
    wrapped = compat.fx_wrapped_codes()
    group: list[Item] = []
    last: Site = ()  # down to the wrapped function, outermost frame first
    for item in scope.children:
        depth = len(_outside(item.site, wrapped))
        here = tuple(reversed(item.site))[: depth + 1] if depth < len(item.site) else ()
        if group and not _same_call(last, here):
            yield wrapped[last[-1][0]], group
            group = []
        last = here
        if here:
            group.append(item)
        else:
            yield _node_name(item), [item]
    if group:
        yield wrapped[last[-1][0]], group


def _same_call(last: Site, here: Site) -> bool:
    """Tell whether two places are in one call of a wrapped function: the same frames, and no way back but a loop."""
    if last[:-1] != here[:-1] or not here or last[-1][0] is not here[-1][0]:
        return False
    (code, before, frame), (_, after, frame_now) = last[-1], here[-1]
    leads_back = any(first <= before <= end for first, end in loops_around(code, after))
    return frame == frame_now and (after > before or leads_back)


def _outside(site: Site, wrapped: Mapping[CodeType, str] | None = None) -> Site:
    """Return the frames of a call, outermost first, down to where a function that fx wraps is called."""
    wrapped = compat.fx_wrapped_codes() if wrapped is None else wrapped
    found = []
    for place in reversed(site):
        if place[0] in wrapped:
            break
        found.append(place)
    return tuple(found)


def _node_name(item: Item) -> str:
    assert item.facts is not None or isinstance(item, Scope)
    if item.facts is None or item.facts.function is None:
        return ""
    name = operator_name(item.site) if item.site else None
    if name is not None:
        return name
    if getattr(item.facts.function, "__name__", "") == "__get__":
        return "getattr"
    raw = raw_name(item.facts.function).split(".")[0]
    if raw.startswith("__") and raw.endswith("__"):
        raw = raw.strip("_")
        raw = raw[1:] if raw in _REFLECTED else raw
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", raw).lower()


def _is_leaf(scope: Scope) -> bool:
    """Tell whether fx takes a module for one node."""
    kind = type(scope.module)
    if kind.__module__.startswith(("torch.nn", "torch.ao.nn")) and "Sequential" not in _class_names(kind):
        return True
    return any(base.__module__.startswith("torchvision.ops") for base in kind.__mro__)


def _class_names(kind: type) -> set[str]:
    return {base.__name__ for base in kind.__mro__}


def _indexes(item: Item) -> Iterator[int]:
    if isinstance(item, Event):
        yield item.index
    else:
        for child in item.children:
            yield from _indexes(child)


def _makers(event: Event) -> set[int]:
    """Return the events that made or wrote what an event reads."""
    values = list(event.inputs())
    values += [value.base for value in values if value.base is not None]
    return {value.event.index for value in values}


def _readers(names: Names) -> dict[int, set[int]]:
    """Return the events that read what each event made; -1 stands for the caller of the model."""
    found: dict[int, set[int]] = {}
    for place in names.operations.values():
        for event in place.passes:
            if isinstance(event, Event):
                for made in _makers(event):
                    found.setdefault(made, set()).add(event.index)
    for value in names.outputs.values():
        found.setdefault(value.event.index, set()).add(-1)
    return found


def _addresses(names: Names) -> dict[int, str]:
    """Return the address of every call, as it was made, with the number of its pass where it has several."""
    found = {}
    for address, place in names.places.items():
        several = len(place.passes) > 1
        for number, (item, site) in enumerate(zip(place.passes, place.sites, strict=True), 1):
            found[id(item)] = found[id(site)] = f"{address}:{number}" if several else address
    return found


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
