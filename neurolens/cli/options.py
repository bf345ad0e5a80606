"""Arguments and options that several commands share, each told once; those that go together as a dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

Format = Literal["text", "csv", "json"]
Regression = Literal["ridge", "banded", "pls", "linear"]

_MODEL = (
    "As load_model names it: torchvision:resnet50, timm:..., open_clip:..., transformers:..., "
    "wheel:efficientnet_lite0, or your own, file.py:attribute or module:attribute. A file is a program: it is run."
)
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL, show_default=False)]
SourceName = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="The folder of a store that `neurolens extract` wrote; or a model (as `trace` takes it), which is run "
        "over --stimuli and stored nowhere. `compare` also takes the RDMs that `neurolens rdm` wrote (.nc).",
        show_default=False,
    ),
]
Untrained = Annotated[
    bool, typer.Option("--untrained", help="New random weights instead of trained ones; see --weights-seed.")
]
WeightsSeed = Annotated[int | None, typer.Option(help="Of the random weights, with --untrained.")]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Weights to load into the model: .pt, .pth (read with weights_only=True: no code in it is run) or "
        ".safetensors.",
    ),
]
_STIMULI = (
    "A folder of images, one image, a table (.csv, .tsv) with a column `path` or `text`, a text file (one text a "
    "line), or the name of a dataset (`neurolens datasets`)."
)
StimuliName = Annotated[str, typer.Option("--stimuli", metavar="STIMULI", help=_STIMULI)]
MaybeStimuli = Annotated[str | None, typer.Option("--stimuli", metavar="STIMULI", help=_STIMULI)]
Ids = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="The column of a table that holds the ids of the stimuli."),
]
Shown = Annotated[
    list[str] | None,
    typer.Option("--stimulus", metavar="ID", help="Which stimulus to show; may be repeated."),
]
Ops = Annotated[
    list[str] | None,
    typer.Option(
        "--ops",
        metavar="PATTERN",
        help="Which operations: an address or a pattern in quotes, 'layer*', '**.conv2d'; may be repeated. "
        "By default all.",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Stimuli at once.")]
Device = Annotated[str | None, typer.Option(help="Where to run the model, such as cuda.")]
Memory = Annotated[str, typer.Option(help="For activations at a time, where a model is run.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be written; write nothing.")]
AsFormat = Annotated[Format, typer.Option("--format", help="Of what is printed: text, csv or json.")]

BrainName = Annotated[
    str,
    typer.Option(
        "--brain",
        metavar="BRAIN",
        help="The name of a dataset; or a file of responses or RDMs: .nc, .npy, .npz, .mat, .h5.",
        show_default=False,
    ),
]
Regions = Annotated[
    list[str] | None, typer.Option("--region", help="Which region of the brain data; may be repeated.")
]
Variable = Annotated[str | None, typer.Option(help="Which array of the brain file.")]
Dims = Annotated[
    str | None,
    typer.Option(
        help="What the axes of the brain file are: stimulus,neuroid or repetition,stimulus,neuroid of responses, "
        "stimulus,stimulus_b or subject,stimulus,stimulus_b of RDMs."
    ),
]
BrainIds = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|ARRAY",
        help="Ids of the stimuli in the brain file: a text file (one a line), the first column of a .csv, or the name "
        "of an array of the file.",
    ),
]
Join = Annotated[
    Literal["exact", "inner"] | None,
    typer.Option(help="exact: both sides must have the same stimuli; inner: use those that both have."),
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Out = Annotated[Path, typer.Option(metavar="FILE", help="File to write: .nc, .csv or .json.")]
Top = Annotated[int, typer.Option(min=1, help="How many of the best operations to print.")]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Which weights a model gets."""

    untrained: Untrained = False
    weights_seed: WeightsSeed = None
    checkpoint: Checkpoint = None


@dataclass(frozen=True, kw_only=True)
class Recording(Weights):
    """A model, and the stimuli that it is traced for."""

    model: ModelName
    stimuli: StimuliName = "shapes80"
    stimulus: Shown = None
    ids: Ids = None


@dataclass(frozen=True, kw_only=True)
class Source(Weights):
    """Activations: of a store, or of a model that is run."""

    source: SourceName
    ops: Ops = None
    stimuli: MaybeStimuli = None
    ids: Ids = None
    batch_size: BatchSize = 32
    memory: Memory = "4 GB"
    quiet: Quiet = False


@dataclass(frozen=True, kw_only=True)
class Brain:
    """Brain data, and how they are joined with activations."""

    brain: BrainName
    region: Regions = None
    variable: Variable = None
    dims: Dims = None
    brain_ids: BrainIds = None
    join: Join = None
