"""Run a model over stimuli and write its activations into a Zarr store as it goes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurolens.activations.assemble import Layout, dim_coords, stored_dtype, to_numpy
from neurolens.activations.collection import Ops, StoredActivations
from neurolens.activations.collection import open as open_activations
from neurolens.activations.progress import track
from neurolens.activations.runs import Run, estimate_bytes
from neurolens.activations.sizes import say_bytes
from neurolens.activations.stream import warn_of_later
from neurolens.errors import InputError, StoreError
from neurolens.models import Model, as_model
from neurolens.schema import STIMULUS
from neurolens.stimuli import Stimuli
from neurolens.store import StoreWriter, create_store


def extract(
    model: Model | Any,
    stimuli: Stimuli,
    store: str | Path,
    *,
    ops: Ops = "**",
    batch_size: int = 32,
    device: torch.device | str | None = None,
    dtype: str | None = None,
    resume: bool = True,
    progress: bool = True,
) -> StoredActivations:
    """Run all stimuli through a model and write the activations of some operations to a Zarr store.

    The forward pass stops after the last operation that is asked for. A run that was killed is taken up where
    it was: only blocks whose data are on disk are passed over. What a pattern matches and is no array over
    stimuli (a sum over the batch, say) is left out, and listed in the store's attrs with the reason.

    Parameters
    ----------
    model
        A loaded model, an nn.Module or any callable. It is run in eval mode, and left as it was.
    stimuli
        What to show it.
    store
        Folder to write; made with its parents.
    ops
        Which operations: a glob on addresses, an address (a module's means its output), or a list of these.
    batch_size
        Stimuli at once; also the block of the store.
    device
        Where to run; the model is moved there.
    dtype
        Cast floating activations ("float16", "float32"); by default as computed, bfloat16 as float32.
    resume
        Take up an unfinished store of the same model, stimuli and operations; if False, an existing store is
        an error.
    progress
        Show a progress bar on stderr.

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
        If a pattern matches nothing.

    Examples
    --------
    >>> import torch, numpy as np, tempfile
    >>> stimuli = Stimuli.from_array(np.random.rand(6, 4).astype("float32"), ids=list("abcdef"))
    >>> folder = tempfile.mkdtemp() + "/acts.zarr"
    >>> extract(torch.nn.Linear(4, 2), stimuli, folder, progress=False)["linear"].shape
    (6, 2)
    """
    cast = _check_dtype(dtype)
    stimuli.check()
    run = Run(as_model(model), stimuli, ops=ops, batch_size=batch_size, device=device)
    layouts = {a: layout for a, layout in run.layouts.items() if layout.n_features and a not in run.aliases}
    _require_space(Path(store), estimate_bytes(layouts, len(stimuli), cast))
    head = {
        "model": run.made_by.model,
        "weights": run.made_by.weights,
        "preprocessing": run.made_by.preprocessing,
        "stimuli": stimuli.fingerprint(),
        "ops": list(run.patterns),
        "left_out": run.left_out,
        "stored_dtype": dtype or "as computed",
        "torch_version": torch.__version__,
    }
    with create_store(
        store, stimuli=stimuli.coords(), attrs=head, block_size=batch_size, resume=resume
    ) as writer:
        if not writer.is_complete:
            _write(run, layouts, writer, cast, progress)
        writer.finish()
    return open_activations(store)


def _write(
    run: Run, layouts: Mapping[str, Layout], writer: StoreWriter, cast: np.dtype[Any] | None, progress: bool
) -> None:
    """Compute and write the blocks that are missing; one is written while the next is computed."""
    for address, layout in layouts.items():
        _declare(writer, address, layout, len(run.stimuli), cast)
    for address, home in run.aliases.items():
        if home in layouts or home.rpartition(":")[0] in layouts:
            writer.alias(address, home)
    missing = writer.missing_blocks()
    batches = run.compute(missing, list(layouts))
    with ThreadPoolExecutor(1, "neurolens-write") as pool:
        behind: Future[None] | None = None
        for index, tensors in track(batches, "extract", shown=progress, total=len(missing)):
            arrays = {a: to_numpy(t, stored_dtype(layouts[a].dtype, cast)) for a, t in tensors.items()}
            if behind is not None:
                behind.result()
            behind = pool.submit(writer.write_block, index, arrays)
        if behind is not None:
            behind.result()
    warn_of_later(run)


def _declare(
    writer: StoreWriter, address: str, layout: Layout, n_stimuli: int, cast: np.dtype[Any] | None
) -> None:
    static = layout.is_static
    writer.declare(
        address,
        dims=layout.dims if static else (STIMULUS, *layout.dims),
        shape=layout.shape if static else (n_stimuli, *layout.shape),
        dtype=stored_dtype(layout.dtype, cast),
        attrs=layout.attrs,
        coords={dim: (dim, labels) for dim, labels in dim_coords(layout).items()},
    )


def _check_dtype(dtype: str | None) -> np.dtype[Any] | None:
    if dtype is None:
        return None
    if dtype not in ("float16", "float32", "float64"):
        raise InputError(
            f"dtype={dtype!r} is not one that activations can be cast to: float16, float32 or float64."
        )
    return np.dtype(dtype)


def _require_space(store: Path, n_bytes: int) -> None:
    folder = store.absolute()
    while not folder.exists():
        folder = folder.parent
    written = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    free = shutil.disk_usage(folder).free + written
    if n_bytes > free:
        raise StoreError(
            f"The activations take up to {say_bytes(n_bytes)} before compression, and {folder} has "
            f"{say_bytes(free)} for them. Choose fewer operations (ops=), dtype='float16', or another disk."
        )
