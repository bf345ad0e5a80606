"""RDMs from and for other tools: rsatoolbox, MATLAB files, numpy files."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.io import loadmat, savemat

from neurolens.brain.extras import import_extra
from neurolens.errors import InputError, LabelError, explain_unreadable, list_names
from neurolens.numerics.whitening import count_stimuli
from neurolens.rsa.pairs import check_rdm, extract_pairs, other_dims
from neurolens.schema import STIMULUS, STIMULUS_B

RDM = "rdm"  # the dim of RDMs that come without a name for it
SUFFIXES = (".npy", ".mat")
HDF5 = b"\x89HDF\r\n\x1a\n"  # how such a file begins


def label_rdms(array: ArrayLike, *, stimulus: Sequence[object], dims: Sequence[str] = ()) -> xr.DataArray:
    """Label RDMs that come as plain numbers.

    Parameters
    ----------
    array
        array, shape (..., n_stimuli, n_stimuli), square, or (..., n_pairs), upper triangles row by row, as scipy's
        `pdist` gives them. What could be either is square.
    stimulus
        Ids of the stimuli, in the order of the array.
    dims
        Names of the other dims, e.g. ["subject"]; "rdm" where there is one and no name is given.

    Returns
    -------
    DataArray
        (dims ..., stimulus, stimulus_b), float32 for float32, else float64; zero diagonal.

    Raises
    ------
    InputError
        If the shape does not fit the ids, or a matrix is not symmetric.
    LabelError
        If ids are repeated, or there are not as many names as dims.

    Examples
    --------
    >>> label_rdms([0.5, 0.2, 0.9], stimulus=["cat", "dog", "cow"]).sel(stimulus="cat", stimulus_b="cow").item()
    0.2
    """
    values = np.asarray(array)
    if values.dtype.kind not in "fiub":
        raise InputError(f"RDMs must be real numbers; got dtype {values.dtype}.")
    values = values.astype(np.float32 if values.dtype == np.float32 else np.float64)
    ids = list(stimulus)
    square = _make_square(values, len(ids))
    names = list(dims) if dims or square.ndim == 2 else [RDM]
    if len(names) != square.ndim - 2:
        raise LabelError(
            f"RDMs of shape {values.shape} have {square.ndim - 2} dims besides stimuli; {len(names)} names are given: "
            f"{list_names(names)}."
        )
    labelled = xr.DataArray(
        square, {STIMULUS: ids, STIMULUS_B: ids}, (*names, STIMULUS, STIMULUS_B), "rdm", {"metric": "given"}
    )
    check_rdm(labelled, "array")
    return labelled


def _make_square(values: NDArray[Any], n_stimuli: int) -> NDArray[Any]:
    if values.ndim >= 2 and values.shape[-2:] == (n_stimuli, n_stimuli):
        return values
    n_pairs = n_stimuli * (n_stimuli - 1) // 2
    if values.ndim >= 1 and values.shape[-1] == n_pairs:
        square = np.zeros((*values.shape[:-1], n_stimuli, n_stimuli), dtype=values.dtype)
        rows, columns = np.triu_indices(n_stimuli, 1)
        square[..., rows, columns] = values
        square[..., columns, rows] = values
        return square
    raise InputError(
        f"{n_stimuli} stimuli have square RDMs (..., {n_stimuli}, {n_stimuli}) or {n_pairs} pairs (..., {n_pairs}); "
        f"the array has shape {values.shape}. Give one id for each stimulus, in the order of the array."
    )


def read_rdms(
    path: str | Path, *, stimulus: Sequence[object], dims: Sequence[str] = (), variable: str | None = None
) -> xr.DataArray:
    """Read RDMs, square or condensed, from a `.npy` or `.mat` file.

    Parameters
    ----------
    path
        File. A `.mat` file of MATLAB 7.3, or any HDF5 file of that name, needs h5py (the extra `brain`).
    stimulus
        Ids of the stimuli: the file does not hold them, and stimuli are joined by label.
    dims
        Names of the dims before stimuli; "rdm" where there is one and no name is given.
    variable
        Which variable of a `.mat` file; needed where it holds several; groups of HDF5 are parted by "/". MATLAB keeps
        sets of RDMs as (stimulus, stimulus, set): these are brought to the front.

    Returns
    -------
    DataArray
        (dims ..., stimulus, stimulus_b); see `label_rdms`.

    Raises
    ------
    InputError
        If the file is of another kind, has no such variable, its shape does not fit the ids, or nothing tells which
        axis is that of pairs.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "rdm.npy"
    >>> np.save(path, [0.5, 0.2, 0.9])
    >>> read_rdms(path, stimulus=["cat", "dog", "cow"]).sizes["stimulus"]
    3
    """
    path = Path(path)
    if path.suffix == ".npy":
        if variable is not None:
            raise InputError(f"variable={variable!r}: a .npy file holds one array without a name.")
        with explain_unreadable(path):
            values = np.load(path, allow_pickle=False)
        return label_rdms(values, stimulus=stimulus, dims=dims)
    if path.suffix != ".mat":
        raise InputError(f"{path.name} is no file of RDMs that is known; expected {list_names(SUFFIXES)}.")
    with explain_unreadable(path):
        found = _read_hdf5(path) if _is_hdf5(path) else _read_mat(path)
    values = _bring_to_front(_choose(found, variable, path.name), len(list(stimulus)), path)
    return label_rdms(values, stimulus=stimulus, dims=dims)


def _is_hdf5(path: Path) -> bool:
    """MATLAB 7.3 writes HDF5 behind a header of 512 bytes; others give plain HDF5 the same ending."""
    with path.open("rb") as file:
        head = file.read(512 + len(HDF5))
    return head.startswith(HDF5) or head.endswith(HDF5)


def _read_mat(path: Path) -> dict[str, NDArray[Any]]:
    return {name: value for name, value in loadmat(path).items() if not name.startswith("__")}


def _read_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays, with axes in MATLAB's order; its texts and cells are arrays of numbers here, and left out."""
    h5py: Any = import_extra("h5py", "brain")
    found: dict[str, NDArray[Any]] = {}

    def collect(name: str, item: Any) -> None:
        kind = item.attrs.get("MATLAB_class", b"")
        if isinstance(item, h5py.Dataset) and kind not in (b"char", b"cell") and "#refs#" not in name:
            found[name] = np.asarray(item).T

    with h5py.File(path) as file:
        file.visititems(collect)
    return found


