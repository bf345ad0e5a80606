"""`explore`: a network, its activations and its scores as one page for the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from neurolens.activations import Activations, as_activations, open
from neurolens.errors import InputError
from neurolens.explorer.document import write_document
from neurolens.explorer.evidence import gather_evidence
from neurolens.explorer.networks import Finder, read_activations, read_trace
from neurolens.explorer.scores import Profile, read_profiles
from neurolens.stimuli import Stimuli
from neurolens.tracing import Trace


def explore(
    source: Trace | Activations | str | Path,
    *,
    profile: Profile | Mapping[str, Profile] | None = None,
    activations: Any = None,
    rdms: xr.DataArray | None = None,
    stimuli: Stimuli | None = None,
    show: Sequence[str] | None = None,
    out: str | Path = "explore.html",
    progress: bool = True,
) -> Path:
    """Write a page that shows a network operation by operation, for any browser; it needs no server and no network.

    The graph folds by module and is searched, and coloured by functions or by scores. A click on an operation shows
    what it is, the line that called it, its activations to some stimuli, its RDM, and its scores. What can be seen is
    kept in the address of the page, so that a link leads to it.

    Parameters
    ----------
    source
        A trace: its graph, with the activations it kept. Or activations, or the folder of a store: these know of
        operations and modules, not of what flows between them, so that the page has no arrows.
    profile
        Scores to colour by: a Profile of `compare`, a DataArray over `op`, or a mapping from names to these. All
        entries of further dims (region, model, time) and all subjects can be chosen on the page. What is folded
        shows the last operation in it that has a score.
    activations
        Activations in place of those in the trace: anything that `rdm` takes, such as a store of many stimuli.
    rdms
        DataArray (op, stimulus, stimulus_b), as `rdm` gives it. By default they are made of the activations, by
        correlation distance, where there are 3 stimuli or more.
    stimuli
        What was shown, for pictures; by default the model's inputs, where these are images and were kept.
    show
        Ids of the stimuli whose activations are pictured, at most 24; by default 6, spread evenly.
    out
        File to write; one that is there is replaced.
    progress
        Whether to show a progress bar on stderr.

    Returns
    -------
    Path
        The file. It holds at most 6 MB of activation maps and 6 MB of RDMs (a third more as text): maps of 8 to 32
        pixels, RDMs of up to 64 stimuli, evenly chosen; the page says which. 3,000 operations take less than 25 MB.

    Raises
    ------
    InputError
        If `source` is of another kind, a profile is of other operations, or `out` is no HTML file.
    LabelError
        If `show` names a stimulus that is not there.
    StoreError
        If there is no finished store at `source`.

    Warns
    -----
    NeurolensWarning
        If a profile has scores for operations that are not on the page.

    Examples
    --------
    >>> import tempfile, torch, neurolens as nl
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    >>> trace = nl.trace(model, torch.rand(4, 3, 8, 8))
    >>> path = nl.explore(trace, out=Path(tempfile.mkdtemp()) / "explore.html", progress=False)
    >>> path.name
    'explore.html'
    """
    path = _check_path(out)
    if isinstance(source, str | Path):
        source = open(source)
    if isinstance(source, Trace):
        network = read_trace(source)
        numbers = source.activations if activations is None else as_activations(activations)
    elif isinstance(source, Activations):
        network = read_activations(source)
        numbers = source if activations is None else as_activations(activations)
    else:
        raise InputError(
            f"source cannot be a {type(source).__name__}. Give a trace (nl.trace), activations (nl.open, nl.stream), "
            "or the folder of a store."
        )
    finder = Finder(network, source)
    scores = read_profiles(profile, finder)
    evidence = gather_evidence(
        network, finder, numbers, rdms=rdms, stimuli=stimuli, show=show, progress=progress
    )
    _write(path, write_document(network, scores, evidence))
    return path


def _check_path(out: str | Path) -> Path:
    path = Path(out)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"out={str(out)!r} is no name of a web page: give one that ends in .html.")
    return path


def _write(path: Path, text: str) -> None:
    """Write a file that is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.new")
    try:
        building.write_text(text, encoding="utf-8")
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)
