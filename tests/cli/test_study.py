"""Each command by its process: what it writes, prints and returns; numbers against the functions called directly."""

import filecmp
import io
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image

import neurolens as nl
from tests.cli.commands import run_apart, run_here

ROOT = Path(__file__).parents[2]
MAIN = "from neurolens.cli import main; main()"


@pytest.fixture(scope="module")
def work(study):
    """What `extract`, `rdm` and `compare` wrote, from inside the folder of the study."""
    commands = {
        "extract": "extract net.py:make --stimuli 'mes photos' --ops '*.*' --out 'mes acts.zarr'",
        "rdm": "rdm 'mes acts.zarr' --out résultats/rdms.nc",
        "compare": "compare résultats/rdms.nc --brain brain.nc --region V1 --permutations 49 --out profile.nc "
        "--format json",
    }
    with chdir(study.folder):
        done = {name: run_here(*shlex.split(command)) for name, command in commands.items()}
    assert {result.exit_code for result in done.values()} == {0}
    return study, done


def test_extract_and_rdm_write_what_the_functions_return(work):
    study, done = work
    assert done["extract"].stdout == "mes acts.zarr\n"
    assert "running the code of net.py" in done["extract"].stderr
    store = nl.open(study.folder / "mes acts.zarr")
    assert list(store.stimuli["stimulus"].values) == study.ids
    assert done["rdm"].stdout == "résultats/rdms.nc\n"
    written = xr.load_dataset(study.folder / "résultats" / "rdms.nc")["rdm"]
    xr.testing.assert_equal(written, nl.rdm(store))
    assert list((study.folder / "résultats").iterdir()) == [study.folder / "résultats" / "rdms.nc"]


def test_compare_writes_and_prints_the_profile(work):
    study, done = work
    region = study.brain.isel(neuroid=slice(8))
    expected = nl.compare(nl.open(study.folder / "mes acts.zarr"), region, n_permutations=49, progress=False)
    written = xr.load_dataset(study.folder / "profile.nc")
    for name in ("score", "p", "p_corrected", "ceiling_low"):
        np.testing.assert_allclose(written[name].squeeze(), expected[name].squeeze(), rtol=1e-12)
    printed = json.loads(done["compare"].stdout)  # nothing but JSON is on stdout
    np.testing.assert_allclose([row["score"] for row in printed["rows"]], expected["score"].values.ravel())
    assert printed["attrs"]["similarity"] == "rho-a"


def test_trace_by_process(study):
    done = run_apart(
        study.folder,
        "trace",
        "net.py:make",
        "--stimuli",
        "mes photos",
        "--format",
        "csv",
        "--out",
        "ops é.json",
    )
    table = pd.read_csv(io.StringIO(done.stdout))
    assert table["address"].tolist() == ["input", "0.conv2d", "1.relu", "2.flatten", "3.linear"]
    assert table["parameters"].sum() == 4 * 3 * 25 + 4 + 64 * 5 + 5
    rows = json.loads((study.folder / "ops é.json").read_text(encoding="utf-8"))["rows"]
    assert [row["address"] for row in rows] == list(table["address"])


def test_draw_by_process(work):
    study, _ = work
    done = run_apart(
        study.folder,
        *("draw", "net.py:make", "--stimuli", "mes photos", "--color", "profile.nc", "--out", "graphe é.svg"),
    )
    assert done.stdout == "graphe é.svg\n"
    drawing = (study.folder / "graphe é.svg").read_text(encoding="utf-8")
    best = float(xr.load_dataset(study.folder / "profile.nc")["score"].max())
    assert "3.linear" in drawing
    assert f"{best:.3f}"[1:] in drawing or f"{best:.2g}" in drawing  # a box tells its score


def test_encode_by_process(work):
    study, _ = work
    arguments = ("encode", "mes acts.zarr", "--brain", "brain.nc", "--region", "IT", "--ops", "3.linear")
    done = run_apart(study.folder, *arguments, "--cv", 3, "--format", "json", "--out", "scores é.csv")
    (row,) = [row for row in json.loads(done.stdout)["rows"] if row["region"] == "IT"]
    table = pd.read_csv(study.folder / "scores é.csv")
    by_neuroid = table.groupby(["subject", "neuroid"])["score"].mean()
    assert row["score"] == pytest.approx(by_neuroid.groupby("subject").median().mean())


def test_plot_and_explore_take_names_that_are_not_ascii(work):
    study, _ = work
    with chdir(study.folder):
        page = run_here(
            *("explore", "net.py:make", "--stimuli", "mes photos", "--profile", "profile.nc"),
            *("--out", "page é.html", "--quiet"),
        )
        picture = run_here("plot", "profile.nc", "--out", "image é.png")
    assert page.stdout == "page é.html\n"
    text = (study.folder / "page é.html").read_text(encoding="utf-8")
    assert "0.conv2d" in text
    assert "profile" in text
    assert picture.stdout == "image é.png\n"
    with Image.open(study.folder / "image é.png") as drawn:
        assert len(drawn.convert("RGB").getcolors(maxcolors=2**24)) > 20


