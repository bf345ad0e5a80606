import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import neurolens as nl
from neurolens.errors import InputError


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def fake():
    scores = np.array([[0.5, 0.1], [0.2, 0.3], [0.1, 0.4]])
    coords = {"op": ["a", "b", "c"], "region": ["V1", "IT"], "depth": ("op", [0.0, 1.0, 0.5])}
    p = xr.DataArray([[0.01, 0.9], [0.9, 0.9], [0.9, 0.01]], dims=("op", "region"))
    return xr.Dataset({"score": (("op", "region"), scores), "p_corrected": p}, coords)


def test_rows_are_regions_and_columns_follow_depth():
    ax = nl.plot.regions(fake())
    np.testing.assert_array_equal(ax.images[0].get_array(), [[0.5, 0.1, 0.2], [0.1, 0.4, 0.3]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["V1", "IT"]


def test_rings_lie_on_the_highest_scores_and_marks_on_significant_ones():
    lines = nl.plot.regions(fake()).lines
    rings = [line.get_xdata().tolist() for line in lines if line.get_marker() == "o"]
    assert rings == [[0], [1]]
    marks = [line.get_xdata().tolist() for line in lines if line.get_marker() == "|"]
    assert marks == [[0], [1]]


def test_scores_over_other_dims_are_refused():
    with pytest.raises(InputError, match="'time'"):
        nl.plot.regions(fake().expand_dims(time=[1, 2]))
