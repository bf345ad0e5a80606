"""What the RDM figures show, read back from their artists."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata

import neurolens as nl
from neurolens.datasets.kriegeskorte92 import load_kriegeskorte92
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
    with pytest.raises(InputError, match="label_rdms"):
        nl.plot.rdm(draw().values)
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


def photograph(n_stimuli=6, reverse=False):
    """Pictures of which the red channel tells the number."""
    pixels = np.zeros((n_stimuli, 8, 8, 3), dtype=np.uint8)
    pixels[..., 0] = 10 * np.arange(n_stimuli)[:, None, None]
    ids = [f"im{i}" for i in range(n_stimuli)]
    order = list(range(n_stimuli))[:: -1 if reverse else 1]
    return nl.Stimuli.from_array(pixels[order], ids=[ids[i] for i in order])


def strips(ax):
    return {strip.get_label().split()[-1]: strip for strip in ax.child_axes}


def test_thumbnails_stand_at_the_rows_and_columns_of_their_stimuli():
    ax = nl.plot.rdm(draw(), by="kind", images=photograph(reverse=True))
    order = [0, 2, 4, 1, 3, 5]
    for side, extent in (("top", slice(0, 2)), ("left", slice(2, 4))):
        images = strips(ax)[side].images
        assert [int(image.get_array()[0, 0, 0]) // 10 for image in images] == order
        np.testing.assert_allclose([np.mean(image.get_extent()[extent]) for image in images], range(6))
    with pytest.raises(LabelError, match="no picture of the stimuli 'im5'"):
        nl.plot.rdm(draw(), images=photograph(5))
    with pytest.raises(InputError, match="images is a list; expected Stimuli"):
        nl.plot.rdm(draw(), images=[np.zeros((8, 8))] * 6)


def test_bars_have_the_length_of_their_groups():
    bars = nl.plot.rdm(draw(7), by="kind").patches
    assert [bar.get_width() for bar in bars[::2]] == [4, 3]
    assert [bar.get_height() for bar in bars[1::2]] == [4, 3]
    assert bars[0].get_facecolor() == bars[1].get_facecolor() != bars[2].get_facecolor()


@pytest.mark.realdata
@pytest.mark.parametrize("by", ["category", None])
def test_nothing_around_a_real_rdm_overlaps(real_data, by):
    stimuli, brain = load_kriegeskorte92(real_data / "kriegeskorte92")
    ax = nl.plot.rdm(brain["human_IT_mean"]["rdm"], by=by, images=stimuli, title="human IT")
    figure = ax.figure
    figure.canvas.draw()
    boxes = [strip.get_window_extent() for strip in ax.child_axes]
    boxes += [ax.get_window_extent(), ax.title.get_window_extent(), figure.axes[-1].get_window_extent()]
    boxes += [text.get_window_extent() for text in ax.get_xticklabels()]
    for i, one in enumerate(boxes[:5]):
        assert not any(one.padded(-1).overlaps(other.padded(-1)) for other in boxes[i + 1 : 5])
    assert all(figure.bbox.padded(1).contains(*box.min) for box in boxes)
    assert all(figure.bbox.padded(1).contains(*box.max) for box in boxes)
