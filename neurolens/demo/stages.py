"""Progress of the demonstration, on stderr: a bar a stage, or plain lines where nobody can see a bar move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

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

SILENCE = 10.0  # seconds: in a file or a pipe, a line of progress at most this often


class Stage:
    """One stage while it lasts."""

    def __init__(self, progress: Progress, task: TaskID, text: str) -> None:
        self._progress = progress
        self._task = task
        self._text = text
        self._begun = monotonic()
        self._tell("...")

    def expect(self, n_steps: int) -> None:
        """Say how many steps there are, once that is known."""
        self._progress.update(self._task, total=n_steps)

    def step(self) -> None:
        """Say that a step is done."""
        self._progress.update(self._task, advance=1)
        if monotonic() - self._told >= SILENCE:
            task = self._progress.tasks[self._task]
            total = "" if task.total is None else f" of {task.total:.0f}"
            self._tell(f"{task.completed:.0f}{total}, {monotonic() - self._begun:.0f} s")

    def finish(self) -> None:
        """Fill the bar."""
        total = self._progress.tasks[self._task].total or 1
        self._progress.update(self._task, total=total, completed=total)
        self._tell(f"done, {monotonic() - self._begun:.0f} s")

    def _tell(self, how_far: str) -> None:
        """Write a line, where bars are not drawn."""
        self._told = monotonic()
        if self._progress.disable:
            line = f"{self._text}: {how_far}"
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


class Stages:
    """Stages of a run, each a line with a bar that stays when it is done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @contextmanager
    def stage(self, text: str, n_steps: int | None = None) -> Iterator[Stage]:
        """Show a stage; without `n_steps` its length is not known yet."""
        stage = Stage(self._progress, self._progress.add_task(text, total=n_steps), text)
        yield stage
        stage.finish()

    def say(self, text: str) -> None:
        """Write a line above the bars; only the terminal breaks it, so that addresses can be clicked and copied."""
        self._progress.console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def make_progress() -> Progress:
    """Make the display, on stderr."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    seen = console.is_terminal or console.is_jupyter
    return Progress(SpinnerColumn(finished_text="✓"), *columns, console=console, disable=not seen)


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
