"""Labelled reliability: values of the numerics, with labels, units and the number of trials kept."""

import numpy as np
import pytest
import xarray as xr

from neurolens.brain import explainable_variance, noise_ceiling, responses, split_half
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
