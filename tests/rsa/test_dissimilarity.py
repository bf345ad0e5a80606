"""RDMs with labels: what is a feature, what is skipped, what is shared, what is said."""

import json
import tracemalloc

import dask
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
        (draw().isel(stimulus=[0]), InputError, "has 1 stimuli"),
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


def draw_responses(n_runs=3, missing=(), dtype=float):
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((5, 12))
    values = (truth + rng.standard_normal((n_runs, 5, 12))).astype(dtype)
    for run, stimulus in missing:
        values[run, stimulus] = np.nan
    coords = {"stimulus": IDS, "neuroid": [f"v{i}" for i in range(12)], "run": np.arange(n_runs)}
    return xr.DataArray(values, coords, ("run", "stimulus", "neuroid"))


def draw_residuals(subject=None):
    values = np.random.default_rng(1).standard_normal((2, 30, 12)) * np.linspace(0.5, 2, 12)
    coords = {"neuroid": [f"v{i}" for i in range(12)]}
    return xr.DataArray(values, coords, ("run", "time", "neuroid"))


def test_crossnobis_uses_runs_and_counts_them():
    array, covariance = draw_responses(missing=[(0, 1)]), nl.rsa.noise_covariance(draw_residuals())
    got = nl.rdm(array, metric="crossnobis", noise=covariance)
    assert got.dims == ("stimulus", "stimulus_b")
    assert got.n_runs.sel(stimulus="dog").values.tolist() == [2] * 5
    assert int(got.n_runs.sel(stimulus="cat", stimulus_b="cow")) == 3
    precision = np.linalg.inv(covariance.values)
    first, second = (array.sel(stimulus=s).values for s in ("cat", "cow"))
    d = first - second
    want = np.mean([d[i] @ precision @ d[j] for i in range(3) for j in range(3) if i != j]) / 12
    assert float(got.sel(stimulus="cat", stimulus_b="cow")) == pytest.approx(want, abs=1e-10)
    assert nl.rdm({"V1": array}, metric="crossnobis").n_runs.dims == ("op", "stimulus", "stimulus_b")


def test_crossnobis_keeps_subjects_each_with_its_own_noise():
    subjects = xr.concat([draw_responses(), 2 * draw_responses()], "subject").assign_coords(
        subject=["a", "b"]
    )
    residuals = xr.concat([draw_residuals() * 2, draw_residuals()], "subject").assign_coords(
        subject=["b", "a"]
    )
    covariance = nl.rsa.noise_covariance(residuals)
    assert covariance.dims == ("subject", "neuroid", "neuroid_b")
    got = nl.rdm(subjects, metric="crossnobis", noise=covariance)
    assert got.dims == ("subject", "stimulus", "stimulus_b")
    np.testing.assert_allclose(got.sel(subject="a"), got.sel(subject="b"), atol=1e-10)
    with pytest.raises(LabelError, match="noise has no entry 'b' on 'subject'"):
        nl.rdm(subjects, metric="crossnobis", noise=covariance.sel(subject=["a"]))


def test_noise_is_matched_by_neuroid():
    array, covariance = draw_responses().isel(run=0), nl.rsa.noise_covariance(draw_residuals(), method="full")
    want = nl.rdm(array, metric="mahalanobis", noise=covariance)
    order = np.random.default_rng(2).permutation(12)
    shuffled = covariance.isel(neuroid=order, neuroid_b=order)
    np.testing.assert_allclose(nl.rdm(array, metric="mahalanobis", noise=shuffled), want, rtol=1e-12)
    np.testing.assert_allclose(nl.rdm(array, metric="mahalanobis", noise=covariance.values), want, rtol=1e-12)
    variances = xr.DataArray(np.diag(covariance), {"neuroid": covariance.neuroid}, ("neuroid",))
    diagonal = nl.rsa.noise_covariance(draw_residuals(), method="diagonal")
    got = nl.rdm(array, metric="mahalanobis", noise=variances)
    np.testing.assert_allclose(got, nl.rdm(array, metric="mahalanobis", noise=diagonal), rtol=1e-12)
    with pytest.raises(LabelError, match="lacks the neuroids 'v3'"):
        nl.rdm(array, metric="mahalanobis", noise=covariance.drop_sel(neuroid="v3", neuroid_b="v3"))


