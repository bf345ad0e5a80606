"""Do profiles find the operation a region was made from, and nothing where there is nothing?

`python -m benchmarks.calibration_comparison` simulates worlds whose truth is known and writes
docs/calibration_comparison.md. Finished parts are kept in build/calibration_comparison: stop it at any moment and start
it again. `--found N`, `--null N` and `--methods` change what is run; the page shows all that is there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import neurolens as nl
from neurolens.errors import NeurolensWarning

FOLDER = Path(__file__).parents[1] / "build" / "calibration_comparison"
PAGE = Path(__file__).parents[1] / "docs" / "calibration_comparison.md"
METHODS = ("rsa", "ridge", "ersa")
CHUNK = 50
N_STIMULI, N_OPS, N_UNITS, N_NEUROIDS = 40, 12, 20, 30
N_FOLDS = {"found": 5, "null": 3}  # of ridge and ersa; five are the default, three are cheaper
CEILING = 0.5  # correlation of a region's measured with its true patterns, and of RDMs about as much
Array = NDArray[np.float64]
Run = Callable[[str, int], tuple[float, ...]]


def draw_network(rng: np.random.Generator) -> dict[str, xr.DataArray]:
    """Operations in a chain: each keeps some of the one before, as layers do."""
    state = rng.standard_normal((N_STIMULI, N_UNITS))
    arrays = {}
    for i in range(N_OPS):
        fresh = rng.standard_normal((N_STIMULI, N_UNITS))
        state = 0.7 * state @ np.linalg.qr(rng.standard_normal((N_UNITS, N_UNITS)))[0] + 0.7 * fresh
        arrays[f"op{i}"] = label(state, "unit")
    return arrays


def label(values: Array, dim: str) -> xr.DataArray:
    ids = [f"image{i}" for i in range(len(values))]
    return xr.DataArray(values, {"stimulus": ids}, ("stimulus", dim))


def draw_region(rng: np.random.Generator, layer: xr.DataArray | None) -> xr.DataArray:
    """A mixture of a layer with noise, so that a voxel's r with its signal is CEILING; or noise alone."""
    noise = rng.standard_normal((N_STIMULI, N_NEUROIDS))
    if layer is None:
        return label(noise, "neuroid")
    signal = layer.values @ rng.standard_normal((layer.shape[1], N_NEUROIDS))
    signal /= signal.std(axis=0)
    return label(CEILING * signal + np.sqrt(1 - CEILING**2) * noise, "neuroid")


def compare(
    layers: dict[str, xr.DataArray], region: xr.DataArray, method: str, n_folds: int, **effort: int
) -> xr.Dataset:
    model = nl.Ridge(alphas=float(N_UNITS))
    options = {"model": model, "cv": n_folds} if method in ("ridge", "ersa") else {}
    return nl.compare(layers, region, method=method, options=options, progress=False, **effort)


def run_found(method: str, seed: int) -> tuple[float, ...]:
    """Whether the operation that made the region, or its like, has the highest score."""
    rng = np.random.default_rng([1, seed])
    layers = draw_network(rng)
    truth = f"op{rng.integers(N_OPS)}"
    region = draw_region(rng, layers[truth])
    profile = compare(layers, region, method, N_FOLDS["found"], n_permutations=0, n_splits=0)
    winner = str(profile.score.idxmax("op").item())
    alike = nl.compare_rdms(nl.rdm(layers[winner]), nl.rdm(layers[truth]), method="spearman")
    return (float(alike >= 0.99),)


def run_null(method: str, seed: int) -> tuple[float, ...]:
    """Smallest corrected p, held-out score of the best, and naive score of the best, without any relation."""
    rng = np.random.default_rng([2, seed])
    layers = draw_network(rng)
    profile = compare(layers, draw_region(rng, None), method, N_FOLDS["null"], n_permutations=99, n_splits=3)
    best = profile.nl.best
    return float(profile.p_corrected.min()), float(best.score), float(best.score_naive)


WORLDS: dict[str, Run] = {"found": run_found, "null": run_null}


