"""Profiles: how alike every operation of a model and every brain region are, and what chance would give."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

import xarray as xr

import neurolens.comparison.accessor  # noqa: F401  (registers Dataset.nl)
from neurolens.activations import StreamedActivations, as_activations
from neurolens.comparison.assembly import assemble, label_models, stack_twins
from neurolens.comparison.encodings import predict_rdms, score_encodings
from neurolens.comparison.grams import score_grams
from neurolens.comparison.plan import Plan, freeze_ops, split_control
from neurolens.comparison.predictions import compute_p
from neurolens.comparison.rdms import find_incomplete, score_rdms
from neurolens.comparison.sources import list_models, make_twins, open_source, read_rdms
from neurolens.comparison.targets import read_responses, read_targets, split_times
from neurolens.errors import InputError, NeurolensWarning, list_names
from neurolens.numerics.corrections import Correction
from neurolens.numerics.distances import Metric
from neurolens.numerics.similarity import MEASURES, Similarity
from neurolens.rsa.patterns import MIN_STIMULI
from neurolens.schema import REGION, STIMULUS, hash_array, join_stimuli, provenance

Targets = dict[tuple[str, object], xr.DataArray]


def compare(
    source: object,
    brain: object,
    *,
    method: Literal["rsa", "cka", "procrustes", "cca", "ridge", "pls", "ersa"] = "rsa",
    metric: Metric = "correlation",
    similarity: Similarity = "rho-a",
    ops: str | Iterable[str] = "**",
    passes: bool = False,
    options: Mapping[str, Any] | None = None,
    control: Any = None,
    n_seeds: int = 5,
    within: str | None = None,
    n_permutations: int = 1000,
    n_bootstraps: int = 0,
    n_splits: int = 10,
    correction: Correction = "max",
    seed: int = 0,
    join: Literal["exact", "inner"] = "exact",
    memory: str | int = "4 GB",
    client: Any = None,
    progress: bool = True,
) -> xr.Dataset:
    """Score every operation of a model against brain data: a Profile.

    Every number is what the direct call gives: `rsa.infer` for "rsa" and "ersa" (but its p),
    `rsa.compare_representations` for "cka", "procrustes" and "cca", `encode` with `permute_responses` and
    `bootstrap_stimuli` for "ridge" and "pls". Where there are subjects, the score of an RDM or of patterns is the
    mean over subjects, which is what the noise ceiling bounds; of an encoding model it is the median over the
    neuroids of all subjects. p is one-sided, p = (1 + #{null >= observed}) / (1 + N); one permutation of stimuli
    acts on all operations, subjects and regions together; of up to 7 stimuli all permutations are listed, but for
    encoding models. For "ersa" responses are permuted before the models are fitted, as in
    `encoding.permute_with_refits`: exact, at the cost of up to `n_permutations` fits of each operation, less
    where `Ridge` shares decompositions over permutations; the source is read a second time.

    Parameters
    ----------
    source
        Activations (read once), a trace, a DataTree, Dataset, Mapping of DataArrays, one DataArray; or
        ``(model, stimuli)``, streamed and never stored; or RDMs that `rdm` made, (op, [pass,] stimulus,
        stimulus_b), to be used against many brains. Or a dict from names of models to any of these: the profile
        gets a dim `model`.
    brain
        RDMs ([region,] [subject,] [session,] [time,] stimulus, stimulus_b), responses ([subject,] [time,]
        stimulus, [repetition,] neuroid) with coords `region` and `subject` on `neuroid` where there are several,
        or a DataTree or dict: region -> one of these, or region -> subject -> one of these (where subjects saw
        different stimuli, join="inner" takes those that all of them saw). Sessions of a subject are averaged.
    method
        "rsa"; "cka" (debiased), "procrustes", "cca"; "ridge", "pls" (encoding models, Pearson r); "ersa" (RSA of
        the predictions of a ridge, over pairs of stimuli of one test fold). All but "rsa" need responses.
    metric
        The distance between patterns, on both sides; what comes as an RDM is taken as it is.
    similarity
        How RDMs are compared: one of the methods of `compare_rdms`.
    ops
        Which operations of a source of activations: a glob on addresses, or a list of these.
    passes
        One row of `op` for each pass of a recurrent operation, with the coords `address` and `pass`: with a dim
        `time` in the brain, a profile is operation x pass x time. Without it passes are features.
    options
        Of the call that scores. "rsa": resample, confidence. "cka", "procrustes", "cca": n_components,
        bandwidth. "ridge", "pls": model, cv, groups, ceiling, score, confidence. "ersa": model, cv, groups,
        resample, confidence. Permutations move whole groups, each to the place of one of its size.
    control
        "untrained": also score `n_seeds` twins of a source (model, stimuli) with weights drawn anew. RDMs
        ([any one dim,] stimulus, stimulus_b): what they explain is removed ("rsa"). Or a tuple of both.
    n_seeds
        How many untrained twins.
    within
        A coord of `stimulus`: only pairs within the same value (of a category, say) count, and labels are
        permuted within it ("rsa").
    n_permutations
        How many permutations; 0: p is NaN.
    n_bootstraps
        How many bootstrap samples, for intervals; 0: none, they are NaN. "cka", "procrustes" and "cca" have none,
        but an interval over subjects.
    n_splits
        How many times the stimuli are halved for `Profile.nl.best`; 0: not at all. "ridge" and "pls" choose in each
        of their folds instead, by models fitted again on its training stimuli alone (any number above 0; the
        source is read a second time).
    correction
        For the many operations within a region and moment: "max" (maximum statistic over operations,
        family-wise) or "bh" (Benjamini-Hochberg, false discovery rate).
    seed
        Of all draws.
    join
        "exact": a stimulus on one side only is an error; "inner": use what source and all regions share.
    memory
        Budget for the activations of a streamed model (what it covers: `stream`), or, of what is read from a
        store, for one operation's patterns. RDMs, predictions and tests come on top.
    client
        A dask.distributed.Client: operations of a source of activations are spread over its workers.
    progress
        Whether to show a progress bar on stderr while activations are read and models are fitted again.

    Returns
    -------
    Dataset
        `score`, `p`, `p_corrected`, `ci_low`, `ci_high` ([model,] op[, region][, time]); `score_subject` (...,
        subject) where there are subjects, NaN only for subjects that a region does not have (subjects are known
        by their labels); `ceiling_low`, `ceiling_high` ([region][, time]), NaN where there is none;
        `score_choice`, `score_test` (split, ...) for `nl.best`; with untrained twins `score_untrained` (seed,
        ...), `untrained_low`, `untrained_high`: the least and largest of the twins. `region` is there where
        `brain` names regions. Coords of `op` as in `rdm`; with several models depth is over (model, op).
        `n_subjects` ([region]) is 0 for one RDM. attrs say what every number is of: score_of, p_of, ci_of,
        correction_of, ceiling_kind, split_of. An operation with a missing pattern has no score.

    Raises
    ------
    LabelError
        If stimuli are not labelled or do not match.
    InputError
        If a choice is not known or has no definition for the method, brain data are incomplete or of no
        accepted form, or there are fewer than 3 common stimuli.

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
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(8)]
    >>> layer = xr.DataArray(rng.random((8, 20)), {"stimulus": ids}, ("stimulus", "unit"))
    >>> voxels = xr.DataArray(rng.random((3, 8, 50)), {"stimulus": ids, "subject": [1, 2, 3]},
    ...                       ("subject", "stimulus", "neuroid"))
    >>> profile = compare({"fc": layer}, voxels, n_permutations=99)
    >>> profile.score.dims, profile.score_subject.dims
    (('op',), ('op', 'subject'))
    """
    with_twins, rdms = split_control(control)
    plan = Plan(
        method=method,
        metric="sqeuclidean" if str(method) in GRAMS else metric,
        similarity=similarity,
        ops=freeze_ops(ops),
        passes=passes,
        options={} if options is None else options,
        control=rdms,
        within=within,
        n_permutations=n_permutations,
        n_bootstraps=n_bootstraps,
        n_splits=n_splits,
        correction=correction,
        seed=seed,
        join=join,
        memory=memory,
        client=client,
        progress=progress,
    )
    profiles = {}
    for name, one in list_models(source).items():
        profile = _score_model(one, brain, plan)
        if with_twins:
            bare = replace(plan, n_permutations=0, n_bootstraps=0, n_splits=0)
            twins = [_score_model(twin, brain, bare)["score"] for twin in make_twins(one, n_seeds, seed)]
            profile = stack_twins(profile, twins, seed)
        profiles[name] = profile
    return label_models(profiles)


GRAMS = ("cka", "procrustes", "cca")
ENCODINGS = ("ridge", "pls")


def _score_model(source: object, brain: object, plan: Plan) -> xr.Dataset:
    """Score one model, by the room that knows the method."""
    if plan.method in ENCODINGS:
        return _score_by_encoding(source, brain, plan)
    if plan.method == "ersa":
        return _score_by_predictions(source, brain, plan)
    score = score_grams if plan.method in GRAMS else score_rdms
    rdms = read_rdms(
        source,
        metric=plan.metric,
        ops=plan.ops,
        passes=plan.passes,
        memory=plan.memory,
        client=plan.client,
        progress=plan.progress,
    )
    regions = read_targets(brain, metric=plan.metric, join=plan.join)
    inputs = {"source": hash_array(rdms)}
    inputs |= {f"brain {name}".strip(): hash_array(target) for name, target in regions.items()}
    targets: Targets = {
        (name, time): part for name, target in regions.items() for time, part in split_times(target).items()
    }
    rdms, targets = _join(rdms, targets, plan.join)
    if plan.method == "rsa":
        _warn_incomplete(find_incomplete(rdms))
    found = {key: score(rdms, target, plan) for key, target in targets.items()}
    return assemble(found, targets, rdms, _describe(rdms.attrs, targets, inputs, plan))


def _score_by_encoding(source: object, brain: object, plan: Plan) -> xr.Dataset:
    responses = read_responses(brain, join=plan.join)
    opened = open_source(source, ops=plan.ops, memory=plan.memory, progress=plan.progress)
    found: dict[tuple[str, object], xr.Dataset] = {}
    targets: Targets = {}
    for time, part in split_times(responses).items():
        scored = score_encodings(_choose(opened, plan), part, plan)
        for region in scored[REGION].values.tolist():
            attrs = {**scored.attrs}
            found[region, time] = scored.sel({REGION: region}, drop=True).assign_attrs(attrs)
            targets[region, time] = part
    first = next(iter(found.values()))
    inputs = json.loads(first.attrs["inputs"])
    described = _describe(first.attrs, targets, inputs, plan)
    described["n_stimuli"] = first.attrs["n_stimuli"]
    return assemble(found, targets, first, described)


def _score_by_predictions(source: object, brain: object, plan: Plan) -> xr.Dataset:
    """Score by encoding RSA: RDMs of predictions against the RDMs of what was predicted."""
    responses = read_responses(brain, join=plan.join)
    opened = open_source(source, ops=plan.ops, memory=plan.memory, progress=plan.progress)
    regions = read_targets(brain, metric=plan.metric, join=plan.join)
    found: dict[tuple[str, object], xr.Dataset] = {}
    targets: Targets = {}
    first: xr.DataArray | None = None
    # two folds train on each other's responses: pairs across them are alike without any relation
    kept = {name: value for name, value in plan.options.items() if name in ("resample", "confidence")}
    within_folds = replace(plan, method="rsa", within="test_fold", options=kept, n_permutations=0)
    for time, part in split_times(responses).items():
        chosen = _choose(opened, plan)
        predicted = predict_rdms(chosen, part, plan)
        whole, scored = {}, {}
        for region in predicted[REGION].values.tolist():
            rdms = predicted.sel({REGION: region}, drop=True)
            whole[region] = split_times(regions[region])[time]
            rdms, target = join_stimuli(
                rdms, whole[region], join="inner", names=("predictions", region or "brain")
            )
            scored[region] = score_rdms(rdms, target, within_folds).assign_attrs(p_of="none")
            targets[region, time] = target
            first = rdms if first is None else first
        if plan.n_permutations:
            scored = compute_p(chosen, part, scored, whole, plan)
        found |= {(region, time): one for region, one in scored.items()}
    assert first is not None
    return assemble(
        found, targets, first, _describe(first.attrs, targets, {"predictions": hash_array(first)}, plan)
    )


def _choose(source: object, plan: Plan) -> object:
    """Keep the chosen operations; a stream was opened with them alone, and a lone array is one operation."""
    if isinstance(source, xr.DataArray):
        return {str(source.attrs.get("address", source.name or "source")): source}
    if isinstance(source, StreamedActivations) or plan.ops == "**":
        return source
    return as_activations(source, plan.ops)


def _join(
    rdms: xr.DataArray, targets: Targets, join: Literal["exact", "inner"]
) -> tuple[xr.DataArray, Targets]:
    """Bring the source and all regions to one set of stimuli: one permutation has to fit all."""
    for (name, _), target in targets.items():
        rdms, _ = join_stimuli(rdms, target, join=join, names=("source", name or "brain"))
    joined = {
        key: join_stimuli(rdms, target, join=join, names=("source", key[0] or "brain"))[1]
        for key, target in targets.items()
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
            stacklevel=4,
        )


def _describe(
    attrs: Mapping[Any, Any], targets: Targets, inputs: dict[str, str], plan: Plan
) -> dict[str, Any]:
    """Say of every number what it is."""
    metric = attrs.get("metric", "given")
    family = "operations within a region"
    names = {"max": f"maximum statistic over the {family}", "bh": f"Benjamini-Hochberg over the {family}"}
    of_rdms = plan.method in ("rsa", "ersa")
    chosen: dict[str, object] = {
        "similarity": plan.similarity,
        "correction": plan.correction,
        "join": plan.join,
    }
    chosen |= {"ops": plan.ops, "within": plan.within, "passes": plan.passes, "options": plan.options}
    chosen |= {"metric": metric, "n_bootstraps": plan.n_bootstraps, "n_splits": plan.n_splits}
    if plan.control is not None:
        inputs = inputs | {"control": hash_array(plan.control)}
    some = next(iter(targets.values()))
    label = f"{'partial ' if plan.control is not None else ''}{MEASURES[plan.similarity].label}"
    what = f"predicted patterns ({metric} distance)" if plan.method == "ersa" else f"RDMs ({metric} distance)"
    return {
        **{key: value for key, value in attrs.items() if key not in ("long_name", "address")},
        **provenance(plan.method, parameters=chosen, inputs=inputs, seed=plan.seed),
        "units": plan.similarity if of_rdms else plan.method,
        "metric": metric,
        "brain_metric": ", ".join(
            dict.fromkeys(str(t.attrs.get("metric", "given")) for t in targets.values())
        ),
        "n_stimuli": some.sizes[STIMULUS],
        "score_of": f"{label} of {what}; mean over subjects"
        if of_rdms
        else f"{plan.method}; mean over subjects",
        "correction": plan.correction,
        "correction_of": names[plan.correction],
        "split_of": "halves of the stimuli"
        if plan.method not in ENCODINGS
        else "folds; chosen by cross-validation among their training stimuli",
        "n_unlabelled_neuroids": max(int(t.attrs.get("n_unlabelled_neuroids", 0)) for t in targets.values()),
        **({"similarity": plan.similarity} if of_rdms else {}),
        **({"within": plan.within} if plan.within else {}),
    }
