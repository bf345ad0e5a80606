"""The command line: what it prints, and how it fails."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import neurolens as nl
from tests.cli.commands import assert_one_line
from tests.cli.commands import run_here as run


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    stimuli = nl.Stimuli.from_array(
        np.random.default_rng(0).random((5, 4)).astype("float32"),
        ids=[f"image{i}" for i in range(5)],
        metadata={"kind": list("aabba")},
    )
    path = tmp_path_factory.mktemp("store") / "acts.zarr"
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    nl.extract(model, stimuli, path, batch_size=2, progress=False)
    return path


def test_version():
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout == f"neurolens {nl.__version__}\n"


def test_version_and_help_need_no_torch():
    heavy = {"torch", "sklearn", "numpy", "xarray", "pandas", "matplotlib"}
    for options in (["--version"], ["--help"], ["encode", "--help"]):
        code = (
            f"import sys\nfrom neurolens.cli import main\nsys.argv = {['neurolens', *options]}\n"
            f"try:\n    main()\nfinally:\n    assert not {heavy} & set(sys.modules)\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("options", [(), ("shapes80",), ("--format", "json")])
def test_list_of_datasets_needs_no_torch(options):
    heavy = {"torch", "torchvision", "sklearn", "himalaya", "xarray", "matplotlib", "PIL"}
    code = (
        f"import sys\nfrom neurolens.cli import main\nsys.argv = {['neurolens', 'datasets', *options]}\n"
        f"try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "shapes80" in done.stdout


@pytest.mark.parametrize("options", [(), ("--format", "json"), ("--verify",)])
def test_info_of_a_store_needs_no_torch(store, options):
    """What loads no torch and no library of models answers in less than a second."""
    heavy = {"torch", "torchvision", "sklearn", "himalaya", "matplotlib", "PIL"}
    arguments = ["neurolens", "info", str(store), *options]
    code = (
        f"import sys\nfrom neurolens.cli import main\nsys.argv = {arguments}\n"
        f"try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "0.linear" in done.stdout


def test_info_tells_model_stimuli_and_every_operation(store):
    result = run("info", store)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert any(line.split() == ["model", "Sequential"] for line in lines)
    assert any(line.split() == ["stimuli", "5:", "image0", "...", "image4"] for line in lines)
    assert any(line.split() == ["columns", "kind"] for line in lines)
    assert any(line.split() == ["state", "complete"] for line in lines)
    assert any(line.split() == ["ops", "**"] for line in lines)
    assert "format 1, blocks of 2 stimuli, compression lz4" in result.stdout
    linear = next(line for line in lines if "0.linear" in line)
    folder = store / "0" / "linear" / "activation"
    on_disk = sum(file.stat().st_size for file in folder.glob("c.*"))
    assert [part.strip() for part in linear.split("│")[1:-1]] == [
        "0.linear",
        "stimulus 5, unit 3",
        "float32",
        "60 bytes",
        f"{on_disk} bytes",
        "",
    ]


def test_info_verifies_if_asked(store, tmp_path):
    assert "sound: " in run("info", store, "--verify").stdout
    copied = tmp_path / "acts.zarr"
    shutil.copytree(store, copied)
    (copied / "0" / "linear" / "activation" / "c.1.0").write_bytes(b"no chunk")
    result = run("info", copied, "--verify")
    assert result.exit_code == 1
    assert "c.1.0 is damaged" in result.stdout


def test_info_of_an_unfinished_store_names_what_is_missing(store, tmp_path):
    from neurolens.store import create_store

    path = tmp_path / "part.zarr"
    ids = {"stimulus": ["cat", "dog", "cow"]}
    with create_store(path, stimuli=ids, attrs={}, block_size=1) as writer:
        writer.declare("fc", dims=("stimulus", "unit"), shape=(3, 2), dtype=np.float32, attrs={})
        writer.write_block(0, {"fc": np.ones((1, 2), np.float32)})
    result = run("info", path)
    assert result.exit_code == 0, result.stderr
    assert "2 stimuli are missing (dog ...)" in result.stdout


def test_info_of_nothing(tmp_path):
    assert_one_line(run("info", tmp_path / "none.zarr"), "There is no store", "none.zarr")


def test_info_of_a_plain_folder(tmp_path):
    assert_one_line(run("info", tmp_path), "is no neurolens store")


def test_demo_of_an_unknown_dataset(tmp_path):
    result = run("demo", "--out", tmp_path / "out", "--dataset", "shapes8")
    assert_one_line(result, "'shapes8'", "Did you mean 'shapes80'?")


def test_demo_without_its_packages_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert_one_line(run("demo", "--out", tmp_path / "out"), "'timm'", ".[demo]")


def test_demo_into_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    result = run("demo", "--out", path)
    assert result.exit_code == 2
    assert "is a file" in result.stderr
    assert path.read_text() == "mine"


def test_debug_shows_the_traceback(tmp_path):
    result = run("--debug", "info", tmp_path / "none.zarr")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "StoreError" in result.stderr


@pytest.mark.parametrize("arguments", [["inform"], ["info"], ["demo", "--outt", "x"]])
def test_misuse_is_refused(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr
