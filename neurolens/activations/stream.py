"""Activations computed as they are read: nothing is stored, memory stays within a budget."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from neurolens.activations.assemble import label_array, stored_dtype, to_numpy
from neurolens.activations.collection import Activations
from neurolens.activations.feed import deaths_named, require_stimuli
from neurolens.activations.memory import keep_freed_memory
from neurolens.activations.operations import Candidate, Ops, choose_addresses, describe_candidate
from neurolens.activations.progress import track
from neurolens.activations.reduce import Reduction
from neurolens.activations.runs import Run
from neurolens.activations.sizes import parse_bytes, say_bytes
from neurolens.errors import AddressError, InputError, NeurolensWarning, list_names, near_misses
from neurolens.models import Model, as_model
from neurolens.schema import PASS
from neurolens.stimuli import Stimuli
from neurolens.store.layout import MISSING
from neurolens.store.lazy import float_for


class StreamedActivations(Activations):
    """Activations that are computed when they are read.

    Iterating computes as many operations at once as the memory budget holds, and runs the model over the
    stimuli once for each such group. Reading single addresses runs the model for the group that holds the
    address. Where an operation did not run for a batch, its stimuli are NaN, and the attr `missing_stimuli` lists
    them; integers become floats then.

    Examples
    Attributes
    ----------
    run
        The model, its stimuli, and what is known of every operation from the first batch.
    memory
        Budget for activations at a time, in bytes.
    progress
        Whether a bar is shown while the model runs.

    --------
    >>> import numpy as np, torch
    >>> import neurolens as nl
    >>> stimuli = nl.Stimuli.from_array(np.ones((3, 4), "float32"), ids=["cat", "dog", "cow"])
    >>> acts = nl.stream(torch.nn.Linear(4, 2), stimuli, progress=False)
    >>> acts.addresses(), acts.select("lin*").n_passes_over_stimuli
    (('input', 'linear'), 1)
    """
    >>> acts.stimuli.ids
    ('cat', 'dog', 'cow')

    def __init__(self, run: Run, memory: int, chosen: tuple[str, ...], *, progress: bool) -> None:
        self.run = run
        self.memory = memory
        self.progress = progress
        self._chosen = chosen
        self._groups = _make_groups(run, chosen, memory)
        self._cache: tuple[int, dict[str, xr.DataArray]] = (-1, {})

    @property
    def n_passes_over_stimuli(self) -> int:
        """How many times the model runs over all stimuli to read everything."""
        return len(self._groups)

    @property
    def stimuli(self) -> Stimuli:
        """The stimuli that the model is run on."""
        return self.run.stimuli

    def addresses(self) -> tuple[str, ...]:
        """Return all addresses, in execution order.

        Returns
        -------
        tuple of str
            In execution order.
        """
        return self._chosen

    def select(self, ops: Ops) -> StreamedActivations:
        """Return some of the operations as a stream of its own.

        Parameters
        ----------
        ops
            As in `Activations.select`.

        Returns
        -------
        StreamedActivations
            In execution order.
        """
        chosen = tuple(choose_addresses(self._chosen, ops, self._describe))
        return StreamedActivations(self.run, self.memory, chosen, progress=self.progress)

    def _describe(self, address: str) -> Candidate:
        layout = self.run.layouts[address]
        return describe_candidate(address, layout.dims, layout.shape, "", layout.attrs)

    def __iter__(self) -> Iterator[str]:
        return iter([address for group in self._groups for address in group])
        """Walk over the addresses, group by group of those that are computed together."""

    def __getitem__(self, address: str) -> xr.DataArray:
        meant = address if address in self._chosen else self.run.aliases.get(address, address)
        """Return the activations of an operation.

        Parameters
        ----------
        address
            One of `addresses()`, or that of a module or composite; `<address>:<k>` for pass k of several.

        Returns
        -------
        DataArray (stimulus, ...)
            In memory, computed together with the other operations of its group.

        Raises
        ------
        AddressError
            If there is no such operation; near misses are listed.
        """
        number, of_pass = meant, None
        if meant not in self._chosen:
            meant, _, number = meant.rpartition(":")
            of_pass = int(number) if number.isdecimal() else None
        array = self._find(meant, address)
        return array if of_pass is None else array.sel({PASS: of_pass})

    def _find(self, address: str, asked: str) -> xr.DataArray:
        for number, group in enumerate(self._groups):
            if address in group:
                if self._cache[0] != number:
                    self._cache = (-1, {})  # free the last group before the next is computed
                    self._cache = (number, self._compute(number))
                return self._cache[1][address]
        close = near_misses(asked, self._chosen)
        hint = f" Near misses: {list_names(close)}." if close else ""
        why = self.run.left_out.get(asked)
        reason = f" It was left out: {why}." if why else hint
        raise AddressError(f"This stream has no operation {asked!r}.{reason}")

    def _compute(self, number: int) -> dict[str, xr.DataArray]:
        run, group = self.run, self._groups[number]
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        missing: dict[str, list[str]] = {address: [] for address in group}
        text = f"activations {number + 1}/{len(self._groups)}"
        with keep_freed_memory(), deaths_named():
            batches = run.compute(range(run.n_batches), group)
            for index, tensors in track(batches, text, shown=self.progress, total=run.n_batches):
                part = run.batch_slice(index)
                for address in group:
                    if address in tensors:
                        _fill(arrays, run, address, to_numpy(tensors[address]), part)
                    else:
                        missing[address] += run.stimuli.ids[part]
        warn_of_later(run)
        warn_of_flaws(run)
        coords = run.stimuli.coords()
        return {a: _label(run, a, values, missing[a], coords) for a, values in arrays.items()}


def stream(
    model: Model | Any,
    stimuli: Stimuli,
    *,
    ops: Ops = "**",
    memory: str | int = "4 GB",
    batch_size: int = 32,
    device: torch.device | str | None = None,
    reduce: Reduction | None = None,
    workers: int = 0,
    progress: bool = True,
) -> StreamedActivations:
    """Compute activations as they are read, within a memory budget; nothing touches the disk.

    Its operations are those that the first batch runs: they are known before anything is computed, and to find
    others would take a run over all stimuli. Where a later batch runs others, a warning names them; `extract`
    stores them.

    Parameters
    ----------
    model
        A loaded model, an nn.Module or any callable. It is run in eval mode, and left as it was.
    stimuli
        What to show it.
    ops
        Which operations: a glob on addresses, an address, a function of what is known of an operation, or a list
        of these.
    memory
        Budget for activations: bytes, or text such as "4 GB". As many passes over the stimuli are made as it
        asks for.
    batch_size
        Stimuli at once.
    device
        Where to run; the model is moved there.
    reduce
        Make activations smaller as they are computed, as in `extract`.
    workers
        Processes that read and prepare stimuli; 0: a thread does.
    progress
        Show a progress bar on stderr.

    Returns
    -------
    StreamedActivations
        Mapping from address to DataArray (stimulus, ...).

    Raises
    ------
    AddressError
        If a pattern matches nothing that the first batch runs.
    InputError
        If one operation alone is larger than the budget.
    StimulusError
        If a stimulus cannot be read.

    Examples
    --------
    >>> import torch, numpy as np
    >>> stimuli = Stimuli.from_array(np.random.rand(6, 4).astype("float32"), ids=list("abcdef"))
    >>> acts = stream(torch.nn.Linear(4, 2), stimuli, progress=False)
    >>> acts["linear"].dims
    ('stimulus', 'unit')
    """
    require_stimuli(stimuli)
    stimuli.check()
    run = Run(
        as_model(model),
        stimuli,
        ops=ops,
        batch_size=batch_size,
        device=device,
        reduce=reduce,
        workers=workers,
        plans_late=None,
    )
    return StreamedActivations(run, parse_bytes(memory), tuple(run.layouts), progress=progress)


def _make_groups(run: Run, chosen: tuple[str, ...], memory: int) -> list[list[str]]:
    """Split operations, in order, into groups that fit the budget beside the batch that is being run."""
    groups: list[list[str]] = [[]]
    used = 0
    for address in chosen:
        layout = run.layouts[address]
        per_stimulus = layout.n_features * stored_dtype(layout.dtype).itemsize
        size = per_stimulus * (len(run.stimuli) + min(run.batch_size, len(run.stimuli)))
        if size > memory:
            raise InputError(
                f"{address!r} alone takes {say_bytes(size)} for {len(run.stimuli)} stimuli and a batch, more than "
                f"memory={say_bytes(memory)}. Raise memory=, lower batch_size=, or choose other operations (ops=)."
            )
        if used + size > memory:
            groups.append([])
            used = 0
        groups[-1].append(address)
        used += size
    return [group for group in groups if group]


def _fill(
    arrays: dict[str, np.ndarray[Any, Any]], run: Run, address: str, values: np.ndarray[Any, Any], part: slice
) -> None:
    """Put one batch into its place; what never comes is NaN where the dtype has one."""
    layout = run.layouts[address]
    if layout.is_static:
        arrays.setdefault(address, values)
        return
    if address not in arrays:
        empty = np.nan if values.dtype.kind in "fc" else 0
        arrays[address] = np.full((len(run.stimuli), *layout.shape), empty, values.dtype)
    arrays[address][part] = values


def _mask(values: np.ndarray[Any, Any], ids: Sequence[str], missing: Collection[str]) -> np.ndarray[Any, Any]:
    """Return integers as floats that are NaN where they are missing."""
    floats = values.astype(float_for(values.dtype))
    floats[[name in missing for name in ids]] = np.nan
    return floats


def _label(
    run: Run, address: str, values: np.ndarray[Any, Any], missing: list[str], coords: dict[str, Any]
) -> xr.DataArray:
    layout = run.layouts[address]
    if not missing or layout.is_static:
        return label_array(layout, values, coords)
    if values.dtype.kind in "biu":
        values = _mask(values, run.stimuli.ids, set(missing))
    return label_array(layout, values, coords).assign_attrs({MISSING: missing})


def warn_of_later(run: Run) -> None:
    """Warn of operations that the first batch did not run, so that they are not among those planned."""
    if run.met_later:
        first = next(iter(run.met_later.values()))
        warnings.warn(
            f"{len(run.met_later)} operations of {run.model.name} ran for later stimuli (from {first!r} on) and "
            f"not in the first batch, so they are left out: {list_names(run.met_later)}. Put stimuli first that "
            "take these branches, or use extract, which stores them.",
            NeurolensWarning,
            stacklevel=2,
        )


def warn_of_flaws(run: Run) -> None:
    """Warn of values that are no numbers: once for each kind."""
    for kind in list(run.flaws):
        flaw = run.flaws[kind]
        if flaw not in run.told:
            run.told.append(flaw)
            warnings.warn(
                f"{run.model.name} {flaw}. It is kept as it is; later stimuli may have more.",
                NeurolensWarning,
                stacklevel=2,
            )
