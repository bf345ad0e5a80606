"""Activations: a mapping from address to labelled array, wherever the numbers are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from neurolens.activations.operations import (
    Candidate,
    Ops,
    as_patterns,
    choose_addresses,
    describe_candidate,
    say_unknown,
)
from neurolens.errors import AddressError, InputError
from neurolens.recording.addresses import is_glob
from neurolens.schema import OP, STIMULUS, STIMULUS_B, make_texts_plain
from neurolens.store import Store, Verification, open_store, verify_store


class Activations(Mapping[str, xr.DataArray]):
    """Mapping from the address of an operation to its activations, a DataArray (stimulus, ...).

    Values may lie in memory, in a store, or be computed as they are read. Reading in the order of iteration
    (`.items()`) is always cheapest: a stream computes many operations in one pass over the stimuli.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import neurolens as nl
    >>> layer = xr.DataArray(np.ones((2, 3)), {"stimulus": ["cat", "dog"]}, ("stimulus", "unit"))
    >>> acts = nl.activations.as_activations({"conv": layer, "relu": layer})
    >>> acts.addresses(), acts.select("c*").addresses()
    (('conv', 'relu'), ('conv',))
    >>> acts["relu"].dims
    ('stimulus', 'unit')
    """

    @abstractmethod
    def addresses(self) -> tuple[str, ...]:
        """Return all addresses, in execution order.

        Returns
        -------
        tuple of str
            In execution order.
        """

    @abstractmethod
    def select(self, ops: Ops) -> Activations:
        """Return the activations of some operations.

        Parameters
        ----------
        ops
            A glob on addresses ("layer*.add"), an address, a function that takes what is known of an operation
            (`address, function, module, dims, shape, dtype, step, depth, n_features`), or a list of these.

        Raises
        ------
        AddressError
            If a pattern matches nothing; near misses are listed.
        """

    def __iter__(self) -> Iterator[str]:
        """Walk over the addresses, in the order that is cheapest to read."""
        return iter(self.addresses())

    def __len__(self) -> int:
        """Count the operations."""
        return len(self.addresses())

    def __contains__(self, address: object) -> bool:
        """Tell whether this is the address of one of them."""
        return address in self.addresses()

    def __repr__(self) -> str:
        """Show how many operations there are, and the first addresses."""
        names = self.addresses()
        lines = [f"<{type(self).__name__}: {len(names)} operations>"]
        lines += [f"  {name}" for name in names[:10]]
        if len(names) > 10:
            lines.append(f"  ... and {len(names) - 10} more")
        return "\n".join(lines)


class ActivationsInMemory(Activations):
    """Activations given as arrays.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import neurolens as nl
    >>> layer = xr.DataArray(np.ones((2, 3)), {"stimulus": ["cat", "dog"]}, ("stimulus", "unit"))
    >>> acts = nl.activations.as_activations({"conv": layer, "relu": layer})
    >>> type(acts).__name__, acts.addresses()
    ('ActivationsInMemory', ('conv', 'relu'))
    >>> list(acts.select("relu"))
    ['relu']
    """

    def __init__(self, arrays: Mapping[str, xr.DataArray]) -> None:
        self._arrays = {name: make_texts_plain(array) for name, array in dict(arrays).items()}

    def addresses(self) -> tuple[str, ...]:
        """Return all addresses.

        Returns
        -------
        tuple of str
            In execution order.
        """
        return tuple(self._arrays)

    def select(self, ops: Ops) -> ActivationsInMemory:
        """Return the activations of some operations.

        Parameters
        ----------
        ops
            As in `Activations.select`.

        Returns
        -------
        ActivationsInMemory
            In execution order.
        """
        chosen = choose_addresses(self.addresses(), ops, self._describe)
        return ActivationsInMemory({address: self._arrays[address] for address in chosen})

    def _describe(self, address: str) -> Candidate:
        return _describe_array(address, self._arrays[address])

    def __getitem__(self, address: str) -> xr.DataArray:
        """Return the activations of an operation.

        Parameters
        ----------
        address
            One of `addresses()`.

        Returns
        -------
        DataArray (stimulus, ...)
            As it was given.

        Raises
        ------
        AddressError
            If there is no such operation; near misses are listed.
        """
        if address not in self._arrays:
            raise AddressError(say_unknown(address, self._arrays))
        return self._arrays[address]


class StoredActivations(Activations):
    """Activations in a Zarr store, read when their values are asked for.

    Attributes
    ----------
    store
        The store: its folder, what made it, what it says of each operation.

    Examples
    --------
    >>> import numpy as np, torch
    >>> import neurolens as nl
    >>> stimuli = nl.Stimuli.from_array(np.ones((3, 4), "float32"), ids=["cat", "dog", "cow"])
    >>> import tempfile
    >>> folder = tempfile.mkdtemp() + "/acts.zarr"
    >>> acts = nl.extract(torch.nn.Linear(4, 2), stimuli, folder, progress=False)
    >>> acts.addresses(), acts.select("lin*").addresses(), acts.stimuli.stimulus.values.tolist()
    (('input', 'linear'), ('linear',), ['cat', 'dog', 'cow'])
    >>> acts.verify().is_sound
    True
    """

    def __init__(self, store: Store, chosen: tuple[str, ...] | None = None) -> None:
        self.store = store
        self._chosen = tuple(store) if chosen is None else chosen

    def addresses(self) -> tuple[str, ...]:
        """Return all addresses, in execution order.

        Returns
        -------
        tuple of str
            In execution order.
        """
        return self._chosen

    def select(self, ops: Ops) -> StoredActivations:
        """Return the activations of some operations; a module means the operation whose output it gives.

        Parameters
        ----------
        ops
            As in `Activations.select`.

        Returns
        -------
        StoredActivations
            In execution order.
        """
        chosen: dict[str, None] = {}
        for pattern in as_patterns(ops):
            if isinstance(pattern, str) and not is_glob(pattern) and pattern in self.store:
                chosen[pattern] = None
            else:
                chosen.update(dict.fromkeys(choose_addresses(self._chosen, pattern, self._describe)))
        return StoredActivations(self.store, tuple(chosen))

    def _describe(self, address: str) -> Candidate:
        entry = self.store.entries.get(self.store.aliases.get(address, address))
        if entry is None:  # one pass of several
            return _describe_array(address, self.store[address])
        n_leading = int(entry.dims[:1] == (STIMULUS,))
        return describe_candidate(
            address, entry.dims[n_leading:], entry.shape[n_leading:], entry.dtype, entry.attrs
        )

    def verify(self) -> Verification:
        """Read every chunk and hold it against its checksum; say what is damaged, missing or changed.

        Returns
        -------
        Verification
            `is_sound`, and `problems` that name each file, its operation and its stimuli.

        Examples
        --------
        >>> open("activations.zarr").verify().is_sound  # doctest: +SKIP
        True
        """
        return verify_store(self.store.path)

    def __getitem__(self, address: str) -> xr.DataArray:
        """Return the activations of an operation.

        Parameters
        ----------
        address
            One of `addresses()`, or that of a module or composite; `<address>:<k>` for pass k of several.

        Returns
        -------
        DataArray (stimulus, ...)
            Lazy: its values are read from the store when they are used.

        Raises
        ------
        AddressError
            If there is no such operation; near misses are listed.
        """
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
        Open a store whose run was not finished, with the stimuli that are on disk.

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
        Which operations: a glob on addresses, an address, a function of what is known of an operation, or a list
        of these.

    Returns
    -------
    Activations
        A lone DataArray is named by its `name`, or "".

    Raises
    ------
    InputError
        If the source is of another kind, or one array holds several operations.
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
    if isinstance(activations, ActivationsInMemory):
        _check_apart(activations)
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


def _check_apart(activations: Activations) -> None:
    """Raise where one array holds several operations: as features they would make one pattern."""
    for name, array in activations.items():
        if OP in array.dims and STIMULUS_B not in array.dims:
            raise InputError(
                f"The array {name!r} has a dim 'op': it holds {array.sizes[OP]} operations, and each array of a source "
                "is one. Give them apart, by name: {str(n): array.isel(op=i, drop=True) for i, n in "
                "enumerate(array.op.values)}."
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


def _describe_array(address: str, array: xr.DataArray) -> Candidate:
    sizes = {str(dim): size for dim, size in array.sizes.items() if dim != STIMULUS}
    return describe_candidate(address, tuple(sizes), tuple(sizes.values()), str(array.dtype), array.attrs)
