"""Profiles as tables of numbers: what operations can be coloured by, and what the plot shows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.errors import InputError, NeurolensWarning, list_names
from neurolens.explorer.networks import Finder
from neurolens.schema import OP, SUBJECT

MOST_NUMBERS = 1_000_000  # of all profiles together: 4 bytes each, and a third more as text

Table = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scores:
    """One profile.

    Attributes
    ----------
    name, measure
        What it is called, and what its numbers are.
    addresses, positions
        Of each row: its `op`, and the operation of the page that this is.
    dims
        What can be chosen: dim -> labels (region, model, time ...).
    tables
        "score", "p", "p_corrected", "ci_low", "ci_high" as far as they are there: shape (n_choices, n_rows), choices
        in C order over `dims`; "ceiling_low", "ceiling_high": shape (n_choices,).
    subjects
        Labels of the subjects.
    by_subject
        array, shape (n_choices, n_subjects, n_rows).
    attrs
        What the profile says of how it was made.
    """

    name: str
    measure: str
    addresses: tuple[str, ...]
    positions: tuple[int, ...]
    dims: dict[str, tuple[str, ...]]
    tables: dict[str, Table]
    subjects: tuple[str, ...] = ()
    by_subject: Table | None = None
    attrs: dict[str, str] = field(default_factory=dict)

    @property
    def n_numbers(self) -> int:
        """How many numbers it holds."""
        return sum(t.size for t in self.tables.values()) + (
            0 if self.by_subject is None else self.by_subject.size
        )


Profile = xr.Dataset | xr.DataArray
_OF_OP = ("score", "p", "p_corrected", "ci_low", "ci_high")
_OF_CHOICE = ("ceiling_low", "ceiling_high")
_ATTRS = ("p_of", "correction_of", "ceiling_kind", "ci_of", "n_stimuli", "n_permutations", "model")


def read_profiles(profile: Profile | Mapping[str, Profile] | None, finder: Finder) -> tuple[Scores, ...]:
    """Read one profile, or several by name.

    Raises
    ------
    InputError
        If something is no profile, none of its operations is among those of the page, or there are too many numbers.
    """
    if profile is None:
        return ()
    if isinstance(profile, xr.Dataset | xr.DataArray):
        profile = {_name_profile(profile): profile}
    if not isinstance(profile, Mapping):
        raise InputError(
            f"profile= cannot be a {type(profile).__name__}. Give a Profile of nl.compare, a DataArray over `op`, or "
            "a mapping from names to these."
        )
    found = tuple(_read(str(name), one, finder) for name, one in profile.items())
    total = sum(scores.n_numbers for scores in found)
    if total > MOST_NUMBERS:
        raise InputError(
            f"The profiles hold {total:,} numbers; a page takes {MOST_NUMBERS:,}. Choose regions, subjects or times "
            "first: profile.sel(region=[...]), profile.drop_vars('score_subject')."
        )
    return found


def _name_profile(profile: Profile) -> str:
    attrs = profile.attrs
    named = str(profile.name) if isinstance(profile, xr.DataArray) and profile.name else ""
    words = (attrs.get("similarity") or attrs.get("method"), attrs.get("model"))
    return named or " · ".join(str(word) for word in words if word) or "profile"


def _read(name: str, profile: Profile, finder: Finder) -> Scores:
    dataset = profile.to_dataset(name="score") if isinstance(profile, xr.DataArray) else profile
    if not isinstance(dataset, xr.Dataset) or "score" not in dataset or OP not in dataset["score"].dims:
        held = list_names(dataset.data_vars) if isinstance(dataset, xr.Dataset) else type(dataset).__name__
        raise InputError(
            f"profile={name!r} is no profile: it has {held}; expected `score` over {OP!r}, as nl.compare gives it."
        )
    if OP not in dataset.coords:
        raise InputError(f"profile={name!r} has no labels on {OP!r}: assign_coords(op=addresses).")
    addresses, positions = _find_rows(name, dataset, finder)
    score = dataset["score"]
    dims = {str(dim): _label(dataset, str(dim)) for dim in score.dims if dim != OP}
    _check_dims(name, dims)
    chosen = dataset.isel({OP: [k for k, _ in positions]})
    tables = {v: _as_table(chosen[v], dims, (OP,)) for v in _OF_OP if v in dataset}
    tables |= {v: _as_table(chosen[v], dims, ()) for v in _OF_CHOICE if v in dataset}
    by_subject = chosen.get("score_subject")
    return Scores(
        name=name,
        measure=_say_measure(score, dataset),
        addresses=tuple(addresses[k] for k, _ in positions),
        positions=tuple(position for _, position in positions),
        dims=dims,
        tables=tables,
        subjects=() if by_subject is None else _label(dataset, SUBJECT),
        by_subject=None if by_subject is None else _as_table(by_subject, dims, (SUBJECT, OP)),
        attrs={key: str(dataset.attrs[key]) for key in _ATTRS if key in dataset.attrs},
    )


def _find_rows(name: str, dataset: xr.Dataset, finder: Finder) -> tuple[list[str], list[tuple[int, int]]]:
    """Return all names of `op`, and for those that are found their number and their position on the page."""
    addresses = [str(op) for op in dataset[OP].values.tolist()]
    known = finder.find_all(addresses)
    missing = [address for address in addresses if address not in known]
    if not known:
        raise InputError(
            f"profile={name!r} is of other operations: {list_names(missing, 3)} are not among those of the page. "
            "Is it of the same model?"
        )
    if missing:
        warnings.warn(
            f"{len(missing)} operations of the profile {name!r} are not on the page: {list_names(missing, 5)}.",
            NeurolensWarning,
            stacklevel=5,
        )
    rows = [(k, known[address]) for k, address in enumerate(addresses) if address in known]
    return addresses, sorted(rows, key=lambda row: row[1])


def _check_dims(name: str, dims: Mapping[str, tuple[str, ...]]) -> None:
    wrong = [dim for dim in dims if dim in ("neuroid", "fold", "repetition", "stimulus")]
    if wrong:
        raise InputError(
            f"profile={name!r} has a score for each {wrong[0]}, and the page shows one an operation. Average first: "
            f"profile.mean({wrong[0]!r}), or within regions: profile.groupby('region').mean()."
        )


def _label(dataset: xr.Dataset, dim: str) -> tuple[str, ...]:
    values = dataset[dim].values.tolist() if dim in dataset.coords else range(dataset.sizes[dim])
    return tuple(str(value) for value in values)


def _as_table(array: xr.DataArray, dims: Mapping[str, Any], last: tuple[str, ...]) -> Table:
    """Return values, shape (n_choices, *last); what does not depend on a choice is repeated for each."""
    extra = [str(dim) for dim in array.dims if dim not in dims and dim not in last]
    if extra:
        raise InputError(
            f"{array.name!r} of a profile has the dim {extra[0]!r}, which its score does not have."
        )
    lacking = {dim: len(labels) for dim, labels in dims.items() if dim not in array.dims}
    ordered = array.expand_dims(lacking).transpose(*dims, *last)
    return ordered.values.astype(np.float32).reshape(
        math.prod(map(len, dims.values())), *ordered.shape[len(dims) :]
    )


def _say_measure(score: xr.DataArray, dataset: xr.Dataset) -> str:
    attrs = dataset.attrs
    words = score.attrs.get("long_name") or attrs.get("score_of") or attrs.get("similarity") or "score"
    return str(words).split(";")[0]
