"""The application: its commands, in the order of a study, and the options before them."""

from __future__ import annotations

from typing import Annotated

import typer

from neurolens._version import __version__
from neurolens.cli import analyses, catalogue, networks, pictures, stores
from neurolens.cli.failures import PlainGroup

app = typer.Typer(
    cls=PlainGroup,
    help="Ask every operation of a neural network how much it is like a brain region.",
    epilog="Results go to files and to stdout, progress and messages to stderr. Exit codes: 0 done, 1 could not be "
    "done, 2 wrong options, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # brackets of extras and indented examples stay as they are written
)

COMMANDS = (  # each with a line for the list of commands, and an example
    (catalogue.demo, "A trained network against brain data.", "demo --dataset shapes80 --out demo"),
    (catalogue.datasets, "Datasets that can be named.", "datasets shapes80 --fetch"),
    (
        networks.trace,
        "List every operation of a model.",
        "trace torchvision:resnet18 --untrained --ops '**.conv2d' --out resnet18.csv",
    ),
    (
        networks.draw,
        "Draw the graph of a model.",
        "draw torchvision:resnet18 --untrained --fold 2 --out resnet18.svg",
    ),
    (
        stores.extract,
        "Store the activations of a model.",
        "extract wheel:efficientnet_lite0 --stimuli shapes80 --ops 'blocks.*' --dry-run",
    ),
    (stores.info, "Say what is in a store.", "info activations.zarr --verify"),
    (analyses.rdm, "RDMs of every operation.", "rdm activations.zarr --metric correlation --out rdms.nc"),
    (
        analyses.encode,
        "Predict responses from every operation.",
        "encode activations.zarr --brain shapes80 --ops 'blocks.*' --cv category --out scores.nc",
    ),
    (
        analyses.compare,
        "Score every operation against brain data.",
        "compare rdms.nc --brain shapes80 --similarity rho-a --out profile.nc",
    ),
    (pictures.plot, "Draw scores or RDMs.", "plot profile.nc --out profile.png"),
    (
        pictures.explore,
        "A web page of a network and its scores.",
        "explore wheel:efficientnet_lite0 --stimuli shapes80 --profile profile.nc",
    ),
)
for _function, _line, _example in COMMANDS:
    app.command(
        short_help=_line,
        epilog=f"\b\nExample:\n  neurolens {_example}",
        no_args_is_help=_function not in (catalogue.demo, catalogue.datasets),
    )(_function)


def main() -> None:
    """Run the command line."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neurolens {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command; `PlainGroup` reads --debug."""