def _bring_to_front(values: NDArray[Any], n_stimuli: int, path: Path) -> NDArray[Any]:
    """Bring sets of RDMs to the front; in HDF5 that MATLAB did not write, axes may be in either order."""
    n_pairs = n_stimuli * (n_stimuli - 1) // 2
    if values.ndim == 3 and values.shape[:2] == (n_stimuli, n_stimuli):
        is_last = values.shape[2] != n_stimuli or np.array_equal(
            values, values.swapaxes(0, 1), equal_nan=True
        )
        return values.transpose(2, 0, 1) if is_last else values
    if values.ndim == 2 and n_pairs in values.shape and values.shape != (n_stimuli, n_stimuli):
        if values.size == n_pairs:
            return values.ravel()  # MATLAB has no vectors
        if values.shape[1] != n_pairs:
            return values.T
        if values.shape[0] == n_pairs and _is_hdf5(path):
            raise InputError(
                f"{path.name} holds {n_pairs} RDMs of {n_pairs} pairs each, and HDF5 does not say which axis is that "
                "of pairs. Save them as squares, or as .npy with pairs last."
            )
    return values


def _choose(variables: Mapping[str, NDArray[Any]], variable: str | None, file: str) -> NDArray[Any]:
    numeric = {
        name: value for name, value in variables.items() if value.dtype.kind in "fiub" and value.size > 1
    }
    if variable is None and len(numeric) == 1:
        return next(iter(numeric.values()))
    if variable is None or variable not in numeric:
        asked = (
            "several variables could be RDMs" if variable is None else f"there is no variable {variable!r}"
        )
        raise InputError(f"In {file} {asked}; numbers are in {list_names(numeric)}. Choose one: variable=.")
    return numeric[variable]


def write_rdms(rdms: xr.DataArray, path: str | Path) -> None:
    """Write RDMs to a `.npy` file (square) or a `.mat` file (square, and the ids of the stimuli).

    Parameters
    ----------
    rdms
        DataArray (..., stimulus, stimulus_b). In `.mat` files other dims come last, as MATLAB has them.
    path
        File to write; nothing but numbers (and ids, in `.mat`) is kept. `rdms.to_netcdf` keeps all.

    Raises
    ------
    InputError
        If the ending is another.

    Examples
    --------
    >>> import tempfile
    >>> rdms = label_rdms([[0.5, 0.2, 0.9]], stimulus=["cat", "dog", "cow"], dims=["subject"])
    >>> path = Path(tempfile.mkdtemp()) / "rdms.npy"
    >>> write_rdms(rdms, path)
    >>> read_rdms(path, stimulus=["cat", "dog", "cow"], dims=["subject"]).equals(rdms)
    True
    """
    check_rdm(rdms, "rdms")
    path = Path(path)
    values = rdms.transpose(..., STIMULUS, STIMULUS_B).values
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".mat":
        ids = np.array([str(label) for label in rdms[STIMULUS].values.tolist()], dtype=object)
        stacked = values.reshape(-1, *values.shape[-2:]).transpose(1, 2, 0)
        savemat(path, {"rdm": stacked if values.ndim > 2 else values, "stimulus": ids})
    else:
        raise InputError(f"{path.name} has an ending that is not known; expected {list_names(SUFFIXES)}.")


