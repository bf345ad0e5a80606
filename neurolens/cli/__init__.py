"""The command line: `neurolens`.

Modules of commands import nothing heavy at their top, so that `--help` and `--version` answer at once; what a command
needs is imported inside it.
"""

from neurolens.cli.application import app, main

__all__ = ["app", "main"]
