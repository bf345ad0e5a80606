"""Files of others, damaged at any place: read as they are, or an error of neurolens that names the file."""

import json

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

import neurolens as nl
from neurolens.brain import read_bold, read_responses
from neurolens.errors import InputError, ModelError
from neurolens.models.weights import read_state
from neurolens.numerics.pickles import read_pickled_mapping
from neurolens.rsa import read_rdms
from tests.hostile.effort import fuzz, give_or_name

IDS = ["cat", "dog", "cow"]
RNG = np.random.default_rng(0)
RESPONSES = RNG.normal(size=(3, 5))
RDM = RNG.random(3)


def save_hdf5(file):
    import h5py

    with h5py.File(file, "w") as out:
        out["data"] = RESPONSES
        out["names"] = IDS


def save_safetensors(file):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(3, 2)}, file)


def save_pickle(file):
    np.save(file, {"V1": np.arange(3), 2: "V2"}, allow_pickle=True)


def labelled():
    return xr.DataArray(RESPONSES, {"stimulus": IDS}, ("stimulus", "neuroid"), name="responses")


def read_array(path):
    return read_responses(path, variable=None, dims=("stimulus", "neuroid"), stimulus=IDS).load()


def read_table(path):
    from neurolens.cli.sources import read_stimuli

    return read_stimuli(str(path))


def read_folder(path):
    stimuli = nl.Stimuli.from_folder(path.parent)
    stimuli.check()
    return [stimuli.read(index) for index in range(len(stimuli))]


KINDS = {
    "npy": ("r.npy", lambda f: np.save(f, RESPONSES), read_array),
    "npz": ("r.npz", lambda f: np.savez(f, data=RESPONSES), read_array),
    "npz, compressed": ("r.npz", lambda f: np.savez_compressed(f, data=RESPONSES), read_array),
    "mat": ("r.mat", lambda f: savemat(f, {"data": RESPONSES}), read_array),
    "hdf5": ("r.h5", save_hdf5, read_array),
    "mat 7.3": ("r.mat", save_hdf5, lambda p: read_responses(p, dims=("neuroid", "stimulus"), stimulus=IDS)),
    "netcdf": ("r.nc", lambda f: labelled().to_netcdf(f), read_responses),
    "rdm npy": ("d.npy", lambda f: np.save(f, RDM), lambda p: read_rdms(p, stimulus=IDS)),
    "rdm mat": ("d.mat", lambda f: savemat(f, {"rdm": RDM}), lambda p: read_rdms(p, stimulus=IDS)),
    "nifti": (
        "b.nii",
        lambda f: nibabel.save(nibabel.Nifti1Image(RNG.normal(size=(2, 2, 2, 4)).astype("f4"), np.eye(4)), f),
        lambda p: read_bold(p, repetition_time=2.0),
    ),
    "nifti, compressed": (
        "b.nii.gz",
        lambda f: nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 4), "f4") + 1, np.eye(4)), f),
        lambda p: read_bold(p, repetition_time=2.0),
    ),
    "weights": ("w.pt", lambda f: torch.save({"weight": torch.zeros(3, 2)}, f), read_state),
    "safetensors": ("w.safetensors", save_safetensors, read_state),
    "pickled": ("n.npy", save_pickle, read_pickled_mapping),
    "png": ("i.png", lambda f: Image.new("RGB", (5, 4)).save(f), read_folder),
    "jpeg": ("i.jpg", lambda f: Image.new("RGB", (5, 4)).save(f), read_folder),
    "tiff": ("i.tif", lambda f: Image.new("L", (5, 4)).save(f), read_folder),
    "gif": ("i.gif", lambda f: Image.new("P", (5, 4)).save(f), read_folder),
    "webp": ("i.webp", lambda f: Image.new("RGB", (5, 4)).save(f), read_folder),
    "table": (
        "t.csv",
        lambda f: pd.DataFrame({"text": ["a cat", "a dog"], "id": [1, 2]}).to_csv(f, index=False),
        read_table,
    ),
}


@st.composite
def damages(draw):
    """A change of bytes, as a function of the content."""
    way = draw(st.sampled_from(["flip", "cut", "grow", "replace", "fill"]))
    share, bit, junk = (
        draw(st.floats(0, 1, exclude_max=True)),
        draw(st.integers(0, 7)),
        draw(st.binary(max_size=60)),
    )

    def damage(content):
        place = int(share * len(content))
        if way == "flip":
            return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
        if way == "fill":
            return content[:place] + junk + content[place + len(junk) :]
        return {"cut": content[:place], "grow": content + junk, "replace": junk}[way]

    return damage


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_named(kind, tmp_path):
    name, save, read = KINDS[kind]
    file = tmp_path / name
    save(file)
    content = file.read_bytes()
    read(file)  # undamaged, it is read

    @fuzz(15)
    @given(damages())
    def try_all(damage):
        file.unlink()  # what maps the former content into memory keeps it
        file.write_bytes(damage(content))
        give_or_name(read, file)

    try_all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "table"])
def test_an_empty_file_is_named(kind, tmp_path):
    name, _, read = KINDS[kind]
    (tmp_path / name).touch()
    with pytest.raises(nl.errors.NeurolensError, match=name.replace(".", r"\.")):
        read(tmp_path / name)


class Springs:
    """Runs code where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "save", "read", "error"),
    [
        ("w.pt", torch.save, read_state, ModelError),
        (
            "n.npy",
            lambda value, file: np.save(file, value, allow_pickle=True),
            read_pickled_mapping,
            InputError,
        ),
        ("r.npy", lambda value, file: np.save(file, [value], allow_pickle=True), read_array, InputError),
        ("r.npz", lambda value, file: np.savez(file, data=np.array([value])), read_array, InputError),
        (
            "d.npy",
            lambda value, file: np.save(file, [value], allow_pickle=True),
            lambda p: read_rdms(p, stimulus=IDS),
            InputError,
        ),
    ],
)
def test_no_file_of_data_runs_code(name, save, read, error, tmp_path):
    trap = tmp_path / "sprung"
    save({"weight": Springs(trap)}, tmp_path / name)
    with pytest.raises(error, match=name.replace(".", r"\.") if name != "n.npy" else "could run any code"):
        read(tmp_path / name)
    assert not trap.exists()


@pytest.mark.parametrize(
    "content", ["{", "[]", json.dumps({"a": 1}), "\0", "id\n", ",\n,\n", "path\n\n", "text\n"]
)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt"])
def test_tables_without_stimuli_are_named(content, suffix, tmp_path):
    (tmp_path / f"t{suffix}").write_text(content)
    give_or_name(read_table, tmp_path / f"t{suffix}")
