"""PLS, least squares and banded ridge: scikit-learn's contract, independent recomputation, bad options."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from neurolens.encoding import PLS, BandedRidge, Linear, Ridge, encode, summarize_regions
from neurolens.encoding import banded as room
from neurolens.errors import InputError, LabelError, NeurolensWarning

quiet = pytest.mark.filterwarnings("ignore:.*smallest or the largest alpha")


@quiet
@parametrize_with_checks([PLS(n_components=3), Linear(), BandedRidge(n_iter=2, alphas=[0.1, 1.0])])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def simulate(n=60, p=20, n_targets=4):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p)) + 2
    return X, X @ rng.normal(size=(p, n_targets)) + 3 * rng.normal(size=(n, n_targets))


@pytest.mark.parametrize("p", [20, 100])
def test_estimators_equal_scikit_learns(p):
    X, Y = simulate(p=p)
    pairs = [
        (Linear(), LinearRegression()),
        (PLS(2), PLSRegression(2, scale=False)),
    ]
    for ours, reference in pairs:
        np.testing.assert_allclose(
            ours.fit(X, Y).predict(X), reference.fit(X, Y).predict(X), rtol=1e-4, atol=1e-4
        )
        assert ours.coef_.shape == (4, p)
        assert np.shape(ours.fit(X, Y[:, 0]).predict(X)) == (60,)


def test_pls_score_is_brain_scores(rng, label, measure):
    """Brain-Score's steps once more: PLS of 25 components, 10 splits of 90 % to 10 %, median, mean."""
    X = rng.normal(size=(60, 90)).astype("float32")
    Y = X @ rng.normal(size=(90, 12)) + 6 * rng.normal(size=(60, 12))
    splitter = ShuffleSplit(n_splits=10, test_size=0.1, random_state=1)
    result = encode(label(X), measure(Y, region="IT"), model=PLS(), cv=splitter)
    medians = []
    for train, test in splitter.split(X):
        predicted = PLSRegression(n_components=25, scale=False).fit(X[train], Y[train]).predict(X[test])
        medians.append(
            np.median([pearsonr(a, b).statistic for a, b in zip(predicted.T, Y[test].T, strict=True)])
        )
    score = summarize_regions(result, how="fold-median")
    assert score.item() == pytest.approx(np.mean(medians), abs=1e-5)
    np.testing.assert_allclose(result.score.median("neuroid"), medians, atol=1e-4)


@pytest.mark.parametrize("model", [Linear(), PLS(3)])
@pytest.mark.parametrize("p", [5, 200])
def test_shared_kernel_equals_fitting_every_fold_alone(rng, label, measure, model, p):
    X, Y = rng.normal(size=(60, p)), rng.normal(size=(60, 4))
    Y += X[:, :4]
    together, alone = (encode(label(X), measure(Y), model=m) for m in (model, make_pipeline(model)))
    np.testing.assert_allclose(together.score, alone.score, atol=1e-6)
    assert np.isnan(together.alpha).all()


def banded_data(rng, label, measure):
    X = np.concatenate([rng.normal(size=(60, 4)), 5 * rng.normal(size=(60, 30))], axis=1) + 1
    bands = np.repeat(["small", "large"], [4, 30])
    Y = np.concatenate([X[:, :4] @ rng.normal(size=(4, 3)), X[:, 4:] @ rng.normal(size=(30, 3))], axis=1)
    Y += 0.5 * Y.std(axis=0) * rng.normal(size=Y.shape)
    return label(X, "feature", band=("feature", bands)), measure(Y), bands


@quiet
def test_banded_ridge_in_encode_equals_fitting_every_fold_alone(rng, label, measure):
    source, voxels, bands = banded_data(rng, label, measure)
    options = {"n_iter": 8, "alphas": np.logspace(-3, 2, 5), "seed": 2}
    together = encode(source, voxels, model=BandedRidge(**options))
    pipeline = make_pipeline(BandedRidge(bands=bands.tolist(), **options))
    alone = encode(source.drop_vars("band"), voxels, model=pipeline)
    np.testing.assert_allclose(together.score, alone.score, atol=1e-7)
    np.testing.assert_allclose(together.alpha, alone.alpha)


