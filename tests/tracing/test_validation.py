"""Validation must be able to fail: faults are planted, and each is found and named."""

import dataclasses

import pytest
import torch
import torchvision
from torch import nn

import neurolens as nl
from neurolens.recording.memory import Memory


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        y = torch.relu_(self.conv(x))
        y = self.drop(y) + y
        return self.fc(y.mean((2, 3)))


def trace_small():
    torch.manual_seed(0)
    return nl.trace(Small(), torch.randn(2, 3, 6, 6))


def value_of(traced, address):
    return traced.resolve(address).values[0]


def test_sound_trace_passes():
    report = trace_small().validate()
    assert report
    assert report.passed
    assert report.failed == ()
    text = repr(report)
    assert "bit for bit" in text
    assert "none outside" in text


def test_wrong_activation_is_found():
    traced = trace_small()
    value = value_of(traced, "conv.conv2d")
    wrong = traced.recording.tensors[value].clone()
    wrong[0, 0, 0, 0] += 0.5
    traced.recording.tensors[value] = wrong
    report = traced.validate()
    assert not report
    assert "conv.conv2d" in report.failed
    assert "largest difference 0.5" in repr(report)
    assert "y = torch.relu_(self.conv(x))" in repr(report)


def test_missing_parent_is_found():
    traced = trace_small()
    step = traced["add"].step
    parents = list(traced.graph.parents)
    parents[step] = parents[step][:1]
    traced.__dict__["graph"] = dataclasses.replace(traced.graph, parents=tuple(parents))
    report = traced.validate()
    assert report.failed == ("add",)
    assert "lacks its parent" in repr(report)


def test_parent_that_does_not_matter_is_found():
    traced = trace_small()
    event = value_of(traced, "fc.linear").event
    stranger = value_of(traced, "input")
    event.args = (*event.args, ())  # still callable? no: a further argument breaks the call, and that is said
    event.args = event.args[:-1]
    event.kwargs = {}
    weights = [v for v in event.inputs() if v.parameter]
    assert len(weights) == 2
    zero = torch.zeros_like(traced.recording.tensors[weights[0]])
    traced.recording.tensors[weights[0]] = zero  # now nothing of the mean reaches the output
    report = traced.validate()
    assert "fc.linear" in report.failed  # its kept activation no longer follows from its parents
    assert stranger not in weights


def test_kernel_outside_is_found():
    def model(x):
        y = x * 1
        y.untyped_storage().fill_(0)
        return y + 1

    report = nl.trace(model, torch.ones(3)).validate()
    assert not report
    assert "fill_" in repr(report)


def test_stale_value_of_an_overwritten_tensor_is_found(monkeypatch):
    monkeypatch.setattr(Memory, "preserve", lambda self, tensors: None)
    report = trace_small().validate()
    assert not report
    assert any(address.startswith("conv") for address in report.failed)


def test_wrong_random_state_is_found():
    traced = trace_small()
    event = value_of(traced, "drop.dropout").event
    other = torch.Generator().manual_seed(99).get_state()
    event.rng = {"cpu": other}
    report = traced.validate()
    assert "drop.dropout" in report.failed


def test_model_that_changed_since_is_found():
    model = nn.Linear(3, 2)
    traced = nl.trace(model, torch.ones(1, 3))
    with torch.no_grad():
        model.weight.zero_()
    report = traced.validate()
    assert not report
    assert "state has changed" in repr(report)


def test_nothing_kept_is_said_not_proven():
    report = nl.trace(nn.Linear(3, 2), torch.ones(1, 3), keep=None).validate()
    assert "not kept" in repr(report)


def test_attention_fast_path_is_measured():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, batch_first=True).eval()
    report = nl.trace(layer, torch.randn(2, 5, 16)).validate()
    assert report
    assert len(report.proofs.answer.fast_path) == 1


def test_model_state_is_left_as_it_was():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    traced = nl.trace(model, torch.randn(4, 3))
    before = [buffer.clone() for buffer in model.buffers()]
    state = torch.get_rng_state()
    assert traced.validate()
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16"])
def test_networks_are_proven_whole(name):
    torch.manual_seed(0)
    model = torchvision.models.get_model(name).eval()
    size = 224 if name == "vit_b_16" else 64
    with torch.no_grad():
        report = nl.trace(model, torch.randn(1, 3, size, size)).validate()
    assert report, report
    assert all(f.verdict.value == "proven" for f in (*report.proofs.replays, *report.proofs.perturbations))
