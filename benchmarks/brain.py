"""Brain data: reliability of trials that don't fit into memory, and beside plain code where they do."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from benchmarks.measuring import Row, interleave, read_peak_memory, run_apart, save
from neurolens import brain

SIZES = (3, 10_000, 50_000)  # repetitions, stimuli, voxels: 6 GB in float32
MEMORY = "1 GB"
ROWS = 250  # stimuli in a chunk of the file


def main(scale: int = 1) -> None:
    """Measure the section; `scale` divides the sizes, to try it out."""
    rows = [*measure_large(tuple(max(size // scale, 3) for size in SIZES)), *measure_small(scale)]
    if scale == 1:
        save("brain", "Brain data", "python -m benchmarks.brain", rows)
    else:
        for row in rows:
            print(row)


def measure_large(sizes: tuple[int, ...]) -> list[Row]:
    """Ceiling, split-half reliability and mean of trials in a file, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="neurolens-brain-") as folder:
        path = Path(folder) / "trials.zarr"
        n_bytes = write_trials(path, sizes)
        found, base = (run_apart("benchmarks.brain", way, str(path)) for way in ("blocks", "nothing"))
    peak = found["peak"] - base["peak"]
    task = f"ceiling, split-half and mean of {sizes[1]:,} x {sizes[2]:,} voxels x {sizes[0]} repetitions"
    return [
        Row(
            task=f"{task}: peak memory",
            ours=f"{peak / 1e9:.2f} GB",
            peer=f"{n_bytes / 1e9:.1f} GB (the array alone, float32)",
            ratio=f"{n_bytes / peak:.1f} x",
            target="at most 2 GB",
            met=peak <= 2e9,
            note=f"memory={MEMORY!r}; three passes over a Zarr file, the mean into another. CPU "
            f"{found['cpu']:.0f} s, wall {found['wall']:.0f} s. Above importing: {base['peak'] / 1e9:.2f} GB.",
        )
    ]


def measure_small(scale: int) -> list[Row]:
    """All splits from one pass over the trials, beside a loop over splits."""
    rng = np.random.default_rng(0)
    n_stimuli = max(1000 // scale, 20)
    trials = rng.normal(size=(10, n_stimuli, 1000)).astype("float32")
    data = brain.responses(trials, stimulus=range(n_stimuli))
    times = interleave(
        {"ours": lambda: brain.split_half(data), "loop": lambda: loop_halves(trials)}, n_runs=5
    )
    return [
        Row(
            task=f"split-half reliability, 100 splits of 10 x {n_stimuli} x 1000 trials",
            ours=str(times["ours"]),
            peer=f"{times['loop']} (a loop over splits, numpy)",
            ratio=f"{times['loop'].cpu / times['ours'].cpu:.1f} x",
            target="",
            met=None,
        )
    ]


def loop_halves(trials: np.ndarray) -> np.ndarray:
    """Split-half reliability as it is usually written."""
    rng = np.random.default_rng(0)
    total = np.zeros(trials.shape[2])
    for _ in range(100):
        order = rng.permutation(len(trials))
        half = len(trials) // 2
        a, b = (trials[part].mean(axis=0) for part in (order[:half], order[half : 2 * half]))
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        total += (a * b).sum(axis=0) / np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    r = total / 100
    return 2 * r / (1 + r)


def write_trials(path: Path, sizes: tuple[int, ...]) -> int:
    """Write trials with a signal, block by block, as a laboratory's file may hold them; return their bytes."""
    n_repetitions, n_stimuli, n_voxels = sizes
    rng = np.random.default_rng(0)
    coords = xr.Dataset(coords={"stimulus": np.arange(n_stimuli), "neuroid": np.arange(n_voxels)})
    coords.to_zarr(path, consolidated=False)
    array = zarr.open_group(path, mode="r+").create_array(
        "responses",
        shape=sizes,
        dtype="float32",
        chunks=(n_repetitions, min(ROWS, n_stimuli), n_voxels),
        compressors=None,
        dimension_names=["repetition", "stimulus", "neuroid"],
    )
    for start in range(0, n_stimuli, ROWS):
        stop = min(start + ROWS, n_stimuli)
        signal = rng.standard_normal((stop - start, n_voxels), dtype="float32")
        noise = rng.standard_normal((n_repetitions, stop - start, n_voxels), dtype="float32")
        array[:, start:stop] = signal + noise
    return int(np.prod(sizes)) * 4


def work(way: str, path: Path) -> dict[str, float]:
    """Do the task one way, and say what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    data = xr.open_zarr(path, chunks=None, consolidated=False)["responses"]
    if way == "blocks":
        ceiling = brain.noise_ceiling(data, memory=MEMORY)
        halves = brain.split_half(data, memory=MEMORY)
        mean = brain.average_repetitions(data, store=path.parent / "mean.zarr", memory=MEMORY)
        check = float(ceiling.mean()), float(halves.mean())
        assert mean.sizes == {"stimulus": data.sizes["stimulus"], "neuroid": data.sizes["neuroid"]}
        assert abs(check[0] - 0.75) < 0.02  # signal and noise of equal variance, three trials
        assert abs(check[1] - 0.75) < 0.02
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak": float(read_peak_memory()),
    }


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(work(sys.argv[1], Path(sys.argv[2]))))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
