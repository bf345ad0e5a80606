"""Resampling of held-out predictions against loops over scipy and scikit-learn."""

import warnings

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, ShuffleSplit

from neurolens.errors import InputError
from neurolens.numerics import heldout as room
from neurolens.numerics.heldout import (
    bootstrap_scores,
    count_reuse,
    draw_bootstraps,
    draw_orders,
    permute_correlations,
    score_folds,
)

FOLDS = np.repeat([0, 1, 2], [12, 9, 10])


@pytest.fixture
def sides():
    rng = np.random.default_rng(0)
    observed = rng.normal(size=(31, 5)) + 3
    return observed, 0.5 * observed + rng.normal(size=(31, 5)) - 7


def by_hand(observed, predicted, fold_of, score):
    values = []
    for fold in np.unique(fold_of):
        rows = fold_of == fold
        pairs = list(zip(observed[rows].T, predicted[rows].T, strict=True))
        r = np.array([pearsonr(*pair).statistic for pair in pairs])
        known = {"pearson": r, "signed_r2": r * abs(r), "r2": [r2_score(*pair) for pair in pairs]}
        values.append(known[score])
    return np.mean(values, axis=0)


@pytest.mark.parametrize("score", ["pearson", "r2", "signed_r2"])
def test_scores_equal_scipy_and_scikit_learn(sides, score):
    np.testing.assert_allclose(score_folds(*sides, FOLDS, score), by_hand(*sides, FOLDS, score))


def test_permuted_correlations_equal_a_loop(sides, monkeypatch):
    observed, predicted = sides
    orders = draw_orders(FOLDS, np.arange(31), 7, seed=0)
    expected = [by_hand(observed[order], predicted, FOLDS, "pearson") for order in orders]
    np.testing.assert_allclose(permute_correlations(observed, predicted, FOLDS, orders), expected)
    monkeypatch.setattr(room, "_COLUMNS", 2)
    np.testing.assert_allclose(permute_correlations(observed, predicted, FOLDS, orders), expected)


@pytest.mark.parametrize("score", ["pearson", "r2", "signed_r2"])
def test_bootstrapped_scores_equal_a_loop_over_repeated_stimuli(sides, score):
    counts = draw_bootstraps(FOLDS, np.arange(31), 6, seed=0)
    for sample, row in zip(bootstrap_scores(*sides, FOLDS, counts, score), counts, strict=True):
        drawn = np.repeat(np.arange(31), row.astype(int))
        expected = by_hand(*(side[drawn] for side in sides), FOLDS[drawn], score)
        np.testing.assert_allclose(sample, expected)


def test_orders_stay_within_folds_and_keep_blocks_whole():
    blocks = np.array([f"b{i // 3}" for i in range(31)])
    for order in draw_orders(FOLDS, blocks, 20, seed=0):
        assert sorted(order) == list(range(31))
        np.testing.assert_array_equal(FOLDS[order], FOLDS)
        for block in np.unique(blocks[:12]):
            rows = np.flatnonzero(blocks[:12] == block)
            assert np.ptp(np.diff(order[rows])) == 0  # neighbours stay neighbours, in order
            assert len(set(blocks[order[rows]])) == 1


@pytest.mark.filterwarnings("ignore:Only 6 orders")
def test_every_order_of_a_fold_is_equally_likely():
    orders = draw_orders(np.zeros(3), np.arange(3), 6000, seed=0)
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert counts.size == 6
    assert (abs(counts - 1000) < 150).all()


def test_blocks_that_cannot_change_places_are_an_error():
    with pytest.raises(InputError, match="No permutation is possible"):
        draw_orders(np.array([0, 0, 1, 1, 1]), np.array(["a", "a", "b", "b", "b"]), 5, seed=0)


def test_bootstrap_counts_draw_whole_blocks_of_each_fold():
    blocks = np.repeat(["a", "b", "c", "d"], [6, 6, 9, 10])
    counts = draw_bootstraps(FOLDS, blocks, 50, seed=0)
    for block in "abcd":
        assert (np.ptp(counts[:, blocks == block], axis=1) == 0).all()
    assert (counts[:, 12:] == 1).all()  # one block is all that its fold has
    np.testing.assert_array_equal(counts[:, 0] + counts[:, 6], 2)


@pytest.mark.parametrize(
    ("folds", "reuse"),
    [
        (list(KFold(5).split(np.zeros(20))), 1.0),
        ([(np.arange(15), np.arange(15, 20))], 0.0),
        ([(np.arange(10, 20), np.arange(5)), (np.arange(10), np.arange(10, 20))], 2 / 3),
    ],
)
def test_reuse_is_the_share_of_pairs_used_both_ways(folds, reuse):
    used = {(t, s) for train, test in folds for t in test for s in train}
    assert count_reuse(folds, 20) == pytest.approx(len({(s, t) for t, s in used} & used) / len(used))
    assert count_reuse(folds, 20) == pytest.approx(reuse)


def test_reuse_of_random_splits_lies_between():
    assert 0 < count_reuse(list(ShuffleSplit(4, test_size=0.2, random_state=0).split(np.zeros(30))), 30) < 1


def test_columns_that_do_not_vary_are_nan(sides):
    observed, predicted = sides
    predicted[:12, 1] = 0.1
    orders = draw_orders(FOLDS, np.arange(31), 3, seed=0)
    assert np.isnan(permute_correlations(observed, predicted, FOLDS, orders)[:, 1]).all()
    assert np.isfinite(np.delete(permute_correlations(observed, predicted, FOLDS, orders), 1, axis=1)).all()


def test_a_quadratic_form_explains_the_missing_half_of_the_variance():
    """K-fold with fixed symmetric weights: sum over pairs counts each twice, as held-out permutation does not."""
    rng = np.random.default_rng(0)
    fold_of, n = np.repeat([0, 1, 2, 3], 10), 40
    K = rng.normal(size=(n, 60))
    K = K @ K.T * (fold_of[:, None] != fold_of)
    real, kept = [], []
    for _ in range(4000):
        y = rng.normal(size=n)
        real.append(y @ K @ y)
        kept.append(rng.normal(size=n) @ K @ y)
    folds = [(np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k)) for k in range(4)]
    assert np.var(real) / np.var(kept) == pytest.approx(1 + count_reuse(folds, n), rel=0.1)


@pytest.mark.parametrize(("sizes", "possible"), [((1, 1, 2), 2), ((3, 3), 36)])
def test_few_possible_orders_are_told(sizes, possible):
    fold_of = np.repeat(np.arange(len(sizes)), np.multiply(sizes, 4))
    runs = np.arange(sum(sizes)).repeat(4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        orders = draw_orders(fold_of, runs, 400, seed=0)
    assert len(np.unique(orders, axis=0)) == possible
    assert [f"Only {possible} orders" in str(w.message) for w in caught] == ([True] if possible < 20 else [])
