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
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration_worlds import N_FEATURES, OPTIONS, WORLDS
from neurolens.errors import NeurolensWarning

FOLDER = Path(__file__).parents[1] / "build" / "calibration"
PAGE = Path(__file__).parents[1] / "docs" / "calibration.md"
N_SIMULATIONS = 2000
CHUNK = 50

Array = NDArray[np.float64]


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
            "within, where a model is fitted anew for every permutation, and of patterns without RDMs. Where "
            "dissimilarities add up, as here, ranks do not: a rank measure leaves some of the control behind.",
            [
                *tabulate_rejections(["controlled-pearson"], {"with control": EXACT, "without": SHOWN}),
                *tabulate_rejections(["controlled-20"], {"with control": SHOWN, "without": SHOWN})[2:],
                *tabulate_rejections(["within-24"], {"within categories": EXACT, "over all pairs": SHOWN})[
                    2:
                ],
                *tabulate_rejections(["fitted-16"], {"permutation, fitted anew": EXACT})[2:],
                *tabulate_rejections(
                    ["representations-24"],
                    {f"{name}, permutation": EXACT for name in ("cka", "procrustes", "cca")},
                )[2:],
            ],
        ),
    }
    text = [
        "# Calibration of inference on RDMs",
        "",
        f"`make calibrate` simulated {count_simulations()} data sets for each line ({N_FEATURES} features, squared "
        f"Euclidean distances, {OPTIONS['n_bootstraps']} bootstrap samples, {OPTIONS['n_permutations']} permutations) "
        "and writes this page. Two standard errors of a rate of .05 are .01. *Wanted* is what the test must keep; "
        "*shown* "
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
