"""Tables of addresses: never cut, as narrow as a terminal, as wide as they are where another program reads them."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 10_000  # characters of a line that no terminal shows


def open_console() -> Console:
    """Return a console on standard output."""
    is_shown = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if is_shown else _UNBOUNDED)


def start_grid(*headings: str, n_right: int) -> Table:
    """Return a table whose first column holds addresses, and whose last ones are numbers."""
    grid = Table(*headings)
    grid.columns[0].overflow = "fold"
    for column in grid.columns[len(headings) - n_right :]:
        column.justify = "right"
    return grid


def add_row(grid: Table, address: str, *cells: str) -> None:
    """Add a row; the brackets of an address (`topk[values]`) are no markup."""
    grid.add_row(Text(address), *cells)
