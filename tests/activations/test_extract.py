import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models

from neurolens.activations import extract, stream
from neurolens.activations import open as open_activations
from neurolens.errors import AddressError, InputError, StimulusError, StoreError
from neurolens.models import Model
from neurolens.stimuli import Stimuli

QUIET = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}


def make_stimuli(x, **options):
    return Stimuli.from_array(x, ids=[f"s{i}" for i in range(len(x))], **options)


def read_files(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


class Net(nn.Module):
    """A convolution, a relu used twice, a static operation, and a tail that counts its calls."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.mix = nn.Conv2d(4, 4, 1)
        self.block = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.fc = nn.Linear(16, 5)
        self.register_buffer("scale", torch.arange(5.0))
        self.calls = 0

    def forward(self, x):
        x = self.relu(self.conv(x))
        x = self.relu(self.mix(x) + x)
        x = self.block(x)
        self.calls += 1
        return self.fc(x) * torch.exp(self.scale)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def hooked(model, x, batch_size):
    """The output of every module and call, by plain hooks: {(path, number of the call): array}."""
    seen = {}
    handles = []
    for path, module in model.named_modules():

        def note(module, args, out, path=path):
            count = sum(1 for p, _ in now if p == path)
            now[path, count + 1] = out.detach().clone()

        handles.append(module.register_forward_hook(note))
    with torch.no_grad():
        for start in range(0, len(x), batch_size):
            now = {}
            model(x[start : start + batch_size])
            for key, value in now.items():
                seen.setdefault(key, []).append(value)
    for handle in handles:
        handle.remove()
    return {key: torch.cat(parts).numpy() for key, parts in seen.items()}


def test_store_equals_stream_equals_hooks(net, images, tmp_path):
    stimuli = make_stimuli(images, metadata={"kind": list("aabbccddee"), "size": range(10)})
    acts = extract(net, stimuli, tmp_path / "acts.zarr", batch_size=4, progress=False)
    streamed = stream(net, stimuli, batch_size=4, progress=False)
    assert list(acts) == list(streamed)
    for address, array in streamed.items():
        stored = acts[address]
        assert stored.dims == array.dims
        assert stored.attrs == array.attrs
        assert set(stored.coords) == set(array.coords)
        np.testing.assert_array_equal(stored.values, array.values, err_msg=address)
    truth = hooked(net, images, 4)
    assert ("relu", 2) in truth
    for (path, number), values in truth.items():
        name = (path or "output") + (f":{number}" if path == "relu" else "")
        np.testing.assert_allclose(acts[name].values, values, rtol=1e-6, err_msg=name)
    assert acts["conv.conv2d"].kind.values.tolist() == list("aabbccddee")
    assert acts["conv.conv2d"].size == acts["conv.conv2d"].values.size


def test_static_operations_are_stored_once_without_stimulus(net, images, tmp_path):
    acts = extract(net, make_stimuli(images), tmp_path / "acts.zarr", batch_size=4, progress=False)
    assert acts["exp"].dims == ("axis_1",)
    np.testing.assert_allclose(acts["exp"].values, np.exp(np.arange(5.0)), rtol=1e-6)


def test_passes_are_stacked_and_modules_are_aliases(net, images, tmp_path):
    acts = extract(net, make_stimuli(images), tmp_path / "acts.zarr", progress=False)
    both = acts["relu"]
    assert both.dims == ("stimulus", "pass", "channel", "y", "x")
    np.testing.assert_array_equal(acts["relu:2"].values, both.sel({"pass": 2}).values)
    np.testing.assert_array_equal(acts["block"].values, acts["block.1.flatten"].values)
    assert set(acts.store.aliases) >= {"relu", "relu:2", "conv", "mix", "block", "block.1", "fc"}
    assert acts.store.aliases["output"] == "mul"
    assert "" not in acts.store.aliases


def test_what_is_asked_for_twice_is_stored_once(net, images, tmp_path):
    ops = ["block", "block.1", "block.1.flatten", "fc"]
    acts = extract(net, make_stimuli(images), tmp_path / "acts.zarr", ops=ops, progress=False)
    assert list(acts) == ["block.1.flatten", "fc"]
    np.testing.assert_array_equal(acts["block"].values, acts["block.1.flatten"].values)


def test_the_pass_stops_after_the_last_requested_operation(net, images, tmp_path):
    stimuli = make_stimuli(images)
    net.calls = 0
    extract(net, stimuli, tmp_path / "whole.zarr", ops="fc", batch_size=1, progress=False)
    assert net.calls == len(images) + 2
    net.calls = 0
    acts = extract(net, stimuli, tmp_path / "part.zarr", ops=["mix", "relu:2"], batch_size=1, progress=False)
    assert net.calls == 3  # the first batch and two probes plan; the others stop
    truth = hooked(net, images, 1)
    np.testing.assert_array_equal(acts["mix"].values, truth["mix", 1])
    np.testing.assert_array_equal(acts["relu:2"].values, truth["relu", 2])


def test_relu_in_place_does_not_change_what_it_was_given(net, images, tmp_path):
    acts = extract(net, make_stimuli(images), tmp_path / "acts.zarr", ops=["conv", "mix"], progress=False)
    with torch.no_grad():
        np.testing.assert_allclose(acts["conv"].values, net.conv(images), rtol=1e-6)
    assert (acts["conv"].values < 0).any()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_cast(net, images, tmp_path, dtype):
    plain = stream(net, make_stimuli(images), ops="fc", progress=False)["fc"]
    acts = extract(net, make_stimuli(images), tmp_path / "acts.zarr", ops="fc", dtype=dtype, progress=False)
    assert acts["fc"].dtype == np.dtype(dtype)
    assert acts["fc"].attrs["traced_dtype"] == "float32"
    np.testing.assert_array_equal(acts["fc"].values, plain.values.astype(dtype))


def test_bfloat16_is_stored_as_float32_with_the_dtype_in_attrs(tmp_path):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).to(torch.bfloat16)
    x = torch.randn(5, 4)
    stimuli = make_stimuli(x, transform=lambda item: item.to(torch.bfloat16))
    acts = extract(model, stimuli, tmp_path / "acts.zarr", progress=False)
    assert acts["1"].dtype == np.float32
    assert acts["1"].attrs["traced_dtype"] == "bfloat16"
    with torch.no_grad():
        np.testing.assert_array_equal(acts["1"].values, model(x.to(torch.bfloat16)).float().numpy())


def test_integers_are_not_cast(tmp_path):
    acts = extract(lambda x: x.argsort(1), make_stimuli(torch.rand(4, 3)), tmp_path / "a.zarr", dtype="float16",
                   ops="argsort", progress=False)  # fmt: skip
    assert acts["argsort"].dtype == np.int64


def test_unknown_dtype_is_refused(net, images, tmp_path):
    with pytest.raises(InputError, match="dtype='int8'"):
        extract(net, make_stimuli(images), tmp_path / "acts.zarr", dtype="int8", progress=False)
    assert not (tmp_path / "acts.zarr").exists()


# ---------------------------------------------------------------------- errors before anything is written


def test_a_disk_too_small_is_an_error_before_anything_is_written(net, images, tmp_path, monkeypatch):
    bytes_fc = 10 * 5 * 4
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=bytes_fc - 1))
    with pytest.raises(StoreError, match=r"up to 200 bytes before compression.*199 bytes"):
        extract(net, make_stimuli(images), tmp_path / "deep" / "acts.zarr", ops="fc", progress=False)
    assert list(tmp_path.iterdir()) == []
    extract(net, make_stimuli(images), tmp_path / "acts.zarr", ops="fc", dtype="float16", progress=False)


def test_unreadable_images_are_all_named_before_the_run(net, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "abcd":
        Image.new("RGB", (8, 8)).save(folder / f"{name}.png")
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:40])
    (folder / "c.png").write_text("no image")
    stimuli = Stimuli.from_folder(folder, transform=lambda image: torch.zeros(3, 8, 8))
    with pytest.raises(StimulusError, match=r"2 of 4 stimuli(.|\n)*'b'(.|\n)*'c'"):
        extract(net, stimuli, tmp_path / "acts.zarr", progress=False)
    assert not (tmp_path / "acts.zarr").exists()


def test_unknown_operations_are_refused_with_near_misses(net, images, tmp_path):
    with pytest.raises(AddressError, match=r"conv\.conv2d"):
        extract(net, make_stimuli(images), tmp_path / "acts.zarr", ops="conv.conv2", progress=False)
    assert not (tmp_path / "acts.zarr").exists()


# ---------------------------------------------------------------------- resuming


class Interrupted(Exception):
    pass


class FailsOnce(nn.Module):
    """Raises at one stimulus until told not to."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(3, 2)
        self.broken = True
        self.n_calls = 0

    def forward(self, x):
        self.n_calls += 1
        if 7.0 in x[:, 0].tolist() and self.broken:
            raise Interrupted
        return self.fc(x)


def rows(n=12):
    x = torch.rand(n, 3, generator=torch.Generator().manual_seed(2))
    x[8] = 7
    return x


def begin(store, **options):
    """Leave an unfinished store: its model raises at s8."""
    model = FailsOnce().eval()
    settings = {"batch_size": 3, "progress": False} | options
    with pytest.raises(Interrupted) as caught:
        extract(model, make_stimuli(rows()), store, **settings)
    (note,) = caught.value.__notes__
    assert note.startswith("FailsOnce raised this on the stimulus 's8', at ")
    return model


def test_a_run_that_failed_is_taken_up_where_it_was(tmp_path):
    model = begin(tmp_path / "acts.zarr")
    with pytest.raises(StoreError, match="unfinished"):
        open_activations(tmp_path / "acts.zarr")
    some = open_activations(tmp_path / "acts.zarr", incomplete=True)
    assert some["fc.linear"].stimulus.values.tolist() == [f"s{i}" for i in range(6)]
    model.broken = False
    model.n_calls = 0
    acts = extract(model, make_stimuli(rows()), tmp_path / "acts.zarr", batch_size=3, progress=False)
    assert model.n_calls == 3 + 2  # planning, and the two blocks that were missing
    with torch.no_grad():
        np.testing.assert_allclose(acts["fc"].values, model(rows()), rtol=1e-6)
    extract(model, make_stimuli(rows()), tmp_path / "whole.zarr", batch_size=3, progress=False)
    assert read_files(tmp_path / "acts.zarr") == read_files(tmp_path / "whole.zarr")


def other_weights(model, stimuli, options):
    with torch.no_grad():
        model.fc.weight += 1


def other_ops(model, stimuli, options):
    options["ops"] = "fc"


def other_stimuli(model, stimuli, options):
    x = rows()
    x[1, 1] = 3
    stimuli[0] = make_stimuli(x)


def other_order(model, stimuli, options):
    stimuli[0] = stimuli[0].select(["s1", "s0", *[f"s{i}" for i in range(2, 12)]])


def other_block(model, stimuli, options):
    options["batch_size"] = 4


def other_dtype(model, stimuli, options):
    options["dtype"] = "float16"


def other_preprocessing(model, stimuli, options):
    stimuli[0] = make_stimuli(rows(), transform=torch.relu)


def none_wanted(model, stimuli, options):
    options["resume"] = False


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_weights, "weights was"),
        (other_ops, "ops was"),
        (other_stimuli, "stimuli was"),
        (other_order, "value 0 of 'stimulus' was 's0'"),
        (other_block, "block_size was 3"),
        (other_dtype, "stored_dtype was"),
        (other_preprocessing, "preprocessing was"),
        (none_wanted, "exists already"),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_resuming_with_anything_else_names_what_differs(tmp_path, change, named):
    model = begin(tmp_path / "acts.zarr")
    model.broken = False
    before = read_files(tmp_path / "acts.zarr")
    stimuli, options = [make_stimuli(rows())], {"batch_size": 3, "progress": False}
    change(model, stimuli, options)
    with pytest.raises(StoreError, match=named):
        extract(model, stimuli[0], tmp_path / "acts.zarr", **options)
    assert read_files(tmp_path / "acts.zarr") == before


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from torch import nn
from neurolens.activations import extract
from neurolens.stimuli import Stimuli

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(144, 7)

    def forward(self, x):
        if x[0, 0, 0, 0] > 0.5:
            x = x.relu()
        return self.fc(self.conv(x).relu().flatten(1))

