"""Models, subjects and control RDMs brought to the same pairs of stimuli: what inference works on."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.errors import InputError, LabelError, NeurolensWarning, check_name, list_names
from neurolens.numerics.embedding import Array, Indices, Pairs, list_pairs
from neurolens.numerics.mixtures import Mixture
from neurolens.rsa.ceiling import average_sessions
from neurolens.rsa.models import Selected, Weighted
from neurolens.rsa.pairs import check_rdm, extract_pairs, other_dims
from neurolens.rsa.patterns import MIN_STIMULI
from neurolens.schema import MODEL, STIMULUS, SUBJECT, hash_array, join_stimuli

__all__ = ["RdmTable", "build_table"]

Model = xr.DataArray | Weighted | Selected


@dataclass(frozen=True)
class RdmTable:
    """Vectors over the same pairs, with the labels of their rows."""

    components: Array  # (n_components, n_pairs): the RDMs that models are made of
    mixtures: tuple[Mixture, ...]  # one a complete model
    complete: NDArray[np.bool_]  # (n_models,): models without a missing pair
    subjects: Array  # (n_subjects, n_pairs)
    control: Array | None  # (n_controls, n_pairs)
    pairs: Pairs
    groups: Indices | None  # (n_stimuli,): only pairs within one count
    is_incomplete: bool  # pairs are missing besides those between groups
    dim: str
    coords: dict[Hashable, Any]  # of `dim`
    subject_labels: Any  # None where the data have no subjects
    metric: str  # the distance of the data
    component_names: list[tuple[str, list[str]]]  # of each complete model: its name, those of its RDMs
    hashes: dict[str, str]

    @property
    def has_fits(self) -> bool:
        """Whether a model is fitted to data."""
        return any(mixture.fit != "fixed" for mixture in self.mixtures)

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Put what is known of complete models into rows of all models, NaN for the others."""
        rows = np.full((len(self.complete), *np.shape(values)[1:]), np.nan)
        rows[self.complete] = values
        return rows


def build_table(
    models: xr.DataArray | Mapping[str, Model],
    data: xr.DataArray,
    *,
    control: xr.DataArray | None,
    within: str | None,
    join: Literal["exact", "inner"],
) -> RdmTable:
    """Bring models, data and control RDMs to common stimuli, and to vectors.

    Raises
    ------
    LabelError
        If labels are missing or do not match.
    InputError
        If there are other dims, no complete model, too few stimuli or pairs, or pairs are missing in some
        subjects only.

    Warns
    -----
    NeurolensWarning
        If a model has missing pairs; it has no score.
    """
    dim, coords, named = _name_models(models)
    data = _prepare_data(data)
    sides = {"data": data, **{f"model {name!r}": _rdms_of(model) for name, model in named.items()}}
    if control is not None:
        sides["control"] = control
    for name, rdms in sides.items():
        check_rdm(rdms, name)
    hashes = {name: hash_array(rdms) for name, rdms in sides.items()}
    sides = _join_all(sides, join)
    groups = None if within is None else _find_groups(sides.values(), within)
    n_stimuli = sides["data"].sizes[STIMULUS]
    rows, columns = np.triu_indices(n_stimuli, 1)
    kept = np.ones(len(rows), dtype=bool) if groups is None else groups[rows] == groups[columns]
    subjects = extract_pairs(sides["data"])
    missing = _find_missing(subjects[:, kept], sides["data"])
    kept[np.flatnonzero(kept)[missing]] = False
    _check_size(n_stimuli, int(kept.sum()), within)
    controls = None if control is None else extract_pairs(sides["control"])[:, kept]
    if controls is not None and np.isnan(controls).any():
        raise InputError(
            "control has missing pairs (NaN) where data have none: drop the stimuli they belong to."
        )
    vectors = [extract_pairs(sides[f"model {name!r}"])[:, kept] for name in named]
    complete = np.array([not np.isnan(one).any() for one in vectors])
    _check_complete(named, complete)
    components, mixtures = _mix(
        [one for one, whole in zip(vectors, complete, strict=True) if whole],
        [model for model, whole in zip(named.values(), complete, strict=True) if whole],
    )
    return RdmTable(
        components=components,
        mixtures=mixtures,
        complete=complete,
        subjects=subjects[:, kept],
        control=controls,
        pairs=list_pairs(n_stimuli, kept),
        groups=groups,
        is_incomplete=bool(missing.any()),
        dim=dim,
        coords=coords,
        subject_labels=data[SUBJECT].values if SUBJECT in data.dims else None,
        metric=str(data.attrs.get("metric", "")),
        component_names=[
            (name, _name_components(model))
            for (name, model), whole in zip(named.items(), complete, strict=True)
            if whole
        ],
        hashes=hashes,
    )


