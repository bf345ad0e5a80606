"""Brain-Score, rsatoolbox and MNE: read as their own code lays data out, and written so that it can read them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rsatoolbox.data import Dataset, TemporalDataset

from neurolens import brain
from neurolens.errors import InputError, LabelError

SHOWN = ["a", "b", "a", "c", "b", "c"]


def make_assembly(n_bins=1, name="image_id", indexed=True):
    """An assembly as the published netCDF files hold it: neuroid first, every coord a level of an index."""
    values = np.random.default_rng(0).normal(size=(4, 6, n_bins))
    coords = {
        name: ("presentation", SHOWN),
        "repetition": ("presentation", [0, 0, 1, 0, 1, 1]),
        "object_name": ("presentation", [f"object {shown}" for shown in SHOWN]),
        "neuroid_id": ("neuroid", ["n1", "n2", "n3", "n4"]),
        "region": ("neuroid", ["V4", "V4", "IT", "IT"]),
        "animal": ("neuroid", ["Chabo", "Tito", "Chabo", "Tito"]),
        "time_bin_start": ("time_bin", 70 + 20 * np.arange(n_bins)),
        "time_bin_end": ("time_bin", 90 + 20 * np.arange(n_bins)),
    }
    array = xr.DataArray(values, dims=("neuroid", "presentation", "time_bin"), coords=coords)
    if not indexed:
        return array
    levels = {dim: [key for key, coord in coords.items() if coord[0] == dim] for dim in array.dims}
    return array.set_index(levels)


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("name", ["image_id", "stimulus_id"])
def test_an_assembly_is_read_by_its_labels(name, indexed):
    assembly = make_assembly(name=name, indexed=indexed)
    data = brain.from_brainscore(assembly)
    assert data.dims == ("repetition", "stimulus", "neuroid")
    assert data.stimulus.values.tolist() == ["a", "b", "c"]
    assert data.neuroid.values.tolist() == ["n1", "n2", "n3", "n4"]
    assert data.subject.values.tolist() == ["Chabo", "Tito", "Chabo", "Tito"]
    assert data.object_name.dims == ("stimulus",)
    by_hand = {shown: assembly.values[:, [s == shown for s in SHOWN], 0].T for shown in "abc"}
    for shown, expected in by_hand.items():
        np.testing.assert_array_equal(data.sel(stimulus=shown).values, expected)


def test_time_bins_become_time():
    data = brain.from_brainscore(make_assembly(n_bins=3))
    np.testing.assert_allclose(data.time, [0.08, 0.1, 0.12])
    np.testing.assert_array_equal(data.values[0, 0], make_assembly(n_bins=3).values[:, 0])


def test_what_is_written_for_brainscore_is_read_back():
    data = brain.from_brainscore(make_assembly(n_bins=2))
    written = brain.to_brainscore(data)
    assert {"stimulus_id", "repetition", "object_name"} <= {
        k for k, v in written.coords.items() if v.dims == ("presentation",)
    }
    levels = {
        dim: [key for key, coord in written.coords.items() if coord.dims == (dim,)] for dim in written.dims
    }
    gathered = written.set_index(levels)  # what NeuroidAssembly does with plain coords
    again = brain.from_brainscore(gathered)
    np.testing.assert_allclose(again.sel(stimulus=data.stimulus.values).values, data.values)
    np.testing.assert_allclose(again.time, data.time)
    assert brain.to_brainscore(brain.average_repetitions(data)).sizes["presentation"] == 3


def test_assemblies_without_labels_are_refused():
    with pytest.raises(LabelError, match="neither 'stimulus_id' nor 'image_id'"):
        brain.from_brainscore(make_assembly(name="picture"))
    with pytest.raises(LabelError, match="has the dims 'presentation' and 'neuroid'"):
        brain.from_brainscore(make_assembly(indexed=False).rename(presentation="trial"))


@pytest.mark.parametrize("temporal", [False, True])
def test_rsatoolbox_datasets_go_in_and_out(temporal):
    values = np.random.default_rng(0).normal(size=(6, 4, 3))
    described = {
        "obs_descriptors": {"conds": SHOWN, "session": [0, 0, 0, 1, 1, 1]},
        "channel_descriptors": {"roi": ["V1", "V1", "IT", "IT"]},
        "descriptors": {"subject": "S1"},
    }
    dataset = (
        TemporalDataset(values, time_descriptors={"time": [0.0, 0.1, 0.2]}, **described)
        if temporal
        else Dataset(values[..., 0], **described)
    )
    data = brain.from_rsatoolbox(dataset, stimulus="conds")
    assert data.sizes["repetition"] == 2
    assert data.roi.dims == ("neuroid",)
    assert data.attrs == {"subject": "S1"}
    for shown in "abc":
        rows = [s == shown for s in SHOWN]
        np.testing.assert_array_equal(data.sel(stimulus=shown).values, dataset.measurements[rows])
    written = brain.to_rsatoolbox(data)
    assert type(written) is type(dataset)
    assert written.channel_descriptors["roi"] == ["V1", "V1", "IT", "IT"]
    again = brain.from_rsatoolbox(written)
    np.testing.assert_array_equal(again.values, data.values)
    assert again.session.values.tolist() == data.session.values.tolist()
    with pytest.raises(LabelError, match="no descriptor 'stimulus'"):
        brain.from_rsatoolbox(dataset)


def make_epochs(**changes):
    values = np.random.default_rng(0).normal(size=(6, 2, 5))
    channels = [{"loc": np.r_[0.01 * k, 0.02, 0.03, np.zeros(9)]} for k in range(2)]
    given = {
        "get_data": lambda: values,
        "times": np.arange(5) / 100 - 0.01,
        "ch_names": ["Oz", "Cz"],
        "events": np.c_[np.arange(6), np.zeros(6, int), [1, 2, 1, 3, 2, 3]],
        "event_id": {"a": 1, "b": 2, "c": 3},
        "metadata": pd.DataFrame({"image": [f"{shown}.jpg" for shown in SHOWN]}),
        "info": {"chs": channels},
        "get_channel_types": lambda: ["eeg", "eeg"],
    }
    return SimpleNamespace(**(given | changes))


@pytest.mark.parametrize("stimulus", [None, "image", SHOWN])
def test_epochs_are_read_by_their_events_metadata_or_given_labels(stimulus):
    epochs = make_epochs()
    data = brain.from_mne(epochs, stimulus=stimulus)
    assert data.dims == ("repetition", "stimulus", "neuroid", "time")
    assert data.neuroid.values.tolist() == ["Oz", "Cz"]
    np.testing.assert_allclose(data.x, [0, 10])
    assert data.channel_type.values.tolist() == ["eeg", "eeg"]
    for shown in "abc":
        label = f"{shown}.jpg" if stimulus == "image" else shown
        expected = epochs.get_data()[[s == shown for s in SHOWN]]
        np.testing.assert_array_equal(data.sel(stimulus=label).values, expected)
    np.testing.assert_allclose(data.time, epochs.times)


def test_ceilings_are_resolved_in_time():
    data = brain.from_mne(make_epochs())
    ceiling = brain.noise_ceiling(data)
    assert ceiling.dims == ("neuroid", "time")
    for k in range(5):
        np.testing.assert_allclose(ceiling.isel(time=k), brain.noise_ceiling(data.isel(time=k)))


@pytest.mark.parametrize(
    ("changes", "options", "error", "message"),
    [
        ({}, {"stimulus": "picture"}, LabelError, "no column 'picture': 'image'"),
        ({"metadata": None}, {"stimulus": "image"}, LabelError, "no metadata"),
        ({}, {"stimulus": ["a"]}, LabelError, "there are 1 labels"),
        ({"event_id": {"a": 1, "b": 2}}, {}, LabelError, "no stimulus for the codes 3"),
        ({"ch_names": ["Oz"]}, {}, LabelError, "1 channels"),
    ],
)
def test_epochs_that_do_not_fit_are_refused(changes, options, error, message):
    with pytest.raises(error, match=message):
        brain.from_mne(make_epochs(**changes), **options)


def test_other_objects_are_refused():
    with pytest.raises(InputError, match="has no 'get_data'"):
        brain.from_mne(np.zeros((2, 3)))
