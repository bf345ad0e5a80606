"""The graphs that a model was seen to run: a batch that runs a known one needs no names of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from neurolens.errors import AddressError
from neurolens.recording.addresses import Names, Target, expand, resolve, results
from neurolens.recording.events import Event, Recording, Value

Signature = list[tuple[object, ...]]
Picks = dict[str, list[tuple[int, str]]]  # address -> for each pass, the event and the place in its result

_MOST = 16  # graphs that are remembered


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph: what identifies it, where in it the values of each address are, and what its events are called."""

    signature: Signature
    picks: Picks
    addresses: tuple[str, ...]

    def find(self, recording: Recording, wanted: Sequence[str]) -> dict[str, list[Value]] | None:
        """Return the values of addresses in a recording; None if it is of another graph, or stopped too early."""
        count = len(recording.events)
        known = [address for address in wanted if address in self.picks]
        if recording.complete and count != len(self.signature):
            return None
        if not recording.complete and count <= self.last(known):
            return None
        if sign(recording.events) != self.signature[:count]:
            return None
        return {
            address: [results(recording.events[index])[label] for index, label in self.picks[address]]
            for address in known
        }

    def last(self, addresses: Iterable[str]) -> int:
        """Return the number of the last event that any of some addresses needs."""
        return max((index for a in addresses for index, _ in self.picks.get(a, ())), default=0)

    def address_before(self, events: Sequence[Event]) -> str:
        """Return what the last of some events is called; "" if they are no beginning of this graph."""
        if not events or sign(events) != self.signature[: len(events)]:
            return ""
        return self.addresses[len(events) - 1]


class Graphs:
    """The graphs of a model, the latest first; at most sixteen."""

    def __init__(self) -> None:
        self._known: list[Graph] = []

    @property
    def is_empty(self) -> bool:
        """Whether no graph is known."""
        return not self._known

    def add(self, recording: Recording, names: Names, targets: Mapping[str, Target]) -> None:
        """Remember the graph of a complete recording."""
        picks = {
            address: [(value.event.index, _label_of(value)) for value in target.values]
            for address, target in targets.items()
        }
        addresses = tuple(names.of_event[event.index][0].address for event in recording.events)
        self._known = [Graph(sign(recording.events), picks, addresses), *self._known][:_MOST]

    def find(self, recording: Recording, wanted: Sequence[str]) -> dict[str, list[Value]] | None:
        """Return the values of addresses in a recording; None if its graph is not known."""
        for graph in self._known:
            found = graph.find(recording, wanted)
            if found is not None:
                return found
        return None

    def last(self, addresses: Sequence[str]) -> int:
        """Return the number of the last event that addresses need in any known graph."""
        return max(graph.last(addresses) for graph in self._known)

    def address_before(self, events: Sequence[Event]) -> str:
        """Return what the last of some events is called; "" if no known graph begins so."""
        return next((found for graph in self._known if (found := graph.address_before(events))), "")


def sign(events: Sequence[Event]) -> Signature:
    """Return what two recordings share when the same operations ran in the same order at the same places."""
    return [
        (event.facts, event.scope.path, *((code, offset) for code, offset, _ in event.site))
        for event in events
    ]


def digest(recording: Recording, names: Names) -> str:
    """Return a hash of which operations ran, on what shapes: equal in every process that runs the same model."""
    content = hashlib.blake2b(digest_size=8)
    for event in recording.events:
        shapes = [(label, tuple(value.shape), str(value.dtype)) for label, value in results(event).items()]
        content.update(repr((names.of_event[event.index][0].address, event.facts.name, shapes)).encode())
    return content.hexdigest()


def find_aliases(names: Names, planned: Iterable[Target]) -> dict[str, str]:
    """Return every address that means what is planned under another one, to that other one.

    A module that gives out an operation's tensor is an alias of the operation; so is what was asked for twice.
    """
    homes: dict[tuple[int, ...], str] = {}
    for target in sorted(
        planned, key=lambda t: (-len(t.values), t.place is None or t.place.kind != "operation")
    ):
        for values, address in _with_passes(target):
            homes.setdefault(values, address)
    outputs = (Target(address, None, "", (value,)) for address, value in names.outputs.items())
    everything = (target for address in names.places if address for target in expand(names, address))
    return {
        address: homes[values]
        for target in (*everything, *outputs)
        for values, address in _with_passes(target)
        if homes.get(values, address) != address
    }


def find_target(names: Names, address: str) -> Target | None:
    """Find a planned address in another recording; None where it did not run."""
    try:
        target = resolve(names, address)
    except AddressError:
        return None
    return target if target.address == address else None  # it may be another operation's alias there


def _with_passes(target: Target) -> Iterator[tuple[tuple[int, ...], str]]:
    """Walk a target and each of its passes: what identifies the tensors, and the address."""
    yield tuple(map(id, target.values)), target.address
    if len(target.values) > 1:
        for number, value in enumerate(target.values, 1):
            yield (id(value),), f"{target.address}:{number}"


def _label_of(value: Value) -> str:
    return next(label for label, other in results(value.event).items() if other is value)
