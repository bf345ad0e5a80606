"""Results: into files (.nc, .csv, .json) and back."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
import xarray as xr

from neurolens.cli.tables import print_table, replace_file, write_table
from neurolens.encoding import summarize_regions
from neurolens.errors import InputError, check_choice, list_names
from neurolens.schema import FOLD, NEUROID, OP, REGION, STIMULUS, STIMULUS_B, SUBJECT

SUFFIXES = (".nc", ".csv", ".json")


def check_out(path: Path) -> None:
    """Raise InputError before anything is computed, if results can't be written to a file of that name."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out {path}: results are written as .nc (which keeps all), .csv or .json.")
    if path.is_dir():
        raise InputError(f"--out {path} is a folder; name a file.")


def write_result(result: xr.Dataset | xr.DataArray, path: Path) -> None:
    """Write a result: .nc keeps all of it, .csv and .json have one row a number."""
    if path.suffix.lower() == ".nc":
        plain = result.to_dataset(name="rdm") if isinstance(result, xr.DataArray) else result
        replace_file(path, lambda new: _plain_attrs(plain).to_netcdf(new))
    else:
        write_table(tabulate(result), path, result.attrs)


def tabulate(result: xr.Dataset | xr.DataArray) -> pd.DataFrame:
    """Return one row a number: a pair of stimuli once; without the scores of subjects, which have their own dim."""
    if isinstance(result, xr.DataArray):
        n = result.sizes[STIMULUS]
        kept = np.triu(np.ones((n, n), dtype=bool), 1)
        rows = result.where(xr.DataArray(kept, dims=(STIMULUS, STIMULUS_B)))
        frame = rows.to_dataframe("rdm").reset_index()
        upper = np.broadcast_to(kept, (len(frame) // (n * n) or 1, n, n)).ravel()
        own = [
            str(name) for name, coord in result.coords.items() if set(coord.dims) <= {STIMULUS, STIMULUS_B}
        ]
        extra = [name for name in own if name not in (STIMULUS, STIMULUS_B)]
        return frame[upper].drop(columns=[name for name in extra if name in frame])
    lead = {OP, REGION, NEUROID, FOLD}
    names = [name for name, array in result.data_vars.items() if set(map(str, array.dims)) <= lead]
    dims = [str(dim) for dim in result[names].dims]
    return result[names].to_dataframe(dim_order=dims).reset_index()


def read_result(path: Path) -> xr.Dataset:
    """Read what `rdm`, `encode` or `compare` wrote as .nc."""
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if path.suffix.lower() != ".nc":
        raise InputError(f"{path} can't be read back: .nc keeps all of a result, .csv and .json do not.")
    try:
        return xr.load_dataset(path)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is no netCDF file that can be read: {error}") from error


def is_rdms(result: xr.Dataset) -> bool:
    """Tell RDMs from scores."""
    return STIMULUS_B in result.dims


def as_rdms(result: xr.Dataset, name: str) -> xr.DataArray:
    """Return the one array of RDMs of a file."""
    arrays = [array for array in result.data_vars.values() if STIMULUS_B in array.dims]
    if len(arrays) != 1:
        raise InputError(
            f"{name} holds {len(arrays)} arrays of RDMs; expected one, as `neurolens rdm` writes."
        )
    return arrays[0]


def as_profile(result: xr.Dataset, name: str) -> xr.Dataset:
    """Return scores over `op` (and `region`): of `compare` as they are, of `encode` summarized by region."""
    if "score" not in result:
        raise InputError(
            f"{name} has {list_names(result.data_vars)} and no `score`: it is not of `compare` or `encode`."
        )
    if FOLD not in result["score"].dims:
        return result
    scores = summarize_regions(result)
    if SUBJECT not in scores.dims:
        return xr.Dataset({"score": scores}, attrs=result.attrs)
    mean = scores.mean(SUBJECT, keep_attrs=True)
    return xr.Dataset({"score": mean, "score_subject": scores}, attrs=result.attrs)


def choose_scores(result: xr.Dataset, regions: Sequence[str] | None, name: str) -> xr.DataArray:
    """Return the scores of one region over `op`."""
    score = as_profile(result, name)["score"]
    if REGION not in score.dims:
        if regions:
            raise InputError(f"--region {regions[0]}: {name} names no regions.")
        return score
    there = [str(label) for label in score[REGION].values]
    wanted = list(regions) if regions else there
    for region in wanted:
        check_choice(region, there, "region")
    if len(wanted) != 1:
        raise InputError(f"{name} has the regions {list_names(there, 20)}; choose one: --region.")
    return score.sel({REGION: wanted[0]})


def print_best(profile: xr.Dataset, n: int) -> None:
    """Print the operations with the highest scores, a table for each region."""
    regions = [str(label) for label in profile[REGION].values] if REGION in profile.dims else [""]
    for region in regions:
        one = profile.sel({REGION: region}) if region else profile
        score = one["score"].values
        order = [k for k in np.argsort(-score, kind="stable") if not math.isnan(score[k])][:n]
        columns = [name for name in ("score", "p", "p_corrected") if name in one]
        if "depth" in one.coords and one["depth"].notnull().any():  # what joins operations has none
            columns = ["depth", *columns]
        best = pd.DataFrame({"op": one[OP].values[order], **{c: one[c].values[order] for c in columns}})
        typer.echo(f"\n{_head(one, region)}")
        print_table(best, "text")


def _head(one: xr.Dataset, region: str) -> str:
    ceiling = ""
    if "ceiling_low" in one and np.isfinite(one["ceiling_low"]):
        ceiling = f"noise ceiling {float(one['ceiling_low']):.3g} to {float(one['ceiling_high']):.3g}"
    return ", ".join(part for part in (region, f"{one.sizes[OP]} operations", ceiling) if part)


def _plain_attrs(result: xr.Dataset) -> xr.Dataset:
    """Write attrs that netCDF can't hold (mappings, truth values, nothing) as JSON."""
    plain = result.copy()
    items: list[Any] = [plain, *plain.variables.values()]
    for item in items:
        item.attrs = {str(key): _plain(value) for key, value in item.attrs.items()}
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return str(value)
    numbers = np.asarray(value)
    if numbers.dtype.kind in "iuf" and numbers.ndim < 2 and numbers.size:
        return value
    listed = numbers.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return json.dumps(listed, default=str, ensure_ascii=False)
