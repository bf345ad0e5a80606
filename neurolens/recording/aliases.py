"""The node names of torchvision's feature extraction (torch.fx), as a second series of names for the same tensors.

They are derived from the recording alone; the model does not run again. A node is a call of a leaf module (one of
`torch.nn` but `Sequential`, or of `torchvision.ops`), or a call of a function in any other module, under the name
that fx gives it: the operator's (`truediv`), else the function's own (`add_`). Names are numbered as fx does it,
which also counts what is no tensor: `n, c, h, w = x.shape` is four nodes called `getitem`, found in the bytecode.
"""

from __future__ import annotations

import dis
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType

import torch

from neurolens.recording import compat
from neurolens.recording.events import Event, Scope
from neurolens.recording.functions import raw_name
from neurolens.recording.names import Names, results

_OPERATORS = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "truediv",
    "//": "floordiv",
    "@": "matmul",
    "%": "mod",
    "**": "pow",
    "&": "and_",
    "|": "or_",
    "^": "xor",
    "<<": "lshift",
    ">>": "rshift",
    "<": "lt",
    "<=": "le",
    "==": "eq",
    "!=": "ne",
    ">": "gt",
    ">=": "ge",
}
_OPCODES = {
    "BINARY_SUBSCR": "getitem",
    "BINARY_SLICE": "getitem",
    "UNARY_NEGATIVE": "neg",
    "UNARY_INVERT": "invert",
}
_REFLECTED = frozenset("radd rsub rmul rtruediv rdiv rfloordiv rpow rmod rmatmul".split())  # noqa: SIM905
_SILENT = frozenset(("CACHE", "PRECALL", "KW_NAMES", "EXTENDED_ARG", "NOP"))
_LOADS = frozenset(("LOAD_CONST", "LOAD_FAST", "BUILD_SLICE", "UNARY_NEGATIVE"))
_NUMBERED = re.compile(r"(.+)_([0-9]+)$")

Item = Event | Scope


def fx_aliases(names: Names) -> dict[str, str]:
    """Return the address of each fx node name of a module that was recorded; empty for a plain function.

    Where fx cannot trace a model (its course depends on data), these are the names it would give if it followed
    the course that was recorded. Names that mean no tensor of the recording are left out.

    Examples
    --------
    >>> import torch
    >>> from neurolens.recording.names import assign_names
    >>> from neurolens.recording.recorder import record
    >>> class Half(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x / 2
    >>> fx_aliases(assign_names(record(Half(), (torch.ones(2),))))
    {'x': 'input', 'truediv': 'div'}
    """
    if names.aliases is None:
        names.aliases = {}
        top = names.root.children[0] if names.root is not None and names.root.children else None
        if isinstance(names.root, Scope) and names.root.children:
            top = next((c for c in names.root.children if isinstance(c, Scope) and c.path == ""), None)
        if isinstance(top, Scope):
            _Walk(names, top).follow(top, "")
    return names.aliases
