"""Points in a plane: distances, labels and pictures."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.offsetbox import AnnotationBbox
from scipy.spatial.distance import pdist, squareform

import neurolens as nl
from neurolens.errors import InputError, LabelError

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def draw(points):
    ids = [f"im{i}" for i in range(len(points))]
    kinds = ["face" if i % 2 else "house" for i in range(len(points))]
    coords = {"stimulus": ids, "stimulus_b": ids, "kind": ("stimulus", kinds)}
    return xr.DataArray(squareform(pdist(points)), coords, ("stimulus", "stimulus_b"))


def placed(ax):
    return np.concatenate([line.get_xydata() for line in ax.lines])


def test_what_lies_in_a_plane_keeps_its_distances():
    points = np.random.default_rng(0).random((9, 2))
    ax = nl.plot.mds(draw(points))
    np.testing.assert_allclose(pdist(placed(ax)), pdist(points), atol=1e-4)
    assert ax.get_xlabel() == "metric MDS, stress 0.00"
    assert [text.get_text() for text in ax.texts] == [f"im{i}" for i in range(9)]


def test_points_have_less_stress_than_the_classical_plane_and_say_how_much():
    points = np.random.default_rng(1).random((20, 6))
    wanted = pdist(points)
    ax = nl.plot.mds(draw(points))
    stress = np.sqrt(((pdist(placed(ax)) - wanted) ** 2).sum() / (wanted**2).sum())
    centred = points - points.mean(axis=0)
    classical = centred @ np.linalg.svd(centred)[2][:2].T
    assert stress < 0.95 * np.sqrt(((pdist(classical) - wanted) ** 2).sum() / (wanted**2).sum())
    assert ax.get_xlabel().endswith(f"stress {stress:.2f}")
    np.testing.assert_array_equal(placed(ax), placed(nl.plot.mds(draw(points))))


def test_categories_are_told_by_colour():
    ax = nl.plot.mds(draw(np.random.default_rng(2).random((7, 2))), by="kind")
    assert [(line.get_label(), len(line.get_xdata())) for line in ax.lines] == [("house", 4), ("face", 3)]
    assert ax.lines[0].get_color() != ax.lines[1].get_color()
    with pytest.raises(LabelError, match="by='category'"):
        nl.plot.mds(draw(np.random.default_rng(2).random((7, 2))), by="category")


def test_pictures_lie_where_their_points_are():
    pixels = np.zeros((5, 8, 8, 3), dtype=np.uint8) + np.arange(5, dtype=np.uint8)[:, None, None, None]
    ids = [f"im{i}" for i in range(5)]
    images = nl.Stimuli.from_array(pixels[::-1], ids=ids[::-1])
    ax = nl.plot.mds(draw(np.random.default_rng(3).random((5, 2))), images=images)
    boxes = [child for child in ax.get_children() if isinstance(child, AnnotationBbox)]
    assert [int(box.offsetbox.get_data()[0, 0, 0]) for box in boxes] == list(range(5))
    np.testing.assert_allclose([box.xy for box in boxes], placed(ax))


def test_negative_distances_count_as_none():
    array = draw(np.random.default_rng(4).random((6, 2)))
    zero, negative = array.copy(), array.copy()
    zero[0, 1] = zero[1, 0] = 0
    negative[0, 1] = negative[1, 0] = -0.3
    np.testing.assert_array_equal(placed(nl.plot.mds(zero)), placed(nl.plot.mds(negative)))


def test_what_has_no_place_is_refused():
    array = draw(np.random.default_rng(5).random((6, 2)))
    array[2] = array[:, 2] = np.nan
    with pytest.raises(InputError, match="'im2' are missing"):
        nl.plot.mds(array)
    with pytest.raises(InputError, match="one point"):
        nl.plot.mds(array.copy(data=np.zeros((6, 6))))
