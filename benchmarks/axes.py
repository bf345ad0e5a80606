"""The stimulus axis of every operation of every torchvision classifier, held against runs on single stimuli.

`python -m benchmarks.axes` writes docs/axes.md (about half an hour on two cores); `python -m benchmarks.axes resnet18`
says what is the matter with one model.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torchvision
from torch import nn

from neurolens.activations.axes import (
    STATIC,
    Axes,
    PassAddress,
    StimulusAxis,
    find_axes,
    list_values,
    select_stimulus,
)
from neurolens.activations.batches import as_call, undisturbed
from neurolens.recording.addresses import assign_names
from neurolens.recording.recorder import record

PAGE = Path(__file__).parents[1] / "docs" / "axes.md"
NAMES = torchvision.models.list_models(module=torchvision.models)
TOLERANCE = 1e-4  # of the largest magnitude of what is compared
N_STIMULI = 3


@dataclass
class Finding:
    """What was found for the tensors of one model."""

    model: str
    n_operations: int = 0
    kinds: dict[str, int] = field(default_factory=dict)  # how the stimulus lies -> number of tensors
    reasons: dict[str, int] = field(
        default_factory=dict
    )  # why there is no stimulus axis -> number of tensors
    worst: float = 0.0  # largest difference to a single run, relative to the largest magnitude
    mismatches: list[str] = field(default_factory=list)


def examine(name: str) -> Finding:
    """Probe one classifier and compare each of its tensors with the runs on single stimuli."""
    torch.manual_seed(0)
    model, size = make_classifier(name)
    stimuli = torch.randn(N_STIMULI, 3, size, size)
    axes = find_axes(model, as_call(stimuli))
    found = Finding(name, mismatches=[axes.reason] if axes.reason else [])
    batch = _run(model, stimuli)
    found.n_operations = len({operation for operation, _, _ in batch})
    for index in range(N_STIMULI):
        alone = _run(model, stimuli[index : index + 1])
        if list(alone) != list(batch):
            found.mismatches.append(f"stimulus {index} alone runs other operations")
        for address in batch:
            if address in alone:
                _compare(found, axes, address, batch[address], alone[address], index)
    for address in batch:
        where = axes.of(*address)
        kind = _kind(where)
        found.kinds[kind] = found.kinds.get(kind, 0) + 1
        if where.is_undefined:
            found.reasons[where.reason] = found.reasons.get(where.reason, 0) + 1
    return found


def _compare(
    found: Finding, axes: Axes, address: PassAddress, many: torch.Tensor, one: torch.Tensor, index: int
) -> None:
    where = axes.of(*address)
    if where.is_undefined:
        return  # it says that it is no array over stimuli: there is nothing to compare
    if where.axis is not None:
        if where.reason:
            found.mismatches.append(f"{address}: {where.reason}")
        many = select_stimulus(many, N_STIMULI, where, index)
        one = select_stimulus(one, 1, where, 0)
    if many.shape != one.shape:
        found.mismatches.append(f"{address}: {tuple(many.shape)} and alone {tuple(one.shape)}")
        return
    a, b = many.double(), one.double()
    scale = float(b.abs().max()) if b.numel() else 0.0
    off = float((a - b).abs().max()) / scale if scale else float(a.abs().sum())
    found.worst = max(found.worst, off)
    if not off <= TOLERANCE:
        found.mismatches.append(f"{address}: stimulus {index} is off by {off:.1e}")


def _kind(where: StimulusAxis) -> str:
    if where.axis is None:
        return "static" if where.reason == STATIC else "none"
    if where.factor > 1:
        return "merged"
    return "first" if where.axis == 0 else "other"


def _run(model: nn.Module, x: torch.Tensor) -> dict[PassAddress, torch.Tensor]:
    with undisturbed(model):
        recording = record(model, (x,))
    values = list_values(assign_names(recording))
    return {address: recording.tensors[value] for address, value in values.items()}


# ---------------------------------------------------------------------- models with weights that are quickly drawn

# The smallest image that leaves every stage of the network something to see.
_SIZES = {
    "inception_v3": 128,
    "maxvit": 224,
    "swin": 96,
    "vit_b_32": 128,
    "vit_l_32": 128,
    "vit_h_14": 56,
    "vit": 64,
}
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def make_classifier(name: str) -> tuple[nn.Module, int]:
    """Build a classifier with random weights that keep the scale of activations; and the side of an image for it."""
    size = next((size for prefix, size in _SIZES.items() if name.startswith(prefix)), 64)
    options: dict[str, Any] = {"image_size": size} if name.startswith("vit") else {}
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    with _without_initialisation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torchvision.models.get_model(name, **options).eval()
    with torch.no_grad():
        for module in model.modules():
            for parameter in module.parameters(recurse=False):
                _draw(module, parameter)
    return model, size


@contextmanager
def _without_initialisation() -> Iterator[None]:
    """Build modules without drawing their usual weights, which takes minutes for the largest."""
    kinds = [kind for kind in dir(nn.init) if kind.endswith("_") and not kind.startswith("_")]
    idle: dict[str, Callable[..., Any]] = {
        kind: mock.Mock(side_effect=lambda tensor, *_, **__: tensor) for kind in kinds
    }
    with mock.patch.multiple(nn.init, **idle):
        yield


def _draw(module: nn.Module, parameter: nn.Parameter) -> None:
    """Draw so that what a layer gives is no larger than what it is given: what grows also grows apart."""
    if isinstance(module, _NORMS) or parameter.ndim < 2:
        is_scale = parameter is getattr(module, "weight", None)
        parameter.uniform_(0.5, 1.5) if is_scale else parameter.uniform_(-0.1, 0.1)
    else:
        bound = (3 / parameter[0].numel()) ** 0.5
        parameter.uniform_(-bound, bound)


# ---------------------------------------------------------------------- the page

HEAD = """# The stimulus axis, model by model

