"""RDMs from and for other tools, back and forth."""

import sys

import h5py
import numpy as np
import pytest
import xarray as xr
from scipy.io import savemat
from scipy.spatial.distance import pdist, squareform

from neurolens.errors import InputError, LabelError
from neurolens.rsa.interop import from_rsatoolbox, label_rdms, read_rdms, to_rsatoolbox, write_rdms

IDS = ["cat", "dog", "cow", "ant"]


def draw_pairs(n_rdms=3, n_stimuli=4):
    rng = np.random.default_rng(0)
    return np.stack([pdist(rng.random((n_stimuli, 5))) for _ in range(n_rdms)])


def squares(pairs):
    return np.stack([squareform(one) for one in pairs])


def test_condensed_and_square_are_the_same():
    pairs = draw_pairs()
    got = label_rdms(pairs, stimulus=IDS, dims=["subject"])
    assert got.dims == ("subject", "stimulus", "stimulus_b")
    np.testing.assert_array_equal(got, squares(pairs))
    xr.testing.assert_identical(label_rdms(squares(pairs), stimulus=IDS, dims=["subject"]), got)
    assert label_rdms(pairs, stimulus=IDS).dims[0] == "rdm"
    assert label_rdms(pairs[0].astype(np.float32), stimulus=IDS).dtype == np.float32


@pytest.mark.parametrize("condensed", [False, True])
@pytest.mark.parametrize("suffix", [".npy", ".mat", "7.3.mat", "plain.mat"])
def test_files_square_and_condensed(tmp_path, suffix, condensed):
    pairs = draw_pairs()
    values = pairs if condensed else squares(pairs)
    path = tmp_path / f"rdms{suffix}"
    in_matlab = values if condensed else values.transpose(1, 2, 0)
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".mat":
        savemat(path, {"RDMs": in_matlab, "version": 1.0})
    elif suffix == "plain.mat":
        with h5py.File(path, "w") as file:
            file["group/RDMs"] = values
            file["names"] = IDS
    else:
        with h5py.File(path, "w", userblock_size=512) as file:
            file["RDMs"] = in_matlab.T
            file["subject"] = np.frombuffer(b"s\x001\x00", np.uint16)
            file["subject"].attrs["MATLAB_class"] = np.bytes_("char")
        header = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM"
        with path.open("r+b") as file:
            file.write(header)
    got = read_rdms(path, stimulus=IDS, dims=["subject"])
    np.testing.assert_array_equal(got, squares(pairs))


@pytest.mark.parametrize("way", ["matlab", "hdf5"])
def test_as_many_rdms_as_stimuli(tmp_path, way):
    values = squares(draw_pairs(4))
    if way == "matlab":
        savemat(tmp_path / "rdms.mat", {"RDMs": values.transpose(1, 2, 0)})
    else:
        with h5py.File(tmp_path / "rdms.mat", "w") as file:
            file["RDMs"] = values
    np.testing.assert_array_equal(read_rdms(tmp_path / "rdms.mat", stimulus=IDS), values)


def test_as_many_rdms_as_pairs_do_not_say_which_is_which(tmp_path):
    pairs = draw_pairs(6)
    with h5py.File(tmp_path / "rdms.mat", "w") as file:
        file["RDMs"] = pairs
    with pytest.raises(InputError, match=r"rdms\.mat holds 6 RDMs of 6 pairs.*\.npy"):
        read_rdms(tmp_path / "rdms.mat", stimulus=IDS)
    np.save(tmp_path / "rdms.npy", pairs)
    np.testing.assert_array_equal(read_rdms(tmp_path / "rdms.npy", stimulus=IDS), squares(pairs))


def test_hdf5_without_its_reader_says_what_to_install(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "rdms.mat", "w") as file:
        file["RDMs"] = draw_pairs()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"'h5py'.*extra.*brain"):
        read_rdms(tmp_path / "rdms.mat", stimulus=IDS)


def test_a_single_vector_of_matlab_has_no_dim(tmp_path):
    savemat(tmp_path / "rdm.mat", {"d": draw_pairs()[0]})
    got = read_rdms(tmp_path / "rdm.mat", stimulus=IDS)
    assert got.dims == ("stimulus", "stimulus_b")


