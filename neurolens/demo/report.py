"""What the demonstration says at its end: the best operations, and what to try next."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from neurolens.demo.analysis import Findings, find_best
from neurolens.demo.settings import TRAINED, UNTRAINED
from neurolens.schema import OP, REGION

N_SHOWN = 3


def print_report(findings: Findings, files: Iterable[Path], store: Path, console: Console) -> None:
    """Print the best operations of each region, the files written and what to try next."""
    kind = "[bold yellow]SIMULATED[/]" if findings.dataset.card.simulated else "measured"
    console.print(f"\n[bold]{findings.dataset.card.title}[/] ({findings.dataset.name}, {kind} data)")
    n_permutations = findings.profiles[TRAINED].attrs["n_permutations"]
    for region, words in findings.regions.items():
        console.print(_make_table(findings, region, words))
    console.print(
        f"score: Spearman correlation of RDMs, mean over subjects. p: {n_permutations} permutations of "
        f"stimulus labels, corrected over the {findings.profiles[TRAINED].sizes[OP]} operations. The best "
        "are chosen on the data that score them, which flatters them a little; the profiles show all.",
        style="dim",
    )
    console.print("\n[bold]Written[/]")
    for path in files:
        console.print(f"  {path}", markup=False, highlight=False, soft_wrap=True)
    console.print("\n[bold]Try next[/]")
    console.print(f"  neurolens info {store}", markup=False, highlight=False, soft_wrap=True)
    console.print("  python, with these lines:")
    code = next_lines(findings, store)
    for line in Syntax(code, "python").highlight(code).split():
        console.print(Text("    ") + line, soft_wrap=True)


def next_lines(findings: Findings, store: Path) -> str:
    """Return lines of Python that go on from the demonstration's store."""
    return "\n".join(
        [
            "import neurolens as nl",
            f'acts = nl.open("{store.as_posix()}")  # block outputs, labelled',
            f'brain = nl.datasets.fetch("{findings.dataset.name}").brain["{findings.focus}"]',
            "# does the story hold under another distance?",
            'profile = nl.compare(acts, brain, metric="cosine")',
            'nl.plot.profile(profile).figure.savefig("cosine.png")',
        ]
    )


def _make_table(findings: Findings, region: str, words: str) -> Table:
    trained, untrained = (findings.profiles[name].sel({REGION: region}) for name in (TRAINED, UNTRAINED))
    table = Table(title=_title(trained, words), title_justify="left", title_style="bold")
    table.add_column("best operations", no_wrap=True)
    for column in ("depth", "score", "p", "untrained"):
        table.add_column(column, justify="right")
    for op in find_best(findings, region, N_SHOWN):
        one = trained.sel({OP: op})
        p = float(one["p_corrected"])
        control = float(untrained["score"].sel({OP: op})) if op in untrained[OP].values else np.nan
        depth = f"{float(one['depth']):.2f}" if "depth" in one.coords else ""
        table.add_row(op, depth, f"{float(one['score']):.2f}", f"{p:.3f}", f"{control:.2f}")
    return table


def _title(profile: xr.Dataset, words: str) -> str:
    n_subjects = int(profile["n_subjects"])
    low, high = float(profile["ceiling_low"]), float(profile["ceiling_high"])
    if np.isnan(low):
        return f"{words}: one RDM, so no noise ceiling"
    return f"{words}: {n_subjects} subjects, noise ceiling {low:.2f} to {high:.2f}"
