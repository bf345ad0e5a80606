"""Which calls are passes of one operation: positions in the source decide.

Two calls are passes of one operation when their keys are equal. A key holds the scope (a module's path, or the
key of a composite), the source positions from the scope down to the call, the function, the parameters it reads,
and the *loop context*: for every loop around one of these positions, what this iteration used at the positions
directly in that loop which are used with more than one module or parameter set; and, for positions in loops further
in, the family of modules that it used, where rounds use families that share nothing. So `for t in range(5)` gives
passes, and `for layer in self.layers` gives an operation for each layer, also where layers come in stages.
"""

from __future__ import annotations

import dis
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from types import CodeType

from neurolens.recording.events import Event, Recording, Scope, Site, leaves

Key = tuple[Hashable, ...]
Loop = tuple[int, int]  # first and last offset of the instructions that a backward jump repeats
Round = tuple[
    tuple[int, Loop], Key
]  # a loop in one activation of a frame, and which rounds of it and around it
_ByLoop = dict[tuple[int, Loop], dict[Key, dict[Key, list[Hashable]]]]


def find_keys(recording: Recording) -> dict[int, Key]:
    """Return the key of every event and composite, by `id`. A module call has none: its path is its name."""
    keys: dict[int, Key] = {}
    pending: list[tuple[Scope, Key]] = [(recording.root, ("",))]
    while pending:
        scope, scope_key = pending.pop()
        contexts = _loop_contexts(scope)
        sources = 0
        for item, context in zip(scope.children, contexts, strict=True):
            if isinstance(item, Scope) and item.path is not None:
                pending.append((item, (item.path,)))
                continue
            assert item.facts is not None
            sources = sources + 1 if item.facts.name == "source" else 0
            key: Key = (
                scope_key,
                tuple((id(code), place) for code, place in _places(item.site)),
                item.facts.name,
                isinstance(item, Scope),
                _parameters(item),
                context,
                max(sources - 1, 0),  # several sources may be met by one call
            )
            keys[id(item)] = key
            if isinstance(item, Scope):
                pending.append((item, key))
    return keys


def as_operation(key: Key) -> Key:
    """Return the key that a composite has once it is taken for the one operation inside it."""
    return (*key[:3], False, *key[4:])


def _places(site: Site) -> list[tuple[CodeType, Hashable]]:
    """Return (code, source position) from the scope down to the call, recursion cut to its last round."""
    frames = [(code, source_position(code, offset)) for code, offset, _ in reversed(site)]
    last = {id(code): index for index, (code, _) in enumerate(frames)}
    if len(last) == len(frames):
        return frames
    kept = []
    index = 0
    while index < len(frames):
        index = last[id(frames[index][0])]
        kept.append(frames[index])
        index += 1
    return kept


def source_position(code: CodeType, offset: int) -> Hashable:
    """Return (line, end line, column, end column) of an instruction; its offset where the code has no columns.

    `while` is compiled twice, so one place in the source may be two instructions.
    """
    positions = _positions(code)
    position = positions[offset // 2] if 0 <= offset // 2 < len(positions) else (None, None, None, None)
    return offset if position[0] is None or position[2] is None else position


@lru_cache(maxsize=4096)
def _positions(code: CodeType) -> list[tuple[int | None, int | None, int | None, int | None]]:
    return list(code.co_positions())


@lru_cache(maxsize=4096)
def _loops(code: CodeType) -> tuple[Loop, ...]:
    """Return the loops of a code object, inner before outer."""
    ends: dict[int, int] = {}
    for instruction in dis.get_instructions(code):
        if "BACKWARD" in instruction.opname and "NO_INTERRUPT" not in instruction.opname:
            target = int(instruction.argval)
            ends[target] = max(ends.get(target, 0), instruction.offset)
    return tuple(sorted(ends.items(), key=lambda loop: loop[1] - loop[0]))


@lru_cache(maxsize=65536)
def loops_around(code: CodeType, offset: int) -> tuple[Loop, ...]:
    """Return the loops of a code object that an instruction is in, inner before outer."""
    return tuple(loop for loop in _loops(code) if loop[0] <= offset <= loop[1])


def _parameters(item: Event | Scope) -> tuple[str, ...]:
    found = []
    for group in (item.args, item.kwargs):
        for value in leaves(group):
            if value.parameter:
                found.append(value.parameter)
    return tuple(found)


@dataclass(slots=True, eq=False)
class _Activation:
    """One call of a code object, as far as recorded calls tell."""

    code: CodeType
    frame: int
    last: int
    number: int
    rounds: dict[Loop, int] = field(default_factory=lambda: defaultdict(int))

    def loops_repeated(self, offset: int) -> tuple[Loop, ...]:
        """Return the loops that must have jumped back for `offset` to follow the last call."""
        return tuple(loop for loop in loops_around(self.code, offset) if loop[0] <= self.last <= loop[1])

    def advance(self, offset: int) -> None:
        if offset <= self.last:
            repeated = self.loops_repeated(offset)
            if repeated:
                self.rounds[repeated[0]] += 1
        self.last = offset

    def iteration(self, offset: int, loop: Loop) -> Key:
        """Return what tells this round of `loop` from others: the rounds of it and of all loops around it."""
        around = loops_around(self.code, offset)
        return tuple((outer, self.rounds[outer]) for outer in around[around.index(loop) :])


class _Uses:
    """What was used in each round of each loop: at the positions directly in it, and further in."""

    def __init__(self) -> None:
        self.direct: _ByLoop = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
        self.nested: _ByLoop = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))

    def add(self, signature: Hashable, site: Site, rounds: list[tuple[int, Loop, Round]]) -> None:
        """Enter a call; `rounds` are those of the loops around it, inner before outer in each frame."""
        innermost = max((depth for depth, _, _ in rounds), default=-1)
        for depth, loop, round_ in rounds:
            suffix = tuple((id(code), source_position(code, offset)) for code, offset, _ in site[depth:])
            is_direct = depth == innermost and loop == loops_around(*site[depth][:2])[0]
            (self.direct if is_direct else self.nested)[round_[0]][round_[1]][suffix].append(signature)

    def contexts(self) -> dict[Round, Key]:
        """Return what tells rounds apart, where rounds of that loop differ."""
        found: dict[Round, list[Hashable]] = defaultdict(list)
        for place, by_round in self.direct.items():
            polymorphic = _polymorphic(by_round)
            for number, positions in by_round.items():
                known = sorted(polymorphic & set(positions), key=repr)
                found[place, number] += [(suffix, tuple(positions[suffix])) for suffix in known]
        for place, by_round in self.nested.items():
            families = _families(by_round)
            for number, positions in by_round.items():
                for suffix in sorted(positions, key=repr):
                    if len(families[suffix]) > 1:
                        mine = next(f for f in families[suffix] if positions[suffix][0] in f)
                        found[place, number].append((suffix, mine))
        return {round_: tuple(entry) for round_, entry in found.items() if entry}