def run_chunk(task: tuple[str, str, int]) -> None:
    """Simulate with seeds of their own, so that a chunk is the same whoever runs it; keep it whole or not at all."""
    world, method, start = task
    path = FOLDER / f"{world}-{method}-{start:05d}.json"
    if path.exists():
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurolensWarning)
        found = [WORLDS[world](method, seed) for seed in range(start, start + CHUNK)]
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(found))
    partial.rename(path)


def read_runs(world: str, method: str) -> Array:
    """Read what was found, array (run, quantity); empty where nothing was run."""
    parts = [json.loads(path.read_text()) for path in sorted(FOLDER.glob(f"{world}-{method}-*.json"))]
    return np.array([row for part in parts for row in part], dtype=np.float64)


def write_page() -> str:
    lines = [
        "# Calibration of profiles",
        "",
        f"Simulated networks of {N_OPS} operations in a chain, {N_STIMULI} stimuli; a region is {N_NEUROIDS} neuroids.",
        f"`ridge` and `ersa` have one alpha; {N_FOLDS['found']} folds in the first table,",
        f"{N_FOLDS['null']} in the second.",
        "Made by `python -m benchmarks.calibration_comparison`.",
        "",
        "## An operation that made a region is found",
        f"Every neuroid is a mixture of one operation's units with noise; its r with its signal is {CEILING}.",
        "Found is the operation itself, or one whose RDM agrees with its RDM by a Spearman correlation of .99 or more.",
        "",
        "| method | runs | found | asked | |",
        "|---|---|---|---|---|",
    ]
    for method in METHODS:
        runs = read_runs("found", method)
        if runs.size:
            lines.append(
                f"| {method} | {len(runs)} | {runs.mean():.1%} | >= 95 % | {judge(runs.mean() >= 0.95)} |"
            )
    lines += [
        "",
        "## Without relation nothing is found, and the best is not better",
        "The family-wise error is how often any operation has a corrected p <= .05 (99 permutations). The held-out",
        "score of the best operation should be 0 within its error; the naive best is the largest score of all,",
        "chosen and scored on the same data.",
        "",
        "| method | runs | family-wise error | asked | | held-out best ± 2 se | naive best ± 2 se |",
        "|---|---|---|---|---|---|---|",
    ]
    for method in METHODS:
        runs = read_runs("null", method)
        if runs.size:
            error = 2 * runs.std(axis=0) / np.sqrt(len(runs))
            mean = runs.mean(axis=0)
            rate = float((runs[:, 0] <= 0.05 + 1e-9).mean())
            lines.append(
                f"| {method} | {len(runs)} | {rate:.3f} | <= .065 | {judge(rate <= 0.065)} "
                f"| {mean[1]:.4f} ± {error[1]:.4f} | {mean[2]:.4f} ± {error[2]:.4f} |"
            )
    return "\n".join([*lines, "", *NOTE, ""])


def judge(holds: bool) -> str:
    return "holds" if holds else "**fails**"


NOTE = (
    "The best operation by `rsa` is chosen on half of the stimuli and scored on the other half. By `ridge` (and `pls`)",
    "it is chosen in each fold, by cross-validation among its training stimuli, and scored on its test stimuli: chosen",
    "on the scores of the other folds, whose models were trained on the test stimuli, its held-out score was .03 here",
    "where it should be 0.",
    "",
    "`ersa` finds the operation less often than is asked. Its p is that of responses permuted before the models are",
    "fitted. Permuting its finished RDMs within test folds gave a family-wise error of .079 in 2000 runs of these",
    "worlds: the folds train on each other's responses, which such a permutation does not repeat.",
    "",
    "Fewer null runs than 2000 mean that the command was stopped before its end: it goes on where it was.",
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--found", type=int, default=200)
    parser.add_argument("--null", type=int, default=2000)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    sizes = {"found": chosen.found, "null": chosen.null}
    tasks = [
        (world, method, start)
        for world, n_runs in sizes.items()
        for start in range(0, n_runs, CHUNK)
        for method in chosen.methods
    ]
    with multiprocessing.get_context("fork").Pool(chosen.processes) as pool:
        for _ in pool.imap_unordered(run_chunk, tasks):
            pass
    PAGE.write_text(write_page())


if __name__ == "__main__":
    main()
