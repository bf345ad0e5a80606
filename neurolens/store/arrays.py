"""Arrays of a store: how each is cut into chunks, and its files as bytes.

Everything is encoded by Zarr into memory and written by `files.write_files`, so that one place decides when
data are on disk, and equal input gives equal bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from neurolens.errors import StoreError
from neurolens.schema import is_storable
from neurolens.store.chunks import Buffer, Compression, encode_file, parse_grid
from neurolens.store.layout import METADATA

SMALL_READ = 64 * 1024  # bytes; chunks of more than one stimulus are no larger
PAGE = 4096  # bytes; what a disk reads anyway
MOST_STIMULI = 4  # in a chunk above a page: so one stimulus is read with three others at most
LARGE_CHUNK = 4 * 1024 * 1024  # bytes; above this one stimulus is cut
KINDS = "biufc"
LONGEST_NAME = 200  # bytes of the name of a coordinate; file systems allow 255

# In the terms of Zarr's own classes; `chunks` encodes the same.
_COMPRESSORS: dict[str, tuple[Any, ...]] = {
    "lz4": (BloscCodec(cname="lz4", clevel=1, shuffle="noshuffle", typesize=1), Crc32cCodec()),
    "zstd": (ZstdCodec(level=1, checksum=True),),
    "none": (Crc32cCodec(),),
}

# xarray takes these for encodings, and would change values or dims on reading
ENCODING_ATTRS = frozenset(
    {
        "_FillValue", "missing_value", "scale_factor", "add_offset", "dtype", "_Unsigned", "calendar",
        "coordinates", "grid_mapping", "bounds", "_ARRAY_DIMENSIONS",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Chunking:
    """`chunks` are read, `shards` are files; `shards` is None where a file holds one chunk."""

    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None


def plan_chunks(shape: tuple[int, ...], itemsize: int, *, block: int | None) -> Chunking:
    """Cut an array so that a block of stimuli is one file and one stimulus is a small read.

    Parameters
    ----------
    shape
        Of the array; axis 0 is the stimulus if `block` is given.
    itemsize
        Bytes of one value.
    block
        Stimuli in a block; None for an array without stimuli.

    Returns
    -------
    Chunking
        One stimulus is read with at most three others, or within a page of 4 KiB; no chunk is above 4 MiB where
        an axis can be cut.

    Examples
    --------
    >>> plan_chunks((1000, 64, 56, 56), 4, block=32)
    Chunking(chunks=(1, 64, 56, 56), shards=(32, 64, 56, 56))
    """
    inner = [max(1, size) for size in shape]
    if block is not None:
        one = itemsize * math.prod(inner[1:])
        most = max(MOST_STIMULI, PAGE // one)
        inner[0] = _largest_divisor(block, max(1, min(most, SMALL_READ // one)))
    for axis in range(0 if block is None else 1, len(inner)):
        excess = itemsize * math.prod(inner) / LARGE_CHUNK
        if excess > 1:
            inner[axis] = math.ceil(inner[axis] / min(math.ceil(excess), inner[axis]))
    outer = [math.ceil(max(1, size) / part) * part for size, part in zip(shape, inner, strict=True)]
    if block is not None:
        outer[0] = block
    return Chunking(tuple(inner), tuple(outer) if outer != inner else None)


def _largest_divisor(number: int, at_most: int) -> int:
    return next(k for k in range(min(number, at_most), 0, -1) if number % k == 0)


class ArrayFiles:
    """One array of a store, held as metadata; values given to it become files.

    Parameters
    ----------
    shape, dtype, dims
        Of the whole array; `dtype` is a numpy dtype or `str`.
    attrs
        Its attributes, already plain JSON.
    block
        Stimuli in a block, where axis 0 is the stimulus.
    compression
        Of numbers; text is always compressed with zstd.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any] | type[str],
        dims: tuple[str, ...],
        *,
        attrs: Mapping[str, Any],
        block: int | None = None,
        compression: Compression = "zstd",
    ) -> None:
        self._files: dict[str, Any] = {}
        text = dtype is str
        numeric = np.dtype(dtype)
        plan = (
            Chunking(tuple(max(1, n) for n in shape), None)
            if text
            else plan_chunks(shape, numeric.itemsize, block=block)
        )
        self._array = zarr.create_array(
            MemoryStore(self._files),
            shape=shape,
            dtype=dtype,
            chunks=plan.chunks,
            shards=plan.shards,
            compressors=_COMPRESSORS["zstd" if text else compression],
            fill_value=float("nan") if not text and numeric.kind in "fc" else None,
            dimension_names=dims,
            attributes=dict(attrs),
            chunk_key_encoding={"name": "default", "separator": "."},
            config={"write_empty_chunks": True},
        )
        self.metadata: bytes = self._files[METADATA].to_bytes()
        self._grid = None if text else parse_grid(json.loads(self.metadata))
        self.shape = shape
        self.dtype = dtype
        self.dims = dims

    def encode(self, values: np.ndarray[Any, Any], start: int = 0) -> dict[str, list[Buffer]]:
        """Return the files, by name inside the array, that hold `values` from `start` on along axis 0."""
        if 0 in self.shape:
            return {}
        if self._grid is not None:
            number = start // self._grid.files[0] if self.shape else 0
            return {self._grid.file_name(number): encode_file(self._grid, values)}
        self._array[...] = values
        names = [name for name in self._files if name != METADATA]
        return {name: [self._files.pop(name).to_bytes()] for name in names}

    def first_file(self, index: int | None = None) -> str | None:
        """Return the name of the file that block `index` (or all of it) makes; None if it makes none."""
        if 0 in self.shape:
            return None
        numbers = [0] * len(self.shape)
        if index is not None:
            numbers[0] = index
        return ".".join(["c", *map(str, numbers)])


