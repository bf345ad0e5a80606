"""NIfTI in and out: which voxel is which, spaces that differ, voxels that hold nothing."""

import json
import warnings

import nibabel
import numpy as np
import pytest
import xarray as xr
from nilearn.masking import apply_mask
from sklearn.linear_model import LinearRegression

import neurolens as nl
from neurolens import brain
from neurolens.errors import InputError, LabelError, NeurolensWarning

AFFINE = np.array([[-2.0, 0, 0, 30], [0, 2.5, 0, -40], [0, 0, 3, 5], [0, 0, 0, 1]])
SHAPE = (4, 3, 2)


def make_image(values, affine=AFFINE, seconds=2.0):
    image = nibabel.Nifti1Image(np.asarray(values, dtype="float32"), affine)
    if image.ndim == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], seconds))
    return image


def make_run(n_volumes=6, seed=0):
    return make_image(np.random.default_rng(seed).normal(size=(*SHAPE, n_volumes)))


@pytest.fixture
def mask():
    values = np.zeros(SHAPE)
    values[1:3, :2] = 1
    return make_image(values)


def test_series_are_those_that_nilearn_reads(mask, tmp_path):
    runs = [make_run(5, seed=1), make_run(7, seed=2)]
    for number, run in enumerate(runs):
        run.to_filename(tmp_path / f"run{number}.nii.gz")
    paths = [tmp_path / f"run{number}.nii.gz" for number in range(2)]
    series = brain.read_bold(paths, mask=mask, subject="S1", runs=["a", "b"])
    np.testing.assert_allclose(
        series.values, np.concatenate([apply_mask(run, mask) for run in runs]), rtol=1e-6
    )
    assert series.dims == ("time", "neuroid")
    assert series.run.values.tolist() == ["a"] * 5 + ["b"] * 7
    np.testing.assert_allclose(series.time, [0, 2, 4, 6, 8, 0, 2, 4, 6, 8, 10, 12])
    assert set(series.subject.values) == {"S1"}


def test_coordinates_are_millimetres_of_the_affine(mask):
    series = brain.read_bold(make_run(), mask=mask)
    for voxel in range(series.sizes["neuroid"]):
        one = series.isel(neuroid=voxel)
        place = [int(one[name]) for name in "ijk"]
        expected = nibabel.affines.apply_affine(AFFINE, place)
        np.testing.assert_allclose([float(one[name]) for name in "xyz"], expected)
        np.testing.assert_allclose(one.values, make_run().get_fdata()[tuple(place)], rtol=1e-6)


def test_values_return_to_their_places(mask):
    run = make_run()
    series = brain.read_bold(run, mask=mask)
    image = brain.to_nifti(series.mean("time"), like=series)
    np.testing.assert_allclose(image.affine, AFFINE)
    inside = mask.get_fdata() > 0
    np.testing.assert_allclose(image.get_fdata()[inside], run.get_fdata().mean(axis=3)[inside], rtol=1e-5)
    assert np.isnan(image.get_fdata()[~inside]).all()
    shuffled = series.isel(neuroid=slice(None, None, -1))
    np.testing.assert_array_equal(
        brain.to_nifti(shuffled, like=run, fill=0).get_fdata()[inside], run.get_fdata()[inside]
    )
    assert brain.to_nifti(series, like=mask).shape == (*SHAPE, 6)


def test_an_atlas_labels_voxels_and_masks_may_overlap():
    numbers = np.zeros(SHAPE)
    numbers[0], numbers[1], numbers[2, 0] = 1, 7, 9
    masks = {"front": make_image(numbers == 1), "most": make_image(numbers > 0)}
    series = brain.read_bold(make_run(), atlas=make_image(numbers), labels={1: "V1", 7: "IT"}, masks=masks)
    assert series.sizes["neuroid"] == (numbers > 0).sum()
    counts = {name: int((series.region == name).sum()) for name in ("V1", "IT", "")}
    assert counts == {"V1": 6, "IT": 6, "": 2}
    assert series.in_front.values.sum() == 6
    assert series.in_most.values.all()
    by_order = brain.read_bold(make_run(), atlas=make_image(np.minimum(numbers, 2)), labels=["V1", "IT"])
    assert set(by_order.region.values) == {"V1", "IT"}
    unnamed = brain.read_bold(make_run(), atlas=make_image(numbers))
    assert set(unnamed.region.values) == {"1", "7", "9"}


@pytest.mark.parametrize("role", ["mask", "atlas", "masks"])
@pytest.mark.parametrize(
    ("values", "affine"),
    [
        (np.ones((4, 3, 3)), AFFINE),
        (np.ones(SHAPE), AFFINE + np.diag([0.1, 0, 0, 0])),
        (np.ones(SHAPE), np.eye(4)),
    ],
    ids=["shape", "voxel size", "origin"],
)
def test_an_image_of_another_space_is_refused_with_both_spaces(role, values, affine):
    other = make_image(values, affine)
    with pytest.raises(InputError, match=r"lies in another space \(shape .*resample_to_img"):
        brain.read_bold(make_run(), **{role: {"a": other} if role == "masks" else other})


