"""One model of the zoo: built, traced, proven and timed."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

import neurolens as nl
from benchmarks import zoo_open_clip, zoo_timm, zoo_torchvision, zoo_transformers
from neurolens.recording.proofs import Verdict
from neurolens.tracing import Report

LIBRARIES = {
    "torchvision": zoo_torchvision,
    "timm": zoo_timm,
    "transformers": zoo_transformers,
    "open_clip": zoo_open_clip,
}
_N_RUNS = 4  # of the plain forward and of the trace, in turn; the best of each counts
_PATIENCE = 20.0  # seconds after which no further run is begun


@dataclass(frozen=True)
class Specimen:
    """One model of a library, and the family it belongs to."""

    library: str
    family: str
    name: str

    @property
    def key(self) -> str:
        return f"{self.library}:{self.name}"


@dataclass
class Result:
    """What became of one model. Counts of replays and perturbations go by verdict."""

    key: str
    library: str
    family: str
    name: str
    status: str  # proven, failed, or why there is no result: error, memory, time
    inputs: str = ""
    n_operations: int = 0
    n_passes: int = 0
    replays: dict[str, int] = field(default_factory=dict)
    perturbations: dict[str, int] = field(default_factory=dict)
    reasons: list[tuple[str, str, str, int, str]] = field(
        default_factory=list
    )  # proof, verdict, reason, n, where
    n_kernels: int = 0
    n_sources: int = 0
    plain: float = 0.0  # CPU seconds of a forward
    traced: float = 0.0  # of a trace that keeps everything
    first: float = 0.0  # of the first one
    seconds: float = 0.0  # for everything
    note: str = ""


def list_specimens() -> list[Specimen]:
    """Every model of the zoo."""
    return [
        Specimen(library, family, name)
        for library, module in LIBRARIES.items()
        for name, family in module.list_models().items()
    ]


def build(specimen: Specimen) -> tuple[nn.Module, Any]:
    """A model with random weights in eval mode, and inputs for it; the same each time."""
    torch.manual_seed(0)
    model, inputs = LIBRARIES[specimen.library].build(specimen.name)
    return model.eval(), inputs


def prove(specimen: Specimen, *, n_runs: int = _N_RUNS) -> Result:
    """Build a model, trace it, prove the trace, and time both."""
    began = time.monotonic()
    warnings.simplefilter("ignore")
    model, inputs = build(specimen)
    result = Result(specimen.key, specimen.library, specimen.family, specimen.name, "proven")
    result.inputs = describe(inputs)
    with torch.no_grad():
        traced, result.first = _timed(lambda: nl.trace(model, inputs, seed=0))
        result.n_operations, result.n_passes = len(traced), len(traced.steps)
        _take_proofs(result, traced.validate())
        del traced
        result.plain, result.traced = _time(model, inputs, n_runs)
    result.seconds = time.monotonic() - began
    return result


def describe(inputs: Any) -> str:
    """The shapes of what goes in."""
    if isinstance(inputs, torch.Tensor):
        return "x".join(map(str, inputs.shape)) or "scalar"
    if isinstance(inputs, dict):
        return ", ".join(f"{name} {text}" for name, item in inputs.items() if (text := describe(item)))
    if isinstance(inputs, tuple | list):
        return ", ".join(text for item in inputs if (text := describe(item)))
    return ""


def _take_proofs(result: Result, report: Report) -> None:
    proofs = report.proofs
    result.status = "proven" if proofs.passed else "failed"
    result.replays = dict(Counter(f.verdict.value for f in proofs.replays))
    result.perturbations = dict(Counter(f.verdict.value for f in proofs.perturbations))
    result.n_kernels, result.n_sources = proofs.testimony.inside, proofs.n_sources
    found: Counter[tuple[str, str, str]] = Counter()
    where: dict[tuple[str, str, str], str] = {}
    for proof, findings in (("replay", proofs.replays), ("perturbation", proofs.perturbations)):
        for finding in findings:
            if finding.verdict is not Verdict.PROVEN:
                reason = (proof, finding.verdict.value, finding.reason)
                found[reason] += 1
                where.setdefault(reason, report.trace.pass_address(finding.event.index))
    if proofs.answer.verdict is not Verdict.PROVEN:
        found["answer", proofs.answer.verdict.value, proofs.answer.reason] += 1
    for kernel, count in proofs.testimony.outside.items():
        found["witness", "failed", f"{kernel} ran outside"] += count
    result.reasons = [(*reason, count, where.get(reason, "")) for reason, count in found.most_common()]


def _time(model: nn.Module, inputs: Any, n_runs: int) -> tuple[float, float]:
    """The best CPU time of a forward and of a trace, run in turn."""
    args, kwargs = as_call(inputs)
    plain, traced = [], []
    began = time.monotonic()
    while len(plain) < n_runs and (not plain or time.monotonic() - began < _PATIENCE):
        plain.append(_timed(lambda: model(*args, **kwargs))[1])
        traced.append(_timed(lambda: nl.trace(model, inputs))[1])
    return min(plain), min(traced)


def as_call(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs as `nl.trace` reads them."""
    if isinstance(inputs, dict):
        return (), inputs
    return (inputs if isinstance(inputs, tuple) else (inputs,)), {}


def _timed(case: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    answer = case()
    return answer, time.process_time() - start
