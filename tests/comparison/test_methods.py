"""Every method gives, to the last bit, what the direct call gives; and what has no meaning is refused."""

import numpy as np
import pytest
import xarray as xr

import neurolens as nl
from neurolens.errors import InputError

QUIET = {"progress": False, "n_permutations": 19, "n_splits": 2}
RIDGE = nl.Ridge(alphas=10.0)
METHODS = {"cka": {}, "procrustes": {"n_components": 4}, "cca": {"n_components": 4}}


def lay_out(regions):
    """All neuroids of all subjects and regions on one dim, written out by hand."""
    parts = []
    for region, data in regions.items():
        for subject in data.subject.values:
            one = data.sel(subject=subject, drop=True)
            n = one.sizes["neuroid"]
            parts.append(
                one.assign_coords(region=("neuroid", [region] * n), subject=("neuroid", [subject] * n))
            )
    return xr.concat(parts, "neuroid")


def test_rsa_is_infer(network, regions):
    options = {"n_bootstraps": 30, "control": nl.rdm(network["middle"])}
    profile = nl.compare(network, regions, within="half", **options, **QUIET)
    for region, data in regions.items():
        want = nl.rsa.infer(nl.rdm(network), nl.rdm(data), n_permutations=19, within="half", **options)
        for name in ("score", "p", "p_corrected", "ci_low", "ci_high", "ceiling_low", "ceiling_high"):
            np.testing.assert_array_equal(profile[name].sel(region=region), want[name], err_msg=name)
        np.testing.assert_array_equal(
            profile.score_subject.sel(region=region).transpose("op", "subject"), want.score_subject
        )
    assert "stimuli and subjects" in profile.attrs["ci_of"]


@pytest.mark.parametrize("method", METHODS)
def test_patterns_are_compared_by_compare_representations(network, regions, method):
    profile = nl.compare(network, regions, method=method, options=METHODS[method], **QUIET)
    for region, data in regions.items():
        want = nl.rsa.compare_representations(
            network, data, method=method, n_permutations=19, **METHODS[method]
        )
        for name in ("score", "chance", "p", "p_corrected"):
            np.testing.assert_array_equal(profile[name].sel(region=region), want[name], err_msg=name)
        np.testing.assert_array_equal(
            profile.score_subject.sel(region=region).transpose("op", "subject"),
            want.score_subject.transpose("op", "subject"),
        )
    assert profile.score.sel(region="V1").idxmax("op") == "early"
    assert (profile.ceiling_low < profile.ceiling_high).all()
    assert ((profile.ci_low < profile.score) & (profile.score < profile.ci_high)).all()


def test_the_pool_of_cka_is_the_others_side_by_side(network, regions):
    profile = nl.compare(network, regions["IT"], method="cka", **QUIET)
    data = regions["IT"]
    squares = nl.rdm(data, metric="sqeuclidean")
    scale = np.sqrt(squares.mean(["stimulus", "stimulus_b"]))
    lows = []
    for i, label in enumerate(data.subject.values):
        others = (data / scale).drop_sel(subject=label).transpose("stimulus", "subject", "neuroid")
        flat = xr.DataArray(
            others.values.reshape(len(others), -1), {"stimulus": data.stimulus}, ("stimulus", "unit")
        )
        one = data.isel(subject=i, drop=True).rename(neuroid="unit")
        lows.append(float(nl.rsa.compare_representations(flat, one, n_permutations=0).score))
    assert float(profile.ceiling_low) == pytest.approx(np.mean(lows))


