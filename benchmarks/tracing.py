"""What tracing costs: per operation, per model, in memory; forward hooks and TorchLens beside it.

`python -m benchmarks.tracing` measures everything (several minutes).
"""

from __future__ import annotations

import functools
import gc
import json
import resource
import statistics
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch.overrides import TorchFunctionMode

import neurolens as nl
from benchmarks.measuring import Row, interleave, read_peak_memory, run_apart, save, say_seconds
from neurolens.tracing import keep_freed_memory

COMMAND = "python -m benchmarks.tracing"
MODELS = ("alexnet", "resnet18", "resnet50", "densenet121", "vit_b_16", "swin_t", "gpt2")
BATCHES = {16: 1.3, 1: 1.5}  # batch size -> most times the plain forward
FIVE_LAYERS = {
    "alexnet": ["features.0", "features.3", "features.6", "features.10", "classifier.6"],
    "resnet18": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "resnet50": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "densenet121": [
        f"features.{name}" for name in ("conv0", "transition1", "transition2", "transition3", "norm5")
    ],
    "vit_b_16": [f"encoder.layers.encoder_layer_{n}" for n in (1, 3, 5, 8, 11)],
    "swin_t": [f"features.{n}" for n in (0, 1, 3, 5, 7)],
    "gpt2": [f"transformer.h.{n}" for n in (1, 3, 5, 8, 11)],
}


def main() -> None:
    """Measure everything and keep the rows."""
    torch.manual_seed(0)
    rows = [*_operation_rows(), _kinds_row(), _cold_kinds_row(), _outside_row()]
    found = {name: run_apart("benchmarks.tracing", "model", name) for name in MODELS}
    for name, answers in found.items():
        rows += _model_rows(name, answers)
    rows += [_memory_row(name, answers) for name, answers in found.items()]
    save("tracing", "Tracing", COMMAND, rows)


# ---------------------------------------------------------------------- one operation


