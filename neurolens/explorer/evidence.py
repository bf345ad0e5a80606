"""What is read of activations for the page: maps of chosen stimuli, RDMs, and pictures of the stimuli."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from PIL import Image

from neurolens.activations import Activations
from neurolens.activations.progress import track
from neurolens.errors import InputError, LabelError, NeurolensError, NeurolensWarning, list_names
from neurolens.explorer.geometry import Geometry, make_geometry
from neurolens.explorer.networks import Finder
from neurolens.explorer.outline import Network
from neurolens.explorer.pictures import MOST_PASSES, Maps, choose_evenly, make_maps
from neurolens.rsa import rdm
from neurolens.schema import OP, STIMULUS, STIMULUS_B, stimulus_ids
from neurolens.stimuli import Stimuli
from neurolens.stimuli.thumbnails import picture_item

MAP_BYTES = RDM_BYTES = 6_000_000  # of the page, before they become text
N_SHOWN = 6  # stimuli whose maps are shown, by default
MOST_SHOWN = 24
MOST_STIMULI = 64  # in an RDM
MIN_STIMULI = 3  # that an RDM is shown of
_SIDES = (8, 32)  # pixels of a map: the fewest and the most
_LARGE, _SMALL = 128, 44  # pixels of pictures of stimuli


@dataclass(slots=True)
class Evidence:
    """Maps and RDMs by position of the operation.

    Attributes
    ----------
    ids
        Of the stimuli of RDMs, in order.
    shown
        Of the stimuli whose maps are there.
    n_stimuli
        How many there are in all.
    maps
        For each operation, the address of each activation and its maps.
    geometries
        For each operation, its RDM.
    notes
        For each operation, why something is not there.
    pictures
        By stimulus id, an image as text of a data URI.
    metric
        Of the RDMs.
    """

    ids: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    n_stimuli: int = 0
    maps: dict[int, list[tuple[str, Maps]]] = field(default_factory=dict)
    geometries: dict[int, Geometry] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    metric: str = ""


def gather_evidence(
    network: Network,
    finder: Finder,
    activations: Activations | None,
    *,
    rdms: xr.DataArray | None,
    stimuli: Stimuli | None,
    show: Sequence[str] | None,
    progress: bool,
) -> Evidence:
    """Read activations once, one operation at a time, and keep what fits into the page."""
    found = Evidence(metric=str(rdms.attrs.get("metric", "given")) if rdms is not None else "correlation")
    if rdms is not None:
        _take_rdms(found, rdms, finder, len(network.items))
    if activations is not None and len(activations):
        _read_all(found, network, finder, activations, show, progress=progress, has_rdms=rdms is not None)
    elif show:
        raise InputError(
            "show= chooses stimuli for activation maps, but there are no activations. Give activations=."
        )
    if stimuli is not None:
        _picture(found, stimuli)
    return found


def _read_all(
    found: Evidence,
    network: Network,
    finder: Finder,
    activations: Activations,
    show: Sequence[str] | None,
    *,
    progress: bool,
    has_rdms: bool,
) -> None:
    side = choose_side(network, n_shown=N_SHOWN if show is None else len(show))
    items = track(activations.items(), "Reading activations", shown=progress, total=len(activations))
    for address, array in items:
        position = finder.find(address)
        if position is None:
            continue
        if STIMULUS not in array.dims:
            found.notes[position] = str(array.attrs.get("stimulus_axis") or "It is the same for all stimuli.")
            continue
        ids = [str(label) for label in stimulus_ids(array, address).tolist()]
        if not found.shown:
            _choose_stimuli(found, ids, show, len(network.items))
        place = {name: k for k, name in enumerate(ids)}
        chosen = _take(array, place, found.shown)
        found.maps.setdefault(position, []).append((address, make_maps(chosen, side=side)))
        if network.items[position].function == "input":
            _picture_inputs(found, array, place)
        if not has_rdms and len(found.ids) >= MIN_STIMULI and all(name in place for name in found.ids):
            _add_rdm(found, position, _take(array, place, found.ids))


def _take(array: xr.DataArray, place: Mapping[str, int], ids: Sequence[str]) -> xr.DataArray:
    """Return the activations to some stimuli, without the labels that the page has no use for."""
    known = [name for name in ids if name in place]
    values = array.variable.isel({STIMULUS: [place[name] for name in known]})
    return xr.DataArray(values, {STIMULUS: known}, name=array.name)


def choose_side(network: Network, *, n_shown: int) -> int:
    """Return how many pixels the edge of a map may have, so that all maps fit into their share of the page."""
    n_maps = sum(min(item.n_passes, MOST_PASSES) for item in network.items) * max(1, n_shown)
    return int(np.clip(math.isqrt(MAP_BYTES // max(1, n_maps)), *_SIDES))


def choose_n_stimuli(n_items: int) -> int:
    """Return of how many stimuli RDMs may be, so that all fit into their share of the page."""
    return int(min(MOST_STIMULI, math.isqrt(2 * RDM_BYTES // max(1, n_items))))


def _choose_stimuli(found: Evidence, ids: list[str], show: Sequence[str] | None, n_items: int) -> None:
    found.n_stimuli = found.n_stimuli or len(ids)
    if not found.ids:
        found.ids = tuple(ids[k] for k in choose_evenly(len(ids), choose_n_stimuli(n_items)))
    if show is None:
        pool = [i for i in found.ids if i in set(ids)]
        found.shown = tuple(pool[k] for k in choose_evenly(len(pool), N_SHOWN))
        return
    found.shown = tuple(dict.fromkeys(map(str, show)))
    unknown = [i for i in found.shown if i not in ids]
    if unknown or not found.shown:
        raise LabelError(
            f"show= names {list_names(unknown)}, which are no stimuli here; there are {list_names(ids)}."
        )
    if len(found.shown) > MOST_SHOWN:
        raise InputError(
            f"show= names {len(found.shown)} stimuli; maps of up to {MOST_SHOWN} fit into a page."
        )


def _add_rdm(found: Evidence, position: int, array: xr.DataArray) -> None:
    """Add the RDM of an operation; of several activations of one, the last."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NeurolensWarning)  # missing entries are seen in the picture
            square = rdm(array)
    except NeurolensError as error:
        found.notes[position] = f"No RDM: {error}"
        return
    if square.ndim == 2:
        found.geometries[position] = make_geometry(square.values)


