"""Similarities of dissimilarity vectors against scipy and brute force."""

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import squareform

from neurolens.errors import InputError
from neurolens.numerics.similarity import MEASURES, compute_similarity


def draw(n_vectors, n_pairs, seed=0, levels=None):
    rng = np.random.default_rng(seed)
    return (
        rng.integers(levels, size=(n_vectors, n_pairs)) * 1.0 if levels else rng.random((n_vectors, n_pairs))
    )


def tau_a_by_counting(a, b):
    pairs = list(itertools.combinations(range(len(a)), 2))
    return sum(np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in pairs) / len(pairs)


def explicit_v(n_stimuli, covariance=None):
    """(C S C') o (C S C'), written out."""
    covariance = np.eye(n_stimuli) if covariance is None else covariance
    rows, columns = np.triu_indices(n_stimuli, 1)
    contrasts = np.eye(n_stimuli)[rows] - np.eye(n_stimuli)[columns]
    return (contrasts @ covariance @ contrasts.T) ** 2


def whitened_cosine(a, b, v=None):
    v = explicit_v(round((1 + np.sqrt(1 + 8 * len(a))) / 2)) if v is None else v
    return a @ np.linalg.solve(v, b) / np.sqrt((a @ np.linalg.solve(v, a)) * (b @ np.linalg.solve(v, b)))


def whitened_pearson(a, b, v=None):
    return whitened_cosine(a - a.mean(), b - b.mean(), v)


WHITENED = {"whitened-cosine": whitened_cosine, "whitened-pearson": whitened_pearson}
RSATOOLBOX = {
    "pearson": "corr",
    "cosine": "cosine",
    "spearman": "spearman",
    "rho-a": "rho-a",
    "kendall-tau-a": "tau-a",
    "kendall-tau-b": "tau-b",
    "whitened-pearson": "corr_cov",
    "whitened-cosine": "cosine_cov",
}


TRUTHS = {
    **WHITENED,
    "kendall-tau-b": lambda a, b: stats.kendalltau(a, b).statistic,
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


@pytest.mark.parametrize("method", MEASURES)
def test_symmetric_and_blind_to_the_order_of_stimuli(method):
    a, b = draw(2, 66, 0, 5), draw(3, 66, 1, 5)
    order = np.random.default_rng(3).permutation(12)
    cells = squareform(np.arange(66))[np.ix_(order, order)][np.triu_indices(12, 1)]
    got = compute_similarity(a, b, method)
    np.testing.assert_allclose(got, compute_similarity(b, a, method).T, atol=1e-14)
    np.testing.assert_allclose(got, compute_similarity(a[:, cells], b[:, cells], method), atol=1e-13)


@pytest.mark.parametrize(
    ("method", "value", "want"),
    [
        ("pearson", 0.1, np.nan),
        ("spearman", 0.1, np.nan),
        ("cosine", 0.0, np.nan),
        ("rho-a", 0.1, 0.0),
        ("kendall-tau-a", 0.1, 0.0),
        ("kendall-tau-b", 0.1, np.nan),
        ("whitened-pearson", 0.1, np.nan),
        ("whitened-cosine", 0.0, np.nan),
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


@pytest.mark.parametrize("levels", [None, 3])
@pytest.mark.parametrize("method", RSATOOLBOX)
def test_equals_rsatoolbox(method, levels):
    toolbox = pytest.importorskip("rsatoolbox.rdm")
    left, right = draw(3, 66, 0, levels), draw(2, 66, 1, levels)
    want = toolbox.compare(toolbox.RDMs(left), toolbox.RDMs(right), method=RSATOOLBOX[method])
    np.testing.assert_allclose(compute_similarity(left, right, method), want, atol=1e-10)


def draw_covariance(n, seed=4):
    half = np.random.default_rng(seed).standard_normal((n, 2 * n))
    return half @ half.T / n


COVARIANCES = {
    "identity": np.eye(9),
    "variances": np.diag(np.linspace(0.5, 3, 9)),
    "full": draw_covariance(9),
}


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("method", WHITENED)
def test_whitening_equals_the_explicit_inverse_of_v(method, covariance):
    left, right, s = draw(3, 36), draw(2, 36, 1), COVARIANCES[covariance]
    v = explicit_v(9, s)
    want = [[WHITENED[method](a, b, v) for b in right] for a in left]
    np.testing.assert_allclose(compute_similarity(left, right, method, covariance=s), want, atol=1e-12)


@pytest.mark.parametrize("covariance", [None, "full"])
@pytest.mark.parametrize("method", WHITENED)
def test_whitening_of_some_pairs_uses_their_part_of_v(method, covariance):
    kept = np.random.default_rng(2).random(36) < 0.7
    left, right = draw(3, 36)[:, kept], draw(2, 36, 1)[:, kept]
    s = None if covariance is None else COVARIANCES[covariance]
    v = explicit_v(9, s)[np.ix_(kept, kept)]
    want = [[WHITENED[method](a, b, v) for b in right] for a in left]
    got = compute_similarity(left, right, method, covariance=s, kept=kept)
    np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("n_stimuli", [3, 4, 30])
def test_equal_whitening_is_linear_cka_of_squared_distances(n_stimuli):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n_stimuli, 5)), rng.standard_normal((n_stimuli, 7))
    rows, columns = np.triu_indices(n_stimuli, 1)
    left, right = (((m[rows] - m[columns]) ** 2).sum(axis=1) for m in (x, y))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    cka = np.linalg.norm(x.T @ y) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y)
    assert compute_similarity(left, right, "whitened-cosine")[0, 0] == pytest.approx(cka, abs=1e-12)


