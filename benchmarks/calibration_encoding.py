"""How often each test of `neurolens.encoding` finds something in noise.

`python -m benchmarks.calibration_encoding` draws features and responses that have nothing to do with each other,
and writes docs/calibration_encoding.md (about ten minutes on two processes). `--draws N` changes how many.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported: processes share the cores

import numpy as np
import xarray as xr

import neurolens as nl
from neurolens.errors import NeurolensWarning

PAGE = Path(__file__).parents[1] / "docs" / "calibration_encoding.md"
N_DRAWS = 30
N_NEUROIDS = 100
N_PERMUTATIONS = 199
LEVEL = 0.05
BAND = (0.03, 0.07)

HEAD = """# Calibration of encoding tests

`python -m benchmarks.calibration_encoding` draws features and responses that have nothing to do with each other and
counts how often a test says p <= .05. Every line pools {draws} draws of features, each with {neuroids} independent
neuroids (regions: 20 of 5 neuroids with a common signal; subjects: 50 tests a draw); the standard error is over draws.
Features have variances from a log-normal distribution.

A test is calibrated where false positives lie within [.03, .07]. Bootstraps promise only to stay below .07.

- **permutation**: `permute_responses`. Exact for one split into training and test. In K-fold cross-validation it
  widens the null by `sqrt(1 + pair_reuse)`; folds are not quite alike, so it is a little conservative.
- **the same, not widened**: what permuting held-out responses of K folds gives without that. Shown since it is
  common, and wrong.
- **bootstrap**: `bootstrap_stimuli`, p against 0.
- **refits**: `permute_with_refits`, exact for any model, score and folds.
- **sign flips**: `flip_signs` over subjects, of the median over 20 neuroids of each.

| test | model | folds | stimuli x features | false positives at .05 | standard error | |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class World:
    """Noise of one shape, and the model that looks for something in it."""

    model: Any
    cv: int | str = 5
    n_stimuli: int = 100
    n_features: int = 300

    @property
    def folds(self) -> str:
        return "one split" if self.cv == "side" else str(self.cv)


Test = Callable[[World, int], dict[str, float]]


def draw(world: World, seed: int, n_neuroids: int, common: int = 0) -> tuple[xr.DataArray, xr.DataArray]:
    """Draw features and responses; `common` neuroids after each other share half of their variance."""
    rng = np.random.default_rng(seed)
    n = world.n_stimuli
    ids = [f"image{i:03}" for i in range(n)]
    X = rng.normal(size=(n, world.n_features)) * np.exp(rng.normal(size=world.n_features))
    Y = rng.normal(size=(n, n_neuroids))
    coords = {"stimulus": ids, "side": ("stimulus", np.where(np.arange(n) < 0.6 * n, "train", "test"))}
    region = None
    if common:
        Y += np.repeat(rng.normal(size=(n, n_neuroids // common)), common, axis=1)
        region = [f"r{i:02}" for i in np.arange(n_neuroids) // common]
    source = xr.DataArray(X, {"stimulus": ids}, ("stimulus", "unit"))
    return source, nl.brain.responses(Y, stimulus=coords, region=region)


def share(p: xr.DataArray) -> float:
    """Share of tests that reject."""
    return float((p <= LEVEL).mean())


def hold_out(world: World, seed: int) -> dict[str, float]:
    source, voxels = draw(world, seed, N_NEUROIDS)
    result = nl.encode(source, voxels, model=world.model, cv=world.cv, predictions=True, progress=False)
    found = {
        "permutation": share(
            nl.encoding.permute_responses(result, n_permutations=N_PERMUTATIONS, seed=seed).p
        ),
        "bootstrap": share(nl.encoding.bootstrap_stimuli(result, n_bootstraps=N_PERMUTATIONS, seed=seed).p),
    }
    if result.attrs["pair_reuse"] > 0:
        raw = result.assign_attrs(pair_reuse=0.0)
        test = nl.encoding.permute_responses(raw, n_permutations=N_PERMUTATIONS, seed=seed)
        found["permutation, not widened"] = share(test.p)
    return found


def hold_out_regions(world: World, seed: int) -> dict[str, float]:
    source, voxels = draw(world, seed, N_NEUROIDS, common=5)
    result = nl.encode(source, voxels, model=world.model, cv=world.cv, predictions=True, progress=False)
    test = nl.encoding.permute_responses(result, by="region", n_permutations=N_PERMUTATIONS, seed=seed)
    return {"permutation, regions": share(test.p)}


def refit(world: World, seed: int) -> dict[str, float]:
    source, voxels = draw(world, seed, N_NEUROIDS)
    test = nl.encoding.permute_with_refits(
        source, voxels, model=world.model, cv=world.cv, n_permutations=39, seed=seed, progress=False
    )
    return {"refits": share(test.p)}


def flip(world: World, seed: int) -> dict[str, float]:
    """Eight subjects of 20 neuroids; every test has subjects of its own."""
    rejected = []
    source, voxels = draw(world, seed, 50 * 8 * 20)
    scores = nl.encode(source, voxels, model=world.model, cv=world.cv, progress=False).score.mean("fold")
    for values in scores.values.reshape(50, 8, 20):
        summary = xr.DataArray(np.median(values, axis=1), dims="subject")
        rejected.append(float(nl.encoding.flip_signs(summary).p) <= LEVEL)
    return {"sign flips": float(np.mean(rejected))}


RIDGE, PRIMAL = nl.Ridge(), nl.Ridge(standardize=True)
CELLS: list[tuple[Test, World]] = [
    (hold_out, World(RIDGE)),
    (hold_out, World(RIDGE, cv=10)),
    (hold_out, World(RIDGE, cv=2)),
    (hold_out, World(RIDGE, n_features=20)),
    (hold_out, World(PRIMAL, n_features=20)),
    (hold_out, World(nl.Ridge(1e3))),
    (hold_out, World(nl.encoding.Linear(), n_features=10)),
    (hold_out, World(nl.encoding.PLS(3))),
    (hold_out, World(RIDGE, cv="side")),
    (hold_out, World(nl.encoding.PLS(3), cv="side")),
    (hold_out_regions, World(RIDGE)),
    (hold_out_regions, World(RIDGE, cv="side")),
    (refit, World(nl.Ridge(1e3), n_stimuli=60)),
    (refit, World(RIDGE, n_stimuli=60, n_features=20)),
    (refit, World(nl.encoding.PLS(3), n_stimuli=60, n_features=20)),
    (flip, World(nl.Ridge(1e3))),
]


def simulate(draws: int) -> Iterator[str]:
    """Yield the lines of the table."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for test, world in CELLS:
            found = pool.map(partial(run, test, world), range(draws), chunksize=1)
            for name in found[0]:
                line = describe(name, world, np.array([one[name] for one in found]))
                print(line, flush=True)
                yield line


def run(test: Test, world: World, seed: int) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurolensWarning)
        return test(world, seed)


def describe(name: str, world: World, rates: np.ndarray) -> str:
    rate, error = rates.mean(), rates.std(ddof=1) / np.sqrt(rates.size)
    model = repr(world.model)
    shape = f"{world.n_stimuli} x {world.n_features}"
    verdict = (
        "calibrated"
        if BAND[0] <= rate <= BAND[1]
        else "**conservative**"
        if rate < BAND[0]
        else "**too many**"
    )
    return f"| {name} | `{model}` | {world.folds} | {shape} | {rate:.3f} | {error:.3f} | {verdict} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=N_DRAWS)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    lines = list(simulate(options.draws))
    head = HEAD.format(draws=options.draws, neuroids=N_NEUROIDS)
    options.page.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
