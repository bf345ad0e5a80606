"""Where values left torch for Python: there the graph is cut."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

from neurolens.errors import NeurolensWarning
from neurolens.tracing.source import Source, find_line

if TYPE_CHECKING:
    from neurolens.tracing.trace import Trace

# They hand out memory, not numbers: what is written there is found when it is read again.
_QUIET = frozenset(
    ["untyped_storage", "storage", "_typed_storage", "data_ptr", "const_data_ptr", "mutable_data_ptr"]
)
_READOUTS = {"bool": "if tensor:", "int": "int(tensor)", "float": "float(tensor)", "index": "an index"}


class Readout(NamedTuple):
    """Values that left torch for Python.

    Attributes
    ----------
    function
        What was called: "item", "tolist", "bool" ...
    tensors
        Addresses of the tensors that were read.
    source
        The line of the model's code that read them; None where it is not known.
    result
        What `bool(tensor)` said; None for other functions.

    Examples
    --------
    >>> import torch, warnings
    >>> import neurolens as nl
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # which says the same, at the line
    ...     trace = nl.trace(lambda x: x * x.sum().item(), torch.ones(2))
    >>> trace.readouts[0].function
    'item'
    """

    function: str
    tensors: tuple[str, ...]  # addresses
    source: Source | None
    result: bool | None  # what `bool(tensor)` said


def list_readouts(trace: Trace) -> tuple[Readout, ...]:
    """Return every place where values left torch, in order."""
    found = []
    for mark in trace.recording.readouts:
        tensors = tuple(trace.describe(value) for value in mark.values)
        found.append(Readout(mark.facts.name, tensors, find_line(mark), mark.result))
    return tuple(found)


def warn_of_readouts(trace: Trace) -> None:
    """Warn, once a line, where values left torch."""
    for name, source in dict.fromkeys(
        (mark.facts.name, find_line(mark)) for mark in trace.recording.readouts
    ):
        if source is not None and name not in _QUIET:
            warnings.warn_explicit(
                f"{_READOUTS.get(name, name)} hands values to Python here: what is made of them does not appear in "
                "the graph, or decides what runs.",
                NeurolensWarning,
                source.file,
                source.line,
            )
