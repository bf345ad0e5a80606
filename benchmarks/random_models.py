"""Random models, each traced, proven and held against its plain run, forward hooks and torch.fx.

`python -m benchmarks.random_models [how many] [first seed]`: a model is given by its seed alone.
"""

from __future__ import annotations

import linecache
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

import neurolens as nl
from benchmarks.measuring import Row, save, say_seconds

WIDTH = 4
NAMES = ("a", "b", "c")  # variables of every program, each of shape (batch, 4, 4)
NUMBERS = ("0.5", "-1.25", "2.0")
UNARY = ("torch.relu", "torch.tanh", "torch.sigmoid", "F.gelu", "torch.abs", "F.softplus", "torch.sin")
VIEWS = ("[:, 1]", "[..., 2]", "[:, 1:3]", "[:, ::2]", ".transpose(1, 2)[:, 0]", ".flatten(1)[:, 3:9]", ".mT")
LAYERS = ("self.one", "self.two", "self.norm", "self.block", "self.shared", "self.block.inner")
TYPES = ("torch.float64", "torch.float16", "torch.bfloat16", "torch.complex64")
OUTPUTS = ("a", "(a, b, c)", "{'a': a, 'rest': (b, c)}", "[a, {'b': b}]", "(a, a)")


@dataclass(frozen=True)
class Verdict:
    """What was held against what, for one model; `wrong` says what differs."""

    n_operations: int
    n_hooked: int
    n_nodes: int  # of torch.fx; 0 where it refuses the model
    wrong: tuple[str, ...]


class Program:
    """Lines of a forward method, drawn from one generator of numbers."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def pick(self, *choices: str) -> str:
        return self.draw.choice(choices)

    def write(self) -> list[str]:
        body = ["a = x * 1", "b = x + 1", "c = x - 1"]
        for _ in range(self.draw.randint(1, 6)):
            body += self.statement(depth=0)
        return [*body, f"return {self.pick(*OUTPUTS)}"]

    def statement(self, depth: int) -> list[str]:
        if depth < 2 and self.draw.random() < 0.3:
            return self.compound(depth)
        return self.draw.choice(SIMPLE)(self)

    def block(self, depth: int) -> list[str]:
        lines = [line for _ in range(self.draw.randint(1, 3)) for line in self.statement(depth + 1)]
        return ["    " + line for line in lines]

    def compound(self, depth: int) -> list[str]:
        inside, name = self.block(depth), self.pick(*NAMES)
        heads: dict[str, list[str]] = {
            "for": [f"for _ in range({self.draw.randint(1, 3)}):", *inside],
            "layers": ["for layer in self.layers:", f"    {name} = layer({name})", *inside],
            "if": [f"if {name}.sum() > {self.pick(*NUMBERS)}:", *inside, "else:", *self.block(depth)],
            "no_grad": ["with torch.no_grad():", *inside],
            "while": [
                f"turn_{depth} = 0",
                f"while turn_{depth} < 2 and {name}.mean() < 9:",
                f"    turn_{depth} += 1",
                *inside,
            ],
        }
        return heads[self.pick(*heads)]


def _line(template: str) -> Callable[[Program], list[str]]:
    """A statement of one or several lines, with places for what is drawn."""

    def fill(program: Program) -> list[str]:
        text = template
        for place, choices in PLACES.items():
            while place in text:
                text = text.replace(place, program.pick(*choices), 1)
        return text.split("\n")

    return fill


PLACES = {"$V": NAMES, "$N": NUMBERS, "$U": UNARY, "$S": VIEWS, "$L": LAYERS, "$T": TYPES}
SIMPLE = [
    _line(template)
    for template in (
        "$V = $U($V)",
        "$V = torch.tanh($V + $V)",
        "$V = torch.tanh($V @ $V)",
        "$V = $V * 1\n$V.mul_($N)",
        "v = $V + 0\nv$S.add_($N)\n$V = v",
        "v = $V.clone()\nw = v$S\nv.mul_($N)\nw.add_(1)\n$V = v",
        "v = $V.clone()\nv[:, 0] = $V[:, 1]\nv[..., 1] *= $N\n$V = v",
        "$V = F.relu($V - 0.1, inplace=True)",
        "$V = $L($V)",
        "$V = self.recurrent($V)[0]",
        "$V = torch.cat(self.cell($V[:, 0]).unsqueeze(1).split(2, -1), -1).expand(-1, 4, -1).clone()",
        "$V = self.attention($V, $V, $V)[0]",
        "$V = torch.cat($V.split(2, 1), 1)",
        "$V = torch.where($V > 0, $V, $V)",
        "$V = F.dropout($V, 0.3)",
        "$V = torch.rand_like($V) + $V",
        "$V = F.softmax($V, -1) + torch.arange(4.0)",
        "$V = $V + torch.full((4,), $N)",
        "$V = $V.to($T).to(torch.float32)",
        "$V = $V.topk(4, -1).values",
        "$V = ($V > $N).float()",
        "$V = torch.einsum('bij,bjk->bik', $V, $V).tanh()",
        "$V = torch.stack([$V, $V]).amax(0)",
        "$V = $V.masked_fill($V < $N, 0.0)",
        "$V = torch.addcmul($V, $V, $V, value=0.1).clamp(-3, 3)",
        "$V, $V = $V.max(1, keepdim=True).values.expand(-1, 4, -1) * 1, $V",
    )
]


class Block(nn.Module):
    """A residual block whose inner layer is called from elsewhere too."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.act(self.inner(x))