@pytest.mark.parametrize("suffix", [".npy", ".mat"])
@pytest.mark.parametrize("n_rdms", [1, 3])
def test_written_rdms_are_read_again(tmp_path, suffix, n_rdms):
    rdms = label_rdms(draw_pairs(n_rdms), stimulus=IDS, dims=["subject"])
    rdms = rdms.isel(subject=0) if n_rdms == 1 else rdms
    write_rdms(rdms, tmp_path / f"a{suffix}")
    got = read_rdms(tmp_path / f"a{suffix}", stimulus=IDS, dims=rdms.dims[:-2])
    np.testing.assert_array_equal(got, rdms)


def test_rsatoolbox_and_back():
    toolbox = pytest.importorskip("rsatoolbox.rdm")
    rdms = label_rdms(draw_pairs(6).reshape(2, 3, 6), stimulus=IDS, dims=["region", "subject"])
    rdms = rdms.assign_coords(
        region=["V1", "IT"], kind=("stimulus", ["m", "m", "m", "i"]), age=("subject", [20, 30, 40])
    ).assign_attrs(metric="correlation")
    theirs = to_rsatoolbox(rdms)
    assert isinstance(theirs, toolbox.RDMs)
    np.testing.assert_array_equal(theirs.get_matrices(), rdms.values.reshape(6, 4, 4))
    assert list(theirs.rdm_descriptors["region"]) == ["V1"] * 3 + ["IT"] * 3
    assert list(theirs.rdm_descriptors["subject"]) == [0, 1, 2] * 2
    assert list(theirs.rdm_descriptors["age"]) == [20, 30, 40] * 2
    back = from_rsatoolbox(theirs)
    np.testing.assert_array_equal(back, rdms.values.reshape(6, 4, 4))
    assert back.stimulus.values.tolist() == IDS
    assert back.kind.values.tolist() == ["m", "m", "m", "i"]
    assert back.region.values.tolist() == ["V1"] * 3 + ["IT"] * 3
    assert back.attrs["metric"] == "correlation"


def test_rsatoolbox_subjects_become_labels():
    toolbox = pytest.importorskip("rsatoolbox.rdm")
    theirs = toolbox.RDMs(
        draw_pairs(2), rdm_descriptors={"subject": ["a", "b"]}, pattern_descriptors={"image": IDS}
    )
    got = from_rsatoolbox(theirs, stimulus="image", dim="subject")
    assert got.subject.values.tolist() == ["a", "b"]
    assert got.stimulus_b.values.tolist() == IDS
    with pytest.raises(LabelError, match=r"no pattern descriptor 'stimulus'.*'image'"):
        from_rsatoolbox(theirs)


@pytest.mark.parametrize(
    ("array", "options", "error", "says"),
    [
        (np.zeros(5), {}, InputError, r"6 pairs.*shape \(5,\)"),
        (np.zeros((3, 3)), {}, InputError, "4 stimuli have square"),
        (np.triu(np.ones((4, 4))), {}, InputError, "not symmetric"),
        (np.zeros(6), {"dims": ["subject"]}, LabelError, "0 dims besides stimuli"),
        (np.zeros(6), {"stimulus": ["a", "a", "b", "c"]}, LabelError, "'a'"),
        (np.zeros(6, dtype=complex), {}, InputError, "real numbers"),
    ],
)
def test_numbers_that_are_no_rdms_are_refused(array, options, error, says):
    with pytest.raises(error, match=says):
        label_rdms(array, **{"stimulus": IDS, **options})


def test_files_that_do_not_say_which_are_refused(tmp_path):
    savemat(tmp_path / "a.mat", {"one": np.zeros((4, 4)), "two": np.zeros((4, 4)), "text": "RDM"})
    with pytest.raises(InputError, match=r"several variables.*'one', 'two'"):
        read_rdms(tmp_path / "a.mat", stimulus=IDS)
    with pytest.raises(InputError, match="no variable 'three'"):
        read_rdms(tmp_path / "a.mat", stimulus=IDS, variable="three")
    assert read_rdms(tmp_path / "a.mat", stimulus=IDS, variable="two").sizes["stimulus"] == 4
    np.save(tmp_path / "a.npy", np.zeros(6))
    with pytest.raises(InputError, match="without a name"):
        read_rdms(tmp_path / "a.npy", stimulus=IDS, variable="two")
    for act in (
        lambda: read_rdms(tmp_path / "a.csv", stimulus=IDS),
        lambda: write_rdms(label_rdms(np.zeros(6), stimulus=IDS), tmp_path / "a.csv"),
    ):
        with pytest.raises(InputError, match=r"'\.npy', '\.mat'"):
            act()
