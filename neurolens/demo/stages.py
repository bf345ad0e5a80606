"""Progress of the demonstration: one line a stage, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import xarray as xr
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from neurolens.activations import Activations
from neurolens.activations.operations import Ops


@dataclass(frozen=True)
class Stage:
    """One stage while it lasts."""

    progress: Progress
    task: TaskID

    def expect(self, n_steps: int) -> None:
        """Say how many steps there are, once that is known."""
        self.progress.update(self.task, total=n_steps)

    def step(self) -> None:
        """Say that a step is done."""
        self.progress.update(self.task, advance=1)


class Stages:
    """Stages of a run, each a line with a bar that stays when it is done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @contextmanager
    def stage(self, text: str, n_steps: int | None = None) -> Iterator[Stage]:
        """Show a stage; without `n_steps` its length is not known yet."""
        task = self._progress.add_task(text, total=n_steps)
        yield Stage(self._progress, task)
        total = self._progress.tasks[task].total or 1
        self._progress.update(task, total=total, completed=total)

    def say(self, text: str) -> None:
        """Write a line above the bars."""
        self._progress.console.print(text, style="yellow", markup=False)


def make_progress() -> Progress:
    """Make the display, on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(SpinnerColumn(finished_text="✓"), *columns, console=Console(stderr=True))


class Watched(Activations):
    """Activations that tell when one of them has been read."""

    def __init__(self, source: Activations, tell: Callable[[], None]) -> None:
        self._source = source
        self._tell = tell

    def addresses(self) -> tuple[str, ...]:
        """Return all addresses, in execution order."""
        return self._source.addresses()

    def select(self, ops: Ops) -> Watched:
        """Return some of the operations, watched too."""
        return Watched(self._source.select(ops), self._tell)

    def __iter__(self) -> Iterator[str]:
        return iter(self._source)

    def __getitem__(self, address: str) -> xr.DataArray:
        array = self._source[address]
        self._tell()
        return array
