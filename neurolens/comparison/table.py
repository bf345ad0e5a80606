"""RDMs of a model and of regions over the same stimuli: what tests between regions and models start from."""

from __future__ import annotations

import xarray as xr

from neurolens.comparison.sources import read_rdms
from neurolens.comparison.targets import read_targets
from neurolens.errors import InputError
from neurolens.numerics.distances import Metric
from neurolens.schema import OP, STIMULUS, STIMULUS_B, TIME, join_stimuli

__all__ = ["read_table"]


def read_table(
    source: object, brain: object, *, metric: Metric, ops: str = "**"
) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    """Read complete RDMs (op, stimulus, stimulus_b) and each region's ([subject,] stimulus, stimulus_b).

    Raises
    ------
    InputError
        If no operation is complete, or the brain data have a dim `time`.
    """
    rdms = read_rdms(source, metric=metric, ops=ops, passes=False, memory="4 GB", client=None, progress=False)
    rdms = rdms.isel({OP: ~rdms.isnull().any([STIMULUS, STIMULUS_B]).values})
    if not rdms.sizes[OP]:
        raise InputError("No operation has all distances: patterns are constant or contain NaN.")
    targets = read_targets(brain, metric=metric)
    for name, target in targets.items():
        if TIME in target.dims:
            raise InputError(f"Region {name!r} has a dim 'time'; choose a moment: brain.sel(time=...).")
    joined = {
        name: join_stimuli(rdms, target, names=("source", name or "brain"))[1]
        for name, target in targets.items()
    }
    return rdms, joined
