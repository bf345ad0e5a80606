"""Commands about what comes with neurolens: `demo`, `datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurolens.cli.options import AsFormat


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write.", file_okay=False)] = Path("demo"),
    dataset: Annotated[
        str | None,
        typer.Option(help="kriegeskorte92 or shapes80; by default the first, else the second."),
    ] = None,
) -> None:
    """Compare a trained network and its untrained twin with brain data, operation by operation."""
    from neurolens.demo import run_demo

    run_demo(out, dataset=dataset)


def datasets(
    name: Annotated[
        str | None, typer.Argument(help="One of them; without, all are listed.", show_default=False)
    ] = None,
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="Get its files, if need be from the network, and say what is in it."),
    ] = False,
    format: AsFormat = "text",
) -> None:
    """List the datasets that --stimuli and --brain can name, or tell of one its origin, licence and contents."""
    import dataclasses

    import pandas as pd

    from neurolens import datasets as catalogue
    from neurolens.cli.tables import print_table
    from neurolens.errors import InputError

    if name is None and fetch:
        raise InputError(f"--fetch gets one dataset; name it: {', '.join(catalogue.list_datasets())}.")
    if name is not None:
        card = catalogue.read_card(name)
        found = catalogue.fetch(name) if fetch else None
        if format == "text":
            typer.echo(repr(card if found is None else found.card))
            if found is not None:
                typer.echo(repr(found))
            return
        cards = [card if found is None else found.card]
    else:
        cards = [catalogue.read_card(known) for known in catalogue.list_datasets()]
    rows = pd.DataFrame([dataclasses.asdict(card) for card in cards])
    if format == "text":
        rows["data"] = ["SIMULATED" if simulated else "measured" for simulated in rows["simulated"]]
        rows = rows[["name", "data", "size", "title"]]
    print_table(rows, format)
