"""Recordings: each subject's averaged responses with their ceiling, and how they are laid side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from neurolens.brain import average_repetitions, by_subject, noise_ceiling, split_half
from neurolens.brain.responses import BrainData
from neurolens.errors import LabelError, check_choice, list_names
from neurolens.schema import NEUROID, REGION, SUBJECT, hash_array

__all__ = ["CeilingName", "Recording", "concatenate_ceilings", "neuroid_coords", "prepare_recordings"]

CeilingName = Literal["noise_ceiling", "split_half"]


@dataclass(frozen=True)
class Recording:
    """One subject's responses, ready to be predicted.

    Attributes
    ----------
    subject
        The key it was given under; "" for a single one.
    data
        DataArray (stimulus, neuroid), float64, averaged over repetitions.
    ceiling
        DataArray (neuroid) in units of r², made before averaging, or None where none was asked for.
    hash
        Of the responses as given.
    """

    subject: str
    data: xr.DataArray
    ceiling: xr.DataArray | None
    hash: str

    @property
    def what(self) -> str:
        """What to call the responses in a message."""
        return f"the responses of subject {self.subject!r}" if self.subject else "the responses"


def prepare_recordings(responses: BrainData, ceiling: CeilingName | None, *, seed: int) -> list[Recording]:
    """Check responses by subject, make ceilings, then average repetitions.

    Parameters
    ----------
    responses
        As `neurolens.brain.by_subject` takes them.
    ceiling
        Which ceiling, if any.
    seed
        Of the random halves of "split_half".

    Returns
    -------
    list of Recording
        In the order given.

    Raises
    ------
    InputError, LabelError
        As `neurolens.brain.by_subject`; also where a ceiling is asked for and nothing was repeated.
    """
    if ceiling is not None:
        check_choice(ceiling, ("noise_ceiling", "split_half"), "ceiling")
    return [
        Recording(
            subject=subject,
            data=average_repetitions(data).astype(np.float64),
            ceiling=_ceiling(data, ceiling, seed),
            hash=hash_array(data),
        )
        for subject, data in by_subject(responses).items()
    ]


def neuroid_coords(recordings: Sequence[Recording]) -> dict[str, tuple[str, np.ndarray[Any, Any]]]:
    """Return the coords of `neuroid`, subjects one after the other.

    Parameters
    ----------
    recordings
        At least one. A single coord `region` or `subject` counts for all of a recording's neuroids.

    Returns
    -------
    dict
        Name to (dim, values); with several recordings `subject` is their keys.

    Raises
    ------
    LabelError
        If recordings have different coords: a neuroid without a region among others with one would be lost.
    """
    columns = [_columns(recording) for recording in recordings]
    names = list(columns[0])
    for recording, own in zip(recordings, columns, strict=True):
        if set(own) != set(names):
            raise LabelError(
                f"Subject {recording.subject!r} has the neuroid coords {list_names(sorted(own))}, subject "
                f"{recordings[0].subject!r} has {list_names(sorted(names))}. Give all subjects the same ones."
            )
    return {name: (NEUROID, np.concatenate([own[name] for own in columns])) for name in names}


def concatenate_ceilings(recordings: Sequence[Recording]) -> xr.DataArray | None:
    """Lay the ceilings of subjects side by side.

    Parameters
    ----------
    recordings
        At least one, all with a ceiling or all without.

    Returns
    -------
    DataArray (neuroid) or None
        Attrs of the first; `n_averaged` is the list of all where subjects differ in it.
    """
    ceilings = [recording.ceiling for recording in recordings if recording.ceiling is not None]
    if not ceilings:
        return None
    counts = [ceiling.attrs["n_averaged"] for ceiling in ceilings]
    values = np.concatenate([ceiling.values for ceiling in ceilings])
    described = {key: ceilings[0].attrs[key] for key in ("method", "units")}
    return xr.DataArray(
        values,
        dims=NEUROID,
        attrs=described
        | {
            "long_name": f"{described['method']} on r2 of the mean over repetitions",
            "n_averaged": counts if len(set(counts)) > 1 else counts[0],
        },
    )


def _ceiling(data: xr.DataArray, name: CeilingName | None, seed: int) -> xr.DataArray | None:
    if name is None:
        return None
    return noise_ceiling(data) if name == "noise_ceiling" else split_half(data, seed=seed)


def _columns(recording: Recording) -> dict[str, np.ndarray[Any, Any]]:
    """Values of every coord of `neuroid` of one recording."""
    data = recording.data
    columns = {str(name): coord.values for name, coord in data.coords.items() if coord.dims == (NEUROID,)}
    for name in (REGION, SUBJECT):
        if name in data.coords and data.coords[name].ndim == 0:
            columns[name] = np.repeat(data.coords[name].values, data.sizes[NEUROID])
    if recording.subject:
        columns.setdefault(SUBJECT, np.repeat(recording.subject, data.sizes[NEUROID]))
        other = set(columns[SUBJECT].astype(str).tolist()) - {recording.subject}
        if other:
            raise LabelError(
                f"The responses given for subject {recording.subject!r} carry a coord 'subject' that says "
                f"{list_names(sorted(other))}. Mend the key or the coord."
            )
    return columns
