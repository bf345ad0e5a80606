"""Is one model more like a region than another: each model's operation chosen on other stimuli than those that test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import xarray as xr

from neurolens.comparison.sources import list_models
from neurolens.comparison.splits import average_subjects
from neurolens.comparison.table import read_table
from neurolens.errors import AddressError, InputError, check_choice, list_names, near_misses
from neurolens.numerics.bootstrap import RESAMPLINGS, Resampling
from neurolens.numerics.corrections import Correction
from neurolens.numerics.distances import Metric
from neurolens.numerics.similarity import MEASURES, Similarity
from neurolens.rsa.inference import infer
from neurolens.rsa.similarity import compare_rdms
from neurolens.schema import MODEL, OP, REGION, STIMULUS, STIMULUS_B, SUBJECT

__all__ = ["compare_models"]

MIN_STIMULI = 16  # half of them choose, half of them test


def compare_models(
    sources: Mapping[str, object],
    brain: object,
    *,
    chosen: Mapping[str, str] | None = None,
    metric: Metric = "correlation",
    similarity: Similarity = "rho-a",
    resample: Resampling = "stimulus",
    correction: Correction = "max",
    n_permutations: int = 1000,
    n_bootstraps: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Test all pairwise differences of models, by a paired bootstrap: every sample serves all models.

    Parameters
    ----------
    sources
        Name of a model -> source, as `compare` takes it.
    brain
        As `compare` takes it.
    chosen
        Name of a model -> operation that speaks for it, fixed before these data were seen: all stimuli test.
        Without it, the best operation of each model and region is chosen on a random half of the stimuli, and
        the other half tests.
    metric, similarity, correction, n_permutations, n_bootstraps, seed
        As in `compare`; the correction is over models, and over pairs of models.
    resample
        As `rsa.infer` takes it: "stimulus", or with subjects "dual" to speak of other subjects, too.

    Returns
    -------
    Dataset
        What `rsa.infer` gives of the chosen operations, over ([region,] model): `score`, `ci_low`, `ci_high`, `p`,
        ...; `difference`, `p_difference`, `p_difference_corrected` ([region,] model, model_b); `op_chosen`
        ([region,] model).

    Raises
    ------
    InputError
        If there are fewer than two models, or fewer than 16 stimuli to halve.
    AddressError
        If `chosen` names no operation of a model.

    References
    ----------
    Schütt et al. (2023), eLife 12:e82566, doi:10.7554/eLife.82566.

    Examples
    --------
    >>> from neurolens.rsa import rdm
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(24)]
    >>> near, far = (xr.DataArray(rng.random((24, 9)), {"stimulus": ids}, ("stimulus", "unit")) for _ in range(2))
    >>> models = {name: rdm({"fc": one}) for name, one in (("near", near), ("far", far))}
    >>> found = compare_models(models, near.rename(unit="neuroid"), n_bootstraps=99, n_permutations=99)
    >>> bool(found.difference.sel(model="near", model_b="far") > 0.5)
    True
    """
    check_choice(similarity, MEASURES, "similarity")
    check_choice(resample, RESAMPLINGS, "resample")
    models = list_models(sources)
    if len(models) < 2:
        raise InputError("Differences need at least two models: {'a': source, 'b': source}.")
    tables = {name: read_table(one, brain, metric=metric) for name, one in models.items()}
    regions = list(next(iter(tables.values()))[1])
    results = []
    for region in regions:
        rdms = {name: table[0] for name, table in tables.items()}
        target = next(iter(tables.values()))[1][region]
        names, kept = _choose(rdms, target, chosen, similarity, seed)
        ids = target[STIMULUS].values[kept]
        speakers = {
            name: rdms[name].sel({OP: names[name]}, drop=True).sel({STIMULUS: ids, STIMULUS_B: ids})
            for name in rdms
        }
        result = infer(
            {
                name: one.drop_vars([c for c in one.coords if not one[c].dims])
                for name, one in speakers.items()
            },
            target.sel({STIMULUS: ids, STIMULUS_B: ids}),
            method=similarity,
            resample=resample if target.sizes.get(SUBJECT, 1) > 1 else "stimulus",
            correction=correction,
            n_permutations=n_permutations,
            n_bootstraps=n_bootstraps,
            seed=seed,
        )
        results.append(result.assign(op_chosen=(MODEL, [names[name] for name in rdms])))
    attrs = results[0].attrs | {
        "chosen_on": "given" if chosen else "a random half of the stimuli; the other half tests"
    }
    joined = xr.concat(
        results, REGION, data_vars="all", coords="minimal", compat="override", combine_attrs="drop"
    )
    joined = joined.assign_coords({REGION: regions}).assign_attrs(attrs)
    return joined.isel({REGION: 0}).drop_vars(REGION) if regions == [""] else joined


def _choose(
    rdms: Mapping[str, xr.DataArray],
    target: xr.DataArray,
    chosen: Mapping[str, str] | None,
    similarity: Similarity,
    seed: int,
) -> tuple[dict[str, str], Any]:
    """Return the operation of each model, and the stimuli that are left to test."""
    n_stimuli = target.sizes[STIMULUS]
    if chosen is not None:
        for name, one in rdms.items():
            known = [str(op) for op in one[OP].values]
            if chosen.get(name) not in known:
                close = near_misses(str(chosen.get(name)), known)
                raise AddressError(
                    f"chosen[{name!r}]={chosen.get(name)!r} is no operation of it; near it: {list_names(close)}."
                )
        return dict(chosen), np.arange(n_stimuli)
    if n_stimuli < MIN_STIMULI:
        raise InputError(
            f"{n_stimuli} stimuli are too few to halve; at least {MIN_STIMULI}, or give chosen=."
        )
    order = np.random.default_rng(seed).permutation(n_stimuli)
    first, second = np.sort(order[: n_stimuli // 2]), np.sort(order[n_stimuli // 2 :])
    ids = target[STIMULUS].values[first]
    half = target.sel({STIMULUS: ids, STIMULUS_B: ids})
    names = {}
    for name, one in rdms.items():
        scores = average_subjects(
            compare_rdms(one.sel({STIMULUS: ids, STIMULUS_B: ids}), half, method=similarity)
        )
        names[name] = cast(str, one[OP].values[int(scores.argmax(OP))])
    return names, second
