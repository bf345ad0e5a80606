"""From recorded tensors to labelled arrays: stimulus first, passes stacked, every axis named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr

from neurolens._version import __version__
from neurolens.activations.axes import Axes, StimulusAxis, split_axis
from neurolens.activations.dims import NamedAxes, fill_names, name_axes, name_input
from neurolens.errors import AddressError, InputError, TraceError, list_names
from neurolens.recording.addresses import INPUT, Names, Target, results
from neurolens.recording.events import Event, Recording, Value
from neurolens.recording.graph import Graph
from neurolens.recording.replay import replay
from neurolens.recording.structures import is_array, same
from neurolens.schema import PASS, STIMULUS

_NUMPY_FLOATS = frozenset({torch.float16, torch.float32, torch.float64})


@dataclass(frozen=True, slots=True)
class Layout:
    """How the tensors of one address become one array.

    `dims` and `shape` are those of the array without `stimulus`; `axes` says where the stimuli of each pass are.
    `labels` are coords in xarray's form, beside or in place of the integers that count along each dim.
    """

    address: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype
    axes: tuple[StimulusAxis, ...]
    attrs: Mapping[str, Any]
    labels: Mapping[str, tuple[str, np.ndarray[Any, Any]]] = field(default_factory=dict)

    @property
    def is_static(self) -> bool:
        """Whether the array has no stimulus dim."""
        return self.axes[0].axis is None

    @property
    def n_passes(self) -> int:
        """How many passes are stacked."""
        return len(self.axes)

    @property
    def n_features(self) -> int:
        """Numbers a stimulus."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made the activations: goes into the attrs of every array."""

    model: str
    weights: str
    preprocessing: str = ""


class LayoutPlanner:
    """Plans layouts for the addresses of one recording."""

    def __init__(
        self,
        recording: Recording,
        names: Names,
        graph: Graph,
        axes: Axes,
        made_by: Provenance,
        *,
        n_stimuli: int,
    ) -> None:
        self.n_stimuli = n_stimuli
        self.names = names
        self.graph = graph
        self.axes = axes
        self.made_by = made_by
        self._where: dict[int, StimulusAxis] = {}
        self._named: dict[int, NamedAxes] = {}
        for event in recording.events:
            self._name_event(event)

    def plan(self, target: Target) -> Layout:
        """Return the layout of the array that an address means.

        Raises
        ------
        AddressError
            If its passes can't be one array.
        """
        first, *others = target.values
        self._require_stackable(target)
        named = self._named[id(first)]
        names = ("",) * len(named.names) if self.axes.reason else named.names  # nothing is known of any axis
        dims, shape = fill_names(names), named.shape
        if others:
            dims, shape = (PASS, *dims), (len(target.values), *shape)
        axes = tuple(self._where[id(value)] for value in target.values)
        return Layout(target.address, dims, shape, first.dtype, axes, self._attrs(target, axes[0]))

    def is_stackable(self, target: Target) -> bool:
        """Tell whether all passes have one shape, one dtype and the stimulus dim alike."""
        kinds = {(self._named[id(v)].shape, self._where[id(v)].axis is None, v.dtype) for v in target.values}
        return len(kinds) == 1

    def _require_stackable(self, target: Target) -> None:
        if not self.is_stackable(target):
            shapes = [f"{target.address}:{n} {tuple(v.shape)}" for n, v in enumerate(target.values, 1)]
            raise AddressError(
                f"{target.address!r} ran {len(target.values)} times with different shapes, so its passes are "
                f"not one array. Ask for one: {list_names(shapes)}."
            )

    def _name_event(self, event: Event) -> None:
        place, number = self.names.of_event[event.index]
        parents = [self._named[id(value)] for value in event.inputs() if id(value) in self._named]
        for label, value in results(event).items():
            where = self.axes.of(place.address, number, label)
            if where.axis is not None and not self._fits(where, value):
                where = StimulusAxis(
                    None, reason="its length depends on values: it is not that of the stimuli"
                )
            self._where[id(value)] = where
            if event.facts.name == INPUT:
                self._named[id(value)] = name_input(value.shape, value.dtype, where)
            else:
                self._named[id(value)] = name_axes(event, label, value.shape, where, parents)

    def _fits(self, where: StimulusAxis, value: Value) -> bool:
        """Tell whether an axis that went with two and three stimuli goes with these as well."""
        axis = where.axis
        return axis is None or (
            axis < len(value.shape) and value.shape[axis] == self.n_stimuli * where.factor
        )

    def _attrs(self, target: Target, where: StimulusAxis) -> dict[str, Any]:
        event = target.values[0].event
        attrs: dict[str, Any] = {
            "address": target.address,
            "operation": self._operation(target),
            "function": event.facts.name,
            "module": target.place.module if target.place is not None else "",
            "parents": self._parents(target),
            "step": event.index,
            "depth": self.graph.depth(event.index),
            "model": self.made_by.model,
            "weights": self.made_by.weights,
            "preprocessing": self.made_by.preprocessing,
            "traced_dtype": str(target.values[0].dtype).removeprefix("torch."),
            "torch_version": torch.__version__,
            "neurolens_version": __version__,
        }
        if where.reason:
            attrs["stimulus_axis"] = where.reason
        return attrs

    def _parents(self, target: Target) -> list[str]:
        """Return the addresses of what the passes read; of one of several results, that one."""
        found: dict[str, None] = {}
        for event in (value.event for value in target.values):
            read = [value for value in event.inputs() if value.event.index in self.names.of_event]
            for index in self.graph.parents[event.index]:
                address = self.names.of_event[index][0].address
                labels = [_label_of(value) for value in read if value.event.index == index]
                found.update(dict.fromkeys(address + label for label in labels or [""]))
        return list(found)

    def _operation(self, target: Target) -> str:
        """Return the operation whose output this is, with the pass where it is one of several."""
        first = target.values[0]
        place, number = self.names.of_event[first.event.index]
        label = _label_of(first)
        one_of_many = len(target.values) == 1 and len(place.passes) > 1
        return f"{place.address}{label}" + (f":{number}" if one_of_many else "")


