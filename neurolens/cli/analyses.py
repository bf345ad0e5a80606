"""Commands of analyses: `rdm`, `encode`, `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurolens.cli.options import AsFormat, Brain, DryRun, Out, Regression, Seed, Source, Top
from neurolens.cli.parameters import unfold

if TYPE_CHECKING:
    from neurolens.activations import Activations

Metric = Annotated[
    str | None, typer.Option(help="Distance of patterns: correlation (default), euclidean, cosine ...")
]


@unfold
def rdm(
    *,
    out: Out = Path("rdms.nc"),
    metric: Metric = None,
    source: Source,
    dry_run: DryRun = False,
) -> None:
    """Compute the representational dissimilarity matrix of every operation."""
    from neurolens.cli.results import check_out, write_result
    from neurolens.cli.sources import open_source
    from neurolens.rsa import rdm as compute_rdms

    check_out(out)
    activations = open_source(source)
    if dry_run:
        from neurolens.activations.sizes import say_bytes

        n = _count_stimuli(activations)
        most = say_bytes(8 * n * n * len(activations.addresses()))
        typer.echo(
            f"would write RDMs of {len(activations.addresses())} operations, {n} x {n} stimuli, to {out}: up to {most}"
        )
        return
    rdms = compute_rdms(activations, progress=not source.quiet, **_given(metric=metric))
    write_result(rdms, out)
    typer.echo(str(out))


@unfold
def encode(
    *,
    out: Out = Path("scores.nc"),
    model: Annotated[
        Regression,
        typer.Option(
            help="The regression. banded: one model of all --ops together, with a penalty for each of them."
        ),
    ] = "ridge",
    alphas: Annotated[
        str | None,
        typer.Option(
            help="Of ridge and banded: one penalty, or several to choose from, 1,10,100. By default, many."
        ),
    ] = None,
    components: Annotated[int | None, typer.Option(min=1, help="Of pls: how many; by default 25.")] = None,
    cv: Annotated[
        str,
        typer.Option(
            help="A number of folds; or a column of the stimuli: each of its values is held out once, or, where they "
            "are train and test, test."
        ),
    ] = "5",
    groups: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="A column of the stimuli: no fold parts one of its groups."),
    ] = None,
    score: Annotated[
        str, typer.Option(help="pearson, r2 or signed_r2, on stimuli that were held out.")
    ] = "pearson",
    ceiling: Annotated[
        str | None, typer.Option(help="noise_ceiling or split_half, where the brain data have repetitions.")
    ] = None,
    brain: Brain,
    source: Source,
    seed: Seed = 0,
    top: Top = 5,
    format: AsFormat = "text",
) -> None:
    """Predict the responses of every region from the features of every operation."""
    from neurolens.cli.encoders import join_operations, join_regions, make_regression
    from neurolens.cli.results import as_profile, check_out, write_result
    from neurolens.cli.sources import open_source, read_brain
    from neurolens.encoding import encode as encode_responses

    check_out(out)
    estimator = make_regression(model, alphas=alphas, components=components, seed=seed)
    responses = join_regions(read_brain(brain), brain.brain, join=brain.join)
    activations = open_source(source)
    features = join_operations(activations, source.ops) if model == "banded" else activations
    chosen = _given(score=score, groups=groups, ceiling=ceiling, join=brain.join)
    folds = int(cv) if cv.isdecimal() else cv
    found = encode_responses(
        features, responses, model=estimator, cv=folds, seed=seed, progress=not source.quiet, **chosen
    )
    write_result(found, out)
    _tell(as_profile(found, str(out)), out, format, top)


@unfold
def compare(
    *,
    out: Out = Path("profile.nc"),
    method: Annotated[
        str | None, typer.Option(help="rsa (default), or another that nl.compare knows.")
    ] = None,
    metric: Metric = None,
    similarity: Annotated[
        str | None,
        typer.Option(help="Of RDMs: rho-a (default), spearman, pearson, cosine, kendall-tau-a ..."),
    ] = None,
    permutations: Annotated[
        int | None, typer.Option(min=0, help="For p: how often labels are permuted; 0: no test.")
    ] = None,
    correction: Annotated[
        str | None, typer.Option(help="For the many operations: max (default) or bh.")
    ] = None,
    brain: Brain,
    source: Source,
    seed: Seed = 0,
    top: Top = 5,
    format: AsFormat = "text",
) -> None:
    """Score every operation against every region: a profile, with noise ceilings and p."""
    from neurolens.cli.results import as_rdms, check_out, read_result, write_result
    from neurolens.cli.sources import open_source, read_brain
    from neurolens.comparison import compare as compare_with
    from neurolens.errors import InputError

    check_out(out)
    targets = read_brain(brain)
    patterns: Any
    if source.source.endswith(".nc"):
        if source.ops or source.stimuli is not None:
            raise InputError(
                f"--ops and --stimuli are for activations; {source.source} holds RDMs that are made."
            )
        patterns = as_rdms(read_result(Path(source.source)), source.source)
    else:
        patterns = open_source(source)
    chosen = _given(
        method=method,
        metric=metric,
        similarity=similarity,
        n_permutations=permutations,
        correction=correction,
        join=brain.join,
    )
    profile = compare_with(patterns, targets, seed=seed, progress=not source.quiet, **chosen)
    write_result(profile, out)
    _tell(profile, out, format, top)


def _tell(profile: Any, out: Path, format: Any, top: int) -> None:
    """Print the best operations and the name of the file, or everything as a table."""
    from neurolens.cli.results import print_best, tabulate
    from neurolens.cli.tables import print_table

    if format == "text":
        print_best(profile, top)
        typer.echo(f"\n{out}")
    else:
        print_table(tabulate(profile), format, profile.attrs)


def _given(**options: Any) -> dict[str, Any]:
    """Keep the options that were given: the others are left to the function's own defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _count_stimuli(activations: Activations) -> int:
    from neurolens.activations import StoredActivations, StreamedActivations

    if isinstance(activations, StreamedActivations):
        return len(activations.stimuli)
    assert isinstance(activations, StoredActivations)  # nothing else is opened
    return int(activations.stimuli.sizes["stimulus"])
