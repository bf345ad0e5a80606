"""Summaries: scores as a share of what noise leaves to explain, and one number a region."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.errors import (
    InputError,
    LabelError,
    NeurolensWarning,
    check_choice,
    check_name,
    is_between,
    list_names,
)
from neurolens.schema import FOLD, NEUROID, REGION, SUBJECT, require_dims, require_labels

__all__ = ["SUMMARIES", "Summary", "group_neuroids", "normalize_scores", "summarize_regions"]

Summary = Literal["median", "fold-median", "ratio"]
Table = NDArray[np.float64]


def normalize_scores(
    result: xr.Dataset, ceiling: xr.DataArray | None = None, *, floor: float = 0.05
) -> xr.DataArray:
    """Divide scores by the noise ceiling: ``r / sqrt(c)``, ``r2 / c`` or ``signed_r2 / c``.

    c bounds r² of the responses that were predicted (the mean over repetitions). Nothing is capped: an estimate
    can exceed 1.

    Parameters
    ----------
    result
        Of `encode`.
    ceiling
        DataArray (neuroid) with attrs["units"] "r2"; by default the ceiling in `result`.
    floor
        Neuroids whose ceiling is below this, or negative, have too little signal to divide by: NaN, and a
        warning counts them.

    Returns
    -------
    DataArray ([op,] neuroid, fold), float64
        attrs: units ("share of the ceiling"), score, ceiling (its method), ceiling_floor.

    Raises
    ------
    InputError
        If `result` is no Dataset of scores, there is no ceiling, it is not in units of r2, or `floor` is not
        positive.
    LabelError
        If the ceiling is of other neuroids.

    References
    ----------
    Schoppe et al., Frontiers in Computational Neuroscience 2016, doi:10.3389/fncom.2016.00010.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> scores = xr.Dataset({"score": (("neuroid", "fold"), [[0.4]], {"units": "r", "score": "pearson"})})
    >>> normalize_scores(scores, xr.DataArray([0.64], dims="neuroid", attrs={"units": "r2"})).item()
    0.5
    """
    if not (isinstance(result, xr.Dataset) and "score" in result):
        raise InputError(
            f"Scores to normalise are the Dataset that encode gives; got a {type(result).__name__}."
        )
    ceiling = result.get("ceiling") if ceiling is None else ceiling
    if ceiling is None:
        raise InputError(
            'There is no ceiling to normalise by. Ask for one, encode(..., ceiling="noise_ceiling") with single '
            "trials on the dim 'repetition', or give ceiling=."
        )
    require_labels(ceiling, "The ceiling to normalise by")
    if not is_between(floor, 0, np.inf):
        raise InputError(f"floor={floor!r}: give the smallest ceiling that is divided by, above 0.")
    units = ceiling.attrs.get("units")
    if units != "r2":
        raise InputError(
            f"The ceiling has the units {units!r}; give one that bounds r2 (attrs['units'] = 'r2')."
        )
    _check_neuroids(result, ceiling)
    low = ceiling.values < floor
    if low.any():
        warnings.warn(
            f"{int(low.sum())} of {low.size} neuroids have a ceiling below {floor:g} "
            f"({int((ceiling.values < 0).sum())} of them below 0) and no normalised score: NaN.",
            NeurolensWarning,
            stacklevel=2,
        )
    score = result["score"]
    kept = ceiling.where(ceiling >= floor)
    normalised = score / (np.sqrt(kept) if score.attrs["units"] == "r" else kept)
    attrs = {"units": "share of the ceiling", "score": score.attrs.get("score", ""), "ceiling_floor": floor}
    attrs["ceiling"] = str(ceiling.attrs.get("method", "given"))
    return normalised.assign_attrs(attrs | {"long_name": f"{attrs['score']} / ceiling"}).rename("score")


def summarize_regions(
    result: xr.Dataset | xr.DataArray, *, how: Summary = "median", by: str = REGION
) -> xr.DataArray:
    """Give one number for each operation and region (and subject, where there are several).

    Parameters
    ----------
    result
        Of `encode`, or of `normalize_scores`.
    how
        "median": over neuroids, of each one's mean over folds. "fold-median": over neuroids within each fold,
        then the mean over folds (Brain-Score). "ratio": mean r2 / mean ceiling over neuroids, which lets
        neuroids count by their signal; it needs a `result` with scores in units of r2 and a ceiling.
    by
        A coord of `neuroid`.

    Returns
    -------
    DataArray ([op,] [region,] [subject]), float64
        Neuroids with NaN are left out; coord `n_neuroids` ([region,] [subject]) counts the others. NaN where a
        subject has no neuroid of a region. attrs["summary"] says how it was made.

    Raises
    ------
    InputError
        If `how` is unknown, or "ratio" lacks a ceiling or r2.
    LabelError
        If `by` is no coord of `neuroid`.

    Examples
    --------
    >>> import xarray as xr
    >>> coords = {"region": ("neuroid", ["V1", "V1", "IT"])}
    >>> scores = xr.DataArray([[0.1], [0.2], [0.6]], coords, dims=("neuroid", "fold"))
    >>> summarize_regions(scores).values.round(2).tolist()
    [0.15, 0.6]
    """
    check_choice(how, SUMMARIES, "how")
    scores: Any = result["score"] if isinstance(result, xr.Dataset) and "score" in result else result
    require_dims(scores, FOLD, NEUROID, what="A summary of scores (the result of encode)")
    ceiling = _read_ceiling(result, scores) if how == "ratio" else None
    names, members = group_neuroids(scores, by)
    values = scores.transpose(..., NEUROID, FOLD).values
    cells = [
        SUMMARIES[how](values[..., rows, :], None if ceiling is None else ceiling[rows]) for rows in members
    ]
    known = scores.notnull().any([dim for dim in scores.dims if dim != NEUROID]).values
    counts = [int(known[rows].sum()) for rows in members]
    return _unstack(scores, names, cells, counts).assign_attrs(
        {key: scores.attrs[key] for key in ("units", "score") if key in scores.attrs}
        | {
            "summary": DESCRIPTIONS[how],
            "long_name": f"{DESCRIPTIONS[how]} of {scores.attrs.get('long_name', 'scores')}",
        }
    )


def group_neuroids(array: xr.DataArray, by: str) -> tuple[dict[str, list[Any]], list[NDArray[np.intp]]]:
    """Find the neuroids of each region, and of each subject in it where there are several.

    Parameters
    ----------
    array
        DataArray (..., neuroid).
    by
        A coord of `neuroid`; "region" may be missing.

    Returns
    -------
    tuple
        Names of each dim (region, subject; those that there are), and the positions of every combination, the
        last dim fastest.

    Raises
    ------
    LabelError
        If `by` is no coord of `neuroid`.
    """
    check_name(by, "by", "coord of 'neuroid'")
    known = {str(name) for name, coord in array.coords.items() if coord.dims == (NEUROID,)}
    if by not in known and by != REGION:
        raise LabelError(f"by={by!r} is no coord of 'neuroid'; there are {list_names(sorted(known))}.")
    dims = [name for name in (by, SUBJECT) if name in known and (name == by or by != SUBJECT)]
    names = {name: list(dict.fromkeys(array.coords[name].values.tolist())) for name in dims}
    members = [np.ones(array.sizes[NEUROID], dtype=bool)]
    for name, labels in names.items():
        members = [rows & (array.coords[name].values == label) for rows in members for label in labels]
    return names, [np.flatnonzero(rows) for rows in members]


def _unstack(
    scores: xr.DataArray, names: dict[str, list[Any]], cells: list[Table], counts: list[int]
) -> xr.DataArray:
    """Lay cells out on their dims."""
    lead = [str(dim) for dim in scores.dims if dim not in (NEUROID, FOLD)]
    sizes = [len(labels) for labels in names.values()]
    values = np.stack(cells, axis=-1).reshape([scores.sizes[dim] for dim in lead] + sizes)
    coords: dict[Any, Any] = {
        name: coord.variable
        for name, coord in scores.coords.items()
        if {str(d) for d in coord.dims} <= set(lead)
    }
    coords |= names | {"n_neuroids": (list(names), np.array(counts).reshape(sizes))}
    return xr.DataArray(values, coords, [*lead, *names], name="score")


def _median(scores: Table, _: Table | None) -> Table:
    return _reduce(np.nanmedian, _reduce(np.nanmean, scores))


def _fold_median(scores: Table, _: Table | None) -> Table:
    return _reduce(np.nanmean, _reduce(np.nanmedian, scores.swapaxes(-1, -2)))


def _ratio(scores: Table, ceiling: Table | None) -> Table:
    assert ceiling is not None
    means = _reduce(np.nanmean, scores)
    known = ~np.isnan(means) & ~np.isnan(ceiling)
    with np.errstate(invalid="ignore", divide="ignore"):
        top = np.where(known, means, 0).sum(axis=-1)
        bottom = np.where(known, ceiling, 0).sum(axis=-1)
        return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), np.nan)


def _reduce(function: Callable[..., Table], values: Table) -> Table:
    """Reduce the last axis, NaN left out; NaN, without numpy's warning, where nothing is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)
        return (
            np.asarray(function(values, axis=-1)) if values.shape[-1] else np.full(values.shape[:-1], np.nan)
        )


