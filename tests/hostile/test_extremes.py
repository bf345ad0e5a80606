"""Odd names, odd sizes, odd folders: from a trace to encoding and the command line."""

import os
import time

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neurolens as nl
from neurolens.errors import NeurolensError
from tests.cli.commands import assert_one_line, run_here
from tests.hostile.effort import fuzz, give_or_name

LONG_NAME = "très_" + "long_" * 80  # 400 letters, above the 255 bytes of a file name
NAMES = [
    "Größe 🧠",
    LONG_NAME,
    "a/b\\c",
    "..",
    "con",
    " ",
    "x\ny",
    "%41",
    "-rf",
    "__proto__",
    "null\u202etxt",
]


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            self.parts = nn.ModuleDict({name: nn.Linear(4, 4) for name in NAMES if "." not in name})

    def forward(self, x):
        for part in self.parts.values():
            x = torch.tanh(part(x))
        return x


def make_stimuli(ids):
    values = torch.randn(len(ids), 4, generator=torch.Generator().manual_seed(0))
    return nl.Stimuli.from_array(values, ids=ids)


@pytest.mark.filterwarnings(
    "ignore::neurolens.errors.NeurolensWarning"
)  # of alphas: there is nothing to predict
def test_odd_names_survive_from_trace_to_scores_and_commands(tmp_path, monkeypatch):
    ids = [*NAMES, *(f"{name}2" for name in NAMES)]
    path = tmp_path / "dossier é 🧠" / "acts.zarr"
    acts = nl.extract(Named(), make_stimuli(ids), path, progress=False)
    opened = nl.open(path)
    assert list(opened) == list(acts)
    assert opened.verify().is_sound
    trace = nl.trace(Named().eval(), make_stimuli(ids).batch(range(len(ids))))
    for name in NAMES:
        if "." not in name:
            address = f"parts.{name}.linear"
            assert opened[address]["stimulus"].values.tolist() == ids
            np.testing.assert_allclose(opened[address].values, trace[address].tensor.detach(), atol=1e-6)
    assert max(len(part.encode()) for file in path.rglob("*") for part in file.parts) <= 255
    brain = xr.DataArray(
        np.random.default_rng(0).normal(size=(len(ids), 6)), {"stimulus": ids}, ("stimulus", "neuroid")
    )
    few = opened.select([f"parts.{name}.linear" for name in NAMES[:3]])
    rdms = nl.rdm(few, metric="euclidean")
    assert rdms["stimulus"].values.tolist() == ids
    profile = nl.compare(few, brain, metric="euclidean", n_permutations=0, n_bootstraps=0, progress=False)
    assert np.isfinite(profile["score"]).all()
    scores = nl.encode(few, brain, cv=3)
    assert scores["op"].values.tolist() == rdms["op"].values.tolist()
    monkeypatch.chdir(tmp_path)
    brain.rename("responses").to_netcdf("cerveau ü.nc")
    chosen = [part for name in NAMES[:3] for part in ("--ops", f"parts.{name}.linear")]
    options = ["--metric", "euclidean"]
    for command in (
        ["info", path, "--verify"],
        ["rdm", path, *chosen, *options, "--out", "rdms é.nc"],
        [
            "compare",
            path,
            *chosen,
            *options,
            "--brain",
            "cerveau ü.nc",
            "--permutations",
            0,
            "--out",
            "profil é.nc",
        ],
        ["encode", path, *chosen, "--brain", "cerveau ü.nc", "--out", "scores é.nc"],
        ["explore", path, "--out", "page é.html"],
    ):
        done = run_here(*command)
        assert done.exit_code == 0, done.stderr
    assert xr.load_dataarray("rdms é.nc")["op"].values.tolist() == rdms["op"].values.tolist()
    np.testing.assert_allclose(xr.load_dataset("profil é.nc")["score"], profile["score"])


@pytest.mark.parametrize("n", [1, 2])
def test_one_stimulus_or_two(n, tmp_path):
    """Activations exist; what needs more stimuli says so."""
    ids = ["a", "b"][:n]
    acts = nl.extract(Named(), make_stimuli(ids), tmp_path / "acts.zarr", batch_size=1, progress=False)
    assert acts["output"].shape == (n, 4)
    streamed = nl.stream(Named(), make_stimuli(ids), batch_size=1, progress=False)
    np.testing.assert_array_equal(streamed["output"].values, acts["output"].values)
    brain = xr.DataArray(np.arange(n * 5.0).reshape(n, 5) ** 2, {"stimulus": ids}, ("stimulus", "neuroid"))
    give_or_name(nl.rdm, acts, metric="euclidean")
    for analyse in (nl.compare, nl.encode):
        with pytest.raises(NeurolensError):
            analyse(acts, brain, **({"progress": False} if analyse is nl.compare else {}))
    brain.rename("responses").to_netcdf(tmp_path / "brain.nc")
    store, out = tmp_path / "acts.zarr", tmp_path / "out.nc"
    assert run_here("info", store).exit_code == 0
    for command in (
        ["rdm", store, "--metric", "euclidean", "--out", out],
        ["compare", store, "--brain", tmp_path / "brain.nc", "--out", out],
        ["encode", store, "--brain", tmp_path / "brain.nc", "--out", out],
    ):
        assert_one_line(run_here(*command), "stimul")
        assert not out.exists()


def test_no_stimuli_are_said():
    for make in (
        lambda: make_stimuli([]),
        lambda: nl.Stimuli.from_files([]),
        lambda: nl.Stimuli.from_texts([], ids=[]),
    ):
        with pytest.raises(NeurolensError):
            make()


