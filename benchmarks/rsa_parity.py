"""Scores and ceilings of real RDMs beside rsatoolbox's: `python -m benchmarks.rsa_parity` writes docs/rsa_parity.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from rsatoolbox import inference, rdm
from scipy.spatial.distance import squareform

import neurolens as nl

PAGE = Path(__file__).parents[1] / "docs" / "rsa_parity.md"
PEER_NAMES = {
    "pearson": "corr",
    "cosine": "cosine",
    "spearman": "spearman",
    "rho-a": "rho-a",
    "kendall-tau-a": "tau-a",
    "kendall-tau-b": "tau-b",
    "whitened-pearson": "corr_cov",
    "whitened-cosine": "cosine_cov",
}
# how the pools differ where ceilings do: the definitions, not the numbers
DIFFERENT_POOLS = {
    "spearman": "ours pools z-scored ranks, theirs ranks: the same but for ties",
    "whitened-pearson": "ours pools RDMs of equal whitened length, theirs z-scored ones",
    "whitened-cosine": "ours pools RDMs of equal whitened length, theirs of equal plain length",
}


def read_rdms() -> tuple[dict[str, xr.DataArray], xr.DataArray]:
    """Models (monkey IT, mean judgement, animacy, category), and the four subjects with two sessions each."""
    brain = nl.datasets.fetch("kriegeskorte92").brain
    human = brain["human_IT"]["rdm"]
    models = {
        "monkey IT": brain["monkey_IT"]["rdm"],
        "judgements": brain["judgements"]["rdm"].mean("subject"),
    }
    for name in ("animate", "category"):
        label = human[name].values
        apart = (label[:, None] != label).astype(float)
        models[name] = models["monkey IT"].copy(data=apart)
    return models, human


def compare(method: str) -> dict[str, tuple[float, float]]:
    """Ours and theirs: each model's score, and both ceilings."""
    models, human = read_rdms()
    result = nl.rsa.infer(models, human, method=method, n_bootstraps=0, n_permutations=0)
    subjects = rdm.RDMs(np.stack([squareform(one, checks=False) for one in human.mean("session").values]))
    theirs = {
        name: float(
            rdm.compare(
                rdm.RDMs(squareform(one.values, checks=False)[None]), subjects, PEER_NAMES[method]
            ).mean()
        )
        for name, one in models.items()
    }
    low, high = inference.boot_noise_ceiling(subjects, PEER_NAMES[method])
    ours = {name: float(result.score.sel(model=name)) for name in models}
    return {name: (ours[name], theirs[name]) for name in models} | {
        "lower ceiling": (float(result.ceiling_low), float(low)),
        "upper ceiling": (float(result.ceiling_high), float(high)),
    }


def main() -> None:
    lines = [
        "# RDMs of Kriegeskorte et al. (2008) beside rsatoolbox",
        "",
        "The four subjects' human IT RDMs (sessions averaged, 92 stimuli) against four models; score = mean over "
        "subjects. `python -m benchmarks.rsa_parity` makes this page.",
        "",
        "| measure | what | neurolens | rsatoolbox | difference |",
        "|---|---|---|---|---|",
    ]
    for method in PEER_NAMES:
        for what, (ours, theirs) in compare(method).items():
            lines.append(f"| {method} | {what} | {ours:.7f} | {theirs:.7f} | {abs(ours - theirs):.1e} |")
    lines += ["", "Where ceilings differ, definitions do:", ""]
    lines += [f"- {method}: {why}." for method, why in DIFFERENT_POOLS.items()]
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
