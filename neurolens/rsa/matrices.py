"""RDMs of one array, still without labels: in memory or by parts, complete or not, over runs or not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.errors import InputError, LabelError, check_choice, list_names
from neurolens.numerics.crossnobis import compute_crossnobis
from neurolens.numerics.digest import compute_digest
from neurolens.numerics.distances import (
    METRICS,
    Metric,
    Normalize,
    check_options,
    compute_rdm,
    find_undefined,
)
from neurolens.numerics.gram import plan_tile
from neurolens.numerics.incomplete import compute_incomplete_rdm, refuse_incomplete
from neurolens.rsa.patterns import (
    LazyPatterns,
    extract_patterns,
    find_kept_dims,
    is_same_for_all,
)
from neurolens.schema import NEUROID, RUN, STIMULUS, require_dims

Missing = Literal["nan", "pairwise"]

MISSING = ("nan", "pairwise")
NEUROID_B = "neuroid_b"  # the second neuroid of a covariance: a copy of `neuroid`


@dataclass(frozen=True)
class Settings:
    """How the RDMs of every operation are computed."""

    metric: Metric
    over: tuple[str, ...]
    normalize: Normalize = "none"
    missing: Missing = "nan"
    noise: xr.DataArray | NDArray[Any] | None = None
    device: str | None = None
    memory: int = 4 * 10**9

    @property
    def count(self) -> str:
        """Name of what is counted for each pair of stimuli; "" where nothing is."""
        if METRICS[self.metric].runs:
            return "n_runs"
        return "n_common" if self.missing == "pairwise" else ""


@dataclass(frozen=True)
class Matrices:
    """The RDMs of one array."""

    values: NDArray[Any]  # (*kept dims, n_stimuli, n_stimuli)
    counts: NDArray[np.int32] | None  # like values: features or runs that each pair has in common
    n_features: int
    undefined: tuple[str, ...]  # stimuli without a distance in at least one of the RDMs
    digest: str  # of the patterns
    refusal: str = ""  # why the RDMs say nothing


def make_settings(
    metric: Metric,
    over: tuple[str, ...],
    *,
    normalize: Normalize,
    missing: Missing,
    noise: xr.DataArray | NDArray[Any] | None,
    device: str | None,
    memory: int,
) -> Settings:
    """Check options against each other before anything is read."""
    check_options(metric, normalize, noise)
    check_choice(missing, MISSING, "missing")
    runs = METRICS[metric].runs
    if missing == "pairwise":
        refuse_incomplete(metric)
        if device is not None:
            raise InputError(
                f"device={device!r}: missing='pairwise' is computed by numpy alone; leave device= out."
            )
    kept = tuple(dim for dim in over if not (runs and dim == RUN))
    return Settings(metric, kept, normalize, missing, noise, device, memory)


def compute_matrices(array: xr.DataArray, settings: Settings, known: Mapping[str, Matrices]) -> Matrices:
    """Compute the RDMs of one array, or take them from `known` where its patterns have been met.

    Parameters
    ----------
    array
        DataArray ([kept dims,] stimulus, ...), of real numbers.
    settings
        How.
    known
        digest -> what was computed of these patterns.
    """
    kept = find_kept_dims(array, settings.over)
    if METRICS[settings.metric].runs:
        return _compute_over_runs(array, kept, settings, known)
    whole_needed = settings.missing == "pairwise" or not METRICS[settings.metric].tiles
    if array.nbytes * 3 <= settings.memory or whole_needed:
        return _compute_in_memory(array, kept, settings, known)
    return _compute_by_parts(array, kept, settings)


def _compute_in_memory(
    array: xr.DataArray, kept: tuple[str, ...], settings: Settings, known: Mapping[str, Matrices]
) -> Matrices:
    patterns = extract_patterns(array, kept)
    digest = compute_digest(patterns)
    if digest in known:
        return known[digest]
    stacked = patterns.reshape(-1, *patterns.shape[-2:])
    same = all(is_same_for_all(one) for one in stacked)
    noises = [_select_noise(settings.noise, array, kept, i) for i in range(len(stacked))]
    found = [_compute_one(one, settings, noise) for one, noise in zip(stacked, noises, strict=True)]
    undefined = _find_undefined(stacked, [values for values, _ in found], settings)
    return _assemble(array, kept, settings, found, undefined, patterns.shape[-1], digest, same=same)


def _compute_one(
    patterns: NDArray[Any], settings: Settings, noise: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[np.intp] | None]:
    metric, normalize = settings.metric, settings.normalize
    if settings.missing == "pairwise":
        return compute_incomplete_rdm(patterns, metric, normalize=normalize)
    return compute_rdm(patterns, metric, normalize=normalize, noise=noise, device=settings.device), None


def _compute_by_parts(array: xr.DataArray, kept: tuple[str, ...], settings: Settings) -> Matrices:
    """Read what does not fit the memory in slabs or tiles; the digest is made of the first reading."""
    found: list[tuple[NDArray[Any], NDArray[np.intp] | None]] = []
    undefined, digests, same = [], [], True
    for i in range(math.prod(array.sizes[dim] for dim in kept)):
        patterns = LazyPatterns(_isel_kept(array, kept, i))
        tile = plan_tile(
            patterns.shape, patterns.dtype.itemsize, settings.memory, chunk=patterns.find_chunk()
        )
        values = compute_rdm(
            patterns, settings.metric, normalize=settings.normalize, tile=tile, device=settings.device
        )
        found.append((values, None))
        digests.append(patterns.digest.hexdigest())
        undefined.append(np.isnan(values).sum(axis=1) >= len(values) - 1)
        same = same and is_same_for_all(patterns)
    n_features, digest = patterns.shape[1], "".join(digests)
    return _assemble(array, kept, settings, found, undefined, n_features, digest, same=same)


def _isel_kept(array: xr.DataArray, kept: tuple[str, ...], index: int) -> xr.DataArray:
    """Return one entry of the kept dims, lazily, in the order of a flattened array."""
    if not kept:
        return array
    positions = np.unravel_index(index, [array.sizes[dim] for dim in kept])
    return array.isel({dim: int(i) for dim, i in zip(kept, positions, strict=True)})


def _compute_over_runs(
    array: xr.DataArray, kept: tuple[str, ...], settings: Settings, known: Mapping[str, Matrices]
) -> Matrices:
    require_dims(array, RUN, what="metric='crossnobis'")
    patterns = extract_patterns(array, (*kept, RUN))
    digest = compute_digest(patterns)
    if digest in known:
        return known[digest]
    stacked = patterns.reshape(-1, *patterns.shape[-3:])
    found: list[tuple[NDArray[Any], NDArray[np.intp] | None]] = []
    for i, one in enumerate(stacked):
        noise = _select_noise(settings.noise, array, kept, i)
        found.append(compute_crossnobis(one, noise=noise, device=settings.device))
    undefined = [np.isnan(values).sum(axis=1) >= len(values) - 1 for values, _ in found]
    return _assemble(array, kept, settings, found, undefined, patterns.shape[-1], digest)


def _find_undefined(
    stacked: NDArray[Any], squares: list[NDArray[Any]], settings: Settings
) -> list[NDArray[np.bool_]]:
    """Which stimuli have no distance; only an RDM with NaN is searched for the patterns that caused them."""
    nothing = np.zeros(stacked.shape[1], dtype=bool)
    if settings.missing == "pairwise":
        return [np.isnan(square).sum(axis=1) >= len(square) - 1 for square in squares]
    return [
        find_undefined(one, settings.metric) if np.isnan(square).any() else nothing
        for one, square in zip(stacked, squares, strict=True)
    ]


def _assemble(
    array: xr.DataArray,
    kept: tuple[str, ...],
    settings: Settings,
    found: list[tuple[NDArray[Any], NDArray[np.intp] | None]],
    undefined: list[NDArray[np.bool_]],
    n_features: int,
    digest: str,
    *,
    same: bool = False,
) -> Matrices:
    n_stimuli = array.sizes[STIMULUS]
    shape = (*(array.sizes[dim] for dim in kept), n_stimuli, n_stimuli)
    counts = [count for _, count in found if count is not None]
    values = np.stack([square for square, _ in found]).reshape(shape)
    bad = np.any(undefined, axis=0)
    ids = array[STIMULUS].values.tolist()
    refusal = "the same for all stimuli" if same else ""
    n_known = values.size - np.count_nonzero(np.isnan(values))
    if not same and n_known <= len(found) * n_stimuli:  # nothing off the diagonals
        refusal = f"every pattern is {METRICS[settings.metric].reason}"
    return Matrices(
        values=values,
        counts=np.stack(counts).reshape(shape).astype(np.int32) if counts else None,
        n_features=n_features,
        undefined=tuple(str(ids[i]) for i in np.flatnonzero(bad)),
        digest=digest,
        refusal=refusal,
    )


def _select_noise(
    noise: xr.DataArray | NDArray[Any] | None, array: xr.DataArray, kept: tuple[str, ...], index: int
) -> NDArray[Any] | None:
    """Return the covariance for one entry of the kept dims, its neuroids in the order of the array's."""
    if not isinstance(noise, xr.DataArray):
        return None if noise is None else np.asarray(noise)
    require_dims(noise, NEUROID, what="noise")
    own = tuple(dim for dim in kept if dim in noise.dims)
    extra = [dim for dim in noise.dims if dim not in (*own, NEUROID, NEUROID_B)]
    if extra:
        raise InputError(
            f"noise has the dim {list_names(extra)}, which the RDMs do not keep apart (over=). Choose an entry, "
            f"noise.isel({extra[0]}=0), or average over it."
        )
    positions = dict(zip(kept, np.unravel_index(index, [array.sizes[d] for d in kept] or [1]), strict=False))
    for dim in own:
        if dim in noise.coords and dim in array.coords:
            label = array[dim].values.tolist()[positions[dim]]
            labels = noise[dim].values.tolist()
            if label not in labels:
                raise LabelError(f"noise has no entry {label!r} on {dim!r}; it has {list_names(labels)}.")
            noise = noise.sel({dim: label})
        else:
            noise = noise.isel({dim: int(positions[dim])})
    noise = _order_neuroids(noise, array)
    return np.asarray(noise.transpose(NEUROID, ...).values)


def _order_neuroids(noise: xr.DataArray, array: xr.DataArray) -> xr.DataArray:
    if NEUROID not in noise.coords or NEUROID not in array.coords:
        return noise
    wanted, given = array[NEUROID].values.tolist(), noise[NEUROID].values.tolist()
    if wanted == given:
        return noise
    missing = [label for label in wanted if label not in set(given)]
    if missing:
        raise LabelError(
            f"noise lacks the neuroids {list_names(missing, 5)}. Estimate it on the same neuroids."
        )
    order = [given.index(label) for label in wanted]
    return noise.isel({dim: order for dim in (NEUROID, NEUROID_B) if dim in noise.dims})