def test_a_batch_of_one_is_a_row_of_a_batch():
    model, x = Named().eval(), make_stimuli(["a", "b", "c"]).batch(range(3))
    whole, one = nl.trace(model, x), nl.trace(model, x[:1])
    assert list(whole) == list(one)
    torch.testing.assert_close(one["output"].tensor, whole["output"].tensor[:1])


def test_batches_of_one_give_what_one_batch_gives(tmp_path):
    ids = [f"s{k}" for k in range(9)]
    stores = {
        size: nl.extract(
            Named(), make_stimuli(ids), tmp_path / f"{size}.zarr", batch_size=size, progress=False
        )
        for size in (1, 9)
    }
    brain = xr.DataArray(
        np.random.default_rng(0).normal(size=(9, 6)), {"stimulus": ids}, ("stimulus", "neuroid")
    )
    assert list(stores[1]) == list(stores[9])
    for address in stores[1]:
        assert stores[1][address].dims == stores[9][address].dims
        np.testing.assert_allclose(stores[1][address].values, stores[9][address].values, atol=1e-6)
    quiet = {"n_permutations": 0, "n_bootstraps": 0, "progress": False}
    one, whole = (
        nl.compare(acts.select(["output"]), brain, **quiet)["score"].values for acts in stores.values()
    )
    np.testing.assert_allclose(one, whole)


class Empties(nn.Module):
    def forward(self, x):
        nothing = x[:, :0]
        return torch.cat([nothing, x.relu()], 1), nothing.sum(1), nothing * 2


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (3, 0)])
def test_tensors_without_values_are_traced_and_proven(shape):
    trace = nl.trace(Empties(), torch.ones(shape))
    report = trace.validate()
    assert report, str(report)
    assert trace["mul"].shape == (shape[0], 0)


@pytest.mark.filterwarnings("ignore::neurolens.errors.NeurolensWarning")
def test_operations_without_values_do_not_harm_the_others(tmp_path):
    acts = nl.extract(Empties(), make_stimuli(["a", "b", "c", "d"]), tmp_path / "acts.zarr", progress=False)
    streamed = nl.stream(Empties(), make_stimuli(["a", "b", "c", "d"]), progress=False)
    assert streamed["mul"].shape == (4, 0)
    assert nl.open(tmp_path / "acts.zarr").verify().is_sound
    rdms = nl.rdm(acts, metric="euclidean")
    assert "relu" in rdms["op"].values
    brain = xr.DataArray(
        np.random.default_rng(0).normal(size=(4, 6)), {"stimulus": list("abcd")}, ("stimulus", "neuroid")
    )
    profile = nl.compare(acts, brain, metric="euclidean", n_permutations=0, n_bootstraps=0, progress=False)
    assert np.isfinite(profile["score"].sel(op="relu"))
    assert not {"mul", "getitem"} & set(profile["op"].values)


def test_a_place_below_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises((NeurolensError, OSError), match="file"):
        nl.extract(Named(), make_stimuli(["a", "b"]), tmp_path / "file" / "acts.zarr", progress=False)


def test_a_clock_that_is_set_back_changes_nothing(tmp_path, monkeypatch):
    ids = ["a", "b", "c"]
    whole = nl.extract(Named(), make_stimuli(ids), tmp_path / "a.zarr", progress=False)
    clock, past = time.time, iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(past)))
    again = nl.extract(Named(), make_stimuli(ids), tmp_path / "b.zarr", progress=False)
    taken_up = nl.extract(Named(), make_stimuli(ids), tmp_path / "a.zarr", progress=False)
    monkeypatch.setattr(time, "time", clock)
    for address in whole:
        np.testing.assert_array_equal(whole[address].values, again[address].values)
        np.testing.assert_array_equal(whole[address].values, taken_up[address].values)


# --- addresses, patterns, arguments

TEXTS = st.one_of(
    st.text(max_size=12),
    st.text("abcnov0123.*?[]:{}_-/\\ ", max_size=16),
    st.sampled_from(
        ["", "**", "*", "[", "[]", "[!]", "a:0", "output:-1", "output:1:1", "..", "0.", "lstm[0][0]", "\0"]
    ),
)


@pytest.fixture(scope="module")
def small():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.LSTM(4, 4)).eval()
    return nl.trace(model, torch.ones(2, 4))


@fuzz(150)
@given(TEXTS)
def test_any_text_is_an_address_or_is_refused(small, text):
    give_or_name(small.find, text)
    found = give_or_name(lambda: small[text])
    assert (found is not None) == (text in small)
    assert give_or_name(small.activations.__getitem__, text) is None or text in small.activations


COMMANDS = ["trace", "extract", "rdm", "encode", "compare", "info", "plot", "explore", "draw", "datasets"]


@fuzz(25)
@given(st.sampled_from(COMMANDS), st.lists(TEXTS.filter(lambda text: "--demo" not in text), max_size=4))
def test_any_arguments_end_in_words(tmp_path_factory, command, arguments):
    folder = tmp_path_factory.mktemp("cli")
    before = os.getcwd()  # noqa: PTH109
    os.chdir(folder)
    try:
        result = run_here(command, *arguments)
    finally:
        os.chdir(before)
    assert result.exit_code in (0, 1, 2)
    assert "Traceback" not in result.stderr
    if result.exit_code:
        assert result.stderr.strip()
