"""Arguments of the wrong kind: said by their name, with what was given; never an error from somewhere inside."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import neurolens as nl
from neurolens import brain, encoding, rsa
from neurolens.errors import NeurolensError
from neurolens.rsa import find_clusters, infer

RNG = np.random.default_rng(0)
IDS = [f"image{i}" for i in range(24)]
CONV = xr.DataArray(RNG.normal(size=(24, 6)), {"stimulus": IDS}, ("stimulus", "unit"))
RDM = nl.rdm(CONV)
SUBJECTS = xr.concat([RDM, RDM + 0.1 * (1 - np.eye(24))], "subject").assign_coords(subject=["a", "b"])
VOXELS = brain.responses(CONV.values @ RNG.normal(size=(6, 4)), stimulus=IDS, region=["V1", "V1", "IT", "IT"])
SCORES = encoding.encode({"conv": CONV}, VOXELS, model=nl.Ridge(alphas=1.0), predictions=True, progress=False)
SERIES = xr.DataArray(
    RNG.normal(size=(30, 2)),
    {"time": np.arange(30) * 2.0, "run": ("time", ["a"] * 30)},
    ("time", "neuroid"),
)
EVENTS = pd.DataFrame(
    {"onset": [2.0, 14.0, 26.0, 38.0], "duration": 6.0, "trial_type": ["cat", "rest", "dog", "rest"]}
)
TRIALS = xr.DataArray(RNG.normal(size=(4, 24, 3)), {"stimulus": IDS}, ("repetition", "stimulus", "neuroid"))
COURSES = xr.DataArray(RNG.normal(size=(6, 10)), {"time": np.arange(10) / 10}, ("subject", "time"))

# What should be a labelled array, and is none.
UNLABELLED = {
    "rdm": nl.rdm,
    "compare_rdms": lambda wrong: nl.compare_rdms(RDM, wrong),
    "infer": lambda wrong: infer(RDM, wrong),
    "encode": lambda wrong: nl.encode(CONV, wrong),
    "compare": lambda wrong: nl.compare(CONV, wrong),
    "fit_weights": lambda wrong: encoding.fit_weights(wrong, VOXELS),
    "flip_signs": encoding.flip_signs,
    "summarize_regions": encoding.summarize_regions,
    "normalize_scores": encoding.normalize_scores,
    "a ceiling": lambda wrong: encoding.normalize_scores(SCORES, wrong),
    "find_clusters": find_clusters,
    "noise_ceiling": brain.noise_ceiling,
    "ncsnr_ceiling": lambda wrong: brain.ncsnr_ceiling(wrong, 3),
    "delay_features": lambda wrong: brain.delay_features(wrong, [1]),
    "convolve_hrf": lambda wrong: brain.convolve_hrf(wrong, repetition_time=2.0),
    "fit_betas": lambda wrong: brain.fit_betas(wrong, EVENTS),
    "average_blocks": lambda wrong: brain.average_blocks(wrong, EVENTS),
    "clean_series": brain.clean_series,
    "rsa.noise_ceiling": lambda wrong: rsa.noise_ceiling(wrong),
}


@pytest.mark.parametrize("wrong", [np.zeros((24, 24)), [1.0], "conv", {}, 3, pd.DataFrame({"a": [1.0]})])
@pytest.mark.parametrize("call", UNLABELLED.values(), ids=UNLABELLED)
def test_what_has_no_labels_is_refused(call, wrong):
    with pytest.raises(NeurolensError):
        call(wrong)


# An option, and values that mean nothing there.
NOT_COUNTS = [None, "many", 2.5, [3], True, float("nan"), np.ones(3)]
NOT_SHARES = [None, "half", 0, 1.5, float("nan"), True, np.ones(3)]
NOT_WORDS = [3, ["max"], np.zeros((2, 2)), {}, "nonsense"]
NOT_NAMES = [["run"], 3, {}, np.array(["run"]), "nonsense"]
OPTIONS = {
    "infer n_permutations": (lambda wrong: infer(RDM, SUBJECTS, n_permutations=wrong), NOT_COUNTS),
    "infer n_bootstraps": (lambda wrong: infer(RDM, SUBJECTS, n_bootstraps=wrong), NOT_COUNTS),
    "infer confidence": (lambda wrong: infer(RDM, SUBJECTS, confidence=wrong), NOT_SHARES),
    "infer within": (lambda wrong: infer(RDM, SUBJECTS, within=wrong), NOT_NAMES),
    "infer test": (lambda wrong: infer(RDM, SUBJECTS, test=wrong), NOT_WORDS),
    "compare n_permutations": (lambda wrong: nl.compare(CONV, VOXELS, n_permutations=wrong), NOT_COUNTS),
    "compare n_splits": (lambda wrong: nl.compare(CONV, VOXELS, n_splits=wrong), NOT_COUNTS),
    "compare method": (lambda wrong: nl.compare(CONV, VOXELS, method=wrong), NOT_WORDS),
    "compare metric": (lambda wrong: nl.compare(CONV, VOXELS, metric=wrong), NOT_WORDS),
    "compare options": (lambda wrong: nl.compare(CONV, VOXELS, options=wrong), [3, "model", [1], np.ones(2)]),
    "compare ops": (lambda wrong: nl.compare({"conv": CONV}, VOXELS, ops=wrong), [3, None, [3], "fc"]),
    "compare client": (lambda wrong: nl.compare({"a": CONV}, VOXELS, client=wrong), [3, "cluster", {}]),
    "rdm over": (lambda wrong: nl.rdm(CONV, over=wrong), [3, None, [3], "nonsense", ["unitt"]]),
    "rdm metric": (lambda wrong: nl.rdm(CONV, metric=wrong), NOT_WORDS),
    "rdm client": (lambda wrong: nl.rdm({"conv": CONV}, client=wrong), [3, "cluster", {}]),
    "compare_rdms within": (lambda wrong: nl.compare_rdms(RDM, SUBJECTS, within=wrong), NOT_NAMES),
    "encode groups": (lambda wrong: nl.encode(CONV, VOXELS, groups=wrong), NOT_NAMES),
    "encode client": (lambda wrong: nl.encode(CONV, VOXELS, client=wrong), [3, "cluster", {}]),
    "permute_responses n_permutations": (
        lambda wrong: encoding.permute_responses(SCORES, n_permutations=wrong),
        NOT_COUNTS,
    ),
    "permute_responses by": (lambda wrong: encoding.permute_responses(SCORES, by=wrong), NOT_NAMES),
    "permute_responses blocks": (lambda wrong: encoding.permute_responses(SCORES, blocks=wrong), NOT_NAMES),
    "bootstrap_stimuli confidence": (
        lambda wrong: encoding.bootstrap_stimuli(SCORES, confidence=wrong),
        NOT_SHARES,
    ),
    "summarize_regions by": (lambda wrong: encoding.summarize_regions(SCORES, by=wrong), NOT_NAMES),
    "normalize_scores floor": (
        lambda wrong: encoding.normalize_scores(SCORES, SCORES.score[0, :, 0], floor=wrong),
        [None, "low", 0, -1, float("nan"), {}],
    ),
    "find_clusters threshold": (lambda wrong: find_clusters(COURSES, threshold=wrong), NOT_SHARES),
    "find_clusters n_permutations": (
        lambda wrong: find_clusters(COURSES, n_permutations=wrong),
        NOT_COUNTS,
    ),
    "noise_ceiling n_averaged": (
        lambda wrong: brain.noise_ceiling(TRIALS, n_averaged=wrong),
        ["all", 0.5, float("nan"), {}, [3]],
    ),
    "split_half n_splits": (lambda wrong: brain.split_half(TRIALS, n_splits=wrong), NOT_COUNTS),
    "delay_features delays": (
        lambda wrong: brain.delay_features(SERIES, wrong),
        [None, "12", [], [0.5], [1, 1], 3, [float("nan")]],
    ),
    "convolve_hrf repetition_time": (
        lambda wrong: brain.convolve_hrf(SERIES, repetition_time=wrong),
        [None, "2", 0, -1, float("nan")],
    ),
    "fit_betas ignore": (lambda wrong: brain.fit_betas(SERIES, EVENTS, ignore=wrong), [3, None, [3]]),
    "PrincipalComponents": (
        lambda wrong: nl.activations.PrincipalComponents(wrong, stimuli=IDS),
        [*NOT_COUNTS, 0],
    ),
}


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        pytest.param(call, wrong, id=f"{name}={type(wrong).__name__}")
        for name, (call, values) in OPTIONS.items()
        for wrong in values
    ],
)
def test_options_of_the_wrong_kind_are_named(call, wrong):
    with pytest.raises(NeurolensError):
        call(wrong)


def test_one_name_is_a_list_of_one():
    states = xr.concat([CONV, CONV**2], "pass").assign_coords({"pass": [1, 2]})
    xr.testing.assert_identical(nl.rdm(states, over="pass"), nl.rdm(states, over=["pass"]))
    assert nl.rdm(states, over="pass").sizes["pass"] == 2
    found = brain.fit_betas(SERIES, EVENTS, ignore="rest")
    xr.testing.assert_identical(found, brain.fit_betas(SERIES, EVENTS, ignore=["rest"]))
    assert set(found.stimulus.values.tolist()) == {"cat", "dog"}


def test_a_message_names_the_kind_and_not_the_whole_array():
    with pytest.raises(NeurolensError, match="metric, a ndarray, is not known; choose one of 'correlation'"):
        nl.rdm(CONV, metric=np.zeros((1000, 1000)))
    with pytest.raises(
        NeurolensError, match=r"fit_weights, of one operation .* needs a DataArray; got a dict"
    ):
        encoding.fit_weights({"conv": CONV}, VOXELS)
