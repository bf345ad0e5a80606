"""Bars of models: what they show of the result of inference."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba

import neurolens as nl
from neurolens.errors import InputError
from neurolens.plot.profiles import BAND

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def result():
    """Three models of four subjects; the last beats the first and the second."""
    score = np.array([0.1, 0.2, 0.5])
    p_difference = np.array([[np.nan, 0.5, 0.01], [0.5, np.nan, 0.02], [0.01, 0.02, np.nan]])
    variables = {
        "score": ("model", score),
        "ci_low": ("model", score - 0.05),
        "ci_high": ("model", score + 0.1),
        "p_corrected": ("model", [0.3, 0.04, 0.01]),
        "score_subject": (("model", "subject"), score[:, None] + np.linspace(-0.1, 0.1, 4)),
        "difference": (("model", "model_b"), score[:, None] - score),
        "p_difference_corrected": (("model", "model_b"), p_difference),
        "ceiling_low": 0.6,
        "ceiling_high": 0.8,
    }
    names = ["edges", "parts", "kinds"]
    return xr.Dataset(
        variables, {"model": names, "model_b": names}, {"score_of": "r of RDMs, mean over subjects"}
    )


def words(ax):
    return [text.get_text() for text in ax.figure.legends[0].get_texts()]


def comparisons(ax, marker):
    found = [
        line for line in ax.lines if line.get_marker() == marker and line.get_transform() != ax.transData
    ]
    return [line.get_xdata().tolist() for line in found if len(set(np.atleast_1d(line.get_ydata()))) == 1]


def test_bars_intervals_and_subjects_are_those_of_the_result(result):
    ax = nl.plot.models(result)
    np.testing.assert_allclose([bar.get_height() for bar in ax.containers[0]], result.score)
    (bars,) = [c for c in ax.containers if hasattr(c, "has_yerr")]
    ends = np.array([segment[:, 1] for segment in bars[2][0].get_segments()])
    np.testing.assert_allclose(ends, np.stack([result.ci_low, result.ci_high], axis=1))
    dots = [line.get_ydata() for line in ax.lines if line.get_marker() == "o" and len(line.get_ydata()) == 3]
    np.testing.assert_allclose(np.transpose(dots), result.score_subject)


def test_the_band_is_the_ceiling(result):
    (band,) = [p for p in nl.plot.models(result).patches if p.get_facecolor()[:3] == to_rgba(BAND)[:3]]
    np.testing.assert_allclose([band.get_y(), band.get_y() + band.get_height()], [0.6, 0.8])
    none = result.assign(ceiling_low=np.nan, ceiling_high=np.nan)
    assert "no noise ceiling (needs several subjects)" in words(nl.plot.models(none))


@pytest.mark.parametrize(("alpha", "where"), [(0.05, [1, 2]), (0.02, [2])])
def test_stars_are_where_p_is_small(result, alpha, where):
    ax = nl.plot.models(result, alpha=alpha)
    assert [text.xy[0] for text in ax.texts if text.get_text() == "*"] == where


def test_a_line_leads_from_the_better_model_to_those_it_beats(result):
    ax = nl.plot.models(result)
    assert comparisons(ax, "|") == [[0, 1]]
    assert [2] in comparisons(ax, "o")
    nothing = nl.plot.models(result, alpha=0.001)
    assert comparisons(nothing, "|") == []
    assert "no two models differ, corrected p < 0.001" in words(nothing)


def test_sorting_moves_everything_together(result):
    ax = nl.plot.models(result, sort=True)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["kinds", "parts", "edges"]
    assert [text.xy[0] for text in ax.texts] == [0, 1]
    assert comparisons(ax, "|") == [[1, 2]]


def test_it_draws_what_infer_gives_and_refuses_the_rest():
    rng = np.random.default_rng(0)
    patterns = rng.random((4, 8, 5))
    coords = {"subject": list("abcd"), "stimulus": [f"im{i}" for i in range(8)]}
    subjects = nl.rdm(xr.DataArray(patterns, coords, ("subject", "stimulus", "unit")))
    subjects = subjects + subjects.isel(subject=0, drop=True)
    own = subjects.mean("subject")
    found = nl.rsa.infer(
        {"own": own, "other": own.copy(data=own.values[::-1, ::-1])}, subjects, n_bootstraps=20
    )
    ax = nl.plot.models(found)
    ax.figure.canvas.draw()
    assert ax.get_ylabel().replace("\n", " ") == "Spearman's ρ-a of RDMs, mean over subjects"
    with pytest.raises(InputError, match=r"plot\.profile"):
        nl.plot.models(found.expand_dims(region=["a", "b"]))
    with pytest.raises(InputError, match="infer"):
        nl.plot.models(found.score)
