"""The vocabulary: names of dims, coords and attrs, and what joining on labels means.

Everything labelled in neurolens uses these names. Dims are singular. `neuroid` is the one name for measured
units (voxels, electrodes, neurons); `voxel` is accepted on input.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr

from neurolens._version import __version__
from neurolens.errors import InputError, LabelError, check_choice, list_names
from neurolens.numerics.digest import compute_digest

# dims of data
STIMULUS = "stimulus"
STIMULUS_B = "stimulus_b"  # the second stimulus of an RDM: a copy of `stimulus`
REPETITION = "repetition"
PRESENTATION = "presentation"
RUN = "run"
SESSION = "session"
TIME = "time"
OP = "op"
PASS = "pass"
MODEL = "model"
REGION = "region"
SUBJECT = "subject"
NEUROID = "neuroid"
FOLD = "fold"

# dims of activations, after `stimulus` and `pass`
CHANNEL, Y, X, T = "channel", "y", "x", "t"
TOKEN, FEATURE, UNIT = "token", "feature", "unit"
HEAD, QUERY, KEY = "head", "query", "key"

# dims and coords of encoding models: the feature space of a feature, sets of spaces, volumes of delay
BAND, SPACE, SUBSET, DELAY = "band", "space", "subset", "delay"

ALIASES = {"voxel": NEUROID, "neuron": NEUROID, "unit_id": NEUROID, "subject_id": SUBJECT}

# coords of `op` in every result that has one (taken from the attrs of the activations)
OP_COORDS = ("depth", "step", "module", "function", "n_features")

# attrs that every activation carries; a stored DataArray is enough for every analysis
ACTIVATION_ATTRS = (
    "address",  # the operation's name, str
    "function",  # plain name of the function, str
    "module",  # path of the module it ran in, str ("" is the model itself)
    "step",  # position in execution order, int
    "depth",  # longest path from the inputs / longest path of the graph, float in [0, 1]
    "model",  # name of the model, str
    "weights",  # hash of the weights, str
    "preprocessing",  # how stimuli became inputs, str
    "traced_dtype",  # dtype before any cast, str
    "torch_version",
    "neurolens_version",
)


def rename_aliases(array: xr.DataArray) -> xr.DataArray:
    """Return `array` with accepted aliases of dims (`voxel`) under their one name (`neuroid`)."""
    if not isinstance(array, xr.DataArray | xr.Dataset):
        raise LabelError(
            f"A {type(array).__name__} has no labels, and everything here is found by label. Give a DataArray: "
            "xr.DataArray(values, {'stimulus': ids}, ('stimulus', 'repetition', 'neuroid'))."
        )
    names: dict[Hashable, str] = {
        dim: ALIASES[str(dim)]
        for dim in array.dims
        if str(dim) in ALIASES and ALIASES[str(dim)] not in array.dims
    }
    return array.rename(names) if names else array


def is_storable(text: str) -> bool:
    """Tell whether files hold a text as it is: without a zero byte, or half a character (as of a foreign file name)."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def make_texts_plain(array: xr.DataArray) -> xr.DataArray:
    """Turn coords of numpy's newer text type, as Zarr gives them, into objects, which everything can read."""
    texts = [name for name, coord in array.coords.items() if coord.dtype.kind == "T"]
    return array.assign_coords({name: array[name].astype(object) for name in texts}) if texts else array


def require_labels(value: object, what: str) -> None:
    """Raise InputError unless `value` is a DataArray."""
    if not isinstance(value, xr.DataArray):
        raise InputError(
            f"{what} needs a DataArray; got a {type(value).__name__}. Give one whose dims are named, and labelled "
            "where things are joined: xr.DataArray(values, {'stimulus': ids}, ('stimulus', 'neuroid'))."
        )


def require_dims(array: xr.DataArray, *dims: str, what: str) -> None:
    """Raise unless `array` is a DataArray (InputError) that has all of `dims` (LabelError)."""
    require_labels(array, what)
    missing = [dim for dim in dims if dim not in array.dims]
    if missing:
        raise LabelError(
            f"{what} needs the dim {list_names(missing)}; it has {list_names(array.dims)}. "
            f"Rename its dims to the vocabulary, e.g. array.rename(old={missing[0]!r})."
        )


