"""Steps: scikit-learn's contract, nilearn's response, pooling by xarray, and nothing across runs or folds."""

import numpy as np
import pytest
from nilearn.glm.first_level import compute_regressor
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import SparseRandomProjection
from sklearn.utils.estimator_checks import parametrize_with_checks

from neurolens.encoding import HRF, PLS, BandedRidge, Delay, Linear, Pool, Ridge, encode
from neurolens.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*smallest or the largest alpha")
RUNS = {"run": ("stimulus", np.repeat(["r1", "r2", "r3", "r4", "r5"], 12))}


def rows_that_belong_together(estimator):
    reason = "rows are volumes of a run, in order of time"
    checks = ("check_methods_sample_order_invariance", "check_methods_subset_invariance")
    return {} if isinstance(estimator, Pool) else dict.fromkeys(checks, reason)


@parametrize_with_checks([Delay(), HRF(), Pool()], expected_failed_checks=rows_that_belong_together)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("model", ["spm", "glover"])
def test_hrf_is_nilearns(model):
    """An event at the start of a volume, convolved finely by nilearn and coarsely here: much the same curve."""
    t_r, n = 1.0, 40
    impulse = np.zeros((n, 1))
    impulse[[3, 17]] = 1
    fine, _ = compute_regressor(
        np.array([[3.0, 17.0], [1.0, 1.0], [1.0, 1.0]]), model, np.arange(n) * t_r, oversampling=50
    )
    coarse = HRF(t_r=t_r, model=model).fit_transform(impulse)
    assert np.corrcoef(fine[:, 0], coarse[:, 0])[0, 1] > 0.95
    two_runs = HRF(t_r=t_r, model=model).fit(impulse).transform(impulse, groups=np.arange(n) > 9)
    np.testing.assert_array_equal(two_runs[:10], coarse[:10])
    assert (two_runs[10:17] == 0).all()


@pytest.mark.parametrize(("size", "how"), [(None, "mean"), (2, "mean"), (2, "max"), (4, "mean")])
def test_pooling_is_xarrays(rng, label, size, how):
    maps = label(rng.normal(size=(5, 3, 4, 8)))
    pooled = Pool(size=size, how=how, feature_sizes={"channel": 3, "y": 4, "x": 8}).fit_transform(
        maps.values.reshape(5, -1)
    )
    windows = maps.coarsen(y=size or 4, x=size or 8)
    np.testing.assert_allclose(pooled, getattr(windows, how)().values.reshape(5, -1))


def test_a_last_shorter_window_counts_what_it_has():
    X = np.arange(10.0).reshape(2, 5)
    pooled = Pool(["unit"], size=2, feature_sizes={"unit": 5}).fit_transform(X)
    assert pooled.tolist() == [[0.5, 2.5, 4], [5.5, 7.5, 9]]


def test_encode_tells_pool_the_dims_of_every_operation(rng, label, measure):
    source = {"conv": label(rng.normal(size=(60, 3, 4, 4))), "fc": label(rng.normal(size=(60, 6)))}
    voxels = measure(source["conv"].mean(["y", "x"]).values @ rng.normal(size=(3, 4)))
    pooled = encode(source, voxels, model=make_pipeline(Pool(), Linear()))
    by_hand = {"conv": source["conv"].mean(["y", "x"]), "fc": source["fc"]}
    np.testing.assert_allclose(pooled.score, encode(by_hand, voxels, model=Linear()).score, atol=1e-7)


def test_delays_in_encode_stay_within_runs(rng, label, measure):
    """Voxels that follow features by two volumes are found, with the runs given; runs start with nothing."""
    X = rng.normal(size=(60, 3))
    shifted = np.concatenate([np.r_[np.zeros((2, 3)), X[i : i + 10]] for i in range(0, 60, 12)])
    voxels = measure(shifted @ rng.normal(size=(3, 4)), stimulus=RUNS)
    delayed = encode(label(X), voxels, model=make_pipeline(Delay([1, 2, 3]), Linear()), groups="run", cv=5)
    np.testing.assert_allclose(delayed.score, 1, atol=1e-9)
    plain = encode(label(X), voxels, model=Linear(), groups="run")
    assert float(plain.score.mean()) < 0.5


def test_the_features_of_a_test_run_change_no_prediction_before_them_or_elsewhere(rng, label, measure):
    X, Y = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    voxels = measure(Y, stimulus=RUNS)
    model = make_pipeline(StandardScaler(), Delay([0, 1, 2]), Ridge(1.0))
    changed = X.copy()
    changed[52:] += 50  # volumes 5 and later of run 5
    before, after = (
        encode(label(x), voxels, model=model, groups="run", cv="run", predictions=True).prediction.isel(
            stimulus=slice(48, 52)
        )
        for x in (X, changed)
    )
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("model", "groups", "message"),
    [
        (make_pipeline(Delay(), Ridge(1.0)), None, "Delay mixes the volumes of a run"),
        (GridSearchCV(make_pipeline(HRF(), Ridge(1.0)), {}, cv=2), "run", "HRF cannot be told the runs"),
        (make_pipeline(Delay([0.5]), Ridge(1.0)), "run", r"delays=\[0.5\]"),
        (make_pipeline(Delay([]), Ridge(1.0)), "run", r"delays=\[\]"),
        (make_pipeline(HRF(t_r=0), Ridge(1.0)), "run", "t_r=0"),
        (make_pipeline(HRF(model="gamma"), Ridge(1.0)), "run", "model of HRF='gamma'"),
        (make_pipeline(Pool(how="sum"), Ridge(1.0)), None, "how of Pool='sum'"),
        (make_pipeline(Pool("y"), Ridge(1.0)), None, "dims='y'"),
        (make_pipeline(Pool(size=0), Ridge(1.0)), None, "size=0"),
        (make_pipeline(PCA(2), Pool(), Ridge(1.0)), None, "must be the first step"),
    ],
)
def test_bad_steps_are_errors(rng, label, measure, model, groups, message):
    source, voxels = label(rng.normal(size=(60, 4, 2, 2))), measure(rng.normal(size=(60, 2)), stimulus=RUNS)
    with pytest.raises(InputError, match=message):
        encode(source, voxels, model=model, groups=groups)


