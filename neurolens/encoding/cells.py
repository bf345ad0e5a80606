"""Cells: what is tested on its own, each neuroid or each region of each subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.encoding.summaries import group_neuroids
from neurolens.numerics.corrections import Correction
from neurolens.schema import NEUROID, OP

__all__ = ["Cells"]

Table = NDArray[np.float64]

PIECE = 2048  # neuroids whose null distributions are held at a time


class Cells:
    """The neuroids of a result, or the groups of them that are tested by their median.

    Parameters
    ----------
    array
        DataArray ([op,] ..., neuroid) with the coords of the result.
    by
        A coord of `neuroid`; None for each neuroid on its own.
    """

    def __init__(self, array: xr.DataArray, by: str | None) -> None:
        self.array = array
        self.by = by
        self.has_op = OP in array.dims
        self.names, self.members = ({}, []) if by is None else group_neuroids(array, by)

    def pieces(self) -> Iterator[NDArray[np.intp]]:
        """Yield the neuroids that are worked on together: some of them, or those of one group."""
        if self.by is not None:
            yield from self.members
            return
        everything = np.arange(self.array.sizes[NEUROID])
        for start in range(0, everything.size, PIECE):
            yield everything[start : start + PIECE]

    def reduce(self, values: Table) -> Table:
        """Reduce (..., neuroid) of one piece to (..., 1) for a group; leave neuroids as they are.

        A neuroid that is NaN in some row is left out of the median in all of them.
        """
        if self.by is None:
            return values
        known = ~np.isnan(values).any(axis=tuple(range(values.ndim - 1)))
        if not known.any():
            return np.full((*values.shape[:-1], 1), np.nan)
        median: Table = np.median(values[..., known], axis=-1, keepdims=True)
        return median

    def label(
        self, tables: Mapping[str, Table], attrs: Mapping[str, Any], correction: Correction
    ) -> xr.Dataset:
        """Give tables (op, cell) their dims, coords and attrs."""
        dims = [OP] * self.has_op + (list(self.names) if self.by is not None else [NEUROID])
        sizes = [len(labels) for labels in self.names.values()] if self.by is not None else [-1]
        coords: dict[Any, Any] = {
            name: coord.variable
            for name, coord in self.array.coords.items()
            if {str(dim) for dim in coord.dims} <= {*dims}
        }
        coords |= self.names
        variables = {}
        for name, table in tables.items():
            shaped = table.reshape(len(table), *sizes)
            variables[name] = (dims, shaped if self.has_op else shaped[0])
        labelled = xr.Dataset(variables, coords, dict(attrs))
        labelled["p"].attrs = {"long_name": attrs["p_of"]}
        family = "neuroids of an operation" if self.by is None else "operations within a region"
        return labelled.assign_attrs(correction=correction, correction_of=family)
