"""Spreading: operations scored one after the other, or side by side on the workers of a cluster."""

from __future__ import annotations

import hashlib
import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from neurolens.activations import Activations
from neurolens.activations.distributed import check_client
from neurolens.encoding.features import CHUNK_BYTES
from neurolens.encoding.operations import (
    OperationScores,
    Question,
    make_plans,
    name_operation,
    score_operation,
)
from neurolens.encoding.plans import Plan
from neurolens.errors import InputError
from neurolens.schema import STIMULUS

__all__ = ["Found", "score_operations", "show_progress", "walk_operations"]

FROM_ACTIVATIONS = ("model", "weights", "preprocessing")
PER_WORKER = 2  # operations sent to a worker ahead of time, which bounds the memory they take

Job = tuple[int, str, xr.DataArray]
Work = Callable[[Question, tuple[Plan, ...], str, xr.DataArray, int], Any]


@dataclass(frozen=True)
class Found:
    """Scores of all operations of a source.

    Attributes
    ----------
    plans
        One a subject.
    scores
        Address to scores, in the order of the source.
    skipped
        Address to the reason.
    attrs
        What the activations say of their model.
    """

    plans: tuple[Plan, ...]
    scores: dict[str, OperationScores]
    skipped: dict[str, str]
    attrs: dict[str, Any]

    @property
    def digest(self) -> str:
        """Hash of all features."""
        digest = hashlib.blake2b(digest_size=8)
        for address, scores in self.scores.items():
            digest.update(f"{address} {scores.digest}".encode())
        return digest.hexdigest()

    def stack(self, name: str) -> NDArray[np.float64]:
        """Return "score" or "alpha" of all operations: array (n_ops, n_neuroids, n_folds)."""
        return np.stack([getattr(scores, name) for scores in self.scores.values()])


class _Source:
    """A source that is read once: plans are made, and attrs kept, when their operation comes by."""

    def __init__(self, items: Activations, addresses: Sequence[str], question: Question) -> None:
        self.items = items
        self.addresses = addresses
        self.question = question
        self.plans: tuple[Plan, ...] = ()
        self.attrs: dict[str, dict[str, Any]] = {}

    def jobs(self) -> Iterator[Job]:
        for position, address in enumerate(self.addresses):
            array = self.items[address]
            if not self.plans and STIMULUS in array.dims:
                self.plans = make_plans(self.question, array, name_operation(address))
            self.attrs[address] = {key: array.attrs[key] for key in FROM_ACTIVATIONS if key in array.attrs}
            yield position, address, array
            del array  # a stream makes room for its next group before it is asked for the next array


def score_operations(items: Activations, question: Question, *, progress: bool, client: Any = None) -> Found:
    """Score all operations of a source.

    Parameters
    ----------
    items
        The source; read once, in order.
    question
        What was asked.
    progress
        Whether to show a bar, where there is a terminal.
    client
        A dask.distributed Client whose workers do the work; by default this process does.

    Returns
    -------
    Found

    Raises
    ------
    InputError
        If `client` is no such client; else as `encode`.
    """
    source = _Source(items, list(items), question)
    found = dict(show_progress(_run(source, score_operation, client), len(items), "Encoding", progress))
    scores = {address: one for address, one in found.items() if not one.skipped}
    skipped = {address: one.skipped for address, one in found.items() if one.skipped}
    first = next(iter(scores), None)
    return Found(source.plans, scores, skipped, {} if first is None else source.attrs[first])


def walk_operations(
    items: Activations,
    addresses: Sequence[str],
    question: Question,
    work: Work,
    *,
    label: str,
    progress: bool,
    client: Any = None,
) -> Iterable[tuple[str, Any]]:
    """Do other work on some operations of a source, one at a time or spread over workers as scores are.

    Parameters
    ----------
    items, question, progress, client
        As `score_operations` takes them.
    addresses
        The operations; the others are not read.
    work
        Function of the question, the plans, address, array and position of an operation, as `score_operation` is.
    label
        Of the progress bar.

    Returns
    -------
    iterable of (str, Any)
        Address and what `work` returned, in the order of `addresses`.
    """
    done = _run(_Source(items, addresses, question), work, client)
    return show_progress(done, len(addresses), label, progress)


def _run(source: _Source, work: Work, client: Any) -> Iterator[tuple[str, Any]]:
    if client is None:
        return _run_here(source, work)
    check_client(client)
    return _run_on_workers(source, work, client)


def _run_here(source: _Source, work: Work) -> Iterator[tuple[str, Any]]:
    for position, address, array in source.jobs():
        found = work(source.question, source.plans, address, array, position)
        del array
        yield address, found


def _run_on_workers(source: _Source, work: Work, client: Any) -> Iterator[tuple[str, Any]]:
    """Keep every worker busy, with no more operations on their way than that takes."""
    if not (hasattr(client, "submit") and hasattr(client, "scatter")):
        raise InputError(f"client={client!r} is no dask.distributed Client; make one: Client(n_workers=4).")
    limit = PER_WORKER * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    shared: list[Any] = []
    waiting: deque[tuple[str, Any]] = deque()
    for position, address, array in source.jobs():
        if not shared and source.plans:
            shared = client.scatter([work, source.question, source.plans], broadcast=True, hash=False)
        sent = array if _is_lazy(array) else client.scatter(array, hash=False)
        arguments = shared or [work, source.question, source.plans]
        waiting.append(
            (address, client.submit(operator.call, *arguments, address, sent, position, pure=False))
        )
        if len(waiting) >= limit:
            yield _collect(waiting)
    while waiting:
        yield _collect(waiting)


def _collect(waiting: deque[tuple[str, Any]]) -> tuple[str, Any]:
    address, future = waiting.popleft()
    return address, future.result()


def _is_lazy(array: xr.DataArray) -> bool:
    """Whether the values are still in a store, which a worker can read itself."""
    return not array.variable._in_memory and array.nbytes > CHUNK_BYTES // 2**9


def show_progress(items: Iterable[Any], n_items: int, label: str, progress: bool) -> Iterable[Any]:
    """Show a bar while items are made, where somebody can see it."""
    console = Console(stderr=True)
    seen = progress and (console.is_terminal or console.is_jupyter)
    return track(items, label, total=n_items, console=console, transient=True, disable=not seen)
