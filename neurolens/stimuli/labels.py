"""Ids and metadata of stimuli: what may be a label, and how a table is brought to the order of the ids."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from neurolens import schema
from neurolens.errors import StimulusError, list_names

__all__ = ["check_ids", "name_files", "require_order", "split_frame", "tabulate"]

T = TypeVar("T")

# A column of these names would collide with a dim or a coord of activations and results.
RESERVED = frozenset(
    {
        *(schema.STIMULUS, schema.STIMULUS_B, schema.OP, schema.PASS, schema.MODEL, schema.REGION),
        *(schema.SUBJECT, schema.NEUROID, schema.FOLD, schema.TIME, schema.CHANNEL, schema.Y, schema.X),
        *(schema.T, schema.TOKEN, schema.FEATURE, schema.UNIT, schema.HEAD, schema.QUERY, schema.KEY),
        *schema.OP_COORDS,
    }
)


def check_ids(ids: Iterable[object], n_stimuli: int) -> tuple[str, ...]:
    """Return ids as text, one a stimulus, none empty, none repeated; raise StimulusError otherwise."""
    if isinstance(ids, str):
        raise StimulusError(f"ids must be a sequence, one a stimulus; this is the single text {ids!r}.")
    labels = require_order(ids, "ids")
    gaps = [k for k, name in enumerate(labels) if name is None or name != name]  # NaN
    if gaps:
        raise StimulusError(
            f"The id of stimulus {gaps[0]} is {labels[gaps[0]]!r}; every stimulus needs a name."
        )
    names = tuple(map(str, labels))
    if n_stimuli == 0:
        raise StimulusError("There are no stimuli here; a set needs at least one.")
    if len(names) != n_stimuli:
        raise StimulusError(f"There are {n_stimuli} stimuli but {len(names)} ids; give one id a stimulus.")
    repeated = [f"{name} (x{count})" for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise StimulusError(
            f"Stimulus ids must be unique: brain data are joined on them. Repeated: {list_names(repeated)}."
        )
    if "" in names:
        raise StimulusError(f"The id of stimulus {names.index('')} is empty; every stimulus needs a name.")
    foreign = [name for name in names if not schema.is_storable(name)]
    if foreign:
        raise StimulusError(
            f"The id {foreign[0]!r} holds a zero byte or half a character, which no file keeps. Is it the name of a "
            "file in another encoding? Rename that, or give ids (from_files)."
        )
    return names


def require_order(values: Iterable[T], what: str) -> list[T]:
    """Return values as a list; raise StimulusError for a set, whose order is chance."""
    if isinstance(values, Set):
        raise StimulusError(
            f"{what} is a {type(values).__name__}, which has no order, and each belongs to one stimulus. Give a list."
        )
    return list(values)


def name_files(paths: Sequence[Path], root: Path | None = None) -> list[str]:
    """Name files by their path below `root` without extension; those that would share a name keep theirs."""
    if root is None:
        root = Path(os.path.commonpath([path.parent.absolute() for path in paths])) if paths else Path()
    relative = [Path(os.path.relpath(path.absolute(), root.absolute())) for path in paths]
    short = [path.with_suffix("").as_posix() for path in relative]
    counts = Counter(short)
    return [
        name if counts[name] == 1 else path.as_posix() for name, path in zip(short, relative, strict=True)
    ]


def tabulate(metadata: pd.DataFrame | Mapping[str, Any] | None, ids: tuple[str, ...]) -> pd.DataFrame:
    """Return metadata as plain columns, indexed by `ids`; raise StimulusError if they don't fit."""
    index = pd.Index(ids, name=schema.STIMULUS)
    if metadata is None:
        return pd.DataFrame(index=index)
    if isinstance(metadata, pd.DataFrame):
        frame = _align(metadata, ids)
        columns = {str(name): frame.iloc[:, k] for k, name in enumerate(frame.columns)}
    else:
        columns = {
            str(name): pd.Series(require_order(values, f"The metadata column {name!r}"))
            for name, values in metadata.items()
        }
    for name, column in columns.items():
        if name in RESERVED:
            raise StimulusError(
                f"The metadata column {name!r} has the name of a dim or coordinate of results; "
                f"rename it, e.g. to 'stimulus_{name}'."
            )
        if len(column) != len(ids):
            raise StimulusError(
                f"The metadata column {name!r} has {len(column)} values for {len(ids)} stimuli."
            )
    return pd.DataFrame({name: _plain_values(column) for name, column in columns.items()}, index=index)


def split_frame(frame: pd.DataFrame, column: str, ids: str | None) -> tuple[list[str], pd.DataFrame]:
    """Return the paths in `column` and the rest of the table; raise StimulusError where one is missing."""
    used = [column] if ids is None else [column, ids]
    for name in used:
        if name not in frame.columns:
            raise StimulusError(
                f"The table has no column {name!r}; it has {list_names(map(str, frame.columns), 20)}."
            )
    gaps = frame.index[frame[column].isna()].tolist()
    if gaps:
        raise StimulusError(f"The column {column!r} has no path in the rows {list_names(gaps)}.")
    return [str(path) for path in frame[column]], frame.drop(columns=used).reset_index(drop=True)


def _align(frame: pd.DataFrame, ids: tuple[str, ...]) -> pd.DataFrame:
    """Join a table by its index where that holds labels; go by order where it only counts the rows."""
    if isinstance(frame.index, pd.RangeIndex):
        return frame
    labels = frame.index.astype(str)
    missing = [name for name in ids if name not in labels]
    if missing:
        raise StimulusError(
            f"The metadata table is indexed by label, but has no row for {list_names(missing)}. "
            "Its index must hold the stimulus ids; to go by order, pass frame.reset_index(drop=True)."
        )
    if labels.has_duplicates:
        raise StimulusError(
            f"The metadata table repeats the row {list_names(labels[labels.duplicated()].unique())}."
        )
    return frame.set_axis(labels, axis="index").loc[list(ids)]


def _plain_values(column: pd.Series[Any]) -> np.ndarray[Any, Any]:
    """Reduce a column to what any file can hold: bool, int, float, datetime or text ("" if missing)."""
    missing = column.isna()
    if pd.api.types.is_bool_dtype(column.dtype) and not missing.any():
        return column.to_numpy(dtype=bool)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        is_integer = pd.api.types.is_integer_dtype(column.dtype) and not missing.any()
        return column.to_numpy(dtype=np.int64 if is_integer else np.float64)
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return column.to_numpy()
    texts = ["" if gone else str(value) for value, gone in zip(column, missing, strict=True)]
    return np.array(texts, dtype=object)
