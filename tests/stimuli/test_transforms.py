"""A transform's description must not change between processes, and must change with what the user wrote."""

import functools
import os
import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torchvision import transforms

from neurolens.stimuli.transforms import describe_transform

SCALE = 2.0


def double(x):
    return x * 2


def triple(x):
    return x * 3


def scaled(x):
    return x * SCALE


def shift(by):
    return lambda x: x + by


class Crop:
    def __init__(self, size, mask=None):
        self.size, self.mask = size, mask

    def __call__(self, x):
        return x[: self.size]


PAIRS = {
    "body": (double, triple),
    "lambda": (lambda x: x + 1, lambda x: x + 2),
    "function called": (lambda x: double(x), lambda x: triple(x)),
    "closure": (shift(1), shift(2)),
    "closure of an array": (shift(np.zeros(2000)), shift(np.eye(1, 2000, 1000)[0])),
    "default": (lambda x, k=1: x, lambda x, k=2: x),
    "partial": (functools.partial(pow, 2), functools.partial(pow, 3)),
    "hidden in a Lambda": (transforms.Lambda(lambda x: x * 2), transforms.Lambda(lambda x: x * 3)),
    "hidden in a Compose": tuple(
        transforms.Compose([transforms.ToTensor(), transforms.Lambda(f)]) for f in (double, triple)
    ),
    "attribute": (Crop(3), Crop(4)),
    "tensor attribute": (Crop(3, torch.zeros(2000)), Crop(3, torch.eye(2000)[7])),
    "method": (Crop(3).__call__, Crop(4).__call__),
    "parameter of a library": (transforms.Resize(3), transforms.Resize(4)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_differs_is_described_differently(name):
    first, second = PAIRS[name]
    assert describe_transform(first) == describe_transform(first)
    assert describe_transform(first) != describe_transform(second)
    assert " at 0x" not in describe_transform(first)


def test_a_constant_of_the_module_counts(monkeypatch):
    before = describe_transform(scaled)
    monkeypatch.setitem(scaled.__globals__, "SCALE", 3.0)
    assert describe_transform(scaled) != before


def test_what_a_library_states_is_left_as_it_is():
    resize = transforms.Compose([transforms.Resize(3), transforms.ToTensor()])
    assert describe_transform(resize) == " ".join(repr(resize).split())


SCRIPT = """
import functools
from neurolens.stimuli.transforms import describe_transform
names = {"a", "b", "c", "d"}
def keep(x): return x in {"a", "b", "c", "d"} or x in names
class Own:
    def __init__(self): self.inner = keep
    def __call__(self, x): return self.inner(x)
steps = [keep, Own(), functools.partial(keep, x=[keep]), Own().__call__]
print([describe_transform(step) for step in steps])
"""


def test_descriptions_are_the_same_in_every_process(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    runpy.run_path(str(script), run_name="__main__")
    here = capsys.readouterr().out
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    there = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, env=environment
    )
    assert there.stdout == here
    assert " at 0x" not in here
