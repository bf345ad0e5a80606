"""Values to the bytes of a file and back: shards of small chunks, as Zarr lays them out.

Zarr's own path costs 0.1-0.3 ms and several copies a chunk; a block of a deep network is thousands of chunks. Zarr
reads what is written here, and what this can't read (`parse_grid` says so) is left to Zarr.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from google_crc32c import extend as extend_crc32c
from numcodecs import Blosc, Zstd

from neurolens.errors import StoreError

Compression = Literal["lz4", "zstd", "none"]
COMPRESSIONS: dict[str, tuple[str, ...]] = {
    "lz4": ("blosc", "crc32c"),
    "zstd": ("zstd",),  # carries a checksum of its own
    "none": ("crc32c",),
}
OLDEST = "zstd"  # what stores were compressed with that do not say

Buffer = bytes | memoryview
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
_ABSENT = np.uint64(2**64 - 1)  # in the index of a shard: this chunk was not written
_CHECKSUM = 4  # bytes of a CRC-32C
_BLOSC = Blosc(cname="lz4", clevel=1, shuffle=Blosc.NOSHUFFLE)
_ZSTD = Zstd(level=1, checksum=True)
_CODECS = {"blosc": _BLOSC, "zstd": _ZSTD}

# Half the chunks of a network hold nothing that lz4 saves; to find out by compressing them costs more than writing.
_TRIED = 128 * 1024  # bytes; larger chunks are compressed if samples of them say that it pays
_N_SAMPLES, _SAMPLE = 8, 4096
_PAYS = 0.9  # compressed samples must be smaller than this
_BLOSC_STORED = struct.Struct(
    "<4B3I"
)  # header of Blosc where it stores as it is: version, lz4's, flags, typesize, ...


@dataclass(frozen=True, slots=True)
class Grid:
    """How an array is cut: `chunks` are read and compressed, `files` hold them.

    A file covers every axis but the first. `codecs` are those that turn bytes into bytes, in order of writing.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    files: tuple[int, ...]
    codecs: tuple[str, ...]
    is_sharded: bool
    fill: Any

    @property
    def cells(self) -> tuple[int, ...]:
        """Chunks in a file, along each axis."""
        return tuple(outer // inner for outer, inner in zip(self.files, self.chunks, strict=True))

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one chunk before compression."""
        return self.dtype.itemsize * math.prod(self.chunks)

    @property
    def n_files(self) -> int:
        """Files of the whole array."""
        if 0 in self.shape:
            return 0
        return math.ceil(self.shape[0] / self.files[0]) if self.shape else 1

    def file_name(self, number: int = 0) -> str:
        """Return the name of a file inside the folder of the array."""
        rest = ["0"] * (len(self.shape) - 1)
        return ".".join(["c", str(number), *rest]) if self.shape else "c"


def parse_grid(metadata: Mapping[str, Any]) -> Grid | None:
    """Read how an array is cut from its metadata; None where that is a form that only Zarr knows."""
    try:
        return _parse(metadata)
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        IndexError,
    ):  # an unknown form, or damaged: Zarr will say
        return None


def _parse(metadata: Mapping[str, Any]) -> Grid | None:
    key = metadata["chunk_key_encoding"]
    outer = tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"])
    shape = tuple(metadata["shape"])
    first, *rest = metadata["codecs"]
    inner, sharded = outer, first["name"] == "sharding_indexed"
    if sharded:
        settings = first["configuration"]
        index = [codec["name"] for codec in settings["index_codecs"]]
        if rest or settings.get("index_location", "end") != "end" or index != ["bytes", "crc32c"]:
            return None
        inner = tuple(settings["chunk_shape"])
        first, *rest = settings["codecs"]
    if not all(
        type(n) is int and n >= least for least, sizes in ((0, shape), (1, outer + inner)) for n in sizes
    ):
        return None
    dtype = np.dtype(metadata["data_type"])
    grid = Grid(
        shape, dtype, inner, outer, tuple(c["name"] for c in rest), sharded, _read_fill(metadata, dtype)
    )
    known = (
        key == {"name": "default", "configuration": {"separator": "."}}
        and metadata["chunk_grid"]["name"] == "regular"
        and first["name"] == "bytes"
        and first.get("configuration", {}).get("endian", "little") == "little"
        and grid.codecs in COMPRESSIONS.values()
        and all(outer[axis] >= size for axis, size in enumerate(shape) if axis)
        and all(o % i == 0 for o, i in zip(outer, inner, strict=True))
    )
    return grid if known else None


def _read_fill(metadata: Mapping[str, Any], dtype: np.dtype[Any]) -> Any:
    given = metadata["fill_value"]
    if dtype.kind == "c":
        return dtype.type(complex(float(given[0]), float(given[1])))
    return dtype.type(float(given) if isinstance(given, str) else given)


# ---------------------------------------------------------------------- writing


def encode_file(grid: Grid, values: np.ndarray[Any, Any]) -> list[Buffer]:
    """Return the content of the file that holds `values`, as pieces to be written one after the other.

    Parameters
    ----------
    grid
        Of the array.
    values
        array, the shape of a file or, along axis 0, less: the last block.
    """
    if not grid.is_sharded:
        return _compress(grid, _pad(values, grid.chunks))
    pieces: list[Buffer] = []
    index = np.full((*grid.cells, 2), _ABSENT, dtype="<u8")
    offset = 0
    for cell in np.ndindex(*grid.cells):
        starts = [number * size for number, size in zip(cell, grid.chunks, strict=True)]
        if any(start >= size for start, size in zip(starts, values.shape, strict=True)):
            continue
        part = values[tuple(slice(s, s + n) for s, n in zip(starts, grid.chunks, strict=True))]
        chunk = _compress(grid, _pad(part, grid.chunks))
        length = sum(len(piece) for piece in chunk)
        index[cell] = offset, length
        offset += length
        pieces += chunk
    entries = index.tobytes()
    return [*pieces, entries, _checksum(entries)]


def _pad(part: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return a chunk of full size: what lies beyond the array is never read."""
    if part.shape == shape:
        return part
    full = np.zeros(shape, part.dtype)
    full[tuple(slice(0, n) for n in part.shape)] = part
    return full


def _compress(grid: Grid, part: np.ndarray[Any, Any]) -> list[Buffer]:
    plain = np.ascontiguousarray(part, dtype=grid.dtype.newbyteorder("<"))
    pieces: list[Buffer] = [plain.reshape(-1).view(np.uint8).data]
    for name in grid.codecs:
        if name == "crc32c":
            pieces.append(_checksum(*pieces))
        elif name == "blosc" and not _is_compressible(pieces[0]):
            pieces.insert(0, _blosc_header(len(pieces[0])))
        else:
            pieces = [_CODECS[name].encode(pieces[0])]
    return pieces


def _is_compressible(data: Buffer) -> bool:
    """Try some of a large chunk. The same data give the same answer, so the same bytes."""
    if len(data) <= _TRIED:
        return True
    starts = [number * (len(data) - _SAMPLE) // (_N_SAMPLES - 1) for number in range(_N_SAMPLES)]
    sample = b"".join([data[start : start + _SAMPLE] for start in starts])
    return len(_BLOSC.encode(sample)) < _PAYS * len(sample)


def _blosc_header(size: int) -> bytes:
    """Return what Blosc writes before bytes that it found incompressible."""
    return _BLOSC_STORED.pack(2, 1, 0x22, 1, size, 2**16, size + _BLOSC_STORED.size)


def _checksum(*pieces: Buffer | Bytes) -> bytes:
    crc = 0
    for piece in pieces:
        crc = extend_crc32c(crc, np.frombuffer(piece, dtype=np.uint8))
    return int(crc).to_bytes(_CHECKSUM, "little")


# ---------------------------------------------------------------------- reading


def read_index(grid: Grid, data: Bytes) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Read the index of a shard from the end of its bytes: offset and length of each chunk.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    size = index_bytes(grid)
    entries = data[-size:-_CHECKSUM]
    if len(data) < size or _checksum(entries) != data[-_CHECKSUM:].tobytes():
        raise StoreError("the index of its chunks is damaged")
    return np.frombuffer(entries.tobytes(), dtype="<u8").reshape(*grid.cells, 2)


def index_bytes(grid: Grid) -> int:
    """Return the bytes of the index at the end of a shard."""
    return 16 * math.prod(grid.cells) + _CHECKSUM


def decode_chunk(grid: Grid, data: Bytes, out: Bytes) -> None:
    """Decompress one chunk into `out`, contiguous bytes of its full size.

    Raises
    ------
    StoreError
        If a checksum or the size is wrong.
    """
    for name in reversed(grid.codecs):
        if name == "crc32c":
            data = _check(data)
        else:
            try:
                _CODECS[name].decode(data, out=out)  # never more than `out` holds, whatever the data claim
            except (RuntimeError, ValueError) as error:
                raise StoreError(f"a chunk can't be decompressed ({error})") from error
            return
    if len(data) != len(out):
        raise StoreError(f"a chunk has {len(data)} bytes, not {len(out)}")
    out[:] = data


def _check(data: Bytes) -> Bytes:
    content = data[:-_CHECKSUM]
    check_sum(content, data[-_CHECKSUM:])
    return content


def check_sum(content: Bytes, found: Bytes) -> None:
    """Raise StoreError unless the checksum of `content` is the one that was stored beside it."""
    if _checksum(content) != found.tobytes():
        raise StoreError("the checksum of a chunk is wrong")


def locate(index: np.ndarray[Any, np.dtype[np.uint64]], cell: Sequence[int], size: int) -> slice | None:
    """Return where in a file a chunk lies; None where it was not written.

    Raises
    ------
    StoreError
        If that is beyond the `size` of the file.
    """
    offset, length = (int(number) for number in index[tuple(cell)])
    if offset == length == int(_ABSENT):
        return None
    if offset + length > size:
        raise StoreError("the index of its chunks points behind its end")
    return slice(offset, offset + length)
