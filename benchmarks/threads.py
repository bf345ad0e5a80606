"""What further threads bring: the analyses on one thread, and on all cores as they run where nobody says how many.

`python -m benchmarks.threads` (about a minute and a half). Each job runs in two processes of its own, one after the
other. A job may gain nothing; it must not lose, as small matrices do where the threads of two libraries wait for each
other.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

import neurolens as nl
from benchmarks.measuring import Row, interleave, run_apart, save, say_seconds
from benchmarks.scaling import label, prepare_encoding

COMMAND = "python -m benchmarks.threads"
MOST = 1.2  # times the time of one thread


def prepare_ridge() -> Callable[[], object]:
    """Ridge of 2000 neuroids on 5000 features of 1000 stimuli."""
    rng = np.random.default_rng(0)
    X, Y = (rng.standard_normal((1000, n), dtype=np.float32) for n in (5000, 2000))
    return lambda: nl.Ridge().fit(X, Y)


def prepare_rdm() -> Callable[[], object]:
    """Correlation RDM of 1000 stimuli."""
    patterns = label(np.random.default_rng(0).standard_normal((1000, 20_000), dtype=np.float32))
    return lambda: nl.rdm(patterns)


def prepare_inference() -> Callable[[], object]:
    """Bootstrap 12 models and 20 subjects by the whitened correlation."""
    rng = np.random.default_rng(0)
    models = nl.rdm(_label_many(rng.random((12, 92, 30)), "model"), over=["model"])
    subjects = nl.rdm(_label_many(rng.random((20, 92, 30)), "subject"), over=["subject"])
    return lambda: nl.rsa.infer(
        models, subjects, method="whitened-pearson", resample="both", n_bootstraps=1000, n_permutations=0
    )


def _label_many(values: np.ndarray, dim: str) -> xr.DataArray:
    coords = {dim: range(len(values)), "stimulus": [f"im{i}" for i in range(values.shape[1])]}
    return xr.DataArray(values, coords, (dim, "stimulus", "unit"))


JOBS = {
    "ridge": ("Ridge().fit, 1000 stimuli, 5000 features, 2000 neuroids", prepare_ridge),
    "encode": ("encode, 200 stimuli, 1000 features, 20,000 voxels", lambda: prepare_encoding(20_000, Path())),
    "rdm": ("correlation RDM, 1000 stimuli x 20,000 features", prepare_rdm),
    "inference": ("bootstrap, whitened-pearson, 92 stimuli, 1000 samples", prepare_inference),
}


def measure(name: str) -> dict[str, float]:
    """Median wall and CPU seconds of a job in this process."""
    warnings.simplefilter("ignore")  # alphas at the ends of the grid: these voxels are noise
    timing = interleave({name: JOBS[name][1]()}, n_runs=2)[name]
    return {"wall": timing.wall, "cpu": timing.cpu}


def compare_threads(name: str) -> Row:
    """One line: the job on one thread, and on all."""
    cores = os.cpu_count() or 1
    unset = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "")
    one, every = (
        run_apart("benchmarks.threads", name, environment={**unset, "OMP_NUM_THREADS": str(n)})
        for n in (1, cores)
    )
    ratio = every["wall"] / one["wall"]
    return Row(
        f"{JOBS[name][0]}: {cores} threads",
        f"{say_seconds(every['wall'])} (CPU {say_seconds(every['cpu'])})",
        f"one thread: {say_seconds(one['wall'])}",
        f"{ratio:.2f} x its time",
        f"≤ {MOST} x",
        ratio <= MOST,
    )


def main(arguments: list[str]) -> None:
    """Measure all jobs, or print what one takes."""
    if arguments:
        print(json.dumps(measure(arguments[0])))
        return
    save("threads", "One thread and all of them", COMMAND, [compare_threads(name) for name in JOBS])


if __name__ == "__main__":
    main(sys.argv[1:])
