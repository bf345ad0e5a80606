"""The pictures of the demonstration."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from neurolens import plot
from neurolens.demo.analysis import Findings, average_rdm, find_best
from neurolens.demo.settings import TRAINED, UNTRAINED
from neurolens.schema import OP, REGION, SUBJECT
from neurolens.tracing import Trace

DPI = 150


def draw_profiles(findings: Findings, folder: Path) -> list[Path]:
    """Draw a profile a region: trained against untrained, with the ceiling."""
    paths = []
    for region, words in findings.regions.items():
        ax = plot.profile(
            findings.profiles[TRAINED],
            control=findings.profiles[UNTRAINED],
            control_label="untrained twin",
            region=region,
        )
        ax.set_title(f"EfficientNet-Lite0 · {words}", loc="left", pad=24, fontsize=11)
        paths.append(_save(ax, folder / f"profile_{region}.png"))
    return paths


def draw_rdms(findings: Findings, path: Path) -> Path:
    """Draw the best operation's RDM, the same operation untrained, and the brain's, side by side."""
    best = find_best(findings, findings.focus)[0]
    panels = {f"{name}\n{best}": findings.rdms[name].sel({OP: best}) for name in (UNTRAINED, TRAINED)}
    for region, words in findings.regions.items():
        n_subjects = findings.dataset.brain[region].to_dataset().sizes.get(SUBJECT, 0)
        title = f"{words}\nmean of {n_subjects} subjects" if n_subjects else words
        panels[title] = average_rdm(findings.dataset, region)
    return _save(plot.rdms(panels, by="category")[0], path)


def draw_graph(trace: Trace, findings: Findings, folder: Path) -> list[Path]:
    """Draw the network's graph painted with scores: every operation as SVG, one node a block as PNG."""
    scores = findings.profiles[TRAINED]["score"].sel({REGION: findings.focus})
    color = dict(zip(scores[OP].values.tolist(), scores.values.tolist(), strict=True))
    label = f"Spearman's ρ with {findings.regions[findings.focus]}"
    every, folded = (folder / f"graph_{findings.focus}.{suffix}" for suffix in ("svg", "png"))
    trace.draw(every, color=color, label=label)
    trace.draw(folded, color=color, label=label, fold=2)
    return [every, folded]


def _save(ax: Axes, path: Path) -> Path:
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.savefig(path, dpi=DPI, bbox_inches="tight")
    plt.close(figure)
    return path
