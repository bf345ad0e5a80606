"""The tutorials: their form, their exercises, and some of them run; `make tutorials` runs all on embedded data."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

import neurolens as nl

FOLDER = Path(__file__).parents[1] / "tutorials"
TUTORIALS = sorted(FOLDER.glob("[0-9]*.py"))
SWITCH = 'REAL = os.environ.get("NEUROLENS_TUTORIALS") == "real"  # True: real data'


def cells_of(path, *, tag=None, kind=None):
    return [
        cell
        for cell in jupytext.read(path).cells
        if (tag is None or tag in cell.metadata.get("tags", [])) and (kind is None or cell.cell_type == kind)
    ]


def export(number, folder, out, **surroundings):
    return subprocess.run(
        [sys.executable, str(folder / "export.py"), number, "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NEUROLENS_TUTORIALS": "", **surroundings},
    )


def test_they_are_numbered_without_a_gap():
    numbers = [int(path.name.split("_")[0]) for path in TUTORIALS]
    assert numbers == list(range(1, len(TUTORIALS) + 1))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_the_first_cell_says_what_to_expect(path):
    first = cells_of(path)[0].source
    assert first.startswith(f"# {path.name[0]} · ")
    for part in ("**You will be able to**", "**Time**", "**Data**", "**Real data**", "**Licence**"):
        assert part in first


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_one_line_switches_to_real_data_that_is_named_with_its_size_and_origin(path):
    source = path.read_text(encoding="utf-8")
    assert source.splitlines().count(SWITCH) == 1
    assert source.count("os.environ") == 1 + source.count('os.environ.get("NEUROLENS_DATA", ')
    said = " ".join(cells_of(path)[0].source.split("**Real data**")[1].split())
    (name,) = {name for name in nl.datasets.list_datasets() if f"`{name}`" in said}
    assert f'"{name}"' in source
    assert nl.datasets.read_card(name).size in said
    for part in ("REAL = True", "NEUROLENS_TUTORIALS=real", "NEUROLENS_DATA", "downloaded by checksum"):
        assert part in said


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_the_last_cell_says_what_can_go_wrong(path):
    last = cells_of(path)[-1]
    assert last.cell_type == "markdown"
    assert last.source.startswith("## What can go wrong in a real study\n")


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_three_exercises_each_with_a_check_and_a_solution(path):
    tags = [tag for cell in cells_of(path) for tag in cell.metadata.get("tags", [])]
    assert len(tags) >= 12
    assert tags == ["exercise", "check", "wrong", "solution"] * (len(tags) // 4)
    for cell in cells_of(path, tag="exercise"):
        assert "..." in cell.source, "an exercise leaves something to do"
    for cell in cells_of(path, tag="check"):
        (*_, last) = ast.parse(cell.source).body
        assert ast.unparse(last).startswith("check("), "a check ends in one call, whose verdict is shown"


def test_one_runs_from_top_to_bottom_and_its_checks_tell_right_from_wrong(tmp_path):
    done = export("1", FOLDER, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    notebook = jupytext.read(tmp_path / f"{TUTORIALS[0].stem}.ipynb")
    (hidden,) = {
        cell.metadata["jupyter"]["source_hidden"]
        for cell in notebook.cells
        if {"check", "solution"} & set(cell.metadata.get("tags", []))
    }
    assert hidden
    assert any(output for cell in notebook.cells for output in cell.get("outputs", []))


# The cheap ones; each takes a real data set or a trained network in another way.
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("number", "name", "part"),
    [
        ("2", "kriegeskorte92", "human_body_01"),
        ("5", "haxby2001_1slice", "real slice"),
        ("7", "kriegeskorte92", "(92, 60, 31)"),
        ("8", "haxby2001_1slice", "(40, 20, 1)"),
    ],
)
def test_it_runs_on_real_data_and_its_checks_tell_right_from_wrong(tmp_path, real_data, number, name, part):
    if not (real_data / name).is_dir():
        pytest.skip(f"no real data: the folder of NEUROLENS_DATA has no {name}")
    done = export(number, FOLDER, tmp_path, NEUROLENS_TUTORIALS="real", NEUROLENS_DATA=str(real_data))
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("*.ipynb")
    said = str([cell.get("outputs") for cell in jupytext.read(path).cells])
    assert part in said


def test_notes_of_fonts_are_left_out_and_errors_are_not():
    spec = importlib.util.spec_from_file_location("export", FOLDER / "export.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    said = ["Fontconfig warning: line 6", "Traceback: no such file", "Fontconfig warning: a\nbut this is one"]
    cell = nbformat.v4.new_code_cell()
    cell.outputs = [nbformat.v4.new_output("stream", name="stderr", text=text) for text in said]
    module.drop_notes_of_fonts(cell)
    assert [output.text for output in cell.outputs] == said[1:]


BROKEN = """# %% [markdown]
# # 1 · Broken

# %%
from neurolens.testing import check

# %% tags=["exercise"]
answer = ...

# %% tags=["check"]
check(answer, {{"A number.": lambda n: n > 0, "Two.": lambda n: n == 2}})

# %% tags=["wrong"]
three = 3
["2", {wrong}]

# %% tags=["solution"]
answer = {solution}
"""


@pytest.mark.parametrize(("solution", "code"), [("2", 0), ("3", 1)])
def test_a_solution_that_its_check_refuses_fails_the_run(tmp_path, solution, code):
    (tmp_path / "export.py").write_text((FOLDER / "export.py").read_text())
    (tmp_path / "1_broken.py").write_text(BROKEN.format(solution=solution, wrong="three"))
    done = export("1", tmp_path, tmp_path / "out")
    assert done.returncode == code, done.stdout + done.stderr
    assert ("after the solution its check says 'Not yet. Two.'" in done.stdout) == bool(code)
    assert "three" not in (tmp_path / "out" / "1_broken.ipynb").read_text(), "wrong answers are left out"


def test_a_check_that_passes_before_its_solution_fails_the_run(tmp_path):
    (tmp_path / "export.py").write_text((FOLDER / "export.py").read_text())
    (tmp_path / "1_broken.py").write_text(
        BROKEN.format(solution="2", wrong="three").replace("answer = ...", "answer = 2")
    )
    done = export("1", tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert "before the solution its check says 'Right.'" in done.stdout


@pytest.mark.parametrize(("wrong", "told"), [("2", "Right."), ("-three", "Not yet. A number.")])
def test_a_wrong_answer_that_is_not_told_its_hint_fails_the_run(tmp_path, wrong, told):
    (tmp_path / "export.py").write_text((FOLDER / "export.py").read_text())
    (tmp_path / "1_broken.py").write_text(BROKEN.format(solution="2", wrong=wrong))
    done = export("1", tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert f"wrong answers are told another hint than theirs, (hint, told): [('Two.', {told})]" in done.stdout
