"""Read a store: a mapping from address to a DataArray whose chunks are read when they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.core import indexing

from neurolens.errors import AddressError, StoreError, list_names, near_misses
from neurolens.schema import PASS, STIMULUS
from neurolens.store import layout
from neurolens.store.chunks import COMPRESSIONS, OLDEST, Grid, parse_grid
from neurolens.store.layout import ACTIVATION, BLOCKS_DONE, METADATA, inside
from neurolens.store.lazy import StoredValues, ZarrValues, read_all


def open_store(path: str | Path, *, incomplete: bool = False) -> Store:
    """Open a store for reading.

    Parameters
    ----------
    path
        Folder of the store.
    incomplete
        Whether to open a store whose run was not finished, with the stimuli that are on disk. If False, that
        is an error that says what is missing.

    Returns
    -------
    Store
        Mapping from address to DataArray, in order of execution.

    Raises
    ------
    StoreError
        If `path` is no store, is unfinished, or has a newer format.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from neurolens.store import create_store, open_store
    >>> path = Path(tempfile.mkdtemp()) / "acts.zarr"
    >>> with create_store(path, stimuli={"stimulus": ["cat", "dog"]}, attrs={}, block_size=1) as writer:
    ...     writer.declare("fc", dims=("stimulus", "unit"), shape=(2, 3), dtype=np.float32, attrs={})
    ...     writer.write_block(0, {"fc": np.ones((1, 3), np.float32)})
    >>> open_store(path, incomplete=True).missing
    ('dog',)
    """
    target = layout.locate_store(path)
    root = layout.read_root(target)
    with layout.name_damage(target):
        return _open_root(target, root, incomplete)


def _open_root(target: Path, root: Mapping[str, Any], incomplete: bool) -> Store:
    head = _check_head(root["attributes"], target)
    stimuli = _read_stimuli(target)
    if stimuli.sizes.get(STIMULUS) != head["n_stimuli"]:
        raise StoreError(
            f"{target} was written for {head['n_stimuli']} stimuli and has the ids of "
            f"{stimuli.sizes.get(STIMULUS, 0)}. Is the store damaged?"
        )
    done = _done_stimuli(target, head)
    if not head["complete"] and not incomplete:
        left = stimuli[STIMULUS].values[~done].tolist()
        raise StoreError(
            f"The store {target} is unfinished: {len(left)} of {len(done)} stimuli are missing "
            f"({list_names(left, 5)}). Run its extraction again to complete it, or open what there is with "
            "incomplete=True."
        )
    entries = layout.scan(target, root)
    return Store(
        path=target,
        attrs=head["run"],
        aliases=dict(head["aliases"]),
        entries={entry.address: entry for entry in entries},
        all_stimuli=stimuli,
        done=done,
        format=head[layout.FORMAT_KEY],
        block_size=head["block_size"],
        compression=head.get("compression", OLDEST),
        is_complete=head["complete"],
    )


@dataclass(frozen=True, eq=False, repr=False)
class Store(Mapping[str, xr.DataArray]):
    """The activations in a store; made by `open_store`.

    Parameters
    ----------
    path
        Folder of the store.
    attrs
        What made the data: model, hash of weights, preprocessing ...
    aliases
        Other names of operations (modules, composites), to their addresses.
    entries
        What the store says of each operation, by address, without reading data.
    all_stimuli
        Dataset of coordinates: ids and metadata of all stimuli, also of missing ones.
    done
        Which of them are on disk, bool, shape (n_stimuli,).
    format
        Version of the format.
    block_size
        Stimuli in a block.
    compression
        Of the chunks.
    is_complete
        Whether the run was finished.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from neurolens.store import create_store, open_store, verify_store
    >>> path = tempfile.mkdtemp() + "/acts.zarr"
    >>> with create_store(path, stimuli={"stimulus": ["cat", "dog"]}, attrs={}, block_size=2) as writer:
    ...     writer.declare("fc", dims=("stimulus", "unit"), shape=(2, 3), dtype=np.float32, attrs={})
    ...     writer.write_block(0, {"fc": np.ones((2, 3), np.float32)})
    ...     writer.finish()
    >>> store = open_store(path)
    >>> store["fc"].dims, store.missing, store.count_bytes("fc") > 0
    (('stimulus', 'unit'), (), True)
    >>> store.stimuli.stimulus.values.tolist()
    ['cat', 'dog']
    """

    path: Path
    attrs: Mapping[str, Any]
    aliases: Mapping[str, str]
    entries: Mapping[str, layout.Entry]
    all_stimuli: xr.Dataset
    done: np.ndarray[Any, np.dtype[np.bool_]]
    format: int
    block_size: int
    compression: str
    is_complete: bool

    def count_bytes(self, address: str) -> int:
        """Return how many bytes the values of an operation take on disk.

        Parameters
        ----------
        address
            Of the operation.

        Returns
        -------
        int
            Bytes, compressed.
        """
        folder = self.path / self.entries[address].path / ACTIVATION
        return sum(file.stat().st_size for file in folder.glob("c*"))

    @property
    def missing(self) -> tuple[Any, ...]:
        """Ids of the stimuli that an unfinished run has not written."""
        return tuple(self.all_stimuli[STIMULUS].values[~self.done].tolist())

    @property
    def stimuli(self) -> xr.Dataset:
        """The stimuli that can be read: ids and metadata, a Dataset of coords on `stimulus`."""
        return self.all_stimuli if self.done.all() else self.all_stimuli.isel({STIMULUS: self.done})

    def __iter__(self) -> Iterator[str]:
        """Walk over the addresses, in execution order."""
        return iter(self.entries)

    def __len__(self) -> int:
        """Count the operations."""
        return len(self.entries)

    def __contains__(self, address: object) -> bool:
        """Tell whether this is the address of an operation, an alias of one, or a pass of several."""
        return isinstance(address, str) and (
            address in self.entries or address in self.aliases or self._split_pass(address) is not None
        )

    def __getitem__(self, address: str) -> xr.DataArray:
        """Open one operation, lazily.

        Parameters
        ----------
        address
            Of an operation or an alias of one; `<address>:<k>` for pass k of an operation whose passes are stacked.

        Returns
        -------
        DataArray (stimulus, ...)
            With the dims, coords and attrs it was declared with.

        Raises
        ------
        AddressError
            If there is no such operation; near misses are listed.
        """
        meant = self.aliases.get(address, address) if address not in self.entries else address
        if meant in self.entries:
            return self._open(self.entries[meant])
        split = self._split_pass(meant)
        if split is None:
            raise AddressError(self._say_unknown(address))
        array = self._open(split[0]).sel({PASS: split[1]})
        return array.rename(address)

    def __repr__(self) -> str:
        """Show the folder, how many operations and stimuli it holds, and how many stimuli are missing."""
        state = "" if self.done.all() else f", {len(self.missing)} missing"
        return f"<Store {self.path}: {len(self)} operations, {len(self.done)} stimuli{state}>"

    def _split_pass(self, address: str) -> tuple[layout.Entry, int] | None:
        name, _, number = address.rpartition(":")
        entry = self.entries.get(name)
        if entry is None or PASS not in entry.dims or not number.isdecimal():
            return None
        count = entry.shape[entry.dims.index(PASS)]
        return (entry, int(number)) if 1 <= int(number) <= count else None

    def _open(self, entry: layout.Entry) -> xr.DataArray:
        with layout.name_damage(self.path / entry.path):
            variables = self._read_group(entry)
            main = variables.pop(ACTIVATION)
            if STIMULUS not in main.dims:
                return xr.DataArray(main, coords=variables, name=entry.address)
            if not self.done.all():
                main = main.isel({STIMULUS: np.flatnonzero(self.done)})
            return xr.DataArray(main, coords={**self.stimuli.coords, **variables}, name=entry.address)

    def _read_group(self, entry: layout.Entry) -> dict[str, xr.Variable]:
        """Return the arrays of a group: its activation lazily, its coordinates read."""
        folder = inside(self.path, entry.path)
        if not (folder / ACTIVATION / METADATA).is_file():
            raise StoreError(f"The operation {entry.address!r} can't be read: {folder} is damaged.")
        variables: dict[str, xr.Variable] = {}
        for file in sorted(folder.glob(f"*/{METADATA}")):
            name, metadata = file.parent.name, layout.read_json(file)
            layout.check_codecs(metadata, file)
            if file.parent.is_symlink():
                raise StoreError(f"{file.parent} is a link. Don't use this store.")
            grid = parse_grid(metadata)
            attrs = dict(metadata.get("attributes", {}))
            dims = tuple(metadata.get("dimension_names") or ())
            if name == ACTIVATION:
                _check_as_listed(entry, metadata, self.path)
                attrs.pop("_FillValue", None)  # for readers without neurolens
                values = self._read_lazily(entry, grid, file.parent)
                variables[name] = xr.Variable(dims, values, attrs, fastpath=True)
                continue
            layout.check_coordinate(metadata, file)
            if grid is not None and "units" not in attrs:
                variables[name] = xr.Variable(dims, read_all(file.parent, grid), attrs)
        return {**self._read_by_zarr(entry, folder, variables), **variables}

    def _read_lazily(
        self, entry: layout.Entry, grid: Grid | None, folder: Path
    ) -> indexing.ExplicitlyIndexed:
        values: ZarrValues | StoredValues
        if grid is None:
            layout.refuse_links(folder)
            values = ZarrValues(folder)
        else:
            values = StoredValues(folder, grid, self._absent(entry, grid, folder))
        return indexing.MemoryCachedArray(indexing.LazilyIndexedArray(values))  # type: ignore[no-untyped-call]

    def _absent(self, entry: layout.Entry, grid: Grid, folder: Path) -> np.ndarray[Any, Any] | None:
        """Return the stimuli for which an operation did not run; None where there are none.

        A finished store lists them. In another one they are those of the blocks on disk that have no file.
        """
        if STIMULUS not in entry.dims:
            return None
        if self.is_complete:
            listed = entry.attrs.get(layout.MISSING, [])
            absent = np.isin(self.all_stimuli[STIMULUS].values, listed) if listed else np.zeros(1, dtype=bool)
        else:
            absent = np.zeros(len(self.done), dtype=bool)
            for number in range(grid.n_files):
                if not (folder / grid.file_name(number)).is_file():
                    absent[number * grid.files[0] : (number + 1) * grid.files[0]] = True
            absent &= self.done
        return absent if absent.any() else None

    def _read_by_zarr(
        self, entry: layout.Entry, folder: Path, known: Mapping[str, xr.Variable]
    ) -> dict[str, xr.Variable]:
        """Read the coordinates that are text, dates, or of a form that Zarr alone reads."""
        if all(file.parent.name in known for file in folder.glob(f"*/{METADATA}")):
            return {}
        dataset = xr.open_dataset(
            self.path,
            engine="zarr",
            group=entry.path,
            consolidated=False,
            zarr_format=3,
            chunks=None,
            drop_variables=list(known),
        )
        return {str(name): variable for name, variable in dataset.load().variables.items()}

    def _say_unknown(self, address: str) -> str:
        close = near_misses(address, [*self.entries, *self.aliases])
        hint = f"Near it: {list_names(close)}." if close else f"It has {list_names(self.entries)}."
        return f"The store {self.path} has no operation {address!r}. {hint}"


def _check_as_listed(entry: layout.Entry, metadata: Mapping[str, Any], path: Path) -> None:
    """Raise StoreError unless an array is what the root lists."""
    listed = (list(entry.dims), list(entry.shape), entry.dtype)
    own = (metadata.get("dimension_names") or [], metadata.get("shape"), str(metadata.get("data_type")))
    if own != listed:
        raise StoreError(
            f"{path} lists {entry.address!r} as {listed}, and its own metadata say {own}. Is the store damaged?"
        )


_HEAD: dict[str, type] = {"complete": bool, "n_stimuli": int, "block_size": int, "run": dict, "aliases": dict}


def _check_head(head: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return the attributes of the root; StoreError unless each is of its kind."""
    wrong = [name for name, kind in _HEAD.items() if type(head.get(name)) is not kind]
    wrong += [name for name in ("n_stimuli", "block_size") if name not in wrong and head[name] < 1]
    if "aliases" not in wrong and not all(isinstance(address, str) for address in head["aliases"].values()):
        wrong.append("aliases")
    if head.get("compression", OLDEST) not in COMPRESSIONS:
        wrong.append("compression")
    if wrong:
        raise StoreError(
            f"{path / METADATA} has no usable {list_names(wrong)} among its attributes. Is the store damaged?"
        )
    return head


