"""Which `if` an operation ran under, and which tensor decided it."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

from neurolens.recording.events import Event, Readout, Recording, Scope, Value
from neurolens.recording.passes import source_position

Span = tuple[int, int, int, int]  # first line, first column, last line, last column


@dataclass(frozen=True, slots=True)
class Branch:
    """One side of an `if`, `while` or conditional expression.

    `taken` is whether the test was true; `values` are the tensors that decided it, none where Python did.
    """

    file: str
    line: int
    text: str
    taken: bool
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    test: Span
    body: Span
    orelse: Span | None
    line: int


def find_branch(recording: Recording, item: Event | Scope, *, skip: tuple[str, ...]) -> Branch | None:
    """Return the innermost `if` around a call that a tensor decided; else the innermost one; else None.

    Parameters
    ----------
    recording
        Where the call is from.
    item
        The call.
    skip
        Beginnings of file names whose code does not count.
    """
    plain: Branch | None = None
    index = item.index if isinstance(item, Event) else item.start
    for code, offset in walk_frames(item):
        if code.co_filename.startswith(skip):
            continue
        place = source_position(code, offset)
        if not isinstance(place, tuple):
            continue
        for choice, taken in _choices_around(code.co_filename, place):
            values = _deciders(recording, code, choice, index)
            text = linecache.getline(code.co_filename, choice.line).strip()
            branch = Branch(code.co_filename, choice.line, text, taken, values)
            if values:
                return branch
            plain = plain or branch
    return plain


def walk_frames(item: Event | Scope) -> Iterator[tuple[CodeType, int]]:
    """Walk the frames from a call outwards, through the scopes around it."""
    yield from ((code, offset) for code, offset, _ in item.site)
    scope = item.scope if isinstance(item, Event) else item.parent
    while scope is not None:
        yield from ((code, offset) for code, offset, _ in scope.site)
        scope = scope.parent


def _choices_around(file: str, place: tuple[int, ...]) -> Iterator[tuple[_Choice, bool]]:
    """Yield the choices with a position in one of their sides, innermost first."""
    line, end_line, column, end_column = place
    spot = (line, column, end_line, end_column)
    for choice in _choices(file):
        if _contains(choice.body, spot):
            yield choice, True
        elif choice.orelse is not None and _contains(choice.orelse, spot):
            yield choice, False


def _deciders(recording: Recording, code: CodeType, choice: _Choice, index: int) -> tuple[Value, ...]:
    """Return the tensors read in the test, the last time before the call."""
    found: Readout | None = None
    for readout in recording.readouts:
        if readout.before > index:
            break
        for other, offset, _ in readout.site:
            place = source_position(other, offset) if other is code else None
            if isinstance(place, tuple) and _contains(choice.test, (place[0], place[2], place[1], place[3])):
                found = readout
    return () if found is None else found.values


@lru_cache(maxsize=256)
def _choices(file: str) -> tuple[_Choice, ...]:
    """Return all choices in a file, inner before outer; none where there is no source."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return ()
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.While):
            orelse = _span(node.orelse[0], node.orelse[-1]) if node.orelse else None
            found.append(_Choice(_span(node.test), _span(node.body[0], node.body[-1]), orelse, node.lineno))
        elif isinstance(node, ast.IfExp):
            found.append(_Choice(_span(node.test), _span(node.body), _span(node.orelse), node.lineno))
    return tuple(sorted(found, key=lambda choice: choice.body[2] - choice.body[0]))


def _span(first: ast.expr | ast.stmt, last: ast.expr | ast.stmt | None = None) -> Span:
    last = last or first
    return first.lineno, first.col_offset, last.end_lineno or last.lineno, last.end_col_offset or 0


def _contains(outer: Span, inner: Span) -> bool:
    return outer[:2] <= inner[:2] and inner[2:] <= outer[2:]
