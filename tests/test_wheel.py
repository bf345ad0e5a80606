"""The wheel: what a user gets who never sees the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_holds_every_file_of_the_catalogue_and_no_tests(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    catalogue = [file for file in (ROOT / "datasets").glob("*/*") if file.is_file()]
    assert {f"neurolens/_datasets/{file.parent.name}/{file.name}" for file in catalogue} <= names
    assert {"neurolens/__init__.pyi", "neurolens/py.typed"} <= names
    assert not any(name.startswith(("tests/", "tutorials/", "datasets/")) for name in names)


def test_holds_every_file_of_the_package_and_its_licence(wheel):
    package = ROOT / "neurolens"
    files = {file.relative_to(ROOT).as_posix() for file in package.rglob("*") if file.is_file()}
    expected = {file for file in files if "__pycache__" not in file and not file.endswith((".pyc", ".so"))}
    assert {"neurolens/explorer/page/main.js", "neurolens/explorer/vendor/cytoscape.LICENSE"} <= expected
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("neurolens/")}
        for name in expected:
            assert archive.read(name) == (ROOT / name).read_bytes(), name
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert "neurolens = neurolens.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert {name for name in names if not name.startswith("neurolens/_datasets/")} == expected


def test_writes_a_page_outside_the_checkout(unpacked, tmp_path):
    code = (
        "import torch\nimport neurolens as nl\n"
        "trace = nl.trace(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()), torch.rand(4, 3))\n"
        "print(nl.explore(trace, out='page.html', progress=False).stat().st_size)\n"
    )
    environment = {"PYTHONPATH": str(unpacked), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 400_000  # with the library that draws
    assert "1.relu" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_finds_its_datasets_outside_the_checkout(unpacked, tmp_path):
    code = (
        "import neurolens as nl\n"
        "from neurolens.datasets.cards import find_catalogue\n"
        "print(nl.__file__)\nprint(find_catalogue())\nprint(nl.datasets.fetch('shapes80').stimuli.ids[0])\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(unpacked), "PATH": "", "HOME": str(tmp_path)},
    )
    assert out.returncode == 0, out.stderr
    assert out.stdout.splitlines() == [
        str(unpacked / "neurolens" / "__init__.py"),
        str(unpacked / "neurolens" / "_datasets"),
        "face_01",
    ]
