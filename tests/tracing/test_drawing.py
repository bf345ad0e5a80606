"""Pictures of a trace: what is a node, what is an arrow, what is folded, and that the files can be read."""

import itertools
import re
import time
import warnings
import xml.etree.ElementTree as ET
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
import xarray as xr
from torch import fx, nn

import neurolens as nl
from neurolens.errors import InputError, NeurolensError, NeurolensWarning
from neurolens.tracing import drawing
from neurolens.tracing.boxes import MAX_BOXES, choose_boxes

pygraphviz = pytest.importorskip("pygraphviz", reason="the extra 'draw' is not installed")


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x))) + x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 1)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class Recurrent(nn.Module):
    """Two areas, the higher one feeds back."""

    def __init__(self):
        super().__init__()
        self.low = nn.Linear(4, 4)
        self.high = nn.Linear(4, 4)

    def forward(self, x):
        feedback = torch.zeros_like(x)
        for _ in range(3):
            feedback = self.high(torch.relu(self.low(x + feedback)))
        return feedback


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

    def forward(self, x):
        for _ in range(3):
            x = self.cell(x)
        return x


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.yes = nn.Linear(4, 4)
        self.no = nn.Linear(4, 4)

    def forward(self, x):
        return self.yes(x) if x.sum() > 0 else self.no(x)


def trace(model, *shape):
    torch.manual_seed(0)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurolensWarning)
        return nl.trace(model.eval(), torch.ones(shape))


@pytest.fixture(scope="module")
def net():
    return trace(Net(), 1, 3, 6, 6)


@pytest.fixture(scope="module")
def recurrent():
    return trace(Recurrent(), 2, 4)


@contextmanager
def read(graph):
    """The graph as Graphviz itself reads it."""
    with warnings.catch_warnings(), pygraphviz.AGraph(string=graph.source) as found:
        warnings.simplefilter("ignore")
        yield found


def plain(name):
    return name.replace("\uff1a", ":")


def nodes_of(graph):
    """What is written in each node, and its colour."""
    with read(graph) as found:
        return {plain(node): f"{node.attr['label']} {node.attr['fillcolor']}" for node in found.nodes()}


def edges_of(graph, *, style=None):
    with read(graph) as found:
        edges = [edge for edge in found.edges() if style is None or edge.attr["style"] == style]
        return sorted((plain(tail), plain(head)) for tail, head in edges)


# ---------------------------------------------------------------------- everything


def test_arrows_are_those_of_fx(net):
    """torch.fx traces the same network in its own way."""
    nodes = fx.symbolic_trace(Net().eval()).graph.nodes
    truth = {(_address(net, p), _address(net, node)) for node in nodes for p in node.all_input_nodes}
    drawn = edges_of(net.draw())
    assert len(drawn) == len(truth)
    assert set(drawn) == truth


def _address(net, node):
    """A node of fx by our name: its module's path, and its function."""
    if node.op == "placeholder":
        return "input"
    if node.op == "output":
        return "output"
    if node.op == "call_module":
        return net.find(f"{node.target}.*")[0]
    path = (
        next(reversed(node.meta["nn_module_stack"].values()), ("",))[0]
        if "nn_module_stack" in node.meta
        else ""
    )
    name = getattr(node.target, "__name__", node.target)
    return f"{path}.{name}" if path else name


def test_every_operation_is_a_node(net):
    assert set(nodes_of(net.draw())) == {*net, "output"}


def test_titles_say_what_a_module_computes(net):
    nodes = nodes_of(net.draw(show=["shape", "parameters", "flops"]))
    assert "stem: conv2d" in nodes["stem.conv2d"]
    assert "1×3×6×6" in nodes["stem.conv2d"]
    assert "12 parameters" in nodes["stem.conv2d"]
    assert f"{2 * 3 * 3 * 36} FLOP" in nodes["stem.conv2d"]  # two for a multiplication and an addition
    assert "6 parameters" in nodes["blocks.0.norm.batch_norm"]  # not the running statistics
    assert "parameters" not in nodes["mean"]
    assert "parameters" not in nodes_of(net.draw())["stem.conv2d"]


def test_modules_are_frames(net):
    source = net.draw().source
    assert re.findall(r'subgraph "?cluster_([\w.]+)', source) == ["blocks", "blocks.0", "blocks.1"]


@pytest.mark.parametrize(("level", "n_nodes"), [(1, 5 + 1), (2, 6 + 1), (3, 12 + 1), (9, 12 + 1)])
def test_folding_to_any_depth(net, level, n_nodes):
    nodes = nodes_of(net.draw(fold=level))
    assert len(nodes) == n_nodes
    if level == 2:
        assert "0: Block" in nodes["blocks.0"]
        assert "4 operations" in nodes["blocks.0"]
    if level == 1:
        assert set(nodes) == {"input", "stem", "blocks", "mean", "head", "output"}
        path = ["input", "stem", "blocks", "mean", "head", "output"]
        assert edges_of(net.draw(fold=1)) == sorted(itertools.pairwise(path))


