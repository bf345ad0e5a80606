"""What tests of the command line share: a small model in a file, stimuli, a store and brain data."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

import neurolens as nl
from tests.cli.commands import run_here

NET = """\
import torch
from torch import nn
from torchvision.transforms import v2

import neurolens.models

def make(pretrained=True):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    prepare = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    return neurolens.models.as_model(net, preprocess=prepare)
"""
N_STIMULI = 12


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A folder whose name has a space and letters that are not ASCII, with all that a study starts from."""
    folder = tmp_path_factory.mktemp("étude ü 1")
    (folder / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N_STIMULI, 17, 17, 3), dtype=np.uint8)
    pictures = folder / "mes photos"
    pictures.mkdir()
    names = [f"visage é{k}" if k % 2 else f"maison {k}" for k in range(N_STIMULI)]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(pictures / f"{name}.png")
    ids = sorted(names)
    subjects = rng.normal(size=(3, N_STIMULI, 20))
    brain = xr.DataArray(
        subjects,
        {"subject": ["a", "b", "c"], "stimulus": ids, "region": ("neuroid", ["V1"] * 8 + ["IT"] * 12)},
        ("subject", "stimulus", "neuroid"),
        name="responses",
    )
    brain.to_netcdf(folder / "brain.nc")
    (folder / "ids.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    np.save(folder / "responses.npy", subjects[0])
    rdms = nl.rdm(brain.isel(neuroid=slice(8)).drop_vars("region"), over=("subject",))
    np.save(folder / "rdms.npy", rdms.values)
    rdms.to_netcdf(folder / "brain_rdms.nc")
    return SimpleNamespace(folder=folder, ids=ids, brain=brain, brain_rdms=rdms, images=pictures)


@pytest.fixture(scope="session")
def made(study):
    """The store and the RDMs that later commands take."""
    run_here(
        "extract",
        f"{study.folder}/net.py:make",
        "--stimuli",
        study.images,
        "--out",
        study.folder / "acts.zarr",
    )
    run_here("rdm", study.folder / "acts.zarr", "--out", study.folder / "rdms.nc")
    return study


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
