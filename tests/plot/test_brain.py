"""Brain figures: what is where, read back from their artists; standard brains are for standard spaces only."""

import matplotlib as mpl
import nibabel
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from nilearn.datasets import fetch_surf_fsaverage
from nilearn.surface import load_surf_mesh

import neurolens as nl
from neurolens import brain
from neurolens.errors import InputError, LabelError

mpl.use("Agg")

AFFINE = np.array([[-3.0, 0, 0, 30], [0, 4, 0, -50], [0, 0, 5, -10], [0, 0, 0, 1]])
SHAPE = (6, 5, 4)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def read(values, affine=AFFINE, space="native", mask=None):
    image = nibabel.Nifti1Image(np.asarray(values, dtype="float32"), affine)
    mask = mask if mask is None else nibabel.Nifti1Image(np.asarray(mask, dtype="uint8"), affine)
    return brain.read_betas(image, stimulus=["a"], space=space, mask=mask).isel(
        repetition=0, stimulus=0, drop=True
    )


def shown(ax, number=-1):
    return np.ma.filled(np.ma.masked_invalid(ax.images[number].get_array()), np.nan)


def test_slices_show_the_right_of_the_brain_on_the_right():
    """The first axis of this image runs to the left, so that it is turned."""
    values = np.random.default_rng(0).normal(size=SHAPE)
    data = read(values)
    panels = nl.plot.slices(data, like=data)
    assert [ax.get_title() for ax in panels] == ["z = -10 mm", "z = -5 mm", "z = 0 mm", "z = 5 mm"]
    for k, ax in enumerate(panels):
        np.testing.assert_allclose(shown(ax), values[::-1, :, k].T, rtol=1e-6)
        left, right, low, high = ax.images[-1].get_extent()
        assert (left, right) == (13.5, 31.5)
        assert (low, high) == (-52, -32)


@pytest.mark.parametrize(("axis", "cut"), [("x", 0), ("y", 1), ("z", 2)])
def test_slices_along_every_axis(axis, cut):
    values = np.random.default_rng(0).normal(size=SHAPE)
    data = read(values)
    ax = nl.plot.slices(data, like=data, axis=axis, positions=[1])[0]
    np.testing.assert_allclose(shown(ax), values[::-1].take(1, cut).T, rtol=1e-6)


def test_what_is_outside_the_mask_or_near_zero_shows_the_background():
    values = np.linspace(-1, 1, 120).reshape(SHAPE)
    mask = np.zeros(SHAPE)
    mask[:3] = 1
    data = read(values, mask=mask)
    background = nibabel.Nifti1Image(np.arange(120.0).reshape(SHAPE), AFFINE)
    panels = nl.plot.slices(data, like=data, background=background, threshold=0.5)
    for k, ax in enumerate(panels):
        drawn = (mask > 0) & (np.abs(values) >= 0.5)
        assert (np.isfinite(shown(ax)) == drawn[::-1, :, k].T).all()
        np.testing.assert_allclose(shown(ax, 0), np.arange(120.0).reshape(SHAPE)[::-1, :, k].T)
    with pytest.raises(InputError, match="The background lies in another space"):
        nl.plot.slices(data, like=data, background=nibabel.Nifti1Image(np.zeros(SHAPE), np.eye(4)))


def test_the_scale_is_about_zero_where_values_are_on_both_sides():
    both = read(np.random.default_rng(0).normal(size=SHAPE))
    ax = nl.plot.slices(both, like=both, limit=2.0)[0]
    assert ax.images[-1].get_clim() == (-2.0, 2.0)
    assert ax.figure.axes[-1].get_ylabel() == "value (beta)" or ax.figure.axes[-1].get_ylabel()
    positive = read(np.random.default_rng(0).random(SHAPE)).rename("noise_ceiling").assign_attrs(units="r2")
    ax = nl.plot.slices(positive, like=positive)[0]
    assert ax.images[-1].get_clim()[0] == 0
    assert ax.figure.axes[-1].get_ylabel() == "noise ceiling (r2)"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"positions": [9]}, InputError, "slices 0 to 3 along z"),
        ({"positions": []}, InputError, "slices 0 to 3 along z"),
        ({"axis": "t"}, InputError, "axis='t'"),
        ({"limit": -1}, InputError, "above 0"),
    ],
)
def test_slices_that_cannot_be_are_refused(options, error, message):
    data = read(np.random.default_rng(0).normal(size=SHAPE))
    with pytest.raises(error, match=message):
        nl.plot.slices(data, like=data, **options)


def test_maps_have_one_dim_and_values():
    data = read(np.random.default_rng(0).normal(size=SHAPE))
    with pytest.raises(LabelError, match=r"values.mean\('fold'\)"):
        nl.plot.slices(data.expand_dims(fold=2), like=data)
    with pytest.raises(InputError, match="Every value is NaN"):
        nl.plot.slices(data * np.nan, like=data)


