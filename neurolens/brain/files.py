"""Files: arrays that laboratories keep as .npy, .npz, .mat, HDF5, netCDF or Zarr, brought to labelled responses."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.io import loadmat

from neurolens.brain.extras import import_extra
from neurolens.brain.responses import check_responses
from neurolens.errors import InputError, LabelError, explain_unreadable, list_names
from neurolens.schema import NEUROID, REPETITION, STIMULUS, TIME

__all__ = ["read_responses"]

StrPath = str | os.PathLike[str]
Labels = str | Sequence[object]
Array = NDArray[Any]

DIMS = (REPETITION, STIMULUS, NEUROID, TIME)


def read_responses(
    path: StrPath,
    *,
    variable: str | None = None,
    dims: Sequence[str] | None = None,
    stimulus: Labels | None = None,
    neuroid: Labels | None = None,
    coords: Mapping[str, Labels] | None = None,
) -> xr.DataArray:
    """Read responses from a file of arrays.

    Parameters
    ----------
    path
        .npy, .npz, .mat (of any version), .h5 / .hdf5, .nc, or a Zarr folder.
    variable
        Which array of the file; may be left out where there is one that can be meant. Groups are parted by "/".
    dims
        What the axes are, in order, of "repetition", "stimulus", "neuroid" and "time". Needed for files that name
        no dims; others keep theirs. MATLAB's order is that which MATLAB shows.
    stimulus, neuroid
        Labels, or the name of an array of the file that holds them. Ids of stimuli are needed unless the file has
        them.
    coords
        Further coords of `neuroid` (region, subject, x, ...): labels, or the name of an array of the file.

    Returns
    -------
    DataArray ([repetition,] stimulus, neuroid[, time])
        Zarr and netCDF stay in their file and are read when needed; the others are read at once.

    Raises
    ------
    InputError
        If the file or array is missing, several could be meant, or dims don't fit.
    LabelError
        If ids of stimuli are missing, repeated, or labels don't fit in number.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "trials.npz"
    >>> np.savez(path, data=np.zeros((2, 5)), images=["cat", "dog"])
    >>> read_responses(path, variable="data", dims=("stimulus", "neuroid"), stimulus="images").sizes
    Frozen({'stimulus': 2, 'neuroid': 5})
    """
    source = Path(path)
    if not source.exists():
        raise InputError(f"{source} does not exist.")
    suffix = ".zarr" if source.is_dir() else source.suffix.lower()
    if suffix not in _READERS:
        is_table = suffix in (".csv", ".tsv", ".txt")
        raise InputError(
            f"{source.name} is of no known kind; read are {list_names(_READERS)} and Zarr folders."
            + _FROM_TABLE.format(path=str(source)) * is_table
        )
    with explain_unreadable(source):
        found = _READERS[suffix](source)
    name = _choose(found, variable, source.name)
    data = _name_dims(found[name], dims, f"{name!r} of {source.name}")
    given: dict[str, tuple[str, Labels | None]] = {
        STIMULUS: (STIMULUS, stimulus),
        NEUROID: (NEUROID, neuroid),
    }
    given |= {key: (NEUROID, labels) for key, labels in (coords or {}).items()}
    for key, (dim, labels) in given.items():
        if labels is not None:
            column = _find_labels(labels, found, source.name)
            if column.shape != (data.sizes.get(dim),):
                raise LabelError(f"{key} holds {column.size} labels for {data.sizes.get(dim)} of {dim!r}.")
            data = data.assign_coords({key: (dim, column)})
    return check_responses(data, what=f"the responses of {source.name}", time=True)


_FROM_TABLE = (
    " A table with one stimulus a row: table = pandas.read_csv({path!r}, sep=None, engine='python', index_col=0), then "
    "neurolens.brain.responses(table, stimulus=table.index, neuroid=table.columns)."
)


def _read_npy(path: Path) -> dict[str, Any]:
    return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_mat(path: Path) -> dict[str, Any]:
    """Read a MATLAB file; version 7.3 is HDF5 with the axes the other way round."""
    if not import_extra("h5py").is_hdf5(path):
        return {name: values for name, values in loadmat(path).items() if not name.startswith("__")}
    return {name: _from_matlab(values) for name, values in _read_hdf5(path).items() if "#refs#" not in name}


def _read_hdf5(path: Path) -> dict[str, Any]:
    h5py = import_extra("h5py")
    found: dict[str, Any] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and h5py.check_ref_dtype(item.dtype) is None:
            text = h5py.check_string_dtype(item.dtype)
            found[name] = item.asstr()[()] if text else item[()]

    with h5py.File(path, "r") as file:
        file.visititems(collect)
    return found


def _read_netcdf(path: Path) -> dict[str, Any]:
    return _variables(xr.open_dataset(path))


def _read_zarr(path: Path) -> dict[str, Any]:
    return _variables(xr.open_zarr(path, chunks=None, consolidated=False))


_READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".mat": _read_mat,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".nc": _read_netcdf,
    ".zarr": _read_zarr,
}


def _variables(dataset: xr.Dataset) -> dict[str, Any]:
    """Return variables, and coords as labels that can be named."""
    return {str(name): dataset[name] for name in [*dataset.data_vars, *dataset.coords]}


def _from_matlab(values: Array) -> Array:
    """Turn axes back."""
    return values.T if values.ndim > 1 else values


def _choose(found: Mapping[str, Any], variable: str | None, file: str) -> str:
    """Return the name of the array that is meant."""
    usable = {
        name: np.shape(values)
        for name, values in found.items()
        if np.ndim(values) >= 2 and values.dtype.kind in "fiub" and min(np.shape(values)) > 0
    }
    if variable is None and len(usable) == 1:
        return next(iter(usable))
    shapes = ", ".join(f"{name!r} {shape}" for name, shape in usable.items()) or "none of numbers"
    if variable is None:
        matrices = {name: shape for name, shape in usable.items() if min(shape) > 1}
        if len(matrices) == 1:
            return next(iter(matrices))
        raise InputError(f"Which array of {file} is meant? Name it with variable=; there are {shapes}.")
    if variable not in found:
        raise InputError(f"{file} has no array {variable!r}; there are {shapes}.")
    return variable


def _name_dims(values: Any, dims: Sequence[str] | None, what: str) -> xr.DataArray:
    """Give an array its dims."""
    if isinstance(values, xr.DataArray):
        return values if dims is None else values.rename(dict(zip(values.dims, dims, strict=True)))
    if dims is None:
        raise InputError(
            f"{what} has shape {np.shape(values)}, and nothing says what its axes are. Give dims=, for instance "
            "dims=('stimulus', 'neuroid')."
        )
    unknown = [dim for dim in dims if dim not in DIMS]
    squeezed = np.asarray(values)
    while squeezed.ndim > len(dims) and 1 in squeezed.shape:
        squeezed = squeezed.squeeze(axis=squeezed.shape.index(1))
    if unknown or len(set(dims)) != len(dims) or squeezed.ndim != len(dims):
        raise InputError(
            f"dims={tuple(dims)} don't fit {what}, shape {np.shape(values)}: give one of {list_names(DIMS)} for "
            "each axis."
        )
    return xr.DataArray(squeezed, dims=dims)


def _find_labels(labels: Labels, found: Mapping[str, Any], file: str) -> Array:
    """Return labels as given, or those the file holds under a name."""
    if not isinstance(labels, str):
        return np.asarray(list(labels))
    if labels not in found:
        raise LabelError(f"{file} has no array {labels!r} of labels; it has {list_names(found)}.")
    column = np.asarray(found[labels]).squeeze()
    if column.dtype == object:  # MATLAB's cells
        column = np.array([str(np.asarray(cell).squeeze()) for cell in column])
    if column.dtype.kind == "U":
        column = np.char.rstrip(column)
    return np.atleast_1d(column)
