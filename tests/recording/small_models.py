"""The table of names: small models, why each is here, and the operations, passes and addresses it must have.

`ops` lists operations in the order in which they first ran, `name:k` where one has k passes; `composites` and
`modules` likewise, where they are worth saying. The inputs themselves are left out.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import nn


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    why: str
    build: Callable[[], Callable[..., Any]]
    inputs: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]
    ops: str
    composites: str | None = None
    modules: str | None = None
    in_names: str | None = None
    out_names: str | None = None


CASES: list[Case] = []


def x24() -> torch.Tensor:
    return torch.linspace(-1.0, 2.0, 8).reshape(2, 4)


def images() -> torch.Tensor:
    return torch.linspace(-1.0, 2.0, 2 * 4 * 6 * 6).reshape(2, 4, 6, 6)


def case(why: str, ops: str, *inputs: Callable[[], Any], kwargs: Callable[[], dict[str, Any]] = dict, **more):
    """Add a class or a function to the table."""
    makers = inputs or (x24,)

    def add(thing):
        build = thing if isinstance(thing, type) else lambda: thing
        CASES.append(
            Case(thing.__name__, why, build, lambda: (tuple(m() for m in makers), kwargs()), ops, **more)
        )
        return thing

    return add


def linears(count: int = 2) -> list[nn.Linear]:
    return [nn.Linear(4, 4) for _ in range(count)]


class Layers(nn.Module):
    """Two layers in a list; the forward pass is what matters."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(linears())


# ---------------------------------------------------------------------------- one name for one function


@case("three different functions in a row", "relu tanh sigmoid")
def chain(x):
    return F.relu(x).tanh().sigmoid()


@case("every spelling of one function has one name", "relu relu_1 relu_2 clone relu_3 relu_4 relu_5")
def spellings_of_relu(x):
    x = F.relu(torch.relu(x)).relu().clone()
    return F.relu_(F.relu(x.relu_(), inplace=True))


@case("operators, methods, in-place forms and reflected operators agree", "add add_1 add_2 add_3 add_4 add_5")
def spellings_of_add(x):
    y = torch.add(1 + (x + 1), 1).add(1)
    y += 1
    return y.add_(1)


@case(
    "operators with names of their own",
    "sub sub_1 div pow source matmul neg ge logical_not abs floor_divide remainder",
)
def operators(x):
    y = (1 - (x - 3)) / 2
    y = -((2**y) @ OUTSIDE)
    (y >= 0).logical_not()
    return abs(y) // 2 % 3


OUTSIDE = torch.eye(4)


@case(
    "a division by a tensor is a reciprocal and a product, inside one composite",
    "div.reciprocal div.mul",
    composites="div",
)
def reflected_division(x):
    return 1 / x


@case("asking for metadata is no operation", "add")
def questions(x):
    assert x.shape == x.size()
    assert x.ndim == x.dim() == len(x.shape)
    assert len(x) == 2
    assert x.dtype is torch.float32
    assert not x.requires_grad
    assert x.is_contiguous()
    return x + x.numel()


@case("properties that make a tensor are operations", "T mT fft_fft real imag add")
def properties(x):
    z = torch.fft.fft(x.T.mT)
    return z.real + z.imag


@case("indexing reads and writes", "getitem getitem_1 clone setitem mul")
def indexing(x):
    y = x[:, 1:][..., None].clone()
    y[0] = 7.0
    return y * 2


@case("exchanging a tensor's data is an operation", "clone mul set_data add")
def data_setter(x):
    y = x.clone()
    y.data = x * 3
    return y + 1


@case("tensors made inside come from factories", "arange zeros add full_like add_1")
def factories(x):
    return x + torch.full_like(torch.arange(4) + torch.zeros(2, 4), 2.0)


@case("a tensor from outside torch appears as a source", "mul source add")
def numpy_round_trip(x):
    array = (x * 2).numpy()
    return torch.from_numpy(array + 1) + 1


