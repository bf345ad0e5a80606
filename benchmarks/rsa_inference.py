"""Inference on RDMs beside rsatoolbox: bootstrap with ceilings, searchlight.

`python -m benchmarks.rsa_inference [--quick]`. A peer that needs minutes runs on few samples and is scaled, marked so.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable

import numpy as np
import xarray as xr
from scipy.spatial.distance import squareform

from benchmarks.measuring import Row, Timing, interleave, save, say_seconds
from neurolens.rsa import infer, searchlight
from neurolens.rsa import rdm as nl_rdm

N_STIMULI, N_SUBJECTS, N_MODELS, N_SAMPLES = 92, 20, 12, 1000
PEER_NAMES = {
    "pearson": "corr",
    "rho-a": "rho-a",
    "whitened-pearson": "corr_cov",
    "whitened-cosine": "cosine_cov",
}
TARGETS = {"pearson": 50, "rho-a": 50, "whitened-pearson": 50, "whitened-cosine": 50}


def draw_rdms() -> tuple[np.ndarray, np.ndarray]:
    """Dissimilarities of models and of subjects that share some of them."""
    rng = np.random.default_rng(0)
    n_pairs = N_STIMULI * (N_STIMULI - 1) // 2
    truth = rng.random(n_pairs)
    return truth + rng.random((N_MODELS, n_pairs)), truth + rng.random((N_SUBJECTS, n_pairs))


def label(vectors: np.ndarray, dim: str) -> xr.DataArray:
    ids = [f"im{i}" for i in range(N_STIMULI)]
    squares = np.stack([squareform(vector) for vector in vectors])
    coords = {dim: range(len(vectors)), "stimulus": ids, "stimulus_b": ids}
    return xr.DataArray(squares, coords, (dim, "stimulus", "stimulus_b"))


def run_silently(case: Callable[[], object]) -> Callable[[], object]:
    """The peer writes progress bars whatever it is asked."""

    def silent() -> object:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            return case()

    return silent


def measure_bootstrap(method: str, n_peer: int, n_samples: int) -> Row:
    from rsatoolbox import inference, model, rdm

    models, subjects = draw_rdms()
    ours_models, ours_subjects = label(models, "model"), label(subjects, "subject")
    peer_models = [model.ModelFixed(str(i), one) for i, one in enumerate(models)]
    peer_data = rdm.RDMs(subjects)

    def ours() -> object:
        return infer(
            ours_models,
            ours_subjects,
            method=method,
            resample="both",
            n_bootstraps=n_samples,
            n_permutations=0,
        )

    def peer() -> object:
        return inference.eval_bootstrap(peer_models, peer_data, method=PEER_NAMES[method], N=n_peer)

    timings = interleave({"ours": ours, "peer": run_silently(peer)}, n_runs=1)
    scale = n_samples / n_peer
    ratio = scale * timings["peer"].cpu / timings["ours"].cpu
    return Row(
        task=f"bootstrap over stimuli and subjects, {method}, {n_samples} samples with ceilings",
        ours=str(timings["ours"]),
        peer=f"rsatoolbox {say_scaled(timings['peer'], scale)}",
        ratio=f"{ratio:.0f} x",
        target=f">= {TARGETS[method]} x",
        met=ratio >= TARGETS[method],
        note=f"{N_STIMULI} stimuli, {N_SUBJECTS} subjects, {N_MODELS} models; the peer ran {n_peer} samples, scaled",
    )


def measure_searchlight() -> Row:
    """RDMs of every neighbourhood of a volume, and their similarity with one model."""
    from rsatoolbox.util import searchlight as peer_searchlight

    rng = np.random.default_rng(0)
    shape, n_stimuli, radius = (12, 12, 12), 20, 2.5
    grid = np.indices(shape).reshape(3, -1)
    ids = np.arange(n_stimuli)
    places = {name: ("neuroid", axis) for name, axis in zip("xyz", grid, strict=True)}
    volume = xr.DataArray(
        rng.random((n_stimuli, grid.shape[1])), {"stimulus": ids, **places}, ("stimulus", "neuroid")
    )
    model = nl_rdm(xr.DataArray(rng.random((n_stimuli, 9)), {"stimulus": ids}, ("stimulus", "unit")))

    def peer() -> object:
        centers, neighbours = peer_searchlight.get_volume_searchlight(np.ones(shape), radius, 0.3, True)
        return peer_searchlight.get_searchlight_RDMs(volume.values, centers, neighbours, ids, verbose=False)

    timings = interleave(
        {
            "ours": lambda: searchlight(volume, model, radius=radius, method="pearson", min_share=0),
            "peer": run_silently(peer),
        },
        n_runs=2,
    )
    ratio = timings["peer"].cpu / timings["ours"].cpu
    return Row(
        task=f"searchlight, {grid.shape[1]} centres, {n_stimuli} stimuli, radius {radius}",
        ours=f"{timings['ours']}, neighbours, RDMs and their comparison",
        peer=f"rsatoolbox {timings['peer']}, neighbours and RDMs, nothing compared",
        ratio=f"{ratio:.0f} x",
        target=">= 10 x",
        met=ratio >= 10,
    )


def say_scaled(timing: Timing, scale: float) -> str:
    return f"{say_seconds(timing.wall * scale)} (CPU {say_seconds(timing.cpu * scale)}), scaled"


def main(quick: bool) -> None:
    n_samples = 200 if quick else N_SAMPLES
    n_peers = {"pearson": 40, "rho-a": 20, "whitened-pearson": 5, "whitened-cosine": 5}
    rows = [measure_bootstrap(name, n_peers[name], n_samples) for name in PEER_NAMES]
    rows.append(measure_searchlight())
    if quick:
        for row in rows:
            print(row.task, row.ours, row.peer, row.ratio)
    else:
        save("rsa_inference", "RSA: inference", "python -m benchmarks.rsa_inference", rows)


if __name__ == "__main__":
    main("--quick" in sys.argv)
