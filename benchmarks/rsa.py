"""RDMs and their comparison beside rsatoolbox, scipy and a bare matrix product, on one thread.

`python -m benchmarks.rsa` (about five minutes); `python -m benchmarks.rsa small` runs every case at a tenth of its
size, to see that it runs, and keeps nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from rsatoolbox.data import Dataset
from rsatoolbox.data.noise import cov_from_residuals
from rsatoolbox.rdm import RDMs, calc_rdm, compare
from scipy.spatial.distance import pdist, squareform

import neurolens as nl
from benchmarks.measuring import Row, Timing, interleave, read_peak_memory, run_apart, save
from neurolens.numerics.covariance import estimate_covariance

COMMAND = "OMP_NUM_THREADS=1 python -m benchmarks.rsa"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
MB = 10**6


@dataclass(frozen=True)
class Sizes:
    """How large the cases are."""

    n_stimuli: int = 1000
    n_features: int = 20_000
    n_runs: int = 8
    n_conditions: int = 100
    n_voxels: int = 2000
    n_residuals: int = 800
    n_few: int = 92
    n_operations: int = 300
    n_many: int = 10_000
    n_wide: int = 4000
    n_runs_timed: int = 7


SMALL = Sizes(100, 2000, 4, 20, 200, 80, 20, 20, 500, 400, 2)


def label(values: np.ndarray, *dims: str) -> xr.DataArray:
    """Label patterns with ids of stimuli."""
    ids = [f"im{i}" for i in range(values.shape[dims.index("stimulus")])]
    return xr.DataArray(values, {"stimulus": ids}, dims)


def row(
    task: str, ours: Timing, peer: Timing, name: str, target: float, *, limit: str = "", note: str = ""
) -> Row:
    """Compare by CPU time: other work on the machine does not count."""
    ratio = peer.cpu / ours.cpu
    return Row(
        task, str(ours), f"{name}: {peer}", f"{ratio:.1f} x", f">= {target:g} x", ratio >= target, limit, note
    )


def measure_correlation(sizes: Sizes) -> list[Row]:
    """Beside rsatoolbox and scipy, and beside the bare product of the same numbers."""
    values = np.random.default_rng(0).standard_normal((sizes.n_stimuli, sizes.n_features))
    single = values.astype(np.float32)
    arrays = {"float64": label(values, "stimulus", "unit"), "float32": label(single, "stimulus", "unit")}
    nl.rdm(arrays["float64"][:10])  # everything is imported
    peers = interleave(
        {
            "ours": lambda: nl.rdm(arrays["float64"]),
            "rsatoolbox": lambda: calc_rdm(Dataset(values), method="correlation"),
            "scipy": lambda: squareform(pdist(values, "correlation")),
        },
        n_runs=1,
        n_warmup=0,
    )
    task = f"correlation RDM, {sizes.n_stimuli} stimuli x {sizes.n_features} features"
    rows = [
        row(f"{task}, float64", peers["ours"], peers["rsatoolbox"], "rsatoolbox", 10),
        row(f"{task}, float64", peers["ours"], peers["scipy"], "scipy pdist", 1),
    ]
    for kind, bare in (("float64", values), ("float32", single)):
        times = interleave(
            {
                "ours": lambda kind=kind: nl.rdm(arrays[kind]),
                "product": lambda bare=bare: bare @ bare.T,
                "copy": lambda bare=bare: bare.copy(),
            },
            n_runs=min(5, sizes.n_runs_timed),
        )
        ratio = times["ours"].cpu / times["product"].cpu
        copied = times["copy"].cpu / times["product"].cpu
        met = ratio <= 1.3 if kind == "float64" else None
        rows.append(
            Row(
                f"{task}, {kind}, beside its own product",
                str(times["ours"]),
                f"X @ X.T (symmetric, half the work of a general product): {times['product']}",
                f"{ratio:.2f} x its time",
                "<= 1.3 x" if kind == "float64" else "",
                met,
                limit=f"one copy of the patterns alone {copied:.2f} x; hash, statistics and centring pass over them",
                note="labels, hash of the data, centring and norms included",
            )
        )
    return rows


def measure_crossnobis(sizes: Sizes) -> list[Row]:
    """Over runs, without a noise matrix."""
    shape = (sizes.n_runs, sizes.n_conditions, sizes.n_voxels)
    runs = np.random.default_rng(1).standard_normal(shape)
    array = label(runs, "run", "stimulus", "neuroid")
    stacked, total = np.ascontiguousarray(runs.transpose(1, 0, 2)).reshape(shape[1], -1), runs.sum(axis=0)
    conditions, run = np.arange(float(shape[1])), np.arange(float(shape[0]))
    descriptors = {"c": np.tile(conditions, shape[0]), "r": np.repeat(run, shape[1])}
    dataset = Dataset(runs.reshape(-1, shape[2]), obs_descriptors=descriptors)
    times = interleave(
        {
            "ours": lambda: nl.rdm(array, metric="crossnobis"),
            "peer": lambda: calc_rdm(dataset, "crossnobis", descriptor="c", cv_descriptor="r"),
            "products": lambda: (stacked @ stacked.T, total @ total.T),
        },
        n_runs=sizes.n_runs_timed,
    )
    task = f"crossnobis, {shape[1]} stimuli x {shape[0]} runs x {shape[2]} voxels, no noise matrix"
    limit = f"its two matrix products alone: {times['products']}, {times['peer'].cpu / times['products'].cpu:.0f} x"
    return [row(task, times["ours"], times["peer"], "rsatoolbox", 50, limit=limit)]


def measure_covariance(sizes: Sizes) -> list[Row]:
    """Both shrinkage estimates."""
    residuals = np.random.default_rng(2).standard_normal((sizes.n_residuals, sizes.n_voxels))
    rows = []
    for method, theirs in (("schaefer-strimmer", "shrinkage_diag"), ("ledoit-wolf", "shrinkage_eye")):
        times = interleave(
            {
                "ours": lambda method=method: estimate_covariance(residuals, method),
                "peer": lambda theirs=theirs: cov_from_residuals(residuals, method=theirs),
            },
            n_runs=1,
            n_warmup=0,
        )
        task = f"{method} covariance, {sizes.n_residuals} x {sizes.n_voxels}"
        rows.append(row(task, times["ours"], times["peer"], "rsatoolbox", 10))
    return rows


def draw_rdms(n_rdms: int, n_stimuli: int, dim: str, seed: int) -> xr.DataArray:
    """RDMs without structure."""
    rng = np.random.default_rng(seed)
    squares = np.stack([squareform(rng.random(n_stimuli * (n_stimuli - 1) // 2)) for _ in range(n_rdms)])
    labelled = label(squares, dim, "stimulus", "stimulus_b")
    return labelled.assign_coords({dim: range(n_rdms), "stimulus_b": labelled.stimulus.values})


def vectors(rdms: xr.DataArray) -> RDMs:
    """The same RDMs for rsatoolbox."""
    return RDMs(np.stack([squareform(square) for square in rdms.values]))


def measure_ranks(sizes: Sizes) -> list[Row]:
    """Ten RDMs with ten."""
    left, right = draw_rdms(10, sizes.n_stimuli, "op", 3), draw_rdms(10, sizes.n_stimuli, "subject", 4)
    theirs = vectors(left), vectors(right)
    rows = []
    for method in ("spearman", "rho-a"):
        times = interleave(
            {
                "ours": lambda method=method: nl.compare_rdms(left, right, method=method),
                "peer": lambda method=method: compare(*theirs, method=method),
                "sorting": lambda: [np.argsort(v) for rdms in theirs for v in rdms.dissimilarities],
            },
            n_runs=min(5, sizes.n_runs_timed),
        )
        task = f"{method}, 10 x 10 RDMs of {sizes.n_stimuli} stimuli"
        limit = f"numpy's argsort alone: {times['sorting']}, {times['peer'].cpu / times['sorting'].cpu:.1f} x"
        note = "labels, checks and hashes included"
        rows.append(row(task, times["ours"], times["peer"], "rsatoolbox", 4, limit=limit, note=note))
    return rows


def measure_whitened(sizes: Sizes) -> list[Row]:
    """One pair of RDMs, with a full covariance of stimuli."""
    n = sizes.n_few
    left, right = draw_rdms(1, n, "op", 5), draw_rdms(1, n, "subject", 6)
    half = np.random.default_rng(7).standard_normal((n, 2 * n))
    covariance = half @ half.T / n
    theirs = vectors(left), vectors(right)
    ours = interleave(
        {"ours": lambda: nl.compare_rdms(left, right, method="whitened-cosine", covariance=covariance)},
        n_runs=sizes.n_runs_timed,
    )["ours"]
    peer = interleave(
        {"peer": lambda: compare(*theirs, method="cosine_cov", sigma_k=covariance)}, n_runs=1, n_warmup=0
    )["peer"]
    task = f"whitened cosine, full covariance, {n} stimuli, one pair"
    return [row(task, ours, peer, "rsatoolbox", 1000, note="rsatoolbox once, after ours, not in turn")]


def measure_network(small: bool) -> list[Row]:
    """All operations of a network and three regions in one run, in a process of its own."""
    found = run_apart("benchmarks.rsa", "network", *(["small"] if small else []), environment=ONE_THREAD)
    many = run_apart("benchmarks.rsa", "many", *(["small"] if small else []), environment=ONE_THREAD)
    sizes = SMALL if small else Sizes()
    return [
        Row(
            f"{sizes.n_operations} operations x {sizes.n_stimuli} stimuli x {sizes.n_wide} features, RDMs and "
            "comparison with 3 regions",
            f"{found['seconds']:.3g} s CPU, peak {found['peak'] / MB:.0f} MB",
            "the RDMs alone, float32",
            f"{found['result'] / MB:.0f} MB",
            "stated",
            None,
            note="activations are made as they are read; the peak includes libraries",
        ),
        Row(
            f"{sizes.n_many} stimuli x {sizes.n_wide} features, float32, read in parts",
            f"{many['seconds']:.3g} s CPU, peak {many['peak'] / MB:.0f} MB, {many['before'] / MB:.0f} MB of it before",
            "memory= given to patterns, and the RDM in float64 and float32",
            f"{many['budget'] / MB:.0f} MB + {many['result'] / MB:.0f} MB",
            "<= their sum + 20 %",
            many["peak"] - many["before"] <= 1.2 * (many["budget"] + many["result"]),
            note=f"the patterns are {many['patterns'] / MB:.0f} MB; the peak does not depend on the features",
        ),
    ]


class Network(nl.Activations):
    """Activations of many operations, drawn anew whenever they are read."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def addresses(self) -> tuple[str, ...]:
        """Return all addresses."""
        return tuple(f"layer{i}" for i in range(self.sizes.n_operations))

    def select(self, ops: object) -> Network:
        """Only everything is ever asked for."""
        return self

    def __getitem__(self, address: str) -> xr.DataArray:
        rng = np.random.default_rng(int(address.removeprefix("layer")))
        shape = (self.sizes.n_stimuli, self.sizes.n_wide)
        return label(rng.standard_normal(shape, dtype=np.float32), "stimulus", "unit")


