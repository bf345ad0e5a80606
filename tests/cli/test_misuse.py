"""Wrong options, missing files, and what is said of them."""

import pytest

from tests.cli.commands import assert_one_line, run_here

COMMANDS = (
    "demo",
    "datasets",
    "trace",
    "draw",
    "extract",
    "info",
    "rdm",
    "encode",
    "compare",
    "plot",
    "explore",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_that_the_command_understands(command):
    result = run_here(command, "--help")
    assert result.exit_code == 0
    assert f"Example:\n    neurolens {command}" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_refused(command):
    result = run_here(command, "--no-such-option")
    assert result.exit_code == 2
    assert "--no-such-option" in result.stderr


@pytest.mark.parametrize("command", ["extract", "compare", "encode"])
def test_a_missing_option_is_named(command):
    result = run_here(command, "something")
    assert result.exit_code == 2
    assert "--stimuli" in result.stderr or "--brain" in result.stderr


WRONG = {
    "model without a source": (("trace", "resnet18"), "names no source"),
    "model file missing": (("trace", "none.py:make"), "none.py"),
    "stimuli missing": (("trace", "{net}", "--stimuli", "shapes8"), "Did you mean the dataset 'shapes80'"),
    "stimulus unknown": (("trace", "{net}", "--stimuli", "{images}", "--stimulus", "chat"), "chat"),
    "ids without a table": (("trace", "{net}", "--stimuli", "{images}", "--ids", "id"), "column of a table"),
    "operation unknown": (("trace", "{net}", "--stimuli", "{images}", "--ops", "conv"), "0.conv2d"),
    "table's ending": (("trace", "{net}", "--stimuli", "{images}", "--out", "x.xls"), "'.csv'"),
    "checkpoint missing": (("trace", "{net}", "--checkpoint", "none.pt"), "none.pt"),
    "region without scores": (("draw", "{net}", "--region", "V1"), "--color"),
    "dtype": (("extract", "{net}", "--stimuli", "{images}", "--dtype", "int8", "--dry-run"), "'float16'"),
    "reduction": (("extract", "{net}", "--stimuli", "{images}", "--reduce", "pca"), "random:N"),
    "compression": (
        ("extract", "{net}", "--stimuli", "{images}", "--compression", "zip", "--out", "{new}"),
        "zstd",
    ),
    "store missing": (("rdm", "none.zarr"), "none.zarr"),
    "model without stimuli": (("rdm", "torchvision:resnet18"), "--stimuli"),
    "weights of a store": (("rdm", "{store}", "--untrained"), "--untrained"),
    "stimuli of a store": (("rdm", "{store}", "--stimuli", "{images}"), "its own stimuli"),
    "ending of RDMs": (("rdm", "{store}", "--out", "x.txt"), ".nc"),
    "metric": (("rdm", "{store}", "--metric", "corelation", "--out", "{new}.nc"), "'correlation'"),
    "brain missing": (("compare", "{store}", "--brain", "none.nc"), "none.nc"),
    "region missing": (("compare", "{store}", "--brain", "{brain}", "--region", "V2"), "'V1'"),
    "region of a dataset": (
        ("compare", "{store}", "--brain", "shapes80", "--region", "V2"),
        "simulated_early",
    ),
    "variable of a dataset": (("compare", "{store}", "--brain", "shapes80", "--dims", "x"), "--dims"),
    "axes unknown": (("compare", "{store}", "--brain", "{npy}"), "dims"),
    "ids missing": (
        ("compare", "{store}", "--brain", "{rdms}", "--dims", "subject,stimulus,stimulus_b"),
        "--brain-ids",
    ),
    "other stimuli": (("compare", "{store}", "--brain", "shapes80", "--out", "{new}.nc"), "maison 0"),
    "similarity": (("compare", "{store}", "--brain", "{brain}", "--similarity", "kendal"), "'kendall-tau-a'"),
    "no profile": (("compare", "{brain}", "--brain", "{brain}"), "RDMs"),
    "brain data are RDMs": (("encode", "{store}", "--brain", "{folder}/brain_rdms.nc"), "neurolens compare"),
    "penalties of pls": (
        ("encode", "{store}", "--brain", "{brain}", "--model", "pls", "--alphas", "1"),
        "'ridge', 'banded'",
    ),
    "components of ridge": (("encode", "{store}", "--brain", "{brain}", "--components", "3"), "'pls'"),
    "bands without operations": (("encode", "{store}", "--brain", "{brain}", "--model", "banded"), "--ops"),
    "one band": (
        ("encode", "{store}", "--brain", "{brain}", "--model", "banded", "--ops", "3.linear"),
        "two or more",
    ),
    "alphas": (("encode", "{store}", "--brain", "{brain}", "--alphas", "1;2"), "1,10,100"),
    "column of folds": (("encode", "{store}", "--brain", "{brain}", "--cv", "month"), "month"),
    "nothing to plot": (("plot", "none.nc"), "none.nc"),
    "plot of a table": (("plot", "{ids}"), ".nc keeps all"),
    "plot of responses": (("plot", "{brain}"), "score"),
    "page's ending": (("explore", "{store}", "--out", "x.pdf", "--quiet"), ".html"),
    "dataset unknown": (("datasets", "shapes8"), "'shapes80'"),
    "fetch of nothing": (("datasets", "--fetch"), "name it"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_done_is_told_in_one_line(name, made, tmp_path, monkeypatch):
    arguments, word = WRONG[name]
    monkeypatch.chdir(tmp_path)
    folder = made.folder
    places = {
        "net": f"{folder}/net.py:make",
        "folder": folder,
        "images": made.images,
        "store": folder / "acts.zarr",
        "brain": folder / "brain.nc",
        "npy": folder / "responses.npy",
        "rdms": folder / "rdms.npy",
        "ids": folder / "ids.txt",
        "new": tmp_path / "new",
    }
    assert_one_line(run_here(*(argument.format(**places) for argument in arguments)), word)
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_damaged_files_are_told(made, tmp_path):
    (tmp_path / "broken.nc").write_bytes(b"CDF nothing")
    assert_one_line(run_here("plot", tmp_path / "broken.nc"), "broken.nc")
    (tmp_path / "broken.csv").write_bytes(b"\xff\xfe\x00")
    net = f"{made.folder}/net.py:make"
    assert_one_line(run_here("trace", net, "--stimuli", tmp_path / "broken.csv"), "broken.csv")
    (tmp_path / "broken.py").write_text("def make(:\n")
    assert_one_line(run_here("trace", f"{tmp_path}/broken.py:make"), "SyntaxError")


def test_a_full_disk_leaves_the_result_that_was_there(made, tmp_path, monkeypatch):
    import errno

    import xarray as xr

    out = tmp_path / "rdms.nc"
    out.write_text("mine")

    def fill(_, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(xr.Dataset, "to_netcdf", fill)
    assert_one_line(
        run_here("rdm", made.folder / "acts.zarr", "--out", out, "--quiet"), "No space left", "Free"
    )
    assert [file.name for file in tmp_path.iterdir()] == ["rdms.nc"]
    assert out.read_text() == "mine"