def partial_by_regression(a, b, controls, side="both"):
    design = np.column_stack([np.ones(len(a)), *controls])
    residual = [y - design @ np.linalg.lstsq(design, y, rcond=None)[0] for y in (a, b)]
    a = residual[0] if side in ("both", "left") else a
    b = residual[1] if side in ("both", "right") else b
    return stats.pearsonr(a, b).statistic


@pytest.mark.parametrize("side", ["both", "left", "right"])
@pytest.mark.parametrize("method", ["pearson", "spearman", "rho-a"])
def test_controls_are_regressed_out(method, side):
    left, right, controls = draw(3, 45, 0), draw(2, 45, 1), draw(2, 45, 2)
    left += controls[0]
    right += controls[0] + controls[1]
    got = compute_similarity(left, right, method, controls=controls, control_side=side)
    if method != "pearson":
        left, right, controls = (stats.rankdata(v, axis=1) for v in (left, right, controls))
    want = [[partial_by_regression(a, b, controls, side) for b in right] for a in left]
    np.testing.assert_allclose(got, want, atol=1e-10)


def test_a_whitened_control_is_generalised_least_squares():
    a, b, control = draw(1, 36), draw(1, 36, 1), draw(1, 36, 2)
    root = np.linalg.inv(np.linalg.cholesky(explicit_v(9, COVARIANCES["full"])))
    a_w, b_w, c_w = (root @ v[0] for v in (a, b, control))
    a_w, b_w = a_w - c_w * (a_w @ c_w) / (c_w @ c_w), b_w - c_w * (b_w @ c_w) / (c_w @ c_w)
    got = compute_similarity(a, b, "whitened-cosine", covariance=COVARIANCES["full"], controls=control)
    assert got[0, 0] == pytest.approx(a_w @ b_w / np.sqrt((a_w @ a_w) * (b_w @ b_w)), abs=1e-12)


def test_what_a_control_explains_has_no_similarity_left():
    control = draw(1, 45)
    got = compute_similarity(3 * control + 1, draw(1, 45, 1), "pearson", controls=control)
    assert np.isnan(got).all()


def test_a_repeated_control_counts_once():
    a, b, control = draw(1, 45), draw(1, 45, 1), draw(1, 45, 2)
    want = compute_similarity(a, b, "pearson", controls=control)
    twice = np.vstack([control, 2 * control])
    np.testing.assert_allclose(compute_similarity(a, b, "pearson", controls=twice), want, atol=1e-12)


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("pearson", {"covariance": np.eye(10)}, "no meaning for method='pearson'"),
        ("whitened-cosine", {"covariance": np.eye(9)}, r"shape \(9, 9\); there are 10"),
        ("whitened-cosine", {"covariance": np.ones((10, 10))}, "cannot be inverted"),
        ("whitened-cosine", {"covariance": -np.eye(10)}, "not positive definite"),
        ("kendall-tau-a", {"controls": draw(1, 45)}, "no partial form of method='kendall-tau-a'"),
        ("pearson", {"controls": np.ones((1, 45))}, "constant"),
        ("pearson", {"controls": draw(1, 44)}, "same number of pairs"),
        ("pearson", {"controls": draw(1, 45), "control_side": "rdms"}, "'both'"),
    ],
)
def test_options_without_an_answer_are_refused(method, options, says):
    with pytest.raises(InputError, match=says):
        compute_similarity(draw(1, 45), draw(1, 45, 1), method, **options)


def test_whitening_needs_all_pairs_of_some_number_of_stimuli():
    with pytest.raises(InputError, match="44 values are not the pairs"):
        compute_similarity(draw(1, 44), draw(1, 44), "whitened-cosine")
    many = np.ones(11_175, dtype=bool)
    many[0] = False
    with pytest.raises(InputError, match="Leave out whole stimuli"):
        compute_similarity(draw(1, 11_174), draw(1, 11_174), "whitened-cosine", kept=many)
