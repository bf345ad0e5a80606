"""Encoding models beside himalaya and scikit-learn: time on one thread, memory for features beyond it.

`python -m benchmarks.encoding` measures and keeps the section; `--small` only shows that every case runs.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported: one thread, as the targets say

import numpy as np
import scipy.linalg
import xarray as xr
import zarr
from himalaya.kernel_ridge import KernelRidgeCV
from himalaya.ridge import RidgeCV
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV as ScikitRidgeCV

import neurolens as nl
from benchmarks.measuring import Row, Timing, interleave, read_peak_memory, run_apart, save, say_seconds
from neurolens.numerics.design import make_design
from neurolens.numerics.ridge import default_alphas

COMMAND = "python -m benchmarks.encoding"


@dataclass(frozen=True)
class Sizes:
    """How large the cases are."""

    n_stimuli: int = 1000
    n_features: int = 5000
    n_neuroids: int = 2000
    n_regions: int = 20
    n_operations: int = 6
    n_permutations: int = 1000
    n_streamed: int = 1_000_000
    n_runs: int = 3


SMALL = Sizes(100, 200, 60, 4, 5, 50, 20_000, 1)


def simulate(sizes: Sizes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features of falling variance, and voxels from noise to well predicted."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(sizes.n_stimuli, sizes.n_features)) * np.geomspace(3, 0.1, sizes.n_features)
    signal = X @ rng.normal(size=(sizes.n_features, sizes.n_neuroids))
    signal *= np.linspace(0, 2, sizes.n_neuroids) / signal.std(axis=0)
    return X.astype("float32"), (signal + rng.normal(size=signal.shape)).astype("float32")


def label(X: NDArray[np.float32], name: str = "unit") -> xr.DataArray:
    ids = [f"image{i:05}" for i in range(len(X))]
    return xr.DataArray(X, {"stimulus": ids}, ("stimulus", name))


def measure_fits(sizes: Sizes) -> list[Row]:
    """Fit one kernel ridge: ours, and what a himalaya user would call."""
    X, Y = simulate(sizes)
    alphas = default_alphas(make_design(X), np.arange(len(X)))
    times = interleave(
        {
            "ours": lambda: nl.Ridge().fit(X, Y),
            "kernel": lambda: KernelRidgeCV(alphas=alphas, cv=5, fit_intercept=True).fit(X, Y),
        },
        n_runs=sizes.n_runs,
    )
    slow = interleave(
        {
            "himalaya": lambda: RidgeCV(alphas=alphas, cv=5, fit_intercept=True).fit(X, Y),
            "scikit-learn": lambda: ScikitRidgeCV(alphas=alphas, cv=5).fit(X, Y[:, -1]),
        },
        n_runs=1,
        n_warmup=0,
    )
    bare = time_algebra(X, Y)
    limit = f"its matrix products and eigendecompositions alone {say_seconds(bare)}"
    least = f"{limit}, {slow['himalaya'].cpu / bare:.0f} x"
    ours, task = (
        times["ours"],
        f"Ridge().fit, {X.shape[0]} stimuli, {X.shape[1]} features, {Y.shape[1]} neuroids",
    )
    return [
        compare(task, ours, times["kernel"], "himalaya KernelRidgeCV", at_most=1.1, limit=limit),
        compare(task, ours, slow["himalaya"], "himalaya RidgeCV", at_least=15, limit=least),
        compare(f"{task} (scikit-learn: one neuroid)", ours, slow["scikit-learn"], "scikit-learn RidgeCV"),
    ]


def measure_regions(sizes: Sizes) -> Row:
    """Encode all regions in one call, and one by one."""
    X, Y = simulate(sizes)
    source = label(X)
    per_region = max(1, sizes.n_neuroids // sizes.n_regions)
    regions = np.repeat([f"r{i:02}" for i in range(sizes.n_regions)], per_region)
    voxels = nl.brain.responses(Y[:, : regions.size], stimulus=source.stimulus.values, region=regions)
    parts = [voxels.isel(neuroid=np.flatnonzero(regions == name)) for name in np.unique(regions)]
    times = interleave(
        {
            "together": lambda: nl.encode(source, voxels, progress=False),
            "apart": lambda: [nl.encode(source, part, progress=False) for part in parts],
        },
        n_runs=1,
        n_warmup=0,
    )
    task = f"encode, {sizes.n_regions} regions of {per_region} neuroids, in one call"
    return compare(task, times["together"], times["apart"], "one call a region", at_least=6)


def measure_permutations(sizes: Sizes) -> list[Row]:
    """Permute held-out responses beside one fit, and state what refits cost."""
    X, Y = simulate(sizes)
    source = label(X)
    voxels = nl.brain.responses(Y, stimulus=source.stimulus.values)
    result = nl.encode(source, voxels, predictions=True, progress=False)
    some = voxels[:, : max(1, sizes.n_neuroids // 20)]
    times = interleave(
        {
            "fit": lambda: nl.Ridge().fit(X, Y),
            "encode": lambda: nl.encode(source, voxels, progress=False),
            "permute": lambda: nl.encoding.permute_responses(result, n_permutations=sizes.n_permutations),
            "bootstrap": lambda: nl.encoding.bootstrap_stimuli(result, n_bootstraps=sizes.n_permutations),
            "encode some": lambda: nl.encode(source, some, progress=False),
            "refit some": lambda: nl.encoding.permute_with_refits(
                source, some, n_permutations=20, progress=False
            ),
        },
        n_runs=1,
        n_warmup=0,  # the encode above has warmed them
    )
    n = sizes.n_permutations
    return [
        compare(
            f"{n} permutations of held-out responses",
            times["permute"],
            times["fit"],
            "one Ridge().fit",
            at_most=3,
        ),
        compare(f"{n} bootstraps of stimuli", times["bootstrap"], times["fit"], "one Ridge().fit"),
        compare("20 permutations with refits", times["refit some"], times["encode some"], "one encode"),
    ]


def measure_operations(sizes: Sizes) -> Row:
    """Encode many operations in one call."""
    rng = np.random.default_rng(0)
    n_stimuli, n_neuroids = sizes.n_stimuli // 2, sizes.n_neuroids * 5 // 2
    source = {
        f"op{i:02}": label(rng.normal(size=(n_stimuli, sizes.n_features // 2)).astype("float32"))
        for i in range(sizes.n_operations)
    }
    ids = source["op00"].stimulus.values
    voxels = nl.brain.responses(rng.normal(size=(n_stimuli, n_neuroids)), stimulus=ids)
    wall, cpu = time.perf_counter(), time.process_time()
    nl.encode(source, voxels)
    timing = Timing((time.perf_counter() - wall,), (time.process_time() - cpu,))
    task = f"encode, {sizes.n_operations} operations x {n_neuroids} neuroids, {n_stimuli} stimuli, one call"
    each = f"{say_seconds(timing.cpu / sizes.n_operations)} an operation"
    return Row(task, str(timing), "none", each, "one call with a progress bar", True)


def measure_memory(sizes: Sizes) -> Row:
    """Encode features that lie in a store and would not fit in memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.zarr"
        write_features(path, sizes)
        found = run_apart(
            "benchmarks.encoding",
            "--stream",
            str(path),
            str(sizes.n_streamed),
            environment={"OMP_NUM_THREADS": "1"},
        )
    gigabytes = found["peak"] / 1e9
    stored = 4 * sizes.n_stimuli * sizes.n_streamed / 1e9
    return Row(
        f"encode, {sizes.n_stimuli} stimuli, {sizes.n_streamed:,} features from a Zarr store",
        f"{gigabytes:.2f} GB at most, {say_seconds(found['wall'])} (CPU {say_seconds(found['cpu'])})",
        f"features alone: {stored:.1f} GB",
        f"{gigabytes / stored:.2f}",
        "< 4 GB",
        gigabytes < 4,
        note="peak of the process, Python and libraries included",
    )


