"""The ridge estimator: scikit-learn's contract, and agreement with other ridges."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import Ridge as ReferenceRidge
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from neurolens.encoding import BandedRidge, Ridge
from neurolens.errors import InputError, LabelError, NeurolensWarning

ALPHAS = np.logspace(-2, 3, 6)
quiet = pytest.mark.filterwarnings("ignore:.*smallest or the largest alpha")


def simulate(n=60, p=20, n_targets=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + 2
    return X, X @ rng.normal(size=(p, n_targets)) + 3 * rng.normal(size=(n, n_targets))


@quiet
@parametrize_with_checks([Ridge(), Ridge(alphas=1.0), Ridge(standardize=True)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@quiet
@pytest.mark.parametrize("p", [20, 100])
def test_equals_scikit_learn_at_the_chosen_alphas(p):
    X, Y = simulate(p=p)
    model = Ridge(ALPHAS).fit(X, Y)
    reference = ReferenceRidge(model.alpha_).fit(X, Y)
    np.testing.assert_allclose(model.coef_, reference.coef_, rtol=1e-7, atol=1e-11)
    np.testing.assert_allclose(model.intercept_, reference.intercept_)
    np.testing.assert_allclose(model.predict(X), reference.predict(X))


@quiet
def test_chooses_what_scikit_learn_chooses_with_the_same_folds():
    X, Y = simulate(p=80)
    for target in range(Y.shape[1]):
        reference = RidgeCV(ALPHAS, cv=KFold(4), scoring="neg_mean_squared_error").fit(X, Y[:, target])
        assert Ridge(ALPHAS, cv=KFold(4)).fit(X, Y[:, target]).alpha_[0] == reference.alpha_


@quiet
def test_best_score_is_the_cross_validated_r2():
    X, Y = simulate(n=120)
    model = Ridge([5.0, 5.0 + 1e-9], cv=KFold(5)).fit(X, Y)  # two alphas that are the same to the eye
    for target, y in enumerate(Y.T):
        predicted = cross_val_predict(ReferenceRidge(5.0), X, y, cv=KFold(5))
        means = cross_val_predict(DummyRegressor(), X, y, cv=KFold(5))
        expected = 1 - ((y - predicted) ** 2).sum() / ((y - means) ** 2).sum()
        assert model.best_score_[target] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("flat", [True, False])
def test_shapes_follow_y(flat):
    X, Y = simulate()
    y = Y[:, 0] if flat else Y
    model = Ridge(alphas=1.0).fit(X, y)
    assert model.alpha_.shape == ((1,) if flat else (4,))
    assert model.coef_.shape == ((20,) if flat else (4, 20))
    assert np.shape(model.intercept_) == (() if flat else (4,))
    assert model.predict(X).shape == y.shape


def test_order_of_alphas_and_repeats_do_not_matter():
    X, Y = simulate()
    forward = Ridge(ALPHAS).fit(X, Y)
    backward = Ridge([*ALPHAS[::-1], ALPHAS[2]]).fit(X, Y)
    np.testing.assert_array_equal(forward.alpha_, backward.alpha_)


def test_works_in_a_pipeline_and_a_search():
    X, Y = simulate()
    pipeline = make_pipeline(StandardScaler(), Ridge(alphas=2.0))
    inside = Ridge(alphas=2.0, standardize=True).fit(X, Y)
    np.testing.assert_allclose(pipeline.fit(X, Y).predict(X), inside.predict(X))
    search = GridSearchCV(Ridge(), {"alphas": [1e-2, 1e6]}, cv=4).fit(X, Y)
    assert search.best_params_ == {"alphas": 1e-2}


def test_clone_is_unfitted_with_the_same_parameters():
    model = Ridge(ALPHAS, cv=3, standardize=True, seed=4)
    copy = clone(model)
    assert copy.get_params()["alphas"].tolist() == ALPHAS.tolist()
    assert {k: v for k, v in copy.get_params().items() if k != "alphas"} == {
        "cv": 3,
        "standardize": True,
        "seed": 4,
        "device": None,
    }
    assert not hasattr(copy, "alpha_")


@quiet
def test_inner_folds_respect_groups():
    scores = []
    groups = np.repeat(np.arange(40), 4)
    for seed in range(7):
        rng = np.random.default_rng(seed)
        X = np.repeat(rng.normal(size=(40, 200)), 4, axis=0)  # unrelated to y, but for its copies
        y = np.repeat(rng.normal(size=40), 4) + 0.1 * rng.normal(size=160)
        models = [Ridge().fit(X, y, groups=groups), Ridge(cv=GroupKFold(5)).fit(X, y, groups=groups)]
        models.append(Ridge().fit(X, y))
        scores.append([model.best_score_[0] for model in models])
    grouped, by_splitter, leaked = np.median(scores, axis=0)
    assert abs(grouped) < 0.05
    assert abs(by_splitter) < 0.05
    assert leaked > 0.9


def test_warns_when_many_targets_choose_the_edge():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(40, 10)), rng.normal(size=(40, 30))
    with pytest.warns(NeurolensWarning, match=r"of 30 targets chose the smallest or the largest"):
        Ridge(ALPHAS).fit(X, Y)


@pytest.mark.parametrize("alphas", [0, -1.0, [1.0, np.nan], [], [[1.0]]])
def test_bad_alphas_are_errors(alphas):
    with pytest.raises(InputError, match="alphas="):
        Ridge(alphas).fit(*simulate())


def test_bad_folds_and_groups_are_errors():
    X, Y = simulate(n=10)
    with pytest.raises(InputError, match="the cv of Ridge=11: more folds than"):
        Ridge(cv=11).fit(X, Y)
    with pytest.raises(InputError, match="both sides"):
        Ridge(cv=KFold(3)).fit(X, Y, groups=np.arange(10) % 2)
    with pytest.raises(LabelError, match="10 stimuli"):
        Ridge().fit(X, Y, groups=[1, 2])


@pytest.mark.parametrize("estimator", [Ridge, BandedRidge])
def test_two_alphas_have_no_edge_to_warn_of(estimator):
    X = np.random.default_rng(0).normal(size=(30, 4))
    chosen = estimator(alphas=[1e-3, 1e3]).fit(X, X).alpha_  # warnings are errors
    assert set(chosen) <= {1e-3, 1e3}