def _name_models(
    models: xr.DataArray | Mapping[str, Model],
) -> tuple[str, dict[Hashable, Any], dict[str, Model]]:
    """Return the dim of models, its coords, and one model a name."""
    if isinstance(models, Mapping):
        if not models:
            raise InputError("models is empty: give at least one RDM.")
        for name, model in models.items():
            _check_model(str(name), model)
        names = np.array([str(name) for name in models], dtype=object)
        return MODEL, {MODEL: xr.DataArray(names, dims=MODEL)}, {str(n): model for n, model in models.items()}
    if not isinstance(models, xr.DataArray):
        raise InputError(
            f"models is a {type(models).__name__}; expected a DataArray of RDMs, or a dict of them."
        )
    extra = other_dims(models)
    if len(extra) > 1:
        raise InputError(
            f"models has the dims {list_names(extra)} besides stimuli; one may index models. Choose an entry, "
            f"isel({extra[-1]}=0), or stack them."
        )
    if not extra:
        models = models.expand_dims({MODEL: [str(models.name or models.attrs.get("address", "model"))]})
    dim = str(other_dims(models)[0])
    if dim not in models.coords:
        models = models.assign_coords({dim: np.arange(models.sizes[dim])})
    coords = {name: coord.variable for name, coord in models.coords.items() if coord.dims == (dim,)}
    labels = models[dim].values
    return (
        dim,
        {**coords, dim: models[dim]},
        {str(label): models.isel({dim: i}) for i, label in enumerate(labels)},
    )


def _check_model(name: str, model: object) -> None:
    if not isinstance(model, xr.DataArray | Weighted | Selected):
        raise InputError(
            f"models[{name!r}] is a {type(model).__name__}; expected a DataArray, Weighted or Selected."
        )
    if isinstance(model, xr.DataArray) and other_dims(model):
        raise InputError(
            f"models[{name!r}] has the dim {list_names(other_dims(model))}: several RDMs. Say what they are: "
            "Weighted(rdms), Selected(rdms), or one entry for each."
        )


def _rdms_of(model: Model) -> xr.DataArray:
    return model if isinstance(model, xr.DataArray) else model.rdms


def _name_components(model: Model) -> list[str]:
    rdms = _rdms_of(model)
    dims = other_dims(rdms)
    if not dims:
        return ["fixed"]
    return [
        str(label)
        for label in (rdms[dims[0]].values if dims[0] in rdms.coords else range(rdms.sizes[dims[0]]))
    ]


def _prepare_data(data: xr.DataArray) -> xr.DataArray:
    if not isinstance(data, xr.DataArray):
        raise InputError(
            f"data is a {type(data).__name__}; expected a DataArray ([subject,] stimulus, stimulus_b)."
        )
    check_rdm(data, "data")
    data = average_sessions(data)
    extra = [dim for dim in other_dims(data) if dim != SUBJECT]
    if extra:
        raise InputError(
            f"data has the dim {list_names(extra)} besides {SUBJECT!r}; inference is for one set of subjects. "
            f"Choose an entry, isel({extra[0]}=0)."
        )
    if SUBJECT in data.dims and SUBJECT not in data.coords:
        raise LabelError(
            f"data has no labels on {SUBJECT!r}; give them: data.assign_coords({SUBJECT}=[...])."
        )
    return data


