"""One address for every position in a model's code, over recordings whose graphs differ."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from types import CodeType

from neurolens.recording.addresses import Names, Place, assign_names
from neurolens.recording.events import Event, Recording, Scope
from neurolens.recording.passes import Key, as_operation, find_keys

_NUMBER = re.compile(r"_\d+$")


class AddressBook:
    """Names recordings of one model so that an address always means the same position in its code.

    Where a model branches, a recording of its own would number what it met: the second `relu` of one batch may
    be the first of another. Here a position keeps the address it was first given, and one that is met later
    takes the next free number.

    Parameters
    ----------
    known
        Addresses of positions that other processes met (`late`).

    Attributes
    ----------
    late
        Addresses of the positions that were met after `begin`, by a text that is the same in every process: a
        store keeps them, since the numbers depend on what was met before.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self.late: dict[str, str] = dict(known or {})
        self._address_of: dict[str, str] = {}
        self._taken: set[str] = set(self.late.values())
        self._has_begun = False

    def begin(self) -> None:
        """Note as late what is met from now on: what was met before is met in every process that plans."""
        self._has_begun = True

    def learn(self, known: Mapping[str, str]) -> None:
        """Take over the addresses of positions that another process met."""
        self.late.update(known)
        self._taken.update(known.values())

    def copy(self) -> AddressBook:
        """Return a book that knows the same, and from which this one learns nothing."""
        return copy.deepcopy(self)

    def name(self, recording: Recording) -> Names:
        """Return the names of a recording; known positions by their known addresses."""
        names = assign_names(recording)
        keys = find_keys(recording)
        positions = _Positions(recording)
        renamed: dict[str, str] = {}  # composites come before what is inside them
        for address, place in names.places.items():
            key = _key_of(place, keys)
            renamed[address] = self._find(place, None if key is None else positions.digest(key), renamed)
        if all(old == new for old, new in renamed.items()):
            return names
        for place in names.places.values():
            place.address, place.composite = renamed[place.address], renamed.get(place.composite, "")
        return replace(
            names,
            places={renamed[address]: place for address, place in names.places.items()},
            operations={renamed[address]: place for address, place in names.operations.items()},
        )

    def knows(self, recording: Recording) -> bool:
        """Tell whether every position of a recording has an address already."""
        keys, positions = find_keys(recording), _Positions(recording)
        places = assign_names(recording).places.values()
        found = (key for key in (_key_of(place, keys) for place in places) if key is not None)
        return all(
            digest in self._address_of or digest in self.late for digest in map(positions.digest, found)
        )

    def _find(self, place: Place, position: str | None, renamed: dict[str, str]) -> str:
        if position is None:
            self._taken.add(place.address)
            return place.address
        known = self._address_of.get(position) or self.late.get(position)
        if known is None:
            outer = place.composite
            address = renamed.get(outer, outer) + place.address.removeprefix(outer)
            known = self._next_free(address)
            if self._has_begun:
                self.late[position] = known
        self._address_of[position] = known
        self._taken.add(known)
        return known

    def _next_free(self, address: str) -> str:
        stem, number = _NUMBER.sub("", address), 1
        while address in self._taken:
            address = f"{stem}_{number}"
            number += 1
        return address


class _Positions:
    """Positions of a recording as texts that are the same in every process that runs the same code."""

    def __init__(self, recording: Recording) -> None:
        self.codes: dict[int, str] = {}
        for site in _sites(recording.root):
            for code, _, _ in site:
                self.codes.setdefault(id(code), "")
                if not self.codes[id(code)]:
                    self.codes[id(code)] = _say_code(code)

    def digest(self, key: Key) -> str:
        """Return a short hash of a key."""
        return hashlib.blake2b(self._say(key).encode(), digest_size=8).hexdigest()

    def _say(self, part: object) -> str:
        if isinstance(part, tuple):
            return f"({','.join(map(self._say, part))})"
        if isinstance(part, frozenset):
            return f"{{{','.join(sorted(map(self._say, part)))}}}"
        if isinstance(part, int) and part in self.codes:  # the id of a code object
            return self.codes[part]
        return repr(part)


def _say_code(code: CodeType) -> str:
    content = hashlib.blake2b(code.co_code, digest_size=8).hexdigest()
    return f"{PurePath(code.co_filename).name}:{code.co_qualname}:{code.co_firstlineno}:{content}"


def _sites(scope: Scope) -> list[tuple[tuple[CodeType, int, int], ...]]:
    pending: list[Event | Scope] = [scope]
    found = []
    while pending:
        item = pending.pop()
        found.append(item.site)
        if isinstance(item, Scope):
            pending += item.children
    return found


def _key_of(place: Place, keys: dict[int, Key]) -> Key | None:
    """Return the key of a place; None for a module, whose path is its name."""
    first = place.sites[0]
    if place.kind == "module":
        return None
    key = keys[id(first)]
    return as_operation(key) if isinstance(first, Scope) and place.kind == "operation" else key
