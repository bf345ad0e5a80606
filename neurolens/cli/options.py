"""Arguments and options that several commands share, each told once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Format = Literal["text", "csv", "json"]

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
        "over --stimuli and stored nowhere.",
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
    str | None,
    typer.Option(help="exact: both sides must have the same stimuli; inner: use those that both have."),
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
