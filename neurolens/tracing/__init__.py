"""What users hold of a traced model: Trace, Operation, Module; tables, text and pictures."""

from neurolens.activations.memory import keep_freed_memory
from neurolens.tracing.labelling import TracedActivations
from neurolens.tracing.operation import Module, Operation, Pass
from neurolens.tracing.readouts import Readout
from neurolens.tracing.report import Report
from neurolens.tracing.source import Source
from neurolens.tracing.trace import Trace, trace

__all__ = [
    "Module",
    "Operation",
    "Pass",
    "Readout",
    "Report",
    "Source",
    "Trace",
    "TracedActivations",
    "keep_freed_memory",
    "trace",
]