def test_a_noise_covariance_removes_the_mean_of_each_run_as_rsatoolbox_does():
    noise = pytest.importorskip("rsatoolbox.data.noise")
    residuals = draw_residuals() + xr.DataArray([0.0, 50.0], dims="run")
    measured = residuals.values.transpose(0, 2, 1).copy()  # condition, channel, observation
    want = noise._estimate_covariance(measured, 58, "shrinkage_diag")  # its own count differs
    np.testing.assert_allclose(nl.rsa.noise_covariance(residuals), want, atol=1e-10)


def test_poisson_and_normalized_metrics_reach_the_labelled_layer():
    rates = np.abs(draw())
    assert float(nl.rdm(rates, metric="poisson")[0, 1]) > 0
    got = nl.rdm(rates, metric="sqeuclidean", normalize="features")
    np.testing.assert_allclose(got, scipy_rdm(rates.values, "sqeuclidean") / 36, rtol=1e-9)
    assert json.loads(got.attrs["parameters"])["normalize"] == "features"


def test_missing_features_are_left_out_pair_by_pair():
    array = draw()
    array[1, 0] = np.nan
    with pytest.warns(NeurolensWarning, match="'dog'"):
        strict = nl.rdm({"V1": array})
    assert np.isnan(strict.sel(op="V1", stimulus="dog", stimulus_b="cat"))
    got = nl.rdm({"V1": array}, missing="pairwise")
    assert got.n_common.sel(op="V1", stimulus="dog").values.tolist() == [27] * 5
    want = pdist(array.values[:2, 1:].reshape(2, -1), "correlation")[0]
    assert float(got.sel(op="V1", stimulus="cat", stimulus_b="dog")) == pytest.approx(want, abs=1e-10)


@pytest.mark.parametrize("metric", ["correlation", "cosine", "sqeuclidean"])
@pytest.mark.parametrize("lazy", ["memory", "store", "dask"])
def test_what_exceeds_the_memory_is_read_in_parts(tmp_path, lazy, metric):
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((2, 30, 8, 40)) + 20).astype(np.float32)
    ids = [f"im{i}" for i in range(30)]
    array = xr.DataArray(values, {"stimulus": ids}, ("subject", "stimulus", "channel", "x"), name="V1")
    want = nl.rdm({"V1": array, "copy": array}, metric=metric)
    if lazy == "store":
        path, form = tmp_path / "a.zarr", {"zarr_format": 3, "consolidated": False}
        array.drop_vars("stimulus").to_dataset().to_zarr(path, **form)
        array = xr.open_dataset(path, engine="zarr", chunks=None, **form).V1.assign_coords(stimulus=ids)
    if lazy == "dask":
        array = array.chunk({"stimulus": 7, "x": 10})
    got = nl.rdm({"V1": array, "copy": array}, metric=metric, memory=20_000)
    assert got.equivalent_to.values.tolist() == ["", "V1"]
    np.testing.assert_allclose(got, want, rtol=2e-4)
    assert got.attrs["skipped"] == "{}"


class Drawn(xr.backends.BackendArray):
    """Patterns that are drawn anew wherever they are read."""

    def __init__(self, n_stimuli, n_features):
        self.shape, self.dtype = (n_stimuli, n_features), np.dtype(np.float32)

    def __getitem__(self, key):
        return xr.core.indexing.explicit_indexing_adapter(
            key, self.shape, xr.core.indexing.IndexingSupport.BASIC, self._draw
        )

    def _draw(self, key):
        i, j = (np.arange(1, n + 1, dtype="f4")[part] for part, n in zip(key, self.shape, strict=True))
        drawn = np.multiply.outer(i, j)
        drawn %= 7.3
        return drawn


