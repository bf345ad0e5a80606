"""Keeping no more activations at once than a budget allows: what is refused in one run is kept in a later one."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

from neurolens.recording import compat
from neurolens.recording.events import Event, Scope
from neurolens.recording.keeping import Keep
from neurolens.recording.scopes import current_recorder

Place = tuple[str, ...]  # a function's name, the composites around it, the path of the module they are in


class Ration:
    """A rule of what to keep, with a limit: once `budget` bytes are held, what else is wanted is refused.

    The first place that is wanted is never refused, so that runs which each take up the refused places of the
    last come to an end.

    Attributes
    ----------
    refused
        The places that were wanted and not kept.
    """

    def __init__(self, wanted: Keep | bool, budget: float) -> None:
        self.wanted = wanted
        self.budget = budget
        self.refused: set[Place] = set()
        self._answers: dict[Place, bool] = {}
        self._n_counted = 0
        self._n_bytes = 0
        self._storages: set[int] = set()

    def keep(self, scope: Scope, name: str) -> bool:
        """Say whether to keep what `name` gives in `scope`; a second run is given the answers of the first."""
        place = locate(scope, name)
        answer = self._answers.get(place)
        if answer is None:
            wanted = self.wanted if isinstance(self.wanted, bool) else self.wanted(scope, name)
            answer = wanted and (self._count_bytes() < self.budget or not any(self._answers.values()))
            self._answers[place] = answer
            if wanted and not answer:
                self.refused.add(place)
        return answer

    def _count_bytes(self) -> int:
        """Count what this recording holds, each memory once; the model's own parameters take none."""
        recorder = current_recorder()
        held = {} if recorder is None else recorder.ledger.memory.tensors
        if len(held) < self._n_counted:  # another run
            self._n_counted = self._n_bytes = 0
            self._storages.clear()
        for value, tensor in islice(held.items(), self._n_counted, None):
            key = compat.storage_key(tensor)
            if not value.parameter and key not in self._storages:
                self._storages.add(key)
                self._n_bytes += tensor.numel() * tensor.element_size()
        self._n_counted = len(held)
        return self._n_bytes


def wants_places(places: Collection[Place]) -> Keep:
    """Return the rule that keeps what is made at some places."""
    return lambda scope, name: locate(scope, name) in places


def locate(scope: Scope, name: str) -> Place:
    """Return where a function is called: what is the same whenever it runs."""
    place = [name]
    while scope.path is None:
        assert scope.facts is not None
        assert scope.parent is not None
        place.append(scope.facts.name)
        scope = scope.parent
    return (*place, scope.path)


def place_of(event: Event) -> Place:
    """Return where an event happened."""
    return locate(event.scope, event.facts.name)
