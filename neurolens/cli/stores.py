"""Commands about stores of activations: `extract`, `info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurolens.cli.failures import resumable
from neurolens.cli.options import (
    AsFormat,
    BatchSize,
    Device,
    DryRun,
    Ids,
    ModelName,
    Ops,
    Quiet,
    StimuliName,
    Weights,
)
from neurolens.cli.parameters import unfold


@unfold
def extract(
    *,
    model: ModelName,
    stimuli: StimuliName,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Store to write, or to take up.")] = Path(
        "activations.zarr"
    ),
    ops: Ops = None,
    ids: Ids = None,
    weights: Weights,
    batch_size: BatchSize = 32,
    device: Device = None,
    dtype: Annotated[str | None, typer.Option(help="Cast floating activations: float16, float32.")] = None,
    reduce: Annotated[
        str | None,
        typer.Option(
            help="Make activations smaller: mean or max (over places and tokens), random:1000 (that many random "
            "projections), units:500 (that many units, by chance)."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read stimuli.")] = 0,
    compression: Annotated[str, typer.Option(help="lz4 (fast), zstd (smaller) or none.")] = "lz4",
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Leave out what can't be read, instead of stopping.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--no-resume", help="A store that is there is an error, even an unfinished one.")
    ] = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Run a model over stimuli and store the activations of its operations.

    A run that was interrupted is taken up where it stopped by the same command.
    """
    from typing import Any

    from neurolens.activations import extract as extract_activations
    from neurolens.cli.sources import load, read_reduction, read_stimuli

    shown = read_stimuli(stimuli, ids)
    reduction = read_reduction(reduce)
    network = load(model, weights)
    settings: dict[str, Any] = {"ops": ops or "**", "batch_size": batch_size, "device": device}
    settings |= {"dtype": dtype, "reduce": reduction}
    if dry_run:
        from neurolens.cli.plans import print_plan

        print_plan(network, shown, out, **settings)
        return
    with resumable(out):
        extract_activations(
            network,
            shown,
            out,
            workers=workers,
            compression=compression,  # type: ignore[arg-type]  # checked there, with the choices in the message
            unreadable="skip" if skip_unreadable else "raise",
            resume=not fresh,
            progress=not quiet,
            **settings,
        )
    typer.echo(str(out))


def info(
    store: Annotated[Path, typer.Argument(help="Folder of a store.", show_default=False)],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read all of it and check every checksum; 1 if it is damaged.")
    ] = False,
    format: AsFormat = "text",
) -> None:
    """Say what is in a store: what made it, its stimuli, every operation with its sizes, and what is missing."""
    from neurolens.cli.listing import print_store, tabulate_store
    from neurolens.cli.tables import print_table
    from neurolens.store import open_store, verify_store

    opened = open_store(store, incomplete=True)
    if format == "text":
        print_store(opened)
    else:
        print_table(tabulate_store(opened), format, opened.attrs)
    if verify:
        found = verify_store(store)
        typer.echo(str(found), err=format != "text")
        if not found.is_sound:
            raise typer.Exit(1)
