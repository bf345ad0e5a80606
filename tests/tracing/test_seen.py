"""What is made, called or run in unusual ways is still seen, or marked as not seen."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import neurolens as nl
from neurolens.tracing import Module, Operation, Pass

MAKERS = {
    "from_numpy": lambda x: torch.from_numpy(np.ones(4, "float32")),
    "frombuffer": lambda x: torch.frombuffer(bytearray(np.ones(4, "float32").tobytes()), dtype=torch.float32),
    "legacy constructor": lambda x: torch.Tensor([1.0, 2.0, 3.0, 4.0]),
    "parameter": lambda x: nn.Parameter(torch.from_numpy(np.ones(4, "float32")), requires_grad=False),
    "closure": lambda x, held=torch.ones(4): held,  # noqa: B008
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_torch_does_not_report_is_a_source(name):
    traced = nl.trace(lambda x: x + MAKERS[name](x), torch.zeros(3, 4))
    assert list(traced) == ["input", "source", "add"]
    assert [parent.address for parent in traced["add"].parents] == ["input", "source"]
    assert torch.equal(traced["source"].tensor, MAKERS[name](None))
    assert traced.validate()


def test_pool_made_before_the_trace_stays_unseen_and_is_marked():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        traced = nl.trace(lambda x: pool.submit(torch.relu, x).result() + 1, torch.ones(3))
    assert list(traced) == ["input", "source", "add"]


def test_pool_made_inside_is_seen_and_lets_everything_pass_afterwards():
    pools = []

    def model(x):
        pools.append(ThreadPoolExecutor(1))
        return pools[0].submit(torch.relu, x).result() + 1

    traced = nl.trace(model, torch.ones(3))
    assert list(traced) == ["input", "relu", "add"]
    n_events = len(traced.recording.events)
    assert torch.equal(pools[0].submit(torch.tanh, torch.zeros(2)).result(), torch.zeros(2))
    assert len(traced.recording.events) == n_events
    pools[0].shutdown()


def test_data_parallel_without_a_gpu_calls_the_module():
    model = nn.DataParallel(nn.Linear(3, 2))
    assert "module.linear" in nl.trace(model, torch.ones(4, 3))


def test_exported_program_is_a_model():
    exported = torch.export.export(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), (torch.ones(1, 3),)).module()
    traced = nl.trace(exported, torch.ones(1, 3))
    assert any(traced[address].name == "linear" for address in traced)
    assert torch.equal(traced["output"].tensor, exported(torch.ones(1, 3)))


def test_mode_of_the_user_outside_sees_the_model_and_not_the_bookkeeping():
    class Seeing(TorchFunctionMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.names.append(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    x = torch.ones(3)

    def model(x):
        y = x * 2
        y.add_(1)
        return torch.relu(y)

    with Seeing() as plain:
        model(x)
    with Seeing() as beside:
        traced = nl.trace(model, x)
    assert beside.names == plain.names
    assert list(traced) == ["input", "mul", "add", "relu"]


def test_kinds_of_what_an_address_gives():
    traced = nl.trace(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), torch.ones(1, 3))
    assert type(traced["0.linear"]) is Operation
    assert type(traced["0.linear:1"]) is Pass
    assert traced["0.linear:1"].number == 1
    assert type(traced["0"]) is Module
    assert all(isinstance(step, Pass) for step in traced.steps)
    assert [step.address for step in traced.steps] == list(traced)
