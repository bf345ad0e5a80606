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


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Tell whether two tensors hold the same bits; NaN equals NaN."""
    if a.is_nested or b.is_nested:
        return a.is_nested and b.is_nested and all(map(same, a.unbind(), b.unbind()))
    if a.shape != b.shape or a.dtype != b.dtype or a.layout != b.layout:
        return False
    b = b.to(a.device)  # one may be kept elsewhere
    if a.layout is not torch.strided:
        a, b = a.to_dense(), b.to_dense()
    if a.is_quantized:
        return torch.equal(a.int_repr(), b.int_repr())
    if torch.equal(a, b):
        return True
    return bool(((a == b) | ((a != a) & (b != b))).all())


def is_array(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor is plain numbers: not sparse, nested, quantised or without data."""
    strided = tensor.layout is torch.strided and not tensor.is_nested
    return strided and not tensor.is_quantized and tensor.device.type != "meta"
