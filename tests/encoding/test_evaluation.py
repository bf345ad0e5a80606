"""encode: recovery of known voxels, no leakage, joins by label, and an answer for what cannot be scored."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import pearsonr
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, LeaveOneOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neurolens.brain import noise_ceiling, responses, split_half
from neurolens.datasets import fetch
from neurolens.encoding import Ridge, encode
from neurolens.encoding.folds import group_folds
from neurolens.errors import InputError, LabelError, NeurolensWarning

N = 60
IDS = [f"image{i:02}" for i in range(N)]
ALPHAS = np.logspace(-1, 5, 7)
quiet = pytest.mark.filterwarnings("ignore:.*smallest or the largest alpha")
pytestmark = quiet


def features(array, **attrs):
    dims = {2: ("unit",), 4: ("channel", "y", "x")}[np.ndim(array)]
    return xr.DataArray(array, dims=("stimulus", *dims), coords={"stimulus": IDS}, attrs=attrs)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def source(rng):
    return {
        "conv.conv2d": features(
            rng.normal(size=(N, 4, 3, 3)).astype("float32"),
            depth=0.5,
            step=3,
            module="conv",
            function="conv2d",
        ),
        "fc.linear": features(rng.normal(size=(N, 8)), depth=1.0, step=7, module="fc", function="linear"),
    }


@pytest.fixture
def voxels(source, rng):
    """Six voxels of the linear layer, with noise."""
    signal = source["fc.linear"].values @ rng.normal(size=(8, 6))
    return responses(signal + rng.normal(size=(N, 6)), stimulus=IDS, region=["V1"] * 2 + ["IT"] * 4)


def test_result_has_the_vocabulary(source, voxels):
    result = encode(source, voxels)
    assert result.score.dims == result.alpha.dims == ("op", "neuroid", "fold")
    assert result.op.values.tolist() == ["conv.conv2d", "fc.linear"]
    assert result.depth.values.tolist() == [0.5, 1.0]
    assert result.step.values.tolist() == [3, 7]
    assert result.module.values.tolist() == ["conv", "fc"]
    assert result.function.values.tolist() == ["conv2d", "linear"]
    assert result.n_features.values.tolist() == [36, 8]
    assert result.region.values.tolist() == ["V1"] * 2 + ["IT"] * 4
    assert (result.n_train + result.n_test == N).all()
    assert result.n_test.isel(neuroid=0).sum() == N
    assert result.attrs["method"] == "encode"
    assert result.attrs["seed"] == 0
    assert json.loads(result.attrs["parameters"])["model"] == "Ridge"
    assert set(json.loads(result.attrs["inputs"])) == {"responses", "source"}


def test_scores_equal_a_loop_with_scikit_learn(source, voxels):
    result = encode(source["fc.linear"], voxels, model=Ridge(ALPHAS, cv=KFold(4)), cv=KFold(3))
    X, Y = source["fc.linear"].values, voxels.values
    for fold, (train, test) in enumerate(KFold(3).split(X)):
        for voxel in range(Y.shape[1]):
            reference = RidgeCV(ALPHAS, cv=KFold(4), scoring="neg_mean_squared_error")
            reference.fit(X[train], Y[train, voxel])
            cell = result.isel(neuroid=voxel, fold=fold)
            assert cell.alpha == reference.alpha_
            assert cell.score == pytest.approx(
                pearsonr(reference.predict(X[test]), Y[test, voxel]).statistic, abs=1e-8
            )


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("op", ["conv.conv2d", "fc.linear"])
@pytest.mark.parametrize("alphas", [None, ALPHAS])
def test_shared_kernel_equals_fitting_every_fold_alone(source, voxels, op, standardize, alphas):
    model = Ridge(alphas, standardize=standardize)
    source = source[op].astype("float64")
    together = encode(source, voxels, model=model)
    alone = encode(source, voxels, model=make_pipeline(model))  # a pipeline is fitted fold by fold
    np.testing.assert_allclose(together.score, alone.score, atol=1e-8)
    np.testing.assert_allclose(together.alpha, alone.alpha)


def test_recovers_simulated_voxels_and_only_with_their_own_features(source, rng):
    weights = rng.normal(size=(8, 200))
    noise = rng.normal(size=(N, 200)) * np.sqrt((weights**2).sum(axis=0))  # as strong as the signal
    voxels = responses(source["fc.linear"].values @ weights + noise, stimulus=IDS)
    result = encode(source, voxels).score.mean(["neuroid", "fold"])
    assert result.sel(op="fc.linear") == pytest.approx(np.sqrt(0.5), abs=0.1)  # less what 48 stimuli cost
    assert result.sel(op="fc.linear") < np.sqrt(0.5) + 0.02
    assert abs(result.sel(op="conv.conv2d")) < 0.1


@pytest.mark.parametrize("standardize", [False, True])
def test_pure_noise_scores_zero_within_folds(rng, standardize):
    """Scaling, centring or choosing alpha on all stimuli would move these means away from 0."""
    source = features(rng.normal(size=(N, 50)))
    voxels = responses(rng.normal(size=(N, 2000)), stimulus=IDS)
    model = Ridge(standardize=standardize)
    r = encode(source, voxels, model=model).score.mean("fold")
    assert abs(float(r.mean())) < 4 * float(r.std()) / np.sqrt(2000)
    r2 = encode(source, voxels, model=model, score="r2").score
    assert float(r2.mean()) < 0


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("n_features", [5, 200])
def test_test_responses_and_features_reach_nothing_that_is_trained(rng, standardize, n_features):
    X, Y = rng.normal(size=(N, n_features)), rng.normal(size=(N, 4))
    test = np.arange(50, 60)
    cv = [(np.arange(50), test)]
    changed_x, changed_y = X.copy(), Y.copy()
    changed_x[test] = 1e3 * changed_x[test] + 50
    changed_y[test] = 7 - 30 * changed_y[test]

    def alpha(x, y):
        result = encode(features(x), responses(y, stimulus=IDS), model=Ridge(standardize=standardize), cv=cv)
        return result.alpha.values

    np.testing.assert_allclose(alpha(changed_x, changed_y), alpha(X, Y), rtol=1e-9)
    scored = encode(features(X), responses(Y, stimulus=IDS), model=Ridge(3.0, standardize=standardize), cv=cv)
    moved = encode(
        features(X), responses(changed_y, stimulus=IDS), model=Ridge(3.0, standardize=standardize), cv=cv
    )
    np.testing.assert_allclose(moved.score, -scored.score, atol=1e-9)  # the same predictions, responses
    reversed


def test_order_of_stimuli_and_dims_does_not_matter(source, voxels, rng):
    order = rng.permutation(N)
    shuffled = {name: array.isel(stimulus=order).transpose(..., "stimulus") for name, array in source.items()}
    expected = encode(source, voxels)
    xr.testing.assert_allclose(encode(shuffled, voxels).score, expected.score, atol=1e-4)
    xr.testing.assert_allclose(encode(source, voxels.isel(stimulus=order)).score, expected.score, atol=1e-4)


def test_seed_decides_the_folds(source, voxels):
    first, again, other = (encode(source, voxels, seed=seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(first, again)
    assert not np.allclose(first.score, other.score)


def test_one_array_gives_no_op(source, voxels):
    result = encode(source["fc.linear"], voxels)
    assert result.score.dims == ("neuroid", "fold")
    np.testing.assert_array_equal(result.score, encode(source, voxels).score.sel(op="fc.linear"))


@pytest.mark.parametrize("score", ["pearson", "r2", "signed_r2"])
def test_scores_of_one_fit_agree(source, voxels, score):
    result = encode(source["fc.linear"], voxels, score=score)
    r = encode(source["fc.linear"], voxels).score
    expected = {"pearson": r, "signed_r2": r * abs(r)}
    if score == "r2":
        assert (result.score <= r**2 + 1e-12).all()  # r² is the r2 of the best line through the predictions
    else:
        np.testing.assert_allclose(result.score, expected[score])
    assert result.score.attrs["units"] == ("r" if score == "pearson" else "r2")


def test_voxel_is_an_alias_of_neuroid(source, voxels):
    renamed = voxels.rename(neuroid="voxel")
    np.testing.assert_array_equal(encode(source, renamed).score, encode(source, voxels).score)


def test_repetitions_are_averaged_after_ceilings_are_made(source, voxels, rng):
    trials = voxels + xr.DataArray(rng.normal(size=(3, N, 6)), dims=("repetition", "stimulus", "neuroid"))
    result = encode(source, trials, ceiling="noise_ceiling")
    xr.testing.assert_allclose(result.score, encode(source, trials.mean("repetition")).score)
    np.testing.assert_allclose(result.ceiling, noise_ceiling(trials))
    assert (result.ceiling.attrs["units"], result.ceiling.attrs["n_averaged"]) == ("r2", 3)
    halves = encode(source, trials, ceiling="split_half", seed=4).ceiling
    np.testing.assert_allclose(halves, split_half(trials, seed=4))
    with pytest.raises(InputError, match="repetition"):
        encode(source, voxels, ceiling="noise_ceiling")


@pytest.mark.parametrize("as_tree", [False, True])
def test_subjects_are_joined_on_their_own_and_concatenated(source, voxels, as_tree):
    subjects = {"S1": voxels.isel(stimulus=slice(0, 40)), "S2": voxels.isel(stimulus=slice(30, 60))}
    if as_tree:
        given = xr.DataTree.from_dict(
            {name: array.to_dataset(name="responses") for name, array in subjects.items()}
        )
    else:
        given = subjects
    result = encode(source, given, join="inner")
    assert result.subject.values.tolist() == ["S1"] * 6 + ["S2"] * 6
    assert set(result.n_test.sel(neuroid=result.subject == "S2").sum("fold").values) == {30}
    for name, array in subjects.items():
        alone = encode(source, array, join="inner")
        np.testing.assert_allclose(result.score[:, result.subject.values == name], alone.score)


def test_a_subject_dim_equals_a_dict_of_subjects(source, voxels):
    stacked = xr.concat(
        [voxels, voxels[:, ::-1].assign_coords(neuroid=range(6))],
        "subject",
        coords="minimal",
        compat="override",
    ).assign_coords(subject=["S1", "S2"])
    apart = {name: stacked.sel(subject=name, drop=True) for name in ("S1", "S2")}
    xr.testing.assert_identical(encode(source, stacked), encode(source, apart))


def test_stimuli_on_one_side_only_are_named(source, voxels):
    with pytest.raises(LabelError, match=r"operation 'conv.conv2d'.*'image59'"):
        encode(source, voxels.isel(stimulus=slice(0, 59)))
    result = encode(source, voxels.isel(stimulus=slice(0, 59)), join="inner")
    assert result.n_test.isel(neuroid=0).sum() == 59
    source["fc.linear"] = source["fc.linear"].isel(stimulus=slice(10, 60))
    with pytest.raises(LabelError, match=r"'fc.linear' has other stimuli"):
        encode(source, voxels, join="inner")


@pytest.mark.parametrize("side", ["responses", "source"])
@pytest.mark.parametrize("cv", [4, GroupKFold(4)])
def test_groups_are_never_separated(rng, side, cv):
    groups = np.repeat(np.arange(20), 3)
    X = np.repeat(rng.normal(size=(20, 40)), 3, axis=0)  # three presentations of each image, unrelated voxels
    Y = np.repeat(rng.normal(size=(20, 300)), 3, axis=0) + 0.3 * rng.normal(size=(N, 300))
    source, voxels = features(X), responses(Y, stimulus=IDS)
    leaked = encode(source, voxels, cv=4).score.mean()
    coords = {"image_id": ("stimulus", [f"image{g}" for g in groups])}
    if side == "responses":
        voxels = voxels.assign_coords(coords)
    else:
        source = source.assign_coords(coords)
    result = encode(source, voxels, cv=cv, groups="image_id")
    assert leaked > 0.8
    assert abs(result.score.mean()) < 0.2
    assert (result.n_test % 3 == 0).all()


def test_inner_folds_use_the_groups_too(rng):
    groups = np.repeat([f"image{i}" for i in range(20)], 3)
    X = np.repeat(rng.normal(size=(20, 40)), 3, axis=0)
    Y = np.repeat(rng.normal(size=(20, 50)), 3, axis=0) + 0.1 * rng.normal(size=(N, 50))
    voxels = responses(Y, stimulus={"stimulus": IDS, "image_id": ("stimulus", groups)})
    alphas = encode(features(X), voxels, groups="image_id", cv=4).alpha
    loose = []
    for train, _ in group_folds(groups, 4, seed=0):
        loose.append(Ridge().fit(X[train], Y[train]).alpha_)
    assert np.median(alphas) > 100 * np.median(loose)  # copies in both inner halves ask for no penalty at all


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(StandardScaler(), Ridge()),
        LinearRegression(),
        PLSRegression(n_components=2, scale=False),
        GridSearchCV(Ridge(), {"alphas": [0.1, 10.0]}, cv=3),
    ],
    ids=lambda model: type(model).__name__,
)
def test_any_scikit_learn_regressor_will_do(source, voxels, model):
    result = encode(source["fc.linear"], voxels, model=model)
    assert result.score.mean() > 0.5
    assert np.isfinite(result.alpha).all() == isinstance(getattr(model, "steps", [[0, None]])[-1][1], Ridge)
    assert not hasattr(model, "n_features_in_")


def test_a_failing_model_says_where(source, voxels):
    with pytest.raises(ValueError, match="n_components") as caught:
        encode(source, voxels, model=PLSRegression(n_components=500))
    assert "operation 'conv.conv2d'" in caught.value.__notes__[0]


def test_operations_that_can_predict_nothing_are_skipped_and_listed(source, voxels):
    source["weight"] = xr.DataArray(np.ones(3), dims="axis_1")
    source["flat"] = features(np.tile(np.arange(5.0), (N, 1)))
    result = encode(source, voxels)
    assert json.loads(result.attrs["skipped"]) == {"weight": "no stimulus axis", "flat": "constant output"}
    assert result.op.size == 2
    with pytest.raises(InputError, match="flat: constant output"):
        encode({"flat": source["flat"]}, voxels)


def test_constant_and_nan_voxels_are_nan_and_named(source, voxels):
    expected = encode(source, voxels).score
    voxels = voxels.assign_coords(neuroid=list("abcdef"))
    voxels[5, 1] = np.nan
    voxels[:, 4] = 0.1
    with pytest.warns(NeurolensWarning, match=r"2 of 6 neuroids are constant or contain NaN \('b', 'e'\)"):
        result = encode(source, voxels)
    assert np.isnan(result.score[:, [1, 4]]).all()
    np.testing.assert_allclose(result.score[:, [0, 2, 3, 5]], expected[:, [0, 2, 3, 5]])


def test_a_voxel_that_is_flat_in_one_test_fold_is_nan_there(source, voxels):
    test = group_folds(np.array(IDS), 5, seed=0)[2][1]
    voxels[test, 3] = 1.0
    with pytest.warns(NeurolensWarning, match=r"1 of 6 neuroids \(3\) have no score in some fold"):
        result = encode(source["fc.linear"], voxels)
    assert np.isnan(result.score[3]).values.tolist() == [False, False, True, False, False]


def test_edge_of_the_grid_is_one_warning_for_all(source, voxels):
    with pytest.warns(NeurolensWarning, match=r"\d+ of 60 targets chose the smallest") as caught:
        encode(source, voxels, model=Ridge([1e8, 1e9, 1e10]))
    assert len(caught) == 1


def test_float32_and_float64_agree(source, voxels):
    narrow, wide = (encode(source["conv.conv2d"].astype(dtype), voxels) for dtype in ("float32", "float64"))
    np.testing.assert_allclose(narrow.score, wide.score, atol=1e-3)


@pytest.mark.parametrize("score", ["pearson", "r2"])
def test_leave_one_out_is_refused_and_explained(source, voxels, score):
    with pytest.raises(InputError, match=r"tests 1 of 60.*within folds"):
        encode(source, voxels, cv=LeaveOneOut(), score=score)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"score": "spearman"}, InputError, "score='spearman'"),
        ({"cv": 61}, InputError, "cv=61: more folds"),
        ({"model": Ridge}, InputError, "with its"),
        ({"model": "ridge"}, InputError, "model='ridge'"),
        ({"groups": "run"}, LabelError, "groups='run' is no coord"),
        ({"join": "outer"}, InputError, "join='outer'"),
        ({"ceiling": "best"}, InputError, "ceiling='best'"),
    ],
)
def test_unknown_options_are_errors(source, voxels, change, error, message):
    with pytest.raises(error, match=message):
        encode(source, voxels, **change)


def test_more_folds_than_groups_is_an_error(source, voxels):
    grouped = voxels.assign_coords(run=("stimulus", np.repeat(["r1", "r2", "r3"], 20)))
    with pytest.raises(InputError, match=r"at most 3 folds"):
        encode(source, grouped, groups="run", cv=5)
    missing = grouped.assign_coords(run=("stimulus", [np.nan] * 2 + [1.0] * 58))
    with pytest.raises(LabelError, match="'image00', 'image01'"):
        encode(source, missing, groups="run", cv=2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_name_operation_and_stimulus(source, voxels, value):
    source["fc.linear"][7, 2] = value
    with pytest.raises(InputError, match=r"operation 'fc.linear' has 1 features.*'image07'"):
        encode(source, voxels)


def test_a_source_is_read_once_and_in_order(source, voxels):
    class Once(dict):
        reads = 0

        def items(self):
            self.reads += 1
            return super().items()

    once = Once(source)
    encode(once, voxels)
    assert once.reads == 1


def test_category_predicts_the_simulated_late_region_of_every_subject_and_not_the_early_one():
    shapes = fetch("shapes80")
    kinds, member = np.unique(shapes.stimuli.metadata["category"], return_inverse=True)
    category = xr.DataArray(
        np.eye(len(kinds))[member], dims=("stimulus", "unit"), coords=shapes.stimuli.coords()
    )
    early, late = (
        encode(category, shapes.brain[region]).score.mean("fold").groupby("subject").median()
        for region in ("simulated_early", "simulated_late")
    )
    assert late.sizes["subject"] == early.sizes["subject"] == 6
    assert (late > 0.5).all()
    assert (early < 0.2).all()


def test_responses_without_any_usable_voxel_are_an_error(source):
    with pytest.raises(InputError, match="Every neuroid"):
        encode(source, responses(np.zeros((N, 3)), stimulus=IDS))


def test_result_survives_a_file(source, voxels, tmp_path):
    result = encode(source, voxels)
    result.to_zarr(tmp_path / "scores.zarr", zarr_format=2, consolidated=True)
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "scores.zarr").load(), result)
