"""From addresses and patterns to tensors: what a name means, and errors that say what there is instead."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from neurolens.errors import AddressError, list_names, near_misses
from neurolens.recording.aliases import fx_aliases
from neurolens.recording.events import Recording, Scope, Value
from neurolens.recording.names import INPUT, OUTPUT, Names, Place, Target, assign_names, results, walk

__all__ = [
    "INPUT",
    "OUTPUT",
    "Names",
    "Place",
    "Target",
    "assign_names",
    "expand",
    "find_module_outputs",
    "is_glob",
    "matches",
    "own_address",
    "resolve",
    "results",
    "select",
    "split_address",
]

_PASS = re.compile(r"(?P<rest>.*):(?P<number>\d+)\Z", re.DOTALL)  # a module's name may hold a line break


def resolve(names: Names, address: str) -> Target:
    """Find what `address` means.

    Raises
    ------
    AddressError
        If nothing has it (the message lists near misses), or it means several tensors (it lists them).
    """
    address = own_address(names, address)
    if address in names.inputs:
        return Target(address, names.operations.get(names.input), "", (names.inputs[address],))
    if address in names.outputs:
        return Target(address, None, "", (names.outputs[address],))
    for base, pool in ((names.input, names.inputs), (names.output, names.outputs)):
        if address == base and pool:
            raise AddressError(f"{address!r} is several tensors: {list_names(pool)}. Ask for one of these.")
    place, label, number = split_address(names, address)
    check_place(place, "", number)
    passes = place.passes if number is None else [place.passes[number - 1]]
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


def own_address(names: Names, address: str) -> str:
    """Return `address` where it means something, else the one that it is the fx node name of.

    Raises
    ------
    AddressError
        If it is neither; the message lists near misses.
    """
    ends = (*names.inputs, *names.outputs, names.input, names.output)
    if address in ends or _split(names, address) is not None:
        return address
    alias = fx_aliases(names).get(address)
    if alias is None:
        close = near_misses(address, [*names.places, *names.inputs, *names.outputs])
        hint = f" Near misses: {list_names(close)}." if close else ""
        raise AddressError(f"No operation or module is called {address!r}.{hint}")
    return alias


def check_place(place: Place, label: str, number: int | None) -> None:
    """Raise AddressError unless a place has this pass, and this part in its result."""
    if number is not None and not 1 <= number <= len(place.passes):
        raise AddressError(
            f"{place.address!r} ran {len(place.passes)} time(s), so there is no pass {number}."
        )
    parts = dict.fromkeys(key for item in place.passes for key in results(item))
    if label and label not in parts:
        shown = list_names(place.address + key for key in parts)
        raise AddressError(f"{place.address!r} gave {shown or 'no tensor'}, so it has no part {label!r}.")


def split_address(names: Names, address: str) -> tuple[Place, str, int | None]:
    """Split an address into the place, the label of a part of its result, and the number of a pass.

    Raises
    ------
    AddressError
        If it is the address of nothing that ran, or of a single input or output.
    """
    found = _split(names, own_address(names, address))
    if found is None:
        raise AddressError(
            f"{address!r} is no operation or module, but what the model was given or gave back."
        )
    return found


def _split(names: Names, address: str) -> tuple[Place, str, int | None] | None:
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
    return (names.places[rest], label, number) if rest in names.places else None


def _by_twin(names: Names, address: str) -> str:
    """Put the path that a module goes by in the place of another one that it has."""
    parts = address.split(".")
    for cut in range(len(parts), 0, -1) if names.twins and address not in names.places else ():
        path = names.twins.get(".".join(parts[:cut]))
        if path is not None:
            return ".".join([path, *parts[cut:]] if path else parts[cut:])
    return address


# ---------------------------------------------------------------------- patterns


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*\.|\*+|\?)", pattern)
    regex = {"**.": r"(?:.*\.)?", "?": "."}
    return re.compile(
        "".join(regex.get(p) or (".*" if p.startswith("*") else re.escape(p)) for p in parts) + r"\Z",
        re.DOTALL,
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


def find_module_outputs(recording: Recording, addresses: Iterable[str]) -> list[Value] | None:
    """Return what modules gave out, without naming anything else; None unless every address is such a module's path."""
    wanted = set(addresses)
    if not wanted.issubset(recording.module_paths):
        return None
    found: dict[str, list[Value]] = {}
    for item in walk(recording.root):
        if isinstance(item, Scope) and item.path in wanted:
            found.setdefault(item.path, []).extend(results(item).values())
    if found.keys() != wanted or not all(found.values()):
        return None  # one did not run, or gave no tensor
    return [value for values in found.values() for value in values]


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
    address = own_address(names, address)
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