@pytest.mark.parametrize("method", ["ridge", "pls"])
def test_responses_are_predicted_by_encode(network, regions, method):
    model = {"ridge": nl.Ridge(alphas=10.0), "pls": nl.encoding.PLS(n_components=4)}[method]
    options = {"model": model}
    profile = nl.compare(network, regions, method=method, options=options, n_bootstraps=19, **QUIET)
    direct = nl.encode(network, lay_out(regions), model=model, predictions=True, progress=False)
    pooled = direct.drop_vars("subject")
    test = nl.encoding.permute_responses(pooled, n_permutations=19, by="region")
    interval = nl.encoding.bootstrap_stimuli(pooled, n_bootstraps=19, by="region")
    np.testing.assert_array_equal(profile.score, nl.encoding.summarize_regions(pooled))
    np.testing.assert_array_equal(profile.p, test.p)
    np.testing.assert_array_equal(profile.p_corrected, test.p_corrected)
    np.testing.assert_array_equal(profile.ci_low, interval.ci_low)
    np.testing.assert_array_equal(profile.ci_high, interval.ci_high)
    want = nl.encoding.summarize_regions(direct)
    np.testing.assert_array_equal(profile.score_subject, want.transpose("op", "region", "subject"))
    assert profile.score.sel(region="IT").idxmax("op") == "late"


def test_ersa_compares_predicted_rdms(network, regions):
    profile = nl.compare(
        network, regions, method="ersa", similarity="spearman", options={"model": RIDGE}, **QUIET
    )
    direct = nl.encode(network, lay_out(regions), model=RIDGE, predictions=True, progress=False)
    predicted = nl.encoding.predicted_rdm(direct)
    for region, data in regions.items():
        want = nl.rsa.infer(
            predicted.sel(region=region, drop=True),
            nl.rdm(data),
            method="spearman",
            within="test_fold",
            n_permutations=0,
            n_bootstraps=0,
        )
        for name in ("score", "ceiling_low", "ceiling_high"):  # its p is tested in test_predictions
            np.testing.assert_array_equal(profile[name].sel(region=region), want[name], err_msg=name)
        np.testing.assert_array_equal(
            profile.score_subject.sel(region=region).transpose("op", "subject"), want.score_subject
        )


def test_reliability_is_the_ceiling_of_an_encoding_model(network):
    rng = np.random.default_rng(0)
    signal = network["late"].values @ rng.standard_normal((12, 8))
    trials = signal + 2 * rng.standard_normal((6, *signal.shape))
    data = xr.DataArray(
        trials, {"stimulus": network["late"].stimulus.values}, ("repetition", "stimulus", "neuroid")
    )
    profile = nl.compare(
        network, data, method="ridge", options={"ceiling": "noise_ceiling", "model": RIDGE}, **QUIET
    )
    want = np.sqrt(np.median(nl.brain.noise_ceiling(data)))
    assert float(profile.ceiling_high) == pytest.approx(want, rel=0.02)
    assert profile.score.max() < profile.ceiling_high


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "ridge", "within": "half"}, "acts on RDMs"),
        ({"method": "cka", "n_bootstraps": 9}, "no bootstrap"),
        ({"method": "cka", "options": {"cv": 3}}, "'n_components'"),
        ({"options": {"cv": 3}}, "'resample'"),
        ({"control": "trained"}, "'untrained'"),
        ({"control": "untrained"}, "model, stimuli"),
        ({"n_permutations": 1.5}, r"n_permutations=1\.5: give a whole number"),
        ({"n_bootstraps": -1}, "n_bootstraps=-1"),
        ({"n_bootstraps": 1}, "no spread"),
        ({"seed": -1}, "seed=-1: give a whole number"),
        ({"seed": "a"}, "seed='a'"),
        ({"method": "pls", "passes": True}, "passes=True"),
    ],
)
def test_what_has_no_meaning_is_refused(network, regions, options, says):
    with pytest.raises(InputError, match=says):
        nl.compare(network, regions, **(QUIET | options))


@pytest.mark.parametrize("method", ["cka", "ridge", "ersa"])
def test_rdms_of_the_brain_cannot_be_predicted(network, regions, method):
    with pytest.raises(InputError, match="responses"):
        nl.compare(network, nl.rdm(regions["V1"]), method=method, **QUIET)
