"""Weights from files: read without running code, and refused unless they fit."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import neurolens as nl
from neurolens.errors import ModelError
from neurolens.models.weights import pair_in_order

SPEC = "torchvision:squeezenet1_1"


@pytest.fixture(scope="module")
def state():
    return nl.load_model(SPEC, pretrained=False, seed=1).module.state_dict()


WRAPPINGS = {
    "plain": lambda state: state,
    "wrapped": lambda state: {"epoch": 3, "state_dict": state},
    "parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "wrapped and parallel": lambda state: {"model": {f"module.{n}": v for n, v in state.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_checkpoint_replaces_the_weights(tmp_path, state, wrapping):
    file = tmp_path / "net.pth"
    torch.save(WRAPPINGS[wrapping](state), file)
    model = nl.load_model(SPEC, checkpoint=file)
    assert all(torch.equal(value, state[name]) for name, value in model.module.state_dict().items())
    assert model.name == f"{SPEC} (net.pth)"


def test_a_safetensors_checkpoint(tmp_path, state):
    file = tmp_path / "net.safetensors"
    save_file(dict(state), file)
    loaded = nl.load_model(SPEC, checkpoint=file)
    assert all(torch.equal(value, state[name]) for name, value in loaded.module.state_dict().items())


def _rename(state):
    return {("other" if name == "features.0.bias" else name): value for name, value in state.items()}


def _reshape(state):
    return {**state, "features.0.bias": torch.zeros(7)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_rename, r"1 missing \('features.0.bias'\); 1 unexpected \('other'\)"),
        (_reshape, r"features.0.bias \(7,\) for \(64,\)"),
        (lambda state: [1, 2], "no state dict"),
        (lambda state: {"features": "text"}, "no state dict"),
    ],
)
def test_a_checkpoint_that_does_not_fit_names_the_tensors(tmp_path, state, change, said):
    file = tmp_path / "net.pth"
    torch.save(change(state), file)
    with pytest.raises(ModelError, match=said):
        nl.load_model(SPEC, checkpoint=file)


class Trap:
    def __reduce__(self):
        return (eval, ("open('sprung', 'w').close()",))


@pytest.mark.parametrize("save", [torch.save, lambda value, file: file.write_bytes(pickle.dumps(value))])
def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch, save):
    monkeypatch.chdir(tmp_path)
    save({"state_dict": Trap()}, tmp_path / "net.pth")
    with pytest.raises(ModelError, match="can't be read as weights"):
        nl.load_model(SPEC, checkpoint=tmp_path / "net.pth")
    assert not (tmp_path / "sprung").exists()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"no checkpoint .*gone\.pth"):
        nl.load_model(SPEC, checkpoint=tmp_path / "gone.pth")


def _net():
    return nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.Linear(4, 4))


def test_pairing_in_order_ignores_names_and_counters():
    a, b = _net().state_dict(), _net().state_dict()
    renamed = {f"x{i}.{name.rpartition('.')[2]}": v for i, (name, v) in enumerate(b.items()) if v.ndim}
    paired = pair_in_order(a, renamed)
    assert list(paired) == list(a)
    assert all(torch.equal(paired[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda b: dict(list(b.items())[:-1]), "6 tensors, the architecture 7"),
        (lambda b: {**b, "0.weight": torch.zeros(4, 3, 3, 3)}, r"'0.weight' \(4, 3, 3, 3\)"),
        (lambda b: dict(reversed(list(b.items()))), "don't pair"),
    ],
)
def test_pairing_refuses_other_numbers_shapes_and_orders(other, said):
    with pytest.raises(ModelError, match=said):
        pair_in_order(_net().state_dict(), other(_net().state_dict()))
