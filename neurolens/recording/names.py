"""Names that last: module path + plain name, numbered inside the module in the order in which places are met."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from neurolens.recording.events import Event, Recording, Scope, Value, labelled_leaves
from neurolens.recording.garbage import collected_rarely
from neurolens.recording.passes import Key, as_operation, find_keys

INPUT, OUTPUT = "input", "output"


@dataclass(slots=True, eq=False)
class Place:
    """One place in the code of one module: an operation, a composite, or a module; with every time it ran."""

    address: str
    name: str  # the plain name of the function; the class of a module
    module: str  # path of the module it is in
    kind: str  # "operation", "composite" or "module"
    passes: list[Event | Scope] = field(default_factory=list)
    # each pass as it was called: where a composite is folded into it, the composite
    sites: list[Event | Scope] = field(default_factory=list)
    composite: str = ""  # address of the composite it is inside


@dataclass(frozen=True, slots=True)
class Target:
    """What an address means: tensors, one for each pass and each place in the result."""

    address: str
    place: Place | None  # None for the model's output
    label: str  # "[0]", "[values]" or ""
    values: tuple[Value, ...]  # one a pass


@dataclass(slots=True, eq=False)
class Names:
    """All addresses of a recording."""

    places: dict[str, Place]  # operations, composites and modules, by address
    operations: dict[str, Place]  # operations alone, in the order they first ran
    of_event: dict[int, tuple[Place, int]]  # index of an event -> its operation and number of the pass
    inputs: dict[str, Value]
    outputs: dict[str, Value]
    input: str = INPUT  # what the inputs are called: another name where a module has this one
    output: str = OUTPUT
    twins: Mapping[str, str] = field(default_factory=dict)  # further paths of modules, see Recording
    root: Scope | None = None
    aliases: dict[str, str] | None = None  # fx node name -> address; None until one is asked for


@collected_rarely
def assign_names(recording: Recording) -> Names:
    """Derive the addresses of everything in a recording."""
    keys = find_keys(recording)
    ordered = list(walk(recording.root))
    foldable = _foldable_keys(ordered, keys)
    namer = _Namer(set(recording.module_paths) | {s.path for s in ordered if isinstance(s, Scope) and s.path})
    places: dict[str, Place] = {}
    by_key: dict[Key, Place] = {}
    folded_into: dict[int, Place] = {}  # a folded composite's scope -> the operation it is
    outermost: dict[int, Scope] = {}  # a folded composite -> the one around it that was called
    for item in ordered:
        if isinstance(item, Scope) and item.path is not None:
            place = places.setdefault(
                item.path, Place(item.path, type(item.module).__name__, item.path, "module")
            )
            place.passes.append(item)
            place.sites.append(item)
            continue
        scope = item.parent if isinstance(item, Scope) else item.scope
        assert scope is not None
        assert item.facts is not None
        key = keys[id(item)]
        if id(scope) in folded_into:
            place = folded_into[id(scope)]
            called = outermost[id(scope)]
        else:
            called = item if isinstance(item, Scope) else None  # type: ignore[assignment]
            found_key = as_operation(key) if key in foldable else key
            found = by_key.get(found_key)
            if found is None:
                inside = "" if scope.path is not None else by_key[keys[id(scope)]].address
                module = scope.module_scope.path or ""
                kind = "composite" if isinstance(item, Scope) and key not in foldable else "operation"
                address = namer.name(inside or module, item.facts.name)
                found = by_key[found_key] = Place(address, item.facts.name, module, kind, composite=inside)
                places[address] = found
            place = found
        if isinstance(item, Scope) and key in foldable:
            folded_into[id(item)] = place
            outermost[id(item)] = called
            continue
        place.passes.append(item)
        place.sites.append(called or item)
    operations = {a: p for a, p in places.items() if p.kind == "operation"}
    events = (
        (e, p, n) for p in operations.values() for n, e in enumerate(p.passes, 1) if isinstance(e, Event)
    )
    input_ = next((a for a, p in operations.items() if p.name == INPUT), INPUT)
    output = namer.name("", OUTPUT)
    return Names(
        places,
        operations,
        {event.index: (place, number) for event, place, number in events},
        _input_names(recording, input_),
        {output + label: value for label, value in labelled_leaves(recording.output)},
        input_,
        output,
        recording.twins,
        recording.root,
    )


def walk(scope: Scope) -> Iterator[Event | Scope]:
    """Walk events and scopes in the order in which they began."""
    stack: list[Iterator[Event | Scope]] = [iter(scope.children)]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
            continue
        yield item
        if isinstance(item, Scope):
            stack.append(iter(item.children))


def _foldable_keys(ordered: Iterable[Event | Scope], keys: Mapping[int, Key]) -> set[Key]:
    """Return the composites that consist of one operation of their own name, each time they ran."""
    verdict: dict[Key, bool] = {}
    single: dict[int, bool] = {}

    def is_single(scope: Scope) -> bool:
        known = single.get(id(scope))
        if known is None:
            child = scope.children[0]
            same = len(scope.children) == 1 and child.facts is not None and child.facts.name == _name(scope)
            known = same and (isinstance(child, Event) or is_single(child))
            single[id(scope)] = known
        return known

    for item in ordered:
        if isinstance(item, Scope) and item.path is None:
            key = keys[id(item)]
            verdict[key] = verdict.get(key, True) and is_single(item)
    return {key for key, folds in verdict.items() if folds}


def _name(scope: Scope) -> str:
    assert scope.facts is not None
    return scope.facts.name


class _Namer:
    """Hands out names inside modules: the first is bare, the next `_1`; a module's path is never given."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.next: dict[str, int] = defaultdict(int)

    def name(self, place: str, stem: str) -> str:
        base = f"{place}.{stem}" if place else stem
        while True:
            number = self.next[base]
            self.next[base] += 1
            address = f"{base}_{number}" if number else base
            if address not in self.taken:
                self.taken.add(address)
                return address


def _input_names(recording: Recording, base: str) -> dict[str, Value]:
    single = len(recording.inputs) == 1
    return {
        (base if single else f"{base}.{name}") + label: value
        for name, structure in recording.inputs.items()
        for label, value in labelled_leaves(structure)
    }


def results(item: Event | Scope) -> dict[str, Value]:
    """Return the tensors that came of an event or scope, by their place in the result."""
    found = dict(labelled_leaves(item.out))
    if not found and isinstance(item, Event):
        written = item.written
        return {"": written[0]} if len(written) == 1 else {f"[{i}]": v for i, v in enumerate(written)}
    return found