def build(seed: int) -> tuple[nn.Module, str]:
    """Make the model of a seed, with a file name of its own, so that positions and sources are real."""
    source = "\n".join(["def forward(self, x):", *("    " + line for line in Program(seed).write())]) + "\n"
    name = f"<random model {seed}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    space: dict[str, object] = {"torch": torch, "F": nn.functional}
    exec(compile(source, name, "exec"), space)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = nn.Module()
        model.one, model.two, model.norm = (
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, WIDTH),
            nn.LayerNorm(WIDTH),
        )
        model.block = Block()
        model.shared = model.one  # one module under two names
        model.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH), model.block, nn.Sigmoid()])
        model.recurrent = (nn.LSTM if seed % 2 else nn.GRU)(WIDTH, WIDTH, batch_first=True)
        model.cell = nn.GRUCell(WIDTH, WIDTH)
        model.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
    model.__class__ = type("Random", (nn.Module,), {"forward": space["forward"]})
    return (model.train() if seed % 3 == 0 else model.eval()), source


def same(a: Tensor, b: Tensor) -> bool:
    """Bit for bit, NaN included."""
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and torch.equal(a.isnan(), b.isnan())
        and torch.equal(a.nan_to_num(), b.nan_to_num())
    )


def prove(seed: int) -> Verdict:
    """Trace the model of a seed and hold the trace against every other account of the same run."""
    model, source = build(seed)
    x = torch.randn(3, WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed))
    hooked, plain = run_with_hooks(model, x, seed)
    torch.manual_seed(seed)
    trace = nl.trace(model, x)
    report = trace.validate()
    wrong = [] if report else [f"not proven: {report}"]
    outputs = [value for value in trace.outputs.values() if isinstance(value, Tensor)]
    if len(outputs) != len(plain) or not all(map(same, outputs, plain)):
        wrong.append("the outputs are not those of the plain run")
    wrong += [f"step {step.address} is not in the trace" for step in trace.steps if step.address not in trace]
    wrong += compare_modules(trace, hooked)
    drops_context = "no_grad" in source  # torch.fx leaves it out, and recurrent kernels are chosen by it
    n_nodes, missed = (0, []) if drops_context else compare_graph(trace, model, x, seed)
    return Verdict(len(trace), sum(map(len, hooked.values())), n_nodes, tuple(wrong + missed))


def run_with_hooks(model: nn.Module, x: Tensor, seed: int) -> tuple[dict[str, list[Tensor]], list[Tensor]]:
    """Run without a trace: what each module returned, cloned at once, by name; and the outputs."""
    seen: dict[str, list[Tensor]] = {}
    handles = []
    for name, module in model.named_modules():
        if name:

            def keep(_: nn.Module, __: object, output: object, name: str = name) -> None:
                first = tree_leaves(output)[0]
                seen.setdefault(name, []).append(first.detach().clone())

            handles.append(module.register_forward_hook(keep))
    torch.manual_seed(seed)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        plain = [leaf.detach().clone() for leaf in tree_leaves(model(x))]
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()
    return seen, plain


def compare_modules(trace: nl.tracing.Trace, hooked: dict[str, list[Tensor]]) -> list[str]:
    """Every output that a hook saw is what the trace kept for that module, call by call."""
    wrong = []
    kept = list(trace.recording.tensors.values())
    for name, outputs in hooked.items():
        if name not in trace.modules:
            wrong.append(f"the module {name} ran and is not in the trace")
        wrong += [
            f"{name}:{number} is not what the hook saw"
            for number, output in enumerate(outputs, 1)
            if not any(same(tensor, output) for tensor in kept)
        ]
    return wrong


class Clones(fx.Interpreter):
    """Runs a graph node by node and clones what each gives, before a later one writes into it."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.seen: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        if isinstance(value, Tensor) and n.op in ("call_function", "call_method", "call_module"):
            self.seen[n.name] = value.detach().clone()
        return value


def compare_graph(trace: nl.tracing.Trace, model: nn.Module, x: Tensor, seed: int) -> tuple[int, list[str]]:
    """Every value of the graph that torch.fx makes of the model is kept; (0, []) where it can't make one."""
    try:
        graph = fx.symbolic_trace(model)
    except Exception:  # branches and loops on values, which it does not follow
        return 0, []
    torch.manual_seed(seed)
    clones = Clones(graph)
    clones.run(x)
    kept = list(trace.recording.tensors.values())
    wrong = [
        f"the value of torch.fx's {name} is not kept"
        for name, value in clones.seen.items()
        if not any(same(tensor, value) for tensor in kept)
    ]
    return len(clones.seen), wrong


def main(n_models: int = 1000, first: int = 0) -> int:
    """Prove the models one after the other, and keep the section's row."""
    begin = time.process_time()
    counts: Counter[str] = Counter()
    failed = {}
    for seed in range(first, first + n_models):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                verdict = prove(seed)
            except Exception as error:
                verdict = Verdict(0, 0, 0, (f"{type(error).__name__}: {error}",))
        linecache.cache.pop(f"<random model {seed}>", None)
        counts.update(operations=verdict.n_operations, hooked=verdict.n_hooked, nodes=verdict.n_nodes)
        counts["graphs"] += verdict.n_nodes > 0
        if verdict.wrong:
            failed[seed] = verdict.wrong
            print(f"seed {seed}: {'; '.join(verdict.wrong)[:400]}", flush=True)
    row = Row(
        task=f"{n_models} random models: branches, loops, views, in-place writes, recurrence, shared modules",
        ours=f"{n_models - len(failed)} proven, {counts['operations']} operations",
        peer=f"{counts['hooked']} outputs of hooks, {counts['nodes']} nodes of torch.fx ({counts['graphs']} models)",
        ratio=f"{len(failed)} differ",
        target="0 differ",
        met=not failed,
        note=f"{say_seconds((time.process_time() - begin) / n_models)} of CPU a model",
    )
    save("random_models", "Random models", "python -m benchmarks.random_models", [row])
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
