"""Each command by its process where something goes wrong: no file, Ctrl-C, a full disk; nothing half is left behind."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import neurolens as nl
from tests.cli.test_study import CAN_MOUNT

ROOT = Path(__file__).parents[2]
SLOW = """\
import time
from pathlib import Path

import torch

class Slow(torch.nn.Linear):
    def forward(self, x):
        if x.shape[0] > 0 and Path("hold").exists():
            Path("running").touch()
            time.sleep(60)
        return super().forward(x)

def make(pretrained=True):
    import neurolens.models
    torch.manual_seed(0)
    return neurolens.models.as_model(torch.nn.Sequential(Slow(6, 3), torch.nn.Tanh()), preprocess=count)

def count(text):
    return torch.tensor([float(ord(letter)) for letter in text[-6:]])
"""
MODEL = ["slow.py:make", "--stimuli", "texts.txt"]
EFFORT = {"ops": ["classifier.linear"], "blocks": ["classifier"], "n_permutations": 9}
DEMO = ["demo", "--dataset", "shapes80", "--out", "{disk}/demo"]


def run_jobs(jobs, folder):
    """Run jobs in a folder, where `full` is a full disk if this system lets one mount it."""
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    command = [sys.executable, str(ROOT / "tests" / "cli" / "forks.py"), "jobs.json", "found.json"]
    if CAN_MOUNT:
        script = f"""
            mount -t tmpfs -o size=64k none full || exit 99
            cat /dev/zero > full/filling 2> /dev/null
            {shlex.join(command)} || exit 98
            ls -A full > left.txt
        """
        command = ["unshare", "-rm", "sh", "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text(encoding="utf-8"))


def fill_folder(folder, made):
    """A model that can be held up, its texts, responses to them, and results to start from."""
    (folder / "slow.py").write_text(SLOW)
    (folder / "texts.txt").write_text("".join(f"phrase {k}\n" for k in range(12)), encoding="utf-8")
    ids = [f"line_{k}" for k in range(1, 13)]
    made.brain.assign_coords(stimulus=ids).to_netcdf(folder / "brain.nc")
    for name in ("acts.zarr", "rdms.nc"):
        (folder / name).symlink_to(made.folder / name)
    nl.compare(nl.open(made.folder / "acts.zarr"), made.brain, n_permutations=0, progress=False).to_netcdf(
        folder / "profile.nc"
    )
    (folder / "disk").mkdir()
    (folder / "full").mkdir()


# Of each command: what it writes to {disk}.
WRITES = {
    "trace": ["trace", *MODEL, "--out", "{disk}/ops.csv"],
    "draw": ["draw", *MODEL, "--out", "{disk}/graph.svg"],
    "extract": ["extract", *MODEL, "--out", "{disk}/new.zarr", "--quiet"],
    "rdm": ["rdm", *MODEL, "--out", "{disk}/rdms.nc", "--quiet"],
    "encode": ["encode", *MODEL, "--brain", "brain.nc", "--cv", "3", "--out", "{disk}/scores.nc", "--quiet"],
    "compare": [
        *("compare", *MODEL, "--brain", "brain.nc", "--region", "V1", "--permutations", "9"),
        *("--out", "{disk}/profile.nc", "--quiet"),
    ],
    "explore": ["explore", *MODEL, "--out", "{disk}/page.html", "--quiet"],
    "plot": ["plot", "profile.nc", "--out", "{disk}/profile.png"],
    "demo": DEMO,
}
# Those that Ctrl-C meets while a model runs, and those that run to their end afterwards.
STOPPED = ("trace", "draw", "extract", "rdm", "encode", "compare", "explore", "demo")
AGAIN = ("extract", "rdm", "demo")


def make_job(command, disk, **more):
    effort = {"effort": EFFORT} if command == "demo" else {}
    return {"argv": [part.format(disk=disk) for part in WRITES[command]], **effort, **more}


MISSING = {
    "datasets": (["datasets", "none"], "none"),
    "demo": (["demo", "--dataset", "none"], "none"),
    "trace": (["trace", "none.py:make"], "none.py"),
    "draw": (["draw", *MODEL, "--color", "none.nc"], "none.nc"),
    "extract": (["extract", "slow.py:make", "--stimuli", "none"], "none"),
    "info": (["info", "none.zarr"], "none.zarr"),
    "rdm": (["rdm", "none.zarr"], "none.zarr"),
    "encode": (["encode", "acts.zarr", "--brain", "none.nc"], "none.nc"),
    "compare": (["compare", "none.nc", "--brain", "brain.nc"], "none.nc"),
    "plot": (["plot", "none.nc"], "none.nc"),
    "explore": (["explore", "slow.py:make", "--profile", "none.nc"], "none.nc"),
}


@pytest.fixture(scope="module")
def done(made, tmp_path_factory):
    """All of it, from one process that has loaded what is heavy."""
    folder = tmp_path_factory.mktemp("failures")
    fill_folder(folder, made)
    jobs = {("missing", command): {"argv": argv} for command, (argv, _) in MISSING.items()}
    for command in STOPPED:
        wait = "disk/demo" if command == "demo" else "running"
        jobs["stopped", command] = make_job(command, "disk", wait=wait)
    for command in AGAIN:
        jobs["again", command] = make_job(command, "disk")
    if CAN_MOUNT:
        jobs |= {("full", command): make_job(command, "full") for command in WRITES}
    return dict(zip(jobs, run_jobs(list(jobs.values()), folder), strict=True)), folder


@pytest.mark.parametrize("command", MISSING)
def test_a_missing_file_is_named_in_one_line(done, command):
    result = done[0]["missing", command]
    assert result["code"] == 1
    assert result["stdout"] == ""
    line = result["stderr"].splitlines()[-1]
    assert line.startswith("neurolens: ")
    assert MISSING[command][1] in line
    assert "Traceback" not in result["stderr"]


@pytest.mark.parametrize("command", STOPPED)
def test_an_interrupted_command_says_so(done, command):
    result = done[0]["stopped", command]
    assert result["code"] == 130
    assert result["stdout"] == ""
    assert result["stderr"].splitlines()[-1] == "neurolens: interrupted"
    assert "Traceback" not in result["stderr"]


def test_nothing_half_is_left_and_what_was_interrupted_runs_to_its_end(done):
    results, folder = done
    again = {command: results["again", command] for command in AGAIN}
    assert {result["code"] for result in again.values()} == {0}, again
    assert {path.name for path in (folder / "disk").iterdir()} == {"new.zarr", "rdms.nc", "demo"}
    assert again["extract"]["stdout"] == "disk/new.zarr\n"
    assert nl.open(folder / "disk" / "new.zarr")["0.linear"].sizes["stimulus"] == 12
    assert again["rdm"]["stdout"] == "disk/rdms.nc\n"


def test_the_demonstration_by_its_process(done):
    results, folder = done
    shown = results["again", "demo"]
    assert "simulated_late" in shown["stdout"]
    there = {path.name for path in (folder / "disk" / "demo").iterdir()}
    assert {"table.csv", "rdms.png", "activations.zarr", "graph_simulated_late.svg"} <= there
    table = pd.read_csv(folder / "disk" / "demo" / "table.csv", keep_default_na=False)
    assert set(table["op"]) == {"classifier.linear"}
    assert "Traceback" not in shown["stderr"]


@pytest.mark.skipif(not CAN_MOUNT, reason="a small disk needs a mount, which this system lets nobody make")
@pytest.mark.parametrize("command", WRITES)
def test_a_full_disk_is_told_in_one_line_and_no_half_file_stays(done, command):
    results, folder = done
    result = results["full", command]
    assert result["code"] == 1, result
    line = result["stderr"].splitlines()[-1]
    assert line.startswith("neurolens: ")
    assert "No space left on device" in line or "another disk" in line
    assert "Traceback" not in result["stderr"]
    assert set((folder / "left.txt").read_text().split()) <= {"filling", "demo", "new.zarr"}
