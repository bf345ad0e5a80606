"""Modules and composites around operations."""

import pytest
import torch
from torch import nn

import neurolens as nl
from neurolens.explorer.document import N_OPEN, choose_open
from neurolens.explorer.networks import read_trace
from neurolens.explorer.outline import FAMILIES, Group, Item, build_groups, name_family, walk_groups


def item(address, *owners):
    return Item(address, address.rsplit(".", 1)[-1], owners, 0, 0.0)


def describe(group, titles):
    parts = [
        describe(child, titles) if isinstance(child, Group) else titles[child] for child in group.children
    ]
    return {group.title: parts}


def test_modules_nest_and_a_module_of_one_operation_is_this_operation():
    items = [
        item("input"),
        item("layer.0.conv.conv2d", "layer", "layer.0", "layer.0.conv"),
        item("layer.0.relu", "layer", "layer.0"),
        item("layer.1.add", "layer", "layer.1"),
        item("fc.linear", "fc"),
    ]
    root, titles = build_groups(items)
    assert describe(root, titles) == {
        "": ["input", {"layer": [{"0": ["conv: conv2d", "relu"]}, "1: add"]}, "fc: linear"]
    }


def test_a_chain_of_modules_is_shown_as_one():
    items = [item(f"a.b.c.{name}", "a", "a.b", "a.b.c") for name in ("relu", "add")] + [item("output")]
    root, titles = build_groups(items)
    assert describe(root, titles) == {"": [{"a.b.c": ["relu", "add"]}, "output"]}


def test_a_module_called_from_two_places_is_one_group():
    items = [item("a.relu", "a"), item("b.relu", "b"), item("a.add", "a")]
    root, titles = build_groups(items)
    assert describe(root, titles) == {"": [{"a": ["relu", "add"]}, "b: relu"]}


@pytest.mark.parametrize(
    ("function", "family"),
    [
        ("conv2d", "convolution"),
        ("conv_transpose2d", "convolution"),
        ("linear", "matrix product"),
        ("matmul", "matrix product"),
        ("layer_norm", "normalisation"),
        ("batch_norm", "normalisation"),
        ("gelu", "nonlinearity"),
        ("log_softmax", "nonlinearity"),
        ("adaptive_avg_pool2d", "pooling"),
        ("max_pool2d", "pooling"),
        ("scaled_dot_product_attention", "attention"),
        ("add", "arithmetic"),
        ("mean", "arithmetic"),
        ("exp", "arithmetic"),
        ("expand", "shape and indexing"),
        ("getitem", "shape and indexing"),
        ("permute", "shape and indexing"),
        ("dropout", "other"),
        ("input", "other"),
    ],
)
def test_families_of_functions(function, family):
    assert name_family(function) == family
    assert family in FAMILIES


def test_levels_are_unfolded_as_long_as_few_things_are_visible():
    few = [item(f"{a}.{b}.{c}", str(a), f"{a}.{b}") for a in range(3) for b in range(3) for c in range(2)]
    many = [item(f"{a}.{b}.{c}", str(a), f"{a}.{b}") for a in range(6) for b in range(9) for c in range(9)]
    for items, is_whole in ((few, True), (many, False)):
        root, _ = build_groups(items)
        identity = {group.path: number for number, group in enumerate(walk_groups(root))}
        opened = choose_open(root, identity)
        assert (len(opened) == len(identity)) is is_whole
        assert opened[0] == identity[""]
        visible = (
            sum(len(g.children) for g in walk_groups(root) if identity[g.path] in opened) - len(opened) + 1
        )
        assert visible <= N_OPEN


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(3, 3)

    def forward(self, x):
        for _ in range(4):
            x = torch.tanh(self.cell(x))
        return nn.functional.multi_head_attention_forward(
            *[x[:, None]] * 3,
            3,
            1,
            torch.eye(3).repeat(3, 1),
            None,
            None,
            None,
            False,
            0.0,
            torch.eye(3),
            None,
        )[0]


def test_edges_are_those_of_the_trace_and_loops_are_told_apart():
    trace = nl.trace(Recurrent(), torch.rand(2, 3))
    network = read_trace(trace)
    number = {address: k for k, address in enumerate(trace)}
    expected = {
        (number[parent.address.split(":")[0]], number[step.address.split(":")[0]])
        for step in trace.steps
        for parent in step.parents
    }
    assert set(network.edges) | set(network.loops) == expected
    assert all(a < b for a, b in network.edges)
    assert (number["tanh"], number["cell.linear"]) in network.loops
    assert network.items[number["tanh"]].n_passes == 4


def test_operations_of_composites_are_inside_them():
    network = read_trace(nl.trace(Recurrent(), torch.rand(2, 3)))
    inside = [one for one in network.items if "multi_head_attention_forward" in one.owners]
    assert len(inside) > 5
    assert network.classes["multi_head_attention_forward"] == "multi_head_attention_forward"