def _read_ceiling(result: xr.Dataset | xr.DataArray, scores: xr.DataArray) -> Table:
    if not isinstance(result, xr.Dataset) or "ceiling" not in result or scores.attrs.get("units") != "r2":
        raise InputError(
            'how="ratio" divides mean r2 by the mean ceiling: give the Dataset of encode(..., score="r2", '
            'ceiling="noise_ceiling"), not normalised.'
        )
    values: Table = result["ceiling"].values
    return values


def _check_neuroids(result: xr.Dataset, ceiling: xr.DataArray) -> None:
    """Raise LabelError unless both sides have the same neuroids, in the same order."""
    if ceiling.dims != (NEUROID,) or ceiling.sizes[NEUROID] != result.sizes[NEUROID]:
        raise LabelError(
            f"The ceiling has the sizes {dict(ceiling.sizes)}; the scores have {dict(result.sizes)}."
        )
    if NEUROID in result.coords and NEUROID in ceiling.coords:
        own, other = result[NEUROID].values.tolist(), ceiling[NEUROID].values.tolist()
        if own != other:
            wrong = [name for name, there in zip(other, own, strict=True) if name != there]
            raise LabelError(
                f"The ceiling is of other neuroids than the scores, e.g. {list_names(wrong, 3)}."
            )


SUMMARIES: dict[str, Callable[[Table, Table | None], Table]] = {
    "median": _median,
    "fold-median": _fold_median,
    "ratio": _ratio,
}
DESCRIPTIONS = {
    "median": "median over neuroids of the mean over folds",
    "fold-median": "mean over folds of the median over neuroids",
    "ratio": "mean r2 / mean ceiling over neuroids",
}