def _read_stimuli(path: Path) -> xr.Dataset:
    for file in sorted(path.glob(f"*/{METADATA}")):
        metadata = layout.read_json(file)
        layout.check_codecs(metadata, file)
        if metadata.get("node_type") == "array" and file.parent.name != BLOCKS_DONE:
            layout.check_coordinate(metadata, file)
    dataset = xr.open_dataset(path, engine="zarr", consolidated=False, zarr_format=3, chunks=None)
    dataset = dataset.drop_vars(BLOCKS_DONE, errors="ignore").load()
    return xr.Dataset(coords={name: _as_text(var) for name, var in dataset.variables.items()})


def _as_text(variable: xr.Variable) -> xr.Variable:
    """Text as numpy's own text type, as users have it."""
    if variable.dtype.kind in "OT":
        text = np.array(variable.values.tolist(), dtype=str).reshape(variable.shape)
        return xr.Variable(variable.dims, text, variable.attrs)
    return variable


def _done_stimuli(path: Path, head: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    done = np.full(head["n_stimuli"], bool(head["complete"]))
    if not head["complete"]:
        for marker in (path / BLOCKS_DONE).glob("c.*"):
            start = int(marker.name.split(".")[1]) * head["block_size"]
            done[start : start + head["block_size"]] = True
    return done