def _take_rdms(found: Evidence, rdms: xr.DataArray, finder: Finder, n_items: int) -> None:
    if not isinstance(rdms, xr.DataArray) or {*rdms.dims} != {OP, STIMULUS, STIMULUS_B}:
        dims = list_names(rdms.dims) if isinstance(rdms, xr.DataArray) else type(rdms).__name__
        raise InputError(
            f"rdms= has {dims}; expected a DataArray (op, stimulus, stimulus_b), as nl.rdm gives it. Choose an entry "
            "of other dims first, or average over them."
        )
    ids = [str(label) for label in stimulus_ids(rdms, "rdms").tolist()]
    chosen = choose_evenly(len(ids), choose_n_stimuli(n_items))
    found.ids, found.n_stimuli = tuple(ids[k] for k in chosen), len(ids)
    squares = rdms.transpose(OP, STIMULUS, STIMULUS_B).isel({STIMULUS: chosen, STIMULUS_B: chosen})
    for address, square in zip(rdms[OP].values.tolist(), squares.values, strict=True):
        position = finder.find(str(address))
        if position is not None:
            found.geometries[position] = make_geometry(square)


# ---------------------------------------------------------------------- pictures of stimuli


def _picture(found: Evidence, stimuli: Stimuli) -> None:
    wanted = dict.fromkeys((*found.shown, *found.ids))
    number = {name: k for k, name in enumerate(stimuli.ids)}
    for name in wanted:
        if name in number:
            size = _LARGE if name in found.shown else _SMALL
            found.pictures[name] = encode_image(stimuli.thumbnail(number[name], size))


def _picture_inputs(found: Evidence, array: xr.DataArray, place: Mapping[str, int]) -> None:
    """Take the model's input for a picture where it is one; `stimuli=` gives better ones."""
    if array.dims[0] != STIMULUS or array.ndim not in (3, 4) or array.dtype.kind != "f":
        return
    for name in dict.fromkeys((*found.shown, *found.ids)):
        if name in place:
            size = _LARGE if name in found.shown else _SMALL
            pixels = picture_item(array.variable[place[name]].values, size)
            if pixels is not None:
                found.pictures[name] = encode_image(pixels)


def encode_image(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """Write an RGB image, shape (height, width, 3), as a data URI."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
