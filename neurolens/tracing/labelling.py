"""The kept activations of a trace as labelled arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from neurolens.activations import Activations
from neurolens.activations.assemble import (
    kept_tensor,
    label_array,
    read_values,
    require_array,
    to_numpy,
)
from neurolens.activations.operations import (
    Candidate,
    Ops,
    as_patterns,
    choose_addresses,
    describe_candidate,
)
from neurolens.recording.addresses import Target, resolve, select
from neurolens.recording.structures import is_array

if TYPE_CHECKING:
    from neurolens.tracing.trace import Trace


class TracedActivations(Activations):
    """The kept activations of a trace, labelled when they are read.

    Examples
    --------
    >>> import torch
    >>> import neurolens as nl
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    >>> trace = nl.trace(model, torch.ones(2, 4))
    >>> trace.activations["0.linear"].dims
    ('stimulus', 'unit')
    >>> trace.activations.select("*.relu").addresses()
    ('1.relu',)
    """

    def __init__(self, source: Trace, chosen: tuple[str, ...] | None = None) -> None:
        self._trace = source
        if chosen is None:
            chosen = tuple(
                address for target in select(source.names, "**") for address in _arrays_of(source, target)
            )
        self._chosen = chosen

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses of all kept activations, in execution order.

        Returns
        -------
        tuple of str
            In execution order.
        """
        return self._chosen

    def select(self, ops: Ops) -> TracedActivations:
        """Return the activations of some operations.

        Parameters
        ----------
        ops
            As in `Activations.select`.

        Returns
        -------
        TracedActivations
            In execution order.
        """
        chosen: dict[str, None] = {}
        for pattern in as_patterns(ops):
            if isinstance(pattern, str):
                found = [target.address for target in select(self._trace.names, pattern)]
            else:
                found = choose_addresses(self._chosen, pattern, self._describe)
            chosen.update(dict.fromkeys(found))
        return TracedActivations(self._trace, tuple(chosen))

    def _describe(self, address: str) -> Candidate:
        layout = self._trace.planner.plan(resolve(self._trace.names, address))
        return describe_candidate(address, layout.dims, layout.shape, "", layout.attrs)

    def __contains__(self, address: object) -> bool:
        """Tell whether this is an address of the trace: of an operation, a pass, a module or a composite."""
        return address in self._chosen or address in self._trace

    def __getitem__(self, address: str) -> xr.DataArray:
        """Return the activations of an operation.

        Parameters
        ----------
        address
            One of `addresses()`, or any other of the trace: a pass, a module, a composite, an output.

        Returns
        -------
        DataArray (stimulus, ...)
            In memory, read-only.

        Raises
        ------
        AddressError
            If there is no such operation; near misses are listed. Also if it gave several tensors, or passes
            of different shapes: the message lists what to ask for.
        TraceError
            If the activation was not kept.
        """
        source = self._trace
        target = resolve(source.names, address)
        for value in target.values:
            require_array(kept_tensor(source.recording, value, address))
        layout = source.planner.plan(target)
        values = to_numpy(read_values(source.recording, layout, target.values, source.n_stimuli))
        values.flags.writeable = False
        return label_array(layout, values, source.stimulus_coords())


def _arrays_of(source: Trace, target: Target) -> list[str]:
    """Return the address, or those of single passes where they are not one array; none where nothing is kept."""
    kept = source.recording.tensors
    if any(value not in kept or not is_array(kept[value]) for value in target.values):
        return []
    if len({(value.shape, value.dtype) for value in target.values}) == 1:
        return [target.address]
    return [source.maker_of(value) for value in target.values]
