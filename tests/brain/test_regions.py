"""Regions as labels and as masks that overlap."""

import numpy as np
import pytest
import xarray as xr

from neurolens import brain
from neurolens.errors import InputError, LabelError


@pytest.fixture
def data():
    return brain.responses(np.arange(8.0).reshape(2, 4), stimulus=["a", "b"])


def test_labels_become_disjoint_masks(data):
    labelled = brain.label_regions(data, ["V1", "", "IT", "V1"])
    masks = brain.region_masks(labelled)
    assert masks.dims == ("region", "neuroid")
    assert masks.region.values.tolist() == ["V1", "IT"]
    assert masks.values.tolist() == [[True, False, False, True], [False, False, True, False]]


def test_overlapping_masks_come_back_as_they_were(data):
    given = {"V1": [True, True, False, False], "early": [1, 1, 1, 0]}
    labelled = brain.label_regions(data, given)
    np.testing.assert_array_equal(
        brain.region_masks(labelled).values, np.array(list(given.values())).astype(bool)
    )
    again = brain.label_regions(data, brain.region_masks(labelled))
    xr.testing.assert_identical(again, labelled)
    tree = brain.split_regions(labelled)
    assert list(tree.children) == ["V1", "early"]
    assert tree["early"]["responses"].values.tolist() == data.values[:, :3].tolist()
    assert set(tree["early"]["responses"].region.values) == {"early"}
    assert tree.attrs["n_unlabelled_neuroids"] == 1


def test_a_new_labelling_replaces_the_old_one(data):
    labelled = brain.label_regions(brain.label_regions(data, {"V1": [1, 0, 0, 0]}), ["IT"] * 4)
    assert "in_V1" not in labelled.coords
    assert list(brain.split_regions(labelled).children) == ["IT"]


@pytest.mark.parametrize("nothing", ["", None, np.nan])
def test_neuroids_without_a_region_are_left_out_and_counted(data, nothing):
    tree = brain.split_regions(brain.label_regions(data, ["V1", nothing, nothing, "V1"]))
    assert tree.attrs["n_unlabelled_neuroids"] == 2
    assert tree["V1"]["responses"].neuroid.values.tolist() == [0, 3]


def test_a_slash_in_a_name_makes_no_folder(data):
    tree = brain.split_regions(brain.label_regions(data, ["V1/V2"] * 4))
    assert list(tree.children) == ["V1-V2"]
    assert set(tree["V1-V2"]["responses"].region.values) == {"V1/V2"}


@pytest.mark.parametrize(
    ("regions", "error", "message"),
    [
        (["V1"], LabelError, "1 names for 4 neuroids"),
        ({"V1": [True]}, LabelError, r"'V1' has shape \(1,\)"),
        ({"V1": [0, 0, 0, 0]}, InputError, "'V1' is empty"),
        ({"V1": [0, 0.5, 1, 1]}, InputError, "must be of True and False"),
    ],
)
def test_regions_that_do_not_fit_are_refused(data, regions, error, message):
    with pytest.raises(error, match=message):
        brain.label_regions(data, regions)


def test_data_without_regions_are_refused(data):
    with pytest.raises(LabelError, match="name no regions"):
        brain.split_regions(data)
    both = brain.label_regions(data, {"V1": [1, 0, 0, 0]}).assign_coords(region=("neuroid", ["V1"] * 4))
    with pytest.raises(LabelError, match="both a label and a mask"):
        brain.region_masks(both)
