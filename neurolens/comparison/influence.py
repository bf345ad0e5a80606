"""Which stimuli a score rests on."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurolens.comparison.splits import average_subjects
from neurolens.comparison.table import read_table
from neurolens.errors import InputError, check_choice
from neurolens.numerics.distances import Metric
from neurolens.numerics.similarity import MEASURES, Similarity
from neurolens.rsa.similarity import compare_rdms
from neurolens.schema import REGION, STIMULUS, STIMULUS_B, provenance

__all__ = ["find_influence"]

MIN_STIMULI = 5


def find_influence(
    source: object,
    brain: object,
    *,
    metric: Metric = "correlation",
    similarity: Similarity = "rho-a",
    ops: str = "**",
) -> xr.Dataset:
    """Leave out one stimulus after the other, and say how much the scores fall.

    Parameters
    ----------
    source, brain, metric, similarity, ops
        As `compare` takes them, of one model.

    Returns
    -------
    Dataset
        `score` (op[, region]) of all stimuli, as in `compare`; `influence` (op[, region], stimulus): this score
        minus that without the stimulus. A stimulus with a large one drives the score; a negative one lowers it.
        All metadata of stimuli are coords.

    Raises
    ------
    InputError
        If there are fewer than 5 stimuli.

    References
    ----------
    Cook (1977), Technometrics 19:15, doi:10.2307/1268249 (influence of single observations).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(9)]
    >>> layer = xr.DataArray(rng.random((9, 20)), {"stimulus": ids}, ("stimulus", "unit"))
    >>> find_influence({"fc": layer}, layer.rename(unit="neuroid")).influence.round(9).max().item()
    0.0
    """
    check_choice(similarity, MEASURES, "similarity")
    rdms, targets = read_table(source, brain, metric=metric, ops=ops)
    n_stimuli = rdms.sizes[STIMULUS]
    if n_stimuli < MIN_STIMULI:
        raise InputError(f"{n_stimuli} stimuli: leaving one out needs at least {MIN_STIMULI}.")
    everything = np.arange(n_stimuli)
    full, without = [], []
    for target in targets.values():
        full.append(_score(rdms, target, similarity, everything))
        parts = [_score(rdms, target, similarity, np.delete(everything, i)) for i in range(n_stimuli)]
        without.append(xr.concat(parts, STIMULUS, coords="minimal", compat="override"))
    score = xr.concat(full, REGION, coords="minimal", compat="override").transpose(..., REGION)
    rest = xr.concat(without, REGION, coords="minimal", compat="override").transpose(..., REGION, STIMULUS)
    coords = {name: coord for name, coord in rdms.coords.items() if coord.dims == (STIMULUS,)}
    result = xr.Dataset({"score": score, "influence": score - rest}).assign_coords(
        {REGION: list(targets), **coords}
    )
    for name in result.data_vars:
        result[name].attrs = {"units": similarity}
    parameters = {"similarity": similarity, "metric": metric}
    result.attrs = provenance("find_influence", parameters=parameters, inputs={})
    return result.isel({REGION: 0}).drop_vars(REGION) if list(targets) == [""] else result


def _score(
    rdms: xr.DataArray,
    target: xr.DataArray,
    similarity: Similarity,
    kept: np.ndarray[tuple[int], np.dtype[np.intp]],
) -> xr.DataArray:
    chosen = {STIMULUS: kept, STIMULUS_B: kept}
    return average_subjects(compare_rdms(rdms.isel(chosen), target.isel(chosen), method=similarity))