x = torch.rand(30, 3, 8, 8, generator=torch.Generator().manual_seed(1))
x[0, 0, 0, 0] = 1.0
stimuli = Stimuli.from_array(x, ids=range(30), metadata={"half": [i < 15 for i in range(30)]})
model = Net().eval()
def run(store):
    extract(model, stimuli, store, batch_size=1, progress=False)

def count_blocks(store):
    return len(list((store / "blocks_done").glob("c.*")))

folder = Path(sys.argv[1])
store = folder / "acts.zarr"
torch.set_num_threads(1)
moments = random.Random(0)
n_partial = 0
run(folder / "whole.zarr")  # first, so that what is loaded once is loaded for all children
for number in range(7):
    before = count_blocks(store)
    child = os.fork()
    if child == 0:
        run(store)
        os._exit(0)
    gone = 0
    while number % 3 and not gone and count_blocks(store) == before:  # each third one dies before it wrote
        gone, _ = os.waitpid(child, os.WNOHANG)
        time.sleep(0.001)
    if not gone:
        time.sleep(moments.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    n_partial += 0 < count_blocks(store) < len(stimuli)
run(store)
print(n_partial)
"""


def test_killed_at_any_moment_and_taken_up_again_is_bit_identical(tmp_path):
    answer = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], capture_output=True, text=True, env=QUIET, check=True
    )
    assert int(answer.stdout) >= 1  # some were killed between the first block and the last
    assert read_files(tmp_path / "acts.zarr") == read_files(tmp_path / "whole.zarr")


# ---------------------------------------------------------------------- what is read without neurolens


FOREIGN = """
import sys, warnings
warnings.simplefilter("error")
import xarray as xr
tree = xr.open_datatree(sys.argv[1], engine="zarr")
conv = tree["conv/conv2d/activation"]
assert conv.dims == ("stimulus", "channel", "y", "x"), conv.dims
assert conv.sel(stimulus="s3").shape == (4, 6, 6)
assert [str(k) for k in tree["kind"].values] == list("aabbccddee")
print(float(conv.load().sum()))
assert not any(name.startswith("neurolens") for name in sys.modules)
"""


def test_datatree_reads_a_store_without_neurolens_and_without_a_warning(net, images, tmp_path):
    stimuli = make_stimuli(images, metadata={"kind": list("aabbccddee")})
    acts = extract(net, stimuli, tmp_path / "acts.zarr", batch_size=4, progress=False)
    answer = subprocess.run(
        [sys.executable, "-I", "-c", FOREIGN, tmp_path / "acts.zarr"],
        capture_output=True, text=True, env=QUIET, check=False,
    )  # fmt: skip
    assert answer.stderr == ""
    assert float(answer.stdout) == pytest.approx(float(acts["conv"].sum()), rel=1e-4)


# ---------------------------------------------------------------------- models of other kinds


class Sometimes(nn.Module):
    """A branch on the batch."""

    def forward(self, x):
        if x.sum() > 0:
            x = x.relu()
        return torch.relu(x - 1) + x.sum()


def test_operations_that_did_not_run_are_missing(tmp_path):
    x = torch.tensor([[1.0, 2], [3, 4], [-1, -2], [-3, -4], [3, 1]])
    acts = extract(Sometimes(), make_stimuli(x), tmp_path / "a.zarr", batch_size=2, progress=False)
    assert np.isnan(acts["relu"].values[2:4]).all()
    np.testing.assert_array_equal(acts["relu"].values[[0, 1, 4]], x[[0, 1, 4]].numpy())
    assert acts["relu"].attrs["missing_stimuli"] == ["s2", "s3"]
    np.testing.assert_array_equal(acts["relu_1"].values, torch.relu(x - 1).numpy())
    assert "made from the stimuli" in acts.store.attrs["left_out"]["gt"]


def test_texts_with_a_tokenizer(tmp_path):
    torch.manual_seed(0)
    embedding = nn.Embedding(128, 4)

    def tokenize(text):
        return torch.tensor([ord(letter) for letter in text.ljust(6)])

    model = Model(nn.Sequential(embedding, nn.Linear(4, 2)), tokenize, "letters", "", "codes of letters")
    stimuli = Stimuli.from_texts(["cat", "dog", "mouse"], ids=["c", "d", "m"])
    acts = extract(model, stimuli, tmp_path / "acts.zarr", batch_size=2, progress=False)
    assert acts["0"].dims == ("stimulus", "token", "feature")
    weights = embedding.weight.detach().numpy()
    np.testing.assert_array_equal(acts["0"].sel(stimulus="m").values, weights[[ord(x) for x in "mouse "]])
    assert acts.store.attrs["preprocessing"] == "codes of letters"


def test_resnet_blocks_from_images_on_disk(tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (5, 32, 32, 3), dtype=np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index}.png")
    model = models.resnet18().eval()

    def prepare(image):
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255

    ops = ["layer1", "layer2", "avgpool"]
    acts = extract(
        Model(model, prepare, "resnet18", "0", "pixels / 255"), Stimuli.from_folder(folder),
        tmp_path / "acts.zarr", ops=ops, batch_size=2, progress=False,
    )  # fmt: skip
    truth = hooked(model, torch.stack([prepare(image) for image in pixels]), 2)
    for path in ops:
        np.testing.assert_array_equal(acts[path].values, truth[path, 1])


class _Reads(nn.Module):
    """A recurrent part with several results, a loop, a view that is written."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)
        self.relu = nn.ReLU()

    def forward(self, x):
        y, _ = self.lstm(x)
        for _ in range(2):
            y = self.relu(y - 1)
        left, right = y.chunk(2, -1)
        return left[..., :1].mul_(2) + right


def test_every_array_names_its_parents(tmp_path):
    stimuli = Stimuli.from_array(torch.rand(3, 5, 4), ids=list("abc"))
    acts = extract(_Reads(), stimuli, tmp_path / "a.zarr", progress=False)
    parents = {address: array.attrs["parents"] for address, array in acts.items()}
    assert parents["input"] == []
    assert parents["sub"] == ["lstm.lstm[0]", "relu.relu"]  # the first pass reads one, the second the other
    assert parents["relu.relu"] == ["sub"]
    assert parents["chunk[1]"] == ["relu.relu"]
    assert set(parents["add"]) == {"mul", "chunk"}  # its memory was written by way of the other part
    some = extract(_Reads(), stimuli, tmp_path / "b.zarr", ops="*.relu", progress=False)
    assert some["relu.relu"].attrs["parents"] == ["sub"]  # also where that is not stored
