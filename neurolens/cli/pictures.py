"""Commands that show results: `plot`, `explore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurolens.cli.options import Ids, MaybeStimuli, Quiet, Regions, Shown, Weights
from neurolens.cli.parameters import unfold


def plot(
    result: Annotated[
        Path,
        typer.Argument(
            metavar="RESULT", help="A .nc file of `compare`, `encode` or `rdm`.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Picture to write, .png, .svg or .pdf; by default beside the result."
        ),
    ] = None,
    region: Regions = None,
    op: Annotated[
        list[str] | None, typer.Option("--op", help="Which operation's RDM; may be repeated.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Of scores: module, for the outputs of blocks only. Of RDMs: a column of the stimuli."
        ),
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A second file of scores, drawn in grey, such as of an untrained twin."
        ),
    ] = None,
) -> None:
    """Draw the scores of every operation over depth, one panel a region; or RDMs."""
    from neurolens.cli.drawing import draw_profile, draw_rdms
    from neurolens.cli.results import as_profile, as_rdms, is_rdms, read_result

    found = read_result(result)
    picture = out or result.with_suffix(".png")
    if is_rdms(found):
        draw_rdms(as_rdms(found, str(result)), picture, ops=op, by=by, regions=region, control=control)
    else:
        twin = None if control is None else as_profile(read_result(control), str(control))
        draw_profile(as_profile(found, str(result)), picture, regions=region, by=by, control=twin, ops=op)
    typer.echo(str(picture))


@unfold
def explore(
    *,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A model (as `trace` takes it), whose graph is shown; or the folder of a store, which has no arrows.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Page to write.")] = Path("explore.html"),
    profile: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Scores to colour by, .nc of `compare` or `encode`; may be repeated."
        ),
    ] = None,
    rdms: Annotated[Path | None, typer.Option(metavar="FILE", help="RDMs to show, .nc of `rdm`.")] = None,
    activations: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A store, in place of what the trace holds.")
    ] = None,
    stimuli: MaybeStimuli = None,
    stimulus: Shown = None,
    ids: Ids = None,
    weights: Weights,
    quiet: Quiet = False,
) -> None:
    """Write one web page that shows a network, its activations and its scores; it works offline."""
    from neurolens.activations import open as open_activations
    from neurolens.cli.results import as_profile, as_rdms, read_result
    from neurolens.cli.sources import load, read_stimuli
    from neurolens.explorer import explore as write_page
    from neurolens.tracing import Trace
    from neurolens.tracing import trace as trace_model

    scores = {path.stem: as_profile(read_result(path), str(path)) for path in profile or ()}
    matrices = None if rdms is None else as_rdms(read_result(rdms), str(rdms))
    numbers = None if activations is None else open_activations(activations)
    is_store = Path(source).is_dir()
    shown = None if is_store and stimuli is None else read_stimuli(stimuli or "shapes80", ids)
    seen: Trace | str = source
    if not is_store:
        assert shown is not None  # read above
        step = max(1, len(shown.ids) // N_SHOWN)
        shown = shown.select(stimulus or shown.ids[::step][:N_SHOWN])
        seen = trace_model(load(source, weights), shown)
    write_page(
        seen,
        profile=scores or None,
        activations=numbers,
        rdms=matrices,
        stimuli=shown,
        show=stimulus or None,
        out=out,
        progress=not quiet,
    )
    typer.echo(str(out))


N_SHOWN = 6  # stimuli that are run through a model for its page