@case("several sources that meet in one call are several operations", "source source_1 cat")
def two_sources(x):
    return torch.cat(SOURCES)


SOURCES = [torch.ones(2), torch.zeros(2)]


@case("writing to out= writes what was given", "empty add mul")
def out_argument(x):
    y = torch.empty(2, 4)
    torch.add(x, 1, out=y)
    return y * 2


@case("an in-place write through a view", "clone getitem mul add")
def write_through_view(x):
    y = x.clone()
    y[:, 1].mul_(2)
    return y + 1


@case(
    "an augmented assignment to an item reads, computes and writes",
    "clone getitem mul setitem getitem_1 add setitem_1",
)
def augmented_items(x):
    y = x.clone()
    y[:, 1] *= 2
    y[:, 3] += 5
    return y


@case("complex numbers and views of them", "source view_as_complex abs")
def complex_views(x):
    return torch.view_as_complex(PAIRS).abs()


PAIRS = torch.ones(2, 2, 2)


@case("reading a value into Python leaves no operation", "sum mul")
def readout(x):
    return x * x.sum().item()


# ---------------------------------------------------------------------------- several results


@case("results that are tuples", "chunk unbind split add", out_names="output")
def tuples(x):
    a, _ = x.chunk(2, dim=1)
    b, _ = a.unbind(0)
    (c,) = b.split(2)
    return c + 1


@case("results with named fields", "topk sort", out_names="output[0][values] output[0][indices] output[1]")
def named_fields(x):
    return torch.topk(x, 2), torch.sort(x).values


@case("a result in a dict in a list", "add mul sub", out_names="output[sum] output[rest][0] output[rest][1]")
def nested_results(x):
    return {"sum": x + 1, "rest": [x * 2, x - 3]}


Pair = collections.namedtuple("Pair", "mean spread")


@case("a namedtuple", "mean std", out_names="output[mean] output[spread]")
def namedtuple_result(x):
    return Pair(x.mean(), x.std())


@dataclasses.dataclass
class Answer:
    """A result with fields."""

    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]


@case("a dataclass", "exp sin", out_names="output[logits] output[hidden][0]")
def dataclass_result(x):
    return Answer(x.exp(), (x.sin(),))


@case("the input handed back", "", out_names="output")
def identity(x):
    return x


@case(
    "the whole of a recurrent layer is one operation",
    "zeros zeros_1 lstm",
    lambda: torch.ones(2, 3, 4),
    out_names="output[0] output[1][0] output[1][1]",
)
class Lstm(nn.LSTM):
    def __init__(self):
        super().__init__(4, 3)


# ---------------------------------------------------------------------------- inputs


@case(
    "keyword arguments are inputs",
    "mul add",
    x24,
    kwargs=lambda: {"scale": torch.tensor(2.0), "shift": 1},
    in_names="input.x input.scale",
)
def keywords(x, *, scale, shift):
    return x * scale + shift


@case(
    "a dict is an input for each entry", "add", lambda: {"a": x24(), "b": x24()}, in_names="input[a] input[b]"
)
def mapping_input(batch):
    return batch["a"] + batch["b"]


@case("a list is an input for each entry", "cat", lambda: [x24(), x24()], in_names="input[0] input[1]")
def list_input(parts):
    return torch.cat(parts)


@case("several positional arguments carry their names", "sub", x24, x24, in_names="input.left input.right")
def two_inputs(left, right):
    return left - right


# ---------------------------------------------------------------------------- composites


@case(
    "a composite of one operation of its name is that operation",
    "softmax dropout einsum log_softmax",
    composites="",
)
def folded(x):
    y = F.dropout(F.softmax(x, -1), training=False)
    return F.log_softmax(torch.einsum("ij,kj->ik", y, x), -1)


@case(
    "a composite of an operation of another name keeps both",
    "interpolate.upsample_bilinear2d",
    images,
    composites="interpolate",
)
def interpolation(x):
    return F.interpolate(x, scale_factor=2, mode="bilinear")


