"""How often each test of `neurolens.rsa` rejects what is true, and how often its intervals hold the truth.

`python -m benchmarks.calibration` (or `make calibrate`) simulates worlds whose truth is known and writes
docs/calibration.md. Finished parts are kept in build/calibration: stop it at any moment and start it again.
`--fresh` begins anew, `--simulations N` changes how many a cell has.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from neurolens.errors import NeurolensWarning
from neurolens.rsa import Weighted, compare_representations, infer

FOLDER = Path(__file__).parents[1] / "build" / "calibration"
PAGE = Path(__file__).parents[1] / "docs" / "calibration.md"
N_SIMULATIONS = 2000
CHUNK = 50
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
        return f"{self.n_stimuli} stimuli, {self.n_subjects} subjects, {self.method}"


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


def run_chunk(task: tuple[str, int, int]) -> None:
    """Simulate with seeds of their own, so that a chunk is the same whoever runs it; keep it whole or not at all."""
    name, start, n = task
    path = FOLDER / f"{name}-{start:05d}-{n}.json"
    if path.exists():
        return
    world = WORLDS[name]
    place = list(WORLDS).index(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NeurolensWarning)
        found = [world.simulate(world, np.random.default_rng([place, start + i])) for i in range(n)]
    columns = {key: [round(one[key], 5) for one in found] for key in found[0]}
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(columns))
    partial.rename(path)


def read_world(name: str) -> dict[str, Array]:
    parts = [json.loads(path.read_text()) for path in sorted(FOLDER.glob(f"{name}-[0-9]*.json"))]
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} if parts else {}


def count_simulations() -> int:
    """How many every world has by now."""
    return min(len(next(iter(read_world(name).values()), [])) for name in WORLDS)


EXACT, BOUNDED, SHOWN = "[.03, .07]", "<= .07", "shown"


def judge(rate: float, wanted: str) -> str:
    if wanted == EXACT:
        return "holds" if 0.03 <= rate <= 0.07 else "**fails**"
    if wanted == BOUNDED:
        return "holds" if rate <= 0.07 else "**fails**"
    return "not for this" if rate > 0.07 else ""


def tabulate_rejections(names: Sequence[str], wanted: dict[str, str]) -> list[str]:
    """Rows of one table: how often p <= .05, world by world."""
    lines = ["| data | test | rejected at .05 | wanted | |", "|---|---|---|---|---|"]
    for name in names:
        found = read_world(name)
        for test, want in wanted.items():
            if test in found:
                p = found[test][~np.isnan(found[test])]
                rate = float((p <= 0.05 + 1e-9).mean())
                lines.append(
                    f"| {WORLDS[name].describe()} | {test} | {rate:.3f} | {want} | {judge(rate, want)} |"
                )
    return lines


def tabulate_coverage(names: Sequence[str]) -> list[str]:
    lines = ["| data | interval | holds the expected score | wanted | |", "|---|---|---|---|---|"]
    for name in names:
        found = read_world(name)
        if not found:
            continue
        world, truth = WORLDS[name], found["score"].mean()
        large = world.n_stimuli >= 40 and world.n_subjects >= 20
        for resample in (*world.resamplings[::-1], "subject"):
            covered = (found[f"low, {resample}"] <= truth) & (truth <= found[f"high, {resample}"])
            rate = float(covered.mean())
            want = {"dual": "92-98 %" if large else ">= 92 %", "both": ">= 92 %"}.get(resample, SHOWN)
            holds = 0.92 <= rate <= (0.98 if want == "92-98 %" else 1)
            verdict = (
                ("holds" if holds else "**fails**") if want != SHOWN else ("" if holds else "not for this")
            )
            lines.append(f"| {world.describe()} | {resample} | {100 * rate:.1f} % | {want} | {verdict} |")
    return lines


def write_page() -> None:
    unrelated = {
        "permutation of stimulus labels": EXACT,
        "t, dual bootstrap": BOUNDED,
        "t, both bootstrap": BOUNDED,
        "t, stimulus bootstrap": SHOWN,
        "t over subjects": SHOWN,
        "sign-flip over subjects": SHOWN,
        "permutation of RDM cells": SHOWN,
    }
    differences = {
        "difference, dual": BOUNDED,
        "difference, both": BOUNDED,
        "difference, stimulus": SHOWN,
        "difference, subject": SHOWN,
    }
    power = {**dict.fromkeys(differences, SHOWN), "permutation": SHOWN}
    equal = [name for name in WORLDS if name.startswith("equal")]
    sections = {
        "A model against chance": (
            "The model has nothing to do with the subjects, who share patterns; stimuli and subjects are new in "
            "each simulation. A test over subjects says that these subjects agree with the model on these stimuli, "
            "by luck or not: it does not generalise to other stimuli. The entries of an RDM hang together, so they "
            "cannot be permuted one by one.",
            tabulate_rejections([name for name in WORLDS if name.startswith("unrelated")], unrelated),
        ),
        "Two models that are equally good": (
            "Each model has the shared patterns and noise of its own, so that for these stimuli one is better, and "
            "over stimuli none is. `difference, subject` is the paired t over subjects.",
            tabulate_rejections(equal, differences),
        ),
        "Power: a model that is better, and a model that is related": (
            "Rejections here are right: of equality, where the first model is better (noise .8 against 1.4), and "
            "(`permutation`) of having nothing to do with the subjects.",
            [
                line.replace("not for this", "")
                for line in tabulate_rejections(["better-20", "better-40"], power)
            ],
        ),
        "Intervals": (
            "How often score ± t standard error holds the expected score, which is the mean over all simulations.",
            tabulate_coverage(equal),
        ),
        "Stimuli that are fixed": (
            "Subjects are random, stimuli are not, and each subject has patterns of its own: here the tests over "
            "subjects are exact. Paired t: two models of equal worth for such subjects.",
            tabulate_rejections(
                ["fixed-20", "fixed-40"], {"t": EXACT, "sign-flip": EXACT, "paired t": EXACT}
            ),
        ),
        "Many models": (
            "Eight unrelated models that share half of their patterns: how often the smallest p is below .05.",
            tabulate_rejections(
                ["many-20"],
                {"maximum statistic": EXACT, "Benjamini-Hochberg": BOUNDED, "no correction": SHOWN},
            ),
        ),
        "Control, categories, fitted models, activations": (
            "Permutation tests where model and subjects share a control RDM and nothing else, categories and nothing "
            "within, where a model is fitted anew for every permutation, and of patterns without RDMs.",
            tabulate_rejections(
                ["controlled-20", "controlled-pearson", "within-24", "fitted-16", "representations-24"],
                {
                    "with control": EXACT,
                    "without": SHOWN,
                    "within categories": EXACT,
                    "over all pairs": SHOWN,
                    "permutation, fitted anew": EXACT,
                    "cka, permutation": EXACT,
                    "procrustes, permutation": EXACT,
                    "cca, permutation": EXACT,
                },
            ),
        ),
    }
    text = [
        "# Calibration of inference on RDMs",
        "",
        f"`make calibrate` simulated {count_simulations()} data sets for each line ({N_FEATURES} features, squared Euclidean "
        f"distances, {OPTIONS['n_bootstraps']} bootstrap samples, {OPTIONS['n_permutations']} permutations) and "
        "writes this page. Two standard errors of a rate of .05 are .01. *Wanted* is what the test must keep; *shown* "
        "is a test used for what it does not generalise to, beside those that do.",
        "",
    ]
    for title, (words, lines) in sections.items():
        text += [f"## {title}", "", words, "", *lines, ""]
    PAGE.write_text("\n".join(text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs kept")
    parser.add_argument("--simulations", type=int, default=N_SIMULATIONS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS), choices=list(WORLDS))
    chosen = parser.parse_args()
    if chosen.fresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    n_chunks = -(-chosen.simulations // CHUNK)
    tasks = [
        (name, CHUNK * i, CHUNK) for i in range(n_chunks) for name in chosen.worlds
    ]  # all worlds grow alike
    with multiprocessing.get_context("spawn").Pool(chosen.processes) as pool:
        for done, _ in enumerate(pool.imap(run_chunk, tasks), start=1):
            if done % len(chosen.worlds) == 0:
                print(f"{CHUNK * done // len(chosen.worlds)} of {chosen.simulations} simulations", flush=True)
    write_page()


if __name__ == "__main__":
    main()