def measure_peak(array, memory):
    nl.rdm(array[:, :500], memory=memory)  # what is imported and kept at the first use
    tracemalloc.start()
    try:
        with dask.config.set(scheduler="synchronous"):  # one chunk at a time, however many cores there are
            values = nl.rdm(array, memory=memory).values
        return tracemalloc.get_traced_memory()[1], values
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["store", "dask"])
def test_memory_does_not_grow_with_features(kind):
    n_stimuli, memory, peaks = 96, 1_500_000, []
    for n_features in (5_000, 20_000):
        lazy = xr.core.indexing.LazilyIndexedArray(Drawn(n_stimuli, n_features))
        array = xr.DataArray(xr.Variable(("stimulus", "unit"), lazy), {"stimulus": range(n_stimuli)})
        if kind == "dask":
            array = array.chunk({"stimulus": 24, "unit": 2500})
        peak, values = measure_peak(array, memory)
        peaks.append(peak - 8 * n_features)  # the digest weighs every feature
        assert array.nbytes > memory  # it could not be held
        np.testing.assert_allclose(values, nl.rdm(array.load()), atol=1e-5)
    assert peaks[1] < 1.15 * peaks[0]
    assert max(peaks) < memory + 4 * 10**6  # working arrays that fit the cache


def test_repetitions_are_averaged_as_they_are_read():
    responses = draw(0, (5, 3, 400), ("stimulus", "repetition", "neuroid"))
    want = nl.rdm(responses)
    np.testing.assert_allclose(nl.rdm(responses, memory=9000), want, rtol=1e-9)


def test_parts_name_what_has_no_distance_and_skip_what_never_changes():
    array = draw(0, (5, 400), ("stimulus", "unit"))
    array[1] = np.nan
    same = array * 0 + array.isel(stimulus=0, drop=True)
    same[1] = same[0]
    with pytest.warns(NeurolensWarning, match="conv: 'dog'"):
        got = nl.rdm({"same": same, "conv": array}, memory=9000)
    assert json.loads(got.attrs["skipped"]) == {"same": "the same for all stimuli"}


def test_workers_give_the_same_numbers(tmp_path):
    distributed = pytest.importorskip("distributed")
    arrays = {f"layer{i}": draw(i) for i in range(5)}
    arrays["view"] = arrays["layer2"].copy()
    arrays["constant"] = xr.ones_like(draw())
    arrays = {"weight": xr.DataArray(np.ones((2, 2)), dims=("a", "b")), **arrays}
    with (
        distributed.LocalCluster(1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        got = nl.rdm(arrays, client=client)
    xr.testing.assert_identical(got, nl.rdm(arrays))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"metric": "mahalanobis"}, InputError, "noise_covariance"),
        ({"metric": "crossnobis"}, LabelError, "'run'"),
        ({"missing": "pair"}, InputError, "'pairwise'"),
        ({"metric": "poisson", "missing": "pairwise"}, InputError, "no meaning for metric='poisson'"),
        ({"metric": "crossnobis", "missing": "pairwise"}, InputError, "no meaning for metric='crossnobis'"),
        ({"missing": "pairwise", "device": "cpu"}, InputError, "leave device= out"),
        ({"memory": "lots"}, InputError, "lots"),
        ({"noise": np.eye(36)}, InputError, "no meaning for metric='correlation'"),
        ({"normalize": "features"}, InputError, "'sqeuclidean' only"),
        ({"metric": "mahalanobis", "noise": np.eye(3)}, InputError, "36 features"),
    ],
)
def test_options_without_an_answer_are_refused(options, error, says):
    with pytest.raises(error, match=says):
        nl.rdm(draw(), **options)


def test_one_run_is_too_few():
    with pytest.raises(InputError, match="at least 2; there are 1"):
        nl.rdm(draw_responses(n_runs=1), metric="crossnobis")
