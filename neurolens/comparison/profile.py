"""Profiles: how alike every operation of a model and every brain region are, and what chance would give."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.comparison.scores import Scores, compute_scores
from neurolens.comparison.targets import NO_REGION, read_targets
from neurolens.errors import InputError, NeurolensWarning, check_choice, list_names
from neurolens.numerics.corrections import control_fdr
from neurolens.numerics.distances import Metric
from neurolens.numerics.permutation import draw_permutations
from neurolens.numerics.similarity import MEASURES, Similarity
from neurolens.rsa.ceiling import describe_ceiling
from neurolens.rsa.dissimilarity import rdm
from neurolens.rsa.pairs import check_rdm, extract_pairs, other_dims
from neurolens.rsa.patterns import MIN_STIMULI
from neurolens.schema import (
    OP,
    REGION,
    STIMULUS,
    STIMULUS_B,
    SUBJECT,
    hash_array,
    join_stimuli,
    provenance,
)

Correction = Literal["max", "bh"]
METHODS = ("rsa",)
CORRECTIONS = ("max", "bh")


def compare(
    source: object,
    brain: object,
    *,
    method: Literal["rsa"] = "rsa",
    metric: Metric = "correlation",
    similarity: Similarity = "rho-a",
    ops: str | Iterable[str] = "**",
    n_permutations: int = 1000,
    correction: Correction = "max",
    seed: int = 0,
    join: Literal["exact", "inner"] = "exact",
    progress: bool = True,
) -> xr.Dataset:
    """Score every operation of a model against brain data: a Profile.

    The score of an operation is the similarity of its RDM with the region's RDM; where there are subjects,
    the mean over subjects of the similarity with each one's RDM, which is what the noise ceiling bounds. p is
    one-sided, from permuting the stimulus labels of the brain: one permutation acts on all operations,
    subjects and regions together, p = (1 + #{null >= observed}) / (1 + N); of up to 7 stimuli all
    permutations are listed.

    Parameters
    ----------
    source
        Activations (read once), a DataTree, Dataset, Mapping of DataArrays, one DataArray, or RDMs that `rdm`
        made, (op, stimulus, stimulus_b), to be used against many brains.
    brain
        RDMs ([region,] [subject,] [session,] stimulus, stimulus_b), responses ([subject,] stimulus,
        [repetition,] neuroid) with coords `region` and `subject` on `neuroid` where there are several, or a
        DataTree or dict: region -> one of these. Sessions of a subject are averaged.
    method
        "rsa".
    metric
        The distance between patterns, on both sides; what comes as an RDM is taken as it is.
    similarity
        How RDMs are compared: one of the methods of `compare_rdms`.
    ops
        Which operations of a source of activations: a glob on addresses, or a list of these.
    n_permutations
        How many permutations; 0: p is NaN.
    correction
        For the many operations within a region: "max" (maximum statistic over operations, family-wise) or
        "bh" (Benjamini-Hochberg, false discovery rate).
    seed
        Seed of the permutations.
    join
        "exact": a stimulus on one side only is an error; "inner": use what source and all regions share.
    progress
        Whether to show a progress bar on stderr while activations are read.

    Returns
    -------
    Dataset
        `score`, `p`, `p_corrected` (op[, region]); `score_subject` (op[, region], subject) where there are
        subjects, NaN only for subjects that a region does not have (subjects are known by their labels);
        `ceiling_low`, `ceiling_high` ([region]), NaN for a region without several subjects. `region` is there
        where `brain` names regions. Coords of `op` as in `rdm`; `n_subjects` ([region]) is 0 for one RDM.
        No interval is computed; attrs["ci_of"] says so. An operation with a missing pattern has no score.

    Raises
    ------
    LabelError
        If stimuli are not labelled or do not match.
    InputError
        If a choice is not known, brain data are incomplete or of no accepted form, or there are fewer than 3
        common stimuli.

    Warns
    -----
    NeurolensWarning
        If operations have no score since patterns of theirs have no distance.

    References
    ----------
    Nili et al. (2014), PLoS Computational Biology 10:e1003553, doi:10.1371/journal.pcbi.1003553.
    Schütt et al. (2023), eLife 12:e82566, doi:10.7554/eLife.82566.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(8)]
    >>> layer = xr.DataArray(rng.random((8, 20)), {"stimulus": ids}, ("stimulus", "unit"))
    >>> voxels = xr.DataArray(rng.random((3, 8, 50)), {"stimulus": ids, "subject": [1, 2, 3]},
    ...                       ("subject", "stimulus", "neuroid"))
    >>> profile = compare({"fc": layer}, voxels, n_permutations=99)
    >>> profile.score.dims, profile.score_subject.dims
    (('op',), ('op', 'subject'))
    """
    check_choice(method, METHODS, "method")
    check_choice(similarity, MEASURES, "similarity")
    check_choice(correction, CORRECTIONS, "correction")
    check_choice(join, ("exact", "inner"), "join")
    if n_permutations < 0:
        raise InputError(f"n_permutations={n_permutations} must be 0 (no test) or more.")
    ops = ops if isinstance(ops, str) else list(ops)
    targets = read_targets(brain, metric=metric)
    rdms = _read_source(source, metric=metric, ops=ops, progress=progress)
    inputs = {"source": hash_array(rdms)}
    inputs |= {f"brain {name}".strip(): hash_array(target) for name, target in targets.items()}
    rdms, targets = _join(rdms, targets, join)
    permutations = draw_permutations(rdms.sizes[STIMULUS], n_permutations, seed) if n_permutations else None
    vectors = extract_pairs(rdms)
    _warn_incomplete(rdms[OP].values[np.isnan(vectors).any(axis=1)].tolist())
    references = [extract_pairs(target) for target in targets.values()]
    scores = compute_scores(vectors, references, similarity, permutations)
    chosen = {"similarity": similarity, "correction": correction, "join": join}
    attrs = {
        **{key: value for key, value in rdms.attrs.items() if key not in ("long_name", "address")},
        **provenance(method, parameters={**chosen, "ops": ops}, inputs=inputs, seed=seed),
        **_describe(rdms, targets, similarity, correction),
        "n_permutations": 0 if permutations is None else len(permutations),
    }
    return _assemble(rdms, targets, scores, attrs)


def _read_source(source: object, *, metric: Metric, ops: str | Iterable[str], progress: bool) -> xr.DataArray:
    if not (isinstance(source, xr.DataArray) and STIMULUS_B in source.dims):
        rdms = rdm(source, metric=metric, ops=ops, progress=progress)
    elif ops != "**":
        raise InputError(f"ops={ops!r} chooses among activations; choose among RDMs with rdms.sel(op=[...]).")
    else:
        rdms = source
        check_rdm(rdms, "source")
    if OP not in rdms.dims:
        rdms = rdms.expand_dims({OP: [str(rdms.attrs.get("address", "source"))]})
    extra = [dim for dim in other_dims(rdms) if dim != OP]
    if extra:
        raise InputError(
            f"source has RDMs over {list_names(extra)} besides {OP!r}, which a profile does not have. "
            f"Choose an entry, isel({extra[0]}=0), or average over it."
        )
    return rdms.transpose(OP, STIMULUS, STIMULUS_B)


def _join(
    rdms: xr.DataArray, targets: dict[str, xr.DataArray], join: Literal["exact", "inner"]
) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    """Bring the source and all regions to one set of stimuli: one permutation has to fit all."""
    for name, target in targets.items():
        rdms, _ = join_stimuli(rdms, target, join=join, names=("source", name or "brain"))
    joined = {
        name: join_stimuli(rdms, target, join=join, names=("source", name or "brain"))[1]
        for name, target in targets.items()
    }
    if rdms.sizes[STIMULUS] < MIN_STIMULI:
        raise InputError(
            f"source and brain share {rdms.sizes[STIMULUS]} stimuli; at least {MIN_STIMULI} are needed."
        )
    return rdms, joined


def _warn_incomplete(ops: list[Any]) -> None:
    if ops:
        warnings.warn(
            f"{len(ops)} operations have no score, since some of their patterns have no distance: "
            f"{list_names(ops, 5)}.",
            NeurolensWarning,
            stacklevel=3,
        )


def _describe(
    rdms: xr.DataArray, targets: dict[str, xr.DataArray], similarity: Similarity, correction: Correction
) -> dict[str, Any]:
    """Say of every number what it is."""
    family = "operations within a region"
    names = {"max": f"maximum statistic over the {family}", "bh": f"Benjamini-Hochberg over the {family}"}
    metric = rdms.attrs.get("metric", "given")
    return {
        "similarity": similarity,
        "metric": metric,
        "brain_metric": ", ".join(dict.fromkeys(t.attrs.get("metric", "given") for t in targets.values())),
        "n_stimuli": rdms.sizes[STIMULUS],
        "score_of": f"{MEASURES[similarity].label} of RDMs ({metric} distance); mean over subjects",
        "p_of": "permutation of stimulus labels, one-sided; for these stimuli and subjects",
        "correction": correction,
        "correction_of": names[correction],
        "ceiling_kind": describe_ceiling(similarity),
        "ci_of": "none",
        "n_unlabelled_neuroids": max(t.attrs.get("n_unlabelled_neuroids", 0) for t in targets.values()),
    }


def _assemble(
    rdms: xr.DataArray, targets: dict[str, xr.DataArray], scores: Scores, attrs: dict[str, Any]
) -> xr.Dataset:
    regions = list(targets)
    p_corrected = scores.p_max if attrs["correction"] == "max" else control_fdr(scores.p)
    n_subjects = [target.sizes.get(SUBJECT, 0) for target in targets.values()]
    variables: dict[Hashable, Any] = {
        "score": ((OP, REGION), scores.score, {"long_name": attrs["score_of"], "units": attrs["similarity"]}),
        "p": ((OP, REGION), scores.p, {"long_name": attrs["p_of"]}),
        "p_corrected": ((OP, REGION), p_corrected, {"long_name": attrs["correction_of"]}),
        "ceiling_low": (REGION, scores.ceilings[0], {"units": attrs["similarity"]}),
        "ceiling_high": (REGION, scores.ceilings[1], {"units": attrs["similarity"]}),
    }
    coords: dict[Hashable, Any] = {
        name: coord.variable for name, coord in rdms.coords.items() if coord.dims == (OP,)
    }
    coords |= {REGION: regions, "n_subjects": (REGION, n_subjects)}
    profile = xr.Dataset(variables, coords, attrs)
    if any(n_subjects):
        profile["score_subject"] = _label_subjects(targets, scores.by_subject, profile)
    return profile.isel({REGION: 0}).drop_vars(REGION) if regions == [NO_REGION] else profile


def _label_subjects(
    targets: dict[str, xr.DataArray], by_subject: list[NDArray[Any]], profile: xr.Dataset
) -> xr.DataArray:
    """Put scores under their subjects' labels; a region without a subject has NaN there."""
    labels = list(
        dict.fromkeys(
            label for t in targets.values() if SUBJECT in t.dims for label in t[SUBJECT].values.tolist()
        )
    )
    values = np.full((profile.sizes[OP], len(targets), len(labels)), np.nan)
    for i, (target, scores) in enumerate(zip(targets.values(), by_subject, strict=True)):
        if SUBJECT in target.dims:
            values[:, i, [labels.index(label) for label in target[SUBJECT].values.tolist()]] = scores
    return xr.DataArray(
        values, {SUBJECT: labels}, (OP, REGION, SUBJECT), attrs={"units": profile.attrs["similarity"]}
    )