Which axis of an activation is the stimulus is found by running the model on two and on three stimuli. This page is
the check: for every classifier of torchvision {version}, every tensor of every operation of a batch of {n} images is
compared with the same operation on each image alone (eval mode, random weights, float32, small images).
`python -m benchmarks.axes` makes it again.

*first*: the stimulus is axis 0. *other*: it is a later axis. *merged*: one axis holds stimuli and something else
(windows, heads), and they are taken apart. *static*: the same for every batch, stored once. *none*: no stimulus axis;
the reasons are listed below. *off* is the largest difference to a single run, relative to the largest magnitude of
that tensor; {tolerance:g} is allowed.

| model | operations | tensors | first | other | merged | static | none | mismatches | off |
|---|---|---|---|---|---|---|---|---|---|
"""


def write_page(findings: list[Finding]) -> None:
    """Write docs/axes.md."""
    kinds = ("first", "other", "merged", "static", "none")
    rows = []
    for found in findings:
        counts = [found.kinds.get(kind, 0) for kind in kinds]
        cells = (
            found.model,
            found.n_operations,
            sum(counts),
            *counts,
            len(found.mismatches),
            f"{found.worst:.0e}",
        )
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    total = [sum(found.kinds.get(kind, 0) for found in findings) for kind in kinds]
    n_operations, n_wrong = (
        sum(found.n_operations for found in findings),
        sum(len(found.mismatches) for found in findings),
    )
    worst = max(found.worst for found in findings)
    cells = (f"all {len(findings)}", n_operations, sum(total), *total, n_wrong, f"{worst:.0e}")
    rows.append("| " + " | ".join(f"**{cell}**" for cell in cells) + " |")
    head = HEAD.format(version=torchvision.__version__.split("+")[0], n=N_STIMULI, tolerance=TOLERANCE)
    PAGE.write_text(
        head + "\n".join(rows) + "\n\n" + _describe_reasons(findings) + _describe_mismatches(findings)
    )


def _describe_reasons(findings: list[Finding]) -> str:
    reasons: Counter[str] = Counter()
    models: dict[str, set[str]] = {}
    for found in findings:
        reasons.update(found.reasons)
        for reason in found.reasons:
            models.setdefault(reason, set()).add(found.model)
    lines = [
        f"- {reason}: {count} tensors of {len(models[reason])} models"
        for reason, count in reasons.most_common()
    ]
    return "\n".join(["## Tensors without a stimulus axis, by reason", "", *(lines or ["None."]), ""])


def _describe_mismatches(findings: list[Finding]) -> str:
    lines = [f"- {found.model} {text}" for found in findings for text in found.mismatches]
    return "\n".join(["", "## Mismatches", "", *(lines or ["None."]), ""])


def examine_all(names: list[str]) -> list[Finding]:
    """Examine models one after the other, each in a process of its own, so that memory is given back."""
    findings = []
    for name in names:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.axes", name],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["no word"])[-1]
            findings.append(Finding(name, mismatches=[f"did not run: {said}"]))
        else:
            findings.append(Finding(**json.loads(done.stdout.strip().splitlines()[-1])))
        last = findings[-1]
        print(f"{name}: {last.n_operations} operations, {len(last.mismatches)} mismatches", flush=True)
    return findings


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(asdict(examine(sys.argv[1]))))
    else:
        write_page(examine_all(NAMES))
