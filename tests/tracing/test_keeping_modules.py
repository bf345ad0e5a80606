"""Asking for modules alone keeps what their addresses mean, whatever the model does with the modules."""

import pytest
import torch
from torch import nn

import neurolens as nl
from neurolens.recording.addresses import find_module_outputs, select


class Reuses(nn.Module):
    """Calls one module twice, one never, one under two paths; one hands out several tensors, one nothing."""

    def __init__(self):
        super().__init__()
        self.fc, self.idle, self.rnn, self.silent = nn.Linear(4, 4), nn.Linear(4, 4), nn.LSTM(4, 4), Silent()
        self.twin = self.fc
        self.input = nn.ReLU()

    def forward(self, x):
        y = self.input(self.fc(self.fc(x)))
        self.silent(y)
        return self.rnn(y)[0]


class Silent(nn.Module):
    def forward(self, x):
        x.add(1)


PATHS = [["fc"], ["rnn", "fc"], ["input"], ["rnn"], ["twin"], ["fc", "**.add"], ["fc:2"]]


@pytest.mark.parametrize("paths", PATHS, ids=" ".join)
def test_the_short_way_keeps_what_the_names_say(paths):
    torch.manual_seed(0)
    trace = nl.trace(Reuses(), torch.randn(3, 4), keep=paths)
    kept = {id(value) for value in trace.recording.tensors if not value.parameter}
    assert kept == {id(value) for target in select(trace.names, paths) for value in target.values}


def test_the_short_way_is_taken_for_modules_that_gave_tensors_and_for_nothing_else():
    recording = nl.trace(Reuses(), torch.randn(3, 4)).recording
    assert len(find_module_outputs(recording, ["fc"])) == 2
    assert len(find_module_outputs(recording, ["rnn"])) == 3
    assert all(
        find_module_outputs(recording, [path]) is None for path in ("idle", "silent", "fc:1", "fc.linear")
    )


def test_a_module_that_did_not_run_is_an_error():
    with pytest.raises(nl.errors.AddressError, match="idle"):
        nl.trace(Reuses(), torch.randn(3, 4), keep=["fc", "idle"])