@case(
    "a composite of several operations numbers them inside itself",
    "normalize.norm.norm.linalg_vector_norm normalize.clamp_min normalize.expand_as normalize.div "
    "normalize_1.norm.norm.linalg_vector_norm normalize_1.clamp_min normalize_1.expand_as normalize_1.div",
    composites="normalize normalize.norm normalize.norm.norm normalize_1 normalize_1.norm normalize_1.norm.norm",
)
def composite_twice(x):
    return F.normalize(F.normalize(x), dim=0)


@case(
    "a composite in a loop has passes, and so has its inside",
    "normalize.norm.norm.linalg_vector_norm:3 normalize.clamp_min:3 normalize.expand_as:3 normalize.div:3",
    composites="normalize:3 normalize.norm:3 normalize.norm.norm:3",
)
def composite_in_loop(x):
    for _ in range(3):
        x = F.normalize(x)
    return x


@case(
    "a random composite",
    "gumbel_softmax.empty_like gumbel_softmax.exponential gumbel_softmax.log "
    "gumbel_softmax.neg gumbel_softmax.add gumbel_softmax.div gumbel_softmax.softmax",
    composites="gumbel_softmax",
)
def gumbel(x):
    return F.gumbel_softmax(x)


@case("dispatch on a flag is not an operation of its own", "max_pool2d max_pool2d_with_indices", images)
def pooling(x):
    y, _ = F.max_pool2d(F.max_pool2d(x, 2), 2, return_indices=True)
    return y


@case("iterating over a tensor unbinds it", "unbind tanh:2 stack", composites="")
def iteration(x):
    return torch.stack([row.tanh() for row in x])


# ---------------------------------------------------------------------------- modules


@case("a module in a list of modules", "0.linear 1.relu 2.linear", modules=":1 0:1 1:1 2:1")
class Chain(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))


@case("a module in a dict of modules", "branches.left.linear branches.right.linear add")
class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleDict({"left": nn.Linear(4, 4), "right": nn.Linear(4, 4)})

    def forward(self, x):
        return self.branches["left"](x) + self.branches["right"](x)


@case("a module's path wins over a function's name", "relu.relu relu_1 relu_2", modules=":1 relu:1")
class Clash(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        return F.relu(self.relu(x)).relu()


@case(
    "modules may be called what inputs and numbered operations are called",
    "input.linear add add_2 add_1.linear output.linear",
    in_names="input_1",
    out_names="output_1",
)
class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.input, self.output, self.add_1 = linears(3)

    def forward(self, x):
        return self.output(self.add_1(self.input(x) + 1 + 2))


@case("a module called from two places has passes", "act.relu:2 add", modules=":1 act:2")
class Reused(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return self.act(self.act(x) + 1)


@case("one module under two names is one module", "a.linear:2", modules=":1 a:2")
class TwoNames(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = self.b = nn.Linear(4, 4)

    def forward(self, x):
        return self.b(self.a(x))


@case("one weight read in two places", "emb.embedding linear", lambda: torch.tensor([[0, 1], [2, 3]]))
class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(5, 4)

    def forward(self, ids):
        return F.linear(self.emb(ids), self.emb.weight)


@case("calling forward goes past the module", "linear linear_1", modules=":1")
class Bypass(Layers):
    def forward(self, x):
        return self.layers[1].forward(self.layers[0].forward(x))


@case("a module made while the model runs is named by its class", "ReLU.relu", modules=":1 ReLU:1")
class MadeInside(nn.Module):
    def forward(self, x):
        return nn.ReLU()(x)


@case("modules made in a loop are one place", "Tanh.tanh:3", modules=":1 Tanh:3")
class MadeInLoop(nn.Module):
    def forward(self, x):
        for _ in range(3):
            x = nn.Tanh()(x)
        return x


FREE = nn.Sequential(*linears())


@case(
    "a function may call modules it does not own",
    "Sequential.0.linear Sequential.1.linear Linear.linear",
    modules="Sequential:1 Sequential.0:1 Sequential.1:1 Linear:1",
)
def closure(x):
    return OTHER(FREE(x))


OTHER = nn.Linear(4, 4)
FREE_LIST = linears()


@case("modules of one class that a function calls stay apart", "Linear.linear Linear_1.linear")
def closure_loop(x):
    for layer in FREE_LIST:
        x = layer(x)
    return x


@case("a module that does nothing has the output it was given", "lin.linear", modules=":1 lin:1 same:1")
class Same(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin, self.same = nn.Linear(4, 4), nn.Identity()

    def forward(self, x):
        return self.same(self.lin(x))


@case("what hooks do is done in the module they are on", "lin.add lin.linear lin.mul add")
class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 4)
        self.lin.register_forward_pre_hook(lambda _, args: (args[0] + 1,))
        self.lin.register_forward_hook(lambda _, args, out: out * 2)

    def forward(self, x):
        return self.lin(x) + 1


@case(
    "a weight computed from others, by a module inside the module",
    "lin.parametrizations.weight.0._weight_norm lin.linear",
)
class WeightNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))

    def forward(self, x):
        return self.lin(x)


@case("a buffer is no operation", "mul")
class Buffered(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0, 4.0]))

    def forward(self, x):
        return x * self.scale


