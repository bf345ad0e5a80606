"""What a dry run of `extract` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neurolens.activations.blocks import stored_layouts
from neurolens.activations.budget import Budget, estimate_bytes, require_memory, require_space
from neurolens.activations.runs import Run
from neurolens.activations.sizes import say_bytes
from neurolens.cli.grids import add_row, open_console, start_grid
from neurolens.errors import check_choice
from neurolens.models import Model
from neurolens.stimuli import Stimuli


def print_plan(model: Model, stimuli: Stimuli, out: Path, *, dtype: str | None, **settings: Any) -> None:
    """Print what a run would write and need; raise what it would raise before it writes."""
    if dtype is not None:
        check_choice(dtype, ("float16", "float32", "float64"), "dtype")
    cast = None if dtype is None else np.dtype(dtype)
    stimuli.check()
    run = Run(model, stimuli, **settings)
    layouts = stored_layouts(run)
    budget = Budget(
        estimate_bytes(layouts, len(stimuli), cast), run.n_held, run.seconds_a_batch * run.n_batches
    )
    console = open_console()
    table = start_grid("operation", "dims and sizes of a stimulus", "size of all", n_right=1)
    for address, layout in layouts.items():
        sizes = ", ".join(f"{dim} {size}" for dim, size in zip(layout.dims, layout.shape, strict=True))
        add_row(table, address, sizes, say_bytes(estimate_bytes({address: layout}, len(stimuli), cast)))
    console.print(table)
    for address, reason in run.left_out.items():
        console.print(f"left out: {address}: {reason}", markup=False, highlight=False, soft_wrap=True)
    line = f"would write {len(layouts)} operations of {len(stimuli)} stimuli to {out}: {budget}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    require_space(out, budget.disk)
    require_memory(budget.memory, n_held=run.n_held_already)
