"""Scores over two dims, read back from the picture."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

import neurolens as nl
from neurolens.errors import InputError

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def shown(ax):
    return np.ma.filled(ax.images[0].get_array(), np.nan)


def texts(labels):
    return [label.get_text() for label in labels]


def test_layers_by_layers_is_what_compare_gives():
    rng = np.random.default_rng(0)
    layers = {
        name: xr.DataArray(rng.random((6, 5)), {"stimulus": list("abcdef")}, ("stimulus", "unit"))
        for name in "xyz"
    }
    rdms = nl.rdm(layers)
    scores = nl.compare_rdms(rdms, rdms.rename(op="op_b"))
    ax = nl.plot.similarity(scores, title="all")
    np.testing.assert_array_equal(shown(ax), scores)
    assert texts(ax.get_yticklabels()) == texts(ax.get_xticklabels()) == ["x", "y", "z"]
    assert ax.get_title() == "all"
    assert ax.get_aspect() == 1


def test_many_operations_are_named_by_module():
    names = [f"layer{i}" for i in range(40)]
    coords = {"op": names, "op_b": names, "module": ("op", ["stem"] * 20 + ["head"] * 20)}
    ax = nl.plot.similarity(xr.DataArray(np.eye(40), coords, ("op", "op_b")))
    assert texts(ax.get_yticklabels()) == texts(ax.get_xticklabels()) == ["stem", "head"]
    np.testing.assert_allclose(ax.get_yticks(), [9.5, 29.5])


def test_time_keeps_its_scale_and_runs_upwards():
    coords = {"time": ("time", np.arange(20) / 10, {"units": "s"}), "time_b": np.arange(20) / 10}
    ax = nl.plot.similarity(
        xr.DataArray(np.random.default_rng(1).random((20, 20)), coords, ("time", "time_b"))
    )
    np.testing.assert_allclose([float(text) for text in texts(ax.get_xticklabels())], ax.get_xticks() / 10)
    assert ax.get_ylabel() == "time (s)"
    assert ax.get_ylim() == (-0.5, 19.5)


def test_scores_of_both_signs_are_coloured_about_zero():
    ax = nl.plot.similarity(xr.DataArray([[0.5, -0.1], [np.nan, 0.2]], dims=("op", "subject")))
    assert ax.images[0].get_clim() == (-0.5, 0.5)
    assert np.ma.getmaskarray(ax.images[0].get_array()).tolist() == [[False, False], [True, False]]
    assert nl.plot.similarity(xr.DataArray([[0.5, 0.1]] * 2, dims=("op", "time"))).images[0].get_clim() == (
        0,
        0.5,
    )


def test_the_outline_is_the_border_of_what_is_marked():
    marked = xr.DataArray([[0, 1, 1], [0, 0, 0]], dims=("op", "time")).astype(bool)
    ax = nl.plot.similarity(
        xr.DataArray(np.ones((2, 3)), dims=("op", "time")), marked=marked.transpose("time", "op")
    )
    segments = {tuple(map(tuple, segment)) for segment in ax.collections[0].get_segments()}
    top = {((c - 0.5, -0.5), (c + 0.5, -0.5)) for c in (1, 2)}
    bottom = {((c - 0.5, 0.5), (c + 0.5, 0.5)) for c in (1, 2)}
    assert segments == top | bottom | {((0.5, -0.5), (0.5, 0.5)), ((2.5, -0.5), (2.5, 0.5))}


def test_other_dims_are_refused_with_the_way_out():
    cube = xr.DataArray(np.ones((2, 3, 4)), dims=("subject", "op", "time"))
    with pytest.raises(InputError, match=r"scores.mean\('subject'\)"):
        nl.plot.similarity(cube)
    with pytest.raises(InputError, match="Of a Dataset"):
        nl.plot.similarity(xr.Dataset({"score": cube}))
    with pytest.raises(InputError, match="marked must be over"):
        nl.plot.similarity(cube.mean("subject"), marked=cube.mean("op") > 0)
    assert shown(nl.plot.similarity(cube[:1])).shape == (3, 4)
