"""One address for every position in a model's code, over recordings whose graphs differ."""

from __future__ import annotations

import re
from dataclasses import replace

from neurolens.recording.addresses import Names, Place, assign_names
from neurolens.recording.events import Recording, Scope
from neurolens.recording.passes import Key, as_operation, find_keys

_NUMBER = re.compile(r"_\d+$")


class AddressBook:
    """Names recordings of one model so that an address always means the same position in its code.

    Where a model branches, a recording of its own would number what it met: the second `relu` of one batch may
    be the first of another. Here a position keeps the address it was first given, and one that is met later
    takes the next free number.
    """

    def __init__(self) -> None:
        self._address_of: dict[Key, str] = {}
        self._taken: set[str] = set()

    def name(self, recording: Recording) -> Names:
        """Return the names of a recording; known positions by their known addresses."""
        names = assign_names(recording)
        keys = find_keys(recording)
        renamed: dict[str, str] = {}  # composites come before what is inside them
        for address, place in names.places.items():
            renamed[address] = self._find(place, _key_of(place, keys), renamed)
        if all(old == new for old, new in renamed.items()):
            return names
        for place in names.places.values():
            place.address, place.composite = renamed[place.address], renamed.get(place.composite, "")
        return replace(
            names,
            places={renamed[address]: place for address, place in names.places.items()},
            operations={renamed[address]: place for address, place in names.operations.items()},
        )

    def _find(self, place: Place, key: Key | None, renamed: dict[str, str]) -> str:
        if key is None:
            self._taken.add(place.address)
            return place.address
        known = self._address_of.get(key)
        if known is None:
            outer = place.composite
            address = renamed.get(outer, outer) + place.address.removeprefix(outer)
            known = self._address_of[key] = self._next_free(address)
            self._taken.add(known)
        return known

    def _next_free(self, address: str) -> str:
        stem, number = _NUMBER.sub("", address), 1
        while address in self._taken:
            address = f"{stem}_{number}"
            number += 1
        return address


def _key_of(place: Place, keys: dict[int, Key]) -> Key | None:
    """Return the key of a place; None for a module, whose path is its name."""
    first = place.sites[0]
    if place.kind == "module":
        return None
    key = keys[id(first)]
    return as_operation(key) if isinstance(first, Scope) and place.kind == "operation" else key