def run_network(sizes: Sizes) -> dict[str, float]:
    """RDMs of all operations, compared with three regions."""
    regions = draw_rdms(3, sizes.n_stimuli, "region", 8)
    start = time.process_time()
    rdms = nl.rdm(Network(sizes))
    nl.compare_rdms(rdms, regions, method="rho-a")
    return {"seconds": time.process_time() - start, "peak": read_peak_memory(), "result": rdms.nbytes}


def run_many(sizes: Sizes) -> dict[str, float]:
    """One RDM of many stimuli, of patterns that are made block by block as they are read."""
    import dask.array as da

    state = da.random.RandomState(0)
    chunks = (max(1, sizes.n_many // 100), sizes.n_wide)
    patterns = state.standard_normal((sizes.n_many, sizes.n_wide), chunks=chunks).astype(np.float32)
    array = label(patterns, "stimulus", "unit")
    budget = patterns.nbytes // 4
    before, start = read_peak_memory(), time.process_time()
    nl.rdm(array, memory=budget)
    square = sizes.n_many**2
    return {
        "seconds": time.process_time() - start,
        "peak": read_peak_memory(),
        "before": before,
        "budget": budget,
        "result": square * 12,
        "patterns": patterns.nbytes,
    }


CASES: tuple[Callable[[Sizes], list[Row]], ...] = (
    measure_correlation,
    measure_crossnobis,
    measure_covariance,
    measure_ranks,
    measure_whitened,
)


def main(*arguments: str) -> None:
    """Measure everything, or one of the cases that need a process of their own."""
    small = "small" in arguments
    sizes = SMALL if small else Sizes()
    for name, case in (("network", run_network), ("many", run_many)):
        if name in arguments:
            print(json.dumps(case(sizes)))
            return
    rows = [found for case in CASES for found in case(sizes)] + measure_network(small)
    if small:
        for found in rows:
            print(found)
    else:
        save("rsa", "RDMs and their comparison", COMMAND, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