def to_rsatoolbox(rdms: xr.DataArray) -> Any:
    """Return labelled RDMs as an rsatoolbox `RDMs` object.

    Parameters
    ----------
    rdms
        DataArray (..., stimulus, stimulus_b); other dims are flattened in their order.

    Returns
    -------
    rsatoolbox.rdm.RDMs
        Coords of `stimulus` are pattern descriptors, labels and coords of the other dims RDM descriptors.

    Examples
    --------
    >>> rdms = label_rdms([[0.5, 0.2, 0.9]], stimulus=["cat", "dog", "cow"], dims=["subject"])
    >>> to_rsatoolbox(rdms).dissimilarities.tolist()
    [[0.5, 0.2, 0.9]]
    """
    toolbox: Any = import_extra("rsatoolbox.rdm", "interop")
    check_rdm(rdms, "rdms")
    dims = other_dims(rdms)
    ordered = rdms.transpose(*dims, STIMULUS, STIMULUS_B)
    others = {
        name: coord for name, coord in ordered.coords.items() if coord.dims and {*coord.dims} <= {*dims}
    }
    sizes = [rdms.sizes[dim] for dim in dims]
    descriptors: dict[str, list[Any]] = {}
    for name, coord in others.items():
        missing = {dim: rdms.sizes[dim] for dim in dims if dim not in coord.dims}
        spread = coord.variable.set_dims({**missing, **coord.sizes}).transpose(*dims)
        descriptors[str(name)] = spread.values.reshape(-1).tolist()
    for dim, size in zip(dims, sizes, strict=True):
        if dim not in others:
            index = np.indices(sizes)[dims.index(dim)]
            descriptors[str(dim)] = index.reshape(-1).tolist() if size else []
    patterns = {
        str(name): coord.values.tolist() for name, coord in rdms.coords.items() if coord.dims == (STIMULUS,)
    }
    return toolbox.RDMs(
        extract_pairs(ordered).astype(np.float64),
        dissimilarity_measure=rdms.attrs.get("metric"),
        rdm_descriptors=descriptors,
        pattern_descriptors=patterns,
    )


def from_rsatoolbox(rdms: Any, *, stimulus: str = STIMULUS, dim: str = RDM) -> xr.DataArray:
    """Return an rsatoolbox `RDMs` object as a labelled DataArray.

    Parameters
    ----------
    rdms
        rsatoolbox.rdm.RDMs.
    stimulus
        The pattern descriptor that holds the ids of the stimuli.
    dim
        Name of the dim of RDMs, e.g. "subject"; an RDM descriptor of that name becomes its labels.

    Returns
    -------
    DataArray
        (dim, stimulus, stimulus_b), float64, with descriptors as coords; attrs["metric"] as rsatoolbox names it.

    Raises
    ------
    LabelError
        If there is no such pattern descriptor, or ids are repeated.

    Examples
    --------
    >>> rdms = label_rdms([[0.5, 0.2, 0.9]], stimulus=["cat", "dog", "cow"], dims=["subject"])
    >>> from_rsatoolbox(to_rsatoolbox(rdms), dim="subject").sel(stimulus="cat", stimulus_b="cow").values.tolist()
    [0.2]
    """
    patterns = dict(rdms.pattern_descriptors)
    if stimulus not in patterns:
        raise LabelError(
            f"These RDMs have no pattern descriptor {stimulus!r} with the ids of stimuli; they have "
            f"{list_names(patterns)}. Choose one: stimulus=."
        )
    vectors = np.asarray(rdms.get_vectors(), dtype=np.float64)
    count_stimuli(vectors.shape[1])
    labelled = label_rdms(vectors, stimulus=list(patterns[stimulus]), dims=[dim])
    coords: dict[Hashable, Any] = {
        name: (STIMULUS, list(values))
        for name, values in patterns.items()
        if name not in (stimulus, "index", STIMULUS)
    }
    for name, values in rdms.rdm_descriptors.items():
        if name != "index" and name not in coords:
            coords[name] = (dim, list(values))
    metric = str(rdms.dissimilarity_measure or "given")
    return labelled.assign_coords(coords).assign_attrs(metric=metric)
