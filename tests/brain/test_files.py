"""Files of arrays: every kind gives the same labelled responses."""

import h5py
import numpy as np
import pandas
import pytest
import xarray as xr
from scipy.io import savemat

import neurolens
from neurolens import brain
from neurolens.brain.blocks import is_loaded
from neurolens.errors import InputError, LabelError

IDS = ["cat", "dog", "horse"]
VALUES = np.random.default_rng(0).normal(size=(2, 3, 5))
DIMS = ("repetition", "stimulus", "neuroid")
REGIONS = ["V1", "V1", "IT", "IT", "IT"]
EXPECTED = brain.responses(VALUES, stimulus=IDS, region=REGIONS)


def write_npy(folder):
    np.save(folder / "trials.npy", VALUES)
    return folder / "trials.npy", {"dims": DIMS, "stimulus": IDS, "coords": {"region": REGIONS}}


def write_npz(folder):
    np.savez(folder / "trials.npz", data=VALUES, ids=IDS, roi=REGIONS)
    return folder / "trials.npz", {"dims": DIMS, "stimulus": "ids", "coords": {"region": "roi"}}


def write_mat(folder):
    cells = np.empty((3, 1), dtype=object)
    cells[:, 0] = IDS
    savemat(folder / "trials.mat", {"data": VALUES, "ids": cells, "roi": np.array(REGIONS), "n": 5})
    return folder / "trials.mat", {"dims": DIMS, "stimulus": "ids", "coords": {"region": "roi"}}


def write_mat_of_version_seven(folder):
    """MATLAB writes HDF5 with the axes the other way round."""
    with h5py.File(folder / "trials.mat", "w") as file:
        file["data"] = VALUES.T
        file["n"] = np.ones((1, 1))
    return folder / "trials.mat", {"dims": DIMS, "stimulus": IDS, "coords": {"region": REGIONS}}


def write_hdf5(folder):
    with h5py.File(folder / "trials.h5", "w") as file:
        file["session1/data"] = VALUES
        file["session1/other"] = VALUES[0]
        file["ids"] = np.array(IDS, dtype=h5py.string_dtype())
    options = {"variable": "session1/data", "stimulus": "ids", "coords": {"region": REGIONS}}
    return folder / "trials.h5", {"dims": DIMS, **options}


def write_netcdf(folder):
    EXPECTED.rename("data").to_netcdf(folder / "trials.nc", engine="h5netcdf")
    return folder / "trials.nc", {}


def write_unlabelled_netcdf(folder):
    raw = xr.DataArray(VALUES, dims=("a", "b", "c"), name="data")
    raw.to_netcdf(folder / "trials.nc", engine="h5netcdf")
    return folder / "trials.nc", {"dims": DIMS, "stimulus": IDS, "coords": {"region": REGIONS}}


def write_zarr(folder):
    texts = {name: EXPECTED[name].astype(object) for name in ("stimulus", "region")}
    data = EXPECTED.assign_coords(texts).rename("data")
    data.to_dataset().to_zarr(folder / "trials", consolidated=False)
    return folder / "trials", {}


WRITERS = [
    write_npy, write_npz, write_mat, write_mat_of_version_seven, write_hdf5, write_netcdf, write_unlabelled_netcdf,
    write_zarr,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_every_kind_of_file_gives_the_same(write, tmp_path):
    path, options = write(tmp_path)
    data = brain.read_responses(path, **options)
    assert data.dims == DIMS
    np.testing.assert_array_equal(data.values, VALUES)
    assert data.stimulus.values.tolist() == IDS
    assert data.region.values.tolist() == REGIONS
    np.testing.assert_allclose(brain.noise_ceiling(data), brain.noise_ceiling(EXPECTED))


@pytest.mark.parametrize("write", [write_netcdf, write_zarr])
def test_labelled_files_are_read_when_needed(write, tmp_path):
    path, options = write(tmp_path)
    data = brain.read_responses(path, **options)
    assert not is_loaded(data)
    brain.split_half(data)
    assert not is_loaded(data)


def test_the_order_of_axes_is_what_dims_say(tmp_path):
    np.save(tmp_path / "a.npy", VALUES.transpose(2, 0, 1))
    data = brain.read_responses(tmp_path / "a.npy", dims=("neuroid", "repetition", "stimulus"), stimulus=IDS)
    np.testing.assert_array_equal(data.values, VALUES)


def test_matlab_keeps_an_axis_of_length_one_that_is_not_meant(tmp_path):
    savemat(tmp_path / "a.mat", {"data": VALUES[:1]})
    data = brain.read_responses(tmp_path / "a.mat", dims=("stimulus", "neuroid"), stimulus=IDS)
    np.testing.assert_array_equal(data.values, VALUES[0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, InputError, "Which array .* is meant.*'data'.*'more'"),
        ({"variable": "betas"}, InputError, "no array 'betas'; there are 'data'"),
        ({"variable": "data"}, InputError, "nothing says what its axes are"),
        ({"variable": "data", "dims": ("stimulus", "voxels", "neuroid")}, InputError, "don't fit"),
        ({"variable": "data", "dims": ("stimulus", "neuroid")}, InputError, "don't fit"),
        ({"variable": "data", "dims": DIMS}, LabelError, "no labels on 'stimulus'"),
        ({"variable": "data", "dims": DIMS, "stimulus": ["a"]}, LabelError, "stimulus holds 1 labels for 3"),
        ({"variable": "data", "dims": DIMS, "stimulus": "names"}, LabelError, "no array 'names' of labels"),
        ({"variable": "data", "dims": DIMS, "stimulus": ["a", "a", "b"]}, LabelError, "repeats"),
    ],
)
def test_what_is_missing_is_said(tmp_path, options, error, message):
    np.savez(tmp_path / "a.npz", data=VALUES, more=VALUES)
    with pytest.raises(error, match=message):
        brain.read_responses(tmp_path / "a.npz", **options)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("1 2 3")
    with pytest.raises(InputError, match=r"a.txt is of no known kind"):
        brain.read_responses(tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"b.npy does not exist"):
        brain.read_responses(tmp_path / "b.npy")


@pytest.mark.parametrize(("kind", "sep"), [("csv", ","), ("tsv", "\t"), ("txt", " ")])
def test_a_table_is_refused_and_the_way_out_works(tmp_path, kind, sep):
    path = tmp_path / f"responses.{kind}"
    table = pandas.DataFrame(np.arange(6.0).reshape(3, 2), index=["cat", "dog", "fox"], columns=["v1", "v2"])
    table.to_csv(path, sep=sep)
    with pytest.raises(InputError, match="of no known kind") as caught:
        brain.read_responses(path)
    reading, labelling = str(caught.value).removesuffix(".").split("a row: table = ")[1].split(", then ")
    data = eval(labelling, {"neurolens": neurolens, "table": eval(reading, {"pandas": pandas})})
    np.testing.assert_array_equal(data.sel(stimulus="dog", neuroid="v2"), 3.0)
