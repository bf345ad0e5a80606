"""What the RDM figures show, read back from their artists."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata

import neurolens as nl
from neurolens.errors import InputError, LabelError

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def draw(n_stimuli=6, seed=0):
    square = squareform(pdist(np.random.default_rng(seed).random((n_stimuli, 4))))
    ids = [f"im{i}" for i in range(n_stimuli)]
    kinds = ["face" if i % 2 else "house" for i in range(n_stimuli)]
    coords = {"stimulus": ids, "stimulus_b": ids, "kind": ("stimulus", kinds)}
    return xr.DataArray(square, coords, ("stimulus", "stimulus_b"))


def shown(ax):
    return np.asarray(ax.images[0].get_array())


def test_values_are_shown_as_they_are():
    np.testing.assert_allclose(shown(nl.plot.rdm(draw(), scale="value")), draw().values)


def test_percentiles_are_ranks_of_the_pairs():
    image = shown(nl.plot.rdm(draw()))
    upper = np.triu_indices(6, 1)
    np.testing.assert_allclose(image[upper], 100 * rankdata(draw().values[upper]) / 15)
    assert (image == image.T).all()
    assert (np.diag(image) == 0).all()


def test_missing_entries_stay_missing():
    array = draw()
    array[2] = array[:, 2] = np.nan
    image = nl.plot.rdm(array).images[0].get_array()
    assert np.ma.getmaskarray(image)[2, [0, 1, 3, 4, 5]].all()
    assert not np.ma.getmaskarray(image)[0, 1]


def test_groups_are_brought_together_and_named():
    ax = nl.plot.rdm(draw(), by="kind", scale="value")
    order = [0, 2, 4, 1, 3, 5]
    np.testing.assert_allclose(shown(ax), draw().values[np.ix_(order, order)])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["house", "face"]
    with pytest.raises(LabelError, match="'kind'"):
        nl.plot.rdm(draw(), by="category")


@pytest.mark.parametrize(("n_stimuli", "n_names"), [(6, 6), (40, 0)])
def test_names_are_written_where_they_can_be_read(n_stimuli, n_names):
    ax = nl.plot.rdm(draw(n_stimuli))
    assert len(ax.get_xticklabels()) == n_names
    assert (ax.get_xlabel() == "") == (n_names > 0)


def test_the_title_is_what_the_rdm_tells():
    ops = draw().expand_dims(op=["layer1.add"])
    assert nl.plot.rdm(ops).get_title() == "layer1.add"
    assert nl.plot.rdm(ops, title="mine").get_title() == "mine"


def test_several_rdms_in_one_are_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"isel\(op=0\)"):
        nl.plot.rdm(draw().expand_dims(op=["a", "b"]))
    with pytest.raises(InputError, match="scale='rank'"):
        nl.plot.rdm(draw(), scale="rank")


@pytest.mark.parametrize("scale", ["percentile", "value"])
def test_side_by_side_each_has_its_name_and_values(scale):
    axes = nl.plot.rdms({"brain": draw(), "model": draw(seed=1)}, by="kind", scale=scale)
    assert [ax.get_title() for ax in axes] == ["brain", "model"]
    assert not np.allclose(shown(axes[0]), shown(axes[1]))
    axes[0].figure.canvas.draw()
    with pytest.raises(InputError, match="empty"):
        nl.plot.rdms({})
