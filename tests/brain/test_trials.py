"""Responses to events: block averages by a loop, betas by nilearn itself, and events that can't be."""

import warnings

import nibabel
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from nilearn.glm.first_level import FirstLevelModel

from neurolens import brain
from neurolens.errors import InputError, LabelError, NeurolensWarning

N = 90
SECONDS = 2.0


def make_events(seed=0, names=("cat", "dog", "cow")):
    rng = np.random.default_rng(seed)
    onsets = 4 + np.arange(9) * 18.0 + rng.random(9)
    return pd.DataFrame({"onset": onsets, "duration": 3.0, "trial_type": rng.permutation(list(names) * 3)})


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    drift = np.cumsum(rng.normal(size=(2, 2, 2, N)), axis=3) / 3
    affine = np.diag([2.0, 2, 2, 1])
    values = [500 + drift + rng.normal(size=drift.shape) for _ in range(2)]
    return [nibabel.Nifti1Image(value.astype("float64"), affine) for value in values]


@pytest.fixture(scope="module")
def mask():
    return nibabel.Nifti1Image(np.ones((2, 2, 2), dtype="uint8"), np.diag([2.0, 2, 2, 1]))


@pytest.fixture(scope="module")
def series(images):
    data = brain.read_bold(images, repetition_time=SECONDS)
    exact = np.concatenate([image.get_fdata().reshape(-1, N).T for image in images])
    return data.copy(data=exact)  # nilearn's model computes in float64 too


EVENTS = [make_events(1), make_events(2)]


def fit_nilearn(image, mask, events, name, **options):
    confounds = options.pop("confounds", None)
    model = FirstLevelModel(t_r=SECONDS, mask_img=mask, minimize_memory=False, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nilearn's own, about its masker
        model.fit(image, events, confounds=confounds)
        effect = model.compute_contrast(name, output_type="effect_size")
    return effect.get_fdata().ravel()


@pytest.mark.parametrize("noise_model", ["ols", "ar1"])
@pytest.mark.parametrize("percent", [True, False])
def test_betas_are_nilearns(series, images, mask, noise_model, percent):
    given = series
    if percent:
        given = series.groupby("run").map(lambda run: 100 * (run / run.mean("time") - 1))
        given = given.assign_coords(series.coords)
    betas = brain.fit_betas(given, EVENTS, noise_model=noise_model)
    assert betas.dims == ("repetition", "stimulus", "neuroid")
    for run in range(2):
        for name in ("cat", "dog", "cow"):
            expected = fit_nilearn(
                images[run],
                mask,
                EVENTS[run],
                name,
                noise_model=noise_model,
                signal_scaling=0 if percent else False,
            )
            found = betas.sel(stimulus=name, repetition=run)
            np.testing.assert_allclose(found.values, expected, rtol=1e-8, atol=1e-8)
            assert int(found.run) == run + 1


def test_clean_series_scales_as_nilearns_model(series):
    percent = brain.clean_series(series, detrend=False, standardize="percent")
    by_hand = series.groupby("run").map(lambda run: 100 * (run / run.mean("time") - 1)).values
    np.testing.assert_allclose(percent.values, by_hand, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["lsa", "lss"])
def test_single_trials_are_nilearns_models_of_relabelled_events(series, images, mask, method):
    betas = brain.fit_betas(series, EVENTS, method=method, noise_model="ols")
    assert betas.sizes["repetition"] == 6
    seen = {"cat": 0, "dog": 0, "cow": 0}
    for run in range(2):
        events = EVENTS[run].sort_values("onset").reset_index(drop=True)
        for trial in range(len(events)):
            name = events.trial_type[trial]
            relabelled = events.copy()
            if method == "lsa":
                relabelled["trial_type"] = [f"t{k}" for k in range(len(events))]
            relabelled.loc[trial, "trial_type"] = "this"
            expected = fit_nilearn(
                images[run], mask, relabelled, "this", noise_model="ols", signal_scaling=False
            )
            found = betas.sel(stimulus=name, repetition=seen[name])
            np.testing.assert_allclose(found.values, expected, rtol=1e-8, atol=1e-8)
            assert float(found.onset) == events.onset[trial]
            seen[name] += 1


def test_fir_is_nilearns(series, images, mask):
    betas = brain.fit_betas(series, EVENTS, method="fir", fir_delays=[0, 2, 3], noise_model="ols")
    assert betas.dims == ("repetition", "stimulus", "neuroid", "time")
    assert betas.time.values.tolist() == [0.0, 4.0, 6.0]
    as_array = brain.fit_betas(
        series, EVENTS, method="fir", fir_delays=np.array([0, 2, 3]), noise_model="ols"
    )
    xr.testing.assert_identical(as_array, betas)
    options = {"hrf_model": "fir", "fir_delays": [0, 2, 3], "noise_model": "ols", "signal_scaling": False}
    expected = fit_nilearn(images[1], mask, EVENTS[1], "dog_delay_2", **options)
    np.testing.assert_allclose(betas.sel(stimulus="dog", repetition=1, time=4.0), expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fir_delays": [0, 1]}, "for method='fir', not method='glm'"),
        ({"hrf_model": "fir"}, "for method='fir', not method='glm'"),
        ({"method": "fir", "hrf_model": "spm"}, "takes no hrf_model, which is 'spm'"),
        ({"method": "fir", "fir_delays": [0, 0.5]}, r"fir_delays=0\.5: give a whole number"),
    ],
)
def test_options_without_meaning_are_refused(series, options, says):
    with pytest.raises(InputError, match=says):
        brain.fit_betas(series, EVENTS, **options)


