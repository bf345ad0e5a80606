"""torchvision's feature-extraction node names mean the same tensors here, but for named classes, counted."""

import collections
import re

import pytest
import torch
import torch.nn.functional as F
from classifiers import NAMES, image, make
from torch import fx, nn
from torchvision import models, ops
from torchvision.models.feature_extraction import NodePathTracer

from neurolens.errors import AddressError
from neurolens.recording.addresses import assign_names, expand, resolve, select
from neurolens.recording.aliases import fx_aliases
from neurolens.recording.keeping import keep_for
from neurolens.recording.recorder import record

SMALL_MAXVIT = {
    "input_size": (64, 64),
    "stem_channels": 8,
    "block_channels": [8, 16],
    "block_layers": [1, 1],
    "head_dim": 8,
    "stochastic_depth_prob": 0.1,
    "partition_size": 2,
}

# name -> how many tensor-valued nodes are in which class of disagreement
CLASSIFIERS = {
    "alexnet": {},
    "vgg11_bn": {},
    "resnet18": {"all passes": 8},
    "squeezenet1_1": {},
    "shufflenet_v2_x0_5": {},
    "mobilenet_v2": {},
    "mobilenet_v3_small": {},
    "mnasnet0_5": {},
    "googlenet": {},
    "regnet_y_400mf": {},
    "efficientnet_b0": {},
    "vit_b_32": {"own module": 12, "parameter": 2},
    "swin_t": {"all passes": 12, "parameter": 60},
    "convnext_tiny": {"parameter": 26},
    "maxvit_small": {"own number": 4, "all passes": 4, "parameter": 4},
}


def build(name):
    torch.manual_seed(0)
    if name == "maxvit_small":
        return models.maxvit.MaxVit(**SMALL_MAXVIT).eval()
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name.startswith("vit"):
        options["image_size"] = 64
    return getattr(models, name)(**options).eval()


class Cloning(fx.Interpreter):
    """Runs a graph of fx node by node and clones what each node gives."""

    def __init__(self, module, graph):
        super().__init__(module, graph=graph)
        self.clones = {}

    def run_node(self, n):
        out = super().run_node(n)
        if isinstance(out, torch.Tensor):
            self.clones[n] = out.detach().clone()
        return out


def fx_truth(model, *inputs):
    """Return the value of every tensor-valued node by torchvision's name for it, and what kind of node it is."""
    leaf_modules = [
        kind for kind in vars(ops).values() if isinstance(kind, type) and issubclass(kind, nn.Module)
    ]
    tracer = NodePathTracer(leaf_modules=leaf_modules, autowrap_modules=(ops,))
    graph = tracer.trace(model)
    run = Cloning(model, graph)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        run.run(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return {
        name: (node, run.clones[node]) for node, name in tracer.node_to_qualname.items() if node in run.clones
    }


def is_value(recording, names, address, truth):
    values = resolve(names, address).values
    found = [recording.tensors[value] for value in values]
    return len(found) == 1 and found[0].shape == truth.shape and torch.equal(found[0], truth)


def disagreement(recording, names, alias, node, truth):
    """Return the class of disagreement of a node, or None where its name means its tensor."""
    if node.op == "get_attr":
        return "parameter"
    try:
        if is_value(recording, names, alias, truth):
            return None
    except AddressError:
        return "missing"
    address = fx_aliases(names).get(alias)
    if address is None or not is_value(recording, names, address, truth):
        return "wrong"
    if address == f"{alias}:1":
        return "all passes"
    return "own module" if alias in names.places and names.places[alias].kind == "module" else "own number"


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_nodes_of_classifiers_resolve_to_the_same_bits(name):
    model, x = build(name), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        recording = record(model, (x,))
        truth = fx_truth(model, x)
    names = assign_names(recording)
    found = {alias: disagreement(recording, names, alias, *pair) for alias, pair in truth.items()}
    counts = collections.Counter(found.values())
    agreeing = counts.pop(None, 0)
    assert agreeing > 15
    assert counts == CLASSIFIERS[name], {alias: kind for alias, kind in found.items() if kind}


NAMED = {"all passes", "parameter", "own module", "own number", None}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CLASSIFIERS])
def test_every_other_classifier_disagrees_in_named_classes_alone(name):
    torch.manual_seed(0)
    model, x = make(name), image(name)
    with torch.no_grad():
        recording = record(model, (x,))
        truth = fx_truth(model, x)
    names = assign_names(recording)
    found = {alias: disagreement(recording, names, alias, *pair) for alias, pair in truth.items()}
    assert set(found.values()) <= NAMED, {a: kind for a, kind in found.items() if kind not in NAMED}
    kinds = collections.Counter(found.values())
    assert kinds[None] > 0.85 * (len(found) - kinds["parameter"])