def plain_attrs(attrs: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return attrs as plain JSON values; StoreError names the one that can't be."""
    plain = {}
    for name, value in attrs.items():
        if name in ENCODING_ATTRS:
            raise StoreError(f"The attr {name!r} of {what} has a meaning to xarray's decoder; rename it.")
        try:
            plain[str(name)] = json.loads(json.dumps(value, default=_plain, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise StoreError(
                f"The attr {name!r} of {what} is {value!r}, which JSON can't hold ({error}). "
                "Give text, finite numbers, booleans, None, or lists and dicts of them."
            ) from error
    return plain


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON type")


def encode_metadata(metadata: Mapping[str, Any]) -> bytes:
    """Return the bytes of a metadata file."""
    return json.dumps(metadata, indent=2, allow_nan=False).encode()


Members = dict[str, tuple[ArrayFiles, np.ndarray[Any, Any]]]  # coordinates of a group, with their values


def member_files(group: str, members: Members) -> dict[str, bytes]:
    """Return all files of the coordinates of a group, by path."""
    files: dict[str, bytes] = {}
    for name, (array, values) in members.items():
        folder = f"{group}/{name}".lstrip("/")
        files |= {f"{folder}/{file}": b"".join(data) for file, data in array.encode(values).items()}
        files[f"{folder}/{METADATA}"] = array.metadata
    return files


def coordinates_attr(members: Members, *, dims: tuple[str, ...]) -> dict[str, str]:
    """Return the attr that lists coordinates that are no dims; names with a space can't be listed."""
    names = [name for name in members if name not in dims and " " not in name]
    return {"coordinates": " ".join(names)} if names else {}


def encode_coords(coords: Mapping[Any, Any], what: str) -> Members:
    """Return an array and its values for each coordinate, given in any form that xarray accepts."""
    variables = xr.Dataset(coords={name: _as_coord(value) for name, value in coords.items()}).variables
    return {_coord_name(name, what): _encode_coord(name, var, what) for name, var in variables.items()}


def _as_coord(value: Any) -> Any:
    """Keep a tuple of labels from being taken for xarray's (dims, values)."""
    is_form = isinstance(value, tuple) and len(value) == 2 and not isinstance(value[1], str)
    return list(value) if isinstance(value, tuple) and not is_form else value


def _coord_name(name: Hashable, what: str) -> str:
    text = str(name)
    is_reserved = not text or text in (".", "..", METADATA) or text.startswith("__")
    if is_reserved or set("/\\:") & set(text) or not is_storable(text) or len(text.encode()) > LONGEST_NAME:
        raise StoreError(
            f"The coordinate {text[:60]!r} of {what} can't be the name of an array on disk; rename it to letters, "
            f"digits and '_', {LONGEST_NAME} at most."
        )
    return text


def _encode_coord(
    name: Hashable, variable: xr.Variable, what: str
) -> tuple[ArrayFiles, np.ndarray[Any, Any]]:
    dims = tuple(str(dim) for dim in variable.dims)
    if variable.dtype.kind in "Mm":
        encoded = xr.conventions.encode_cf_variable(variable)
        plain = {key: value for key, value in encoded.attrs.items() if key != "_FillValue"}
        return ArrayFiles(encoded.shape, encoded.dtype, dims, attrs=plain), np.asarray(encoded.values)
    values = np.asarray(variable.values)
    if values.dtype.kind in KINDS:
        return ArrayFiles(values.shape, values.dtype, dims, attrs={}), values
    return ArrayFiles(values.shape, str, dims, attrs={}), _text_values(values, name, what)


def _text_values(values: np.ndarray[Any, Any], name: Hashable, what: str) -> np.ndarray[Any, Any]:
    """Text as an object array of str; a missing one (None, NaN) is the empty text."""
    text = np.empty(values.shape, dtype=object)
    for index, value in np.ndenumerate(values):
        if isinstance(value, str):
            if not is_storable(value):
                raise StoreError(
                    f"The coordinate {name!r} of {what} has {value!r}: a zero byte, or half a character, is no text "
                    "that files hold. Replace it."
                )
            text[index] = str(value)
        elif value is None or value != value:  # NaN
            text[index] = ""
        else:
            raise StoreError(
                f"The coordinate {name!r} of {what} mixes text with {type(value).__name__} ({value!r}). "
                "Make its column all text (astype(str)) or all numbers."
            )
    return text