def _join_all(sides: dict[str, xr.DataArray], join: Literal["exact", "inner"]) -> dict[str, xr.DataArray]:
    """Bring all to the stimuli of the data, and for "inner" to those that all share."""
    first = sides["data"]
    for name, rdms in sides.items():
        first, _ = join_stimuli(first, rdms, join=join, names=("data", name))
    return {
        name: join_stimuli(first, rdms, join=join, names=("data", name))[1] for name, rdms in sides.items()
    }


def _find_groups(sides: Iterable[xr.DataArray], within: str) -> Indices:
    """Give each value of a coord of `stimulus` a number, wherever the coord is."""
    check_name(within, "within", "coord of 'stimulus'")
    for rdms in sides:
        if within in rdms.coords and rdms[within].dims == (STIMULUS,):
            groups: Indices = np.unique(rdms[within].values.astype(str), return_inverse=True)[1]
            return groups
    raise LabelError(
        f"within={within!r} is no coord of {STIMULUS!r} in data or models; give it: "
        f"data.assign_coords({within}=({STIMULUS!r}, [...]))."
    )


def _find_missing(subjects: Array, data: xr.DataArray) -> NDArray[np.bool_]:
    """Which pairs all subjects miss; a pair that only some miss has no answer."""
    missing = np.isnan(subjects)
    labels = data[SUBJECT].values.tolist() if SUBJECT in data.dims else ["data"]
    empty = [label for label, one in zip(labels, missing, strict=True) if one.all()]
    if empty:
        raise InputError(
            f"Subject {list_names(empty)} has no RDM, all is NaN: leave it out, data.drop_sel(subject={empty})."
        )
    usual = missing.sum(axis=0) * 2 > len(missing)
    differ = [label for label, one in zip(labels, missing, strict=True) if (one != usual).any()]
    if differ:
        raise InputError(
            f"Subject {list_names(differ)} misses other pairs of stimuli (NaN) than the rest. All must have the "
            "same stimuli: drop those that some miss, or score the subjects one by one."
        )
    return np.asarray(usual)


def _check_size(n_stimuli: int, n_pairs: int, within: str | None) -> None:
    if n_stimuli < MIN_STIMULI:
        raise InputError(f"Models and data share {n_stimuli} stimuli; at least {MIN_STIMULI} are needed.")
    if n_pairs < 3:
        where = f" within the same {within!r}" if within else ""
        raise InputError(f"RDMs are compared over at least 3 pairs of stimuli{where}; {n_pairs} are left.")


def _check_complete(named: dict[str, Model], complete: NDArray[np.bool_]) -> None:
    lacking = [name for name, whole in zip(named, complete, strict=True) if not whole]
    if len(lacking) == len(named):
        raise InputError("No model has all pairs of stimuli that data have: their RDMs contain NaN.")
    if lacking:
        warnings.warn(
            f"{len(lacking)} models have no score, since pairs of stimuli are missing (NaN): {list_names(lacking, 5)}.",
            NeurolensWarning,
            stacklevel=4,
        )


def _mix(vectors: list[Array], models: list[Model]) -> tuple[Array, tuple[Mixture, ...]]:
    """Stack the RDMs of all models, brought to comparable scales, and say which rows a model is made of."""
    stacked = np.concatenate(vectors).astype(np.float64)
    spread = np.where(np.ptp(stacked, axis=1) > 0, stacked.std(axis=1), np.abs(stacked).max(axis=1))
    components = stacked / np.where(spread > 0, spread, 1)[:, None]
    mixtures, start = [], 0
    for one, model in zip(vectors, models, strict=True):
        rows = np.arange(start, start + len(one))
        start += len(one)
        if isinstance(model, Weighted):
            mixtures.append(Mixture(rows, "weighted", model.nonnegative, model.ridge))
        else:
            mixtures.append(Mixture(rows, "selected" if isinstance(model, Selected) else "fixed"))
    return components, tuple(mixtures)
