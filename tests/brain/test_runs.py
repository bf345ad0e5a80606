"""What is done run by run: cleaning as nilearn does it, delays and responses that never cross."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from nilearn.glm.first_level import compute_regressor
from nilearn.signal import clean

from neurolens import brain
from neurolens.errors import InputError, LabelError

EVENTS = pd.DataFrame(
    {"onset": [2.0, 14.0, 26.0, 38.0], "duration": 6.0, "trial_type": ["cat", "dog", "cat", "dog"]}
)


def make_series(n_runs=3, n_volumes=20, n_neuroids=4, seed=0, drift=1.0):
    rng = np.random.default_rng(seed)
    values = 100 + rng.normal(size=(n_runs * n_volumes, n_neuroids))
    values += (
        drift * np.tile(np.arange(n_volumes), n_runs)[:, None]
        + np.repeat(np.arange(n_runs), n_volumes)[:, None]
    )
    coords = {
        "time": np.tile(np.arange(n_volumes) * 2.0, n_runs),
        "run": ("time", np.repeat([f"r{k}" for k in range(n_runs)], n_volumes)),
    }
    return xr.DataArray(values, dims=("time", "neuroid"), coords=coords)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"detrend": True, "standardize": "zscore_sample"}),
        ({"standardize": "none"}, {"detrend": True, "standardize": None}),
        ({"detrend": False, "standardize": "percent"}, {"detrend": False, "standardize": "psc"}),
        (
            {"high_pass": 0.03},
            {"detrend": True, "standardize": "zscore_sample", "high_pass": 0.03, "filter": "cosine"},
        ),
    ],
)
def test_cleaning_is_that_of_nilearn_run_by_run(options, expected):
    series = make_series()
    expected = {"filter": False, "t_r": 2.0} | expected
    parts = [clean(series.values[k * 20 : (k + 1) * 20], **expected) for k in range(3)]
    np.testing.assert_allclose(
        brain.clean_series(series, **options), np.concatenate(parts), rtol=1e-5, atol=1e-5
    )


def test_confounds_are_removed():
    series = make_series()
    confounds = [np.random.default_rng(k).normal(size=(20, 1)) for k in range(3)]
    disturbed = series + 5 * np.concatenate(confounds)
    cleaned = brain.clean_series(disturbed, confounds=confounds)
    xr.testing.assert_identical(cleaned, brain.clean_series(disturbed, confounds=np.stack(confounds)))
    np.testing.assert_allclose(cleaned, brain.clean_series(series, confounds=confounds), atol=1e-4)
    with pytest.raises(InputError, match="2 arrays for 3 runs"):
        brain.clean_series(series, confounds=confounds[:2])
    with pytest.raises(InputError, match=r"shape \(19, 1\)"):
        brain.clean_series(series, confounds=[confound[:19] for confound in confounds])


def test_nothing_of_a_spike_at_a_runs_end_reaches_another_run():
    series = make_series()
    spiked = series.copy()
    spiked[19] += 1000
    for options in ({}, {"high_pass": 0.02}, {"detrend": False, "standardize": "percent"}):
        clean_one, clean_two = brain.clean_series(series, **options), brain.clean_series(spiked, **options)
        np.testing.assert_array_equal(clean_one[20:], clean_two[20:])
        assert not np.allclose(clean_one[:20], clean_two[:20])
    delays = [-2, 0, 1, 5, 30]
    one, two = brain.delay_features(series, delays), brain.delay_features(spiked, delays)
    np.testing.assert_array_equal(one[20:], two[20:])
    spiked[17] += 1000  # the response to it peaks three volumes later, beyond the end of the run
    one, two = (brain.convolve_hrf(part, repetition_time=2.0) for part in (series, spiked))
    np.testing.assert_array_equal(one[20:], two[20:])
    assert not np.allclose(one[:20], two[:20])


def test_delays_are_a_loop():
    series = make_series(n_runs=2, n_volumes=5)
    delayed = brain.delay_features(series, [2, -1])
    for volume in range(10):
        run = volume // 5
        for column, delay in enumerate([2, -1]):
            source = volume - delay
            inside = run * 5 <= source < (run + 1) * 5
            expected = series.values[source] if inside else np.zeros(4)
            np.testing.assert_array_equal(delayed.values[volume, column], expected)
    assert delayed.delay.values.tolist() == [2, -1]
    assert delayed.run.values.tolist() == series.run.values.tolist()


def test_the_haemodynamic_response_is_nilearns():
    """An event of one volume, sampled as a boxcar, against nilearn's regressor made on a fine grid."""
    features = xr.DataArray(np.zeros((40, 1)), dims=("time", "feature"), coords={"run": ("time", [1] * 40)})
    features[5] = 1
    ours = brain.convolve_hrf(features, repetition_time=1.0).values[:, 0]
    theirs = compute_regressor(np.array([[5.0], [1.0], [1.0]]), "glover", np.arange(40.0))[0][:, 0]
    assert np.corrcoef(ours, theirs)[0, 1] > 0.98


@pytest.mark.parametrize("delays", [[], [1, 1], [0.5], ["a"]])
def test_other_delays_are_refused(delays):
    with pytest.raises((InputError, ValueError), match=r"whole numbers|invalid literal"):
        brain.delay_features(make_series(), delays)


def test_series_without_runs_or_volumes_are_refused():
    with pytest.raises(LabelError, match="no coord 'run'"):
        brain.clean_series(make_series().drop_vars("run"))
    with pytest.raises(LabelError, match="no coord 'time'"):
        brain.clean_series(make_series().drop_vars("time"))
    with pytest.raises(InputError, match="Run 'r2' has 1 volume"):
        brain.clean_series(make_series().isel(time=slice(0, 41)))
    with pytest.raises(InputError, match="detrend=False"):
        brain.clean_series(make_series(), standardize="percent")
    with pytest.raises(InputError, match="hrf='gamma'"):
        brain.convolve_hrf(make_series(), repetition_time=2.0, hrf="gamma")


@pytest.mark.parametrize("call", [brain.clean_series, partial(brain.fit_betas, events=EVENTS)])
def test_confounds_that_cannot_be_used_name_their_run(call):
    run = xr.DataArray(
        np.random.default_rng(0).normal(size=(30, 2)),
        {"time": np.arange(30) * 2.0, "run": ("time", ["run-1"] * 30)},
        ("time", "neuroid"),
    )
    motion = pd.DataFrame(np.random.default_rng(1).normal(size=(30, 3)), columns=["x", "y", "dx"])
    xr.testing.assert_identical(call(run, confounds=motion), call(run, confounds=[motion.values]))
    motion.loc[0, "dx"] = np.nan  # a difference has no first value
    with pytest.raises(InputError, match=r"run 'run-1' hold NaN in the columns \[2\].*fillna"):
        call(run, confounds=[motion])
    call(run, confounds=[motion.fillna(0)])
    with pytest.raises(InputError, match=r"run 'run-1' have shape \(20, 3\); expected \(30, n_confounds\)"):
        call(run, confounds=[motion[:20]])
    with pytest.raises(InputError, match="run 'run-1' are no numbers"):
        call(run, confounds=[motion.assign(x="left")])
    with pytest.raises(InputError, match="confounds holds 2 arrays for 1 runs"):
        call(run, confounds=[motion, motion])