def make_standard(space="MNI152"):
    """One blob in the left occipital lobe."""
    affine = np.array([[8.0, 0, 0, -72], [0, 8, 0, -108], [0, 0, 8, -60], [0, 0, 0, 1]])
    place = np.stack(np.meshgrid(np.arange(19), np.arange(23), np.arange(19), indexing="ij"))
    distance = np.square(place - np.array([5, 3, 8])[:, None, None, None]).sum(axis=0)
    return read(np.exp(-distance / 12), affine, space)


def test_the_glass_brain_draws_the_blob_where_it_is():
    data = make_standard()
    frame = nl.plot.glass_brain(data, like=data, threshold=0.3, title="blob")
    assert frame.figure.get_suptitle() == "blob"
    coronal = next(
        ax for ax in frame.figure.axes if any(text.get_text() == "L" for text in ax.texts) and ax.images
    )
    image = coronal.images[0]
    drawn = np.ma.filled(image.get_array().astype(float), 0)
    left, right, _, _ = image.get_extent()
    columns = np.linspace(left, right, drawn.shape[1])
    peak = columns[np.unravel_index(np.argmax(drawn), drawn.shape)[1]]
    assert abs(abs(peak) - 32) < 10
    assert peak < 0


def test_the_surface_colours_the_hemisphere_and_place_of_the_blob():
    """Vertices near the blob, and no others, leave the grey of the folds."""
    data = make_standard()
    left, right = nl.plot.surface(data, like=data, threshold=0.3)
    assert (left.get_title(), right.get_title()) == ("left", "right")
    colored = [coloured_faces(panel) for panel in (left, right)]
    assert colored[0].sum() > 100
    assert colored[1].sum() == 0
    mesh = load_surf_mesh(fetch_surf_fsaverage("fsaverage5")["pial_left"])
    centres = mesh.coordinates[mesh.faces[colored[0]]].mean(axis=1)
    assert np.abs(centres.mean(axis=0) - [-32, -84, 4]).max() < 15


def coloured_faces(panel):
    """Faces whose colour is no grey."""
    colors = panel.collections[0]._facecolor3d[
        :, :3
    ]  # in the order of faces; the public ones are sorted by depth
    return np.ptp(colors, axis=1) > 0.05


def test_vertices_are_drawn_where_they_are_named():
    mesh = load_surf_mesh(fetch_surf_fsaverage("fsaverage5")["pial_right"])
    near = np.flatnonzero(np.linalg.norm(mesh.coordinates - mesh.coordinates[500], axis=1) < 15)
    vertices = np.r_[near, 20000]  # the last one is of fsaverage only
    coords = {"hemisphere": ("neuroid", ["right"] * len(vertices)), "vertex": ("neuroid", vertices)}
    values = xr.DataArray(np.ones(len(vertices)), dims="neuroid", coords=coords, name="score")
    left, right = nl.plot.surface(values, view="medial")
    assert coloured_faces(left).sum() == 0
    inside = np.isin(mesh.faces, near).all(axis=1)
    assert coloured_faces(right)[inside].mean() > 0.9
    assert coloured_faces(right)[~np.isin(mesh.faces, near).any(axis=1)].sum() == 0
    with pytest.raises(InputError, match="'links'"):
        nl.plot.surface(values.assign_coords(hemisphere=("neuroid", ["links"] * len(vertices))))
    with pytest.raises(InputError, match="of fsaverage"):
        nl.plot.surface(values.assign_coords(vertex=values.vertex + 200000))


@pytest.mark.parametrize("draw", [nl.plot.glass_brain, nl.plot.surface])
def test_a_brain_of_its_own_space_is_not_drawn_on_the_standard_one(draw):
    data = make_standard(space="native")
    with pytest.raises(InputError, match=r"in the space 'native'.*plot.slices"):
        draw(data, like=data)


def test_voxels_need_the_image_they_come_from():
    with pytest.raises(LabelError, match="like="):
        nl.plot.surface(make_standard())


@pytest.mark.realdata
def test_houses_drive_medial_voxels_of_the_real_slice_on_both_sides(real_data, tmp_path):
    data = nl.datasets.fetch("haxby2001_1slice", data_home=real_data).brain["slice"]["sub001"]["responses"]
    mean = brain.average_repetitions(data)
    difference = (mean.sel(stimulus="house") - mean.sel(stimulus="face")).rename("house - face")
    image = nibabel.load(
        real_data / "haxby2001_1slice/haxby2001/sub001/BOLD/task001_run001/bold_1slice.nii.gz"
    )
    background = nibabel.Nifti1Image(image.get_fdata().mean(axis=3), image.affine)
    (ax,) = nl.plot.slices(difference, like=data, background=background, threshold=0.3)
    ax.figure.savefig(tmp_path / "slice.png")
    drawn = np.nan_to_num(shown(ax))
    rows, columns = np.nonzero(drawn > 1.2)
    assert rows.size > 5
    assert (rows > 12).mean() > 0.7  # in front
    assert columns.min() < 18 < 22 < columns.max()  # left and right of the middle