def _label_of(value: Value) -> str:
    return next((label for label, other in results(value.event).items() if other is value), "")


def read_values(
    recording: Recording, layout: Layout, values: Sequence[Value], n_stimuli: int
) -> torch.Tensor:
    """Return the array of one batch as a tensor: (stimulus, [pass,] ...), or without stimulus where static.

    Raises
    ------
    TraceError
        If a value was not kept, or the memory it shares was written after the recording.
    """
    if len(values) != layout.n_passes:
        raise AddressError(
            f"{layout.address!r} ran {len(values)} times here and {layout.n_passes} times for other stimuli, so "
            "its passes are not one array. Ask for single passes (':1')."
        )
    return arrange(layout, [kept_tensor(recording, value, layout.address) for value in values], n_stimuli)


def arrange(layout: Layout, tensors: Sequence[torch.Tensor], n_stimuli: int) -> torch.Tensor:
    """Bring the tensors of all passes into the order of the array: stimulus first, passes stacked."""
    parts = []
    for tensor, where in zip(tensors, layout.axes, strict=True):
        tensor = split_axis(tensor, n_stimuli, where)
        if where.axis is not None:
            tensor = tensor.movedim(where.axis + (0 if where.stimulus_major else 1), 0)
        parts.append(tensor)
    if PASS not in layout.dims:
        return parts[0]
    return torch.stack(parts, dim=0 if layout.is_static else 1)


def kept_tensor(recording: Recording, value: Value, address: str) -> torch.Tensor:
    """Return the tensor of a value.

    Raises
    ------
    TraceError
        If it was not kept, or its memory was written since.
    """
    tensor = recording.tensors.get(value)
    if tensor is None:
        raise TraceError(
            f"The activation of {address!r} was not kept. Trace again with keep={address!r} (or keep='**')."
        )
    if value.version >= 0 and tensor._version != value.version and not _still_true(recording, value, tensor):
        raise TraceError(
            f"The memory of {address!r} was written after it was recorded, behind the recorder's back (by an "
            "extension, or by your own code after the trace), so its activation is gone. Copy what you change "
            "(tensor.clone()), or trace again."
        )
    return tensor


def _still_true(recording: Recording, value: Value, tensor: torch.Tensor) -> bool:
    """Tell whether memory that torch says was written holds what the operation gives when it is run again.

    Some calls count as writes and change nothing (`mark_dirty` after the fact).
    """
    try:
        again = replay(value.event, recording.tensors)
    except Exception:  # whatever keeps it from running again: then nobody can tell
        return False
    found = dict(zip(value.event.outputs(), again, strict=False)).get(value)
    if found is None or not same(tensor, found):
        return False
    value.version = tensor._version
    return True


def require_array(tensor: torch.Tensor) -> None:
    """Raise InputError unless a tensor is plain numbers."""
    if not is_array(tensor):
        raise InputError(
            f"A tensor of layout {tensor.layout}, dtype {tensor.dtype} on {tensor.device} has no plain array: "
            "read `.tensor` and convert it yourself."
        )


def to_numpy(tensor: torch.Tensor, dtype: np.dtype[Any] | None = None) -> np.ndarray[Any, Any]:
    """Return a tensor as a numpy array on the CPU; what numpy lacks (bfloat16, complex32) in single precision, exactly.

    Raises
    ------
    InputError
        If the tensor is of a kind that has no array (sparse, quantised, meta).
    """
    tensor = tensor.detach()
    require_array(tensor)
    tensor = tensor.resolve_conj().resolve_neg().cpu()
    if tensor.dtype == torch.complex32:  # numpy has no complex numbers of half precision
        tensor = tensor.to(torch.complex64)
    if tensor.dtype.is_floating_point and tensor.dtype not in _NUMPY_FLOATS:
        tensor = tensor.float()
    array: np.ndarray[Any, Any] = tensor.numpy()
    return array if dtype is None or array.dtype == dtype else array.astype(dtype)


def stored_dtype(dtype: torch.dtype, cast: np.dtype[Any] | None = None) -> np.dtype[Any]:
    """Return the numpy dtype that `to_numpy` gives; `cast` is what real floating dtypes become."""
    own = to_numpy(torch.empty(0, dtype=dtype)).dtype
    return cast if cast is not None and own.kind == "f" else own


def dim_coords(layout: Layout) -> dict[str, tuple[str, np.ndarray[Any, Any]]]:
    """Return labels for every dim but the stimulus: integers unless the layout has others; passes count from 1."""
    counted = {
        dim: (dim, np.arange(1, size + 1) if dim == PASS else np.arange(size))
        for dim, size in zip(layout.dims, layout.shape, strict=True)
    }
    return counted | dict(layout.labels)


def label_array(layout: Layout, values: np.ndarray[Any, Any], stimuli: Mapping[Any, Any]) -> xr.DataArray:
    """Give an array its dims, coords and attrs.

    Parameters
    ----------
    layout
        Its layout.
    values
        array, shape (n_stimuli, ...) or, static, (...).
    stimuli
        Coords of the stimulus dim, in xarray's form.
    """
    coords: dict[Any, Any] = dict(dim_coords(layout))
    dims = layout.dims
    if not layout.is_static:
        dims = (STIMULUS, *dims)
        coords |= dict(stimuli)
    return xr.DataArray(values, dims=dims, coords=coords, attrs=dict(layout.attrs), name=layout.address)
