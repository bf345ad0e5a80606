"""Nested arguments and results: tuples, lists, mappings and dataclasses of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch


def list_tensors(structure: Any) -> list[torch.Tensor]:
    """Return the tensors in nested arguments, in the order in which the recorder meets them."""
    if isinstance(structure, torch.Tensor):
        return [structure]
    if isinstance(structure, Mapping):
        return [tensor for item in structure.values() for tensor in list_tensors(item)]
    if isinstance(structure, tuple | list) and not isinstance(structure, torch.Size):
        return [tensor for item in structure for tensor in list_tensors(item)]
    if dataclasses.is_dataclass(structure) and not isinstance(structure, type):
        return [t for f in dataclasses.fields(structure) for t in list_tensors(getattr(structure, f.name))]
    return []