def stimulus_ids(array: xr.DataArray | xr.Dataset, what: str, dim: str = STIMULUS) -> np.ndarray[Any, Any]:
    """Return the labels of `dim`, shape (n_stimuli,); raise LabelError where they are missing or repeated."""
    if dim not in array.coords:
        raise LabelError(
            f"{what} has no labels on {dim!r}, and stimuli are joined by label, never by order. "
            f"Give them: array.assign_coords({dim}=ids)."
        )
    if dim in array.indexes and array.indexes[dim].nlevels > 1:
        raise LabelError(
            f"{what} has several labels for each {dim} (a MultiIndex of {list_names(array.indexes[dim].names)}); a "
            f"stimulus has one. Keep the rest as metadata: array.reset_index({dim!r}).assign_coords({dim}=ids)."
        )
    ids = np.asarray(array.coords[dim].values)
    ids = ids.astype(object) if ids.dtype.kind == "T" else ids  # as Zarr gives texts
    unique, counts = np.unique(ids.astype(str), return_counts=True)
    if (counts > 1).any():
        raise LabelError(
            f"{what} repeats the {dim} label {list_names(unique[counts > 1].tolist())}. Labels must be unique; "
            f"keep repeated presentations on a dim of their own ({REPETITION!r}), or average them first."
        )
    return ids


def join_stimuli(
    left: xr.DataArray,
    right: xr.DataArray,
    *,
    join: Literal["exact", "inner"] = "exact",
    names: tuple[str, str] = ("the first", "the second"),
) -> tuple[xr.DataArray, xr.DataArray]:
    """Bring two labelled arrays to the same stimuli, in the order of `left`.

    Parameters
    ----------
    left, right
        DataArrays with a labelled dim `stimulus` (and `stimulus_b`, for RDMs).
    join
        "exact": a stimulus on one side only is an error that names it. "inner": keep what both have.
    names
        What to call the two sides in a message.

    Returns
    -------
    tuple of DataArray
        Both, with equal `stimulus` (and `stimulus_b`) labels.

    Raises
    ------
    LabelError
        If labels are missing or repeated, differ under "exact", or share nothing.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> a = xr.DataArray(np.arange(3.0), dims="stimulus", coords={"stimulus": ["cat", "dog", "cow"]})
    >>> b = a.isel(stimulus=[2, 0, 1])
    >>> join_stimuli(a, b)[1].stimulus.values.tolist()
    ['cat', 'dog', 'cow']
    """
    check_choice(join, ("exact", "inner"), "join")
    left_ids = stimulus_ids(left, names[0])
    right_ids = stimulus_ids(right, names[1])
    left_set, right_set = set(left_ids.tolist()), set(right_ids.tolist())
    if join == "exact" and left_set != right_set:
        only_left = [i for i in left_ids.tolist() if i not in right_set]
        only_right = [i for i in right_ids.tolist() if i not in left_set]
        parts = [
            f"{len(only)} only in {name} ({list_names(only, 5)})"
            for name, only in zip(names, (only_left, only_right), strict=True)
            if only
        ]
        raise LabelError(
            f"The stimuli of {names[0]} and {names[1]} differ: {'; '.join(parts)}. "
            'Mend the labels, or pass join="inner" to use only what both have.'
        )
    common = [i for i in left_ids.tolist() if i in right_set]
    if not common:
        raise LabelError(
            f"{names[0]} and {names[1]} share no stimulus: {list_names(left_ids.tolist(), 3)} against "
            f"{list_names(right_ids.tolist(), 3)}. Are both labelled by the same ids?"
        )
    return _take(left, common), _take(right, common)


def _take(array: xr.DataArray, ids: list[Any]) -> xr.DataArray:
    """Select stimuli by label on every stimulus dim, copying nothing where the order holds already."""
    for dim in (STIMULUS, STIMULUS_B):
        if dim in array.dims and array.coords[dim].values.tolist() != ids:
            array = array.sel({dim: ids})
    return array


def hash_array(array: xr.DataArray) -> str:
    """Return a short hash of values, dims and stimulus labels, for the attrs of results."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((array.dims, array.shape, str(array.dtype))).encode())
    digest.update(compute_digest(array.values).encode())
    if STIMULUS in array.coords:
        digest.update(repr(array.coords[STIMULUS].values.tolist()).encode())
    return digest.hexdigest()


def provenance(
    method: str, *, parameters: Mapping[str, object], inputs: Mapping[str, str], seed: int | None = None
) -> dict[str, Any]:
    """Return the attrs every result carries: method, parameters, seed, versions and input hashes.

    `parameters` and `inputs` are written as JSON text, so that attrs survive any file format.
    """
    attrs: dict[str, Any] = {
        "method": method,
        "parameters": json.dumps(dict(parameters), default=str, sort_keys=True),
        "inputs": json.dumps(dict(inputs), sort_keys=True),
        "neurolens_version": __version__,
    }
    if seed is not None:
        attrs["seed"] = seed
    return attrs
