"""Activations computed as they are read: nothing is stored, memory stays within a budget."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
import xarray as xr

from neurolens.activations.assemble import Layout, label_array, stored_dtype, to_numpy
from neurolens.activations.collection import Activations
from neurolens.activations.feed import deaths_named, require_stimuli
from neurolens.activations.groups import fit_batch, is_roomy, make_groups
from neurolens.activations.memory import keep_freed_memory, take_pages
from neurolens.activations.operations import Candidate, Ops, choose_addresses, describe_candidate
from neurolens.activations.progress import track
from neurolens.activations.reduce import Reduction
from neurolens.activations.runs import Run
from neurolens.activations.sizes import parse_bytes
from neurolens.errors import AddressError, NeurolensWarning, list_names, near_misses
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

    Attributes
    ----------
    run
        The model, its stimuli, and what is known of every operation from the first batch.
    memory
        Budget for activations at a time, in bytes.
    progress
        Whether a bar is shown while the model runs.

    Examples
    --------
    >>> import numpy as np, torch
    >>> import neurolens as nl
    >>> stimuli = nl.Stimuli.from_array(np.ones((3, 4), "float32"), ids=["cat", "dog", "cow"])
    >>> acts = nl.stream(torch.nn.Linear(4, 2), stimuli, progress=False)
    >>> acts.addresses(), acts.select("lin*").n_passes_over_stimuli
    (('input', 'linear'), 1)
    >>> acts.stimuli.ids
    ('cat', 'dog', 'cow')
    """

    def __init__(self, run: Run, memory: int, chosen: tuple[str, ...], *, progress: bool) -> None:
        self.run = run
        self.memory = memory
        self.progress = progress
        self._chosen = chosen
        self._groups = make_groups(run, chosen, memory)
        self._is_roomy = is_roomy(run, chosen, memory)
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
        """Walk over the addresses, group by group of those that are computed together."""
        return iter([address for group in self._groups for address in group])

    def __getitem__(self, address: str) -> xr.DataArray:
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
        meant = address if address in self._chosen else self.run.aliases.get(address, address)
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
        missing: dict[str, list[str]] = {address: [] for address in group}
        text = f"activations {number + 1}/{len(self._groups)}"
        arrays = {address: _allocate(run.layouts[address], len(run.stimuli)) for address in group}
        allocating = keep_freed_memory() if self._is_roomy else nullcontext()
        with allocating, deaths_named():
            batches = run.compute(range(run.n_batches), group)
            for index, tensors in track(batches, text, shown=self.progress, total=run.n_batches):
                part = run.batch_slice(index)
                for address in group:
                    if address in tensors:  # popped, so that no tensor is held while the next batch runs
                        _fill(arrays[address], run.layouts[address], to_numpy(tensors.pop(address)), part)
                    else:
                        _leave_empty(arrays[address], run.layouts[address], part)
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
        Budget: bytes, or text such as "4 GB". As many passes over the stimuli are made as it asks for. It
        covers what is held at once beyond the process as it was and one plain run of the model on a batch:
        arrays of a group of operations, what is kept of them while a batch runs, and inputs read ahead. What
        you keep of a group (an array, a slice of it) while you read the next comes on top.
    batch_size
        Stimuli at once; fewer where the largest operation would not fit the budget otherwise.
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
        If one operation alone, computed one stimulus at a time, is larger than the budget.
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
    budget = parse_bytes(memory)
    run = Run(
        as_model(model),
        stimuli,
        ops=ops,
        batch_size=batch_size,
        device=device,
        reduce=reduce,
        workers=workers,
        plans_late=None,
        memory=budget,
    )
    fit_batch(run, budget)
    return StreamedActivations(run, budget, tuple(run.layouts), progress=progress)


def _allocate(layout: Layout, n_stimuli: int) -> np.ndarray[Any, Any]:
    """Make room for the values of all stimuli; its pages are taken as they are filled."""
    shape = layout.shape if layout.is_static else (n_stimuli, *layout.shape)
    return take_pages(shape, stored_dtype(layout.dtype))


def _fill(array: np.ndarray[Any, Any], layout: Layout, values: np.ndarray[Any, Any], part: slice) -> None:
    """Put one batch into its place; what is static is the same in all of them."""
    array[(...,) if layout.is_static else part] = values


def _leave_empty(array: np.ndarray[Any, Any], layout: Layout, part: slice) -> None:
    """Mark stimuli that an operation did not run for: NaN where the dtype has one."""
    if not layout.is_static:
        array[part] = np.nan if array.dtype.kind in "fc" else 0


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