def test_confounds_are_part_of_the_provenance(series):
    confounds = [np.random.default_rng(k).normal(size=(N, 2)) for k in range(2)]
    hashes = [
        brain.fit_betas(series, EVENTS, confounds=some, noise_model="ols").attrs["inputs"]
        for some in (None, confounds, [2 * one for one in confounds])
    ]
    assert len({str(one) for one in hashes}) == 3


def test_options_reach_the_design(series, images, mask):
    options = {"hrf_model": "spm", "drift_model": "polynomial", "drift_order": 2}
    confounds = [np.random.default_rng(k).normal(size=(N, 2)) for k in range(2)]
    betas = brain.fit_betas(series, EVENTS, noise_model="ols", confounds=confounds, **options)
    table = pd.DataFrame(confounds[0], columns=["a", "b"])
    options |= {"noise_model": "ols", "signal_scaling": False, "confounds": table}
    expected = fit_nilearn(images[0], mask, EVENTS[0], "cow", **options)
    np.testing.assert_allclose(betas.sel(stimulus="cow", repetition=0), expected, rtol=1e-8)


def test_a_spike_in_one_run_changes_no_beta_of_another(series):
    spiked = series.copy()
    spiked[N - 1] += 1000
    for method in ("glm", "lss"):
        one, two = (brain.fit_betas(s, EVENTS, method=method, noise_model="ols") for s in (series, spiked))
        later = one.run.values == 2
        np.testing.assert_array_equal(one.values[later], two.values[later])
        assert not np.allclose(one.values[~later], two.values[~later])


def test_names_that_are_no_identifiers_keep_apart(series):
    events = [table.replace({"trial_type": {"cat": "a b", "dog": "a-b", "cow": "1"}}) for table in EVENTS]
    renamed = brain.fit_betas(series, events, noise_model="ols")
    assert set(renamed.stimulus.values) == {"a b", "a-b", "1"}
    original = brain.fit_betas(series, EVENTS, noise_model="ols")
    np.testing.assert_allclose(renamed.sel(stimulus="a-b"), original.sel(stimulus="dog"))


def test_voxels_that_are_nan_stay_nan_and_change_no_other(series):
    holed = series.copy()
    holed[3, 2] = np.nan
    betas, expected = (brain.fit_betas(s, EVENTS) for s in (holed, series))
    assert np.isnan(betas.values[:, :, 2]).all()
    np.testing.assert_allclose(betas.values[:, :, [0, 1, 3]], expected.values[:, :, [0, 1, 3]])


def test_blocks_are_means_of_their_volumes(series):
    means = brain.average_blocks(series, EVENTS, delay=4.0)
    for run in range(2):
        part = series.values[run * N : (run + 1) * N]
        for _, event in EVENTS[run].iterrows():
            seconds = np.arange(N) * SECONDS
            inside = (seconds >= event.onset + 4) & (seconds < event.onset + 7)
            found = means.sel(stimulus=event.trial_type)
            place = (found.run.values == run + 1) & np.isclose(found.onset.values, event.onset)
            np.testing.assert_allclose(found.values[place][0], part[inside].mean(axis=0))


