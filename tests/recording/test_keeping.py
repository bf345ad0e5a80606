"""What is held while a model runs: at least what was asked for, and nothing like all of it."""

import pytest
import torch
from small_models import CASES
from torch import nn

from neurolens.recording.addresses import assign_names, select
from neurolens.recording.keeping import PatternRule, keep_for
from neurolens.recording.recorder import record


def trace(case, keep=True):
    torch.manual_seed(0)
    args, kwargs = case.inputs()
    model = case.build()
    torch.manual_seed(1)
    recording = record(model, args, kwargs, keep=keep)
    return recording, assign_names(recording)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whatever_is_asked_for_is_held(case):
    full, names = trace(case)
    for address in [*names.places, *names.inputs, *names.outputs]:
        targets = select(names, address)
        part, part_names = trace(case, keep_for(address))
        for target, again in zip(targets, select(part_names, address), strict=True):
            assert len(target.values) == len(again.values)
            for value, held in zip(target.values, again.values, strict=True):
                assert held in part.tensors, target.address
                if "empty" in target.address:  # memory that nobody has written
                    continue
                assert torch.equal(part.tensors[held], full.tensors[value]), target.address


@pytest.mark.parametrize(
    "pattern", ["**.add", "layers.0.*", "relu_1", "relu:2", "rel?", ["tanh", "*.linear"]]
)
@pytest.mark.parametrize("case", [c for c in CASES if "layers" in c.ops], ids=lambda case: case.name)
def test_patterns_hold_what_they_choose(case, pattern):
    _, names = trace(case)
    wanted = []
    for one in [pattern] if isinstance(pattern, str) else pattern:
        try:
            wanted += [target.address for target in select(names, one)]
        except KeyError:
            continue
    part, part_names = trace(case, keep_for(pattern))
    for address in wanted:
        (target,) = select(part_names, address)
        assert all(value in part.tensors for value in target.values)


class Wide(nn.Sequential):
    """Ten layers."""

    def __init__(self):
        super().__init__(*(nn.Linear(4, 4) for _ in range(10)))


@pytest.mark.parametrize(
    ("pattern", "n_held"),
    [("3.linear", 1), ("3", 1), ("*", 11), ("?.linear", 10), ("input", 1), (["1", "2"], 2)],
)
def test_nothing_like_everything_is_held(pattern, n_held):
    recording = record(Wide(), (torch.ones(2, 4),), keep=keep_for(pattern))
    assert sum(not value.parameter for value in recording.tensors) == n_held


def test_both_names_of_a_shared_module_are_held():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.b = nn.Sequential(self.a, nn.ReLU())

        def forward(self, x):
            return self.b(self.a(x))

    recording = record(Twice(), (torch.ones(2, 4),), keep=keep_for("b.0.linear"))
    (target,) = select(assign_names(recording), "b.0.linear")
    assert len(target.values) == 2
    assert all(value in recording.tensors for value in target.values)


def test_nothing_is_held_when_nothing_is_wanted():
    recording = record(Wide(), (torch.ones(2, 4),), keep=False)
    assert all(value.parameter for value in recording.tensors)
    assert len(recording.events) == 11


@pytest.mark.parametrize("stop", [1, 2, 5, 11])
def test_the_pass_stops_after_the_last_event_wanted(stop):
    calls = []
    model = Wide()
    for layer in model:
        layer.register_forward_hook(lambda *_: calls.append(1))
    recording = record(model, (torch.ones(2, 4),), stop_after=stop)
    assert len(recording.events) == stop
    assert not recording.complete or stop == 11
    assert len(calls) <= stop


def test_modules_in_which_nothing_is_meant_are_not_asked_about():
    model = Wide()
    asked = []

    class Watching(PatternRule):
        def __call__(self, scope, name):
            asked.append(scope.path)
            return super().__call__(scope, name)

    recording = record(model, (torch.ones(2, 4),), keep=Watching(["3.linear"]))
    assert set(asked) == {"", "3"}
    assert {value.event.scope.module_scope.path for value in recording.tensors if not value.parameter} == {
        "3"
    }
