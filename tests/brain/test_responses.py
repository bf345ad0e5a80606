"""Labelled responses: what is accepted, what is refused, and what the message says."""

import numpy as np
import pytest
import xarray as xr

from neurolens.brain import average_repetitions, by_subject, check_responses, responses
from neurolens.errors import InputError, LabelError

IDS = ["cat", "dog", "cow"]


@pytest.fixture
def trials():
    return np.random.default_rng(0).normal(size=(4, 3, 5))


@pytest.mark.parametrize("n_dims", [2, 3])
def test_arrays_are_labelled(trials, n_dims):
    array = trials if n_dims == 3 else trials[0]
    data = responses(array, stimulus=IDS, region="IT", subject=["A"] * 5, coords={"x": np.arange(5.0)})
    assert data.dims == ("repetition", "stimulus", "neuroid")[3 - n_dims :]
    assert data.stimulus.values.tolist() == IDS
    assert data.region.values.tolist() == ["IT"] * 5
    assert data.subject.values.tolist() == ["A"] * 5
    assert data.x.dims == ("neuroid",)
    np.testing.assert_array_equal(data.values, array)


def test_columns_of_stimulus_come_along(trials):
    data = responses(trials, stimulus={"stimulus": IDS, "animate": ("stimulus", [True, True, False])})
    assert data.animate.dims == ("stimulus",)
    assert data.sel(stimulus="dog").animate.item() is True


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("float32", "float32"),
        ("float64", "float64"),
        ("int16", "float64"),
        ("bool", "float64"),
        ("float16", "float64"),
    ],
)
def test_dtype(given, expected):
    assert responses(np.ones((3, 2), dtype=given), stimulus=IDS).dtype == expected


@pytest.mark.parametrize("dims", [("voxel", "stimulus"), ("stimulus", "neuroid"), ("neuroid", "stimulus")])
def test_dims_are_brought_to_one_order_and_name(dims):
    raw = xr.DataArray(np.arange(6.0).reshape(3, 2), dims=("stimulus", "unit"), coords={"stimulus": IDS})
    name = next(dim for dim in dims if dim != "stimulus")
    data = check_responses(raw.rename(unit=name).transpose(*dims))
    assert data.dims == ("stimulus", "neuroid")
    assert data.neuroid.values.tolist() == [0, 1]
    np.testing.assert_array_equal(data.values, raw.values)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"stimulus": ["cat", "dog"]}, LabelError, "'stimulus' has 2 labels"),
        ({"stimulus": ["cat", "cat", "dog"]}, LabelError, "repeats the stimulus label 'cat'|repeat.*'cat'"),
        ({"stimulus": IDS, "region": ["V1"]}, LabelError, "'region' has 1 labels"),
        ({"stimulus": IDS, "neuroid": range(4)}, LabelError, "'neuroid' has 4 labels"),
        ({"stimulus": {"id": IDS}}, LabelError, "'id'"),
    ],
)
def test_labels_that_do_not_fit_are_errors(trials, options, error, message):
    with pytest.raises(error, match=message):
        responses(trials, **options)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "1 dimensions"),
        (np.zeros((3, 2), dtype=complex), "complex128"),
        (np.full((3, 2), "a"), "real numbers"),
        (np.zeros((3, 0)), "empty"),
    ],
)
def test_arrays_that_are_no_responses_are_errors(array, message):
    with pytest.raises(InputError, match=message):
        responses(array, stimulus=IDS)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        (("stimulus", "channel"), r"rename\(channel='neuroid'\)"),
        (("subject", "stimulus", "neuroid"), "Give subjects as a dict"),
        (("stimulus", "neuroid", "time"), r"mean\('time'\)"),
        (("stimulus",), r"expand_dims\('neuroid'\)"),
    ],
)
def test_other_dims_are_errors_that_say_what_to_do(dims, message):
    data = xr.DataArray(np.zeros((3,) * len(dims)), dims=dims, coords={"stimulus": IDS})
    with pytest.raises(InputError, match=message):
        check_responses(data)


def test_stimuli_without_labels_are_an_error():
    with pytest.raises(LabelError, match="no labels"):
        check_responses(xr.DataArray(np.zeros((3, 2)), dims=("stimulus", "neuroid")))


def test_averaging_is_the_mean_and_counts(trials):
    data = responses(trials, stimulus=IDS).assign_attrs(units="% signal change")
    mean = average_repetitions(data)
    np.testing.assert_allclose(mean.values, trials.mean(axis=0))
    assert mean.attrs == {"units": "% signal change", "n_averaged": 4}
    assert average_repetitions(mean).attrs["n_averaged"] == 4
    assert average_repetitions(responses(trials[0], stimulus=IDS)).attrs["n_averaged"] == 1


def test_a_missing_trial_is_missing_in_the_mean(trials):
    trials[1, 2, 3] = np.nan
    missing = np.isnan(average_repetitions(responses(trials, stimulus=IDS)).values)
    assert missing[2, 3]
    assert missing.sum() == 1


def test_subjects_in_every_container(trials):
    one = responses(trials[0], stimulus=IDS)
    two = responses(trials[1, :2], stimulus=IDS[:2])
    tree = xr.DataTree.from_dict({"S1": one.to_dataset(name="beta"), "S2": two.to_dataset(name="beta")})
    for container in ({"S1": one, "S2": two}, tree):
        subjects = by_subject(container)
        assert list(subjects) == ["S1", "S2"]
        np.testing.assert_array_equal(subjects["S2"].values, two.values)
    both = xr.concat([one, one + 1], xr.IndexVariable("subject", ["S1", "S2"]))
    for with_dim in (both, both.rename(subject="subject_id", neuroid="voxel").transpose()):
        subjects = by_subject(with_dim)
        assert list(subjects) == ["S1", "S2"]
        np.testing.assert_array_equal(subjects["S2"].values, one.values + 1)
    regions = xr.DataTree.from_dict({"IT": both.to_dataset(name="beta"), "V1": one.to_dataset(name="beta")})
    assert list(by_subject(regions["IT"])) == [
        "S1",
        "S2",
    ]  # a branch is told by what is in it, not by its name
    assert list(by_subject(regions["V1"])) == [""]
    for single in (one, one.to_dataset(name="beta")):
        np.testing.assert_array_equal(by_subject(single)[""].values, one.values)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((3, 2)), "got ndarray, without any"),
        ({}, "got dict, without any"),
        ({"S1": np.zeros((3, 2))}, "'S1: ndarray'"),
        (xr.Dataset({"a": ("x", [1.0]), "b": ("x", [2.0])}), "'a', 'b'"),
        (None, "NoneType"),
    ],
)
def test_other_containers_are_errors(given, message):
    with pytest.raises(InputError, match=message):
        by_subject(given)


def test_an_error_names_the_subject(trials):
    good = responses(trials[0], stimulus=IDS)
    with pytest.raises(InputError, match="subject 'S2'"):
        by_subject({"S1": good, "S2": good.isel(neuroid=0, drop=True)})


def test_further_coords_of_stimuli_are_plain_columns_or_pairs():
    plain = responses(np.eye(3), stimulus={"stimulus": list("abc"), "run": [1, 1, 2]})
    pairs = responses(np.eye(3), stimulus={"stimulus": list("abc"), "run": ("stimulus", [1, 1, 2])})
    xr.testing.assert_identical(plain, pairs)
    assert plain.run.dims == ("stimulus",)
    with pytest.raises(LabelError, match="'run' has 2 labels for the dim 'stimulus'"):
        responses(np.eye(3), stimulus={"stimulus": list("abc"), "run": [1, 2]})
