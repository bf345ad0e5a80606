"""Commands about a network: `trace`, `draw`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurolens.cli.options import (
    AsFormat,
    Checkpoint,
    Ids,
    ModelName,
    Ops,
    Regions,
    Shown,
    StimuliName,
    Untrained,
    WeightsSeed,
)

if TYPE_CHECKING:
    from neurolens.tracing import Trace


def trace(
    model: ModelName,
    stimuli: StimuliName = "shapes80",
    stimulus: Shown = None,
    ids: Ids = None,
    ops: Ops = None,
    untrained: Untrained = False,
    weights_seed: WeightsSeed = None,
    checkpoint: Checkpoint = None,
    validate: Annotated[
        bool, typer.Option("--validate", help="Prove the trace: replay every operation; 1 if a proof fails.")
    ] = False,
    format: AsFormat = "text",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Table to write, one row an operation: .csv or .json.")
    ] = None,
) -> None:
    """List every operation of a model, in the order they run, for one stimulus or those named."""
    from neurolens.cli.results import print_table, write_table

    recorded = record(
        model, stimuli, stimulus, ids, untrained, weights_seed, checkpoint, keep="**" if validate else None
    )
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


def draw(
    model: ModelName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Picture to write: .svg, .png or .pdf.")] = Path(
        "graph.svg"
    ),
    stimuli: StimuliName = "shapes80",
    stimulus: Shown = None,
    ids: Ids = None,
    color: Annotated[
        Path | None,
        typer.Option("--color", metavar="PROFILE", help="Colour by the scores of a file of `compare`."),
    ] = None,
    region: Regions = None,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Show modules below this depth as one box; 0: the whole model.")
    ] = None,
    untrained: Untrained = False,
    weights_seed: WeightsSeed = None,
    checkpoint: Checkpoint = None,
) -> None:
    """Draw the graph of a model, as it runs for one stimulus or those named."""
    from neurolens.cli.results import choose_scores, read_result
    from neurolens.errors import InputError

    if region and color is None:
        raise InputError(f"--region {region[0]} chooses among the regions of --color, which is not given.")
    scores = None if color is None else choose_scores(read_result(color), region, str(color))
    recorded = record(model, stimuli, stimulus, ids, untrained, weights_seed, checkpoint, keep=None)
    out.parent.mkdir(parents=True, exist_ok=True)
    recorded.draw(out, color=scores, fold=fold)
    typer.echo(str(out))


def record(
    model: str,
    stimuli: str,
    stimulus: list[str] | None,
    ids: str | None,
    untrained: bool,
    weights_seed: int | None,
    checkpoint: Path | None,
    *,
    keep: str | None,
) -> Trace:
    """Trace a model for the stimuli that are named, or the first."""
    from neurolens.cli.sources import load, read_stimuli
    from neurolens.tracing import trace as trace_model

    shown = read_stimuli(stimuli, ids)
    chosen = shown.select(stimulus or shown.ids[:1])
    return trace_model(load(model, untrained, weights_seed, checkpoint), chosen, keep=keep)
