"""Who made what from what: known graphs, and random programs against element-wise bookkeeping."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import CASES
from torch import nn
from torchvision import models

from neurolens.recording.addresses import assign_names
from neurolens.recording.graph import build_graph
from neurolens.recording.recorder import record

GRAPHS = {}


def graph(*arrows):
    """Say what each operation is made from: "add < mul input"."""
    edges = {}
    for arrow in arrows:
        child, _, parents = arrow.partition("<")
        edges[child.strip()] = set(parents.split())

    def add(function):
        GRAPHS[function.__name__] = (function, edges)
        return function

    return add


@graph("input <", "exp < input", "sin < exp", "add < exp sin")
def diamond(x):
    y = x.exp()
    return y + y.sin()


@graph("input <", "tanh:1 < input", "tanh:2 < tanh:1", "tanh:3 < tanh:2")
def passes_of_a_loop(x):
    for _ in range(3):
        x = x.tanh()
    return x


@graph("input <", "exp < input", "getitem < exp", "mul < getitem", "add < exp mul")
def in_place_on_a_view(x):
    y = x.exp()
    y[:, 1].mul_(2)
    return y + 1


@graph("input <", "exp < input", "getitem < exp", "mul < exp", "add < getitem mul")
def in_place_on_the_base_of_a_view(x):
    y = x.exp()
    view = y[:, 1]
    y.mul_(2)
    return view + 1


@graph(
    "input <",
    "exp < input",
    "getitem < exp",
    "mul < getitem",
    "setitem < exp mul",
    "getitem_1 < setitem",
    "getitem_2 < input",
    "add < getitem_1 getitem_2",
    "setitem_1 < setitem add",
    "sum < setitem_1",
)
def augmented_items(x):
    y = x.exp()
    y[:, 1] *= 2
    y[:, 3] += x[:, 0]
    return y.sum()


@graph("input <", "exp < input", "mean < exp", "gt < mean", "mul < exp", "sum < mul", "lt < sum", "sub < mul")
def two_ifs(x):
    x = x.exp()
    x = x * 2 if x.mean() > 0 else x + 1
    return x + 2 if x.sum() < 0 else x - 2


@graph("input <", "empty <", "add < input empty", "mul < add")
def written_to_out(x):
    y = torch.empty(2, 4)
    y = torch.add(x, 1, out=y)
    return y * 2


@graph("input <", "mul < input", "source <", "add < source")
def cut_by_numpy(x):
    return torch.from_numpy((x * 2).numpy()) + 1


@graph("input <", "topk < input", "add < topk", "gather < input topk")
def several_results(x):
    values, places = torch.topk(x, 2)
    values + 1
    return x.gather(1, places)


@graph("input.x <", "input.y <", "zeros <", "cat < input.x input.y zeros")
def several_inputs(x, y):
    return torch.cat([x, y, torch.zeros(2, 4)])


@graph("input <", "exp < input", "view < exp", "relu < view", "sin < exp relu", "cos < relu")
def in_place_on_the_view_that_is_returned(x):
    y = x.exp()
    z = y.view(-1)
    z.relu_()
    return y.sin(), z.cos()


@graph("input <", "exp < input", "detach < exp", "mul < detach", "add < exp mul")
def written_through_detach(x):
    y = x.exp()
    y.detach().mul_(2)
    return y + 1


@graph("input <", "exp < input", "data < exp", "fill < data", "add < exp fill")
def written_through_data(x):
    y = x.exp()
    y.data.fill_(2)
    return y + 1


def edges_of(function, *inputs, **options):
    recording = record(function, inputs, **options)
    names, found = assign_names(recording), build_graph(recording)
    labels = {}
    for index, (place, number) in names.of_event.items():
        label = f"{place.address}:{number}" if len(place.passes) > 1 else place.address
        if place.address == names.input and len(place.passes) > 1:
            label = list(names.inputs)[number - 1]
        labels[index] = label
    return {labels[e.index]: {labels[p] for p in found.parents[e.index]} for e in recording.events}


@pytest.mark.parametrize("name", GRAPHS)
def test_known_graphs(name):
    function, expected = GRAPHS[name]
    inputs = [torch.linspace(-1, 2, 8).reshape(2, 4) for _ in range(function.__code__.co_argcount)]
    assert edges_of(function, *inputs) == expected


def test_a_reused_module_keeps_its_calls_apart():
    class Reused(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.lin = nn.ReLU(), nn.Linear(4, 4)

        def forward(self, x):
            return self.act(self.lin(self.act(x)))

    assert edges_of(Reused(), torch.ones(2, 4)) == {
        "input": set(),
        "act.relu:1": {"input"},
        "lin.linear": {"act.relu:1"},
        "act.relu:2": {"lin.linear"},
    }


@pytest.mark.parametrize("batch_first", [True, False])
def test_the_graph_of_attention_does_not_depend_on_grad_mode(batch_first):
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first).eval()
    x = torch.randn(2, 3, 8)
    with_grad = edges_of(model, x)
    with torch.no_grad():
        assert edges_of(model, x) == with_grad
    with torch.inference_mode():
        assert edges_of(model, x) == with_grad
    assert any("softmax" in address or "scaled_dot_product" in address for address in with_grad)


def test_memory_that_is_used_again_makes_no_parent():
    def model(x):
        for _ in range(20):
            y = torch.empty(1000)
            y.fill_(1.0)
            del y
        return torch.empty(1000).add(x)

    recording = record(model, (torch.ones(1),), keep=False)
    found = build_graph(recording)
    last = recording.events[-1]
    assert {recording.events[p].facts.name for p in found.parents[last.index]} == {"empty", "input"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_edges_point_forward_both_ways(case):
    torch.manual_seed(0)
    args, kwargs = case.inputs()
    found = build_graph(record(case.build(), args, kwargs))
    for child, parents in enumerate(found.parents):
        assert all(parent < child for parent in parents)
        assert all(child in found.children[parent] for parent in parents)
    assert sum(map(len, found.parents)) == sum(map(len, found.children))


def longest(edges, node):
    return 1 + max((longest(edges, other) for other in edges[node]), default=-1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_depth_is_the_longest_path(case):
    torch.manual_seed(0)
    args, kwargs = case.inputs()
    found = build_graph(record(case.build(), args, kwargs))
    assert found.above == tuple(longest(found.parents, node) for node in range(len(found.parents)))
    assert found.below == tuple(longest(found.children, node) for node in range(len(found.parents)))
    depths = [found.depth(index) for index in range(len(found.parents))]
    assert min(depths) == 0.0
    assert max(depths) == (1.0 if max(found.above) else 0.0)


def test_depth_of_a_classifier_runs_from_input_to_output():
    recording = record(models.resnet18().eval(), (torch.randn(1, 3, 32, 32),))
    found, names = build_graph(recording), assign_names(recording)
    assert found.depth(0) == 0.0
    assert found.depth(names.outputs["output"].event.index) == 1.0
    assert all(parents for parents in found.parents[1:])


# ---------------------------------------------------------------------- random programs

SIZE = 6
slices = st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)).map(
    lambda t: (min(t), max(t[1], min(t) + 1))
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["new", "view", "write", "write_from", "setitem", "read"]),
        st.integers(0, 99),
        st.integers(0, 99),
        slices,
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_no_dependence_of_a_single_element_is_missed(program):
    """Each element carries the set of operations that shaped it; all of them must be ancestors."""
    history = []  # of each operation: the operations that shaped the elements it read

    def model(x):
        tensors = [x]
        cells = [[[{0}] for _ in range(SIZE)]]  # a view shares the cells of its base
        history.append(set())
        for kind, first, second, (low, high) in program:
            a, b = first % len(tensors), second % len(tensors)
            index = len(history)
            read = set().union(*(cell[0] for cell in cells[a]))
            if kind == "new":
                tensors.append(tensors[a].exp())
                cells.append([[cell[0] | {index}] for cell in cells[a]])
            elif kind == "view":
                high = min(high, len(cells[a]))
                low = min(low, high - 1)
                tensors.append(tensors[a][low:high])
                cells.append(cells[a][low:high])
            elif kind == "write":
                tensors[a].mul_(2)
                for cell in cells[a]:
                    cell[0] = cell[0] | {index}
            elif kind == "write_from":
                tensors[a].add_(tensors[b].sum())
                total = set().union(*(cell[0] for cell in cells[b]))
                history.append(total)
                index += 1
                read = read | {index - 1}
                for cell in cells[a]:
                    cell[0] = cell[0] | total | {index - 1, index}
            elif kind == "setitem":
                tensors[a][0] = 1.0
                read = set()
                cells[a][0][0] = {index}
            else:
                tensors[a].sum()
            history.append(read)
        return tensors[-1]

    recording = record(model, (torch.ones(SIZE),))
    found = build_graph(recording)
    assert len(recording.events) == len(history)
    ancestors = []
    for index, parents in enumerate(found.parents):
        ancestors.append(set(parents).union(*(ancestors[parent] for parent in parents)))
        missed = history[index] - ancestors[index] - {index}
        assert not missed, (index, [recording.events[m].facts.name for m in missed])


def test_an_operation_on_other_memory_is_no_ancestor():
    def model(x):
        y, z = x.exp(), x.sin()
        z.mul_(2)
        return y.view(-1) + 1

    assert edges_of(model, torch.ones(2))["add"] == {"view"}
    assert edges_of(model, torch.ones(2))["view"] == {"exp"}


def test_the_written_argument_of_a_functional_call_is_followed():
    def model(x):
        y = x.exp()
        F.relu(y, inplace=True)
        return y + 1

    assert edges_of(model, torch.ones(2))["add"] == {"relu"}
