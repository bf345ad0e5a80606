"""Time and memory against size: tracing, extraction, RDMs, encoding; each size in a process of its own, on one thread.

`python -m benchmarks.scaling` (about a minute). The exponent k of cost = c * size ** k is fitted to the three
largest sizes, where what a call costs whatever its size no longer counts. Memory is the peak less what the process had
before the call.
"""

from __future__ import annotations

import functools
import gc
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import neurolens as nl
from benchmarks.measuring import Row, read_peak_memory, save, say_seconds
from neurolens.tracing import keep_freed_memory

COMMAND = "python -m benchmarks.scaling"
ENOUGH = 0.3  # seconds of repeated calls, at least


@dataclass(frozen=True)
class Job:
    """What grows, and how fast it may: `prepare` makes the call that is timed."""

    task: str
    what: str
    sizes: tuple[int, ...]
    most: float
    prepare: Callable[[int, Path], Callable[[], object]]


def prepare_trace(n: int, folder: Path) -> Callable[[], object]:
    """Chain additions of four numbers; names and graph included."""

    def chain(x: torch.Tensor) -> torch.Tensor:
        for _ in range(n):
            x = x + 1
        return x

    def run() -> object:
        trace = nl.trace(chain, torch.ones(4))
        return len(trace), trace.graph

    return run


def prepare_extraction(n: int, folder: Path) -> Callable[[], object]:
    """Extract all operations of a small network into a new store at every call."""
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3), torch.nn.Flatten()
    ).eval()
    images = torch.rand(64, 3, 32, 32)

    class Noise(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return n

        def __getitem__(self, index: int) -> torch.Tensor:
            return images[index % 64]

    stimuli = nl.Stimuli.from_dataset(Noise())

    def run() -> object:
        return nl.extract(model, stimuli, folder / str(time.monotonic_ns()), batch_size=32, progress=False)

    return run


def prepare_rdm(n: int, folder: Path) -> Callable[[], object]:
    """Correlation distances of patterns of 1000 features, float32."""
    patterns = label(np.random.default_rng(0).standard_normal((n, 1000), dtype=np.float32))
    return lambda: nl.rdm(patterns)


def prepare_encoding(n: int, folder: Path) -> Callable[[], object]:
    """Ridge over five folds, 200 stimuli and 1000 features."""
    rng = np.random.default_rng(0)
    features = label(rng.standard_normal((200, 1000), dtype=np.float32))
    voxels = nl.brain.responses(
        rng.standard_normal((200, n), dtype=np.float32), stimulus=features.stimulus.values
    )
    return lambda: nl.encode(features, voxels, progress=False)


def label(values: np.ndarray) -> xr.DataArray:
    ids = [f"im{i}" for i in range(len(values))]
    return xr.DataArray(values, {"stimulus": ids}, ("stimulus", "unit"))


JOBS = {
    "trace": Job(
        "a trace with everything kept, its names and graph",
        "operations",
        (10, 100, 1000, 3162, 10_000),
        1.1,
        prepare_trace,
    ),
    "extract": Job(
        "all operations of a small network to disk",
        "stimuli",
        (100, 1000, 3162, 10_000),
        1.05,
        prepare_extraction,
    ),
    "rdm": Job("RDM of 1000 features", "stimuli", (100, 1000, 3162, 10_000), 2.1, prepare_rdm),
    "encode": Job(
        "encode by ridge, 200 stimuli", "voxels", (100, 1000, 10_000, 31_623, 100_000), 1.05, prepare_encoding
    ),
}


def measure(job: Job, n: int) -> dict[str, float]:
    """The memory of a first call and the median CPU time of others, which find what it freed, in this process.

    What the system takes for memory that it hands out again is measured in benchmarks/machine.py: on a virtual machine
    it changes from moment to moment, and hides how the work grows.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # alphas at the ends of the grid: these voxels are noise
    with tempfile.TemporaryDirectory(prefix="neurolens-bench-") as folder:
        job.prepare(job.sizes[0], Path(folder))()  # everything is imported
        call = job.prepare(n, Path(folder))
        before = read_peak_memory()
        times: list[float] = []
        with keep_freed_memory():
            call()
            peak = read_peak_memory()
            while sum(times) < ENOUGH and len(times) < 9:
                gc.collect()
                start = time.process_time()
                call()
                times.append(time.process_time() - start)
    return {"seconds": statistics.median(times), "memory": peak - before}


def fit_exponent(sizes: tuple[int, ...], costs: list[float]) -> float:
    """Slope of the line through the logarithms of the three largest sizes."""
    smallest = np.maximum(costs[-3:], 1e-12)
    return float(np.polyfit(np.log(sizes[-3:]), np.log(smallest), 1)[0])


def compare_sizes(name: str, pool: Pool) -> Row:
    """One line: all sizes of a job, and what the fit says."""
    job = JOBS[name]
    found = pool.map(functools.partial(measure, job), job.sizes, chunksize=1)
    seconds, memory = ([one[key] for one in found] for key in ("seconds", "memory"))
    exponent = fit_exponent(job.sizes, seconds)
    grown = fit_exponent(job.sizes, [max(one, 1e6) for one in memory])
    sizes = " / ".join(f"{n:,}" for n in job.sizes)
    return Row(
        f"{job.task}: {sizes} {job.what}",
        " / ".join(say_seconds(one) for one in seconds),
        " / ".join(f"{one / 1e6:.0f} MB" for one in memory),
        f"time ~ size^{exponent:.2f}, memory ~ size^{grown:.2f}",
        f"time: exponent ≤ {job.most:g}",
        exponent <= job.most,
    )


def main() -> None:
    """Measure all jobs, each size in a process that finds everything imported and nothing computed."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # of the processes to come
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([f"neurolens.{room}" for room in ("activations", "encoding", "rsa")])
    with processes.Pool(1, maxtasksperchild=1) as pool:
        rows = [compare_sizes(name, pool) for name in JOBS]
    save("scaling", "Scaling: CPU time and memory against size", COMMAND, rows)


if __name__ == "__main__":
    main()
