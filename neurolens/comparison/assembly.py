"""From what was found for each region and moment to one labelled Profile."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurolens.comparison.targets import NO_REGION
from neurolens.schema import MODEL, OP, REGION, SUBJECT, TIME

__all__ = ["assemble", "label_models", "stack_twins"]

SEED = "seed"
TOLD = ("n_permutations", "p_of", "ceiling_kind", "ci_of", "score_of", "units")
Key = tuple[str, object]


def assemble(
    found: Mapping[Key, xr.Dataset], targets: Mapping[Key, xr.DataArray], rows: Any, attrs: Mapping[Any, Any]
) -> xr.Dataset:
    """Join the scores of all regions and moments.

    Parameters
    ----------
    found
        (region, time) -> Dataset with `score` (op) and what belongs to it.
    targets
        The brain data of each, to count subjects.
    rows
        What has `op` and its coords.
    attrs
        Of the profile; what the scores say of themselves is added.
    """
    regions = list(dict.fromkeys(region for region, _ in found))
    times = list(dict.fromkeys(time for _, time in found))
    subjects = _list_subjects(found)
    coords = {name: coord.variable for name, coord in rows.coords.items() if coord.dims == (OP,)}
    bare = {key: _strip(one, subjects) for key, one in found.items()}
    of_regions = []
    for region in regions:
        moments = [bare[region, time] for time in times if (region, time) in bare]
        of_regions.append(_stack(moments, TIME) if times != [None] else moments[0])
    profile = _stack(of_regions, REGION)
    profile = profile.assign_coords({REGION: regions, **coords})
    if times != [None]:
        profile = profile.assign_coords({TIME: times})
    counts = [_count_subjects(found, targets, region) for region in regions]
    profile = profile.assign_coords(n_subjects=(REGION, counts))
    told = {name: value for name, value in next(iter(found.values())).attrs.items() if name in TOLD}
    profile.attrs = {**attrs, **told}
    _name_variables(profile)
    order = [dim for dim in ("split", OP, REGION, TIME, SUBJECT) if dim in profile.dims]
    profile = profile.transpose(*order)
    return profile.isel({REGION: 0}).drop_vars(REGION) if regions == [NO_REGION] else profile


def _strip(one: xr.Dataset, subjects: list[Any]) -> xr.Dataset:
    """Keep variables without coords besides op and subject, whose labels all regions then share."""
    kept = one.drop_vars([name for name in one.coords if name not in (OP, SUBJECT)], errors="ignore")
    if SUBJECT in kept.dims:
        return kept.reindex({SUBJECT: subjects})
    if subjects:
        nothing = kept["score"].expand_dims({SUBJECT: subjects}, axis=-1) * np.nan
        return kept.assign(score_subject=nothing)
    return kept


def _list_subjects(found: Mapping[Key, xr.Dataset]) -> list[Any]:
    named = [
        one["score_subject"][SUBJECT].values.tolist() for one in found.values() if "score_subject" in one
    ]
    return list(dict.fromkeys(label for labels in named for label in labels))


def _count_subjects(found: Mapping[Key, xr.Dataset], targets: Mapping[Key, xr.DataArray], region: str) -> int:
    for (name, time), one in found.items():
        if name == region and "score_subject" in one:
            return int(one["score_subject"].notnull().any(OP).sum()) or targets[name, time].sizes.get(
                SUBJECT, 0
            )
    return 0


def _stack(parts: Sequence[xr.Dataset], dim: str) -> xr.Dataset:
    return xr.concat(
        parts, dim, data_vars="all", coords="minimal", compat="override", join="exact", combine_attrs="drop"
    )


def _name_variables(profile: xr.Dataset) -> None:
    units = profile.attrs.get("units", "")
    names = {
        "score": "score_of",
        "p": "p_of",
        "p_corrected": "correction_of",
        "ci_low": "ci_of",
        "ci_high": "ci_of",
    }
    for name in profile.data_vars:
        profile[name].attrs = {"units": units} if not str(name).startswith("p") else {}
        if name in names:
            profile[name].attrs["long_name"] = str(profile.attrs[names[str(name)]])


def stack_twins(profile: xr.Dataset, scores: Sequence[xr.DataArray], seed: int) -> xr.Dataset:
    """Add the scores of untrained twins, and the band from the least to the largest."""
    plain = [
        score.drop_vars([name for name in score.coords if name not in (OP, REGION, TIME)]) for score in scores
    ]
    stacked = xr.concat([one.reindex({OP: profile[OP]}) for one in plain], SEED, join="exact")
    stacked = stacked.assign_coords({SEED: np.arange(seed, seed + len(scores))})
    attrs = {"units": profile["score"].attrs["units"], "long_name": "score of an untrained twin"}
    return profile.assign(
        score_untrained=stacked.assign_attrs(attrs),
        untrained_low=stacked.min(SEED).assign_attrs(attrs),
        untrained_high=stacked.max(SEED).assign_attrs(attrs),
    )


def label_models(profiles: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Lay the profiles of several models on a dim `model`; an operation that one lacks is NaN there."""
    if list(profiles) == [""]:
        return profiles[""]
    ops = list(dict.fromkeys(op for one in profiles.values() for op in one[OP].values.tolist()))
    parts = []
    for one in profiles.values():
        own = [name for name, coord in one.coords.items() if coord.dims == (OP,) and name != OP]
        loose = one.reset_coords(own)
        texts = {name: "" for name in own if one[name].dtype.kind in "OUTS"}
        parts.append(
            loose.reindex(
                {OP: ops}, fill_value={**{str(k): v for k, v in texts.items()}, **_fill(loose, texts)}
            )
        )
    names = list(
        dict.fromkeys(
            str(name) for one in profiles.values() for name in one.coords if one[name].dims == (OP,)
        )
    )
    joined = xr.concat(
        parts,
        MODEL,
        join="exact",
        data_vars="all",
        coords="minimal",
        compat="override",
        combine_attrs="drop_conflicts",
    )
    coords: dict[Hashable, Any] = {MODEL: list(profiles)}
    return joined.assign_coords(coords).set_coords([name for name in names if name != OP and name in joined])


def _fill(loose: xr.Dataset, texts: Mapping[Any, str]) -> dict[str, Any]:
    """NaN where there is no operation: whole numbers become floats."""
    return {str(name): np.nan for name in loose.data_vars if name not in texts}
