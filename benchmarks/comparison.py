"""Time of a profile with everything: `python -m benchmarks.comparison`, smaller with `--effort 0.05`.

250 operations, 92 stimuli and 3 regions by RSA, with 1000 permutations and 1000 bootstraps: asked is less than 120 s
of wall-clock time on 2 cores.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import xarray as xr

import neurolens as nl

N_STIMULI, N_OPS, N_SUBJECTS, LIMIT = 92, 250, 4, 120.0


def draw(rng: np.random.Generator, *sizes: int) -> xr.DataArray:
    dims = ("subject", "stimulus", "unit")[-len(sizes) - 1 :] if len(sizes) == 2 else ("stimulus", "unit")
    shape = (*sizes[:-1], N_STIMULI, sizes[-1])
    coords = {"stimulus": [f"image{i}" for i in range(N_STIMULI)]}
    if len(sizes) == 2:
        coords["subject"] = [f"s{i}" for i in range(sizes[0])]
    return xr.DataArray(rng.standard_normal(shape), coords, dims)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--effort", type=float, default=1.0, help="share of 1000 permutations and bootstraps")
    effort = parser.parse_args().effort
    rng = np.random.default_rng(0)
    rdms = nl.rdm({f"op{i}": draw(rng, 40) for i in range(N_OPS)})
    brain = {name: nl.rdm(draw(rng, N_SUBJECTS, 40)) for name in ("V1", "V4", "IT")}
    n = max(1, round(1000 * effort))
    wall, cpu = time.perf_counter(), time.process_time()
    nl.compare(rdms, brain, n_permutations=n, n_bootstraps=n)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{N_OPS} operations, 3 regions, {n} permutations, {n} bootstraps: {wall:.1f} s wall, {cpu:.1f} s CPU"
    )
    if effort == 1:
        print(f"asked: less than {LIMIT:.0f} s wall; {'met' if wall < LIMIT else 'not met'}")


if __name__ == "__main__":
    main()
