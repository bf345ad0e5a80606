"""CKA, Procrustes and CCA against their definitions written out, scipy and scikit-learn."""

import numpy as np
import pytest
from scipy import linalg
from scipy.spatial.distance import pdist, squareform
from sklearn.cross_decomposition import CCA
from sklearn.metrics.pairwise import rbf_kernel

from neurolens.errors import InputError
from neurolens.numerics.representations import (
    REPRESENTATIONS,
    compute_eigenspectrum,
    compute_representation_similarity,
    prepare_representation,
)

N = 60
REDUCED = ("procrustes", "cca", "svcca", "pwcca")


def prepare(patterns, method, **options):
    distances = squareform(pdist(patterns, "sqeuclidean"))
    return prepare_representation(distances, method, n_features=patterns.shape[1], **options)


def compare(left, right, method, **options):
    return compute_representation_similarity(
        *(prepare(one, method, **options) for one in (left, right)), method
    )


def draw_patterns(seed=0, n_left=7, n_right=5):
    rng = np.random.default_rng(seed)
    left = rng.standard_normal((N, n_left)) * np.arange(1, n_left + 1) + 3
    mixed = left @ rng.standard_normal((n_left, n_right))
    return left, mixed + 4 * rng.standard_normal((N, n_right)) - 100


def hsic_unbiased(k, l):  # noqa: E741
    """Song et al. 2012, equation 5."""
    n, k, l = len(k), k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    one = np.ones(n)
    parts = (
        np.trace(k @ l)
        + (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * one @ k @ l @ one
    )
    return parts / (n * (n - 3))


def hsic_biased(k, l):  # noqa: E741
    h = np.eye(len(k)) - 1 / len(k)
    return np.trace(k @ h @ l @ h)


@pytest.mark.parametrize("method", ["cka", "cka-biased", "rbf-cka", "rbf-cka-biased"])
def test_cka_is_the_ratio_of_hsic(method):
    left, right = draw_patterns()
    if method.startswith("rbf"):
        grams = [rbf_kernel(one, gamma=1 / (2 * (0.7 * np.median(pdist(one))) ** 2)) for one in (left, right)]
    else:
        grams = [one @ one.T for one in (left, right)]
    hsic = hsic_biased if method.endswith("biased") else hsic_unbiased
    wanted = hsic(*grams) / np.sqrt(hsic(grams[0], grams[0]) * hsic(grams[1], grams[1]))
    options = {"bandwidth": 0.7} if method.startswith("rbf") else {}
    assert compare(left, right, method, **options) == pytest.approx(wanted, abs=1e-10)


def test_biased_cka_is_the_rv_coefficient():
    left, right = (one - one.mean(axis=0) for one in draw_patterns())
    cross = np.linalg.norm(left.T @ right) ** 2
    wanted = cross / (np.linalg.norm(left.T @ left) * np.linalg.norm(right.T @ right))
    assert compare(left, right, "cka-biased") == pytest.approx(wanted, abs=1e-12)


def test_procrustes_is_the_angle_after_the_best_rotation():
    left, right = (one - one.mean(axis=0) for one in draw_patterns(n_right=7))
    left, right = left / np.linalg.norm(left), right / np.linalg.norm(right)
    rotation, _ = linalg.orthogonal_procrustes(left, right)
    angle = np.arccos(np.sum((left @ rotation) * right))
    assert compare(left, right, "procrustes") == pytest.approx(1 - 2 * angle / np.pi, abs=1e-10)


def canonical_correlations(left, right):
    """Roots of the generalised eigenvalue problem of the covariances."""
    p = left.shape[1]
    c = np.cov(left, right, rowvar=False)
    a = np.block([[np.zeros((p, p)), c[:p, p:]], [c[p:, :p], np.zeros((len(c) - p,) * 2)]])
    b = linalg.block_diag(c[:p, :p], c[p:, p:])
    return np.sort(linalg.eigh(a, b, eigvals_only=True))[::-1][: min(p, len(c) - p)]


def test_cca_is_the_mean_canonical_correlation():
    left, right = draw_patterns()
    correlations = canonical_correlations(left, right)
    assert compare(left, right, "cca") == pytest.approx(correlations.mean(), abs=1e-10)
    first = np.corrcoef(*(x.ravel() for x in CCA(1).fit(left, right).transform(left, right)))[0, 1]
    assert correlations[0] == pytest.approx(first, abs=1e-3)


def test_svcca_takes_the_components_with_99_percent():
    rng = np.random.default_rng(1)
    left = rng.standard_normal((N, 8)) * [10, 8, 5, 3, 0.1, 0.1, 0.1, 0.1]
    right = left[:, ::2] + rng.standard_normal((N, 4))
    wanted = compare(left[:, :4] - left[:, :4].mean(axis=0), right, "svcca")
    assert compare(left, right, "svcca") == pytest.approx(wanted, abs=0.02)
    assert prepare(left, "svcca").values.shape[1] == 4


def test_pwcca_weighs_variates_by_what_they_carry():
    left, right = (one - one.mean(axis=0) for one in draw_patterns())
    u, s, _ = np.linalg.svd(left, full_matrices=False)
    v = np.linalg.svd(right, full_matrices=False)[0]
    directions, correlations, _ = np.linalg.svd(u.T @ v, full_matrices=False)
    variates = u @ directions
    carried = np.abs(variates.T @ (u * s)).sum(axis=1)
    wanted = np.average(correlations, weights=carried)
    assert compare(left, right, "pwcca") == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("method", REPRESENTATIONS)
def test_measures_ignore_rotation_shift_and_scale(method):
    left, right = draw_patterns()
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((7, 7)))[0]
    moved = 3 * left @ rotation + 5
    assert compare(moved, right, method) == pytest.approx(compare(left, right, method), abs=1e-9)
    assert compare(moved, left, method) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("method", ["cca", "svcca"])
