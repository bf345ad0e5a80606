"""Ten places where recorders of PyTorch are known to break or to be awkward, one test each."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import neurolens as nl
from neurolens.errors import NeurolensWarning


@pytest.fixture(scope="module")
def x():
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def test_1_writes_to_columns_are_right_and_proven(x):
    def model(x):
        y = x + 0
        z = y[:, 0]
        y[:, 1] *= 2
        y[:, 3] += z
        return y

    traced = nl.trace(model, x)
    expected = x.clone()
    expected[:, 1] *= 2
    expected[:, 3] += expected[:, 0]
    assert torch.equal(traced["output"].tensor, expected)
    assert torch.equal(traced["add"].tensor, x)
    assert traced.validate()


def test_2_who_reads_a_written_view_hangs_on_the_write(x):
    def model(x):
        y = x + 0
        y[:, 1].mul_(2)
        return y + 1

    traced = nl.trace(model, x)
    last = traced["add_1"]
    assert "mul" in [parent.address for parent in last.parents]
    read = next(value for value in last._events[0].inputs())
    assert read.shape == (3, 4)
    assert torch.equal(traced.recording.tensors[read] + 1, last.tensor)
    assert traced.validate()


@pytest.mark.filterwarnings("ignore::neurolens.errors.NeurolensWarning")
def test_3_then_and_else_in_sequence(x):
    def model(x):
        if x.abs().sum() > 0:
            x = x + 1
        else:
            x = x - 1
        if x.abs().sum() < 0:
            x = x * 2
        else:
            x = x * 3
        return x

    traced = nl.trace(model, x)
    assert traced.validate()
    assert traced["add"].branch.taken
    assert not traced["mul"].branch.taken
    assert traced["mul"].branch.decided_by == ("lt",)


@pytest.mark.parametrize(
    ("name", "last"), [("resnet18", "fc"), ("alexnet", "classifier.6"), ("swin_t", "head")]
)
def test_4_last_module_by_its_name(name, last):
    torch.manual_seed(0)
    model = torchvision.models.get_model(name).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(nl.trace(model, image, keep=last)[last].tensor, model(image))


def test_4_second_call_of_a_module_and_lstm_by_name():
    torch.manual_seed(0)
    model = torchvision.models.resnet18().eval()
    seen = []
    model.layer4[1].relu.register_forward_hook(lambda m, i, o: seen.append(o.clone()))
    traced = nl.trace(model, torch.randn(1, 3, 64, 64))
    assert torch.equal(traced["layer4.1.relu:1"].tensor, seen[0])
    assert torch.equal(traced["layer4.1.relu:2"].tensor, seen[1])

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.memory = nn.LSTM(3, 5)

        def forward(self, x):
            return self.memory(x)[0]

    recurrent = Recurrent()
    inputs = torch.randn(4, 2, 3)
    assert torch.equal(nl.trace(recurrent, inputs)["memory[0]"].tensor, recurrent(inputs))


def test_5_grad_mode_changes_no_name():
    layer = nn.TransformerEncoderLayer(16, 2, batch_first=True).eval()
    inputs = torch.randn(2, 5, 16)
    with_gradients = list(nl.trace(layer, inputs))
    with torch.no_grad():
        assert list(nl.trace(layer, inputs)) == with_gradients


def test_6_an_operation_more_renames_nothing_elsewhere():
    class Net(nn.Module):
        def __init__(self, more):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.more = more

        def forward(self, x):
            if self.more:
                x = torch.tanh(x)
            return torch.relu(self.second(torch.relu(self.first(x))))

    few, many = (list(nl.trace(Net(more), torch.ones(1, 4))) for more in (False, True))
    assert [address for address in many if address != "tanh"] == few


def test_7_what_cuts_the_graph_is_marked(x):
    def model(x):
        return torch.from_numpy(x.numpy() * 2) + x.sum().item()

    with pytest.warns(NeurolensWarning, match="hands values to Python"):
        traced = nl.trace(model, x)
    assert [mark.function for mark in traced.readouts] == ["numpy", "item"]
    assert traced.readouts[0].source.text == "return torch.from_numpy(x.numpy() * 2) + x.sum().item()"
    assert "source" in traced


def test_7_threads_vmap_and_sparse_products(x):
    def model(x):
        found = {}
        thread = threading.Thread(target=lambda: found.update(y=torch.relu(x)))
        thread.start()
        thread.join()
        mapped = torch.vmap(lambda row: row * row.sum())(found["y"])
        return torch.sparse.mm(torch.eye(3).to_sparse(), mapped)

    traced = nl.trace(model, x)
    assert {"relu", "mul", "sum"} <= set(traced)
    assert torch.equal(traced["relu"].tensor, torch.relu(x))
    assert traced["mul"].tensor.shape == (3, 4)
    assert traced.validate()


def test_8_seeded_as_a_plain_run():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.RReLU()).train()
    inputs = torch.randn(8, 4)
    torch.manual_seed(0)
    expected, after = model(inputs), torch.rand(3)
    torch.manual_seed(0)
    traced = nl.trace(model, inputs)
    assert torch.equal(traced["output"].tensor, expected)
    assert torch.equal(torch.rand(3), after)


def test_9_torch_is_left_as_it_was():
    before = {name: getattr(torch, name) for name in dir(torch) if callable(getattr(torch, name, None))}
    methods = {name: getattr(torch.Tensor, name) for name in dir(torch.Tensor)}
    calls = (nn.Module.__call__, threading.Thread.start, torch.ScriptFunction.__call__)
    model, twin = nn.BatchNorm1d(3).train(), nn.BatchNorm1d(3).train()
    inputs = torch.randn(5, 3)
    nl.trace(model, inputs)
    twin(inputs)
    assert all(getattr(torch, name) is function for name, function in before.items())
    assert all(getattr(torch.Tensor, name) == method for name, method in methods.items())
    assert calls == (nn.Module.__call__, threading.Thread.start, torch.ScriptFunction.__call__)
    assert model.num_batches_tracked == twin.num_batches_tracked == 1
    assert torch.equal(model.running_mean, twin.running_mean)
    assert not model._forward_hooks
    assert "set_" not in torch.Tensor.__dict__


def test_10_on_disk_labelled_and_without_pickle(tmp_path):
    stimuli = nl.Stimuli.from_array(
        np.random.default_rng(0).random((5, 3, 8, 8), "float32"), ids=list("abcde")
    )
    store = tmp_path / "acts.zarr"
    nl.extract(nn.Conv2d(3, 4, 3), stimuli, store, progress=False)
    code = (
        "import sys, xarray as xr\n"
        f"tree = xr.open_datatree({str(store)!r}, engine='zarr')\n"
        "array = next(a for node in tree.subtree for a in node.data_vars.values() if 'channel' in a.dims)\n"
        "assert array.dims == ('stimulus', 'channel', 'y', 'x'), array.dims\n"
        "assert array.stimulus.values.tolist() == list('abcde')\n"
        "assert 'neurolens' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    contents = [path.read_bytes() for path in store.rglob("*") if path.is_file()]
    assert not any(content.startswith(b"\x80\x04") or content.startswith(b"\x80\x05") for content in contents)
