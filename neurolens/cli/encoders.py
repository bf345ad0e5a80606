"""What `encode` fits, and to what: the regression, feature spaces side by side, regions side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import xarray as xr

from neurolens.activations import Activations
from neurolens.cli.options import Regression
from neurolens.encoding import PLS, BandedRidge, Linear, Ridge, join_spaces
from neurolens.encoding.evaluation import Join
from neurolens.errors import InputError, LabelError, list_names
from neurolens.schema import NEUROID, REGION, STIMULUS, STIMULUS_B, rename_aliases

REGRESSIONS: dict[
    Regression, tuple[Callable[..., Any], tuple[str, ...]]
] = {  # with the options that each takes
    "ridge": (Ridge, ("alphas", "seed")),
    "banded": (BandedRidge, ("alphas", "seed")),
    "pls": (PLS, ("n_components",)),
    "linear": (Linear, ()),
}


def make_regression(kind: Regression, *, alphas: str | None, components: int | None, seed: int) -> Any:
    """Make the estimator; an option that it does not take is an error."""
    make, taken = REGRESSIONS[kind]
    options: dict[str, Any] = {"seed": seed}
    if alphas is not None:
        options["alphas"] = _read_numbers(alphas)
    if components is not None:
        options["n_components"] = components
    for name, option in (("alphas", "--alphas"), ("n_components", "--components")):
        if name in options and name not in taken:
            fits = [other for other, (_, known) in REGRESSIONS.items() if name in known]
            raise InputError(f"{option} is not for --model {kind}; it is for {list_names(fits)}.")
    return make(**{name: value for name, value in options.items() if name in taken})


def join_operations(activations: Activations, ops: Sequence[str] | None) -> dict[str, xr.DataArray]:
    """Lay the operations of --ops side by side, each a band."""
    advice = "name two or more, such as --ops layer1 --ops layer4."
    if not ops:  # before anything is read: all operations would hardly be meant
        raise InputError(f"--model banded fits one model to several operations, a band each: {advice}")
    spaces = {address: array for address, array in activations.items() if STIMULUS in array.dims}
    if len(spaces) < 2:
        raise InputError(
            f"--model banded fits one model to several operations, a band each, and --ops finds {len(spaces)} with "
            f"stimuli: {advice}"
        )
    return {" + ".join(spaces): join_spaces(spaces)}


def join_regions(
    tree: xr.DataTree, name: str, *, join: Join | None
) -> xr.DataArray | dict[str, xr.DataArray]:
    """Return the responses of all regions as one array, or one for each subject.

    Raises
    ------
    InputError
        If they are RDMs, or regions have other stimuli or subjects.
    """
    if not tree.children:
        return _read_array(tree, name)
    regions = {str(region): _read_subjects(node, name) for region, node in tree.children.items()}
    subjects = dict.fromkeys(subject for parts in regions.values() for subject in parts)
    joined = {
        subject: _concatenate(
            {region: parts[subject] for region, parts in regions.items() if subject in parts}, name, join
        )
        for subject in subjects
    }
    return joined[""] if list(joined) == [""] else joined


def _read_subjects(node: xr.DataTree, name: str) -> dict[str, xr.DataArray]:
    """Return one array a subject, where a region has nodes of them; else one, of no name."""
    return {str(key): _read_array(child, name) for key, child in node.children.items()} or {
        "": _read_array(node, name)
    }


def _read_array(node: xr.DataTree, name: str) -> xr.DataArray:
    variables = list(node.data_vars)
    chosen = "responses" if "responses" in variables else variables[0]
    array = rename_aliases(node.to_dataset()[chosen])
    if STIMULUS_B in array.dims:
        raise InputError(f"{name} holds RDMs; `encode` predicts responses. RDMs are for `neurolens compare`.")
    return array


def _concatenate(regions: dict[str, xr.DataArray], name: str, join: Join | None) -> xr.DataArray:
    if len(regions) == 1:
        return next(iter(regions.values()))
    labelled = [
        array
        if REGION in array.coords
        else array.assign_coords({REGION: (NEUROID, [region] * array.sizes[NEUROID])})
        for region, array in regions.items()
    ]
    try:
        return xr.concat(
            labelled,
            NEUROID,
            coords="minimal",
            compat="override",
            join=join or "exact",
            combine_attrs="drop_conflicts",
        )
    except (ValueError, xr.MergeError) as error:
        raise LabelError(
            f"The regions {list_names(regions)} of {name} have other stimuli or subjects than each other: choose one, "
            "--region, or --join inner."
        ) from error


def _read_numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--alphas {text}: give one number, or several parted by commas: 1,10,100."
        ) from error
