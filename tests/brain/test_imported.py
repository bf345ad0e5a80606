"""Betas of other programs: images of them, and GLMsingle's files in each of their forms."""

import h5py
import nibabel
import numpy as np
import pytest
from scipy.io import savemat

from neurolens import brain
from neurolens.errors import InputError, LabelError

AFFINE = np.diag([2.0, 2, 3, 1])
SHAPE = (3, 2, 2)
SHOWN = ["a", "b", "a", "c", "b"]
BETAS = np.random.default_rng(0).normal(size=(*SHAPE, 5)).astype("float32")
MASK = np.zeros(SHAPE, dtype="uint8")
MASK[1:] = 1


def image(values):
    return nibabel.Nifti1Image(values, AFFINE)


def check(data, betas=BETAS[MASK > 0].T):
    assert data.stimulus.values.tolist() == ["a", "b", "c"]
    seen = dict.fromkeys(SHOWN, 0)
    for row, name in enumerate(SHOWN):
        np.testing.assert_array_equal(data.sel(stimulus=name).isel(repetition=seen[name]), betas[row])
        seen[name] += 1


def test_images_of_betas_are_read_in_their_own_space():
    data = brain.read_betas(
        image(BETAS), stimulus=SHOWN, mask=image(MASK), run=[1, 1, 2, 2, 2], units="% signal"
    )
    check(data)
    np.testing.assert_array_equal(
        brain.to_nifti(data.isel(repetition=0), like=data, fill=0).shape, (*SHAPE, 3)
    )
    assert data.run.sel(stimulus="b").values.tolist() == [1, 2]
    assert data.attrs["units"] == "% signal"
    several = [image(BETAS[..., k]) for k in range(5)]
    check(brain.read_betas(several, stimulus=SHOWN, mask=image(MASK)))


def test_images_of_betas_that_do_not_fit_are_refused():
    with pytest.raises(LabelError, match="names 2 trials, but there are 5 betas"):
        brain.read_betas(image(BETAS), stimulus=["a", "b"])
    with pytest.raises(InputError, match="another space"):
        brain.read_betas(image(BETAS), stimulus=SHOWN, mask=nibabel.Nifti1Image(MASK, np.eye(4)))
    with pytest.raises(InputError, match="Image 2 lies in another space"):
        brain.read_betas([image(BETAS), nibabel.Nifti1Image(BETAS, np.eye(4))], stimulus=SHOWN * 2)


RESULTS = {
    "betasmd": BETAS,
    "R2": np.arange(12.0).reshape(SHAPE),
    "meanvol": np.zeros(SHAPE),
    "FRACvalue": np.ones(SHAPE),
}


def write_npy(folder):
    np.save(folder / "TYPED.npy", RESULTS, allow_pickle=True)
    return folder / "TYPED.npy"


def write_hdf5(folder):
    with h5py.File(folder / "TYPED.hdf5", "w") as file:
        for name, values in RESULTS.items():
            file[name] = values
    return folder / "TYPED.hdf5"


def write_mat(folder):
    savemat(folder / "TYPED.mat", {"modelmd": BETAS, "R2": RESULTS["R2"], "FRACvalue": RESULTS["FRACvalue"]})
    return folder / "TYPED.mat"


def write_mat_of_version_seven(folder):
    with h5py.File(folder / "TYPED.mat", "w") as file:
        for name, values in RESULTS.items():
            file[name] = values.T
    return folder / "TYPED.mat"


@pytest.mark.parametrize(
    "write", [write_npy, write_hdf5, write_mat, write_mat_of_version_seven, lambda _: RESULTS]
)
def test_glmsingle_is_read_from_each_of_its_forms(write, tmp_path):
    data = brain.read_glmsingle(write(tmp_path), stimulus=SHOWN, mask=image(MASK), subject="S1")
    check(data)
    np.testing.assert_array_equal(data.R2, RESULTS["R2"][MASK > 0])
    assert data.FRACvalue.dims == ("neuroid",)
    assert data.attrs["units"] == "% signal change"
    assert [int(data[name][0]) for name in "ijk"] == [1, 0, 0]
    everywhere = brain.read_glmsingle(write(tmp_path), stimulus=SHOWN, like=image(MASK))
    check(everywhere, BETAS.reshape(-1, 5).T)


def test_a_table_of_voxels_is_placed_by_the_mask_it_was_made_with():
    table = {"betasmd": BETAS[MASK > 0][:, None, None, :]}
    data = brain.read_glmsingle(table, stimulus=SHOWN, mask=image(MASK))
    check(data)
    volume = brain.to_nifti(data.sel(stimulus="c").isel(repetition=0), like=data, fill=0).get_fdata()
    np.testing.assert_array_equal(volume, BETAS[..., 3] * MASK)
    check(brain.read_glmsingle(table, stimulus=SHOWN))
    with pytest.raises(InputError, match=r"shape \(8, 1, 1\), which is neither"):
        brain.read_glmsingle(table, stimulus=SHOWN, mask=image(1 - MASK))


def test_results_without_betas_are_refused(tmp_path):
    with pytest.raises(InputError, match="have no 'betasmd'; they hold"):
        brain.read_glmsingle({"R2": BETAS}, stimulus=SHOWN)
    with pytest.raises(InputError, match="expected \\(x, y, z, trial\\)"):
        brain.read_glmsingle({"betasmd": np.zeros(5)}, stimulus=SHOWN)
    with pytest.raises(InputError, match="does not exist"):
        brain.read_glmsingle(tmp_path / "TYPED.npy", stimulus=SHOWN)
    with pytest.raises(LabelError, match="names 1 trials, but there are 5"):
        brain.read_glmsingle(RESULTS, stimulus=["a"])


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


def test_code_in_a_pickle_is_never_run(tmp_path):
    np.save(tmp_path / "TYPED.npy", {"betasmd": Evil()}, allow_pickle=True)
    with pytest.raises(InputError, match=r"holds builtins.exec, which is no array"):
        brain.read_glmsingle(tmp_path / "TYPED.npy", stimulus=SHOWN)
    np.save(tmp_path / "TYPED.npy", BETAS)
    with pytest.raises(InputError, match="expected a pickled dict"):
        brain.read_glmsingle(tmp_path / "TYPED.npy", stimulus=SHOWN)
    (tmp_path / "TYPED.npy").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"can.t be read"):
        brain.read_glmsingle(tmp_path / "TYPED.npy", stimulus=SHOWN)
