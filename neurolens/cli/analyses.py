"""Commands of analyses: `rdm`, `encode`, `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurolens.cli.options import (
    AsFormat,
    BatchSize,
    BrainIds,
    BrainName,
    Checkpoint,
    Dims,
    DryRun,
    Ids,
    Join,
    MaybeStimuli,
    Memory,
    Ops,
    Quiet,
    Regions,
    Seed,
    SourceName,
    Untrained,
    Variable,
    WeightsSeed,
)

if TYPE_CHECKING:
    from neurolens.activations import Activations

Metric = Annotated[
    str | None, typer.Option(help="Distance of patterns: correlation (default), euclidean, cosine ...")
]
Top = Annotated[int, typer.Option(min=1, help="How many of the best operations to print.")]


def rdm(
    source: SourceName,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write: .nc, .csv or .json.")] = Path(
        "rdms.nc"
    ),
    metric: Metric = None,
    ops: Ops = None,
    stimuli: MaybeStimuli = None,
    ids: Ids = None,
    untrained: Untrained = False,
    weights_seed: WeightsSeed = None,
    checkpoint: Checkpoint = None,
    batch_size: BatchSize = 32,
    memory: Memory = "4 GB",
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Compute the representational dissimilarity matrix of every operation."""
    from neurolens.cli.results import check_out, write_result
    from neurolens.rsa import rdm as compute_rdms

    check_out(out)
    activations = _open(
        source, stimuli, ids, ops, untrained, weights_seed, checkpoint, batch_size, memory, quiet
    )
    if dry_run:
        from neurolens.activations.sizes import say_bytes

        n = _count_stimuli(activations)
        most = say_bytes(8 * n * n * len(activations.addresses()))
        typer.echo(
            f"would write RDMs of {len(activations.addresses())} operations, {n} x {n} stimuli, to {out}: up to {most}"
        )
        return
    rdms = compute_rdms(activations, progress=not quiet, **_given(metric=metric))
    write_result(rdms, out)
    typer.echo(str(out))


def encode(
    source: SourceName,
    brain: BrainName,
    region: Regions = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write: .nc, .csv or .json.")] = Path(
        "scores.nc"
    ),
    ops: Ops = None,
    cv: Annotated[
        str,
        typer.Option(
            help="A number of folds; or a column of the stimuli: each of its values is held out once."
        ),
    ] = "5",
    score: Annotated[
        str, typer.Option(help="pearson, r2 or signed_r2, on stimuli that were held out.")
    ] = "pearson",
    alphas: Annotated[
        str | None,
        typer.Option(
            help="Of the ridge: one penalty, or several to choose from, 1,10,100. By default, many."
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="A column of the stimuli: no fold parts one of its groups."),
    ] = None,
    ceiling: Annotated[
        str | None, typer.Option(help="noise_ceiling or split_half, where the brain data have repetitions.")
    ] = None,
    variable: Variable = None,
    dims: Dims = None,
    brain_ids: BrainIds = None,
    join: Join = None,
    seed: Seed = 0,
    top: Top = 5,
    stimuli: MaybeStimuli = None,
    ids: Ids = None,
    untrained: Untrained = False,
    weights_seed: WeightsSeed = None,
    checkpoint: Checkpoint = None,
    batch_size: BatchSize = 32,
    memory: Memory = "4 GB",
    format: AsFormat = "text",
    quiet: Quiet = False,
) -> None:
    """Predict responses from the features of every operation, by ridge regression."""
    from neurolens.cli.results import as_profile, check_out, print_best, print_table, tabulate, write_result
    from neurolens.cli.sources import one_array, read_brain
    from neurolens.encoding import Ridge
    from neurolens.encoding import encode as encode_responses

    check_out(out)
    model = None if alphas is None else Ridge(alphas=_read_numbers(alphas, "--alphas"))
    responses = one_array(
        read_brain(brain, regions=region, variable=variable, dims=dims, ids=brain_ids), brain
    )
    activations = _open(
        source, stimuli, ids, ops, untrained, weights_seed, checkpoint, batch_size, memory, quiet
    )
    chosen = _given(score=score, groups=groups, ceiling=ceiling, join=join, model=model)
    folds = int(cv) if cv.isdecimal() else cv
    found = encode_responses(activations, responses, cv=folds, seed=seed, progress=not quiet, **chosen)
    write_result(found, out)
    if format == "text":
        print_best(as_profile(found, str(out)), top)
        typer.echo(f"\n{out}")
    else:
        print_table(tabulate(as_profile(found, str(out))), format, found.attrs)


