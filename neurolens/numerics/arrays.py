"""The few operations in which numpy arrays and torch tensors differ, so that one text computes with both.

Tensors are chosen by a device ("cuda", "cpu", "mps"); without a device everything stays in numpy.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError
from neurolens.numerics.factors import eigh

__all__ = [
    "Array",
    "as_like",
    "eigh_psd",
    "mean_rows",
    "narrow",
    "rounding_unit",
    "sum_squares",
    "to_device",
    "to_numpy",
    "total",
    "widen",
]

Array: TypeAlias = Any
"""A numpy array, or a torch tensor: float32 or float64."""


def to_device(array: NDArray[Any], device: str | None) -> Array:
    """Return the array itself, or a tensor on a device.

    Raises
    ------
    InputError
        If torch has no such device here.

    Examples
    --------
    >>> to_device(np.ones(2), None), to_device(np.ones(2), "cpu").dtype
    (array([1., 1.]), torch.float64)
    """
    if device is None:
        return array
    import torch  # heavy, and of use here only where a device is asked for

    try:
        return torch.as_tensor(np.ascontiguousarray(array), device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        raise InputError(
            f"device={device!r} cannot hold the data: {str(error).splitlines()[0]} Give device=None for numpy, "
            'or a device that torch has here, e.g. "cuda".'
        ) from error


def to_numpy(array: Array) -> NDArray[Any]:
    """Return a numpy array, wherever the values are."""
    result: NDArray[Any] = array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()
    return result


def eigh_psd(matrix: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending and never below 0, and eigenvectors of a symmetric positive semidefinite matrix."""
    if isinstance(matrix, np.ndarray):
        values, vectors = eigh(matrix)
        return np.maximum(values, 0), vectors
    import torch

    values, vectors = torch.linalg.eigh(matrix)
    return values.clamp(min=0), vectors


def mean_rows(array: Array) -> Array:
    """Mean over the first axis, summed in float64 and given in the dtype of the array."""
    if isinstance(array, np.ndarray):
        return np.asarray(array.mean(axis=0, dtype=np.float64), dtype=array.dtype)
    return array.double().mean(0).to(array.dtype)


def sum_squares(array: Array) -> NDArray[np.float64]:
    """Sum of squares over the first axis, in float64, as a numpy array."""
    if isinstance(array, np.ndarray):
        squares: NDArray[np.float64] = np.einsum("ij,ij->j", array, array, dtype=np.float64)
        return squares
    return to_numpy(array.double().square().sum(0))


def total(array: Array) -> float:
    """Sum of all values, in float64."""
    return float(array.sum(dtype=np.float64) if isinstance(array, np.ndarray) else array.double().sum())


def as_like(array: NDArray[Any], reference: Array) -> Array:
    """Return values in the dtype, and on the device, of another array."""
    if isinstance(reference, np.ndarray):
        return np.asarray(array, dtype=reference.dtype)
    import torch

    return torch.as_tensor(np.ascontiguousarray(array), dtype=reference.dtype, device=reference.device)


def rounding_unit(array: Array) -> float:
    """Distance from 1 to the next number that the dtype can hold."""
    if isinstance(array, np.ndarray):
        return float(np.finfo(array.dtype).eps)
    import torch

    return float(torch.finfo(array.dtype).eps)


def widen(array: Array) -> Array:
    """Return the values in float64."""
    return array.astype(np.float64, copy=False) if isinstance(array, np.ndarray) else array.double()


def narrow(array: Array, reference: Array) -> Array:
    """Return the values in the dtype of another array of the same kind."""
    if isinstance(array, np.ndarray):
        return array.astype(reference.dtype, copy=False)
    return array.to(reference.dtype)
