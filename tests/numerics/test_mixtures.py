"""Fitted models against a general optimiser of the score itself, and cross-validation against doing it by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LinearRegression

from neurolens.errors import InputError
from neurolens.numerics.crossvalidation import (
    Crossvalidation,
    compute_crossvalidated_bootstrap,
    draw_folds,
    score_folds,
)
from neurolens.numerics.embedding import KINDS, draw_sample, embed, list_pairs, prepare_vectors
from neurolens.numerics.mixtures import Mixture, Target, fit_mixture

N_STIMULI = 12
PAIRS = list_pairs(N_STIMULI)
ALL = np.arange(3)


def draw_data(seed=0, weights=(0.6, 0.3, -0.2)):
    rng = np.random.default_rng(seed)
    components = rng.random((3, len(PAIRS)))
    return components, np.array(weights) @ components + 0.2 * rng.random((4, len(PAIRS))) + 0.3


def make_target(subjects, method, counts=None):
    kind = KINDS[method]
    sample = draw_sample(np.ones(N_STIMULI) if counts is None else counts, PAIRS, kind)
    return Target(
        embed(prepare_vectors(subjects, PAIRS, kind), sample, kind),
        np.ones(len(subjects)),
        sample,
        PAIRS,
        kind,
    )


def maximize(components, target, bounds):
    """The best of many starts of a general optimiser on the mean similarity."""
    rng = np.random.default_rng(1)
    found = [
        minimize(lambda w: -target.compare((w @ components)[None])[0], rng.random(3), bounds=bounds)
        for _ in range(8)
    ]
    return -min(one.fun for one in found)


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("method", ["pearson", "cosine", "whitened-pearson", "whitened-cosine"])
def test_weights_maximise_the_score_itself(method, nonnegative):
    components, subjects = draw_data()
    rng = np.random.default_rng(2)
    counts = np.bincount(rng.integers(N_STIMULI, size=N_STIMULI), minlength=N_STIMULI)
    target = make_target(subjects, method, counts)
    weights = fit_mixture(Mixture(ALL, "weighted", nonnegative), components, target)
    reached = target.compare((weights @ components)[None])[0]
    bounds = [(0, None) if nonnegative else (None, None)] * 3
    assert reached >= maximize(components, target, bounds) - 1e-6
    assert (weights >= 0).all() or not nonnegative


@pytest.mark.parametrize("method", ["rho-a", "spearman"])
def test_rank_measures_are_raised_beyond_least_squares(method):
    rng = np.random.default_rng(3)
    components = rng.random((3, len(PAIRS)))
    subjects = np.exp(8 * (np.array([0.5, 0.4, 0.1]) @ components))[None]  # a line only in ranks
    target = make_target(subjects, method)
    weights = fit_mixture(Mixture(ALL, "weighted"), components, target)
    plain = LinearRegression(positive=True).fit(components.T, subjects[0]).coef_
    reached, straight = target.compare(np.stack([weights, plain]) @ components)
    assert reached > straight
    assert reached > 0.97


def test_where_nothing_helps_the_best_one_alone_is_taken():
    components, _ = draw_data()
    subjects = -components.sum(axis=0, keepdims=True) + np.random.default_rng(4).random((2, len(PAIRS)))
    target = make_target(subjects, "pearson")
    weights = fit_mixture(Mixture(ALL, "weighted"), components, target)
    alone = target.compare(components)
    assert target.compare((weights @ components)[None])[0] == pytest.approx(alone.max())
    np.testing.assert_array_equal(fit_mixture(Mixture(ALL, "selected"), components, target), weights)


def test_a_penalty_brings_weights_together():
    components, subjects = draw_data()
    target = make_target(subjects, "pearson")
    spreads = []
    for ridge in (0.0, 1.0, 100.0):
        weights = fit_mixture(Mixture(ALL, "weighted", True, ridge), components, target)
        spreads.append(np.ptp(weights / np.abs(weights).max()))
    assert spreads[0] >= spreads[1] >= spreads[2]


def test_folds_are_scored_as_by_hand():
    components, subjects = draw_data()
    setup = Crossvalidation([Mixture(ALL, "weighted", False)], components, subjects, "pearson", PAIRS, 3)
    folds = draw_folds(np.ones(N_STIMULI, dtype=int), 3, np.random.default_rng(0))
    got, _ = score_folds(setup, np.ones(N_STIMULI, dtype=int), np.ones(4), folds)
    wanted = []
    for fold in range(3):
        test = (folds[PAIRS.rows] == fold) & (folds[PAIRS.columns] == fold)
        train = (folds[PAIRS.rows] != fold) & (folds[PAIRS.columns] != fold)
        part = subjects[:, train]
        aim = ((part - part.mean(axis=1, keepdims=True)) / part.std(axis=1, keepdims=True)).mean(axis=0)
        model = LinearRegression().fit(components[:, train].T, aim)
        wanted.append([np.corrcoef(model.predict(components[:, test].T), s)[0, 1] for s in subjects[:, test]])
    np.testing.assert_allclose(got[0], np.mean(wanted, axis=0), atol=1e-7)


def test_more_splits_take_their_own_noise_out():
    components, subjects = draw_data(weights=(0.3, 0.1, 0.0))
    setup = Crossvalidation([Mixture(ALL, "weighted")], components, subjects, "pearson", PAIRS, 3)
    options = {"resample": "subject", "n_samples": 30, "seed": 0}
    few, many = (compute_crossvalidated_bootstrap(setup, n_repeats=n, **options).variance[0] for n in (2, 12))
    assert few == pytest.approx(many, rel=0.8, abs=2e-3)
    with pytest.raises(InputError, match="at least 2"):
        compute_crossvalidated_bootstrap(setup, n_repeats=1, **options)


def test_folds_need_three_stimuli_each():
    counts = np.array([2, 0, 1, 1, 0, 3, 1, 1, 1, 2, 0, 1])
    folds = draw_folds(counts, 3, np.random.default_rng(0))
    assert (folds[counts == 0] == -1).all()
    assert np.bincount(folds[counts > 0]).tolist() == [3, 3, 3]
    with pytest.raises(InputError, match="n_folds=3 or fewer"):
        draw_folds(counts, 4, np.random.default_rng(0))
