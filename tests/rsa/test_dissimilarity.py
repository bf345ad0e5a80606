"""RDMs with labels: what is a feature, what is skipped, what is shared, what is said."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import pdist, squareform

import neurolens as nl
from neurolens.errors import InputError, LabelError, NeurolensWarning

IDS = ["cat", "dog", "cow", "ant", "bee"]


def draw(seed=0, shape=(5, 4, 3, 3), dims=("stimulus", "channel", "y", "x"), ids=IDS, **attrs):
    values = np.random.default_rng(seed).standard_normal(shape)
    coords = {"stimulus": list(ids), "kind": ("stimulus", ["mammal"] * 3 + ["insect"] * 2)}
    return xr.DataArray(values, coords, dims, attrs=attrs)


def scipy_rdm(patterns, metric="correlation"):
    return squareform(pdist(np.asarray(patterns).reshape(len(patterns), -1), metric))


def test_every_source_of_activations_and_a_choice_among_them_give_the_same():
    arrays = {"stem": draw(0), "head": draw(1)}
    want = nl.rdm(arrays)
    tree = xr.DataTree.from_dict({name: a.to_dataset(name="data") for name, a in arrays.items()})
    for source in (xr.Dataset(arrays), tree):
        np.testing.assert_array_equal(nl.rdm(source).sel(op=["stem", "head"]), want)
    np.testing.assert_array_equal(nl.rdm(arrays, ops="h*"), want.sel(op=["head"]))


@pytest.mark.parametrize("metric", ["correlation", "cosine", "euclidean", "sqeuclidean"])
def test_one_array_has_no_op_and_equals_scipy(metric):
    array = draw()
    got = nl.rdm(array, metric=metric)
    assert got.dims == ("stimulus", "stimulus_b")
    np.testing.assert_allclose(got, scipy_rdm(array.values, metric), rtol=1e-9)
    assert got.attrs["metric"] == metric


def test_stimuli_keep_their_order_and_metadata():
    got = nl.rdm(draw())
    assert got.stimulus.values.tolist() == got.stimulus_b.values.tolist() == IDS
    assert got.kind.values.tolist()[-1] == "insect"


def test_stimulus_need_not_come_first():
    array = draw()
    np.testing.assert_allclose(nl.rdm(array.transpose("channel", "stimulus", "y", "x")), nl.rdm(array))


def test_operations_are_stacked_in_order_with_what_is_known_of_them():
    source = {
        "a.conv2d": draw(0, depth=0.1, step=3, module="a", function="conv2d", model="net"),
        "b": draw(1, (5, 7), ("stimulus", "unit"), depth=0.9, step=8, module="", function="add", model="net"),
    }
    got = nl.rdm(source)
    assert got.dims == ("op", "stimulus", "stimulus_b")
    assert got.op.values.tolist() == ["a.conv2d", "b"]
    assert got.depth.values.tolist() == [0.1, 0.9]
    assert got.module.values.tolist() == ["a", ""]
    assert got.n_features.values.tolist() == [36, 7]
    assert got.attrs["model"] == "net"
    np.testing.assert_allclose(got.sel(op="b"), scipy_rdm(source["b"].values), rtol=1e-9)


def test_what_the_source_does_not_tell_is_not_invented():
    assert "depth" not in nl.rdm({"a": draw()}).coords


@pytest.mark.parametrize("dim", ["subject", "time", "session"])
def test_subjects_and_times_have_rdms_of_their_own(dim):
    responses = draw(0, (2, 5, 30), (dim, "stimulus", "neuroid")).assign_coords({dim: [7, 9]})
    got = nl.rdm(responses)
    assert got.dims == (dim, "stimulus", "stimulus_b")
    assert got[dim].values.tolist() == [7, 9]
    for label in (7, 9):
        np.testing.assert_allclose(got.sel({dim: label}), scipy_rdm(responses.sel({dim: label}).values))


def test_passes_are_features_unless_kept():
    array = draw(0, (5, 2, 6), ("stimulus", "pass", "unit"))
    np.testing.assert_allclose(nl.rdm(array), scipy_rdm(array.values))
    kept = nl.rdm({"gru": array}, over=["pass"])
    assert kept.dims == ("op", "pass", "stimulus", "stimulus_b")
    np.testing.assert_allclose(kept[0, 1], scipy_rdm(array.isel({"pass": 1}).values))


def test_repetitions_are_averaged_and_voxels_are_neuroids():
    responses = draw(0, (5, 3, 20), ("stimulus", "repetition", "voxel"))
    np.testing.assert_allclose(nl.rdm(responses), scipy_rdm(responses.values.mean(axis=1)))


def test_identical_values_in_another_shape_share_one_rdm():
    conv = draw()
    flat = conv.stack(unit=("channel", "y", "x")).drop_vars(["unit", "channel", "y", "x"], errors="ignore")
    got = nl.rdm({"conv": conv, "flatten": flat, "dropout": flat.copy(), "other": draw(3)})
    assert got.equivalent_to.values.tolist() == ["", "conv", "conv", ""]
    np.testing.assert_array_equal(got.sel(op="conv"), got.sel(op="flatten"))


def test_operations_without_an_rdm_are_listed_with_the_reason():
    constant = xr.ones_like(draw()) * draw().isel(stimulus=0, drop=True)
    source = {
        "weight": xr.DataArray(np.ones((3, 3)), dims=("a", "b")),
        "constant": constant,
        "flat": draw(0, (5, 1), ("stimulus", "unit")),
        "complex": draw().astype(complex),
        "good": draw(),
    }
    got = nl.rdm(source)
    assert got.op.values.tolist() == ["good"]
    skipped = json.loads(got.attrs["skipped"])
    assert skipped["weight"] == "no stimulus dim"
    assert skipped["constant"] == "the same for all stimuli"
    assert "every pattern is constant" in skipped["flat"]
    assert "complex" in skipped["complex"]


@pytest.mark.parametrize("value", [2.0, np.nan, np.inf])
def test_a_pattern_without_distance_is_nan_and_named(value):
    array = draw()
    array[1] = value
    with pytest.warns(NeurolensWarning, match=r"relu: 'dog'\."):
        got = nl.rdm({"relu": array})
    assert np.isnan(got.sel(stimulus="dog").drop_sel(stimulus_b="dog")).all()
    rest = [i for i in IDS if i != "dog"]
    np.testing.assert_allclose(
        got.sel(op="relu", stimulus=rest, stimulus_b=rest), scipy_rdm(array.sel(stimulus=rest).values)
    )


def test_stimuli_are_joined_by_label_not_by_order():
    shuffled = draw(1).isel(stimulus=[3, 1, 0, 4, 2])
    got = nl.rdm({"a": draw(), "b": shuffled})
    np.testing.assert_allclose(got.sel(op="b"), nl.rdm(draw(1)))


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        (draw().isel(stimulus=[0, 1]), InputError, "at least 3"),
        ({"conv": draw().isel(stimulus=[0, 1])}, InputError, "conv has 2 stimuli"),
        (draw().drop_vars("stimulus"), LabelError, "no labels"),
        (draw(ids=["a", "a", "b", "c", "d"]), LabelError, "'a'"),
        ({"a": draw(), "b": draw(ids=["x", *IDS[1:]])}, LabelError, "'x'"),
        ({"weight": xr.DataArray(np.ones(3), dims="k")}, InputError, "weight: no stimulus dim"),
        (xr.DataArray(np.ones((3, 3)), dims=("a", "b")), LabelError, "stimulus"),
    ],
)
def test_bad_input_is_named(source, error, says):
    with pytest.raises(error, match=says):
        nl.rdm(source)


def test_a_wrong_metric_is_answered_with_the_right_one():
    with pytest.raises(InputError, match="Did you mean 'correlation'"):
        nl.rdm(draw(), metric="correlations")


def test_progress_goes_to_stderr_and_changes_nothing(capsys):
    got = nl.rdm({"a": draw()}, progress=True)
    assert capsys.readouterr().out == ""
    xr.testing.assert_identical(got, nl.rdm({"a": draw()}))


def test_attrs_are_plain_enough_for_any_file():
    attrs = nl.rdm({"a": draw()}).attrs
    assert all(isinstance(value, str | int | float) for value in attrs.values())
    assert json.loads(attrs["parameters"])["metric"] == "correlation"
