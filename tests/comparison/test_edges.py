"""Odd inputs: too few stimuli, neuroids without values, equal and constant operations, names of any script."""

import matplotlib as mpl
import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import neurolens as nl
from neurolens.errors import InputError, LabelError

QUIET = {"progress": False, "n_permutations": 19, "n_splits": 2}
OPTIONS = {"rsa": {}, "cka": {}, "ridge": {"model": nl.Ridge(alphas=1.0), "cv": 4}}
METHODS = pytest.mark.parametrize("method", OPTIONS)


def score(source, brain, method, **given):
    return nl.compare(source, brain, method=method, options=OPTIONS[method], **(QUIET | given))


@pytest.fixture(scope="module")
def region(network):
    rng = np.random.default_rng(4)
    values = network["late"].values @ rng.standard_normal((12, 6)) + rng.standard_normal((40, 6))
    return xr.DataArray(values, {"stimulus": network["late"].stimulus.values}, ("stimulus", "neuroid"))


@METHODS
def test_two_stimuli_are_too_few(network, region, method):
    with pytest.raises(InputError, match=r"2 stimuli|2, of"):
        score({name: array[:2] for name, array in network.items()}, region[:2], method)


@pytest.mark.parametrize("method", ["rsa", "cka"])
def test_neuroids_without_values_are_named_rather_than_stimuli(network, region, method):
    broken = region.copy()
    broken[:, 2] = np.nan
    with pytest.raises(InputError, match=r"1 of 6 neuroids of brain are NaN for all stimuli: 2\. .*dropna"):
        score(network, broken, method)
    named = broken.assign_coords(region=("neuroid", ["V1"] * 3 + ["IT"] * 3), neuroid=list("abcdef"))
    with pytest.raises(InputError, match=r"1 of 3 neuroids of brain \(region 'V1'\).*: 'c'"):
        score(network, named, method)
    kept = score(network, broken.dropna("neuroid", how="all"), method)
    assert kept.score.idxmax("op") == "late"


@METHODS
def test_a_constant_operation_is_skipped_and_equal_ones_score_alike(network, region, method):
    odd = {"constant": network["early"] * 0 + 1, "late": network["late"], "again": network["late"]}
    profile = score(odd, region, method)
    assert profile.op.values.tolist() == ["late", "again"]
    assert float(profile.score[0]) == float(profile.score[1])
    assert profile.nl.best.op_best == "late"


@METHODS
def test_one_subject_and_one_moment_are_dims_of_the_profile(network, region, method):
    alone = score(network, region, method)
    one = score(network, region.expand_dims(subject=["s1"]), method)
    np.testing.assert_allclose(one.score, alone.score)
    assert int(one.n_subjects) == 1
    moment = score(network, region.expand_dims(time=[120]), method)
    assert moment.score.dims == ("op", "time")
    np.testing.assert_allclose(moment.score[:, 0], alone.score)


@METHODS
def test_order_of_stimuli_is_of_no_account_and_a_missing_one_is_named(network, region, method):
    np.testing.assert_allclose(
        score(network, region[::-1], method).score, score(network, region, method).score, atol=1e-12
    )
    with pytest.raises(LabelError, match="'im0'"):
        score(network, region[1:], method)
    assert score(network, region[1:], method, join="inner").attrs["n_stimuli"] == 39


@METHODS
def test_a_glob_that_matches_one_operation_gives_one_row(network, region, method):
    assert score(network, region, method, ops="la*").op.values.tolist() == ["late"]


def test_regions_of_any_script_and_a_profile_that_was_written_are_plotted_and_drawn(tmp_path):
    ids = [f"im{i}" for i in range(12)]
    values = np.random.default_rng(0).standard_normal((12, 8)).astype("float32")
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh())
    brain = xr.DataArray(values, {"stimulus": ids}, ("stimulus", "neuroid"))
    source = (model, nl.Stimuli.from_array(values, ids=ids))
    profile = nl.compare(source, {"Área β": brain, "IT": brain[:, :4]}, **QUIET)
    profile.to_netcdf(tmp_path / "profile.nc", engine="scipy")
    again = xr.load_dataset(tmp_path / "profile.nc", engine="scipy")
    best = again.nl.best
    np.testing.assert_array_equal(best.score, profile.nl.best.score)
    for one in (profile, again):
        axes = nl.plot.regions(one)
        texts = [label.get_text() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        assert {"Área β", "IT"} <= set(texts)
        drawn = [line.get_ydata() for line in nl.plot.profile(one, region="Área β").lines]
        want = one.score.sel(region="Área β").values
        assert any(len(line) == len(want) and np.allclose(line, want) for line in drawn)
    mpl.pyplot.close("all")
    trace = nl.trace(model, torch.ones(2, 8))
    trace.draw(str(tmp_path / "graph.svg"), color=again.sel(region="Área β"))
    assert (tmp_path / "graph.svg").stat().st_size > 1000
    with pytest.raises(InputError, match="region"):
        trace.draw(str(tmp_path / "graph.svg"), color=again)
