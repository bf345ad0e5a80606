"""What people try first: half precision, sets of one, odd paths, what is no stimulus set."""

import copy
import json
import os

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from neurolens.activations import Pooling, extract, stream
from neurolens.activations import open as open_activations
from neurolens.errors import InputError, NeurolensWarning, StimulusError, StoreError
from neurolens.stimuli import Stimuli

IDS = ["Käse", "猫", "🙂", "a/b", "x y"]  # what file names may be
IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()


@pytest.fixture
def stimuli():
    return Stimuli.from_array(IMAGES, ids=IDS)


@pytest.mark.parametrize(("dtype", "stored"), [(torch.float16, "float16"), (torch.bfloat16, "float32")])
def test_a_model_in_half_precision_is_given_stimuli_in_half_precision(net, tmp_path, dtype, stored):
    half = copy.deepcopy(net).to(dtype)
    ready = Stimuli.from_array(IMAGES, ids=IDS, transform=lambda image: image.to(dtype))
    acts = extract(half, ready, tmp_path / "a.zarr", progress=False)
    with torch.no_grad():
        expected = half(IMAGES.to(dtype)).float().numpy()
    assert acts["3.linear"].dtype == stored
    assert acts["3.linear"].attrs["traced_dtype"] == str(dtype).removeprefix("torch.")
    np.testing.assert_array_equal(acts["3.linear"].values, expected)


def test_other_precisions_are_explained(net, stimuli, tmp_path):
    half = copy.deepcopy(net).half()
    with pytest.raises(RuntimeError) as raised:
        extract(half, stimuli, tmp_path / "a.zarr", progress=False)
    assert "parameters are float16 and the stimuli are float32: convert" in raised.value.__notes__[0]
    with pytest.raises(StimulusError, match=r"transform=torch.Tensor.bfloat16"):
        Stimuli.from_array(IMAGES.bfloat16(), ids=IDS)


@pytest.mark.parametrize("batch_size", [1, 2, 1000])
def test_any_batch_size_gives_the_same_labels(net, stimuli, tmp_path, batch_size):
    acts = extract(net, stimuli, tmp_path / "a.zarr", batch_size=batch_size, progress=False)
    with torch.no_grad():
        np.testing.assert_allclose(acts["3.linear"].values, net(IMAGES).numpy(), atol=1e-6)
    assert acts["3.linear"].stimulus.values.tolist() == IDS
    tree = xr.open_datatree(tmp_path / "a.zarr", engine="zarr")
    assert tree["3/linear/activation"].stimulus.values.tolist() == IDS


def test_one_stimulus_is_enough(net, tmp_path):
    one = Stimuli.from_array(IMAGES[:1], ids=["猫"])
    acts = extract(net, one, tmp_path / "a.zarr", progress=False)
    assert acts["1.relu"].dims == ("stimulus", "channel", "y", "x")
    np.testing.assert_array_equal(acts["1.relu"].values, stream(net, one, progress=False)["1.relu"].values)


