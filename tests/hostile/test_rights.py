"""Folders that may be read and not written, also where the tests run as root: a process gives its rights away."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

# All is done twice: what root loads late is loaded before its rights are given away, since nobody may not read it then.
UNPRIVILEGED = """
import json, os, sys, warnings
from pathlib import Path

import torch

import neurolens as nl
from neurolens.cli import app
from typer.testing import CliRunner

warnings.simplefilter("error")
net, ids = torch.nn.Linear(4, 3).eval(), [f"s{k}" for k in range(4)]
stimuli = nl.Stimuli.from_array(torch.arange(16.0).reshape(4, 4).sin(), ids=ids)
told = {}

def extract(path):
    return nl.extract(net, stimuli, path, batch_size=2, progress=False)

def prepare(folder):
    folder.mkdir()
    extract(folder / "whole.zarr")
    nl.rdm(nl.open(folder / "whole.zarr"), metric="euclidean").to_netcdf(folder / "rdms.nc")

def tell(name, act):
    try:
        act()
        told[name] = None
    except Exception as error:
        told[name] = [type(error).__name__, str(error)]

def command(*arguments):
    done = CliRunner(env={"COLUMNS": "300"}).invoke(app, [str(argument) for argument in arguments])
    told[arguments[0]] = [done.exit_code, done.stderr.strip()]

def use(folder):
    before = {*map(str, folder.rglob("*"))}
    tell("touch", (folder / "file").touch)
    tell("extract", lambda: extract(folder / "acts.zarr"))
    tell("page", lambda: nl.explore(folder / "whole.zarr", out=folder / "page.html", progress=False))
    acts = nl.open(folder / "whole.zarr")
    told["read"], told["sound"] = acts["linear"].values.tolist(), acts.verify().is_sound
    command("rdm", folder / "whole.zarr", "--out", folder / "new.nc")
    command("plot", folder / "rdms.nc", "--out", folder / "rdms.png")
    command("explore", folder / "whole.zarr", "--out", folder / "page2.html")
    command("info", folder / "whole.zarr", "--verify")
    told["new"] = sorted({*map(str, folder.rglob("*"))} - before)

root = Path(sys.argv[1])
prepare(root / "open")
prepare(root / "closed")
use(root / "open")
allowed = dict(told)
for path in (*(root / "closed").rglob("*"), root / "closed"):
    path.chmod(0o555 if path.is_dir() else 0o444)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
use(root / "closed")
truth = net(stimuli.batch(range(4))).tolist()
print(json.dumps({"allowed": allowed, "refused": told, "truth": truth}))
"""


@pytest.fixture(scope="module")
def told():
    """What a user without the right is told; the folder lies where any user may look for it."""
    folder = Path(tempfile.mkdtemp(prefix="neurolens-rights-"))
    folder.chmod(0o755)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(folder), "MPLCONFIGDIR": str(folder)}
    command = [sys.executable, "-c", UNPRIVILEGED, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def refused(told):
    return told["refused"]


def test_without_the_right_nothing_can_be_written_and_with_it_all_can(told):
    assert told["refused"]["touch"][0] == "PermissionError"
    assert told["refused"]["new"] == []
    for name in ("touch", "extract", "page"):
        assert told["allowed"][name] is None
    for name in ("rdm", "plot", "explore", "info"):
        assert told["allowed"][name][0] == 0, told["allowed"][name]


def test_extraction_names_the_folder(refused):
    kind, says = refused["extract"]
    assert kind == "StoreError"
    for words in ("acts.zarr", "Permission denied", "Choose a folder"):
        assert words in says


def test_a_store_that_may_not_be_written_is_read_and_verified(told, refused):
    np.testing.assert_allclose(refused["read"], told["truth"], rtol=1e-6)
    assert refused["sound"]
    assert refused["info"][0] == 0


@pytest.mark.parametrize(
    ("command", "file"), [("rdm", "new.nc"), ("plot", "rdms.png"), ("explore", "page2.html")]
)
def test_commands_say_it_in_one_line(refused, command, file):
    code, says = refused[command]
    assert code == 1
    line = says.splitlines()[-1]
    assert line.startswith("neurolens: ")
    assert "Permission denied" in line
    assert file in line
    assert "Traceback" not in says


def test_a_page_is_refused_with_its_name(refused):
    _, says = refused["page"]
    assert "Permission denied" in says
    assert "page.html" in says
