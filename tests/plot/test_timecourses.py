"""RSA over time, read back from the picture."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from scipy.stats import sem

import neurolens as nl
from neurolens.errors import InputError, LabelError

mpl.use("Agg")

TIME = np.arange(-5, 15) / 10


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def draw(seed=0):
    values = np.random.default_rng(seed).standard_normal((2, 8, 20)) / 10
    values[0, :, 8:14] += 1
    coords = {"op": ["a", "b"], "time": ("time", TIME, {"units": "s"})}
    return xr.DataArray(values, coords, ("op", "subject", "time"))


def line(ax, label):
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return found


def test_lines_are_means_and_bands_standard_errors():
    scores = draw()
    ax = nl.plot.timecourse(scores.transpose("time", "subject", "op"))
    np.testing.assert_allclose(
        line(ax, "b").get_xydata(), np.stack([TIME, scores.sel(op="b").mean("subject")], 1)
    )
    band = ax.collections[0].get_paths()[0].vertices
    mean, error = scores.values[0].mean(axis=0), sem(scores.values[0], axis=0)
    np.testing.assert_allclose(
        [band[:, 1].min(), band[:, 1].max()], [(mean - error).min(), (mean + error).max()]
    )
    assert ax.get_xlabel() == "time (s)"


def test_bars_run_where_clusters_are():
    scores = draw()
    clusters = nl.rsa.find_clusters(scores)
    ax = nl.plot.timecourse(scores, clusters=clusters)
    (bar,) = [one for one in ax.lines if one.get_linewidth() == 3]
    np.testing.assert_allclose(bar.get_xdata(), [TIME[8] - 0.05, TIME[13] + 0.05])
    assert bar.get_color() == line(ax, "a").get_color()
    with pytest.raises(InputError, match="find them for these scores"):
        nl.plot.timecourse(scores, clusters=clusters.isel(time=slice(5)))


def test_the_ceiling_is_a_band_over_time_or_for_all_times():
    over_time = xr.Dataset({"ceiling_low": ("time", TIME), "ceiling_high": ("time", TIME + 1)})
    for ceiling, low in (
        (over_time, TIME.min()),
        (xr.Dataset({"ceiling_low": 0.2, "ceiling_high": 0.4}), 0.2),
    ):
        ax = nl.plot.timecourse(draw(), ceiling=ceiling)
        (band,) = [one for one in ax.collections if one.get_label() == "noise ceiling"]
        assert band.get_paths()[0].vertices[:, 1].min() == pytest.approx(low)
    with pytest.raises(InputError, match="ceiling lacks 'ceiling_low'"):
        nl.plot.timecourse(draw(), ceiling=xr.Dataset())


def test_a_single_line_needs_no_name():
    ax = nl.plot.timecourse(draw().sel(op="a").mean("subject"))
    assert ax.get_legend() is None
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), draw().sel(op="a").mean("subject"))


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(LabelError, match="'time'"):
        nl.plot.timecourse(draw().mean("time"))
    with pytest.raises(InputError, match=r"plot\.similarity"):
        nl.plot.timecourse(draw().expand_dims(time_b=3))
    with pytest.raises(InputError, match="20 lines cannot be told apart"):
        nl.plot.timecourse(xr.concat([draw()] * 10, "op"))
