"""Where an operation's data lie in a store: names, paths, and what a stored group says of itself."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from neurolens.errors import NeurolensError, StoreError

FORMAT = 1  # the version that this code writes; docs/format.md defines it
FORMAT_KEY = "neurolens_format"
ACTIVATION = "activation"  # the data variable of every operation's group
BLOCKS_DONE = "blocks_done"  # root array that lists the blocks on disk while a run lasts
METADATA = "zarr.json"
LATE = "late"  # root attribute: what is known of operations that first ran after the first block
MISSING = "missing_stimuli"  # attr: ids for which the operation did not run
ADDED_ATTRS = frozenset({"parents"})  # of arrays, which stores of this format that were begun earlier lack

LONGEST_COMPONENT = 100  # file systems allow 255 bytes; sync tools and Windows less
LONGEST_PATH = 600

# Nothing in these can run code. Zarr loads any codec that an installed package registers; a store needs none.
CODECS = frozenset(
    {"sharding_indexed", "bytes", "zstd", "gzip", "blosc", "crc32c", "vlen-utf8", "vlen-bytes", "transpose"}
)


_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def encode_component(component: str) -> str:
    """Return a folder name for one component of an address: one name each, safe on every file system.

    Letters, digits, `_` and `-` stay, all else is percent-encoded as UTF-8. A `%` that no two hexadecimal
    digits follow can't come from encoding, so it marks what encoding can't say: the empty component (`%`) and
    a long one (cut, then `%-` and a hash of the whole).

    Examples
    --------
    >>> encode_component("lstm[0]")
    'lstm%5B0%5D'
    """
    if not component:
        return "%"
    encoded = quote(component, safe="", errors="surrogatepass").replace("~", "%7E").replace(".", "%2E")
    if encoded.startswith("__"):  # reserved by Zarr
        encoded = "%5F" + encoded[1:]
    if len(encoded) <= LONGEST_COMPONENT:
        return encoded
    return f"{encoded[: LONGEST_COMPONENT - 20]}%-{_short_hash(component)}"


def encode_address(address: str) -> str:
    """Return the path of an address inside a store: dots become folders.

    Examples
    --------
    >>> encode_address("layer1.0.relu:2")
    'layer1/0/relu%3A2'
    """
    return "/".join(encode_component(part) for part in address.split("."))


def _short_hash(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


class Places:
    """Which paths of a store are taken, so that every operation gets a leaf of its own.

    Compared without regard to case, since some file systems do so too.
    """

    def __init__(self, leaves: Iterable[str] = ()) -> None:
        self._leaves: set[str] = set()
        self._folders: set[str] = set()  # above leaves
        for leaf in leaves:
            self.take(leaf)

    def choose(self, address: str) -> str:
        """Return a free leaf for `address`: its folders, else one flat name, else that with a hash."""
        flat = encode_component(address)
        natural = encode_address(address)
        candidates = (natural, flat, f"{flat[: LONGEST_COMPONENT - 20]}%-{_short_hash(address)}")
        return next(path for path in candidates if len(path) <= LONGEST_PATH and self._is_free(path))

    def take(self, path: str) -> None:
        """Mark `path` as a leaf."""
        folded = path.casefold()
        self._leaves.add(folded)
        self._folders.update(_folders_above(folded))

    def _is_free(self, path: str) -> bool:
        folded = path.casefold()
        if folded in self._leaves or folded in self._folders:
            return False
        return self._leaves.isdisjoint(_folders_above(folded))


def _folders_above(path: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(path).parents][:-1]


def parent_groups(path: str) -> list[str]:
    """Return the groups that lie above a leaf, from the top; the root is not among them."""
    return _folders_above(path)[::-1]


@dataclass(frozen=True)
class Entry:
    """What a store says of one operation, read without touching its data."""

    address: str
    path: str  # of its group, inside the store
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attrs: Mapping[str, Any]


@contextmanager
def name_damage(where: Path) -> Iterator[None]:
    """Turn whatever damaged metadata lead to, here, in xarray or in Zarr, into a StoreError that says where."""
    try:
        yield
    except NeurolensError:
        raise
    except Exception as error:  # of many kinds: what is read may say anything
        raise StoreError(
            f"{where} can't be read ({type(error).__name__}: {error}). Is the store damaged? "
            "neurolens.store.verify_store names what differs from what was written."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read one metadata file as a mapping; StoreError where it can't be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} can't be read as Zarr metadata ({error}). Is the store damaged?") from error
    if not isinstance(found, dict):
        raise StoreError(f"{path} holds {type(found).__name__}, not Zarr metadata. Is the store damaged?")
    return found


def locate_store(path: str | os.PathLike[str]) -> Path:
    """Return the folder that a user means: `~` is their home, and an address on a network is refused."""
    if not isinstance(path, str | os.PathLike):
        raise StoreError(f"{path!r} is no path of a store: give a folder, such as 'activations.zarr'.")
    if _URL.match(os.fspath(path)):
        raise StoreError(
            f"{os.fspath(path)!r} is an address on a network, and a store is a folder on a file system: give one, and "
            "copy it there when the run is finished."
        )
    return Path(path).expanduser()


def read_root(path: Path) -> dict[str, Any]:
    """Read the root metadata of a store; StoreError unless it is one that this version understands."""
    if not path.exists():
        raise StoreError(f"There is no store at {path}. Check the path, or write one with neurolens.extract.")
    if path.is_file():
        raise StoreError(
            f"{path} is a file, and a store is a folder: give the folder that extract wrote; unpack it first where "
            "this is an archive of one."
        )
    if not (path / METADATA).is_file():
        raise StoreError(
            f"{path} is no neurolens store: it has no {METADATA}. Give the folder that extract wrote."
        )
    root = read_json(path / METADATA)
    attrs = root.get("attributes")
    version = attrs.get(FORMAT_KEY) if isinstance(attrs, dict) else None
    if not isinstance(version, int):
        raise StoreError(
            f"{path} is a Zarr group, but no neurolens store: its attributes have no {FORMAT_KEY!r}. "
            'Read it with xarray.open_datatree(path, engine="zarr") and pass that on.'
        )
    if version > FORMAT:
        raise StoreError(
            f"{path} has store format {version}; this neurolens reads up to {FORMAT}. Install a newer one."
        )
    return root


def scan(path: Path, root: Mapping[str, Any]) -> list[Entry]:
    """List the operations of a store, from its consolidated metadata or, without them, from its files."""
    consolidated = root.get("consolidated_metadata")
    if isinstance(consolidated, dict) and isinstance(consolidated.get("metadata"), dict):
        nodes = consolidated["metadata"]
    else:
        nodes = {
            str(file.parent.relative_to(path).as_posix()): read_json(file) for file in metadata_files(path)
        }
    with name_damage(path):
        entries = [
            _read_entry(key, node, nodes[f"{key}/{ACTIVATION}"])
            for key, node in nodes.items()
            if "address" in node.get("attributes", {}) and f"{key}/{ACTIVATION}" in nodes
        ]
    return sorted(entries, key=_execution_order)


def _execution_order(entry: Entry) -> tuple[float, str]:
    step = entry.attrs.get("step")
    return (step if isinstance(step, int | float) else float("inf"), entry.address)


def metadata_files(path: Path) -> Iterator[Path]:
    """Yield the metadata files below the root, sorted; links are not followed.

    An empty one is what a power failure leaves of a file that was not yet relied on: it is passed over.
    """
    for folder in sorted(p for p in path.iterdir() if p.is_dir() and not p.is_symlink()):
        file = folder / METADATA
        if file.is_file() and file.stat().st_size:
            yield file
        yield from metadata_files(folder)


def _read_entry(path: str, group: Mapping[str, Any], array: Mapping[str, Any]) -> Entry:
    check_inside(path)
    return Entry(
        address=str(group["attributes"]["address"]),
        path=path,
        dims=tuple(array.get("dimension_names") or ()),
        shape=tuple(array["shape"]),
        dtype=str(array["data_type"]),
        attrs=array.get("attributes", {}),
    )


def check_inside(path: str) -> None:
    """Raise StoreError if a path read from a store would lead out of it."""
    if any(part in ("", ".", "..") or "\\" in part or ":" in part for part in path.split("/")):
        raise StoreError(f"The store names a group {path!r}, which leads out of it. Don't use this store.")


def inside(root: Path, path: str) -> Path:
    """Return a folder of a store; StoreError if a link makes it lie elsewhere."""
    folder = root / path
    if not folder.resolve().is_relative_to(root.resolve()):
        raise StoreError(f"{folder} is a link that leads out of the store. Don't use this store.")
    return folder


def check_codecs(metadata: Mapping[str, Any], where: Path) -> None:
    """Raise StoreError if an array asks for a codec outside the format, at any depth."""
    codecs = metadata.get("codecs", [])
    if not isinstance(codecs, list):
        raise StoreError(f"{where} has {codecs!r} for codecs, not a list. Is the store damaged?")
    for codec in codecs:
        name = codec.get("name") if isinstance(codec, dict) else codec
        if not isinstance(name, str) or name not in CODECS:
            raise StoreError(
                f"{where} asks for the codec {name!r}, which is not part of the store format and is not run."
            )
        inner = codec.get("configuration") if isinstance(codec, dict) else None
        if isinstance(inner, dict):
            for part in ("codecs", "index_codecs"):
                check_codecs({"codecs": inner.get(part, [])}, where)


def check_coordinate(metadata: Mapping[str, Any], where: Path) -> None:
    """Raise StoreError if a coordinate has no file of values, where Zarr would read zeros or empty texts."""
    shape = metadata.get("shape")
    if not (isinstance(shape, list) and 0 in shape) and not any(where.parent.glob("c*")):
        raise StoreError(f"{where.parent} has lost its values. Delete the store, or write it anew.")
    refuse_links(where.parent)


def refuse_links(folder: Path) -> None:
    """Raise StoreError if the folder of an array that Zarr is to read, or anything in it, lies elsewhere."""
    link = next((file for file in (folder, *folder.rglob("*")) if file.is_symlink()), None)
    if link is not None:
        raise StoreError(f"{link} is a link. Don't use this store.")
