"""The demonstration, small but real: the network, the simulated regions, and everything it writes."""

import dataclasses
import functools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from PIL import Image
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

import neurolens as nl
from neurolens.demo import analysis, run_demo, stages
from neurolens.demo.report import next_lines
from neurolens.demo.settings import Effort
from neurolens.demo.stages import Stages, make_progress
from neurolens.errors import InputError, StoreError
from neurolens.models import as_model

OPS = ("conv_stem.conv2d", "blocks.2.1.add", "blocks.5.3.add", "classifier.linear")
SMALL = Effort(ops=OPS, blocks=("blocks.5", "classifier"), n_permutations=49)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def findings(folder):
    return run_demo(folder, dataset="shapes80", effort=SMALL)


@pytest.fixture(scope="module")
def table(findings, folder):
    return pd.read_csv(folder / "table.csv", keep_default_na=False, na_values=[""])


def test_every_file_is_there_and_the_pictures_show_something(findings, folder):
    pictures = [
        "profile_simulated_early.png",
        "profile_simulated_late.png",
        "rdms.png",
        "graph_simulated_late.png",
    ]
    for name in pictures:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 300
            assert len(picture.convert("RGB").getcolors(maxcolors=2**24)) > 20
    svg = (folder / "graph_simulated_late.svg").read_text(encoding="utf-8")
    assert all(op in svg for op in OPS)


def test_table_has_a_row_for_each_network_region_and_operation(findings, table):
    assert len(table) == 2 * 2 * len(OPS)
    assert not table.duplicated(["network", "region", "op"]).any()
    assert set(table["region"]) == {"simulated_early", "simulated_late"}
    row = table.set_index(["network", "region", "op"]).loc["untrained", "simulated_late", OPS[0]]
    assert row["score"] == pytest.approx(
        float(findings.profiles["untrained"].score.sel(region="simulated_late", op=OPS[0]))
    )


def test_scores_are_those_of_scipy_from_the_store_alone(findings, folder, table):
    """blocks.5 is what blocks.5.3.add made: its score follows from the stored values."""
    with xr.open_datatree(folder / "activations.zarr", engine="zarr") as tree:
        block = tree["blocks/5"].to_dataset()["activation"].load()
    patterns = block.values.reshape(len(block), -1).astype(float)
    responses = findings.dataset.brain["simulated_late"]["responses"]
    assert block.stimulus.values.tolist() == responses.stimulus.values.tolist()
    distances = pdist(patterns, "correlation")
    truth = [spearmanr(distances, pdist(one.values, "correlation")).statistic for one in responses]
    rows = table.set_index(["network", "region", "op"])
    found = rows.loc["trained", "simulated_late", "blocks.5.3.add"]["score"]
    assert found == pytest.approx(np.mean(truth), abs=1e-4)


def test_store_is_read_without_neurolens_and_without_a_warning(findings, folder):
    code = (
        "import sys, xarray as xr\n"
        f"tree = xr.open_datatree({str(folder / 'activations.zarr')!r}, engine='zarr')\n"
        "print(tree['classifier'].activation.dims, tree.category.values[0], tree['blocks/5'].stimulus.values[0])\n"
        "assert float(abs(tree['blocks/5'].activation).max()) > 0\n"
        "assert not any(name.startswith('neurolens') for name in sys.modules)\n"
    )
    out = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == "('stimulus', 'unit') face face_01"
    assert not out.stderr


def test_lines_to_try_next_work(findings, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {}
    exec(next_lines(findings, folder / "activations.zarr"), scope)
    assert scope["profile"].sizes["op"] == len(SMALL.blocks)
    assert (tmp_path / "cosine.png").stat().st_size > 10_000


def write_store(path, *, n_stimuli, name="network"):
    """Extract a small network's output by the demonstration's own rule."""
    values = np.random.default_rng(0).random((n_stimuli, 4), dtype=np.float32)
    stimuli = nl.Stimuli.from_array(values, ids=[f"image{i}" for i in range(n_stimuli)])
    model = dataclasses.replace(as_model(torch.nn.Identity()), name=name)
    return analysis.store_blocks(model, stimuli, path, Effort(blocks=("output",)))


def stamps(path):
    return {file: file.stat().st_mtime_ns for file in path.rglob("c.*") if file.is_file()}


def test_own_store_of_the_same_run_is_kept_and_of_another_replaced(tmp_path):
    path = tmp_path / "activations.zarr"
    write_store(path, n_stimuli=3)
    before = stamps(path)
    assert before
    write_store(path, n_stimuli=3)
    assert stamps(path) == before
    assert write_store(path, n_stimuli=4)["output"].sizes["stimulus"] == 4


def test_a_store_of_another_model_is_left_alone(tmp_path):
    path = tmp_path / "activations.zarr"
    write_store(path, n_stimuli=3, name="mine")
    with pytest.raises(StoreError, match="can't be resumed"):
        write_store(path, n_stimuli=3)
    assert nl.open(path)["output"].sizes["stimulus"] == 3


def test_without_the_real_data_it_takes_the_simulated_and_says_so(tmp_path, monkeypatch, capsys):
    offline = functools.partial(nl.datasets.fetch, data_home=tmp_path, download=False)
    monkeypatch.setattr(analysis, "fetch", offline)
    with make_progress() as progress:
        dataset = analysis.load_data(None, Stages(progress))
    assert dataset.name == "shapes80"
    assert "SIMULATED" in capsys.readouterr().err


def test_in_a_pipe_every_stage_is_told_when_it_begins_and_ends(monkeypatch, capsys):
    monkeypatch.setattr(stages, "SILENCE", 0.0)
    with make_progress() as progress:
        assert progress.disable
        with Stages(progress).stage("RDMs") as stage:
            assert capsys.readouterr().err == "RDMs: ...\n"
            stage.expect(2)
            stage.step()
            assert capsys.readouterr().err == "RDMs: 1 of 2, 0 s\n"
            stage.step()
    assert capsys.readouterr().err.splitlines()[-1] == "RDMs: done, 0 s"


def test_a_line_of_progress_comes_no_more_often_than_somebody_reads(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(stages, "monotonic", lambda: clock[-1])
    progress = make_progress()
    with Stages(progress).stage("RDMs", 4) as stage:
        for now in (4.0, 9.0, 11.0, 13.0):
            clock.append(now)
            stage.step()
    assert capsys.readouterr().err.splitlines() == ["RDMs: ...", "RDMs: 3 of 4, 11 s", "RDMs: done, 13 s"]


def test_an_address_of_a_note_is_not_broken(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    address = "https://example.org/" + "folder/" * 20 + "file.mat"
    Stages(make_progress()).say(f"The download from {address} failed: no route.")
    assert capsys.readouterr().err == f"The download from {address} failed: no route.\n"


def test_unknown_dataset_lists_the_known(tmp_path):
    with pytest.raises(InputError, match=r"'shapes81'.*'shapes80'"):
        run_demo(tmp_path / "out", dataset="shapes81")
