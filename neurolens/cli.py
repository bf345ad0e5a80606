"""The command line: `neurolens`."""

from __future__ import annotations

import math
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from neurolens._version import __version__
from neurolens.errors import NeurolensError, NeurolensWarning

if TYPE_CHECKING:
    from neurolens.store import Store

app = typer.Typer(
    help="Ask every operation of a neural network how much it is like a brain region.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neurolens {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    context.obj = debug


@app.command()
def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder to write.", file_okay=False)] = Path("demo"),
    dataset: Annotated[
        str | None,
        typer.Option(help="kriegeskorte92 or shapes80; by default the first, else the second."),
    ] = None,
) -> None:
    """Compare a trained network and its untrained twin with brain data, operation by operation."""
    with _plain_errors(debug=context.obj):
        from neurolens.demo import run_demo  # here, since it imports torch, which takes seconds

        run_demo(out, dataset=dataset)


@app.command()
def info(
    context: typer.Context,
    store: Annotated[Path, typer.Argument(help="Folder of a store.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all of it and check every checksum.")
    ] = False,
) -> None:
    """Say what is in a store: what made it, its stimuli, every operation with its sizes, and what is missing."""
    with _plain_errors(debug=context.obj):
        from neurolens.store import open_store, verify_store  # here, since it imports xarray and zarr

        _print_store(open_store(store, incomplete=True))
        if verify:
            found = verify_store(store)
            print(found)
            if not found.is_sound:
                raise typer.Exit(1)


_PROVENANCE = ("model", "weights", "graph", "preprocessing", "ops", "stored_dtype", "reduce", "torch_version")


def _print_store(store: Store) -> None:
    console = Console()
    for name in _PROVENANCE:
        if name in store.attrs:
            value = store.attrs[name]
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            console.print(f"{name:<15}{text}", markup=False, highlight=False, soft_wrap=True)
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
    table = Table("operation", "dims and sizes", "dtype", "size", "on disk", "missing")
    for column in table.columns[3:]:
        column.justify = "right"
    total = 0
    for entry in store.entries.values():
        n_bytes = _count_bytes(entry.shape, entry.dtype)
        total += n_bytes
        sizes = ", ".join(f"{dim} {size}" for dim, size in zip(entry.dims, entry.shape, strict=True))
        absent = len(entry.attrs.get("missing_stimuli", ()))
        on_disk = _say_bytes(store.count_bytes(entry.address))
        table.add_row(
            entry.address, sizes, entry.dtype, _say_bytes(n_bytes), on_disk, str(absent) if absent else ""
        )
    console.print(table)
    whole = sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file())
    console.print(
        f"{len(store)} operations, {_say_bytes(total)} of values, {_say_bytes(whole)} on disk",
        highlight=False,
    )
    if store.aliases:
        console.print(f"{len(store.aliases)} other names:", highlight=False)
        for alias, address in store.aliases.items():
            console.print(f"  {alias} is {address}", markup=False, highlight=False)


def _count_bytes(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


def _say_bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


@contextmanager
def _plain_errors(*, debug: bool) -> Iterator[None]:
    """Tell errors and warnings in one line on stderr; a traceback only if asked for."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    except (KeyboardInterrupt, typer.Exit):
        raise
    except Exception as error:
        if debug:
            traceback.print_exc()
        expected = isinstance(error, NeurolensError)
        kind = "" if expected else f"{type(error).__name__}: "
        hint = "" if expected or debug else " (neurolens --debug ... shows where)"
        print(f"neurolens: {kind}{' '.join(str(error).split())}{hint}", file=sys.stderr)
        raise typer.Exit(1) from None


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    kind = "" if issubclass(category, NeurolensWarning) else f"{category.__name__}: "
    print(f"neurolens: {kind}{' '.join(str(message).split())}", file=sys.stderr)