def _chain(n_operations: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def run(x: torch.Tensor) -> torch.Tensor:
        for _ in range(n_operations):
            x = x + 1
        return x

    return run


def _operation_rows() -> list[Row]:
    """Cost of one operation on 4 numbers, and of its name: what a longer chain adds."""
    x = torch.ones(4)
    lengths = (10, 100, 1000, 10_000)
    keep, structure, reading, names = {}, {}, {}, {}
    for length in lengths:
        run = _chain(length)
        n_times = max(1, 2000 // length)
        timings = interleave(
            {
                "plain": _repeat(lambda run=run: run(x), n_times),
                "keep": _repeat(lambda run=run: nl.trace(run, x), n_times),
                "structure": _repeat(lambda run=run: nl.trace(run, x, keep=None), n_times),
                "reading": _repeat(lambda run=run: _run_under(_Reading(), run, x), n_times),
            },
            n_runs=15,
        )
        per = n_times * length
        keep[length] = (timings["keep"].cpu - timings["plain"].cpu) / per
        structure[length] = (timings["structure"].cpu - timings["plain"].cpu) / per
        reading[length] = (timings["reading"].cpu - timings["plain"].cpu) / per
        trace = nl.trace(run, x)
        start = time.process_time()
        len(trace), trace.graph
        names[length] = (time.process_time() - start) / length
    lens = _torchlens_cost(x)
    fixed = 10 * (keep[10] - keep[1000])

    def say(costs: dict[int, float]) -> str:
        return ", ".join(f"{cost * 1e6:.1f} µs ({length:,})" for length, cost in costs.items())

    flat = max(keep[1000], keep[10_000])
    least = f"a mode that only reads results {reading[1000] * 1e6:.1f} µs"
    return [
        Row(
            "one operation, everything kept",
            say(keep),
            f"TorchLens {lens * 1e6:,.0f} µs",
            f"{flat / lens:.4f}",
            "≤ 5 µs, flat from 10 to 10,000",
            flat <= 5e-6,
            least,
            note=f"a trace costs {say_seconds(fixed)} before its first operation: the shortest chain shows it",
        ),
        Row(
            "one operation, structure only",
            say(structure),
            f"TorchLens {lens * 1e6:,.0f} µs",
            f"{structure[1000] / lens:.4f}",
            "≤ 5 µs, flat from 10 to 10,000",
            max(structure[1000], structure[10_000]) <= 5e-6,
            least,
        ),
        Row(
            "names and graph of one operation",
            say(names),
            "",
            f"{names[10_000] / names[1000]:.2f} from 1,000 to 10,000",
            "≤ 60 µs, linear",
            names[10_000] <= 60e-6 and names[10_000] <= 1.5 * names[1000],
        ),
    ]


def _kinds_row() -> Row:
    """What a call of each kind adds: where the cost of a network of small operations comes from."""

    def repeat(call: Callable[[torch.Tensor], torch.Tensor]) -> _Measured:
        def run(x: torch.Tensor) -> list[float]:
            start = time.perf_counter()
            for _ in range(500):
                call(x)
            return [(time.perf_counter() - start) / 500]

        return run

    return _compare_kinds("what one call adds, everything kept", repeat, {}, n_runs=5)


def _cold_kinds_row() -> Row:
    """The same where the caches hold other data at each call, as after a kernel on a large batch."""
    other = np.ones(96 * 2**20, dtype=np.uint8)

    def repeat(call: Callable[[torch.Tensor], torch.Tensor]) -> _Measured:
        def run(x: torch.Tensor) -> list[float]:
            times = []
            for _ in range(10):
                np.add(other, 1, out=other)
                start = time.perf_counter()
                call(x)
                times.append(time.perf_counter() - start)
            return times

        return run

    task = "what one call adds after 96 MiB went through the caches, structure only"
    return _compare_kinds(task, repeat, {"keep": None}, n_runs=2)


_Measured = Callable[[torch.Tensor], list[float]]  # seconds of one call, several times


def _compare_kinds(
    task: str,
    repeat: Callable[[Callable[[torch.Tensor], torch.Tensor]], _Measured],
    options: dict[str, Any],
    n_runs: int,
) -> Row:
    x = torch.ones(1, 4, 2, 2)
    kinds = {
        "a function of C (torch.relu)": torch.relu,
        "a function of Python (F.relu)": torch.nn.functional.relu,
        "a module and such a function (ReLU)": torch.nn.ReLU(),
        "Conv2d": torch.nn.Conv2d(4, 4, 1).eval(),
        "BatchNorm2d": torch.nn.BatchNorm2d(4).eval(),
    }
    ours, nothing, reading = [], [], []
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        for name, call in kinds.items():
            measured = repeat(call)
            times: dict[str, list[float]] = {"plain": [], "traced": [], "idle": [], "reading": []}

            def run(case: str, x: torch.Tensor, measured: _Measured = measured) -> torch.Tensor:
                times[case] += measured(x)  # noqa: B023
                return x

            plain, traced, idle, read = (functools.partial(run, case) for case in times)
            cases = {
                "plain": lambda plain=plain: plain(x),
                "traced": lambda traced=traced: nl.trace(traced, x, **options),
                "idle": lambda idle=idle: _run_under(_Idle(), idle, x),
                "reading": lambda read=read: _run_under(_Reading(), read, x),
            }
            interleave(cases, n_runs=n_runs)
            alone, *added = (1e6 * statistics.median(each) for each in times.values())
            for costs, cost, before in zip(
                (ours, nothing, reading), added, (f"{name} ", "", ""), strict=True
            ):
                costs.append(f"{before}{cost - alone:.1f}{' µs' * bool(before)}")
    torch.set_num_threads(n_threads)
    beside = (
        f"a mode that does nothing {', '.join(nothing)} µs; one that reads results {', '.join(reading)} µs"
    )
    return Row(task, ", ".join(ours), beside, "", "", None, note=_WHAT_IS_READ)


def _repeat(run: Callable[[], object], n_times: int) -> Callable[[], None]:
    def repeated() -> None:
        for _ in range(n_times):
            run()

    return repeated


def _torchlens_cost(x: torch.Tensor) -> float:
    import torchlens

    class Chain(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return _chain(100)(x)

    timings = interleave({"lens": lambda: torchlens.trace(Chain(), x)}, n_runs=3)
    return timings["lens"].cpu / 100


def _outside_row() -> Row:
    """Time of torch before and after a trace, and its function objects."""
    answer = run_apart("benchmarks.tracing", "outside")
    same = bool(answer["same"])
    return Row(
        "torch outside a trace",
        f"{answer['after'] * 1e6:.2f} µs a call after a trace",
        f"{answer['before'] * 1e6:.2f} µs before",
        f"{answer['after'] / answer['before']:.2f}",
        "same objects, same time",
        same and answer["after"] <= 1.05 * answer["before"],
    )


def _measure_outside() -> dict[str, float]:
    x = torch.ones(4)

    def time_add() -> float:
        times = []
        for _ in range(200):
            start = time.process_time()
            for _ in range(5000):
                torch.add(x, x)
            times.append((time.process_time() - start) / 5000)
        return min(times)  # other work on the machine only adds

    def list_functions() -> list[Any]:
        places = (torch, torch.Tensor, torch.nn.functional, torch.nn.Module)
        return [value for place in places for value in map(vars(place).get, sorted(vars(place)))]

    time_add()
    before, functions = time_add(), list_functions()
    nl.trace(torchvision.models.alexnet(), torch.ones(1, 3, 64, 64))
    after = time_add()
    same = all(a is b for a, b in zip(functions, list_functions(), strict=True))
    return {"before": before, "after": after, "same": float(same)}


# ---------------------------------------------------------------------- one model


def build(name: str, batch_size: int) -> tuple[torch.nn.Module, torch.Tensor]:
    """A model with random weights in eval mode, and inputs of the size it was made for."""
    torch.manual_seed(0)
    if name == "gpt2":
        from transformers import GPT2Config, GPT2LMHeadModel

        return GPT2LMHeadModel(GPT2Config()).eval(), torch.randint(0, 50_000, (batch_size, 64))
    model = getattr(torchvision.models, name)(weights=None)
    return model.eval(), torch.randn(batch_size, 3, 224, 224)


def _model_rows(name: str, found: dict[str, float]) -> list[Row]:
    rows = []
    for batch_size, most in BATCHES.items():
        prefix = f"{batch_size} "
        answer = {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
        rows.append(
            Row(
                f"{name}, batch {batch_size}: keep everything ({answer['n']:.0f} operations)",
                f"{answer['keep'] * answer['plain_beside']:.3f} s",
                f"plain {say_seconds(answer['plain_beside'])}; TorchLens {answer['lens']:.2f} x",
                f"{answer['keep']:.2f} (CPU {answer['keep_cpu']:.2f})",
                f"≤ {most}",
                answer["keep"] <= most,
                limit=f"{_say_reading(answer)}; hooks that keep what every leaf returns {answer['hooks']:.2f} x",
                note=f"first trace {answer['first']:.2f} x; without keeping freed memory {answer['fresh']:.2f} x",
            )
        )
        if batch_size > 1:
            rows += [
                _small_row(name, batch_size, "keep 5 layers", answer, "five"),
                _small_row(name, batch_size, "structure only", answer, "none"),
            ]
    return rows


def _small_row(name: str, batch_size: int, what: str, answer: dict[str, float], case: str) -> Row:
    task, ratio = f"{name}, batch {batch_size}: {what}", answer[case]
    each = 1e6 * (ratio - 1) * answer["plain"] / answer["n"]
    return Row(
        task,
        f"{ratio:.3f} x ({answer[f'{case} low']:.3f} to {answer[f'{case} high']:.3f})",
        f"plain {say_seconds(answer['plain'])}",
        f"{ratio:.3f}",
        "≤ 1.05",
        ratio <= 1.05,
        _say_reading(answer),
        f"in brackets what half of the turns lie between; {each:.0f} µs an operation",
    )


def _say_reading(answer: dict[str, float]) -> str:
    return f"a mode that only reads results {answer['reading']:.3f} x"


def _measure_model(name: str) -> dict[str, float]:
    """Measure all batch sizes in one process, keys like "16 keep"; TorchLens last, since it leaves torch changed."""
    cases = {batch_size: build(name, batch_size) for batch_size in BATCHES}
    found = {}
    for batch_size, (model, x) in cases.items():
        found |= {f"{batch_size} {key}": value for key, value in _measure_batch(name, model, x).items()}
    _time_torchlens(torch.nn.ReLU(), torch.ones(1))  # everything is imported, and torch wrapped
    for batch_size, (model, x) in cases.items():
        with torch.no_grad():
            found[f"{batch_size} lens"] = _time_torchlens(model, x) / found[f"{batch_size} plain"]
    return found


def _measure_batch(name: str, model: torch.nn.Module, x: torch.Tensor) -> dict[str, float]:
    """Ratios to the plain forward of the same turn."""
    is_small = len(x) == 1  # only what keeps everything is reported
    with torch.no_grad():
        nl.trace(model, x[:1], keep=None)  # everything is imported
        before, start = _read_resident(), time.perf_counter()
        trace = nl.trace(model, x)
        first, peak = time.perf_counter() - start, read_peak_memory()
        n_operations, kept = len(trace.steps), _count_kept(trace, x)
        del trace
        model(x)
        start = time.perf_counter()
        model(x)
        plain = time.perf_counter() - start
        fresh = interleave(
            {"plain": lambda: model(x), "keep": lambda: nl.trace(model, x)},
            n_runs=1 if plain > 0.3 else 3,
            n_warmup=0,
        )
        n_runs = min(12, max(5, int(3 / plain)))
        with keep_freed_memory():  # for all: else they differ by whose memory the system takes back
            # Apart from those that keep everything: what follows these finds its memory elsewhere, and caches cold.
            cases: dict[str, Callable[[], object]] = {
                "plain": lambda: model(x),
                "reading": lambda: _run_under(_Reading(), model, x),
            }
            if not is_small:
                cases |= {
                    "none": lambda: nl.trace(model, x, keep=None),
                    "five": lambda: nl.trace(model, x, keep=FIVE_LAYERS[name]),
                }
            light = interleave(
                cases,
                n_runs=3 if is_small else n_runs,
                n_warmup=int(plain < 1),
            )
            full = interleave(
                {
                    "plain": lambda: model(x),
                    "keep": lambda: nl.trace(model, x),
                    "hooks": lambda: _hook_every_leaf(model, x),
                },
                n_runs=n_runs if is_small else max(2, n_runs // 3),
            )
    return {
        "n": n_operations,
        "extra": peak - before,
        "kept": kept,
        "plain": light["plain"].wall,
        "plain_beside": full["plain"].wall,
        "first": first / fresh["plain"].wall,
        "fresh": fresh["keep"].over(fresh["plain"]),
        **{
            f"{case}{of}": ratio
            for case in light
            if case != "plain"
            for of, ratio in zip(
                (" low", "", " high"), light[case].quartiles_over(light["plain"]), strict=True
            )
        },
        **{case: full[case].over(full["plain"]) for case in ("keep", "hooks")},
        "keep_cpu": full["keep"].over(full["plain"], "cpus"),
    }


def _time_torchlens(model: torch.nn.Module, x: torch.Tensor) -> float:
    """Seconds of one trace; several would take longer than all of ours."""
    import torchlens

    start = time.perf_counter()
    torchlens.trace(model, x)
    return time.perf_counter() - start


class _Idle(TorchFunctionMode):
    """The least that any recorder by a function mode costs."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


_WHAT_IS_READ = "what is read of a result: shape, dtype, device, storage, and a weak reference to it"


class _Reading(TorchFunctionMode):
    """The least that a record of every operation needs: what its result is."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[object, ...]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if type(out) is torch.Tensor:
            key = out.untyped_storage()._cdata
            self.seen.append((out.shape, out.dtype, out.device, key, weakref.ref(out)))
        return out


def _run_under(mode: TorchFunctionMode, model: Callable[..., object], *inputs: object) -> None:
    with mode:
        model(*inputs)


def _hook_every_leaf(model: torch.nn.Module, x: torch.Tensor) -> dict[str, Any]:
    """Keep what every leaf returns, by hooks; a copy of what a module that works in place will write."""
    kept: dict[str, Any] = {}

    def keep_as(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, out: kept.__setitem__(name, out)

    def copy_as(name: str) -> Callable[..., None]:
        return lambda _module, inputs: kept.__setitem__(name, inputs[0].clone())

    handles = []
    for name, module in model.named_modules():
        if getattr(module, "inplace", False):
            handles.append(module.register_forward_pre_hook(copy_as(f"before {name}")))
        if not list(module.children()):
            handles.append(module.register_forward_hook(keep_as(name)))
    try:
        model(x)
    finally:
        for handle in handles:
            handle.remove()
    return kept


# ---------------------------------------------------------------------- memory


def _memory_row(name: str, found: dict[str, float]) -> Row:
    extra, kept = found["16 extra"], found["16 kept"]
    ratio = extra / kept
    return Row(
        f"{name}, batch 16: memory at the peak of a trace",
        f"{extra / 1e9:.3f} GB more than after a plain forward",
        f"{kept / 1e9:.3f} GB kept",
        f"{ratio:.2f}",
        "≤ 1.15",
        ratio <= 1.15,
    )


def _count_kept(trace: nl.Trace, x: torch.Tensor) -> int:
    """Bytes of all that was kept and was not there before, a storage once."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for value, tensor in trace.recording.tensors.items()
        if not value.parameter and not tensor.is_meta
    }
    storages.pop(x.untyped_storage().data_ptr(), None)
    return sum(storages.values())


def _read_resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["outside"]:
            print(json.dumps(_measure_outside()))
        case ["model", name]:
            print(json.dumps(_measure_model(name)))
        case _:
            main()
