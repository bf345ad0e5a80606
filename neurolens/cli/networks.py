"""Commands about a network: `trace`, `draw`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurolens.cli.options import AsFormat, Ops, Recording, Regions
from neurolens.cli.parameters import unfold

if TYPE_CHECKING:
    from neurolens.tracing import Trace


@unfold
def trace(
    *,
    recording: Recording,
    ops: Ops = None,
    validate: Annotated[
        bool, typer.Option("--validate", help="Prove the trace: replay every operation; 1 if a proof fails.")
    ] = False,
    format: AsFormat = "text",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Table to write, one row an operation: .csv or .json.")
    ] = None,
) -> None:
    """List every operation of a model, in the order they run, for one stimulus or those named."""
    from neurolens.cli.tables import print_table, write_table

    recorded = record(recording, keep="**" if validate else None)
    table = recorded.to_frame()
    if ops:
        table = table.loc[
            [name for name in table.index if name in {a for p in ops for a in recorded.find(p)}]
        ]
    if out is not None:
        write_table(table.reset_index(), out, {"model": recorded.model.name})
    if format == "text" and not ops:
        typer.echo(repr(recorded))
    else:
        columns = table[["function", "shape", "passes", "parameters"]] if format == "text" else table
        print_table(columns.reset_index(), format)
    if validate:
        report = recorded.validate()
        typer.echo(str(report), err=format != "text")
        if not report.passed:
            raise typer.Exit(1)


@unfold
def draw(
    *,
    recording: Recording,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Picture to write: .svg, .png or .pdf.")] = Path(
        "graph.svg"
    ),
    color: Annotated[
        Path | None,
        typer.Option("--color", metavar="PROFILE", help="Colour by the scores of a file of `compare`."),
    ] = None,
    region: Regions = None,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Show modules below this depth as one box; 0: the whole model.")
    ] = None,
) -> None:
    """Draw the graph of a model, as it runs for one stimulus or those named."""
    from neurolens.cli.results import choose_scores, read_result
    from neurolens.cli.tables import replace_file
    from neurolens.errors import InputError

    if region and color is None:
        raise InputError(f"--region {region[0]} chooses among the regions of --color, which is not given.")
    scores = None if color is None else choose_scores(read_result(color), region, str(color))
    recorded = record(recording, keep=None)
    replace_file(out, lambda new: recorded.draw(new, color=scores, fold=fold))
    typer.echo(str(out))


def record(recording: Recording, *, keep: str | None) -> Trace:
    """Trace a model for the stimuli that are named, or the first."""
    from neurolens.cli.sources import load, read_stimuli
    from neurolens.tracing import trace as trace_model

    shown = read_stimuli(recording.stimuli, recording.ids)
    chosen = shown.select(recording.stimulus or shown.ids[:1])
    return trace_model(load(recording.model, recording), chosen, keep=keep)