def test_stimuli_with_fewer_blocks_are_nan_beyond(series):
    fewer = [EVENTS[0], EVENTS[1][EVENTS[1].trial_type != "cat"]]
    means = brain.average_blocks(series, fewer, delay=4.0)
    assert means.sizes["repetition"] == 6
    assert np.isnan(means.sel(stimulus="cat").values[3:]).all()
    assert np.isfinite(means.sel(stimulus=["dog", "cow"]).values).all()
    average = brain.average_repetitions(means)
    assert average.n_repetitions.sel(stimulus="cat") == 3
    assert np.isfinite(average.values).all()


def test_events_come_from_files_and_tables_alike(series, tmp_path):
    EVENTS[0].to_csv(tmp_path / "one.tsv", sep="\t", index=False)
    EVENTS[1].to_csv(tmp_path / "two.csv", index=False)
    expected = brain.average_blocks(series, EVENTS)
    from_files = brain.average_blocks(series, [tmp_path / "one.tsv", str(tmp_path / "two.csv")])
    xr.testing.assert_allclose(from_files, expected)
    table = pd.concat([part.assign(run=run) for run, part in enumerate(EVENTS, start=1)])
    xr.testing.assert_allclose(brain.average_blocks(series, table), expected)
    renamed = [part.rename(columns={"trial_type": "image"}) for part in EVENTS]
    xr.testing.assert_allclose(brain.average_blocks(series, renamed, column="image"), expected)


def change(row, **values):
    table = EVENTS[0].copy()
    for name, value in values.items():
        table.loc[row, name] = value
    return [table, EVENTS[1]]


@pytest.mark.parametrize(
    ("events", "error", "message"),
    [
        (
            change(0, onset=500.0),
            InputError,
            r"1 of 9 events of run 1 lie outside.*at 500 s.*from 0 to 180 s",
        ),
        (change(0, onset=-3.0), InputError, "lie outside"),
        (change(0, duration=-1.0), InputError, "lie outside"),
        (change(2, onset=np.nan), InputError, "1 rows without onset.*row 2"),
        (change(2, trial_type=None), InputError, "1 rows without onset"),
        (EVENTS[:1], InputError, "1 tables of events for 2 runs"),
        (EVENTS[0], InputError, "1 tables of events for 2 runs"),
        ([EVENTS[0].drop(columns="duration"), EVENTS[1]], InputError, "lack the column 'duration'"),
        (EVENTS[0].assign(run=1), LabelError, "Without events: 2"),
        (pd.concat(EVENTS).assign(run=9), LabelError, "without volumes: '9'"),
        (["no.tsv", "no.tsv"], InputError, "no.tsv does not exist"),
        ([EVENTS[0][:0], EVENTS[1][:0]], InputError, "no stimulus at all"),
    ],
)
@pytest.mark.parametrize("make", [brain.average_blocks, brain.fit_betas])
def test_events_that_cannot_be_are_refused(series, make, events, error, message):
    with pytest.raises(error, match=message):
        make(series, events)


def test_an_event_that_ends_after_the_run_counts_as_far_as_it_was_measured(series):
    with pytest.warns(NeurolensWarning, match="1 of 9 events of run 1 end after its last volume"):
        late = brain.average_blocks(series, change(8, onset=176.0, duration=10.0), delay=0.0)
    place = np.isclose(late.onset.values, 176.0)
    np.testing.assert_allclose(late.values[place][0], series.values[88:90].mean(axis=0))
    with pytest.raises(InputError, match="No volume of run 1 falls into the block"):
        brain.average_blocks(series, change(8, onset=178.0, duration=2.0), delay=4.0)


def test_expected_stimuli_that_are_missing_are_named(series):
    with pytest.raises(LabelError, match="Never shown: 'horse'; not expected: 'cow'"):
        brain.average_blocks(series, EVENTS, stimuli=["cat", "dog", "horse"])
    kept = brain.average_blocks(series, EVENTS, ignore=["cow"], stimuli=["cat", "dog"])
    assert set(kept.stimulus.values) == {"cat", "dog"}


def test_more_regressors_than_volumes_are_refused(series):
    short = (
        series.groupby("run")
        .map(lambda run: run.isel(time=slice(0, 30)))
        .assign_coords(time=np.tile(np.arange(30) * SECONDS, 2), run=("time", np.repeat([1, 2], 30)))
    )
    events = [table[table.onset < 50] for table in EVENTS]
    with pytest.raises(InputError, match=r"has 30 volumes, but its model has \d+ regressors"):
        brain.fit_betas(short, events, method="fir", fir_delays=range(29))
    with pytest.raises(InputError, match="method='lsx'"):
        brain.fit_betas(series, EVENTS, method="lsx")
