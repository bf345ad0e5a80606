"""What the profile figure shows, read back from its artists."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

import neurolens as nl
from neurolens.errors import InputError

mpl.use("Agg")
MODULES = ["stem", "blocks.0", "blocks.0", "blocks.1", "head"]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def fake(regions=("IT",), n_subjects=3, offset=0.0):
    rng = np.random.default_rng(0)
    subject = rng.random((5, len(regions), n_subjects)) + offset
    dims = ("op", "region")
    return xr.Dataset(
        {
            "score": (dims, subject.mean(axis=2), {"long_name": "rho-a of RDMs; mean over subjects"}),
            "score_subject": ((*dims, "subject"), subject),
            "p_corrected": (dims, np.repeat([[0.5], [0.01], [0.2], [0.001], [np.nan]], len(regions), axis=1)),
            "ceiling_low": ("region", np.full(len(regions), 0.6)),
            "ceiling_high": ("region", np.full(len(regions), 0.8)),
        },
        {
            "op": list("abcde"),
            "depth": ("op", [0.0, 0.75, 0.25, 0.5, 1.0]),  # not in order: a branch
            "module": ("op", MODULES),
            "region": list(regions),
        },
        {"correction": "max", "model": "net"},
    )


def line(ax, label):
    (found,) = [artist for artist in ax.lines if artist.get_label() == label]
    return found


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_mean_runs_over_depth_and_each_subject_is_there():
    data = fake()
    ax = nl.plot.profile(data)
    x, y = line(ax, "mean over subjects").get_data()
    assert x.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    np.testing.assert_allclose(y, data.score.values[[0, 2, 3, 1, 4], 0])
    faint = [artist for artist in ax.lines if artist.get_alpha() == 0.3]
    assert len(faint) == 3
    assert "each of 3 subjects" in legend(ax)
    assert ax.get_ylabel() == "rho-a of RDMs"
    assert ax.get_title(loc="left") == "net · IT"


def test_the_band_is_the_ceiling():
    (band,) = nl.plot.profile(fake()).patches
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.6, 0.8))


def test_a_missing_ceiling_is_said():
    data = fake()
    data["ceiling_low"][:] = data["ceiling_high"][:] = np.nan
    ax = nl.plot.profile(data)
    assert len(ax.patches) == 0
    assert any("no noise ceiling" in text for text in legend(ax))


@pytest.mark.parametrize(("alpha", "where"), [(0.05, [0.5, 0.75]), (0.005, [0.5])])
def test_marks_are_where_the_corrected_p_is_small(alpha, where):
    ax = nl.plot.profile(fake(), alpha=alpha)
    marks = line(ax, f"p < .{str(alpha)[2:]} (max-corrected)")
    assert sorted(marks.get_xdata()) == where


@pytest.mark.parametrize("n_controls", [1, 2])
def test_controls_are_grey_and_named_once(n_controls):
    control = fake(offset=-0.5)
    ax = nl.plot.profile(fake(), control=[control] * n_controls, control_label="untrained")
    drawn = [artist for artist in ax.lines if artist.get_label() == "untrained"]
    assert len(drawn) == n_controls
    assert {artist.get_color() for artist in drawn} == {"0.45"}
    assert legend(ax).count("untrained") == 1


def test_a_region_is_chosen_by_name():
    data = fake(regions=("V1", "IT"))
    ax = nl.plot.profile(data, region="IT")
    np.testing.assert_allclose(
        line(ax, "mean over subjects").get_ydata(), data.score.sel(region="IT").values[[0, 2, 3, 1, 4]]
    )
    with pytest.raises(InputError, match="'V1', 'IT'; choose one"):
        nl.plot.profile(data)
    with pytest.raises(InputError, match="region='v1'"):
        nl.plot.profile(data, region="v1")
    with pytest.raises(InputError, match="no dim 'region'"):
        nl.plot.profile(data.isel(region=0), region="IT")


def test_by_module_shows_the_last_operation_of_each_block():
    data = fake().sortby("depth")
    ax = nl.plot.profile(data.assign_coords(module=("op", MODULES)), by="module")
    assert line(ax, "mean over subjects").get_xdata().tolist() == [0.0, 0.5, 0.75, 1.0]
    with pytest.raises(InputError, match="coord `module`"):
        nl.plot.profile(data.drop_vars("module"), by="module")


def test_modules_are_named_below_the_axis():
    ax = nl.plot.profile(fake().sortby("depth").assign_coords(module=("op", MODULES)))
    assert {text.get_text() for text in ax.texts} == {"stem", "blocks.0", "blocks.1", "head"}


def test_without_depth_operations_are_shown_in_order():
    ax = nl.plot.profile(fake().drop_vars(["depth", "module"]))
    assert ax.get_xlabel() == "operation, in order"
    assert line(ax, "mean over subjects").get_xdata().tolist() == [0, 1, 2, 3, 4]


def test_it_draws_on_the_axes_it_is_given_and_what_compare_gives():
    rng = np.random.default_rng(0)
    ids = [f"im{i}" for i in range(8)]
    layers = {
        name: xr.DataArray(rng.random((8, 9)), {"stimulus": ids}, ("stimulus", "unit")) for name in "ab"
    }
    brain = xr.DataArray(rng.random((8, 9)), {"stimulus": ids}, ("stimulus", "neuroid"))
    ax = plt.figure().add_subplot()
    assert nl.plot.profile(nl.compare(layers, brain, n_permutations=9, progress=False), ax=ax) is ax
    assert "score" in legend(ax)


def test_an_array_of_scores_is_told_how_to_become_a_profile():
    with pytest.raises(InputError, match=r"DataArray, no profile.*to_dataset"):
        nl.plot.profile(xr.DataArray([0.1, 0.2], {"op": ["a", "b"]}, ("op",)))


def test_what_is_no_profile_is_refused():
    with pytest.raises(InputError, match=r"no profile.*nl\.compare"):
        nl.plot.profile(xr.Dataset({"x": ("op", [1.0])}))


def test_intervals_and_untrained_twins_are_shaded():
    data = fake()
    low, high = data.score - 0.1, data.score + 0.1
    ax = nl.plot.profile(
        data.assign(ci_low=low, ci_high=high, untrained_low=low - 1, untrained_high=high - 1)
    )
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert {"interval of the mean", "untrained"} <= set(labels)
    assert len(ax.collections) == 2


def test_a_model_is_chosen_before_it_is_drawn():
    both = fake().expand_dims(model=["a", "b"])
    with pytest.raises(InputError, match=r"model=..."):
        nl.plot.profile(both)


@pytest.mark.parametrize("size", [(11, 4.2), (7.4, 3.4)])
def test_panels_side_by_side_keep_their_room(size):
    figure, axes = plt.subplots(1, 2, figsize=size, layout="constrained")
    for ax in axes:
        nl.plot.profile(fake(), control=fake(), control_label="untrained twin", ax=ax)
    figure.canvas.draw()
    assert all(ax.get_position().width > 0.3 for ax in axes)
    edges = [ax.get_legend().get_window_extent() for ax in axes]
    assert edges[0].x1 <= edges[1].x0
    assert edges[1].x1 <= 1.02 * figure.bbox.x1


def test_names_of_modules_stay_below_the_ticks_of_a_low_panel():
    figure, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
    nl.plot.profile(fake(), ax=ax)
    figure.canvas.draw()
    ticks = min(label.get_window_extent().y0 for label in ax.get_xticklabels())
    (title,) = {ax.xaxis.label.get_window_extent().y1}
    names = [text.get_window_extent() for text in ax.texts]
    assert names
    assert all(title <= name.y0 + 1 and name.y1 <= ticks + 1 for name in names)