def test_composites_are_folded_until_asked_for():
    traced = trace_attention()
    folded, opened = nodes_of(traced.draw()), nodes_of(traced.draw(composites=True))
    name = "multi_head_attention_forward"
    inside = {address for address in traced if traced[address].composite}
    assert inside
    assert inside.isdisjoint(folded)
    assert name in folded
    assert f"{len(inside)} operations" in folded[name]
    assert inside < set(opened)
    assert name not in opened


def trace_attention():
    layer = nn.MultiheadAttention(8, 2).eval()
    x = torch.randn(5, 1, 8)
    with torch.no_grad():
        return nl.trace(layer, (x, x, x))


# ---------------------------------------------------------------------- passes


def test_unrolled_each_pass_is_a_node_and_nothing_goes_back(recurrent):
    graph = recurrent.draw()
    assert set(nodes_of(graph)) == {step.address for step in recurrent.steps} | {"output"}
    assert not edges_of(graph, style="dashed")
    assert ("high.linear:1", "add:2") in edges_of(graph)


def test_rolled_passes_are_one_node_with_a_count_and_loops_go_back(recurrent):
    graph = recurrent.draw(rolled=True)
    nodes = nodes_of(graph)
    assert set(nodes) == {*recurrent, "output"}
    assert "3 passes" in nodes["low.linear"]
    assert edges_of(graph, style="dashed") == [("high.linear", "add")]
    assert "read by a later pass" in graph.source


def test_folded_module_that_reads_itself_has_a_loop():
    traced = trace(Cell(), 2, 4)
    rolled = traced.draw(rolled=True, fold=1)
    assert edges_of(rolled, style="dashed") == [("cell", "cell")]
    assert "3 passes" in nodes_of(rolled)["cell"]
    unrolled = traced.draw(rolled=False, fold=1)
    assert {"cell:1", "cell:2", "cell:3"} < set(nodes_of(unrolled))
    assert ("cell:2", "cell:3") in edges_of(unrolled)
    assert not edges_of(unrolled, style="dashed")


def test_what_a_tensor_decided_is_marked():
    traced = trace(Gate(), 2, 4)
    graph = traced.draw()
    assert edges_of(graph, style="dotted") == [("gt", "yes.linear")]
    assert "x.sum() > 0" in graph.source
    assert ": yes" in graph.source
    assert edges_of(trace_negative().draw(), style="dotted") == [("gt", "no.linear")]
    assert "decides an if" not in trace(Net(), 1, 3, 6, 6).draw().source


def trace_negative():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurolensWarning)
        return nl.trace(Gate(), -torch.ones(2, 4))


# ---------------------------------------------------------------------- colours


def test_numbers_are_colours_along_a_scale(net):
    values = dict(zip(net, np.linspace(0, 1, len(net)), strict=True))
    nodes = nodes_of(net.draw(color=values, label="score"))
    assert "#440154" in nodes["input"]  # both ends of viridis
    assert "#fde725" in nodes["head.linear"]
    assert "score" in net.draw(color=values, label="score").source
    assert "\n0.5" in nodes[list(net)[len(net) // 2]]


@pytest.mark.parametrize("kind", ["mapping", "series", "function", "array"])
def test_ways_to_give_a_value_agree(net, kind):
    truth = {address: float(net[address].bytes) for address in net}
    color = {
        "mapping": truth,
        "series": net.to_frame()["bytes"],
        "function": lambda operation: operation.bytes,
        "array": xr.DataArray(list(truth.values()), dims="op", coords={"op": list(truth)}),
    }[kind]
    assert nodes_of(net.draw(color=color)) == nodes_of(net.draw(color=truth))


def test_words_are_colours_with_a_legend(net):
    graph = net.draw(color=lambda operation: operation.name, label="function")
    nodes = nodes_of(graph)
    colors = {address: text.split()[-1] for address, text in nodes.items()}
    assert colors["blocks.0.conv.conv2d"] == colors["stem.conv2d"] != colors["blocks.0.add"]
    assert f'BGCOLOR="{colors["stem.conv2d"]}"' in graph.source


def test_folded_module_shows_its_own_value_or_its_last_operation(net):
    assert "\n0.25" in nodes_of(net.draw(color={"blocks.0": 0.25, "stem": 1.0}, fold=2))["blocks.0"]
    assert "\n0.75" in nodes_of(net.draw(color={"blocks.0.add": 0.75, "stem": 1.0}, fold=2))["blocks.0"]


@pytest.mark.parametrize(
    ("color", "message"),
    [
        ({"nowhere": 1.0}, "no finite number"),
        ({"stem.conv2d": float("nan")}, "no finite number"),
        ({"stem.conv2d": 1.0, "mean": "word"}, "mixes words"),
        ({"stem.conv2d": [1, 2]}, "gives \\[1, 2\\]"),
        (3, "cannot be a int"),
        (xr.DataArray(np.zeros((2, 2)), dims=("op", "region")), "region"),
        ({f"blocks.0.{k}": str(k) for k in range(3)}, "no finite number"),
    ],
)
def test_values_that_are_none_are_errors(net, color, message):
    with pytest.raises(InputError, match=message):
        net.draw(color=color)


def test_too_many_words_are_an_error():
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(14)))
    with pytest.raises(InputError, match="12 colours"):
        trace(model, 1, 2).draw(color=lambda operation: operation.address)


