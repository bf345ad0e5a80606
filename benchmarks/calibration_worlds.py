"""Worlds whose truth is known: what `benchmarks.calibration` simulates, and what it tests there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from neurolens.rsa import Weighted, compare_representations, infer

N_FEATURES = 10
OPTIONS = {"n_bootstraps": 150, "n_permutations": 199}

Numbers = dict[str, float]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """One way to draw stimuli, subjects and models, and what is tested there."""

    simulate: Callable[[World, np.random.Generator], Numbers]
    n_stimuli: int
    n_subjects: int
    method: str = "rho-a"

    @property
    def resamplings(self) -> tuple[str, ...]:
        """Rank measures take longer; the default is enough there."""
        return ("dual",) if self.method == "rho-a" else ("stimulus", "both", "dual")

    def describe(self) -> str:
        subjects = f", {self.n_subjects} subjects" if self.n_subjects > 1 else ""
        return f"{self.n_stimuli} stimuli{subjects}{f', {self.method}' if self.method else ''}"


def draw_patterns(world: World, rng: np.random.Generator, *, n: int | None = None) -> Array:
    shape = (world.n_stimuli, N_FEATURES) if n is None else (n, world.n_stimuli, N_FEATURES)
    return rng.standard_normal(shape)


def measure_rdms(patterns: Array, dim: str) -> xr.DataArray:
    """Squared Euclidean RDMs of patterns (dim, stimulus, feature)."""
    squares = np.stack([squareform(pdist(one, "sqeuclidean")) for one in patterns])
    return label_rdms(squares, dim)


def label_rdms(squares: Array, dim: str) -> xr.DataArray:
    ids = np.arange(squares.shape[-1])
    coords = {dim: np.arange(len(squares)), "stimulus": ids, "stimulus_b": ids}
    return xr.DataArray(squares, coords, (dim, "stimulus", "stimulus_b"))


def draw_subjects(world: World, rng: np.random.Generator, shared: Array) -> xr.DataArray:
    """Subjects share patterns; each has some of its own, and noise."""
    own = draw_patterns(world, rng, n=world.n_subjects)
    return measure_rdms(shared + 1.2 * own, "subject")


def permute_cells(models: xr.DataArray, data: xr.DataArray, rng: np.random.Generator) -> float:
    """The test that must not be used: entries of an RDM, not stimuli, change places."""
    model = squareform(models.values[0], checks=False)
    subjects = np.stack([squareform(one, checks=False) for one in data.values])
    ranks = stats.rankdata(np.vstack([model, subjects]), axis=1)
    target = stats.zscore(ranks[1:], axis=1).mean(axis=0)
    null = [target @ rng.permutation(ranks[0]) for _ in range(OPTIONS["n_permutations"])]
    return float((1 + np.sum(null >= target @ ranks[0])) / (1 + len(null)))


def simulate_unrelated(world: World, rng: np.random.Generator) -> Numbers:
    """A model that has nothing to do with the subjects; stimuli and subjects are random."""
    data = draw_subjects(world, rng, draw_patterns(world, rng))
    models = measure_rdms(draw_patterns(world, rng, n=1), "model")
    options = {**OPTIONS, "method": world.method, "seed": int(rng.integers(2**31))}
    subject = infer(models, data, resample="subject", test="t", **{**options, "n_bootstraps": 0})
    flips = infer(models, data, resample="subject", test="sign-flip", **{**options, "n_bootstraps": 0})
    permuted = infer(models, data, resample="subject", **{**options, "n_bootstraps": 0})
    found = {
        "permutation of stimulus labels": permuted.p,
        "t over subjects": subject.p,
        "sign-flip over subjects": flips.p,
    }
    for resample in world.resamplings:
        found[f"t, {resample} bootstrap"] = infer(models, data, resample=resample, test="t", **options).p
    return {name: float(p[0]) for name, p in found.items()} | {
        "permutation of RDM cells": permute_cells(models, data, rng)
    }


def simulate_equal(world: World, rng: np.random.Generator, noise: Sequence[float] = (1.0, 1.0)) -> Numbers:
    """Two models of which each has the shared patterns and noise of its own; stimuli and subjects are random."""
    shared = draw_patterns(world, rng)
    data = draw_subjects(world, rng, shared)
    own = draw_patterns(world, rng, n=2) * np.asarray(noise)[:, None, None]
    models = measure_rdms(shared + own, "model")
    options = {**OPTIONS, "method": world.method, "seed": int(rng.integers(2**31)), "n_permutations": 0}
    found: Numbers = {}
    for resample in ("subject", *world.resamplings):
        result = infer(models, data, resample=resample, **options)
        found[f"difference, {resample}"] = float(result.p_difference[0, 1])
        found[f"low, {resample}"] = float(result.ci_low[0])
        found[f"high, {resample}"] = float(result.ci_high[0])
    found["score"] = float(result.score[0])
    found["permutation"] = float(
        infer(models, data, **{**options, "n_bootstraps": 0, "n_permutations": 199}).p[0]
    )
    return found


def simulate_better(world: World, rng: np.random.Generator) -> Numbers:
    """As `simulate_equal`, but the second model has more noise: what is rejected is false."""
    return simulate_equal(world, rng, (0.8, 1.4))


def simulate_fixed_stimuli(world: World, rng: np.random.Generator) -> Numbers:
    """Stimuli are fixed: each subject has patterns of its own, like one model or like its mirror image.

    The second model is the first with stimuli swapped in pairs, and so are half the subjects, drawn by a coin: the
    two models are equally good for such subjects and these stimuli. A third model is unrelated.
    """
    model = draw_patterns(world, rng)
    swapped = np.arange(world.n_stimuli).reshape(-1, 2)[:, ::-1].ravel()
    sides = np.stack([model, model[swapped]])
    subjects = sides[rng.integers(2, size=world.n_subjects)] + draw_patterns(world, rng, n=world.n_subjects)
    models = measure_rdms(sides, "model")
    other = measure_rdms(draw_patterns(world, rng, n=1), "model")
    options = {"n_bootstraps": 0, "method": world.method, "resample": "subject"}
    pair = infer(models, measure_rdms(subjects, "subject"), n_permutations=0, **options)
    unlike = measure_rdms(draw_patterns(world, rng, n=world.n_subjects), "subject")
    return {
        "paired t": float(pair.p_difference[0, 1]),
        "t": float(infer(other, unlike, test="t", **options).p[0]),
        "sign-flip": float(infer(other, unlike, test="sign-flip", n_permutations=199, **options).p[0]),
    }


def simulate_many(world: World, rng: np.random.Generator) -> Numbers:
    """Eight unrelated models that share half of their patterns: is the smallest corrected p below .05?"""
    data = draw_subjects(world, rng, draw_patterns(world, rng))
    models = measure_rdms(draw_patterns(world, rng) + draw_patterns(world, rng, n=8), "model")
    options = {**OPTIONS, "n_bootstraps": 0, "method": world.method, "seed": int(rng.integers(2**31))}
    result = infer(models, data, **options)
    return {
        "maximum statistic": float(result.p_corrected.min()),
        "Benjamini-Hochberg": float(infer(models, data, correction="bh", **options).p_corrected.min()),
        "no correction": float(result.p.min()),
    }


def simulate_controlled(world: World, rng: np.random.Generator) -> Numbers:
    """Model and subjects share what a control RDM has, and nothing else."""
    control = measure_rdms(draw_patterns(world, rng, n=1), "control")
    own = draw_patterns(world, rng)
    data = draw_subjects(world, rng, own) + control[0].values
    models = measure_rdms(draw_patterns(world, rng, n=1), "model") + control[0].values
    options = {**OPTIONS, "n_bootstraps": 0, "method": world.method, "seed": int(rng.integers(2**31))}
    return {
        "with control": float(infer(models, data, control=control, **options).p[0]),
        "without": float(infer(models, data, **options).p[0]),
    }


def simulate_within(world: World, rng: np.random.Generator) -> Numbers:
    """Model and subjects share two categories, and nothing within them."""
    kind = np.arange(world.n_stimuli) % 2
    apart = 3 * kind[:, None] * np.ones(N_FEATURES)
    data = draw_subjects(world, rng, draw_patterns(world, rng) + apart)
    models = measure_rdms(draw_patterns(world, rng, n=1) + apart, "model")
    data = data.assign_coords(kind=("stimulus", kind))
    options = {**OPTIONS, "n_bootstraps": 0, "method": world.method, "seed": int(rng.integers(2**31))}
    return {
        "within categories": float(infer(models, data, within="kind", **options).p[0]),
        "over all pairs": float(infer(models, data, **options).p[0]),
    }


def simulate_fitted(world: World, rng: np.random.Generator) -> Numbers:
    """A weighted sum of four unrelated RDMs, cross-validated."""
    data = draw_subjects(world, rng, draw_patterns(world, rng))
    models = {"sum": Weighted(measure_rdms(draw_patterns(world, rng, n=4), "component"))}
    options = {"n_bootstraps": 0, "n_permutations": 39, "method": world.method, "n_folds": 2}
    result = infer(models, data, seed=int(rng.integers(2**31)), **options)
    return {"permutation, fitted anew": float(result.p[0])}


def simulate_representations(world: World, rng: np.random.Generator) -> Numbers:
    """Patterns of two systems that have nothing to do with each other."""
    ids = {"stimulus": np.arange(world.n_stimuli)}
    layer, brain = (xr.DataArray(draw_patterns(world, rng), ids, ("stimulus", "unit")) for _ in range(2))
    found = {}
    for method, components in (("cka", None), ("procrustes", 4), ("cca", 4)):
        result = compare_representations(
            layer,
            brain,
            method=method,
            n_components=components,
            n_permutations=39,
            seed=int(rng.integers(2**31)),
        )
        found[f"{method}, permutation"] = float(result.p)
    return found


WORLDS: dict[str, World] = {
    "unrelated-10": World(simulate_unrelated, 10, 5),
    "unrelated-20": World(simulate_unrelated, 20, 10, "pearson"),
    "unrelated-40": World(simulate_unrelated, 40, 20, "pearson"),
    "unrelated-whitened": World(simulate_unrelated, 20, 10, "whitened-pearson"),
    "equal-10": World(simulate_equal, 10, 5),
    "equal-20": World(simulate_equal, 20, 10, "pearson"),
    "equal-40": World(simulate_equal, 40, 20, "pearson"),
    "equal-few-subjects": World(simulate_equal, 40, 5, "pearson"),
    "better-20": World(simulate_better, 20, 10, "pearson"),
    "better-40": World(simulate_better, 40, 20, "pearson"),
    "fixed-20": World(simulate_fixed_stimuli, 20, 10),
    "fixed-40": World(simulate_fixed_stimuli, 40, 20),
    "many-20": World(simulate_many, 20, 10),
    "controlled-20": World(simulate_controlled, 20, 10),
    "controlled-pearson": World(simulate_controlled, 20, 10, "pearson"),
    "within-24": World(simulate_within, 24, 10),
    "fitted-16": World(simulate_fitted, 16, 5, "pearson"),
    "representations-24": World(simulate_representations, 24, 1, ""),
}