def test_runs_of_another_space_are_refused():
    with pytest.raises(InputError, match="run 2 lies in another space"):
        brain.read_bold([make_run(), make_image(np.zeros((4, 3, 3, 6)))])


def test_a_header_that_differs_by_rounding_is_the_same_space(mask):
    almost = make_image(mask.get_fdata(), AFFINE + 1e-5)
    assert brain.read_bold(make_run(), mask=almost).sizes["neuroid"] == 8


@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 1)])
def test_a_run_of_one_volume_is_refused(shape):
    with pytest.raises(InputError, match=r"1 volume\. A run is a series of at least 2"):
        brain.read_bold(make_image(np.zeros(shape)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mask": make_image(np.zeros(SHAPE))}, InputError, "The mask is empty"),
        ({"mask": "nowhere.nii.gz"}, InputError, "nowhere.nii.gz, does not exist"),
        ({"mask": 3}, InputError, "got int"),
        ({"mask": make_run()}, InputError, "must have one volume"),
        ({"atlas": make_image(np.full(SHAPE, 0.5))}, InputError, "holds fractions"),
        (
            {"atlas": make_image(np.ones(SHAPE)), "labels": {5: "V1"}},
            LabelError,
            "None of the atlas' numbers",
        ),
        ({"repetition_time": 0}, InputError, "above 0"),
        ({"runs": ["a", "b"]}, LabelError, "one name for each of 1 images"),
    ],
)
def test_what_makes_no_sense_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        brain.read_bold(make_run(), **options)


def test_a_header_without_repetition_time_is_refused():
    with pytest.raises(InputError, match=r"0 s between volumes, which can't be. Give repetition_time="):
        brain.read_bold(make_image(np.random.default_rng(0).normal(size=(*SHAPE, 4)), seconds=0))


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_voxels_without_measurement_are_counted_and_nan_afterwards(value):
    values = make_run(8).get_fdata().copy()
    values[1, 1, 1] = value
    with pytest.warns(NeurolensWarning, match="1 of 24 voxels are constant or NaN") as caught:
        series = brain.read_bold(make_image(values))
    assert caught[0].filename == __file__
    with pytest.warns(NeurolensWarning, match="1 of 24 neuroids"):
        cleaned = brain.clean_series(series)
    dead = np.isnan(cleaned.values).all(axis=0)
    assert [tuple(int(series[name][np.flatnonzero(dead)[0]]) for name in "ijk")] == [(1, 1, 1)]
    assert np.isfinite(cleaned.values[:, ~dead]).all()


def test_values_of_several_subjects_are_refused(mask):
    series = brain.read_bold(make_run(), mask=mask)
    twice = np.r_[np.arange(8), np.arange(8)]
    with pytest.raises(InputError, match="Several neuroids have the same place"):
        brain.to_nifti(series.isel(neuroid=twice), like=series)
    with pytest.raises(LabelError, match="no coords 'i'"):
        brain.to_nifti(series.drop_vars("i"), like=series)
    with pytest.raises(InputError, match="outside the image"):
        brain.to_nifti(series.assign_coords(i=series.i + 5), like=series)
    with pytest.raises(InputError, match="attrs of `like`"):
        brain.to_nifti(series, like=series.drop_attrs())


def test_attrs_can_be_written_to_any_format(mask, tmp_path):
    series = brain.read_bold(make_run(), mask=mask, space="MNI152")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        series.rename("bold").to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    assert json.loads(series.attrs["image_shape"]) == list(SHAPE)
    assert series.attrs["space"] == "MNI152"


def test_scores_of_an_encoding_model_return_to_the_image(mask):
    """A voxel that a feature drives is found where it lies."""
    feature = np.random.default_rng(3).normal(size=40)
    values = np.random.default_rng(4).normal(size=(*SHAPE, 40))
    values[2, 1, 0] += 10 * feature
    ids = [f"s{k}" for k in range(40)]
    betas = brain.read_betas(make_image(values), stimulus=ids, mask=mask).isel(repetition=0)
    source = xr.DataArray(feature[:, None], dims=("stimulus", "feature"), coords={"stimulus": ids})
    scores = nl.encode(source, betas, model=LinearRegression(), progress=False)
    image = brain.to_nifti(scores.score.mean("fold"), like=betas)
    assert np.unravel_index(np.nanargmax(image.get_fdata()), SHAPE) == (2, 1, 0)
    assert np.nanmax(image.get_fdata()) > 0.95
    assert brain.to_nifti(scores.score.transpose("fold", "neuroid"), like=betas).shape == (*SHAPE, 5)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_file_that_is_cut_short_is_named(tmp_path, suffix):
    path = tmp_path / f"läuf 1{suffix}"
    values = np.random.default_rng(0).normal(size=(5, 6, 4, 30)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([3, 3, 3, 1])), path)
    with path.open("r+b") as file:
        file.truncate(2000)
    with pytest.raises(InputError, match=r"läuf 1.*can't be read to its end"):
        brain.read_bold(path, repetition_time=2.0)
