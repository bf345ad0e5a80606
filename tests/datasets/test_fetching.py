import dataclasses

import pytest

from neurolens import datasets
from neurolens.errors import InputError, NeurolensWarning, StoreError


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine with an empty folder of data: the only dataset at hand is the embedded one."""
    monkeypatch.setenv("NEUROLENS_DATA", str(tmp_path))
    return {"data_home": tmp_path, "download": False}


def test_the_embedded_dataset_needs_nothing(nowhere):
    dataset = datasets.fetch("shapes80", **nowhere)
    assert dataset.card.simulated
    assert dataset.card.obtained.startswith("embedded")


def test_the_fallback_takes_the_place_and_says_so(nowhere):
    with pytest.warns(
        NeurolensWarning, match=r"'shapes80' \(SIMULATED data\) instead of 'kriegeskorte92'"
    ) as told:
        dataset = datasets.fetch("kriegeskorte92", fallback="shapes80", **nowhere)
    assert dataset.name == "shapes80"
    assert told[0].filename == __file__


def test_without_a_fallback_it_is_an_error(nowhere):
    with pytest.raises(StoreError, match=r"'kriegeskorte92' cannot be had.*By hand: .*fallback='shapes80'"):
        datasets.fetch("kriegeskorte92", **nowhere)


@pytest.mark.parametrize("arguments", [{"name": "shapes08"}, {"name": "shapes80", "fallback": "shapes"}])
def test_unknown_names_are_refused(arguments):
    with pytest.raises(InputError, match=r"choose one of .*'kriegeskorte92'.*'shapes80'"):
        datasets.fetch(**arguments)


def test_every_card_can_be_fetched_by_name():
    for name in datasets.list_datasets():
        try:
            datasets.fetch(name, download=False)
        except StoreError as error:  # known, but not on this machine
            assert "cannot be had" in str(error)  # noqa: PT017


def test_the_repr_tells_regions_sizes_and_that_it_is_simulated(nowhere):
    text = repr(datasets.fetch("shapes80", **nowhere))
    for part in (
        "SIMULATED",
        "simulated_late",
        "subject 6, stimulus 80, neuroid 300",
        "80 images",
        "face_01",
    ):
        assert part in text


def test_a_dataset_is_immutable(nowhere):
    dataset = datasets.fetch("shapes80", **nowhere)
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.card = None


@pytest.mark.realdata
def test_real_files_are_found_in_the_folder_of_the_variable(real_data, monkeypatch):
    monkeypatch.setenv("NEUROLENS_DATA", str(real_data))
    dataset = datasets.fetch("kriegeskorte92", download=False)
    assert not dataset.card.simulated
    assert dataset.card.obtained == f"read from {real_data / 'kriegeskorte92'}"
