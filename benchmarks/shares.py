"""Where the time of the three main jobs goes: all threads sampled every two milliseconds.

`python -m benchmarks.shares` (about a minute). A sample belongs to the innermost function of neurolens on its stack,
and to the library that this function was calling; a thread that waits does not count.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import torch
import torchvision
import xarray as xr

import neurolens as nl
from benchmarks.extraction import make_images, run_ours
from benchmarks.measuring import Row, save

COMMAND = "python -m benchmarks.shares"
HOUSE = Path(nl.__file__).parent
WAITING = ("threading.py", "queue.py", "selectors.py", "thread.py", "_base.py", "base_events.py")
N_SHOWN = 7


def sample(job: Callable[[], object], *, every: float = 0.002) -> Counter[str]:
    """Run a job and count where its threads were."""
    counts: Counter[str] = Counter()
    done = threading.Event()

    def watch() -> None:
        own = threading.get_ident()
        while not done.wait(every):
            for thread, frame in sys._current_frames().items():
                if thread != own and not frame.f_code.co_filename.endswith(WAITING):
                    counts[name_place(frame)] += 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        job()
    finally:
        done.set()
        watcher.join()
    return counts


def name_place(frame: FrameType) -> str:
    """Say which function of the house a stack is in, and which library it called."""
    library, here = _find_library(frame.f_code.co_filename), frame
    while here is not None:
        path = Path(here.f_code.co_filename)
        if path.is_relative_to(HOUSE):
            room = ".".join(path.relative_to(HOUSE).with_suffix("").parts)
            return f"{room}.{here.f_code.co_name}" + (f" → {library}" if library else "")
        here = here.f_back  # type: ignore[assignment]
    return library or "the job itself"


def _find_library(file: str) -> str:
    parts = Path(file).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1].removesuffix(".py")
    return ""


def run_trace() -> None:
    """Trace a network, keep everything, name everything."""
    torch.manual_seed(0)
    model, x = torchvision.models.resnet18().eval(), torch.rand(16, 3, 224, 224)
    with torch.no_grad():
        for _ in range(8):
            trace = nl.trace(model, x)
            len(trace)


def run_extract(folder: Path) -> None:
    """Extract all operations from image files."""
    torch.manual_seed(0)
    images = make_images(folder / "images", 64)
    run_ours(torchvision.models.resnet18().eval(), images, folder / "store")


def run_compare() -> None:
    """Compare 250 operations with three regions, with permutations and bootstraps."""
    rng = np.random.default_rng(0)
    ids = [f"im{i}" for i in range(92)]

    def draw(*sizes: int) -> xr.DataArray:
        dims = ("subject", "stimulus", "unit")[3 - len(sizes) :]
        labels = {"stimulus": ids} | ({"subject": range(sizes[0])} if len(sizes) == 3 else {})
        return xr.DataArray(rng.standard_normal(sizes), labels, dims)

    rdms = nl.rdm({f"op{i}": draw(92, 40) for i in range(250)})
    brain = {name: nl.rdm(draw(4, 92, 40)) for name in ("V1", "V4", "IT")}
    nl.compare(rdms, brain, n_permutations=300, n_bootstraps=300, progress=False)


def describe(task: str, job: Callable[[], object]) -> Row:
    """One line: a job and its largest shares."""
    start = time.perf_counter()
    counts = sample(job)
    wall = time.perf_counter() - start
    total = sum(counts.values())
    shares = "; ".join(f"{100 * n / total:.0f} % {place}" for place, n in counts.most_common(N_SHOWN))
    return Row(task, shares, f"{wall:.1f} s, {total:,} samples", "", "", None)


def main() -> None:
    """Sample the three jobs."""
    with tempfile.TemporaryDirectory(prefix="neurolens-bench-") as folder:
        rows = [
            describe("trace: resnet18, batch 16, everything kept, eight times", run_trace),
            describe("extract: resnet18, 64 JPEG files, all operations", lambda: run_extract(Path(folder))),
            describe("compare: 250 operations, 3 regions, 300 permutations and bootstraps", run_compare),
        ]
    save("shares", "Where the time goes", COMMAND, rows)


if __name__ == "__main__":
    main()
