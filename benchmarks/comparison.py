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
from benchmarks.measuring import Row, Timing, read_peak_memory, save

N_STIMULI, N_OPS, N_SUBJECTS, LIMIT = 92, 250, 4, 120.0
COMMAND = "python -m benchmarks.comparison"


def draw(rng: np.random.Generator, *sizes: int) -> xr.DataArray:
    """Patterns without structure: units, or subjects and units."""
    dims = ("subject", "stimulus", "unit")[-len(sizes) - 1 :] if len(sizes) == 2 else ("stimulus", "unit")
    shape = (*sizes[:-1], N_STIMULI, sizes[-1])
    coords = {"stimulus": [f"image{i}" for i in range(N_STIMULI)]}
    if len(sizes) == 2:
        coords["subject"] = [f"s{i}" for i in range(sizes[0])]
    return xr.DataArray(rng.standard_normal(shape), coords, dims)


def main() -> None:
    """Measure one call, and keep its row if it was the whole of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--effort", type=float, default=1.0, help="share of 1000 permutations and bootstraps")
    effort = parser.parse_args().effort
    rng = np.random.default_rng(0)
    rdms = nl.rdm({f"op{i}": draw(rng, 40) for i in range(N_OPS)})
    brain = {name: nl.rdm(draw(rng, N_SUBJECTS, 40)) for name in ("V1", "V4", "IT")}
    n = max(1, round(1000 * effort))
    wall, cpu = time.perf_counter(), time.process_time()
    nl.compare(rdms, brain, n_permutations=n, n_bootstraps=n)
    timing = Timing((time.perf_counter() - wall,), (time.process_time() - cpu,))
    row = Row(
        f"profile of {N_OPS} operations, {N_STIMULI} stimuli, 3 regions of {N_SUBJECTS} subjects by RSA, {n} "
        f"permutations and {n} bootstraps",
        f"{timing}, peak {read_peak_memory() / 1e6:.0f} MB",
        "none does it",
        "",
        f"< {LIMIT:.0f} s wall",
        timing.wall < LIMIT,
    )
    if effort == 1:
        save("comparison", "Comparison with the brain", COMMAND, [row])
    else:
        print(row)


if __name__ == "__main__":
    main()
