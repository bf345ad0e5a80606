"""Run a model over stimuli and write its activations into a Zarr store as it goes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from neurolens.activations.blocks import declare_all, stored_layouts, write_blocks
from neurolens.activations.budget import Budget, estimate_bytes, require_memory, require_space
from neurolens.activations.collection import StoredActivations
from neurolens.activations.collection import open as open_activations
from neurolens.activations.distributed import compute_on
from neurolens.activations.feed import deaths_named, require_stimuli
from neurolens.activations.memory import keep_freed_memory
from neurolens.activations.operations import Ops
from neurolens.activations.progress import track
from neurolens.activations.reduce import Reduction
from neurolens.activations.runs import Late, Run
from neurolens.activations.stream import warn_of_flaws
from neurolens.errors import InputError, NeurolensWarning, StimulusError, check_choice, list_names
from neurolens.models import Model, as_model
from neurolens.stimuli import Stimuli
from neurolens.store import Compression, StoreWriter, create_store, read_late
from neurolens.store.layout import locate_store

Unreadable = Literal["raise", "skip"]


def extract(
    model: Model | Any,
    stimuli: Stimuli,
    store: str | Path,
    *,
    ops: Ops = "**",
    batch_size: int = 32,
    device: torch.device | str | None = None,
    dtype: str | None = None,
    reduce: Reduction | None = None,
    workers: int = 0,
    compression: Compression = "lz4",
    unreadable: Unreadable = "raise",
    resume: bool = True,
    progress: bool = True,
    client: Any = None,
) -> StoredActivations:
    """Run all stimuli through a model and write the activations of some operations to a Zarr store.

    The forward pass stops after the last operation that is asked for. A run that was killed is taken up where
    it was: only blocks whose data are on disk are passed over. What a pattern matches and is no array over
    stimuli (a sum over the batch, say) is left out, and listed in the store's attrs with the reason. An operation
    that runs for some batches only is missing (NaN) for the stimuli of the others, and says so.

    Disk, memory and time are estimated from the first batch before anything is written. Memory does not grow with
    the number of stimuli: beside what the model itself needs, it is three times the chosen activations of a batch,
    and the inputs read ahead.

    Parameters
    ----------
    model
        A loaded model, an nn.Module or any callable. It is run in eval mode, and left as it was.
    stimuli
        What to show it.
    store
        Folder to write; made with its parents.
    ops
        Which operations: a glob on addresses, an address (a module's means its output), a function that takes what
        is known of an operation (`address, function, module, dims, shape, dtype, step, depth, n_features`), or a
        list of these. Each must match something that the first batch runs, so that a slip is found before the
        run; what else a glob or a function matches, in batches that take other branches, is stored too.
    batch_size
        Stimuli at once; also the block of the store.
    device
        Where to run; the model is moved there.
    dtype
        Cast floating activations ("float16", "float32"); by default as computed, bfloat16 as float32.
    reduce
        Make activations smaller as they are computed: `Pooling`, `RandomProjection`, `PrincipalComponents` or
        `ChosenUnits` of `neurolens.activations`.
    workers
        Processes that read and prepare stimuli. 0: a thread does, while the model runs.
    compression
        "lz4": fast, halves what has zeros; "zstd": smaller, several times slower; "none": read fastest.
    unreadable
        Stimuli that cannot be read: "raise" names them all before anything is run; "skip" leaves them out of the
        store, whose attrs list them, with a warning.
    resume
        Take up an unfinished store of the same model, stimuli and operations; if False, an existing store is
        an error.
    progress
        Show a progress bar on stderr.
    client
        A `dask.distributed.Client`: its workers compute the blocks. They need the store's folder under the same
        path, and the same versions. Chunks are those of a serial run with as many threads.

    Returns
    -------
    StoredActivations
        The finished store, opened.

    Raises
    ------
    StimulusError
        If stimuli cannot be read: all of them are named, before anything is written.
    StoreError
        If the store exists and differs, is being written by another process, or the disk is too small.
    AddressError
        If a pattern matches nothing that the first batch runs.
    InputError
        If memory is too small, or an argument is none of its choices.

    Warns
    -----
    NeurolensWarning
        If an activation is NaN or infinite: with the first stimulus and the first operation.

    Examples
    --------
    >>> import torch, numpy as np, tempfile
    >>> stimuli = Stimuli.from_array(np.random.rand(6, 4).astype("float32"), ids=list("abcdef"))
    >>> folder = tempfile.mkdtemp() + "/acts.zarr"
    >>> extract(torch.nn.Linear(4, 2), stimuli, folder, progress=False)["linear"].shape
    (6, 2)
    """
    cast = _check_dtype(dtype)
    check_choice(unreadable, get_args(Unreadable), "unreadable")
    stimuli, skipped = _check_stimuli(stimuli, unreadable)
    with keep_freed_memory(), deaths_named():
        late = Late(*read_late(store))
        run = Run(
            as_model(model),
            stimuli,
            ops=ops,
            batch_size=batch_size,
            device=device,
            reduce=reduce,
            workers=workers,
            late=late,
            keep_first=True,
        )
        budget = _check_budget(run, locate_store(store), cast)
        head = _make_head(run, stimuli, dtype, skipped)
        with create_store(
            store,
            stimuli=stimuli.coords(),
            attrs=head,
            block_size=batch_size,
            compression=compression,
            resume=resume,
        ) as writer:
            if not writer.is_complete:
                _write(run, writer, cast, progress=progress, budget=budget, client=client)
            writer.finish()
    return open_activations(store)


def _write(
    run: Run,
    writer: StoreWriter,
    cast: np.dtype[Any] | None,
    *,
    progress: bool,
    budget: Budget,
    client: Any,
) -> None:
    declare_all(run, writer, cast)
    missing = writer.missing_blocks()
    text = f"extract ({budget})" if progress else ""
    if client is not None:
        for _ in track(
            compute_on(client, run, writer, cast, missing), text, shown=progress, total=len(missing)
        ):
            warn_of_flaws(run)
        return
    for _ in track(write_blocks(run, writer, cast, missing), text, shown=progress, total=len(missing)):
        warn_of_flaws(run)


def _check_budget(run: Run, store: Path, cast: np.dtype[Any] | None) -> Budget:
    disk = estimate_bytes(stored_layouts(run), len(run.stimuli), cast)
    budget = Budget(disk, run.n_held, run.seconds_a_batch * run.n_batches)
    require_space(store, budget.disk)
    require_memory(budget.memory, n_held=run.n_held_already)
    return budget


def _make_head(run: Run, stimuli: Stimuli, dtype: str | None, skipped: Mapping[str, str]) -> dict[str, Any]:
    """Return what a run that resumes must have in common with the one that began."""
    chosen = sorted(run.layouts)
    empty = dict.fromkeys(
        run.layouts.keys() - stored_layouts(run).keys() - set(run.aliases), "it holds no values"
    )
    head = {
        "model": run.made_by.model,
        "weights": run.made_by.weights,
        "graph": run.graph,
        "preprocessing": run.made_by.preprocessing,
        "stimuli": stimuli.fingerprint(),
        "ops": [pattern if isinstance(pattern, str) else chosen for pattern in run.chooser.patterns],
        "left_out": run.left_out | dict(sorted(empty.items())),
        "stored_dtype": dtype or "as computed",
        "torch_version": torch.__version__,
    }
    if run.reduce is not None:
        head["reduce"] = repr(run.reduce)
    if skipped:
        head["skipped_stimuli"] = dict(skipped)
    return head


def _check_stimuli(stimuli: Stimuli, unreadable: Unreadable) -> tuple[Stimuli, dict[str, str]]:
    """Return the stimuli that can be read, and the others with the reason."""
    require_stimuli(stimuli)
    if unreadable == "raise":
        stimuli.check()
        return stimuli, {}

    def find_problem(index: int) -> str:
        try:
            stimuli.read(index)
        except StimulusError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        problems = dict(zip(stimuli.ids, pool.map(find_problem, range(len(stimuli))), strict=True))
    skipped = {name: problem for name, problem in problems.items() if problem}
    if len(skipped) == len(stimuli):
        raise StimulusError(f"None of the {len(stimuli)} stimuli can be read: {next(iter(skipped.values()))}")
    if skipped:
        warnings.warn(
            f"{len(skipped)} of {len(stimuli)} stimuli cannot be read and are left out: {list_names(skipped)}. The "
            "store's attrs say why (skipped_stimuli).",
            NeurolensWarning,
            stacklevel=3,
        )
        stimuli = stimuli.select([name for name in stimuli.ids if name not in skipped])
    return stimuli, skipped


def _check_dtype(dtype: str | None) -> np.dtype[Any] | None:
    if dtype is None:
        return None
    if dtype not in ("float16", "float32", "float64"):
        raise InputError(
            f"dtype={dtype!r} is not one that activations can be cast to: float16, float32 or float64."
        )
    return np.dtype(dtype)
