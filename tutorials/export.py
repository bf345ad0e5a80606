"""Run the tutorials from top to bottom, check their exercises, and write notebooks with outputs.

Every exercise is tried in one run: its check has to say "Not yet" before the hidden solution ran and "Right" after
it, and to each wrong answer the hint that it deserves. `python tutorials/export.py` runs all;
`python tutorials/export.py 1 4` runs some. NEUROLENS_TUTORIALS=real runs them on real data.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
TIMEOUT = 600  # seconds a cell may take
FORM = [
    "exercise",
    "check",
    "wrong",
    "solution",
]  # the tags of an exercise's cells, in order
PROBE = "probe"  # tag of the second check, which only the export runs
SURROUNDINGS = {  # the kernel's, unless the caller says otherwise
    "OMP_NUM_THREADS": "2",
    "PYTHONWARNINGS": "ignore:IProgress not found",  # there are no progress bars in a file
}


def find_tutorials(numbers: list[str]) -> list[Path]:
    """Return the sources, in order; all of them, or those with these numbers."""
    paths = sorted(HERE.glob("[0-9]*.py"))
    known = {path.name.split("_")[0]: path for path in paths}
    unknown = [number for number in numbers if number not in known]
    if unknown:
        raise SystemExit(
            f"There is no tutorial {', '.join(unknown)}; there are {', '.join(known)}."
        )
    return [known[number] for number in numbers] or paths


def read_tutorial(path: Path) -> nbformat.NotebookNode:
    """Read a source as a notebook without outputs; solutions, and checks that give them away, are folded."""
    notebook = jupytext.read(path)
    for cell in notebook.cells:
        if {"check", "solution"} & set(tags_of(cell)):
            cell.metadata["jupyter"] = {"source_hidden": True}
    return notebook


def tags_of(cell: nbformat.NotebookNode) -> list[str]:
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", []))


def list_exercises(notebook: nbformat.NotebookNode) -> list[tuple[int, ...]]:
    """Return the places of each exercise's cells: where to answer, check, wrong answers, solution."""
    marked = [
        (i, tag) for i, cell in enumerate(notebook.cells) for tag in tags_of(cell)
    ]
    n = len(FORM)
    if [tag for _, tag in marked] != FORM * (len(marked) // n):
        raise SystemExit(
            f"Cells are tagged {[tag for _, tag in marked]}; expected {', '.join(FORM)} for each exercise."
        )
    places = [i for i, _ in marked]
    return [tuple(places[i : i + n]) for i in range(0, len(places), n)]


def add_probes(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Put a copy of each check behind its solution, and let it judge the wrong answers before."""
    probed = nbformat.from_dict(dict(notebook))
    probed.cells = list(notebook.cells)
    for _, check, wrong, solution in reversed(list_exercises(notebook)):
        source = notebook.cells[check].source
        probed.cells[wrong] = nbformat.v4.new_code_cell(
            judge_wrong(source, notebook.cells[wrong].source),
            metadata={"tags": ["wrong"]},
        )
        probed.cells.insert(
            solution + 1,
            nbformat.v4.new_code_cell(source, metadata={"tags": [PROBE]}),
        )
    return probed


def judge_wrong(check: str, wrong: str) -> str:
    """Write code that lists each hint of a check that is not what the wrong answer in its place is told.

    Both cells end in an expression: `check(answer, {hint: condition, ...})`, and a list of one wrong answer a hint.
    """
    call = ast.parse(check).body[-1].value
    *before, answers = ast.parse(wrong).body
    hints = call.args[1]
    *setup, judged = ast.parse(
        "_wrong, _hints = None, None\n"
        "[(hint, verdict) for hint, verdict in zip(_hints, [check(answer, _hints) for answer in _wrong], strict=True)"
        " if not str(verdict).startswith(f'Not yet. {hint}')]"
    ).body
    setup[0].value.elts = [answers.value, hints]
    return ast.unparse(ast.Module([*before, *setup, judged], []))


def read_verdict(cell: nbformat.NotebookNode) -> str:
    """Return what a check said."""
    said = [
        output.data["text/plain"]
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    return str(said[-1]) if said else "(nothing)"


def find_faults(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """Yield each check that passed without its solution, failed with it, or misjudged a wrong answer."""
    for wanted, tag in (("Not yet.", "check"), ("Right.", PROBE)):
        cells = [cell for cell in notebook.cells if tag in tags_of(cell)]
        for number, cell in enumerate(cells, start=1):
            verdict = read_verdict(cell)
            if not verdict.startswith(wanted):
                when = "before" if tag == "check" else "after"
                yield f"exercise {number}: {when} the solution its check says {verdict!r}, not {wanted!r}"
    told = [read_verdict(cell) for cell in notebook.cells if "wrong" in tags_of(cell)]
    for number, verdict in enumerate(told, start=1):
        if verdict != "[]":
            yield f"exercise {number}: wrong answers are told another hint than theirs, (hint, told): {verdict}"


def drop_notes_of_fonts(cell: nbformat.NotebookNode) -> None:
    """Leave out what the drawing library says of this computer's font settings."""
    if cell.cell_type == "code":
        cell.outputs = [
            output
            for output in cell.outputs
            if not (
                output.get("name") == "stderr"
                and all("Fontconfig" in line for line in output.text.splitlines())
            )
        ]


def export_tutorial(path: Path, out: Path) -> list[str]:
    """Run one tutorial in an empty folder, write its notebook, and return what is wrong with it."""
    notebook = add_probes(read_tutorial(path))
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT,
            kernel_name="python3",
            extra_arguments=["--log-level=40"],  # errors; not that it talks over TCP
            resources={"metadata": {"path": folder}},
        )
        client.execute(env={**SURROUNDINGS, **os.environ})
    faults = list(find_faults(notebook))
    notebook.cells = [
        cell for cell in notebook.cells if not {PROBE, "wrong"} & set(tags_of(cell))
    ]
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day differ from run to run
        drop_notes_of_fonts(cell)
    out.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, out / f"{path.stem}.ipynb")
    return faults


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", help="which tutorials; all without")
    parser.add_argument(
        "--out",
        type=Path,
        default=HERE / "notebooks",
        help="where notebooks are written",
    )
    chosen = parser.parse_args()
    failed = False
    for path in find_tutorials(chosen.numbers):
        started = time.perf_counter()
        faults = export_tutorial(path, chosen.out)
        print(
            f"{path.stem}: {time.perf_counter() - started:.0f} s",
            *faults,
            sep="\n  ",
            flush=True,
        )
        failed |= bool(faults)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
