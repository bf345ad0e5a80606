"""Trials stacked, averaged and taken one by one, by loops over labels."""

import numpy as np
import pytest
import xarray as xr

from neurolens import brain
from neurolens.errors import InputError, LabelError

SHOWN = ["a", "b", "a", "c", "b", "a"]


@pytest.fixture
def trials():
    values = np.random.default_rng(0).normal(size=(6, 4))
    coords = {
        "stimulus": ("presentation", SHOWN),
        "run": ("presentation", [1, 1, 2, 2, 3, 3]),
        "day": ("presentation", ["mon"] * 3 + ["tue"] * 3),
        "animate": ("presentation", [name != "c" for name in SHOWN]),
        "region": ("neuroid", ["V1", "V1", "IT", "IT"]),
    }
    return xr.DataArray(values, dims=("presentation", "neuroid"), coords=coords, attrs={"units": "Hz"})


def test_every_trial_has_its_place(trials):
    data = brain.stack_repetitions(trials.transpose())
    assert data.dims == ("repetition", "stimulus", "neuroid")
    assert data.stimulus.values.tolist() == ["a", "b", "c"]
    seen = dict.fromkeys(SHOWN, 0)
    for row, name in enumerate(SHOWN):
        place = data.sel(stimulus=name).isel(repetition=seen[name])
        np.testing.assert_array_equal(place.values, trials.values[row])
        assert place.run == trials.run[row]
        assert place.day == trials.day[row]
        seen[name] += 1
    assert np.isnan(data.values).all(axis=2).tolist() == [
        [False] * 3,
        [False, False, True],
        [False, True, True],
    ]
    assert data.animate.dims == ("stimulus",)
    assert data.day.values[2].tolist() == ["tue", "", ""]
    assert data.attrs == {"units": "Hz"}


def test_flat_trials_are_those_that_were_stacked(trials):
    flat = brain.flatten_repetitions(brain.stack_repetitions(trials))
    assert flat.stimulus.values.tolist() == ["a#0", "b#0", "c#0", "a#1", "b#1", "a#2"]
    for name in flat.stimulus.values:
        one = flat.sel(stimulus=name)
        rows = [k for k, shown in enumerate(SHOWN) if shown == str(one.condition.values)]
        row = rows[int(one.repetition)]
        np.testing.assert_array_equal(one.values, trials.values[row])
        assert one.run == trials.run[row]


def test_the_mean_is_over_the_trials_that_took_place(trials):
    mean = brain.average_repetitions(brain.stack_repetitions(trials))
    for name in "abc":
        expected = trials.values[[shown == name for shown in SHOWN]].mean(axis=0)
        np.testing.assert_allclose(mean.sel(stimulus=name), expected)
    assert mean.n_repetitions.values.tolist() == [3, 2, 1]
    assert mean.attrs["n_averaged"] == pytest.approx(3 / (1 / 3 + 1 / 2 + 1))


def test_a_hole_in_one_neuroid_is_no_missing_trial(trials):
    trials[2, 1] = np.nan
    mean = brain.average_repetitions(brain.stack_repetitions(trials))
    assert np.isnan(mean.sel(stimulus="a").values).tolist() == [False, True, False, False]
    assert mean.n_repetitions.values.tolist() == [3, 2, 1]


def test_time_is_kept(trials):
    resolved = xr.concat([trials, 2 * trials], xr.IndexVariable("time", [0.0, 0.1]))
    data = brain.stack_repetitions(resolved)
    assert data.dims == ("repetition", "stimulus", "neuroid", "time")
    np.testing.assert_allclose(data.isel(time=1), 2 * data.isel(time=0))
    mean = brain.average_repetitions(data)
    assert mean.dims == ("stimulus", "neuroid", "time")
    np.testing.assert_allclose(mean.isel(time=0), brain.average_repetitions(brain.stack_repetitions(trials)))
    assert brain.flatten_repetitions(data).dims == ("stimulus", "neuroid", "time")


def test_a_stimulus_without_any_trial_is_named(trials):
    data = brain.stack_repetitions(trials)
    data[:, 1] = np.nan
    for use in (brain.average_repetitions, brain.noise_ceiling, brain.estimate_ncsnr):
        with pytest.raises(InputError, match=r"1 of 3 stimuli have no trial at all, only NaN \('b'\)"):
            use(data)


def test_what_cannot_be_stacked_is_refused(trials):
    with pytest.raises(LabelError, match="coord 'stimulus' of 'presentation'"):
        brain.stack_repetitions(trials.drop_vars("stimulus"))
    with pytest.raises(LabelError, match="'presentation'"):
        brain.stack_repetitions(trials.rename(presentation="trial"))
    with pytest.raises(InputError, match="no dim 'repetition'"):
        brain.flatten_repetitions(brain.average_repetitions(brain.stack_repetitions(trials)))
