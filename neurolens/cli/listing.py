"""What `info` prints: of stores alone, so that it answers at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.filesize import decimal as say_bytes

from neurolens.cli.grids import add_row, open_console, start_grid
from neurolens.store import Store

_PROVENANCE = ("model", "weights", "graph", "preprocessing", "ops", "stored_dtype", "reduce", "torch_version")


def tabulate_store(store: Store) -> pd.DataFrame:
    """Return one row an operation: address, dims, shape, dtype, bytes, bytes on disk, missing stimuli."""
    rows = [
        {
            "address": entry.address,
            "dims": list(entry.dims),
            "shape": list(entry.shape),
            "dtype": entry.dtype,
            "bytes": _count_bytes(entry.shape, entry.dtype),
            "bytes_on_disk": store.count_bytes(entry.address),
            "n_missing": max(len(entry.attrs.get("missing_stimuli", ())), len(store.missing)),
        }
        for entry in store.entries.values()
    ]
    return pd.DataFrame(rows)


def print_store(store: Store) -> None:
    """Print what made a store, its stimuli, its operations and what is missing."""
    console = open_console()
    _print_rows(console, store.attrs)
    written = f"format {store.format}, blocks of {store.block_size} stimuli, compression {store.compression}"
    console.print(f"{'written':<15}{written}", markup=False, highlight=False)
    ids = [str(name) for name in store.all_stimuli["stimulus"].values]
    columns = sorted(str(name) for name in store.all_stimuli.coords if name != "stimulus")
    console.print(f"{'stimuli':<15}{len(ids)}: {ids[0]} ... {ids[-1]}", markup=False, highlight=False)
    if columns:
        console.print(f"{'columns':<15}{', '.join(columns)}", markup=False, highlight=False, soft_wrap=True)
    missing = store.missing
    state = f"{len(missing)} stimuli are missing ({missing[0]} ...)" if missing else "complete"
    console.print(f"{'state':<15}{state}", markup=False, highlight=False)
    for name in ("left_out", "skipped_stimuli"):
        for left, reason in store.attrs.get(name, {}).items():
            console.print(f"{name:<15}{left}: {reason}", markup=False, highlight=False, soft_wrap=True)
    _print_operations(console, store)
    if store.aliases:
        console.print(f"{len(store.aliases)} other names:", highlight=False)
        for alias, address in store.aliases.items():
            console.print(f"  {alias} is {address}", markup=False, highlight=False, soft_wrap=True)


def _print_rows(console: Console, attrs: Mapping[str, Any]) -> None:
    for name in _PROVENANCE:
        if name in attrs:
            value = attrs[name]
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            console.print(f"{name:<15}{text}", markup=False, highlight=False, soft_wrap=True)


def _print_operations(console: Console, store: Store) -> None:
    table = start_grid("operation", "dims and sizes", "dtype", "size", "on disk", "missing", n_right=3)
    total = 0
    for entry in store.entries.values():
        n_bytes = _count_bytes(entry.shape, entry.dtype)
        total += n_bytes
        sizes = ", ".join(f"{dim} {size}" for dim, size in zip(entry.dims, entry.shape, strict=True))
        absent = len(entry.attrs.get("missing_stimuli", ()))
        on_disk = say_bytes(store.count_bytes(entry.address))
        missing = str(absent) if absent else ""
        add_row(table, entry.address, sizes, entry.dtype, say_bytes(n_bytes), on_disk, missing)
    console.print(table)
    whole = sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file())
    console.print(
        f"{len(store)} operations, {say_bytes(total)} of values, {say_bytes(whole)} on disk", highlight=False
    )


def _count_bytes(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize
