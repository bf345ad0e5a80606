"""Who made what from what: parents, children and depth, over events."""

from __future__ import annotations

from dataclasses import dataclass

from neurolens.recording.events import Event, Recording
from neurolens.recording.garbage import collected_rarely


@dataclass(frozen=True, slots=True)
class Graph:
    """The data flow of a recording, over indexes of events.

    `above` is the longest path that ends at an event, counted from the inputs (an input has 0); `below` the
    longest that leads from it to an event nobody reads.
    """

    parents: tuple[tuple[int, ...], ...]
    children: tuple[tuple[int, ...], ...]
    above: tuple[int, ...]
    below: tuple[int, ...]

    def depth(self, index: int) -> float:
        """Return the longest path from the inputs as a fraction of the longest there is, in [0, 1]."""
        return self.above[index] / max(max(self.above, default=0), 1)


@collected_rarely
def build_graph(recording: Recording) -> Graph:
    """Derive the data flow. A write is a parent of whatever reads that memory later, by any view."""
    events = recording.events
    count = len(events)
    parents = [_parents(event, events) for event in events]
    children: list[list[int]] = [[] for _ in range(count)]
    above = [0] * count
    below = [0] * count
    for index, above_it in enumerate(parents):
        for parent in above_it:
            children[parent].append(index)
        above[index] = 1 + max((above[p] for p in above_it), default=-1)
    for index in reversed(range(count)):
        below[index] = 1 + max((below[c] for c in children[index]), default=-1)
    return Graph(tuple(parents), tuple(map(tuple, children)), tuple(above), tuple(below))


def _parents(event: Event, events: list[Event]) -> tuple[int, ...]:
    """Return the events that made or wrote what an event reads; parameters have no event in the list.

    Where memory was written by way of another tensor, both count: who wrote it last, and who made the rest.
    """
    found = set()
    for value in event.inputs():
        found.add(value.event)
        if value.base is not None:
            found.add(value.base.event)
    known = (e.index for e in found if 0 <= e.index < event.index and events[e.index] is e)
    return tuple(sorted(known))
