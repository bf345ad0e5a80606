"""Do profiles find the operation a region was made from, and nothing where there is nothing?

`python -m benchmarks.calibration_comparison` simulates worlds whose truth is known and writes
docs/calibration_comparison.md. `--found N` and `--null N` change how many runs there are.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import neurolens as nl
from neurolens.errors import NeurolensWarning

PAGE = Path(__file__).parents[1] / "docs" / "calibration_comparison.md"
N_STIMULI, N_OPS, N_UNITS, N_NEUROIDS = 40, 12, 20, 30
CEILING = 0.5  # correlation of a region's measured with its true patterns, and of RDMs about as much
Array = NDArray[np.float64]


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
    layers: dict[str, xr.DataArray], region: xr.DataArray, method: str, n_permutations: int
) -> xr.Dataset:
    options = {"model": nl.Ridge(alphas=float(N_UNITS))} if method in ("ridge", "ersa") else {}
    return nl.compare(
        layers, region, method=method, options=options, n_permutations=n_permutations, n_splits=3, progress=False
    )  # fmt: skip


def run_found(method: str, seed: int) -> bool:
    """Whether the operation that made the region, or its like, has the highest score."""
    rng = np.random.default_rng([1, seed])
    layers = draw_network(rng)
    truth = f"op{rng.integers(N_OPS)}"
    profile = compare(layers, draw_region(rng, layers[truth]), method, 0)
    winner = str(profile.score.idxmax("op").item())
    if winner == truth:
        return True
    alike = nl.compare_rdms(nl.rdm(layers[winner]), nl.rdm(layers[truth]), method="spearman")
    return bool(alike >= 0.99)


def run_null(method: str, seed: int) -> tuple[float, float, float]:
    """Smallest corrected p, held-out score of the best, and naive score of the best, without any relation."""
    rng = np.random.default_rng([2, seed])
    profile = compare(draw_network(rng), draw_region(rng, None), method, 99)
    best = profile.nl.best
    return float(profile.p_corrected.min()), float(best.score), float(best.score_naive)


def write_page(found: dict[str, list[bool]], null: dict[str, Array]) -> str:
    lines = [
        "# Calibration of profiles",
        "",
        f"Simulated networks of {N_OPS} operations in a chain, {N_STIMULI} stimuli; a region is {N_NEUROIDS} neuroids.",
        "Made by `python -m benchmarks.calibration_comparison`.",
        "",
        "## An operation that made a region is found",
        f"Every neuroid is a mixture of one operation's units with noise; its r with its signal is {CEILING}.",
        "",
        "| method | runs | found | asked |",
        "|---|---|---|---|",
    ]
    lines += [f"| {name} | {len(runs)} | {np.mean(runs):.1%} | >= 95 % |" for name, runs in found.items()]
    lines += [
        "",
        "## Without relation nothing is found, and the best is not better",
        "The family-wise error is how often any operation has a corrected p <= .05. The held-out score of the best",
        "operation should be 0 within its error; the largest score of all is chosen and scored on the same data.",
        "",
        "| method | runs | family-wise error | asked | held-out best ± 2 se | naive best ± 2 se |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in null.items():
        error = 2 * runs.std(axis=0) / np.sqrt(len(runs))
        mean = runs.mean(axis=0)
        rate = (runs[:, 0] <= 0.05).mean()
        lines.append(
            f"| {name} | {len(runs)} | {rate:.3f} | <= .065 "
            f"| {mean[1]:.4f} ± {error[1]:.4f} | {mean[2]:.4f} ± {error[2]:.4f} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--found", type=int, default=200)
    parser.add_argument("--null", type=int, default=2000)
    parser.add_argument("--methods", nargs="+", default=["rsa", "ridge"])
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", NeurolensWarning)
    found = {name: [run_found(name, seed) for seed in range(chosen.found)] for name in chosen.methods}
    null = {name: np.array([run_null(name, seed) for seed in range(chosen.null)]) for name in chosen.methods}
    PAGE.write_text(write_page(found, null))


if __name__ == "__main__":
    main()