# ---------------------------------------------------------------------- too much


class Deep(nn.Module):
    def __init__(self, n_blocks):
        super().__init__()
        self.blocks = nn.Sequential(
            *(nn.Sequential(*(nn.Linear(2, 2) for _ in range(29)), nn.ReLU()) for _ in range(n_blocks))
        )

    def forward(self, x):
        return self.blocks(x)


class Flat(nn.Module):
    """A loop over modules that adds outside of them: no level of folding is both small and clear."""

    def __init__(self, n_blocks):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(n_blocks))

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


@pytest.mark.parametrize("model", [Deep(100), Flat(1000)], ids=["deep", "flat"])
def test_three_thousand_operations_are_folded_and_drawn_in_time(model, tmp_path):
    traced = trace(model, 1, 2)
    assert len(traced) >= 3000
    start = time.process_time()
    with pytest.warns(NeurolensWarning, match="too many to read"):
        traced.draw(tmp_path / "graph.svg")
    assert time.process_time() - start < 10
    boxes = choose_boxes(traced, fold=None, rolled=None, composites=False)
    assert 50 < len(boxes.nodes) <= MAX_BOXES
    assert sorted(i for box in boxes.nodes.values() for i in box.members) == list(range(len(traced.steps)))
    assert not boxes.back


def test_long_recurrence_is_rolled_before_anything_is_folded():
    class Long(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTMCell(2, 2)

        def forward(self, x):
            state = None
            for k in range(x.shape[1]):
                state = self.cell(x[:, k], state)
            return state[0]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nodes = nodes_of(trace(Long(), 1, 300, 2).draw())
    assert "300 passes" in nodes["cell.lstm_cell"]


def test_asking_for_a_level_is_obeyed_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(nodes_of(trace(Deep(18), 1, 2).draw(fold=9))) == 18 * 30 + 2


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png", ".dot"])
def test_every_format_is_written(net, tmp_path, suffix):
    path = tmp_path / "folder" / f"graph{suffix}"
    net.draw(path)
    start = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG", ".dot": b"digraph"}[suffix]
    assert path.read_bytes().lstrip().startswith(start)


def test_rendered_picture_holds_every_node_and_arrow(net, tmp_path):
    graph = net.draw(tmp_path / "graph.svg")
    space = "{http://www.w3.org/2000/svg}"
    kinds = [group.get("class") for group in ET.parse(tmp_path / "graph.svg").iter(f"{space}g")]
    assert kinds.count("node") == len(nodes_of(graph))
    assert kinds.count("edge") == len(edges_of(graph))
    assert kinds.count("cluster") == 3


def test_names_of_all_kinds_survive_rendering(tmp_path):
    model = nn.Sequential()
    model.add_module('a"b', nn.Linear(2, 2))
    model.add_module("c<d>&", nn.Linear(2, 2))
    model.add_module("e\\n", nn.Linear(2, 2))
    trace(model, 1, 2).draw(tmp_path / "graph.svg", color=lambda operation: f"<{operation.name}>&")
    text = "".join(ET.parse(tmp_path / "graph.svg").getroot().itertext())
    for name in ('a"b', "c<d>&", "e\\n", "<linear>&"):
        assert name in text


def test_bad_requests_are_errors(net, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"suffix '\.gif'"):
        net.draw(tmp_path / "graph.gif")
    with pytest.raises(InputError, match="fold=0"):
        net.draw(fold=0)
    with pytest.raises(InputError, match="show='colour'"):
        net.draw(show="colour")
    monkeypatch.setattr(drawing.shutil, "which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "pygraphviz", None)
    with pytest.raises(NeurolensError, match="needs Graphviz"):
        net.draw(tmp_path / "graph.svg")


def test_profile_paints_the_graph(net):
    ops = list(net)
    profile = xr.Dataset(
        {"score": ("op", np.linspace(-1, 1, len(ops)))}, coords={"op": ops}, attrs={"similarity": "rho-a"}
    )
    assert nodes_of(net.draw(color=profile)) == nodes_of(
        net.draw(color=pd.Series(profile["score"].values, index=ops))
    )


@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_networks_are_drawn_at_every_level(name, tmp_path):
    model = torchvision.models.get_model(
        name, weights=None, **({"init_weights": False} if "g" in name else {})
    )
    traced = trace(model, 1, 3, 64, 64)
    counts = [len(nodes_of(traced.draw(fold=level))) for level in (1, 2, 3)]
    assert counts == sorted(counts)
    assert counts[0] < counts[2]
    traced.draw(tmp_path / "graph.svg", fold=2)
