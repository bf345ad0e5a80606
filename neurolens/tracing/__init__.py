"""What users hold of a traced model: Trace, Operation, Module; tables, text and pictures."""

from neurolens.tracing.operation import Module, Operation
from neurolens.tracing.source import Source
from neurolens.tracing.trace import Trace, TracedActivations, trace

__all__ = ["Module", "Operation", "Source", "Trace", "TracedActivations", "trace"]
