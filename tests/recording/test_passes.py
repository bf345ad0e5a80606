"""Passes: loops of any length, loops in loops, and what must never be merged; held against counting by hand."""

import types

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurolens.recording.addresses import assign_names
from neurolens.recording.passes import source_position
from neurolens.recording.recorder import record


def passes_of(model, *inputs):
    names = assign_names(record(model, inputs))
    return {
        address: len(place.passes) for address, place in names.operations.items() if address != names.input
    }


@pytest.mark.parametrize("rounds", [1, 2, 7, 50])
def test_as_many_passes_as_rounds(rounds):
    def model(x):
        for _ in range(rounds):
            x = torch.tanh(x) + 1
        return x

    assert passes_of(model, torch.ones(2)) == {"tanh": rounds, "add": rounds}


@pytest.mark.parametrize("rounds", [0, 1, 2, 5])
def test_length_that_depends_on_data(rounds):
    def model(x):
        while x.max() > 1:
            x = x - 1
        return x

    expected = {"max": rounds + 1, "gt": rounds + 1} | ({"sub": rounds} if rounds else {})
    assert passes_of(model, torch.tensor([1.0 + rounds])) == expected


@settings(max_examples=40, deadline=None)
@given(n_layers=st.integers(2, 5), n_steps=st.integers(1, 4), before=st.booleans(), after=st.booleans())
def test_time_merges_and_layers_never(n_layers, n_steps, before, after):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(n_layers))

        def forward(self, x):
            for _ in range(n_steps):
                for layer in self.layers:
                    if before:
                        x = F.relu(x)
                    x = layer(x)
                    if after:
                        x = torch.tanh(x)
            return x

    expected = {f"layers.{k}.linear" for k in range(n_layers)}
    for name, used in (("relu", before), ("tanh", after)):
        expected |= {name if k == 0 else f"{name}_{k}" for k in range(n_layers)} if used else set()
    assert passes_of(Model(), torch.ones(1, 2)) == dict.fromkeys(sorted(expected), n_steps)


class Program:
    """Source text of a random nest of loops and ifs, and how often each operation in it runs."""

    def __init__(self, draw):
        self.draw, self.lines, self.counts, self.order = draw, [], [], 0

    def block(self, depth, indent, times):
        for _ in range(self.draw(st.integers(1, 3))):
            kind = self.draw(st.sampled_from(["op", "op", "for", "while", "if"] if depth else ["op"]))
            pad = "    " * indent
            if kind == "op":
                self.lines.append(f"{pad}x = torch.tanh(x)")
                self.counts.append(times)
            elif kind == "for":
                rounds = self.draw(st.integers(1, 3))
                self.lines.append(f"{pad}for _ in range({rounds}):")
                self.block(depth - 1, indent + 1, times * rounds)
            elif kind == "while":
                rounds = self.draw(st.integers(1, 3))
                name = f"n{len(self.lines)}"
                self.lines += [f"{pad}{name} = {rounds}", f"{pad}while {name} > 0:", f"{pad}    {name} -= 1"]
                self.block(depth - 1, indent + 1, times * rounds)
            else:
                taken = self.draw(st.booleans())
                self.lines.append(f"{pad}if {taken or 'len(x) > 99'}:")
                self.block(depth - 1, indent + 1, times if taken else 0)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_random_programs_have_the_passes_that_counting_gives(data):
    program = Program(data.draw)
    program.block(3, 1, 1)
    scope = {"torch": torch}
    exec(
        compile("def model(x):\n" + "\n".join(program.lines) + "\n    return x\n", "<program>", "exec"), scope
    )
    counts = [n for n in program.counts if n]
    found = passes_of(scope["model"], torch.ones(2))
    assert sorted(found.values()) == sorted(counts)
    assert set(found) == {f"tanh_{k}" if k else "tanh" for k in range(len(counts))}


@pytest.mark.parametrize("n_twice", [1, 2, 3])
def test_a_shared_layer_in_a_list_of_layers(n_twice):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
            self.order = [self.a, self.b] * n_twice

        def forward(self, x):
            for layer in self.order:
                x = F.relu(layer(x))
            return x

    expected = {"a.linear": n_twice, "relu": n_twice, "b.linear": n_twice, "relu_1": n_twice}
    assert passes_of(Model(), torch.ones(1, 2)) == expected


def test_a_module_run_by_two_modules_has_passes_of_both():
    class Outer(nn.Module):
        def __init__(self, shared):
            super().__init__()
            self.shared = shared

        def forward(self, x):
            return self.shared(x) + 1

    shared = nn.Linear(2, 2)
    model = nn.Sequential(Outer(shared), Outer(shared))
    assert passes_of(model, torch.ones(1, 2)) == {"0.shared.linear": 2, "0.add": 1, "1.add": 1}


def test_mutual_recursion_makes_passes():
    def even(x, n):
        return x if n == 0 else odd(x.tanh(), n - 1)

    def odd(x, n):
        return x if n == 0 else even(x.exp(), n - 1)

    assert passes_of(lambda x: even(x, 5), torch.ones(1)) == {"tanh": 3, "exp": 2}


def test_a_tree_walked_by_recursion_makes_passes():
    def total(tree):
        return tree if isinstance(tree, torch.Tensor) else total(tree[0]) + total(tree[1])

    x = torch.ones(1)
    assert sum(passes_of(lambda x: total(((x, x), (x, (x, x)))), x).values()) == 4


def test_a_decorated_forward_is_still_one_place():
    def decorate(function):
        def wrapper(*args):
            return function(*args)

        return wrapper

    class Model(nn.Module):
        @decorate
        def forward(self, x):
            for _ in range(3):
                x = x.tanh()
            return x

    assert passes_of(Model(), torch.ones(1)) == {"tanh": 3}


def test_code_without_columns_is_told_apart_by_instruction():
    code = compile("def model(x):\n    return x.tanh().tanh()\n", "<model>", "exec").co_consts[0]
    bare = code.replace(co_linetable=b"")
    model = types.FunctionType(bare, {})
    assert source_position(bare, 4) == 4
    assert passes_of(model, torch.ones(1)) == {"tanh": 1, "tanh_1": 1}


def test_try_and_with_blocks_change_nothing():
    def model(x):
        for k in range(4):
            try:
                with torch.no_grad():
                    x = x.tanh()
                if k == 1:
                    raise ValueError
                x = x + 1
            except ValueError:
                x = x.exp()
            finally:
                x = x.sin()
        return x

    assert passes_of(model, torch.ones(1)) == {"tanh": 4, "add": 3, "sin": 4, "exp": 1}


def test_a_loop_driven_by_c_is_one_place():
    def model(x):
        return torch.stack(list(map(x.__mul__, range(3))))

    assert passes_of(model, torch.ones(1)) == {"mul": 3, "stack": 1}
