"""Selection: neuroids that repeat, chosen on trials that are not scored afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from neurolens.brain.reliability import explainable_variance, noise_ceiling, split_half
from neurolens.brain.responses import check_responses
from neurolens.errors import InputError, LabelError, check_choice, list_names
from neurolens.schema import NEUROID, REPETITION, STIMULUS, hash_array, provenance

__all__ = ["select_reliable"]

Measure = Literal["split_half", "noise_ceiling", "explainable_variance"]

_MEASURES: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "split_half": split_half,
    "noise_ceiling": noise_ceiling,
    "explainable_variance": explainable_variance,
}


def select_reliable(
    data: xr.DataArray,
    *,
    held_out: Mapping[str, Sequence[object]],
    measure: Measure = "split_half",
    minimum: float | None = None,
    n_best: int | None = None,
) -> xr.DataArray:
    """Keep the neuroids that repeat best on some trials, and give back only the other trials.

    Neuroids chosen on the trials that score them look better than they are; so what chooses is never returned.

    Parameters
    ----------
    data
        DataArray (repetition, stimulus, neuroid).
    held_out
        What chooses: labels on `repetition` or `stimulus`, or values of a coord of one of these, such as
        {"repetition": [0, 1, 2]} (positions where repetitions have no labels) or {"split": ["train"]}. At
        least two repetitions of two stimuli.
    measure
        Which reliability, in units of r².
    minimum, n_best
        Keep neuroids of at least this reliability, or this many of the best. Exactly one of them.

    Returns
    -------
    DataArray ([repetition,] stimulus, neuroid)
        The other trials, with the coord `reliability` of `neuroid` from those that chose; neuroids in the order
        given. Attrs of `data`, and how they were selected.

    Raises
    ------
    InputError
        If nothing is left to choose on, to score or to keep, or an option is unknown.
    LabelError
        If `held_out` names no coord, or labels that there are not.

    References
    ----------
    Kriegeskorte et al., Nature Neuroscience 2009, doi:10.1038/nn.2303.

    Examples
    --------
    >>> from neurolens import brain
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.normal(size=(1, 50, 4)) * [0, 0, 3, 3]
    >>> data = brain.responses(signal + rng.normal(size=(4, 50, 4)), stimulus=range(50))
    >>> kept = select_reliable(data, held_out={"repetition": [0, 1]}, n_best=2)
    >>> kept.neuroid.values.tolist(), kept.sizes["repetition"]
    ([2, 3], 2)
    """
    check_choice(measure, _MEASURES, "measure")
    if (minimum is None) == (n_best is None):
        raise InputError("Give exactly one of minimum= and n_best=.")
    data = check_responses(data)
    if REPETITION not in data.dims:
        raise InputError("Selection needs single trials on the dim 'repetition', not their mean.")
    dim, chosen = _find_held_out(data, held_out)
    if chosen.all() or not chosen.any():
        raise InputError(
            f"held_out takes {int(chosen.sum())} of {chosen.size} labels of {dim!r}: some must choose, and others "
            "must be left to score."
        )
    choosing, scored = (data.isel({dim: np.flatnonzero(part)}) for part in (chosen, ~chosen))
    reliability = _MEASURES[measure](choosing)
    keep = _choose(reliability.values, minimum, n_best)
    result = scored.isel({NEUROID: keep}).assign_coords(reliability=(NEUROID, reliability.values[keep]))
    parameters = {"measure": measure, "minimum": minimum, "n_best": n_best, "held_out": dict(held_out)}
    how = provenance("select-reliable", parameters=parameters, inputs={"choosing": hash_array(choosing)})
    return result.assign_attrs({f"selection_{key}": value for key, value in how.items()})


def _find_held_out(
    data: xr.DataArray, held_out: Mapping[str, Sequence[object]]
) -> tuple[str, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Return the dim along which trials are held out, and which of its labels."""
    if len(held_out) != 1:
        raise InputError(f"held_out must name one dim or coord; it names {list_names(held_out)}.")
    name, labels = next(iter(held_out.items()))
    if name in (REPETITION, STIMULUS) and name not in data.coords:
        data = data.assign_coords({name: np.arange(data.sizes[name])})
    usable = [str(key) for key, coord in data.coords.items() if coord.dims in ((REPETITION,), (STIMULUS,))]
    if name not in usable:
        raise LabelError(f"held_out names {name!r}; repetitions and stimuli have {list_names(usable)}.")
    known = data[name].values
    wanted = [labels] if isinstance(labels, str) else list(labels)
    unknown = [label for label in wanted if label not in known.tolist()]
    if unknown:
        raise LabelError(
            f"held_out names {list_names(unknown, 5)} of {name!r}; there are {list_names(known, 5)}."
        )
    return str(data[name].dims[0]), np.isin(known, np.array(wanted, dtype=known.dtype))


def _choose(reliability: np.ndarray[Any, Any], minimum: float | None, n_best: int | None) -> Any:
    """Return ascending positions of the neuroids to keep."""
    defined = ~np.isnan(reliability)
    if n_best is not None:
        if not 1 <= n_best <= defined.sum():
            raise InputError(f"n_best={n_best}: {int(defined.sum())} neuroids have a defined reliability.")
        order = np.argsort(-np.where(defined, reliability, -np.inf), kind="stable")
        return np.sort(order[:n_best])
    keep = np.flatnonzero(defined & (reliability >= (minimum or 0.0)))
    if keep.size == 0:
        raise InputError(
            f"No neuroid reaches minimum={minimum}; the best has {np.nanmax(reliability, initial=-np.inf):.3g}."
        )
    return keep