def write_features(path: Path, sizes: Sizes) -> None:
    """Write features block by block, as a store of activations has them."""
    rng = np.random.default_rng(0)
    group = zarr.open_group(path, mode="w", zarr_format=3)
    array = group.create_array(
        "features",
        shape=(sizes.n_stimuli, sizes.n_streamed),
        chunks=(1, sizes.n_streamed),
        dtype="float32",
        dimension_names=("stimulus", "unit"),
    )
    for row in range(sizes.n_stimuli):
        array[row] = rng.standard_normal(sizes.n_streamed, dtype=np.float32)


def stream(path: str) -> None:
    """Encode the stored features, and print what it took."""
    lazy = xr.open_dataset(path, engine="zarr", consolidated=False, chunks=None)["features"]
    lazy = lazy.assign_coords(stimulus=[f"image{i:05}" for i in range(lazy.sizes["stimulus"])])
    rng = np.random.default_rng(1)
    voxels = nl.brain.responses(rng.normal(size=(lazy.sizes["stimulus"], 100)), stimulus=lazy.stimulus.values)
    wall, cpu = time.perf_counter(), time.process_time()
    nl.encode(lazy, voxels, progress=False)
    answer = {
        "peak": read_peak_memory(),
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
    }
    print(json.dumps(answer))


def compare(
    task: str,
    ours: Timing,
    peer: Timing,
    name: str,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    limit: str = "",
) -> Row:
    """Write a row of CPU times: `at_most` bounds ours / peer, `at_least` bounds peer / ours."""
    if at_least is not None:
        ratio = peer.cpu / ours.cpu
        return Row(
            task,
            str(ours),
            f"{name}: {peer}",
            f"{ratio:.1f} x faster",
            f"≥ {at_least:g} x",
            ratio >= at_least,
            limit,
        )
    ratio = ours.cpu / peer.cpu
    target = "" if at_most is None else f"≤ {at_most:g} x"
    met = None if at_most is None else ratio <= at_most
    return Row(task, str(ours), f"{name}: {peer}", f"{ratio:.2f} x", target, met, limit)


def time_algebra(X: NDArray[np.float32], Y: NDArray[np.float32]) -> float:
    """Time the matrix products and eigendecompositions alone that a solution with these folds and alphas needs."""
    n, inner = len(X), len(X) * 4 // 5
    K = X @ X.T

    def products() -> Iterator[NDArray[np.float32]]:
        yield X @ X.T
        for _ in range(5):
            yield scipy.linalg.eigh(K[:inner, :inner], driver="evd", check_finite=False)[1]
            yield K[:inner, :inner] @ Y[:inner]
            for _ in range(10):
                yield K[inner:, :inner] @ Y[:inner]
        yield scipy.linalg.eigh(K, driver="evd", check_finite=False)[1]
        yield K @ Y
        yield X.T @ Y[:n]

    return interleave({"products": lambda: [part[0, 0] for part in products()]}, n_runs=3)["products"].cpu


def main(arguments: list[str]) -> None:
    warnings.filterwarnings("ignore", message=".*smallest or the largest alpha")
    if arguments[:1] == ["--stream"]:
        stream(arguments[1])
        return
    small = "--small" in arguments
    sizes = SMALL if small else Sizes()
    rows = [
        *measure_fits(sizes),
        measure_regions(sizes),
        *measure_permutations(sizes),
        measure_operations(sizes),
        measure_memory(sizes),
    ]
    if small:
        for row in rows:
            print(row)
        return
    save("encoding", "Encoding models", COMMAND, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