# ---------------------------------------------------------------------- one rule at a time


class Operators(nn.Module):
    def forward(self, x):
        y = (x / 2 - 1) * 3 + 2**x
        y += 1
        z = 1 - y // 2
        return (-z % 2) @ x.T, (z > 0) & (z <= 5), y.add_(1), torch.sub(y, 2), abs(z)


class Shapes(nn.Module):
    def forward(self, x):
        n, c = x.shape
        y = x.reshape(c, n)[0]
        last = x.size()[-1]
        a, b = x.view(last, n)[1:3].chunk(2)
        h, w = x.shape[-2:]
        return y, a[0], b, x.topk(2)[1], x.reshape(w, h).unbind(0)[0], x.size(0) * x[0]


class Attributes(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.register_buffer("shift", torch.ones(4))

    def forward(self, x):
        shift = self.shift * 2
        return (x * self.scale + shift).T.mT, torch.zeros(4).add(x)


class Nested(nn.Module):
    """Calls of modules, of one module twice, of a module of ours, and of one by its forward."""

    def __init__(self):
        super().__init__()
        self.relu, self.relu_1 = nn.ReLU(), nn.ReLU()
        self.inner = nn.Sequential(nn.Linear(4, 4), Operators())
        self.lin = nn.Linear(4, 4)

    def forward(self, x):
        x = self.relu_1(self.relu(self.relu(x)))
        x = F.relu(self.lin.forward(x)).relu_()
        return self.inner(x)[0]


@fx.wrap
def three_steps(x):
    y = x.exp()
    (y * 100).sum()
    return y + 1


class Wrapped(nn.Module):
    def forward(self, x):
        for _ in range(2):
            x = three_steps(x)
        return three_steps(x).exp()


class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        for layer in self.layers:
            for _ in range(2):
                x = torch.tanh(layer(x) + x)
        return x


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        x = x.unsqueeze(0)
        y, weights = self.attention(x, x, x)
        return y + self.attention(y, y, y, need_weights=False)[0], weights


SMALL = [Operators, Shapes, Attributes, Nested, Wrapped, Loop, Attention]


@pytest.mark.parametrize("build_model", SMALL)
def test_every_alias_is_the_node_of_that_name(build_model):
    torch.manual_seed(0)
    model, x = build_model().eval(), torch.rand(4, 4)
    with torch.no_grad():
        recording = record(model, (x,))
        truth = fx_truth(model, x)
    names = assign_names(recording)
    aliases = fx_aliases(names)
    for alias, address in aliases.items():
        assert is_value(recording, names, address, truth[alias][1]), alias
    left_out = {alias for alias, (node, _) in truth.items() if node.op not in ("get_attr", "output")} - set(
        aliases
    )
    assert left_out == set()


@pytest.mark.parametrize("build_model", SMALL)
def test_what_an_alias_means_is_held_when_it_is_asked_for(build_model):
    torch.manual_seed(0)
    model, x = build_model().eval(), torch.rand(4, 4)
    full = record(model, (x,))
    for alias in fx_aliases(assign_names(full)):
        part = record(model, (x,), keep=keep_for(alias))
        for target in select(assign_names(part), alias):
            assert all(value in part.tensors for value in target.values), alias


def test_an_alias_leads_to_the_address_it_stands_for():
    names = assign_names(record(models.resnet18().eval(), (torch.randn(1, 3, 32, 32),)))
    assert [target.address for target in expand(names, "layer1.0.relu_1")] == ["layer1.0.relu:2"]
    assert resolve(names, "layer1.0.relu_1").values == resolve(names, "layer1.0.relu:2").values
    assert [target.address for target in select(names, ["x", "flatten"])] == ["input", "flatten"]


def test_own_names_win_over_aliases():
    names = assign_names(record(Nested(), (torch.rand(4, 4),)))
    assert fx_aliases(names)["relu_1"] == "relu:2"
    assert resolve(names, "relu_1").place.kind == "module"


def test_a_plain_function_has_no_aliases():
    names = assign_names(record(torch.relu, (torch.ones(2),)))
    assert fx_aliases(names) == {}
    with pytest.raises(AddressError, match=re.escape("'relu_7'")):
        resolve(names, "relu_7")
