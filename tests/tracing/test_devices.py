"""Models on an accelerator, where there is one."""

import pytest
import torch
from torch import nn

import neurolens as nl
from neurolens.errors import InputError

DEVICES = [
    pytest.param(name, marks=pytest.mark.skipif(not found(), reason=f"this machine has no {name} device"))
    for name, found in (("cuda", torch.cuda.is_available), ("mps", torch.backends.mps.is_available))
]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        y = torch.relu_(self.norm(self.conv(x)))
        y[:, 0] *= 2
        return self.drop(y).mean((2, 3)) + torch.randn(4, device=x.device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("keep_on", ["device", "cpu"])
def test_recorded_kept_and_proven(device, keep_on):
    torch.manual_seed(0)
    model = Net().to(device).train()
    inputs = torch.randn(2, 3, 8, 8, device=device)
    torch.manual_seed(1)
    traced = nl.trace(model, inputs, keep_on=keep_on)
    torch.manual_seed(1)
    plain = model(inputs)
    assert torch.equal(traced["output"].tensor.to(device), plain.detach())
    expected = "cpu" if keep_on == "cpu" else device
    assert {tensor.device.type for tensor in traced.recording.tensors.values()} == {expected}
    assert traced["conv.conv2d"].device.type == device
    assert traced["conv.conv2d"].activation.dims == ("stimulus", "channel", "y", "x")
    assert traced.validate()


def test_on_the_cpu_both_ways_are_by_reference():
    model, inputs = nn.Linear(3, 2), torch.ones(1, 3)
    for keep_on in ("device", "cpu"):
        traced = nl.trace(model, inputs, keep_on=keep_on)
        assert traced["input"].tensor.data_ptr() == inputs.data_ptr()
        assert traced.validate()


def test_unknown_place():
    with pytest.raises(InputError, match="keep_on='gpu' is not known"):
        nl.trace(nn.Linear(3, 2), torch.ones(1, 3), keep_on="gpu")
