"""Blocks of a store: declared from a run's layouts, computed and written, one while the next is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from neurolens.activations.assemble import Layout, dim_coords, stored_dtype, to_numpy
from neurolens.activations.faults import Flaw, find_overflow
from neurolens.activations.runs import Run
from neurolens.schema import STIMULUS
from neurolens.store import StoreWriter


def stored_layouts(run: Run) -> dict[str, Layout]:
    """Return the layouts of what is stored: not what is empty, or another name of something stored."""
    return {a: layout for a, layout in run.layouts.items() if layout.n_features and a not in run.aliases}


def declare_all(run: Run, writer: StoreWriter, cast: np.dtype[Any] | None) -> None:
    """Declare every operation and alias of a run; what operations that first ran later are called is noted.

    An operation that first ran later and that an earlier process of the run declared stays as it is: its attrs
    are those of the batch in which it was met.
    """
    layouts = stored_layouts(run)
    for address, layout in layouts.items():
        if address not in run.later or address not in writer.addresses:
            _declare(writer, address, layout, len(run.stimuli), cast)
    for address, home in run.aliases.items():
        if home in layouts or home.rpartition(":")[0] in layouts:
            writer.alias(address, home)
    writer.note_late(run.late.positions, run.late.left_out)


def write_blocks(
    run: Run, writer: StoreWriter, cast: np.dtype[Any] | None, indices: Sequence[int]
) -> Iterator[int]:
    """Compute and write blocks; yield each once it is computed. One is written while the next is computed."""
    n_known, n_noted = len(run.layouts), len(run.late.positions) + len(run.late.left_out)
    with ThreadPoolExecutor(1, "neurolens-write") as pool:
        behind: Future[None] | None = None
        for index, tensors in run.compute(indices):
            arrays = as_arrays(run, tensors, cast, index)
            del tensors
            if behind is not None:
                behind.result()
            if (len(run.layouts), len(run.late.positions) + len(run.late.left_out)) != (n_known, n_noted):
                declare_all(run, writer, cast)
                n_known, n_noted = len(run.layouts), len(run.late.positions) + len(run.late.left_out)
            behind = pool.submit(writer.write_block, index, arrays)
            del arrays
            yield index
        if behind is not None:
            behind.result()


def as_arrays(
    run: Run, tensors: Mapping[str, torch.Tensor], cast: np.dtype[Any] | None, index: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the tensors of a batch that are stored, as they are stored; what a cast loses is noted as a flaw."""
    layouts = stored_layouts(run)
    return {
        address: _cast(run, address, tensor, stored_dtype(layouts[address].dtype, cast), index)
        for address, tensor in tensors.items()
        if address in layouts
    }


def _cast(
    run: Run, address: str, tensor: torch.Tensor, dtype: np.dtype[Any], index: int
) -> np.ndarray[Any, Any]:
    try:
        with np.errstate(over="raise"):
            return to_numpy(tensor, dtype)
    except FloatingPointError:
        with np.errstate(over="ignore"):
            values = to_numpy(tensor, dtype)
    row = 0 if run.layouts[address].is_static else find_overflow(to_numpy(tensor), values)
    stimulus = run.stimuli.ids[run.batch_slice(index).start + row]
    run.flaws.setdefault("overflow", Flaw("overflow", stimulus, address, ""))
    return values


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
        coords=dim_coords(layout),
    )
