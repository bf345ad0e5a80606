"""Blocks as tasks of a dask cluster: each worker loads the model once and writes the blocks it computes."""

from __future__ import annotations

import threading
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurolens._version import __version__
from neurolens.activations.blocks import as_arrays, declare_all, write_blocks
from neurolens.activations.faults import Flaw
from neurolens.activations.memory import keep_freed_memory
from neurolens.activations.operations import Ops
from neurolens.activations.reduce import Reduction
from neurolens.activations.runs import Late, Plan, Run, UnplannedError
from neurolens.errors import InputError, NeurolensWarning, StoreError
from neurolens.models import Model
from neurolens.stimuli import Stimuli
from neurolens.store import StoreWriter, attach_store

_RETRIES = 3  # of a block whose worker could not do it: a full disk, a file system that was away


@dataclass(frozen=True)
class Task:
    """What a worker needs to compute any block of a run."""

    key: str
    model: Model
    stimuli: Stimuli
    ops: Ops
    batch_size: int
    device: torch.device | str | None
    reduce: Reduction | None
    plan: Plan
    cast: np.dtype[Any] | None
    store: Path
    versions: dict[str, str]


@dataclass(frozen=True)
class Done:
    """What a worker says of a block. Where `is_planned` is false it runs operations that nobody planned."""

    index: int
    is_planned: bool
    flaws: dict[str, Flaw] = field(default_factory=dict)


@dataclass
class _Desk:
    """What a worker holds between the blocks of a run; one block at a time is computed on it."""

    run: Run
    writer: StoreWriter
    guard: threading.Lock = field(default_factory=threading.Lock)
    memory: ExitStack = field(default_factory=ExitStack)  # what is freed after a block is kept for the next


_desks: dict[str, _Desk] = {}
_desks_guard = threading.Lock()


def check_client(client: Any) -> None:
    """Raise InputError unless work can be handed to `client`."""
    if not all(hasattr(client, name) for name in ("scatter", "submit", "nthreads")):
        raise InputError(f"client={client!r} is no dask.distributed.Client.")


def compute_on(
    client: Any, run: Run, writer: StoreWriter, cast: np.dtype[Any] | None, indices: Sequence[int]
) -> Iterator[int]:
    """Compute and write blocks on the workers of a client; yield each that is done.

    Workers take over the plan that was made here; the block that was computed to make it is written here. A block
    in which operations run that were not planned is put back; when all others are done, the first of these is
    computed here, which plans them, and the rest are handed out again. So addresses are those of a serial run.

    Parameters
    ----------
    client
        `distributed.Client`. A worker that dies loses nothing: its blocks go to others.
    run, writer
        The run as it was planned here, and its store, which workers see under the same path.
    cast
        What floats become.
    indices
        Of the blocks.

    Raises
    ------
    InputError
        If `client` is none.
    StoreError
        If a worker doesn't see the store, or has other versions.
    """
    from distributed import as_completed  # an extra: heavy, and only needed here

    check_client(client)
    task = _make_task(run, writer, cast)
    payload = client.scatter(task, broadcast=True, hash=False)
    here, left = run.split(indices)  # planning computed the first
    try:
        while here or left:
            futures = [
                client.submit(_write_block, payload, index, run.late, pure=False, retries=_RETRIES)
                for index in left
            ]
            yield from write_blocks(run, writer, cast, here)
            here, left = [], []
            for _, done in as_completed(futures, with_results=True):  # type: ignore[no-untyped-call]
                for kind, flaw in done.flaws.items():
                    run.flaws.setdefault(kind, flaw)
                if done.is_planned:
                    yield done.index
                else:
                    left.append(done.index)
            if left:
                left.sort()
                n_known = len(run.late.positions)
                yield from write_blocks(run, writer, cast, [left.pop(0)])
                declare_all(run, writer, cast)
                if left and len(run.late.positions) == n_known:
                    _warn_of_workers(len(left) + 1)
                    yield from write_blocks(run, writer, cast, left)
                    left = []
    finally:
        client.run(_clear_desk, task.key)


def _warn_of_workers(n_blocks: int) -> None:
    warnings.warn(
        f"{n_blocks} blocks are computed by the process that has the client, since the model runs operations on the "
        "workers that it doesn't run here. Give all workers the same code.",
        NeurolensWarning,
        stacklevel=2,
    )


def _make_task(run: Run, writer: StoreWriter, cast: np.dtype[Any] | None) -> Task:
    return Task(
        key=uuid.uuid4().hex,
        model=run.model,
        stimuli=run.stimuli,
        ops=run.chooser.patterns,
        batch_size=run.batch_size,
        device=run.device,
        reduce=run.reduce,
        plan=run.plan,
        cast=cast,
        store=writer.path.resolve(),
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    return {"neurolens": __version__, "torch": torch.__version__, "numpy": np.__version__}


def _write_block(task: Task, index: int, late: Late) -> Done:
    """Compute and write one block, on a worker."""
    desk = _take_desk(task)
    with desk.guard:
        run = desk.run
        run.learn(late)
        try:
            ((_, tensors),) = run.compute([index])
        except UnplannedError:
            return Done(index, False)
        desk.writer.write_block(index, as_arrays(run, tensors, task.cast, index))
        flaws, run.flaws = run.flaws, {}
        return Done(index, True, flaws)


def _take_desk(task: Task) -> _Desk:
    with _desks_guard:
        desk = _desks.get(task.key)
        if desk is None:
            desk = _desks[task.key] = _make_desk(task)
        return desk


def _make_desk(task: Task) -> _Desk:
    if _versions() != task.versions:
        raise StoreError(
            f"A worker has {_versions()}, and the run was begun with {task.versions}. Give all workers the same "
            "environment."
        )
    if not task.store.is_dir():
        raise StoreError(
            f"A worker doesn't see the store {task.store}: it must be in a folder that all machines share."
        )
    run = Run(
        task.model,
        task.stimuli,
        ops=task.ops,
        batch_size=task.batch_size,
        device=task.device,
        reduce=task.reduce,
        plan=task.plan,
        plans_late=False,
    )
    desk = _Desk(run, attach_store(task.store))
    desk.memory.enter_context(keep_freed_memory())
    return desk


def _clear_desk(key: str) -> None:
    with _desks_guard:
        desk = _desks.pop(key, None)
    if desk is not None:
        desk.memory.close()