def compare(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="RDMs that `neurolens rdm` wrote (.nc), the folder of a store, or a model with --stimuli.",
            show_default=False,
        ),
    ],
    brain: BrainName,
    region: Regions = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write: .nc, .csv or .json.")] = Path(
        "profile.nc"
    ),
    ops: Ops = None,
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
    variable: Variable = None,
    dims: Dims = None,
    brain_ids: BrainIds = None,
    join: Join = None,
    seed: Seed = 0,
    top: Top = 5,
    stimuli: MaybeStimuli = None,
    ids: Ids = None,
    untrained: Untrained = False,
    weights_seed: WeightsSeed = None,
    checkpoint: Checkpoint = None,
    batch_size: BatchSize = 32,
    memory: Memory = "4 GB",
    format: AsFormat = "text",
    quiet: Quiet = False,
) -> None:
    """Score every operation against every region: a profile, with noise ceilings and p."""
    from neurolens.cli.results import (
        as_rdms,
        check_out,
        print_best,
        print_table,
        read_result,
        tabulate,
        write_result,
    )
    from neurolens.cli.sources import read_brain
    from neurolens.comparison import compare as compare_with
    from neurolens.errors import InputError

    check_out(out)
    targets = read_brain(brain, regions=region, variable=variable, dims=dims, ids=brain_ids)
    patterns: Any
    if source.endswith(".nc"):
        if ops or stimuli is not None:
            raise InputError(f"--ops and --stimuli are for activations; {source} holds RDMs that are made.")
        patterns = as_rdms(read_result(Path(source)), source)
    else:
        patterns = _open(
            source, stimuli, ids, ops, untrained, weights_seed, checkpoint, batch_size, memory, quiet
        )
    chosen = _given(
        method=method,
        metric=metric,
        similarity=similarity,
        n_permutations=permutations,
        correction=correction,
        join=join,
    )
    profile = compare_with(patterns, targets, seed=seed, progress=not quiet, **chosen)
    write_result(profile, out)
    if format == "text":
        print_best(profile, top)
        typer.echo(f"\n{out}")
    else:
        print_table(tabulate(profile), format, profile.attrs)


def _open(
    source: str,
    stimuli: str | None,
    ids: str | None,
    ops: list[str] | None,
    untrained: bool,
    weights_seed: int | None,
    checkpoint: Path | None,
    batch_size: int,
    memory: str,
    quiet: bool,
) -> Activations:
    from neurolens.cli.sources import load, open_source
    from neurolens.errors import InputError

    about_models = {"--untrained": untrained, "--weights-seed": weights_seed, "--checkpoint": checkpoint}
    wrong = [name for name, value in about_models.items() if value not in (None, False)]
    if stimuli is None and (wrong or ids is not None):
        raise InputError(f"{(*wrong, '--ids')[0]} is for a model that is run here: say over which --stimuli.")
    return open_source(
        source,
        stimuli=stimuli,
        ids=ids,
        ops=ops,
        load=lambda: load(source, untrained, weights_seed, checkpoint),
        batch_size=batch_size,
        memory=memory,
        quiet=quiet,
    )


def _given(**options: Any) -> dict[str, Any]:
    """Keep the options that were given: the others are left to the function's own defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _count_stimuli(activations: Activations) -> int:
    from neurolens.activations import StoredActivations, StreamedActivations

    if isinstance(activations, StreamedActivations):
        return len(activations.stimuli)
    assert isinstance(activations, StoredActivations)  # nothing else is opened
    return int(activations.stimuli.sizes["stimulus"])


def _read_numbers(text: str, option: str) -> list[float]:
    from neurolens.errors import InputError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"{option} {text}: give one number, or several parted by commas: 1,10,100."
        ) from error
