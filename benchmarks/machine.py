"""What this machine can do at most: matrix products, copies in memory, writing to and reading from its disk.

`python -m benchmarks.machine` (about half a minute). Nothing of neurolens runs here: the other sections are read
beside these rates.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import threadpoolctl
import torch
import torchvision

from benchmarks.measuring import Row, save

COMMAND = "python -m benchmarks.machine"
N = 2000  # rows and columns of the matrices that are multiplied
SIZE = 1_000_000_000  # bytes that are copied, written and read
PIECE = 32_000_000  # bytes at once, as a chunk of a store may be
N_FILES = 6  # that stay while the next are written


def main() -> None:
    """Measure all rates."""
    cores = os.cpu_count() or 1
    rows = [measure_product(dtype, n) for dtype in ("float32", "float64") for n in sorted({1, cores})]
    rows += [measure_copy(is_fresh=False), measure_copy(is_fresh=True)]
    with tempfile.TemporaryDirectory(prefix="neurolens-bench-") as folder:
        rows += measure_disk(Path(folder) / "piece.bin")
        rows.append(measure_cache(Path(folder)))
    rows.append(measure_forward())
    save("machine", "What this machine can do", COMMAND, rows)


def time_it(job: Callable[[], object], *, n_runs: int = 5) -> float:
    """Median seconds of a job, after one run that does not count."""
    job()
    seconds = []
    for _ in range(n_runs):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def tell(task: str, rate: float, unit: str) -> Row:
    """One line without a target."""
    return Row(task, "", "", f"{rate:.3g} {unit}", "", None)


def measure_product(dtype: str, n_threads: int) -> Row:
    """Product of two square matrices by numpy's BLAS."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((N, N)).astype(dtype) for _ in range(2))
    with threadpoolctl.threadpool_limits(n_threads):
        seconds = time_it(lambda: a @ b)
    threads = "1 thread" if n_threads == 1 else f"{n_threads} threads"
    return tell(f"matrix product, {N} x {N}, {dtype}, {threads}", 2 * N**3 / seconds / 1e9, "GFLOP/s")


def measure_copy(*, is_fresh: bool) -> Row:
    """Copy an array into memory that is used again, or into memory that the system has to give first."""
    array = np.ones(SIZE // 4, np.float32)
    target = np.empty_like(array)
    seconds = time_it(array.copy if is_fresh else lambda: np.copyto(target, array))
    where = "memory that the system gives" if is_fresh else "memory that is used again"
    return tell(f"copy 1 GB into {where}, 1 thread", SIZE / seconds / 1e9, "GB/s")


def measure_disk(path: Path) -> list[Row]:
    """Write one file until the disk has it, and read it back."""
    piece = np.random.default_rng(0).bytes(PIECE)

    def read() -> None:
        with path.open("rb", buffering=0) as file:
            while file.read(PIECE):
                pass

    written, got = (time_it(job, n_runs=3) for job in (lambda: write(path, piece), read))
    return [
        tell("write 1 GB to one file until the disk has it", SIZE / written / 1e9, "GB/s"),
        tell("read it again, from the system's cache", SIZE / got / 1e9, "GB/s"),
    ]


def write(path: Path, piece: bytes) -> float:
    """Write one file until the disk has it; return the seconds until the system's cache had it."""
    with path.open("wb", buffering=0) as file:
        start = time.perf_counter()
        for _ in range(SIZE // PIECE):
            file.write(piece)
        seconds = time.perf_counter() - start
        os.fsync(file.fileno())
    return seconds


def measure_cache(folder: Path) -> Row:
    """Write files that stay until the system's cache has them: some find memory there, for some it has to be found."""
    piece = np.random.default_rng(0).bytes(PIECE)
    rates = [SIZE / write(folder / f"{number}.bin", piece) / 1e9 for number in range(N_FILES)]
    task = f"write 1 GB to each of {N_FILES} files until the system's cache has it: slowest to fastest"
    return Row(task, "", "", f"{min(rates):.2g} to {max(rates):.2g} GB/s", "", None)


def measure_forward() -> Row:
    """What a network of convolutions reaches of the rate of matrix products."""
    model, images = torchvision.models.resnet18().eval(), torch.rand(16, 3, 224, 224)
    with torch.no_grad():
        seconds = time_it(lambda: model(images))
    return tell("forward of resnet18, all threads", len(images) / seconds, "images/s")


if __name__ == "__main__":
    main()
