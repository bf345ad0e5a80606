"""Where in the user's code an operation was called."""

from __future__ import annotations

import linecache
import os
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import torch

from neurolens.recording.branches import walk_frames
from neurolens.recording.events import Event, Readout, Scope, new_event

NOT_THE_USERS = (
    f"{Path(torch.__file__).parent}{os.sep}",
    f"{Path(__file__).parent.parent}{os.sep}",
    "<frozen",
)


class Source(NamedTuple):
    """A place in the code.

    Attributes
    ----------
    file, line
        Path of the file, and the number of the line in it, from 1.
    text
        The line as it is written, without indentation.

    Examples
    --------
    >>> source = Source("model.py", 12, "return x + self.skip(x)")  # as `trace["add"].source` gives it
    >>> source.line, source.text
    (12, 'return x + self.skip(x)')
    """

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        """Say file, line and text, as compilers do."""
        return f"{self.file}:{self.line}: {self.text}"


def find_source(item: Event | Scope) -> Source | None:
    """Return the innermost line outside torch from which `item` was called; None where there is none."""
    for code, offset in walk_frames(item):
        if not code.co_filename.startswith(NOT_THE_USERS):
            line = _line(code, offset)
            return Source(code.co_filename, line, linecache.getline(code.co_filename, line).strip())
    return None


def find_line(readout: Readout) -> Source | None:
    """Return the innermost line outside torch where values were read."""
    return find_source(new_event(readout.facts, readout.scope, readout.site))


def _line(code: CodeType, offset: int) -> int:
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno
