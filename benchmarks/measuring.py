"""How everything here is timed: interleaved in one process, medians, wall and CPU; memory in a process of its own."""

from __future__ import annotations

import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

RESULTS = Path(__file__).parent / "results"
_BEGIN = time.perf_counter()


@dataclass(frozen=True)
class Timing:
    """Seconds of one case in each of its runs."""

    walls: tuple[float, ...]
    cpus: tuple[float, ...]

    @property
    def wall(self) -> float:
        """Median wall time."""
        return statistics.median(self.walls)

    @property
    def cpu(self) -> float:
        """Median CPU time."""
        return statistics.median(self.cpus)

    def over(self, plain: Timing, clock: Literal["walls", "cpus"] = "walls") -> float:
        """Median over the turns of how many times as long this took as another case in the same turn."""
        return statistics.median(self._ratios(plain, clock))

    def quartiles_over(self, plain: Timing) -> tuple[float, float, float]:
        """The median of the same ratios of wall times, between what a quarter lies below and a quarter above."""
        ratios = self._ratios(plain, "walls")
        if len(ratios) < 2:
            return ratios[0], ratios[0], ratios[0]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return low, middle, high

    def _ratios(self, plain: Timing, clock: Literal["walls", "cpus"]) -> list[float]:
        turns = zip(getattr(self, clock), getattr(plain, clock), strict=True)
        return [ours / theirs for ours, theirs in turns]

    def __str__(self) -> str:
        return f"{say_seconds(self.wall)} (CPU {say_seconds(self.cpu)})"


@dataclass(frozen=True)
class Row:
    """One line of docs/benchmarks.md. `met` is None where a line has no target."""

    task: str
    ours: str
    peer: str
    ratio: str
    target: str
    met: bool | None
    limit: str = ""
    note: str = ""


def interleave(
    cases: Mapping[str, Callable[[], object]], *, n_runs: int = 7, n_warmup: int = 1
) -> dict[str, Timing]:
    """Run all cases in turn, `n_runs` times, so that a slow moment of the machine meets all of them alike.

    Each turn begins with another case: none always finds the caches and the memory that one other leaves.
    """
    walls: dict[str, list[float]] = {name: [] for name in cases}
    cpus: dict[str, list[float]] = {name: [] for name in cases}
    order = list(cases.items())
    for turn in range(n_warmup + n_runs):
        gc.collect()  # takes longer than many a case
        first = turn % len(cases)
        for name, case in (*order[first:], *order[:first]):
            wall, cpu = time.perf_counter(), time.process_time()
            case()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if turn >= n_warmup:
                walls[name].append(wall)
                cpus[name].append(cpu)
    return {name: Timing(tuple(walls[name]), tuple(cpus[name])) for name in cases}


def run_apart(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, float]:
    """Run `python -m module arguments` in a process of its own; the last line it prints is JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
        cwd=Path(__file__).parents[1],
    )
    answer: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def read_peak_memory() -> int:
    """The most bytes this process has had resident so far; Linux' maxrss would count its parent's before the start."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def save(name: str, title: str, command: str, rows: list[Row]) -> None:
    """Keep a section's rows; `python -m benchmarks.page` makes the page of all sections."""
    RESULTS.mkdir(exist_ok=True)
    section = {
        "title": title,
        "command": command,
        "minutes": (time.perf_counter() - _BEGIN) / 60,
        "machine": describe_machine(),
        "rows": [row.__dict__ for row in rows],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(section, indent=1) + "\n")
    for row in rows:
        print(f"{_verdict(row.met):6} {row.task}: {row.ours} against {row.peer}: {row.ratio} ({row.target})")


def _verdict(met: bool | None) -> str:
    return {True: "met", False: "missed", None: ""}[met]


def describe_machine() -> dict[str, str]:
    """What the numbers depend on: processor, cores, versions."""
    packages = ("torch", "torchvision", "numpy", "scipy", "xarray", "zarr", "scikit-learn")
    return {
        "cores": str(os.cpu_count()),
        "processor": _read_processor(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _read_processor() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def say_seconds(seconds: float) -> str:
    """Seconds with three digits and a fitting unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
