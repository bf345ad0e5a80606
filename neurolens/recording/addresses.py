"""Names that last: module path + plain name, numbered inside the module in the order in which places are met."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from neurolens.errors import AddressError, list_names, near_misses
from neurolens.recording.events import Event, Recording, Scope, Value, labelled_leaves
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
    sites: list[Event | Scope] = field(
        default_factory=list
    )  # where each pass was called: outside folded composites
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


def assign_names(recording: Recording) -> Names:
    """Derive the addresses of everything in a recording."""
    keys = find_keys(recording)
    ordered = list(_walk(recording.root))
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
    )


def _walk(scope: Scope) -> Iterator[Event | Scope]:
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


# ---------------------------------------------------------------------- from an address to tensors

_PASS = re.compile(r"^(?P<rest>.*):(?P<number>\d+)$")


def resolve(names: Names, address: str) -> Target:
    """Find what `address` means.

    Raises
    ------
    AddressError
        If nothing has it (the message lists near misses), or it means several tensors (it lists them).
    """
    if address in names.inputs:
        return Target(address, names.operations.get(names.input), "", (names.inputs[address],))
    if address in names.outputs:
        return Target(address, None, "", (names.outputs[address],))
    for base, pool in ((names.input, names.inputs), (names.output, names.outputs)):
        if address == base and pool:
            raise AddressError(f"{address!r} is several tensors: {list_names(pool)}. Ask for one of these.")
    place, label, number = split_address(names, address)
    passes = place.passes
    if number is not None:
        if not 1 <= number <= len(passes):
            raise AddressError(
                f"{place.address!r} ran {len(passes)} time(s), so there is no pass {number}: {address!r}."
            )
        passes = [passes[number - 1]]
    found = [results(item) for item in passes]
    labels = list(dict.fromkeys(key for result in found for key in result))
    if label not in labels:
        if not labels:
            raise AddressError(f"{address!r} returned no tensor, so it has no activation.")
        raise AddressError(
            f"{address!r} is not one tensor: {place.address!r} gave "
            f"{list_names(place.address + key for key in labels)}. "
            "Ask for one of these."
        )
    return Target(address, place, label, tuple(result[label] for result in found if label in result))


def split_address(names: Names, address: str) -> tuple[Place, str, int | None]:
    """Split an address into the place, the label of a part of its result, and the number of a pass."""
    rest, label, number = address, "", None
    if address in names.places:
        return names.places[address], "", None
    match = _PASS.match(rest)
    if match:
        rest, number = match["rest"], int(match["number"])
    while rest not in names.places and rest.endswith("]") and "[" in rest:
        rest, _, part = rest.rpartition("[")
        label = f"[{part}{label}"
    if number is None and (match := _PASS.match(rest)) and rest not in names.places:
        rest, number = match["rest"], int(match["number"])
    rest = _by_twin(names, rest)
    if rest not in names.places:
        known = [*names.places, *names.inputs, *names.outputs]
        close = near_misses(rest, known)
        hint = f" Near misses: {list_names(close)}." if close else ""
        raise AddressError(f"No operation or module is called {address!r}.{hint}")
    return names.places[rest], label, number


def _by_twin(names: Names, address: str) -> str:
    """Put the path that a module goes by in the place of another one that it has."""
    parts = address.split(".")
    for cut in range(len(parts), 0, -1) if names.twins and address not in names.places else ():
        path = names.twins.get(".".join(parts[:cut]))
        if path is not None:
            return ".".join([path, *parts[cut:]] if path else parts[cut:])
    return address


def results(item: Event | Scope) -> dict[str, Value]:
    """Return the tensors that came of an event or scope, by their place in the result."""
    found = dict(labelled_leaves(item.out))
    if not found and isinstance(item, Event):
        written = item.written
        return {"": written[0]} if len(written) == 1 else {f"[{i}]": v for i, v in enumerate(written)}
    return found


# ---------------------------------------------------------------------- patterns


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*\.|\*+|\?)", pattern)
    regex = {"**.": r"(?:.*\.)?", "?": "."}
    return re.compile(
        "".join(regex.get(p) or (".*" if p.startswith("*") else re.escape(p)) for p in parts) + r"\Z"
    )


def is_glob(pattern: str) -> bool:
    """Tell whether a pattern can match more than one address."""
    return "*" in pattern or "?" in pattern


def matches(pattern: str, address: str) -> bool:
    """Tell whether a glob matches: `*` and `**` any text, `?` one character; brackets mean themselves."""
    return _compile(pattern).match(address) is not None


def select(names: Names, patterns: str | Iterable[str]) -> list[Target]:
    """Choose tensors by patterns.

    A glob chooses operations; where it matches none, module outputs and composites, then inputs and outputs. A
    plain address chooses what it names. Results of several tensors become one target each. The order is that of
    execution for a glob, and no target comes twice.

    Raises
    ------
    AddressError
        If a pattern matches nothing; the message lists near misses.
    """
    chosen: dict[str, Target] = {}
    for pattern in [patterns] if isinstance(patterns, str) else list(patterns):
        for address in _addresses(names, pattern):
            for target in expand(names, address):
                chosen.setdefault(target.address, target)
    return list(chosen.values())


def _addresses(names: Names, pattern: str) -> list[str]:
    if not is_glob(pattern):
        return [pattern]
    for pool in (names.operations, names.places, (*names.inputs, *names.outputs)):
        found = [address for address in pool if matches(pattern, address)]
        if found:
            return found
    close = near_misses(pattern.replace("*", "").strip("."), names.places)
    hint = f" Near misses: {list_names(close)}." if close else ""
    raise AddressError(f"The pattern {pattern!r} matches no operation of this model.{hint}")


def expand(names: Names, address: str) -> list[Target]:
    """Return the targets of an address: one, or one for each tensor of its result; none where it gave none."""
    if address in names.inputs or address in names.outputs:
        return [resolve(names, address)]
    for base, pool in ((names.input, names.inputs), (names.output, names.outputs)):
        if address == base and pool:
            return [resolve(names, name) for name in pool]
    place, label, _ = split_address(names, address)
    if label:
        return [resolve(names, address)]
    labels = dict.fromkeys(key for item in place.passes for key in results(item))
    return [resolve(names, address + key) for key in labels]
