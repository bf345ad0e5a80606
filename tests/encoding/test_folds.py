"""Folds: complete, balanced, seeded, and never through a group."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut, ShuffleSplit

from neurolens.encoding.folds import group_folds, resolve_folds
from neurolens.errors import InputError

RUNS = np.repeat(["run1", "run2", "run3", "run4", "run5", "run6"], [9, 2, 7, 4, 5, 3])


@pytest.mark.parametrize("n_folds", [2, 3, 6])
def test_groups_stay_whole_and_every_stimulus_is_tested_once(n_folds):
    folds = group_folds(RUNS, n_folds, seed=0)
    assert len(folds) == n_folds
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(RUNS)))
    for train, test in folds:
        assert not set(RUNS[train]) & set(RUNS[test])
        assert sorted([*train, *test]) == list(range(len(RUNS)))


@pytest.mark.parametrize(("n", "n_folds"), [(92, 5), (10, 10), (7, 2)])
def test_single_stimuli_make_folds_of_equal_size(n, n_folds):
    sizes = [test.size for _, test in group_folds(np.arange(n), n_folds, seed=3)]
    assert max(sizes) - min(sizes) <= 1


def test_folds_follow_labels_and_seed_not_order():
    ids = np.array([f"image{i}" for i in range(30)])
    order = np.random.default_rng(0).permutation(30)

    def sets(labels, seed):
        return [frozenset(labels[test]) for _, test in group_folds(labels, 5, seed=seed)]

    assert sets(ids, 0) == sets(ids[order], 0)
    assert sets(ids, 0) != sets(ids, 1)


@pytest.mark.parametrize("splitter", [KFold(3), ShuffleSplit(4, random_state=0)])
def test_splitters_are_used_as_they_are(splitter):
    expected = list(splitter.split(np.zeros((12, 1))))
    folds = resolve_folds(splitter, np.arange(12), seed=0)
    for (train, test), (train_expected, test_expected) in zip(folds, expected, strict=True):
        np.testing.assert_array_equal(train, train_expected)
        np.testing.assert_array_equal(test, test_expected)


@pytest.mark.parametrize(("splitter", "n_folds"), [(GroupKFold(3), 3), (LeaveOneGroupOut(), 6)])
def test_splitters_get_the_groups(splitter, n_folds):
    folds = resolve_folds(splitter, RUNS, seed=0)
    assert len(folds) == n_folds
    assert all(not set(RUNS[train]) & set(RUNS[test]) for train, test in folds)


@pytest.mark.parametrize(
    ("cv", "groups", "message"),
    [
        (1, np.arange(5), "at least 2 folds"),
        (6, np.arange(5), "more folds than"),
        (3, np.repeat(["a", "b"], 5), "at most 2 folds"),
        (3, np.repeat("run1", 5), r"one group \('run1'\)"),
        (KFold(2), np.array(["a", "b", "a", "b"]), "'a', 'b' on both sides"),
        ([([0, 1], [1, 2])], np.arange(3), "'1' on both sides"),
        ([([0, 1], [])], np.arange(3), "0 test stimuli"),
        ([], np.arange(3), "makes no folds"),
        (True, np.arange(3), "cv=True"),
        ("loo", np.arange(3), "cv='loo'"),
        (None, np.arange(3), "cv=None"),
    ],
)
def test_folds_that_cannot_be_or_would_leak_are_errors(cv, groups, message):
    with pytest.raises(InputError, match=message):
        resolve_folds(cv, groups, seed=0)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        (2.5, r"cv=2\.5 can't split these 6 stimuli"),
        (KFold(7), "can't split these 6 stimuli.*n_splits=7"),
        ([([0, 1, 2], [3, 4, 6])], "from 3 to 6; expected positions of stimuli, whole numbers from 0 to 5"),
        ([([0, 1, 2], [-1, -2])], "from -2 to -1"),
        ([(np.arange(6) < 3, np.arange(6) >= 3)], r"bool from False to True.*np\.flatnonzero"),
        ([([0.0, 1.0], [2.0, 3.0])], "float64"),
    ],
)
def test_positions_that_are_none_are_errors(cv, message):
    with pytest.raises(InputError, match=message):
        resolve_folds(cv, np.arange(6), seed=0)
