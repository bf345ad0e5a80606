"""docs/benchmarks.md, made of the kept rows of every section."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.measuring import RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
ORDER = (
    "machine",
    "tracing",
    "extraction",
    "rsa",
    "rsa_inference",
    "encoding",
    "brain",
    "comparison",
    "explorer",
    "scaling",
    "threads",
    "shares",
)
HEAD = """# Benchmarks

Every case and its peer run in one process, in turn, on the same data; times are medians (of one or two runs where a
case takes many seconds), wall first and then CPU. Memory is the peak of a process of its own. Traces are timed, and
sizes compared, in memory that is used again (`keep_freed_memory`), the peer's likewise: how long the system takes to
hand out fresh memory changes from moment to moment, and is measured by itself. A trace by TorchLens is timed once, warm
and after all others, since it leaves torch changed. `make bench` measures everything again; a section's own command
measures that section. A target that was not reached says **missed**, with its limit beside it where one was measured.

Beside a trace stands what torch allows at least: a function mode that only reads the shape, dtype, device and storage
of each result, without which there is no record of operations. Python itself is slowest right after a kernel has
filled the processor's caches with a batch; the row of calls after 96 MiB says by how much.
"""
EMPTY = "No section has been measured on a quiet machine yet.\n"


def write_page() -> None:
    """Write the page from what the last runs kept."""
    found = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    names = [name for name in ORDER if name in found] + sorted(set(found) - set(ORDER))
    PAGE.write_text("\n".join([HEAD, *([_describe(found[name]) for name in names] or [EMPTY])]))


def _describe(section: dict[str, object]) -> str:
    rows = section["rows"]
    machine = section["machine"]
    assert isinstance(rows, list)
    assert isinstance(machine, dict)
    minutes = f" ({section['minutes']:.1f} minutes)" if "minutes" in section else ""
    lines = [f"## {section['title']}", "", f"`{section['command']}`{minutes}", ""]
    lines += [
        "| task | neurolens | beside it | ratio | target | | measured limit |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        verdict = {True: "met", False: "**missed**", None: ""}[row["met"]]
        cells = (row["task"], row["ours"], row["peer"], row["ratio"], row["target"], verdict, row["limit"])
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    notes = [f"- {row['task']}: {row['note']}" for row in rows if row["note"]]
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    return "\n".join([*lines, "", *notes, *([""] if notes else []), f"Machine: {facts}.", ""])


if __name__ == "__main__":
    write_page()
