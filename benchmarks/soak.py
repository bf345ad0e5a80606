"""Many traces in one process: memory and objects after the first hundred, and at the end.

`python -m benchmarks.soak [how many]`
"""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

import neurolens as nl
from benchmarks.measuring import Row, save

WARM_UP = 100
STEPS = 20  # memory is read this often


class Small(nn.Module):
    """Convolution, recurrence, attention, in-place writes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.cell, self.attention = nn.GRUCell(4, 4), nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = torch.relu_(self.norm(self.conv(x)))
        state = y.mean((2, 3))
        for _ in range(3):
            state = self.cell(state)
        tokens = y.flatten(2).mT
        return {"state": state, "tokens": self.attention(tokens, tokens, tokens)[0]}


@dataclass(frozen=True)
class Course:
    """Bytes resident and objects alive, read at even distances after the warm-up."""

    resident: tuple[int, ...]
    objects: tuple[int, ...]

    @property
    def growth(self) -> float:
        """Bytes a trace: the slope of a line through the second half."""
        return _slope(self.resident)

    @property
    def new_objects(self) -> float:
        """Objects that each trace leaves behind."""
        return _slope(self.objects)


def _slope(course: tuple[int, ...]) -> float:
    late = torch.tensor(course[len(course) // 2 :], dtype=torch.float64)
    turns = torch.arange(len(late), dtype=torch.float64) - (len(late) - 1) / 2
    return float((turns @ late) / (turns @ turns))


def read_resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def run(n_traces: int, *, warm_up: int = WARM_UP) -> Course:
    """Trace, read, ask for a table and let go, `n_traces` times."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = Small().eval()
        x = torch.randn(2, 3, 12, 12)
    resident, objects = [], []
    each = max(1, n_traces // STEPS)
    for number in range(1, warm_up + n_traces + 1):
        trace = nl.trace(model, x)
        trace["output[state]"].tensor  # noqa: B018 - names are derived when they are asked for
        if number % 10 == 0:
            trace.to_frame()
            trace["conv.conv2d"].activation  # noqa: B018
        if number % 100 == 0 or number == 1:  # what torch makes once it makes during the warm-up
            trace.validate()
        del trace
        if number > warm_up and (number - warm_up) % each == 0:
            gc.collect()
            resident.append(read_resident())
            objects.append(len(gc.get_objects()))
    return Course(tuple(resident), tuple(objects))


def main(n_traces: int = 2000) -> None:
    """Run and keep the section's row."""
    course = run(n_traces)
    each = max(1, n_traces // STEPS)
    bytes_a_trace, objects_a_trace = course.growth / each, course.new_objects / each
    row = Row(
        task=f"{n_traces} traces in one process",
        ours=f"{bytes_a_trace:.0f} bytes and {objects_a_trace:.3f} objects a trace kept, in the second half",
        peer=f"{course.resident[0] / 1e6:.0f} MB after {WARM_UP} traces",
        ratio=f"{course.resident[-1] / course.resident[0]:.3f} of that at the end",
        target="1.02 at most, no object",
        met=course.resident[-1] <= 1.02 * course.resident[0] and objects_a_trace < 0.05,
    )
    save("soak", "Soak", "python -m benchmarks.soak", [row])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
