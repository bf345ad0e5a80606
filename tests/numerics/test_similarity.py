"""Similarities of dissimilarity vectors against scipy and brute force."""

import itertools

import numpy as np
import pytest
from scipy import stats

from neurolens.errors import InputError
from neurolens.numerics.similarity import MEASURES, compute_average_ranks, compute_similarity


def draw(n_vectors, n_pairs, seed=0, levels=None):
    rng = np.random.default_rng(seed)
    return (
        rng.integers(levels, size=(n_vectors, n_pairs)) * 1.0 if levels else rng.random((n_vectors, n_pairs))
    )


def tau_a_by_counting(a, b):
    pairs = list(itertools.combinations(range(len(a)), 2))
    return sum(np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in pairs) / len(pairs)


TRUTHS = {
    "pearson": lambda a, b: stats.pearsonr(a, b).statistic,
    "spearman": lambda a, b: stats.spearmanr(a, b).statistic,
    "cosine": lambda a, b: a @ b / np.sqrt((a @ a) * (b @ b)),
    "kendall-tau-a": tau_a_by_counting,
    "rho-a": lambda a, b: (
        12
        * ((stats.rankdata(a) - (len(a) + 1) / 2) @ (stats.rankdata(b) - (len(b) + 1) / 2))
        / (len(a) ** 3 - len(a))
    ),
}


@pytest.mark.parametrize("levels", [None, 4], ids=["no ties", "ties"])
@pytest.mark.parametrize("method", MEASURES)
def test_equals_its_definition_for_every_pair_of_vectors(method, levels):
    left, right = draw(3, 45, 0, levels), draw(2, 45, 1, levels)
    want = [[TRUTHS[method](a, b) for b in right] for a in left]
    np.testing.assert_allclose(compute_similarity(left, right, method), want, atol=1e-12)


def test_rho_a_is_the_expected_spearman_when_ties_are_broken_at_random():
    a, b = np.array([1.0, 1, 2, 2, 3]), np.array([2.0, 1, 1, 3, 3])

    def all_breaks(x):  # every ranking that agrees with x where x is not tied
        ranks = itertools.permutations(range(1, 6))
        return [r for r in ranks if all(r[i] < r[j] for i in range(5) for j in range(5) if x[i] < x[j])]

    expected = np.mean([stats.spearmanr(r, s).statistic for r in all_breaks(a) for s in all_breaks(b)])
    assert compute_similarity(a[None], b[None], "rho-a")[0, 0] == pytest.approx(expected, abs=1e-12)


def test_two_valued_vectors_cannot_reach_one_under_rho_a():
    model = np.repeat([0.0, 1.0], 2000)
    best = np.arange(4000.0)
    assert compute_similarity(model[None], best[None], "rho-a")[0, 0] == pytest.approx(0.75, abs=1e-3)


@pytest.mark.parametrize("levels", [None, 3])
def test_ranks_equal_scipy(levels):
    vectors = draw(4, 101, levels=levels)
    np.testing.assert_array_equal(compute_average_ranks(vectors), stats.rankdata(vectors, axis=1))


@pytest.mark.parametrize("method", MEASURES)
def test_symmetric_and_blind_to_the_order_of_pairs(method):
    a, b = draw(2, 66, 0, 5), draw(3, 66, 1, 5)
    order = np.random.default_rng(3).permutation(66)
    got = compute_similarity(a, b, method)
    np.testing.assert_allclose(got, compute_similarity(b, a, method).T, atol=1e-14)
    np.testing.assert_allclose(got, compute_similarity(a[:, order], b[:, order], method), atol=1e-13)


@pytest.mark.parametrize(
    ("method", "value", "want"),
    [
        ("pearson", 0.1, np.nan),
        ("spearman", 0.1, np.nan),
        ("cosine", 0.0, np.nan),
        ("rho-a", 0.1, 0.0),
        ("kendall-tau-a", 0.1, 0.0),
    ],
)
def test_a_constant_vector_has_the_stated_answer(method, value, want):
    got = compute_similarity(np.full((1, 10), value), draw(1, 10), method)
    np.testing.assert_allclose(got, [[want]], atol=1e-15)


@pytest.mark.parametrize(
    ("left", "right", "says"),
    [
        (np.ones((1, 3)), np.ones((1, 4)), "same number of pairs"),
        (np.array([[np.nan, 1, 2]]), np.ones((1, 3)), "NaN"),
    ],
)
def test_vectors_that_cannot_be_compared_are_refused(left, right, says):
    with pytest.raises(InputError, match=says):
        compute_similarity(left, right)


def test_a_wrong_method_lists_the_right_ones():
    with pytest.raises(InputError, match=r"rho_a.*'spearman'"):
        compute_similarity(np.ones((1, 3)), np.ones((1, 3)), "rho_a")