class Answers(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        y = self.net(x)
        return {"logits": y, "more": {"probability": y.softmax(-1)}, "count": 3}


def test_results_in_a_dict_have_their_names(net, stimuli, tmp_path):
    acts = extract(Answers(net), stimuli, tmp_path / "a.zarr", progress=False)
    with torch.no_grad():
        expected = net(IMAGES).softmax(-1).numpy()
    np.testing.assert_allclose(acts["output[more][probability]"].values, expected, atol=1e-6)
    np.testing.assert_array_equal(acts["output[logits]"].values, acts["net.3.linear"].values)


@pytest.mark.parametrize("given", [IMAGES, IMAGES.numpy(), ["a.png"]], ids=["tensor", "array", "paths"])
def test_what_is_no_set_of_stimuli_is_refused(net, tmp_path, given):
    with pytest.raises(InputError, match=r"not Stimuli: .*Stimuli\.from_array"):
        extract(net, given, tmp_path / "a.zarr", progress=False)
    with pytest.raises(InputError, match=r"not Stimuli: .*Stimuli\.from_array"):
        stream(net, given, progress=False)


@pytest.mark.parametrize("batch_size", [2.5, "3", True, -1])
def test_batches_are_counted_in_whole_stimuli(net, stimuli, tmp_path, batch_size):
    with pytest.raises(InputError, match="is not a number of stimuli"):
        extract(net, stimuli, tmp_path / "a.zarr", batch_size=batch_size, progress=False)


def test_a_path_below_a_file_is_refused(net, stimuli, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file can't be made \(.*Choose a path"):
        extract(net, stimuli, tmp_path / "file" / "a.zarr", progress=False)


def test_a_folder_that_may_not_be_written_is_said(net, stimuli, tmp_path, monkeypatch):
    opened = os.open

    def refuse(path, *args, **options):  # as for a user without the right; the tests may run as root
        if str(path).endswith(".a.zarr.lock"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match=r"can't be written: no lock .*Permission denied.*Choose a folder"):
        extract(net, stimuli, tmp_path / "a.zarr", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_what_holds_no_values_is_left_out_and_said(tmp_path):
    class Nothing(torch.nn.Module):
        def forward(self, x):
            return torch.cat([x + 1, x[:, :0]], 1)

    x = np.ones((3, 4), "float32")
    acts = extract(Nothing(), Stimuli.from_array(x, ids=list("abc")), tmp_path / "a.zarr", progress=False)
    assert "getitem" not in acts.addresses()
    head = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]
    assert head["run"]["left_out"] == {"getitem": "it holds no values"}


@pytest.mark.parametrize("name", ["my störe 猫.zarr", "line\nbreak", "x" * 240, "/".join(["d" * 100] * 6)])
def test_a_store_may_be_called_anything(net, stimuli, tmp_path, name):
    acts = extract(net, stimuli, tmp_path / name, progress=False)
    assert acts.verify().is_sound
    again = open_activations(tmp_path / name)["3.linear"]
    with torch.no_grad():
        np.testing.assert_allclose(again.values, net(IMAGES).numpy(), atol=1e-6)
    tree = xr.open_datatree(tmp_path / name, engine="zarr")
    assert tree["3/linear/activation"].stimulus.values.tolist() == IDS


def test_the_sign_of_a_home_is_the_home(net, stimuli, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # its name on Windows
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    extract(net, stimuli, "~/acts.zarr", progress=False)
    assert open_activations("~/acts.zarr").verify().is_sound
    assert (tmp_path / "acts.zarr").is_dir()
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3://bucket/acts.zarr", "address on a network"),
        ("", "Give a path that does not exist yet"),
        (None, "None is no path"),
    ],
)
def test_what_is_no_place_for_a_store_is_said(net, stimuli, tmp_path, monkeypatch, place, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=said):
        extract(net, stimuli, place, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_or_an_archive_is_no_store(net, stimuli, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "acts.zip").write_bytes(b"PK")
    for name in ("empty", "acts.zip"):
        with pytest.raises(StoreError, match="Give a path that does not exist yet"):
            extract(net, stimuli, tmp_path / name, progress=False)
    with pytest.raises(StoreError, match=r"is a file, and a store is a folder.*unpack it"):
        open_activations(tmp_path / "acts.zip")


def test_numbers_too_large_for_the_dtype_name_the_first_stimulus_and_operation(tmp_path):
    x = np.ones((6, 3), "float32")
    x[3, 1], x[5] = 1e6, 1e7
    stimuli = Stimuli.from_array(x, ids=list("abcdef"))
    options = {"ops": "mul", "batch_size": 2, "progress": False}
    with pytest.warns(
        NeurolensWarning, match=r"stimulus 'd' in 'mul' that are too large .*leave dtype="
    ) as said:
        acts = extract(lambda x: x * 2, stimuli, tmp_path / "a.zarr", dtype="float16", **options)
    assert len(said) == 1
    assert np.isinf(acts["mul"].values).sum(1).tolist() == [0, 0, 0, 1, 0, 3]
    extract(lambda x: x * 2, stimuli, tmp_path / "b.zarr", **options)  # warns of nothing


@pytest.mark.parametrize(
    "answer",
    [
        lambda y: None,
        lambda y: (y, None),
        lambda y: [y, [y + 1]],
        lambda y: float(y.sum()),
        lambda y: "text",
        lambda y: y.numpy(),
        lambda y: (part for part in (y,)),
    ],
    ids=["None", "and None", "nested", "number", "text", "array", "generator"],
)
def test_what_a_model_returns_does_not_matter_to_its_operations(tmp_path, answer):
    stimuli = Stimuli.from_array(np.arange(12, dtype="float32").reshape(4, 3), ids=list("abcd"))
    acts = extract(lambda x: answer(x * 2), stimuli, tmp_path / "a.zarr", ops="mul", progress=False)
    np.testing.assert_array_equal(acts["mul"].values, 2 * np.arange(12).reshape(4, 3))


def flip_at_times(image):
    return image.flip(-1) if torch.rand(()) > 0.5 else image


@pytest.mark.parametrize("run", [extract, stream])
def test_a_transform_for_training_is_warned_of(net, tmp_path, run):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    Stimuli.from_array(IMAGES, ids=IDS, transform=torch.relu).check_transform()
    random = Stimuli.from_array(IMAGES, ids=IDS, transform=flip_at_times)
    with pytest.warns(NeurolensWarning, match=r"not always make the same input of 'Käse'.*training") as said:
        random.check_transform()
    assert len(said) == 1
    assert torch.equal(torch.get_rng_state(), before)
    place = (tmp_path / "a.zarr",) if run is extract else ()
    with pytest.warns(NeurolensWarning, match="does not always make the same input"):
        run(net, random, *place, progress=False)


def test_a_transform_that_raises_names_the_stimulus(net, tmp_path):
    def prepare(image):
        if torch.equal(image, IMAGES[3]):
            raise ValueError("too dark")
        return image

    stimuli = Stimuli.from_array(IMAGES, ids=IDS, transform=prepare)
    for workers in (0, 2):
        with pytest.raises(ValueError, match="too dark") as raised:
            extract(net, stimuli, tmp_path / f"{workers}.zarr", batch_size=1, workers=workers, progress=False)
        assert "Raised by the preparation of the stimulus 'a/b'." in raised.value.__notes__


def test_complex_numbers_of_half_precision_are_stored_in_single(tmp_path):
    stimuli = Stimuli.from_array(np.arange(16, dtype="float16").reshape(4, 2, 2), ids=list("abcd"))
    with pytest.warns(UserWarning, match="ComplexHalf support is experimental"):
        acts = extract(torch.view_as_complex, stimuli, tmp_path / "a.zarr", progress=False)
    assert acts["view_as_complex"].dtype == np.complex64
    expected = np.arange(16).reshape(4, 2, 2)
    np.testing.assert_array_equal(acts["view_as_complex"].values, expected[..., 0] + 1j * expected[..., 1])


def test_a_reduction_that_was_not_made_is_refused(net, stimuli, tmp_path):
    with pytest.raises(InputError, match="Pooling'> is no reduction"):
        extract(net, stimuli, tmp_path / "a.zarr", reduce=Pooling, progress=False)