def test_cca_ignores_any_linear_map(method):
    left, right = draw_patterns()
    mapped = left @ (np.eye(7) + 0.3 * np.random.default_rng(3).standard_normal((7, 7)))
    assert compare(mapped, right, "cca") == pytest.approx(compare(left, right, "cca"), abs=1e-9)


@pytest.mark.parametrize("method", REPRESENTATIONS)
def test_a_permutation_is_that_of_the_patterns(method):
    left, right = draw_patterns()
    order = np.random.default_rng(4).permutation(N)
    got = compute_representation_similarity(
        prepare(left, method), prepare(right, method), method, order=order
    )
    assert got == pytest.approx(compare(left[order], right, method), abs=1e-10)


def test_debiased_cka_of_independent_patterns_is_about_zero_and_the_biased_one_not():
    rng = np.random.default_rng(5)
    draws = [(rng.standard_normal((N, 300)), rng.standard_normal((N, 200))) for _ in range(20)]
    assert abs(np.mean([compare(*pair, "cka") for pair in draws])) < 0.01
    assert np.mean([compare(*pair, "cka-biased") for pair in draws]) > 0.7


@pytest.mark.parametrize("method", REDUCED)
def test_too_many_dimensions_are_refused(method):
    rng = np.random.default_rng(6)
    left, right = rng.standard_normal((N, 40)), rng.standard_normal((N, 30))
    with pytest.raises(InputError, match=r"n_components=14 or less"):
        compare(left, right, method)
    assert 0 < compare(left, right, method, n_components=5) < 1


@pytest.mark.parametrize("method", REPRESENTATIONS)
def test_patterns_that_do_not_differ_have_no_similarity(method):
    right = draw_patterns()[1]
    assert np.isnan(compare(np.full((N, 3), 0.1), right, method))


def test_what_has_no_answer_is_refused():
    left, _ = draw_patterns()
    with pytest.raises(InputError, match="NaN"):
        prepare_representation(np.full((5, 5), np.nan), "cka", n_features=3)
    with pytest.raises(InputError, match="at least 4"):
        prepare(left[:3], "cka")
    with pytest.raises(InputError, match="bandwidth"):
        prepare(left, "rbf-cka", bandwidth=0.0)
    with pytest.raises(InputError, match="n_components"):
        prepare(left, "cka", n_components=3)


def test_eigenspectrum_is_that_of_the_covariance():
    left, _ = draw_patterns()
    values, vectors = compute_eigenspectrum(squareform(pdist(left, "sqeuclidean")))
    wanted = np.sort(np.linalg.eigvalsh(np.cov(left, rowvar=False)))[::-1]
    np.testing.assert_allclose(values / (N - 1), wanted)
    assert vectors.shape == (N, 7)
