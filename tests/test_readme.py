"""The README does what it says."""

import re
from pathlib import Path

import pytest
import xarray as xr

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def find_script():
    (script,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    return script


def test_script_has_at_most_12_lines():
    assert len([line for line in find_script().splitlines() if line.strip()]) <= 12


def test_script_runs_and_finds_the_known_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(find_script(), scope)
    profile = scope["profile"]
    assert profile.score.idxmax("op").item() in ("blocks.6", "classifier")  # simulated_late knows kinds
    assert (tmp_path / "profile.png").stat().st_size > 10_000
    assert "blocks" in (tmp_path / "graph.svg").read_text(encoding="utf-8")
    with xr.open_datatree(tmp_path / "acts.zarr", engine="zarr") as tree:
        assert tree["blocks/6"].activation.dims == ("stimulus", "channel", "y", "x")


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?://)([^)#]+)\)", TEXT))
def test_what_it_links_to_is_there(link):
    assert (ROOT / link).is_file()


def test_every_make_target_it_names_is_there():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", TEXT.partition("## From")[0])) - {"and"}
    assert {"demo", "test"} <= named <= targets
