"""Ceilings and regions by hand, and an answer for ceilings that cannot be divided by."""

import numpy as np
import pytest
import xarray as xr

from neurolens.brain import noise_ceiling
from neurolens.encoding import Ridge, encode, normalize_scores, summarize_regions
from neurolens.errors import InputError, LabelError, NeurolensWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*smallest or the largest alpha")


@pytest.fixture
def trials(rng, measure):
    """Three repetitions of ten voxels: half of a trial's variance is signal of the features."""
    features = rng.normal(size=(60, 4))
    signal = features @ rng.normal(size=(4, 10))
    signal /= signal.std(axis=0)
    regions = ["V1"] * 4 + ["IT"] * 6
    return features, measure(signal + rng.normal(size=(3, 60, 10)), region=regions)


@pytest.fixture
def result(trials, label):
    return {
        score: encode(
            {"a": label(trials[0])}, trials[1], ceiling="noise_ceiling", score=score, model=Ridge(1.0)
        )
        for score in ("pearson", "r2", "signed_r2")
    }


def test_scores_are_divided_by_what_noise_leaves(result):
    ceiling = result["r2"].ceiling
    np.testing.assert_allclose(normalize_scores(result["r2"]), result["r2"].score / ceiling)
    np.testing.assert_allclose(normalize_scores(result["signed_r2"]), result["signed_r2"].score / ceiling)
    normalised = normalize_scores(result["pearson"])
    np.testing.assert_allclose(normalised, result["pearson"].score / np.sqrt(ceiling))
    assert normalised.attrs["units"] == "share of the ceiling"
    assert normalised.attrs["ceiling"] == "noise-ceiling"


def test_a_model_with_the_right_features_reaches_the_ceiling(result):
    assert float(normalize_scores(result["pearson"]).mean()) == pytest.approx(1, abs=0.1)


def test_ceilings_below_the_floor_or_zero_give_nan_and_a_warning(result):
    ceiling = result["r2"].ceiling.copy()
    ceiling[0], ceiling[1] = -0.2, 0.01
    with pytest.warns(
        NeurolensWarning, match=r"2 of 10 neuroids have a ceiling below 0.05 \(1 of them below 0\)"
    ):
        normalised = normalize_scores(result["r2"], ceiling)
    assert np.isnan(normalised[:, :2]).all()
    assert np.isfinite(normalised[:, 2:]).all()
    assert normalize_scores(result["r2"], ceiling.where(ceiling > 0.02), floor=0.005)[0, 2:].notnull().all()


def test_a_ceiling_of_ones_own_fits_or_is_refused(result, trials):
    own = noise_ceiling(trials[1])
    np.testing.assert_allclose(normalize_scores(result["r2"], own), normalize_scores(result["r2"]))
    with pytest.raises(InputError, match="units 'r'"):
        normalize_scores(result["r2"], noise_ceiling(trials[1], units="r"))
    with pytest.raises(LabelError, match="sizes"):
        normalize_scores(result["r2"], own[:5])
    with pytest.raises(LabelError, match="other neuroids"):
        normalize_scores(result["r2"], own.assign_coords(neuroid=np.arange(10) + 3))
    with pytest.raises(InputError, match="There is no ceiling"):
        normalize_scores(result["r2"].drop_vars("ceiling"))
    with pytest.raises(InputError, match="floor=0"):
        normalize_scores(result["r2"], floor=0)


def test_regions_are_summarised_by_hand(result):
    r2 = result["r2"]
    by_region = {"V1": r2.isel(neuroid=slice(0, 4)), "IT": r2.isel(neuroid=slice(4, 10))}
    for how, expected in {
        "median": lambda d: d.score.mean("fold").median("neuroid"),
        "fold-median": lambda d: d.score.median("neuroid").mean("fold"),
        "ratio": lambda d: d.score.mean("fold").mean("neuroid") / d.ceiling.mean(),
    }.items():
        summary = summarize_regions(r2, how=how)
        assert summary.dims == ("op", "region")
        assert summary.n_neuroids.values.tolist() == [4, 6]
        for region, data in by_region.items():
            np.testing.assert_allclose(summary.sel(region=region), expected(data))
    assert "mean r2 / mean ceiling" in summarize_regions(r2, how="ratio").attrs["summary"]


def test_subjects_have_a_dim_of_their_own(trials, label):
    features, voxels = trials
    people = {"A": voxels, "B": voxels.isel(neuroid=slice(0, 4))}
    result = encode({"a": label(features)}, people, model=Ridge(1.0))
    summary = summarize_regions(result)
    assert summary.dims == ("op", "region", "subject")
    assert np.isnan(summary.sel(region="IT", subject="B"))
    assert summary.n_neuroids.sel(subject="B").values.tolist() == [4, 0]
    alone = summarize_regions(encode({"a": label(features)}, voxels, model=Ridge(1.0)))
    np.testing.assert_allclose(summary.sel(subject="A"), alone)


def test_neuroids_with_nan_are_left_out(result):
    scores = result["r2"].score.copy()
    scores[0, 0] = np.nan
    expected = float(scores[0, 1:4].mean("fold").median())
    assert summarize_regions(scores).sel(region="V1") == pytest.approx(expected)
    assert summarize_regions(scores).n_neuroids.values.tolist() == [3, 6]


def test_unknown_summaries_are_errors(result):
    with pytest.raises(InputError, match="how='mean'"):
        summarize_regions(result["r2"], how="mean")
    with pytest.raises(LabelError, match="by='lobe'"):
        summarize_regions(result["r2"], by="lobe")
    with pytest.raises(InputError, match='how="ratio"'):
        summarize_regions(result["pearson"], how="ratio")
    without = result["r2"].drop_vars("region")
    assert summarize_regions(without).dims == ("op",)
    assert isinstance(summarize_regions(without), xr.DataArray)