@quiet
def test_banded_ridge_beats_one_penalty_where_bands_differ(rng, label, measure):
    source, voxels, _ = banded_data(rng, label, measure)
    banded, plain = (
        encode(source, voxels, model=m).score[:3].mean() for m in (BandedRidge(n_iter=30), Ridge())
    )
    assert banded > plain + 0.05


@quiet
def test_one_band_is_ridge():
    X, Y = simulate()
    centred = X - X.mean(axis=0)
    scale = np.square(centred).sum() / len(X)
    banded = BandedRidge(alphas=[0.01], n_iter=1, cv=KFold(3)).fit(X, Y)
    plain = Ridge(alphas=0.01 * scale).fit(X, Y)
    np.testing.assert_allclose(banded.coef_, plain.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(banded.intercept_, plain.intercept_)
    assert banded.band_names_ == ["all"]
    np.testing.assert_allclose(banded.share_, 1)


@quiet
def test_banded_ridge_respects_groups():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(20, 60)), 3, axis=0)
    Y = np.repeat(rng.normal(size=(20, 30)), 3, axis=0)
    alphas = [1e-4, 1e4]
    loose, tight = (
        BandedRidge(alphas=alphas, n_iter=1).fit(X, Y, groups=g).alpha_
        for g in (None, np.repeat(np.arange(20), 3))
    )
    assert (loose == 1e-4).all()  # copies of a stimulus on both sides make noise look predictable
    assert (tight == 1e4).mean() > 0.6


def test_edge_of_the_grid_is_a_warning():
    X, Y = simulate()
    with pytest.warns(NeurolensWarning, match="4 of 4 targets chose the smallest"):
        BandedRidge(alphas=[1e8, 1e9, 1e10], n_iter=1).fit(X, Y)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (PLS(0), InputError, "n_components=0"),
        (PLS(2.5), InputError, "n_components=2.5"),
        (BandedRidge(n_iter=0), InputError, "n_iter=0"),
        (BandedRidge(alphas=-1), InputError, "alphas=-1"),
        (BandedRidge(bands=["a"]), LabelError, "one name for each of 20"),
        (BandedRidge(cv=61), InputError, "the cv of BandedRidge=61"),
        (Ridge(device="abacus"), InputError, "device='abacus'"),
    ],
)
def test_bad_options_are_errors(model, error, message):
    with pytest.raises(error, match=message):
        model.fit(*simulate())


def test_more_bands_than_memory_is_an_error_before_anything_is_computed(rng, label, measure, monkeypatch):
    source, voxels, _ = banded_data(rng, label, measure)
    monkeypatch.setattr(room, "_read_free_memory", lambda: 1e5)
    with pytest.raises(InputError, match=r"2 bands of 60 stimuli need 0\.0 GB.*left"):
        encode(source, voxels, model=BandedRidge())
    monkeypatch.undo()
    with pytest.raises(InputError, match="GB of memory are left"):
        room.check_band_memory(10**4, 10**5)


def test_estimators_work_in_pipelines_and_searches():
    X, Y = simulate()
    assert GridSearchCV(PLS(), {"n_components": [1, 5]}, cv=3).fit(X, Y).best_params_ == {"n_components": 5}
    assert make_pipeline(StandardScaler(), Linear()).fit(X, Y).score(X, Y) > 0.5


@quiet
def test_ridge_on_a_torch_device_gives_the_same(rng, label, measure):
    X, Y = rng.normal(size=(60, 90)), rng.normal(size=(60, 4))
    Y += X[:, :4]
    here, there = (
        encode(label(X), measure(Y), model=Ridge(np.logspace(0, 3, 4), device=d)) for d in (None, "cpu")
    )
    np.testing.assert_allclose(here.score, there.score, atol=1e-9)
