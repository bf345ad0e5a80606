"""Bad input, end to end: the error names the thing and says what to do."""

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from torch import nn

import neurolens as nl
from neurolens.errors import AddressError, LabelError, ModelError, StimulusError


@pytest.fixture
def images(tmp_path):
    """Three images in a folder."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("cat", "dog", "cow"):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            self.conv = nn.Conv2d(3, 8, 3)
            self.head = nn.Linear(8, 4)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


def to_tensor(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def uses(stimuli, tmp_path):
    """The ways in which stimuli reach a model."""
    return {
        "extract": lambda: nl.extract(Small(), stimuli, tmp_path / "acts.zarr", progress=False),
        "stream": lambda: nl.rdm(nl.stream(Small(), stimuli, progress=False)),
    }


@pytest.mark.parametrize("verb", ["extract", "stream"])
def test_missing_file(images, tmp_path, verb):
    paths = [images / "cat.png", images / "horse.png", images / "dog.png", images / "hen.png"]
    stimuli = nl.Stimuli.from_files(paths, transform=to_tensor)
    with pytest.raises(StimulusError) as caught:
        uses(stimuli, tmp_path)[verb]()
    for words in ("2 of 4", "horse.png", "hen.png", "select"):
        assert words in str(caught.value)
    assert not (tmp_path / "acts.zarr").exists()


@pytest.mark.parametrize("verb", ["extract", "stream"])
def test_truncated_image(images, tmp_path, verb):
    whole = (images / "dog.png").read_bytes()
    (images / "dog.png").write_bytes(whole[: len(whole) // 2])
    stimuli = nl.Stimuli.from_folder(images, transform=to_tensor)
    with pytest.raises(StimulusError) as caught:
        uses(stimuli, tmp_path)[verb]()
    assert "1 of 3" in str(caught.value)
    assert "dog.png" in str(caught.value)
    assert "cow.png" not in str(caught.value)


def test_duplicate_ids(images):
    with pytest.raises(StimulusError, match=r"must be unique.*'cat"):
        nl.Stimuli.from_files([images / "cat.png", images / "dog.png"], ids=["cat", "cat"])


@pytest.mark.parametrize("verb", ["trace", "trace keep", "stream", "extract", "open"])
def test_unknown_address_lists_near_misses(images, tmp_path, verb):
    stimuli = nl.Stimuli.from_folder(images, transform=to_tensor)
    store = tmp_path / "acts.zarr"
    verbs = {
        "trace": lambda: nl.trace(Small(), torch.zeros(2, 3, 8, 8))["conv.conv3d"],
        "trace keep": lambda: nl.trace(Small(), torch.zeros(2, 3, 8, 8), keep="conv.conv3d"),
        "stream": lambda: nl.stream(Small(), stimuli, ops="conv.conv3d", progress=False),
        "extract": lambda: nl.extract(Small(), stimuli, store, ops="conv.conv3d", progress=False),
        "open": lambda: nl.extract(Small(), stimuli, store, progress=False)["conv.conv3d"],
    }
    with pytest.raises(AddressError) as caught:
        verbs[verb]()
    assert "'conv.conv3d'" in str(caught.value)
    assert "'conv.conv2d'" in str(caught.value)


def test_stimuli_of_two_sides_that_differ(images):
    stimuli = nl.Stimuli.from_folder(images, transform=to_tensor)
    brain = xr.DataArray(
        np.random.default_rng(0).random((3, 7)),
        {"stimulus": ["cat", "dog", "horse"]},
        ("stimulus", "neuroid"),
    )
    with pytest.raises(LabelError) as caught:
        nl.compare(nl.stream(Small(), stimuli, progress=False), brain, progress=False)
    for words in ("'cow'", "'horse'", 'join="inner"'):
        assert words in str(caught.value)


class Raises(Small):
    def forward(self, x):
        x = super().forward(x)
        raise RuntimeError("the flux capacitor is cold")


@pytest.mark.parametrize("verb", ["trace", "stream", "extract"])
def test_a_model_that_raises_keeps_its_own_error(images, tmp_path, verb):
    stimuli = nl.Stimuli.from_folder(images, transform=to_tensor)
    model = Raises().train()
    verbs = {
        "trace": lambda: nl.trace(model, torch.zeros(2, 3, 8, 8)),
        "stream": lambda: nl.rdm(nl.stream(model, stimuli, progress=False)),
        "extract": lambda: nl.extract(model, stimuli, tmp_path / "acts.zarr", progress=False),
    }
    with pytest.raises(RuntimeError, match="the flux capacitor is cold") as caught:
        verbs[verb]()
    notes = " ".join(getattr(caught.value, "__notes__", []))
    assert "Raises" in notes or verb == "trace"
    if verb != "trace":
        assert "'cat'" in notes
    assert model.training
    assert not model._forward_hooks
    assert not torch.overrides._len_torch_function_stack()
    assert not (tmp_path / "acts.zarr").exists()


def test_a_checkpoint_that_does_not_fit(tmp_path):
    state = {"conv1.weight": torch.zeros(1), "surplus": torch.zeros(2)}
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(ModelError) as caught:
        nl.load_model("torchvision:resnet18", checkpoint=tmp_path / "weights.pt")
    for words in ("weights.pt", "missing", "bn1.weight", "surplus", "conv1.weight (1,) for (64, 3, 7, 7)"):
        assert words in str(caught.value)


def test_a_checkpoint_that_is_none(tmp_path):
    with pytest.raises(ModelError, match=r"missing\.pt"):
        nl.load_model("torchvision:resnet18", checkpoint=tmp_path / "missing.pt")


@pytest.mark.parametrize(
    "measure", [nl.brain.noise_ceiling, nl.brain.explainable_variance, nl.brain.split_half]
)
@pytest.mark.parametrize("data", [np.ones((3, 4, 5)), "responses.nc", None])
def test_what_has_no_labels_is_said_to_have_none(measure, data):
    with pytest.raises(LabelError, match=f"{type(data).__name__} has no labels.*DataArray"):
        measure(data)