@case("batch norm counts batches while it trains", "add batch_norm", images)
class Counting(nn.BatchNorm2d):
    def __init__(self):
        super().__init__(4)


@case(
    "torchvision's block calls one relu twice",
    "conv1.conv2d bn1.batch_norm relu.relu:2 conv2.conv2d bn2.batch_norm add",
    images,
    modules=":1 conv1:1 bn1:1 relu:2 conv2:1 bn2:1",
)
def residual():
    raise AssertionError


CASES[-1] = dataclasses.replace(
    CASES[-1], name="Residual", build=lambda: torchvision.models.resnet.BasicBlock(4, 4).eval()
)


# ---------------------------------------------------------------------------- loops


@case("a loop makes passes", "tanh:3")
def loop(x):
    for _ in range(3):
        x = torch.tanh(x)
    return x


@case("loops in loops make passes of both", "tanh:6 add:2")
def nested_loops(x):
    for _ in range(2):
        for _ in range(3):
            x = torch.tanh(x)
        x = x + 1
    return x


@case("two loops in a row are two places", "tanh:2 tanh_1:3")
def loops_in_a_row(x):
    for _ in range(2):
        x = x.tanh()
    for _ in range(3):
        x = x.tanh()
    return x


@case(
    "layers of a list are never merged, nor what stands with them",
    "layers.0.linear relu layers.1.linear relu_1",
)
class OverLayers(Layers):
    def forward(self, x):
        for layer in self.layers:
            x = F.relu(layer(x))
        return x


@case("what stands before a layer goes with that layer", "relu layers.0.linear relu_1 layers.1.linear")
class PreActivation(Layers):
    def forward(self, x):
        for layer in self.layers:
            x = layer(F.relu(x))
        return x


@case("time merges, depth does not", "relu:3 layers.0.linear:3 relu_1:3 layers.1.linear:3 add:3")
class TimeOverLayers(Layers):
    def forward(self, x):
        for _ in range(3):
            for layer in self.layers:
                x = layer(F.relu(x))
            x = x + 1
        return x


@case("depth outside, time inside", "layers.0.linear:2 tanh:2 layers.1.linear:2 tanh_1:2")
class LayersOverTime(Layers):
    def forward(self, x):
        for layer in self.layers:
            for _ in range(2):
                x = layer(x).tanh()
        return x