MODELS = {
    "ridge": Ridge(),
    "ridge, standardized": Ridge(standardize=True),
    "linear": Linear(),
    "pls": PLS(3),
    "banded": BandedRidge(n_iter=4),
    "scaler": make_pipeline(StandardScaler(), Ridge()),
    "pca": make_pipeline(PCA(6), Ridge()),
    "projection": make_pipeline(SparseRandomProjection(8, random_state=0), Ridge()),
    "pool": make_pipeline(Pool(["channel"], size=2), Ridge()),
    "delay": make_pipeline(Delay([0, 1]), Ridge()),
    "hrf": make_pipeline(HRF(), Ridge()),
    "search": GridSearchCV(PLS(), {"n_components": [1, 2]}, cv=GroupKFold(3)),
}


class PickMean(SelectKBest):
    """Selection of features by their correlation with the mean response: SelectKBest takes one target."""

    def fit(self, X, y):
        return super().fit(X, y.mean(axis=1))


MODELS["selection"] = make_pipeline(
    PickMean(lambda X, y: np.abs((X - X.mean(0)).T @ (y - y.mean())), k=5), Ridge()
)


@pytest.fixture
def noise(rng, label, measure):
    bands = ("channel", list("aabbccdd"))
    source = label(rng.normal(size=(60, 8, 2)), "channel", "y", band=bands)
    return source, measure(rng.normal(size=(60, 400)), stimulus=RUNS)


@pytest.mark.parametrize("name", MODELS)
def test_pure_noise_predicts_nothing(noise, name):
    """Anything fitted on the test stimuli, too, would lift these means above 0."""
    source, voxels = noise
    result = encode(source, voxels, model=MODELS[name], groups="run", predictions=True)
    r = result.score.mean("fold")
    # 400 voxels share one draw of features: their mean varies about as much as the mean over 60 stimuli allows
    assert abs(float(r.mean())) < 4 * (float(r.std()) / 20 + 0.02)
    squares = np.square(result.observed - result.prediction)
    centred = result.observed.groupby("test_fold") - result.observed.groupby("test_fold").mean()
    r2 = 1 - squares.groupby("test_fold").sum() / np.square(centred).groupby("test_fold").sum()
    assert float(r2.mean()) < 0


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("delay", "hrf")])
def test_nothing_of_a_test_stimulus_reaches_the_fit(noise, rng, name):
    """Other test responses change no prediction, other test features only those of their own stimulus."""
    source, voxels = noise
    voxels = voxels.isel(neuroid=slice(0, 3))
    ids = source.stimulus.values
    options = {"model": MODELS[name], "cv": {"train": ids[:48], "test": ids[48:]}, "predictions": True}
    options |= {"groups": "run"} if name == "search" else {}
    before = encode(source, voxels, **options).prediction
    changed = voxels.copy()
    changed[48:] = 7 - 30 * changed[48:]
    np.testing.assert_allclose(encode(source, changed, **options).prediction, before, rtol=1e-10)
    other = source.copy()
    other[50] = 1e3 * other[50] + 50
    moved = encode(other, voxels, **options).prediction
    kept = np.arange(12) != 2
    np.testing.assert_allclose(moved[kept], before[kept], rtol=1e-6, atol=1e-9)
    assert not np.allclose(moved[2], before[2])


@pytest.mark.parametrize("name", ["scaler", "pca", "projection"])
def test_steps_are_fitted_as_scikit_learn_fits_them_fold_by_fold(noise, name):
    source, voxels = noise
    voxels = voxels.isel(neuroid=slice(0, 3))
    pipeline = Pipeline([*MODELS[name].steps[:-1], ("linear", Linear())])
    ids = source.stimulus.values
    result = encode(
        source, voxels, model=pipeline, cv={"train": ids[:48], "test": ids[48:]}, predictions=True
    )
    X = source.values.reshape(60, -1)
    expected = clone(pipeline).fit(X[:48], voxels.values[:48]).predict(X[48:])
    np.testing.assert_allclose(result.prediction, expected, atol=1e-9)


def test_metadata_routing_of_scikit_learn_reaches_the_runs():
    X = np.random.default_rng(0).normal(size=(6, 2))
    runs = np.array([0, 0, 0, 1, 1, 1])
    with config_context(enable_metadata_routing=True):
        step = Delay([1]).set_transform_request(groups=True)
        routed = make_pipeline(step, Linear()).fit(X, X[:, 0], groups=runs)
        assert isinstance(routed.predict(X, groups=runs), np.ndarray)
