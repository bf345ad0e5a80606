"""Random programs of views, in-place writes, loops and branches: each is recorded, named and proven."""

import linecache
import warnings

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.overrides import TorchFunctionMode

import neurolens as nl

NAMES = st.sampled_from(["a", "b", "c"])  # variables, each a 4 x 4 matrix
UNARY = st.sampled_from(["torch.relu", "torch.tanh", "torch.sigmoid", "F.gelu", "torch.abs", "F.softplus"])
BINARY = st.sampled_from(["+", "-", "*", "@"])
INPLACE = st.sampled_from(["add_", "sub_", "mul_"])
VIEWS = st.sampled_from(["[1]", "[:, 2]", "[1:3]", "[::2]", ".t()[0]", ".view(-1)[3:9]", ".diagonal()"])
NUMBERS = st.sampled_from(["0.5", "-1.25", "2.0"])
LAYERS = st.sampled_from(["self.one", "self.two", "self.three"])


@st.composite
def simple(draw):
    """One line: computes, writes in place, or writes by way of a view."""
    a, b, c = draw(NAMES), draw(NAMES), draw(NAMES)
    return draw(
        st.sampled_from(
            [
                [f"{a} = {draw(UNARY)}({b})"],
                [f"{a} = torch.tanh({b} {draw(BINARY)} {c})"],
                [f"{a} = {b} * 1", f"{a}.{draw(INPLACE)}({draw(NUMBERS)})"],
                [f"{a} = {b} + 0", f"{a}{draw(VIEWS)}.{draw(INPLACE)}({draw(NUMBERS)})"],
                [
                    f"v = {b}.clone()",
                    f"w = v{draw(VIEWS)}",
                    f"v.mul_({draw(NUMBERS)})",
                    "w.add_(1)",
                    f"{a} = v",
                ],
                [f"{a} = {b}.clone()", f"{a}[0] = {c}[1]", f"{a}[:, 1] *= {draw(NUMBERS)}"],
                [f"{a} = F.relu({b} - 0.1, inplace=True)"],
                [f"{a} = {draw(LAYERS)}({b})"],
                [f"{a} = torch.cat({b}.split(2), 0).reshape(4, 4)"],
                [f"{a} = torch.where({b} > 0, {c}, {a})"],
                [f"{a} = F.dropout({b}, {draw(st.sampled_from(['0.0', '0.3']))})"],
                [f"{a} = F.softmax({b}, -1) + torch.arange(4.)"],
            ]
        )
    )


def indent(lines):
    return ["    " + line for line in lines]


def combine(blocks):
    """Wrap blocks into loops and branches."""
    body = st.lists(blocks, min_size=1, max_size=3).map(
        lambda parts: [line for part in parts for line in part]
    )
    loop = st.tuples(st.integers(1, 3), body).map(lambda p: [f"for _ in range({p[0]}):", *indent(p[1])])
    layers = body.map(lambda lines: ["for layer in self.layers:", "    a = layer(a)", *indent(lines)])
    branch = st.tuples(NAMES, NUMBERS, body, body).map(
        lambda p: [f"if {p[0]}.sum() > {p[1]}:", *indent(p[2]), "else:", *indent(p[3])]
    )
    return st.one_of(loop, layers, branch)


PROGRAMS = st.lists(st.recursive(simple(), combine, max_leaves=4), min_size=1, max_size=6).map(
    lambda parts: [line for part in parts for line in part]
)


def build(lines):
    """Make a module of the lines, with a file name of its own, so that positions and sources are real."""
    body = ["a = x * 1", "b = x + 1", "c = x - 1", *lines, "return a, b, c"]
    source = "\n".join(["def forward(self, x):", *indent(body)]) + "\n"
    name = f"<random model {abs(hash(source))}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    space = {"torch": torch, "F": nn.functional}
    exec(compile(source, name, "exec"), space)
    torch.manual_seed(0)
    model = nn.Module()
    model.one, model.two, model.three = (nn.Linear(4, 4) for _ in range(3))
    model.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    model.__class__ = type("Random", (nn.Module,), {"forward": space["forward"]})
    return model, source


class Clones(TorchFunctionMode):
    """An oracle of our own making: what every builtin call returned, cloned at once."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and getattr(func, "__module__", "") != "torch.nn.functional":
            self.seen.append(out.detach().clone())
        return out


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(PROGRAMS)
def test_random_models_are_proven(lines):
    model, source = build(lines)
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(2)
        traced = nl.trace(model, x)
        report = traced.validate()
    assert report, f"{source}\n{report}"
    torch.manual_seed(2)
    plain = model(x)
    for value, tensor in zip(traced.outputs.values(), plain, strict=True):
        assert torch.equal(value, tensor)
    torch.manual_seed(2)
    with Clones() as clones:
        model(x)
    kept = list(traced.recording.tensors.values())
    for clone in clones.seen:  # all that the oracle saw is kept, with the value that it had then
        assert any(k.shape == clone.shape and torch.equal(k, clone) for k in kept), source
    assert all(step.address in traced for step in traced.steps)