def test_info_and_datasets_by_process(work):
    study, _ = work
    done = run_apart(study.folder, "info", "mes acts.zarr", "--format", "json", "--verify")
    assert "sound" in done.stderr
    rows = {row["address"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows["3.linear"]["shape"] == [12, 5]
    assert rows["3.linear"]["bytes"] == 12 * 5 * 4
    listed = run_apart(study.folder, "datasets", "--format", "csv")
    assert set(pd.read_csv(io.StringIO(listed.stdout))["name"]) == set(nl.datasets.list_datasets())


SLOW = """\
import time
import torch

class Slow(torch.nn.Linear):
    def forward(self, x):
        time.sleep(0.3)
        return super().forward(x)

def make(pretrained=True):
    import neurolens.models
    torch.manual_seed(0)
    return neurolens.models.as_model(torch.nn.Sequential(Slow(6, 3)), preprocess=count)

def count(text):
    return torch.tensor([float(ord(letter)) for letter in text[:6].ljust(6)])
"""


def test_an_interrupted_run_is_taken_up(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "texts.txt").write_text("".join(f"phrase {k}\n" for k in range(24)), encoding="utf-8")
    arguments = ("extract", "slow.py:make", "--stimuli", "texts.txt", "--batch-size", "2", "--out")
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments, "acts.zarr"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 200
    while not list((tmp_path / "acts.zarr").glob("0/linear/activation/c.*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=200)[1]
    assert process.returncode == 130
    assert error.splitlines()[-2:] == [
        "neurolens: acts.zarr holds what is done so far; the same command takes it up there",
        "neurolens: interrupted",
    ]
    assert "Traceback" not in error
    there = json.loads(run_here("info", tmp_path / "acts.zarr", "--format", "json").stdout)
    assert 0 < there["rows"][0]["n_missing"] < 24
    with chdir(tmp_path):
        assert run_here(*arguments, "acts.zarr").exit_code == 0
    whole = ("extract", f"{tmp_path}/slow.py:make", *arguments[2:3], tmp_path / "texts.txt", *arguments[4:])
    assert run_here(*whole, tmp_path / "whole.zarr").exit_code == 0
    assert_same(tmp_path / "acts.zarr", tmp_path / "whole.zarr")


def assert_same(one, other):
    files = [{str(file.relative_to(folder)) for file in folder.rglob("*")} for folder in (one, other)]
    assert files[0] == files[1]
    _, wrong, errors = filecmp.cmpfiles(
        one, other, [f for f in files[0] if (one / f).is_file()], shallow=False
    )
    assert not wrong
    assert not errors


CAN_MOUNT = (
    sys.platform == "linux"
    and shutil.which("unshare") is not None
    and subprocess.run(
        ["unshare", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True, check=False
    ).returncode
    == 0
)


@pytest.mark.skipif(not CAN_MOUNT, reason="a small disk needs a mount, which this system lets nobody make")
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW.replace("0.3", "0"))
    (tmp_path / "texts.txt").write_text("".join(f"phrase {k}\n" for k in range(120)), encoding="utf-8")
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").mkdir()
    command = shlex.join([sys.executable, "-c", MAIN, "extract", "slow.py:make", "--stimuli", "texts.txt"])
    command += " --batch-size 2 --quiet --out disk/acts.zarr"
    script = f"""
        mount -t tmpfs -o size=160k none disk || exit 99
        {command} 2> out/first.txt; echo $? >> out/codes.txt
        mount -o remount,size=8m disk
        {command} 2> out/second.txt; echo $? >> out/codes.txt
        cp -r disk/acts.zarr out/
    """
    subprocess.run(["unshare", "-rm", "sh", "-c", script], cwd=tmp_path, check=True, timeout=280)
    assert (tmp_path / "out" / "codes.txt").read_text().split() == ["1", "0"]
    lines = (tmp_path / "out" / "first.txt").read_text().splitlines()
    assert not any("Traceback" in line for line in lines)
    assert "takes it up" in lines[-2]
    assert "No space left on device" in lines[-1]
    whole = ("extract", f"{tmp_path}/slow.py:make", "--stimuli", tmp_path / "texts.txt", "--batch-size", 2)
    assert run_here(*whole, "--quiet", "--out", tmp_path / "whole.zarr").exit_code == 0
    assert_same(tmp_path / "out" / "acts.zarr", tmp_path / "whole.zarr")


def find_study():
    """The study of docs/cli.md, as it is written there."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh study\n(.*?)```", text, flags=re.DOTALL)
    return block


def test_the_study_of_the_page_runs_as_written(tmp_path):
    lines = [line for line in find_study().splitlines() if line.startswith("neurolens ")]
    assert len(lines) == 5
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    program = bin_folder / "neurolens"
    program.write_text(f"#!{sys.executable}\n{MAIN}\n")
    program.chmod(0o755)
    script = f"export PATH={shlex.quote(str(bin_folder))}:$PATH\nset -e\n{find_study()}"
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=550, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("blocks.zarr", "rdms.nc", "profile.nc", "profile.png", "explore.html"):
        assert (tmp_path / name).exists(), name
    profile = xr.load_dataset(tmp_path / "profile.nc")
    late = profile["score"].sel(region="simulated_late")
    assert float(late.sel(op=late["op"][-1])) > float(late[0])  # the truth of this simulated region
    assert "simulated_late" in done.stdout
