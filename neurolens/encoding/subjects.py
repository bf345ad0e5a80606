"""Subjects: is a score above 0 in all of them, and how well do they predict each other."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from neurolens.brain import average_repetitions, by_subject
from neurolens.brain.responses import BrainData
from neurolens.encoding.evaluation import Join, encode
from neurolens.encoding.nulls import ROUNDING
from neurolens.errors import InputError, LabelError, NeurolensWarning, check_choice, check_count, list_names
from neurolens.numerics.corrections import CORRECTIONS, Correction, control_fdr, correct_by_maximum
from neurolens.numerics.flips import draw_flips, flip_means
from neurolens.schema import NEUROID, OP, STIMULUS, SUBJECT, join_stimuli, provenance, require_labels

__all__ = ["encode_between_subjects", "flip_signs"]


def flip_signs(
    summary: xr.DataArray, *, n_flips: int = 10000, correction: Correction = "max", seed: int = 0
) -> xr.Dataset:
    """Test whether a score is above 0 in the population of subjects, by flipping the signs of subjects.

    The statistic is the mean over subjects; one pattern of signs acts on everything. For up to twelve subjects
    all patterns are listed, and p cannot be below 2^-n_subjects: with four subjects nothing reaches .05.
    One-sided; for other subjects and these stimuli, if scores are symmetric about 0 under the null.

    Parameters
    ----------
    summary
        DataArray ([op,] [region,] subject) of scores: of `summarize_regions`.
    n_flips
        How many patterns, where not all are listed.
    correction
        "max" or "bh", over the operations within a region.
    seed
        Of the patterns.

    Returns
    -------
    Dataset
        `score` (mean over subjects), `p`, `p_corrected` ([op,] [region]); `score_subject` (..., subject);
        `n_subjects` ([region]).

    Raises
    ------
    LabelError
        If there is no dim `subject`.
    InputError
        If there are fewer than 2 subjects, or an option is unknown.

    References
    ----------
    Winkler et al., NeuroImage 2014, doi:10.1016/j.neuroimage.2014.01.060.

    Examples
    --------
    >>> import xarray as xr
    >>> scores = xr.DataArray([0.2, 0.3, 0.1, 0.2, 0.4], dims="subject")
    >>> flip_signs(scores).p.item()
    0.03125
    """
    check_choice(correction, CORRECTIONS, "correction")
    check_count(n_flips, "n_flips")
    require_labels(summary, "A test over subjects")
    if SUBJECT not in summary.dims:
        raise LabelError(
            f"A test over subjects needs the dim 'subject'; there are {list_names(summary.dims)}. Give responses "
            "by subject, and summarise them: summarize_regions(encode(...))."
        )
    if 2 ** summary.sizes[SUBJECT] < 20:
        warnings.warn(
            f"With {summary.sizes[SUBJECT]} subjects the smallest possible p is 1/{2 ** summary.sizes[SUBJECT]}: "
            "nothing can reach .05. Show every subject instead.",
            NeurolensWarning,
            stacklevel=2,
        )
    table = summary if OP in summary.dims else summary.expand_dims(OP)
    table = table.transpose(SUBJECT, OP, ...)
    values = table.values.reshape(*table.shape[:2], -1)
    flips = draw_flips(table.sizes[SUBJECT], n_flips, seed=seed)
    observed = flip_means(values.reshape(len(values), -1), np.ones((1, len(values))))[0].reshape(
        values.shape[1:]
    )
    null = flip_means(values.reshape(len(values), -1), flips).reshape(-1, *observed.shape)
    p = np.where(
        np.isnan(observed), np.nan, (1 + (null >= observed - ROUNDING).sum(axis=0)) / (1 + len(flips))
    )
    corrected = correct_by_maximum(observed, null) if correction == "max" else control_fdr(p)
    template = table.isel({SUBJECT: 0}, drop=True)
    parts = {"score": observed, "p": p, "p_corrected": corrected}
    tested = xr.Dataset(
        {
            name: template.copy(data=part.reshape(template.shape)).assign_attrs()
            for name, part in parts.items()
        }
    )
    tested = tested.drop_vars("n_neuroids", errors="ignore").assign(score_subject=summary)
    tested["n_subjects"] = table.notnull().any(OP).sum(SUBJECT)
    tested.attrs = provenance(
        "flip_signs", parameters={"n_flips": len(flips), "correction": correction}, inputs={}, seed=seed
    ) | {
        "p_of": "sign flips of subjects, one-sided; for other subjects",
        "correction_of": "operations within a region",
    }
    return tested if OP in summary.dims else tested.isel({OP: 0})


def encode_between_subjects(responses: BrainData, *, join: Join = "exact", **options: Any) -> xr.Dataset:
    """Predict each subject's responses from those of all other subjects.

    The features are the neuroids of the others, averaged over repetitions: what is common to subjects, however it
    is laid out in each. The scores are a ceiling of a kind for models that know nothing of a single subject.

    Parameters
    ----------
    responses
        As `encode` takes them, of at least two subjects.
    join
        As `encode` takes it.
    **options
        Other options of `encode`: model, cv, score, groups, ceiling, seed, ... Folds are those that `encode` makes
        of the same responses, so that scores can be set beside those of a model.

    Returns
    -------
    Dataset
        As `encode` of one array: `score` (neuroid, fold) ..., subjects one after the other; attrs["method"] is
        "encode_between_subjects".

    Raises
    ------
    InputError
        If there are fewer than two subjects, or the others have no neuroid without NaN.
    LabelError
        If subjects have different stimuli and `join` is not "inner".

    References
    ----------
    Haxby et al., Neuron 2011, doi:10.1016/j.neuron.2011.08.026.

    Examples
    --------
    >>> import numpy as np
    >>> import neurolens as nl
    >>> rng = np.random.default_rng(0)
    >>> signal, ids = rng.normal(size=(60, 4)), [f"image{i}" for i in range(60)]
    >>> people = {name: nl.brain.responses(signal @ rng.normal(size=(4, 3)), stimulus=ids) for name in "AB"}
    >>> scores = nl.encoding.encode_between_subjects(people, model=nl.Ridge(alphas=1e-3))
    >>> scores.subject.values.tolist(), bool((scores.score > 0.5).all())
    (['A', 'A', 'A', 'B', 'B', 'B'], True)
    """
    subjects = by_subject(responses)
    if len(subjects) < 2:
        raise InputError("Prediction between subjects needs at least 2 subjects; give a dict by subject.")
    averaged = {name: average_repetitions(data) for name, data in subjects.items()}
    results = []
    for name, data in subjects.items():
        others = {other: array for other, array in averaged.items() if other != name}
        results.append(encode(_stack_others(others, join), {name: data}, join=join, **options))
    combined = xr.concat(
        results, dim=NEUROID, data_vars="minimal", coords="minimal", join="exact", compat="override"
    )
    hashes = [json.loads(result.attrs["inputs"]) for result in results]
    inputs = {key: value for found in hashes for key, value in found.items() if key != "source"}
    combined.attrs = results[0].attrs | {
        "method": "encode_between_subjects",
        "inputs": json.dumps(inputs, sort_keys=True),
    }
    return combined


def _stack_others(others: Mapping[str, xr.DataArray], join: Join) -> xr.DataArray:
    """Lay the neuroids of several subjects side by side, for the stimuli that they share."""
    (name, first), *rest = others.items()
    for other, data in rest:
        first, _ = join_stimuli(first, data, join=join, names=(f"subject {name!r}", f"subject {other!r}"))
    alike = [data.sel({STIMULUS: first[STIMULUS].values}) for data in others.values()]
    values = np.concatenate([data.transpose(STIMULUS, NEUROID).values for data in alike], axis=1)
    known = np.isfinite(values).all(axis=0)
    if not known.any():
        raise InputError(
            f"Every neuroid of {list_names(others, 5)} has NaN; there is nothing to predict from."
        )
    coords = {key: coord.variable for key, coord in first.coords.items() if coord.dims == (STIMULUS,)}
    return xr.DataArray(values[:, known], coords, (STIMULUS, "unit"), name="others")
