"""What a picture of a trace shows: its boxes, what flows between them, and what is folded into one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from neurolens.recording.addresses import Place, results
from neurolens.recording.events import Event, Scope
from neurolens.recording.flops import count_flops
from neurolens.tracing.operation import Branch, Operation
from neurolens.tracing.sizes import count_parameters, name_parameters, say_count, say_number

if TYPE_CHECKING:
    from neurolens.tracing.trace import Trace

MAX_BOXES = 500
MAX_LENGTH = 6_000  # levels that all arrows cross


@dataclass(slots=True)
class Box:
    """One node of the picture: an operation, a pass of one, a composite, a module, or several of these."""

    name: str
    title: str
    cluster: str  # path of the module it is drawn in
    address: str  # what it is in the trace; "" where it is several
    members: list[int] = field(default_factory=list)  # indexes of events
    folds: bool = False  # it stands for more than the one operation it is named after
    number: int = 0  # which pass it is, from 1; 0 where it is all of them
    n_passes: int = 1
    n_parameters: int = 0  # numbers in the parameters that it reads, each parameter counted once


class Arrow(NamedTuple):
    """What flows from one box into another."""

    tail: str
    head: str


@dataclass(frozen=True, slots=True)
class Boxes:
    """The nodes of one picture, by name, and the arrows between them."""

    nodes: Mapping[str, Box]
    forward: tuple[Arrow, ...]
    back: tuple[Arrow, ...]  # into an earlier box, or the same: a loop
    branches: Mapping[Arrow, Branch]  # from the operation that decided an `if` to what ran because of it
    level: int | None  # of nesting, below which modules are one box each
    run: int = 1  # how many boxes in a row were made one


def choose_boxes(trace: Trace, *, fold: int | None, rolled: bool | None, composites: bool) -> Boxes:
    """Return boxes as they were asked for; by default as many as can be read.

    Without `fold`, passes are rolled up first, then modules are folded from the deepest level up, until at most 500
    boxes are left and arrows are short enough to be placed. Where that does not do, operations in a row are folded.
    """
    if fold is not None:
        return _connect(trace, _boxes_at(trace, fold, bool(rolled), composites), fold)
    deepest = max((_nesting(place.module) for place in trace.names.operations.values()), default=0)
    ways = [(None, way) for way in ((False, True) if rolled is None else (rolled,))]
    last_way = ways[-1][1]
    for level, way in [*ways, *((level, last_way) for level in range(deepest, 0, -1))]:
        homes = _boxes_at(trace, level, way, composites)
        if len(homes.nodes) <= MAX_BOXES:
            found = _connect(trace, homes, level)
            if _measure_arrows(found) <= MAX_LENGTH:
                return found
    homes = _boxes_at(trace, None, last_way, composites)
    run = max(2, -(-len(homes.nodes) // MAX_BOXES))
    return _connect(trace, _fold_runs(homes, run), None, run)


def _measure_arrows(boxes: Boxes) -> int:
    """Return how many levels all arrows cross together: what placing them costs."""
    level = dict.fromkeys(boxes.nodes, 0)
    for tail, head in sorted(boxes.forward, key=_order_of(boxes)):
        level[head] = max(level[head], level[tail] + 1)
    return sum(abs(level[head] - level[tail]) for tail, head in (*boxes.forward, *boxes.back))


def _order_of(boxes: Boxes) -> Callable[[Arrow], int]:
    order = {name: place for place, name in enumerate(boxes.nodes)}
    return lambda arrow: order[arrow.tail]


def _nesting(path: str) -> int:
    return path.count(".") + 1 if path else 0


# ---------------------------------------------------------------------- which event is in which box


@dataclass(slots=True)
class _Homes:
    """Boxes, and the one that each event is in."""

    nodes: dict[str, Box] = field(default_factory=dict)
    of_event: dict[int, str] = field(default_factory=dict)


def _boxes_at(trace: Trace, fold: int | None, rolled: bool, composites: bool) -> _Homes:
    """Put each event into its box."""
    names, homes = trace.names, _Homes()
    numbers = {id(item): n for place in names.places.values() for n, item in enumerate(place.passes, 1)}
    for event in trace.recording.events:
        place = names.of_event[event.index][0]
        item: Event | Scope = event
        if fold is not None and _nesting(place.module) >= fold:
            place, item = _folded_module(trace, event, fold)
        elif place.composite and not composites:
            place, item = _outermost_composite(trace, place, event)
        number = 0 if rolled or len(place.passes) < 2 else numbers.get(id(item), 0)
        name = f"{place.address}:{number}" if number else place.address
        box = homes.nodes.get(name)
        if box is None:
            box = homes.nodes[name] = _make_box(name, place, number)
        box.members.append(event.index)
        homes.of_event[event.index] = name
    for box in homes.nodes.values():
        _unfold_if_single(trace, box)
    _merge_lonely_modules(homes.nodes.values())
    return homes


def _folded_module(trace: Trace, event: Event, fold: int) -> tuple[Place, Event | Scope]:
    """Return the module at the level of folding, and the call of it that an event is in."""
    place = trace.names.of_event[event.index][0]
    path = ".".join(place.module.split(".")[:fold])
    folder = trace.names.places.get(path)
    if folder is None:  # a list of modules: it was never called
        return Place(path, "", path, "module"), event
    scope: Scope | None = event.scope
    while scope is not None and scope.path != path:
        scope = scope.parent
    return folder, scope or event


def _outermost_composite(trace: Trace, place: Place, event: Event) -> tuple[Place, Event | Scope]:
    scope = event.scope
    while place.composite:
        place = trace.names.places[place.composite]
    while scope.parent is not None and scope.parent.path is None:
        scope = scope.parent
    return place, scope


def _make_box(name: str, place: Place, number: int) -> Box:
    title, cluster = place.name, place.module
    if place.kind == "module":
        last = place.address.rsplit(".", 1)[-1]
        title = f"{last}: {place.name}" if place.name else last
        cluster = place.address.rpartition(".")[0]
    folds = place.kind != "operation"
    return Box(name, title, cluster, place.address, [], folds, number, len(place.passes) or 1)


def _unfold_if_single(trace: Trace, box: Box) -> None:
    """Name a folded module after its operation where it has only one."""
    operations = {trace.names.of_event[index][0].name for index in box.members}
    if box.folds and len(operations) == 1 and len(box.members) == (1 if box.number else box.n_passes):
        box.folds = False
        if trace.names.places[box.address].kind == "module":
            box.title = f"{box.address.rsplit('.', 1)[-1]}: {operations.pop()}"


def _merge_lonely_modules(boxes: Iterable[Box]) -> None:
    """Draw a module that holds a single box as this box, without a frame around it."""
    boxes = list(boxes)
    per_cluster = Counter(cluster for cluster, _ in {(box.cluster, box.address) for box in boxes})
    holders = {".".join(c.split(".")[:n]) for c in per_cluster for n in range(1, c.count(".") + 1)}
    for box in boxes:
        path = box.cluster
        if path and per_cluster[path] == 1 and path not in holders:
            box.title = f"{path.rsplit('.', 1)[-1]}: {box.title}"
            box.cluster = path.rpartition(".")[0]


def _fold_runs(homes: _Homes, run: int) -> _Homes:
    """Make every `run` boxes in a row one."""
    boxes = list(homes.nodes.values())
    merged = _Homes()
    for start in range(0, len(boxes), run):
        part = boxes[start : start + run]
        first, last = part[0], part[-1]
        title = first.name if first is last else f"{first.name} …\n{last.name}"
        members = [index for box in part for index in box.members]
        merged.nodes[first.name] = Box(first.name, title, "", "", members, folds=True)
        merged.of_event |= dict.fromkeys(members, first.name)
    return merged


# ---------------------------------------------------------------------- what flows between them


def _connect(trace: Trace, homes: _Homes, level: int | None, run: int = 1) -> Boxes:
    """Find the arrows. One into an earlier box, or into the same by another pass, is a loop."""
    order = {name: place for place, name in enumerate(homes.nodes)}
    forward: dict[Arrow, None] = {}
    back: dict[Arrow, None] = {}
    for index, parents in enumerate(trace.graph.parents):
        head = homes.of_event[index]
        for parent in parents:
            tail = homes.of_event[parent]
            if order[tail] < order[head]:
                forward[Arrow(tail, head)] = None
            elif tail != head or _is_next_pass(trace, homes.nodes[head], parent, index):
                back[Arrow(tail, head)] = None
    parameters = name_parameters(trace)
    for box in homes.nodes.values():
        box.n_parameters = count_parameters((trace.recording.events[i] for i in box.members), parameters)
    branches = _find_branches(trace, homes)
    return Boxes(homes.nodes, tuple(forward), tuple(back), branches, level, run)


def _is_next_pass(trace: Trace, box: Box, parent: int, index: int) -> bool:
    """Tell whether what flows inside a box goes from one of its passes to another."""
    if not box.folds:
        return True
    if not box.address or box.n_passes < 2 or box.number:
        return False
    return _call_of(trace, box.address, parent) is not _call_of(trace, box.address, index)


def _call_of(trace: Trace, address: str, index: int) -> Scope | None:
    """Return the call of a module or composite that an event is in."""
    calls = {id(item) for item in trace.names.places[address].passes}
    scope: Scope | None = trace.recording.events[index].scope
    while scope is not None and id(scope) not in calls:
        scope = scope.parent
    return scope


def _find_branches(trace: Trace, homes: _Homes) -> dict[Arrow, Branch]:
    """Return, for each side of an `if` that a tensor decided, the arrow to the first box that ran on it."""
    found: dict[Arrow, Branch] = {}
    if not any(mark.result is not None for mark in trace.recording.readouts):
        return found
    seen = set()
    for event in trace.recording.events:
        branch = Operation(trace, trace.pass_address(event.index)).branch
        if branch is None or not branch.decided_by:
            continue
        side = (branch.source, branch.taken, branch.decided_by)
        if side in seen:
            continue
        seen.add(side)
        deciders = (trace.resolve(address).values[0].event.index for address in branch.decided_by)
        for decider in deciders:
            found.setdefault(Arrow(homes.of_event[decider], homes.of_event[event.index]), branch)
    return found


# ---------------------------------------------------------------------- what is written into them


def say_shapes(trace: Trace, box: Box) -> str:
    """Write the shapes of what a box gives."""
    if not box.address or box.address not in trace.names.places:
        return ""
    passes = trace.names.places[box.address].passes
    items = [passes[box.number - 1]] if box.number else passes
    shapes = dict.fromkeys(tuple(value.shape) for item in items for value in results(item).values())
    texts = ["×".join(map(str, shape)) or "scalar" for shape in shapes]
    return " | ".join(texts if len(texts) <= 3 else [*texts[:2], f"{len(texts) - 2} more"])


def say_parameters(trace: Trace, box: Box) -> str:
    """Write how many parameters a box reads; buffers are none."""
    return say_number(box.n_parameters, "parameter") if box.n_parameters else ""


def say_flops(trace: Trace, box: Box) -> str:
    """Write how many floating-point operations a box takes; nothing where torch counts none."""
    counts = [count_flops(trace.recording.events[index]) for index in box.members]
    total = sum(count for count in counts if count is not None)
    return f"{say_count(total)}FLOP" if total else ""


DETAILS: Mapping[str, Callable[[Trace, Box], str]] = {
    "shape": say_shapes,
    "parameters": say_parameters,
    "flops": say_flops,
}
