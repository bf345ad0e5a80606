"""Which operations of a recording a run computes: what patterns and functions choose, and what is no array."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from neurolens.activations.assemble import LayoutPlanner
from neurolens.activations.axes import Axes, StimulusAxis
from neurolens.activations.operations import (
    Candidate,
    Ops,
    Predicate,
    as_patterns,
    describe_candidate,
    say_unknown,
)
from neurolens.errors import AddressError, ModelError, list_names
from neurolens.recording.addresses import Names, Target, is_glob, resolve, results, select
from neurolens.recording.events import Value
from neurolens.recording.keeping import Keep, keep_for


class Chooser:
    """Chooses operations by the patterns of a run.

    Parameters
    ----------
    ops
        Globs, addresses, functions.
    model
        Its name, for messages.
    """

    def __init__(self, ops: Ops, model: str) -> None:
        self.patterns = as_patterns(ops)
        self.model = model
        self.predicates = [pattern for pattern in self.patterns if not isinstance(pattern, str)]
        named = [pattern for pattern in self.patterns if isinstance(pattern, str)]
        self.globs = ["**"] if self.predicates else named

    @property
    def is_open(self) -> bool:
        """Whether operations may be chosen that are not known yet."""
        return bool(self.predicates) or any(map(is_glob, self.globs))

    @property
    def rule(self) -> Keep | bool:
        """What to keep of a batch before anything is planned."""
        return keep_for(self.globs)

    def choose(
        self,
        names: Names,
        axes: Axes,
        planner: LayoutPlanner,
        left_out: dict[str, str],
        *,
        within: str = "",
    ) -> list[Target]:
        """Return what is chosen and is an array over stimuli.

        What a glob or a function chose and is none goes into `left_out`, with the reason. `within` says which of
        the stimuli were run, where others follow.

        Raises
        ------
        AddressError
            If a pattern matches nothing, or names what is no array over stimuli.
        ModelError
            If nothing is left.
        """
        chosen: dict[str, Target] = {}
        for pattern in self.patterns:
            try:
                targets = self._match(names, pattern, axes, planner)
            except AddressError as error:
                raise _explain(error, within) from None
            for target in self._keep_arrays(targets, names, axes, planner, left_out):
                chosen.setdefault(target.address, target)
        if not chosen:
            address, reason = next(iter(left_out.items()))
            raise ModelError(
                f"Nothing that {list_names(self.patterns)} matches in {self.model} is an array over stimuli; "
                f"{address!r}: {reason}."
            )
        return list(chosen.values())

    def find_new(self, names: Names, known: Collection[str]) -> list[Target]:
        """Return what may be chosen in a recording and is not among `known`."""
        found: dict[str, Target] = {}
        for pattern in self.globs:
            for target in _select_known(names, pattern) if is_glob(pattern) else ():
                if target.address not in known and f"{target.address}:1" not in known:
                    found.setdefault(target.address, target)
        return list(found.values())

    def choose_new(
        self,
        names: Names,
        axes: Axes,
        planner: LayoutPlanner,
        known: Collection[str],
        left_out: dict[str, str],
    ) -> list[Target]:
        """Return what is chosen, is an array over stimuli, and is not among `known`; see `choose`."""
        targets = self.find_new(names, known)
        arrays = self._keep_arrays(targets, names, axes, planner, left_out)
        if not self.predicates:
            return arrays
        chosen = []
        for target in arrays:
            if any(predicate(_describe(planner, target)) for predicate in self.predicates):
                chosen.append(target)
            else:
                left_out[target.address] = "not chosen"
        return chosen

    def _match(
        self, names: Names, pattern: str | Predicate, axes: Axes, planner: LayoutPlanner
    ) -> list[Target]:
        """Return what a pattern matches; of arrays alone, where it is a function."""
        if isinstance(pattern, str):
            return select(names, pattern)
        arrays = self._keep_arrays(select(names, "**"), names, axes, planner, {})
        chosen = [target for target in arrays if pattern(_describe(planner, target))]
        if not chosen:
            raise AddressError(say_unknown(pattern, names.operations))
        return chosen

    def _keep_arrays(
        self,
        targets: Iterable[Target],
        names: Names,
        axes: Axes,
        planner: LayoutPlanner,
        left_out: dict[str, str],
    ) -> list[Target]:
        kept = []
        for target in targets:
            reason = next((w.reason for w in _axes_of(names, axes, target) if w.is_undefined), None)
            if reason is None:
                kept += self._split_passes(names, planner, target)
            elif target.address in self.patterns:
                raise AddressError(f"{target.address!r} is no array over stimuli: {reason}.")
            else:
                left_out[target.address] = reason
        return kept

    def _split_passes(self, names: Names, planner: LayoutPlanner, target: Target) -> list[Target]:
        """Take passes that can't be stacked one by one, unless the operation was asked for by its name."""
        if planner.is_stackable(target) or target.address in self.patterns:
            return [target]
        return [resolve(names, f"{target.address}:{number}") for number, _ in enumerate(target.values, 1)]


def _explain(error: AddressError, within: str) -> AddressError:
    """Say what to do where an operation may run for later stimuli only."""
    if not within:
        return error
    return AddressError(
        f"{error} Patterns must match what the first batch runs ({within}). To choose what runs for others only, put "
        "one of these first, or choose with a pattern that also matches something here: what it matches later is "
        "taken too."
    )


def _describe(planner: LayoutPlanner, target: Target) -> Candidate:
    layout = planner.plan(target)
    return describe_candidate(target.address, layout.dims, layout.shape, "", layout.attrs)


def _axes_of(names: Names, axes: Axes, target: Target) -> Iterator[StimulusAxis]:
    for value in target.values:
        place, number = names.of_event[value.event.index]
        yield axes.of(place.address, number, _label_of(value))


def _label_of(value: Value) -> str:
    return next(label for label, other in results(value.event).items() if other is value)


def _select_known(names: Names, pattern: str) -> list[Target]:
    try:
        return select(names, pattern)
    except AddressError:
        return []