def _loop_contexts(scope: Scope) -> list[Key]:
    """Return the loop context of every child of a scope."""
    sites = [tuple(reversed(item.site)) for item in scope.children]
    if not any(loops_around(code, offset) for site in sites for code, offset, _ in site):
        return [()] * len(sites)
    uses = _Uses()
    rounds: list[list[Round]] = []
    stack: list[_Activation] = []
    numbers = count()
    for item, site in zip(scope.children, sites, strict=True):
        _follow(stack, site, numbers)
        around = [
            (depth, loop, ((stack[depth].number, loop), stack[depth].iteration(offset, loop)))
            for depth, (code, offset, _) in enumerate(site)
            for loop in loops_around(code, offset)
        ]
        rounds.append([round_ for _, _, round_ in around])
        signature = _signature(item)
        if signature:
            uses.add(signature, site, around)
    known = uses.contexts()
    return [tuple(known[round_] for round_ in mine if round_ in known) for mine in rounds]


def _follow(stack: list[_Activation], site: Site, numbers: Iterator[int]) -> None:
    """Bring the stack of activations to the frames of the next call."""
    for depth, (code, offset, frame) in enumerate(site):
        current = stack[depth] if depth < len(stack) else None
        if current is None or current.code is not code or current.frame != frame:
            del stack[depth:]
            stack.append(_Activation(code, frame, offset, next(numbers)))
            continue
        innermost = depth == len(site) - 1
        if offset == current.last and not innermost and _continues(stack, site, depth + 1):
            continue
        if offset <= current.last and not current.loops_repeated(offset) and depth > 0:
            del stack[depth:]  # no loop leads back: the function was called anew
            stack.append(_Activation(code, frame, offset, next(numbers)))
            continue
        current.advance(offset)
        del stack[depth + 1 :]
    del stack[len(site) :]


def _continues(stack: list[_Activation], site: Site, depth: int) -> bool:
    """Tell whether the activation at `depth` can be the one that the last call was in."""
    if depth >= len(stack):
        return False
    code, offset, frame = site[depth]
    current = stack[depth]
    if current.code is not code or current.frame != frame:
        return False
    if offset == current.last and depth < len(site) - 1 and _continues(stack, site, depth + 1):
        return True
    return offset > current.last or bool(current.loops_repeated(offset))


def _signature(item: Event | Scope) -> Hashable:
    if isinstance(item, Scope) and item.path is not None:
        return item.path
    return _parameters(item)


def _polymorphic(by_round: Mapping[Key, Mapping[Key, list[Hashable]]]) -> set[Key]:
    """Return the positions used with different modules or parameters in different rounds."""
    seen: dict[Key, set[Hashable]] = defaultdict(set)
    for positions in by_round.values():
        for suffix, signatures in positions.items():
            seen[suffix].add(tuple(signatures))
    return {suffix for suffix, variants in seen.items() if len(variants) > 1}


def _families(by_round: Mapping[Key, Mapping[Key, list[Hashable]]]) -> dict[Key, list[frozenset[Hashable]]]:
    """Return, for each position, the sets of modules or parameters that rounds share: disjoint sets are families.

    Rounds of time use the same layers; stages use layers of their own, however many.
    """
    families: dict[Key, list[frozenset[Hashable]]] = defaultdict(list)
    for positions in by_round.values():
        for suffix, signatures in positions.items():
            used = frozenset(signatures)
            related = [family for family in families[suffix] if family & used]
            others = [family for family in families[suffix] if not family & used]
            families[suffix] = [*others, used.union(*related)]
    return families
