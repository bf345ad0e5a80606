"""The forms in which stimuli, brain data and results are named, read and written."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from PIL import Image
from scipy.io import savemat

import neurolens as nl
from neurolens.cli.encoders import join_regions
from neurolens.cli.options import Brain
from neurolens.cli.results import as_profile, read_result, tabulate, write_result
from neurolens.cli.sources import read_brain, read_reduction, read_stimuli
from neurolens.errors import StimulusError
from tests.cli.commands import run_here


def read(name, **options):
    return read_brain(Brain(brain=str(name), **options))


def test_stimuli_of_a_folder_a_table_texts_and_a_dataset(study, tmp_path):
    assert list(read_stimuli(str(study.images)).ids) == study.ids
    one = read_stimuli(str(study.images / f"{study.ids[0]}.png"))
    assert len(one) == 1
    table = tmp_path / "table.csv"
    rows = pd.DataFrame({"path": [f"{study.images}/{name}.png" for name in study.ids]})
    rows.assign(number=[f"{k:03d}" for k in range(len(rows))], kind="x").to_csv(table, index=False)
    stimuli = read_stimuli(str(table), "number")
    assert stimuli.ids[:2] == ("000", "001")  # ids are texts: zeros in front stay
    assert stimuli.metadata["kind"].tolist() == ["x"] * len(stimuli)
    np.testing.assert_array_equal(np.asarray(stimuli.read(0)), np.asarray(one.read(0)))
    texts = tmp_path / "texts.tsv"
    texts.write_text("name\ttext\tkind\nun\tl'été, oui\ta\ndeux\tl'hiver\tb\n", encoding="utf-8")
    stimuli = read_stimuli(str(texts), "name")
    assert stimuli.ids == ("un", "deux")
    assert stimuli.read(0) == "l'été, oui"
    plain = tmp_path / "texts.txt"
    plain.write_text("ein Satz\n\nnoch einer\n", encoding="utf-8")
    assert read_stimuli(str(plain)).ids == ("line_1", "line_3")
    assert len(read_stimuli("shapes80")) == 80
    plain.write_bytes("l'été".encode("latin-1"))
    with pytest.raises(StimulusError, match=r"texts\.txt is no text in UTF-8"):
        read_stimuli(str(plain))


def test_brain_data_of_arrays_are_those_of_netcdf(study, tmp_path):
    ids = str(study.folder / "ids.txt")
    tree = read(study.folder / "responses.npy", dims="stimulus,neuroid", brain_ids=ids)
    np.testing.assert_array_equal(tree["brain"].values, study.brain.values[0])
    assert tree["brain"]["stimulus"].values.tolist() == study.ids
    savemat(tmp_path / "brain.mat", {"beta": study.brain.values[0], "other": np.ones((2, 2))})
    tree = read(tmp_path / "brain.mat", dims="stimulus,neuroid", brain_ids=ids, variable="beta")
    np.testing.assert_array_equal(tree["brain"].values, study.brain.values[0])
    rdms = read(study.folder / "rdms.npy", dims="subject,stimulus,stimulus_b", brain_ids=ids)
    np.testing.assert_array_equal(rdms["brain"].values, study.brain_rdms.values)
    region = read(study.folder / "brain.nc", region=["IT"])["responses"]
    xr.testing.assert_identical(region, study.brain.isel(neuroid=slice(8, None)))


def test_brain_data_with_one_array_a_region(study, tmp_path):
    parts = xr.Dataset(
        {name: study.brain_rdms.isel(subject=k, drop=True) for k, name in enumerate(("V1", "IT"))}
    )
    parts.to_netcdf(tmp_path / "rdms.nc")
    assert list(read(tmp_path / "rdms.nc").children) == ["V1", "IT"]
    assert list(read(tmp_path / "rdms.nc", region=["IT"]).children) == ["IT"]
    xr.DataTree.from_dict({"V1": parts[["V1"]], "IT": parts[["IT"]]}).to_netcdf(tmp_path / "tree.nc")
    tree = read(tmp_path / "tree.nc", region=["V1"])
    np.testing.assert_array_equal(tree["V1/V1"].values, study.brain_rdms[0].values)


def test_a_model_is_streamed_to_the_same_profile_as_its_store(made, tmp_path):
    brain = made.folder / "brain.nc"
    options = ("--brain", brain, "--permutations", 19, "--quiet", "--region", "V1")
    net = (f"{made.folder}/net.py:make", "--stimuli", made.images)
    streamed = run_here("compare", *net, *options, "--out", tmp_path / "a.nc")
    assert streamed.exit_code == 0, streamed.stderr
    assert run_here("compare", made.folder / "acts.zarr", *options, "--out", tmp_path / "b.nc").exit_code == 0
    scores = [xr.load_dataset(tmp_path / name)["score"] for name in ("a.nc", "b.nc")]
    xr.testing.assert_allclose(*scores)
    assert "noise ceiling" in streamed.stdout
    best = str(scores[0]["op"].values[int(np.argmax(scores[0].values.ravel()))])
    assert streamed.stdout.splitlines()[3].startswith(best)


def test_encode_writes_the_scores_of_the_function(made, tmp_path):
    out = tmp_path / "scores.nc"
    responses = made.brain.isel(neuroid=slice(8))
    responses.to_netcdf(tmp_path / "brain.nc")
    arguments = ("encode", made.folder / "acts.zarr", "--brain", tmp_path / "brain.nc", "--alphas", "10")
    result = run_here(*arguments, "--cv", 3, "--ops", "3.linear", "--out", out, "--quiet", "--format", "csv")
    assert result.exit_code == 0, result.stderr
    store = nl.open(made.folder / "acts.zarr").select("3.linear")
    expected = nl.encode(store, responses, model=nl.Ridge(alphas=[10.0]), cv=3, progress=False)
    found = xr.load_dataset(out)
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-12)
    summary = nl.encoding.summarize_regions(expected).mean("subject")
    np.testing.assert_allclose(as_profile(found, "x")["score"], summary, rtol=1e-12)
    assert result.stdout.startswith("op,")
    assert run_here("plot", out).exit_code == 0
    assert (tmp_path / "scores.png").exists()


@pytest.fixture(scope="module")
def regions(study, tmp_path_factory):
    """Two regions in nodes of their own, of neuroids that name no region."""
    parts = {"V1": slice(8), "IT": slice(8, None)}
    arrays = {name: study.brain.isel(neuroid=at).drop_vars("region") for name, at in parts.items()}
    path = tmp_path_factory.mktemp("regions") / "regions.nc"
    xr.DataTree.from_dict({name: array.to_dataset(name="r") for name, array in arrays.items()}).to_netcdf(
        path
    )
    return path


@pytest.mark.parametrize(
    ("options", "model"),
    [
        (("--model", "linear"), nl.encoding.Linear()),
        (("--model", "pls", "--components", "2"), nl.encoding.PLS(2)),
        (("--alphas", "10", "--seed", "3"), nl.Ridge(alphas=[10.0], seed=3)),
    ],
)
def test_encode_takes_the_regressions_and_all_regions_at_once(made, regions, tmp_path, options, model):
    arguments = ("encode", made.folder / "acts.zarr", "--brain", regions, "--cv", "3", "--ops", "3.linear")
    result = run_here(*arguments, *options, "--quiet", "--out", tmp_path / "s.nc")
    assert result.exit_code == 0, result.stderr
    store = nl.open(made.folder / "acts.zarr").select("3.linear")
    seed = int(options[-1]) if "--seed" in options else 0
    truth = nl.encode(store, made.brain, model=model, cv=3, seed=seed, progress=False)
    found = xr.load_dataset(tmp_path / "s.nc")
    for region in ("V1", "IT"):
        one, same = (
            scores["score"].isel(neuroid=scores.region.values == region) for scores in (found, truth)
        )
        np.testing.assert_allclose(one, same, rtol=1e-9)
    assert [line for line in result.stdout.splitlines() if "1 operations" in line] == [
        "V1, 1 operations",
        "IT, 1 operations",
    ]


def test_encode_fits_one_banded_model_to_several_operations(made, tmp_path):
    store = made.folder / "acts.zarr"
    arguments = ("encode", store, "--brain", made.folder / "brain.nc", "--cv", "3", "--model", "banded")
    arguments += ("--ops", "1.relu", "--ops", "3.linear", "--alphas", "10", "--quiet")
    result = run_here(*arguments, "--out", tmp_path / "s.nc")
    assert result.exit_code == 0, result.stderr
    acts = nl.open(store)
    joined = nl.encoding.join_spaces({name: acts[name] for name in ("1.relu", "3.linear")})
    model = nl.encoding.BandedRidge(alphas=[10.0])
    truth = nl.encode({"both": joined}, made.brain, model=model, cv=3, progress=False)
    found = xr.load_dataset(tmp_path / "s.nc")
    assert found["op"].values.tolist() == ["1.relu + 3.linear"]
    np.testing.assert_allclose(found["score"].values, truth["score"].values, rtol=1e-9)
    assert "nan" not in result.stdout


def test_regions_of_subjects_with_stimuli_of_their_own_are_joined_by_subject(study, tmp_path):
    parts = {}
    for k, subject in enumerate(("a", "b")):
        one = study.brain.isel(subject=k, drop=True).isel(stimulus=slice(k, None))
        parts[f"V1/{subject}"] = one.isel(neuroid=slice(8)).to_dataset(name="r")
        parts[f"IT/{subject}"] = one.isel(neuroid=slice(8, None)).to_dataset(name="r")
    xr.DataTree.from_dict(parts).to_netcdf(tmp_path / "tree.nc")
    joined = join_regions(read(tmp_path / "tree.nc"), "tree", join=None)
    assert list(joined) == ["a", "b"]
    for k, array in enumerate(joined.values()):
        truth = study.brain.isel(subject=k, drop=True).isel(stimulus=slice(k, None))
        np.testing.assert_array_equal(array.values, truth.values)
        assert array["region"].values.tolist() == truth["region"].values.tolist()
    uneven = {"V1": parts["V1/a"], "IT": parts["IT/b"]}
    xr.DataTree.from_dict(uneven).to_netcdf(tmp_path / "uneven.nc")
    with pytest.raises(nl.errors.LabelError, match="--region, or --join inner"):
        join_regions(read(tmp_path / "uneven.nc"), "uneven", join=None)
    inner = join_regions(read(tmp_path / "uneven.nc"), "uneven", join="inner")
    assert dict(inner.sizes) == {"stimulus": len(study.ids) - 1, "neuroid": 20}


def test_tables_have_a_row_for_each_number(made, tmp_path):
    rdms = read_result(made.folder / "rdms.nc")["rdm"]
    table = tabulate(rdms)
    n = rdms.sizes["stimulus"]
    assert len(table) == rdms.sizes["op"] * n * (n - 1) // 2
    row = table.iloc[-1]
    assert row["rdm"] == float(rdms.sel(op=row["op"], stimulus=row["stimulus"], stimulus_b=row["stimulus_b"]))
    assert (table["stimulus"] != table["stimulus_b"]).all()
    write_result(rdms, tmp_path / "rdms.json")
    written = json.loads((tmp_path / "rdms.json").read_text(encoding="utf-8"))
    assert len(written["rows"]) == len(table)
    assert written["attrs"]["metric"] == "correlation"
    write_result(rdms, tmp_path / "rdms.csv")
    np.testing.assert_allclose(pd.read_csv(tmp_path / "rdms.csv")["rdm"], table["rdm"])


def test_attrs_that_netcdf_lacks_survive(tmp_path):
    data = xr.Dataset(
        {"score": ("op", [0.1], {"none": None})},
        {"op": ["fc"]},
        {"flag": True, "of": {"a": 1}, "ops": np.array(["a"])},
    )
    write_result(data, tmp_path / "x.nc")
    back = read_result(tmp_path / "x.nc")
    assert json.loads(back.attrs["flag"]) is True
    assert json.loads(back.attrs["of"]) == {"a": 1}
    assert json.loads(back.attrs["ops"]) == ["a"]
    assert back["score"].attrs["none"] == "null"
    assert data.attrs["of"] == {"a": 1}  # the result itself is left as it was


def test_pictures_of_rdms_and_graphs(made, tmp_path):
    arguments = ("plot", made.folder / "rdms.nc", "--op", "3.linear", "--out", tmp_path / "é" / "rdm.png")
    assert run_here(*arguments).exit_code == 0
    with Image.open(tmp_path / "é" / "rdm.png") as picture:
        assert min(picture.size) > 300
    net = (f"{made.folder}/net.py:make", "--stimuli", made.images)
    drawn = run_here("draw", *net, "--out", tmp_path / "graph.svg")
    assert drawn.exit_code == 0, drawn.stderr
    assert "0.conv2d" in (tmp_path / "graph.svg").read_text(encoding="utf-8")


def test_a_dry_run_tells_sizes_and_writes_nothing(made, tmp_path):
    net = (f"{made.folder}/net.py:make", "--stimuli", made.images)
    result = run_here("extract", *net, "--out", tmp_path / "acts.zarr", "--dry-run", "--ops", "3.linear")
    assert result.exit_code == 0, result.stderr
    assert "240 bytes" in result.stdout  # 12 stimuli, 5 units, float32
    result = run_here("rdm", made.folder / "acts.zarr", "--out", tmp_path / "rdms.nc", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "12 x 12" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_page_of_a_store(made, tmp_path):
    out = tmp_path / "page.html"
    result = run_here("explore", made.folder / "acts.zarr", "--out", out, "--quiet")
    assert result.exit_code == 0, result.stderr
    assert "3.linear" in out.read_text(encoding="utf-8")


def test_a_trace_is_validated(made):
    result = run_here("trace", f"{made.folder}/net.py:make", "--stimuli", made.images, "--validate")
    assert result.exit_code == 0, result.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max", nl.activations.Pooling(method="max")),
        ("random:10", nl.activations.RandomProjection(10)),
        ("units:5", nl.activations.ChosenUnits(5)),
    ],
)
def test_reductions(text, expected):
    assert read_reduction(text) == expected