@case("a list of weights is a list of layers", "matmul tanh matmul_1 tanh_1")
class Weights(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList([torch.eye(4), torch.ones(4, 4)])

    def forward(self, x):
        for weight in self.weights:
            x = torch.tanh(x @ weight)
        return x


@case("one layer in a loop is one layer", "layers.0.linear:3 relu:3")
class OneLayer(Layers):
    def forward(self, x):
        for _ in range(3):
            x = F.relu(self.layers[0](x))
        return x


@case("layers by their number, not by themselves", "layers.0.linear relu layers.1.linear relu_1")
class ByNumber(Layers):
    def forward(self, x):
        for index in range(len(self.layers)):
            x = F.relu(self.layers[index](x))
        return x


@case(
    "blocks inside blocks",
    "blocks.0.layers.0.linear blocks.0.relu blocks.0.layers.1.linear blocks.0.relu_1 add "
    "blocks.1.layers.0.linear blocks.1.relu blocks.1.layers.1.linear blocks.1.relu_1 add_1",
)
class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([OverLayers(), OverLayers()])

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


@case(
    "the condition of a while runs once more than its body",
    "sum:4 gt:4 mul:3",
    lambda: torch.full((2, 4), 2.0),
)
def while_loop(x):
    while x.sum() > 3:
        x = x * 0.5
    return x


@case(
    "a while loop that computes in its condition and leaves by break",
    "add:3 amax:3 gt:3 mul:2",
    lambda: torch.zeros(2, 4),
)
def while_true(x):
    while True:
        x = x + 1
        if x.amax() > 4:
            break
        x = x * 2
    return x


@case("branches of an if are places of their own", "tanh:2 relu:2")
def branches_in_loop(x):
    for step in range(4):
        x = torch.relu(x) if step % 2 else torch.tanh(x)
    return x


@case("two ifs in a row, one taken each way", "mean gt mul sum lt sub", lambda: torch.ones(2, 4))
def two_ifs(x):
    x = x * 2 if x.mean() > 0 else x + 1
    return x + 2 if x.sum() < 0 else x - 2


@case("continue and break skip, and change no name", "add:3 mul:2")
def continue_and_break(x):
    for step in range(9):
        if step == 1:
            continue
        x = x + 1
        if step == 3:
            break
        x = x * 2
    return x


@case("continue among layers", "relu layers.0.linear relu_1 layers.1.linear add relu_2 layers.2.linear")
class ContinueLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(linears(3))

    def forward(self, x):
        for index, layer in enumerate(self.layers):
            x = layer(F.relu(x))
            if index != 1:
                continue
            x = x + 1
        return x


@case("a comprehension is a loop", "mul:3 stack")
def comprehension(x):
    return torch.stack([x * k for k in range(3)])


@case("a comprehension over layers", "layers.0.linear layers.1.linear stack")
class ComprehensionOverLayers(Layers):
    def forward(self, x):
        return torch.stack([layer(x) for layer in self.layers])


@case("a generator is a loop", "mul:3 add:3")
def generator(x):
    def parts():
        for k in range(3):
            yield x * k

    total = x
    for part in parts():
        total = total + part
    return total


@case("a generator of layers", "layers.0.linear relu layers.1.linear relu_1")
class GeneratorOfLayers(Layers):
    def forward(self, x):
        for layer in (layer for layer in self.layers):
            x = F.relu(layer(x))
        return x


@case("sum adds at one place", "mul:3 add:3")
def built_in_sum(x):
    return sum([x * k for k in range(3)])


@case("an accumulator that begins as a number", "mul:3 add:3")
def accumulator(x):
    total = 0
    for k in range(3):
        total = total + x * k
    return total


@case("a reflected operator and its plain form at one place are one operation", "mul:3 sub:3")
def reflected_accumulator(x):
    total = 1
    for k in range(3):
        total = total - x * k
    return total


@case("two operations of one line are two places", "add:2 add_1:2")
def one_line(x):
    for _ in range(2):
        x = x + 1 + 2
    return x


@case("a helper called in a loop", "tanh:3 add:3")
class HelperInLoop(nn.Module):
    def step(self, x):
        return torch.tanh(x) + 1

    def forward(self, x):
        for _ in range(3):
            x = self.step(x)
        return x


@case("a helper called from two places is two places", "tanh tanh_1")
class HelperTwice(nn.Module):
    def step(self, x):
        return torch.tanh(x)

    def forward(self, x):
        x = self.step(x)
        return self.step(x)


@case("a helper that takes the layer", "layers.0.linear relu layers.1.linear relu_1")
class HelperTakesLayer(Layers):
    def run_layer(self, layer, x):
        return F.relu(layer(x))

    def forward(self, x):
        for layer in self.layers:
            x = self.run_layer(layer, x)
        return x


@case("a helper with a loop of its own, called in a loop", "mul:6 add:3")
class HelperWithLoop(nn.Module):
    def inner(self, x):
        for _ in range(2):
            x = x * 0.5
        return x

    def forward(self, x):
        for _ in range(3):
            x = self.inner(x) + 1
        return x


def descend(x, rounds):
    return x if rounds == 0 else descend(torch.tanh(x), rounds - 1)


@case("a function that calls itself makes passes", "tanh:3")
def recursive_function(x):
    return descend(x, 3)


@case("a module that calls itself makes passes", "tanh:3", modules=":4")
class RecursiveModule(nn.Module):
    def forward(self, x, rounds=3):
        return x if rounds == 0 else self(torch.tanh(x), rounds - 1)


@case(
    "a cell over time",
    "getitem:3 cell.rnn_tanh_cell:3",
    lambda: torch.ones(2, 3, 4),
    lambda: torch.zeros(2, 4),
)
class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.RNNCell(4, 4)

    def forward(self, x, h):
        for step in range(x.shape[1]):
            h = self.cell(x[:, step], h)
        return h


@case("a sequence read until it ends: its length is data", "unbind sub:2 mul:2")
def rows(x):
    state = 0.0
    for row in x:
        state = (row - state) * 0.5
    return state


class Stages(nn.Module):
    """Stages of two and three layers; the forward pass is what matters."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList(nn.ModuleList(linears(n)) for n in (2, 1))


@case(
    "stages of layers are never merged, nor what stands between them",
    "exp stages.0.0.linear relu stages.0.1.linear relu_1 add exp_1 stages.1.0.linear relu_2 add_1",
)
class OverStages(Stages):
    def forward(self, x):
        for stage in self.stages:
            x = x.exp()
            for layer in stage:
                x = F.relu(layer(x))
            x = x + 1
        return x


@case(
    "stages whose layers a helper runs",
    "stages.0.0.linear stages.0.1.linear add stages.1.0.linear add_1",
)
class StagesByHelper(Stages):
    def run_stage(self, stage, x):
        for layer in stage:
            x = layer(x)
        return x

    def forward(self, x):
        for stage in self.stages:
            x = self.run_stage(stage, x) + 1
        return x


@case(
    "time outside stages outside layers",
    "stages.0.0.linear:2 stages.0.1.linear:2 add:2 stages.1.0.linear:2 add_1:2 mul:2",
)
class TimeOverStages(Stages):
    def forward(self, x):
        for _ in range(2):
            for stage in self.stages:
                for layer in stage:
                    x = layer(x)
                x = x + 1
            x = x * 2
        return x


@case("as many layers as the data ask for, at each time", "layers.0.linear:3 add:3 layers.1.linear")
class DepthByData(Layers):
    def forward(self, x):
        for step in range(3):
            for layer in self.layers[: 1 + step % 2]:
                x = layer(x)
            x = x + 1
        return x


@case("the last layer of a loop stands alone when it is called alone", "layers.0.linear relu layers.1.linear")
class LastAlone(Layers):
    def forward(self, x):
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


@case(
    "pairs of layers, zipped",
    "layers.0.linear norms.0.layer_norm add layers.1.linear norms.1.layer_norm add_1",
)
class Zipped(Layers):
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(4) for _ in range(2))

    def forward(self, x):
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = x + norm(layer(x))
        return x


@case("a function of our own for the gradient runs inside", "mul add")
def own_gradient(x):
    return Doubled.apply(x) + 1


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2
