"""Activations: a mapping from address to labelled array, wherever the numbers are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from neurolens.errors import AddressError, InputError, list_names, near_misses
from neurolens.recording.addresses import is_glob, matches
from neurolens.store import Store, open_store

Ops = str | Iterable[str]


class Activations(Mapping[str, xr.DataArray]):
    """Mapping from the address of an operation to its activations, a DataArray (stimulus, ...).

    Values may lie in memory, in a store, or be computed as they are read. Reading in the order of iteration
    (`.items()`) is always cheapest: a stream computes many operations in one pass over the stimuli.
    """

    @abstractmethod
    def addresses(self) -> tuple[str, ...]:
        """Return all addresses, in execution order."""

    @abstractmethod
    def select(self, ops: Ops) -> Activations:
        """Return the activations of some operations.

        Parameters
        ----------
        ops
            A glob on addresses ("layer*.add"), an address, or a list of these.

        Raises
        ------
        AddressError
            If a pattern matches nothing; near misses are listed.
        """

    def __iter__(self) -> Iterator[str]:
        return iter(self.addresses())

    def __len__(self) -> int:
        return len(self.addresses())

    def __contains__(self, address: object) -> bool:
        return address in self.addresses()

    def __repr__(self) -> str:
        names = self.addresses()
        lines = [f"<{type(self).__name__}: {len(names)} operations>"]
        lines += [f"  {name}" for name in names[:10]]
        if len(names) > 10:
            lines.append(f"  ... and {len(names) - 10} more")
        return "\n".join(lines)


class ActivationsInMemory(Activations):
    """Activations given as arrays."""

    def __init__(self, arrays: Mapping[str, xr.DataArray]) -> None:
        self._arrays = dict(arrays)

    def addresses(self) -> tuple[str, ...]:
        """Return all addresses."""
        return tuple(self._arrays)

    def select(self, ops: Ops) -> ActivationsInMemory:
        """Return the activations of some operations."""
        return ActivationsInMemory({a: self._arrays[a] for a in choose_addresses(self.addresses(), ops)})

    def __getitem__(self, address: str) -> xr.DataArray:
        if address not in self._arrays:
            raise AddressError(_say_unknown(address, self._arrays))
        return self._arrays[address]


class StoredActivations(Activations):
    """Activations in a Zarr store, read when their values are asked for."""

    def __init__(self, store: Store, chosen: tuple[str, ...] | None = None) -> None:
        self.store = store
        self._chosen = tuple(store) if chosen is None else chosen

    def addresses(self) -> tuple[str, ...]:
        """Return all addresses, in execution order."""
        return self._chosen

    def select(self, ops: Ops) -> StoredActivations:
        """Return the activations of some operations; a module means the operation whose output it gives."""
        patterns = [ops] if isinstance(ops, str) else list(ops)
        chosen: dict[str, None] = {}
        for pattern in patterns:
            if not is_glob(pattern) and pattern in self.store:
                chosen[pattern] = None
            else:
                chosen.update(dict.fromkeys(choose_addresses(self._chosen, pattern)))
        return StoredActivations(self.store, tuple(chosen))

    def __getitem__(self, address: str) -> xr.DataArray:
        return self.store[address]

    @property
    def stimuli(self) -> xr.Dataset:
        """The stimulus labels and columns: a Dataset of coords on `stimulus`."""
        return self.store.stimuli


def open(store: str | Path, *, incomplete: bool = False) -> StoredActivations:
    """Open a store of activations for lazy reading.

    Parameters
    ----------
    store
        Folder of a store that `extract` wrote.
    incomplete
        Open a store whose run was not finished; blocks that are missing read as NaN.

    Returns
    -------
    StoredActivations
        Mapping from address to DataArray; values are read when asked for.

    Raises
    ------
    StoreError
        If there is no store, it is not finished, or it was written in a newer format.

    Examples
    --------
    >>> acts = open("activations.zarr")  # doctest: +SKIP
    >>> acts["layer4"].sel(channel=3)  # doctest: +SKIP
    """
    return StoredActivations(open_store(store, incomplete=incomplete))


def as_activations(source: Any, ops: Ops = "**") -> Activations:
    """Turn anything that holds activations into Activations.

    Parameters
    ----------
    source
        Activations, a DataTree (one leaf an operation), a Dataset (one variable an operation), a mapping from
        names to DataArrays, or one DataArray.
    ops
        Which operations: a glob on addresses, an address, or a list of these.

    Returns
    -------
    Activations
        A lone DataArray is named by its `name`, or "".

    Raises
    ------
    InputError
        If the source is of another kind.
    AddressError
        If a pattern matches nothing.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> layer = xr.DataArray(np.zeros((3, 2)), dims=("stimulus", "unit"), name="fc")
    >>> list(as_activations(layer))
    ['fc']
    """
    activations = _wrap(source)
    return activations if ops == "**" else activations.select(ops)


def _wrap(source: Any) -> Activations:
    if isinstance(source, Activations):
        return source
    if hasattr(source, "activations") and isinstance(source.activations, Activations):
        return source.activations
    if isinstance(source, xr.DataArray):
        return ActivationsInMemory({str(source.name or ""): source})
    if isinstance(source, xr.Dataset):
        return ActivationsInMemory({str(name): array for name, array in source.data_vars.items()})
    if isinstance(source, xr.DataTree):
        return ActivationsInMemory(_read_tree(source))
    if isinstance(source, Mapping) and all(isinstance(array, xr.DataArray) for array in source.values()):
        return ActivationsInMemory({str(name): array for name, array in source.items()})
    raise InputError(
        f"A source of activations cannot be a {type(source).__name__}. Give Activations (from open, stream or a "
        "trace), a DataTree, a Dataset, a mapping from names to DataArrays, or one DataArray."
    )


def _read_tree(tree: xr.DataTree) -> dict[str, xr.DataArray]:
    """One operation a leaf: named by its `address` attr, else by its path with dots."""
    arrays = {}
    for node in tree.subtree:
        for name, array in node.data_vars.items():
            path = node.path.strip("/").replace("/", ".")
            single = len(node.data_vars) == 1
            default = path if single and path else ".".join(part for part in (path, str(name)) if part)
            arrays[str(array.attrs.get("address", default))] = array
    return arrays


def choose_addresses(addresses: Iterable[str], ops: Ops) -> list[str]:
    """Choose among addresses by globs, keeping their order for each pattern.

    Raises
    ------
    AddressError
        If a pattern matches none; near misses are listed.
    """
    pool = list(addresses)
    chosen: dict[str, None] = {}
    for pattern in [ops] if isinstance(ops, str) else list(ops):
        found = [a for a in pool if (matches(pattern, a) if is_glob(pattern) else a == pattern)]
        if not found:
            raise AddressError(_say_unknown(pattern, pool))
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def _say_unknown(pattern: str, addresses: Iterable[str]) -> str:
    close = near_misses(pattern.replace("*", "").strip("."), addresses)
    hint = f" Near misses: {list_names(close)}." if close else ""
    return f"No operation here is called {pattern!r}, or matches it.{hint}"
