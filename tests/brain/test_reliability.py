"""Labelled reliability: values of the numerics, with labels, units and the number of trials kept."""

import numpy as np
import pytest
import xarray as xr

from neurolens.brain import (
    average_repetitions,
    estimate_ncsnr,
    explainable_variance,
    ncsnr_ceiling,
    noise_ceiling,
    responses,
    split_half,
)
from neurolens.errors import InputError, NeurolensWarning
from neurolens.numerics import reliability

N = 50
MEASURES = {
    explainable_variance: reliability.explainable_variance,
    noise_ceiling: reliability.noise_ceiling,
    split_half: reliability.split_half,
}
measures = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)


@pytest.fixture
def trials():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(1, N, 4)) * [0.5, 1, 2, 4]
    return responses(
        signal + rng.normal(size=(4, N, 4)),
        stimulus=range(N),
        neuroid=list("abcd"),
        region=["V1", "V1", "IT", "IT"],
    )


@measures
def test_values_labels_and_attrs(measure, trials):
    result = measure(trials)
    np.testing.assert_allclose(result.values, MEASURES[measure](trials.values))
    assert result.dims == ("neuroid",)
    assert result.region.values.tolist() == ["V1", "V1", "IT", "IT"]
    assert result.attrs["units"] == "r2"
    assert result.attrs["n_averaged"] == (1 if measure is explainable_variance else 4)
    assert {"method", "parameters", "inputs", "neurolens_version", "long_name"} <= set(result.attrs)


@measures
def test_order_of_dims_stimuli_and_trials_does_not_matter(measure, trials):
    shuffled = trials.isel(stimulus=slice(None, None, -1), repetition=[2, 0, 3, 1]).transpose(
        "neuroid", "stimulus", "repetition"
    )
    xr.testing.assert_allclose(measure(shuffled), measure(trials))


@pytest.mark.parametrize("measure", [noise_ceiling, split_half])
def test_units_r_are_the_root_and_said_so(measure, trials):
    trials[:, :, 0] = np.random.default_rng(3).normal(size=(4, N))  # noise: estimates may be negative
    r2, r = measure(trials), measure(trials, units="r")
    positive = r2.values >= 0
    np.testing.assert_allclose(r.values[positive], np.sqrt(r2.values[positive]))
    assert np.isnan(r.values[~positive]).all()
    assert r.attrs["units"] == "r"


def test_number_of_averaged_trials_is_used_and_kept(trials):
    single = noise_ceiling(trials, n_averaged=1)
    np.testing.assert_allclose(single.values, explainable_variance(trials).values)
    assert single.attrs["n_averaged"] == 1
    assert (single < noise_ceiling(trials)).all()


def test_seed_of_split_half_is_kept(trials):
    many = xr.concat([trials, trials + 0.1 * trials[::-1].values], "repetition")
    assert split_half(many, n_splits=3, seed=5).attrs["seed"] == 5
    assert not np.allclose(split_half(many, n_splits=3, seed=5), split_half(many, n_splits=3, seed=6))


@measures
@pytest.mark.parametrize("value", [0.1, np.nan], ids=["constant", "nan"])
def test_neuroids_without_reliability_are_named(measure, trials, value):
    trials[:, :, 2] = value
    with pytest.warns(
        NeurolensWarning, match=r"1 of 4 neuroids are constant or contain NaN \('c'\)"
    ) as caught:
        result = measure(trials)
    assert np.isnan(result.values).tolist() == [False, False, True, False]
    assert caught[0].filename == __file__


@measures
def test_means_have_no_reliability(measure, trials):
    with pytest.raises(InputError, match="Give the single trials"):
        measure(trials.mean("repetition"))
    with pytest.raises(InputError, match="1 repetitions"):
        measure(trials.isel(repetition=[0]))


@pytest.mark.parametrize("measure", [noise_ceiling, split_half])
def test_unknown_units_are_an_error(measure, trials):
    with pytest.raises(InputError, match=r"units='R2'.*'r2'"):
        measure(trials, units="R2")


@pytest.fixture
def mixed(trials):
    """Every stimulus once at least, some twice, some four times."""
    missing = trials.copy()
    missing[1:, :10] = np.nan
    missing[2:, 10:25] = np.nan
    return missing


def test_missing_trials_count_for_what_they_are(mixed):
    ceiling = noise_ceiling(mixed)
    effective = N / (10 + 15 / 2 + 25 / 4)
    assert ceiling.attrs["n_averaged"] == pytest.approx(effective)
    share = explainable_variance(mixed)
    np.testing.assert_allclose(ceiling, effective * share / (1 + (effective - 1) * share))
    counts = np.repeat([1, 2, 4], [10, 15, 25])
    np.testing.assert_allclose(ncsnr_ceiling(estimate_ncsnr(mixed), counts), ceiling)
    assert average_repetitions(mixed).attrs["n_averaged"] == pytest.approx(effective)


def test_halves_of_missing_trials_are_refused(mixed):
    with pytest.raises(InputError, match=r"dropna\('stimulus', how='any'\)"):
        split_half(mixed)
    complete = mixed.dropna("stimulus", how="any")
    assert complete.sizes["stimulus"] == 25
    assert np.isfinite(split_half(complete)).all()


@pytest.mark.parametrize("measure", [explainable_variance, noise_ceiling])
def test_negative_reliability_stays_negative_in_r2_and_has_no_root(measure):
    """Repetitions that contradict each other: no estimate is capped at 0, none becomes an imaginary ceiling."""
    values = np.random.default_rng(0).normal(size=(1, N, 1))
    opposed = np.concatenate([values, -0.5 * values])
    result = measure(responses(opposed, stimulus=range(N)))
    assert result.values[0] < 0 or np.isnan(result.values[0])
    assert explainable_variance(responses(opposed, stimulus=range(N))).values[0] < 0
    assert np.isnan(noise_ceiling(responses(opposed, stimulus=range(N)), units="r").values[0])
    assert np.isnan(split_half(responses(opposed, stimulus=range(N)), units="r").values[0])
    assert estimate_ncsnr(responses(opposed, stimulus=range(N))).values[0] == 0


def test_ncsnr_ceilings_say_what_they_are(trials):
    ncsnr = estimate_ncsnr(trials)
    assert ncsnr.attrs["n_averaged"] == 1
    r2, r = ncsnr_ceiling(ncsnr, 3), ncsnr_ceiling(ncsnr, 3, units="r")
    np.testing.assert_allclose(r.values**2, r2.values)
    assert (r2.attrs["units"], r.attrs["units"]) == ("r2", "r")
    assert r2.attrs["n_averaged"] == 3
    assert r2.region.values.tolist() == ["V1", "V1", "IT", "IT"]
    assert {"method", "parameters", "inputs"} <= set(r2.attrs)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.1, 45.0], r"reaches 45.*noise ceilings in percent: c / 100 bounds r²"),
        ([-0.2, 0.5], "1 negative values"),
    ],
)
def test_ncsnr_in_wrong_units_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        ncsnr_ceiling(xr.DataArray(values, dims="neuroid"), 3)


def test_the_way_back_from_percent_that_the_message_tells(trials):
    ncsnr = estimate_ncsnr(trials)
    percent = 100 * ncsnr_ceiling(ncsnr, 3)
    back = np.sqrt(percent / (100 - percent) / 3)
    np.testing.assert_allclose(back, ncsnr)
