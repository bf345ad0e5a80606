"""Models with which new users found faults; each fault is told in the name of its test."""

import collections

import numpy as np
import pytest
import torch
from torch import nn

import neurolens as nl
from neurolens.errors import AddressError


class Hebbian(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2, bias=False)

    def forward(self, x):
        y = self.layer(x)
        with torch.no_grad():
            self.layer.weight += y.T @ x
        return y


def test_reading_an_activation_does_not_train_a_model_that_learns_as_it_runs():
    torch.manual_seed(0)
    model = Hebbian()
    x = torch.randn(3, 2)
    expected = model.layer(x)
    traced = nl.trace(model, x)
    weights = model.layer.weight.clone()
    assert traced["layer"].activation.dims == ("stimulus", "unit")
    assert traced.validate()
    assert torch.equal(model.layer.weight, weights)
    np.testing.assert_array_equal(traced["layer"].activation.values, expected.detach().numpy())


@pytest.mark.parametrize(
    "write",
    [
        lambda y: y[:, 0].mul_(2),
        lambda y: y.view(-1).mul_(2),
        lambda y: y.detach().mul_(2),
        lambda y: y.data.mul_(2),
        lambda y: y.chunk(2, 1)[0].relu_(),
    ],
)
def test_arguments_after_a_write_by_way_of_a_view(write):
    def model(x):
        y = x + 0
        write(y)
        return y.exp()

    traced = nl.trace(model, torch.randn(3, 4))
    assert traced["exp"].arguments[0] in [parent.address for parent in traced["exp"].parents]


def test_rows_chosen_by_value_are_no_stimulus_axis():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.expert = nn.Linear(4, 4)

        def forward(self, x):
            rows = x[:, 0] > 0
            y = torch.zeros_like(x)
            y[rows] = self.expert(x[rows])
            return y

    x = torch.randn(5, 4)
    x[:, 0] = torch.tensor([1.0, 1, 1, -1, -1])
    traced = nl.trace(Masked(), x)
    array = traced["expert"].activation
    assert "stimulus" not in array.dims
    assert "depends on values" in array.attrs["stimulus_axis"]
    assert all(array.size for array in traced.activations.values())


def test_mark_dirty_counts_as_a_write_and_changes_nothing():
    class Triple(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.mul_(3)
            return x

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 3

    x = torch.randn(2, 3)
    traced = nl.trace(lambda x: Triple.apply(x * 3) + 1, x)
    np.testing.assert_array_equal(traced["mul_1"].activation.values, (x * 3 * 3).numpy())
    assert traced.validate()


def test_generator_of_its_own_is_replayed():
    def model(x):
        return x + torch.randn(x.shape, generator=torch.Generator().manual_seed(3))

    assert nl.trace(model, torch.randn(2, 4)).validate()


def test_batch_without_stimuli():
    traced = nl.trace(nn.Sequential(nn.Conv2d(3, 3, 3), nn.Flatten()), torch.randn(0, 3, 8, 8))
    assert traced.activations["1.flatten"].size == 0


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.jacrev])
def test_text_of_a_trace_with_a_transform_inside(transform):
    layer = nn.Linear(4, 4)
    traced = nl.trace(lambda x: transform(lambda row: layer(row).sum())(x[0]), torch.randn(2, 4))
    assert "kept" in repr(traced)
    assert all(operation.arguments is not None for operation in traced.values())


@pytest.mark.parametrize("address", ["1.relu:2", "1.relu:0", "1:2", "0.linear[3]", "nothing", 0])
def test_what_does_not_exist_is_not_given(address):
    traced = nl.trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.randn(2, 4))
    assert address not in traced
    with pytest.raises(AddressError):
        traced[address]
    assert traced.get(address) is None


def test_arguments_in_a_named_tuple():
    pair = collections.namedtuple("pair", "a b")
    traced = nl.trace(lambda x: torch.cat(pair(x, x * 2)), torch.randn(2, 3))
    assert traced["cat"].arguments[0] == pair("input", "mul")


def test_near_misses_of_a_pattern():
    traced = nl.trace(nn.Sequential(nn.Conv2d(3, 3, 3)), torch.randn(1, 3, 8, 8))
    with pytest.raises(AddressError, match=r"0\.conv2d"):
        traced.find("*.conv")


def test_initialisers_called_inside_forward_are_opened():
    def build(x):
        weight = torch.ones(4, 3)
        torch.nn.init.kaiming_uniform_(weight)
        torch.nn.init.normal_(tensor=weight)
        return x @ weight

    traced = nl.trace(build, torch.ones(2, 4))
    assert "kaiming_uniform.uniform" in traced
    assert torch.equal(traced["ones"].tensor, torch.ones(4, 3))
    assert traced.validate()
