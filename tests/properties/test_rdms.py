"""What distances and similarities must obey, whatever the patterns."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neurolens.numerics.crossnobis import compute_crossnobis
from neurolens.numerics.distances import compute_rdm
from neurolens.numerics.similarity import MEASURES, compute_similarity

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
VALUES = st.integers(-50, 50).map(lambda i: i / 8)
NOISE = np.diag([1.0, 2.0, 0.5, 3.0]) + 0.2
METRICS = ["correlation", "cosine", "euclidean", "sqeuclidean", "mahalanobis", "poisson"]


def patterns(n_features=4):
    return st.integers(3, 7).flatmap(lambda n: arrays(float, (n, n_features), elements=VALUES))


def vectors(n_vectors=2):
    return arrays(float, (n_vectors, 15), elements=st.integers(0, 40).map(float))  # six stimuli


def measure(x, metric):
    """Distances of patterns that have them."""
    x = np.abs(x) if metric == "poisson" else x
    if metric in ("correlation", "cosine"):
        assume((np.ptp(x, axis=1) > 0).all())
    return compute_rdm(x, metric, noise=NOISE if metric == "mahalanobis" else None)


@FEW
@given(x=patterns(), metric=st.sampled_from(METRICS), data=st.data())
def test_symmetric_zero_on_the_diagonal_never_negative_and_blind_to_order(x, metric, data):
    d = measure(x, metric)
    assert (d == d.T).all()
    assert (np.diag(d) == 0).all()
    assert (d >= 0).all()
    order = np.array(data.draw(st.permutations(range(len(x)))))
    np.testing.assert_allclose(
        measure(x[order], metric), d[np.ix_(order, order)], atol=1e-7 * max(1, d.max())
    )


@FEW
@given(x=patterns(), scale=st.floats(0.1, 10), shift=st.floats(-10, 10))
def test_each_metric_has_its_invariances(x, scale, shift):
    np.testing.assert_allclose(
        measure(x * scale + shift, "correlation"), measure(x, "correlation"), atol=1e-9
    )
    np.testing.assert_allclose(measure(x * scale, "cosine"), measure(x, "cosine"), atol=1e-9)
    for metric in ("euclidean", "sqeuclidean", "mahalanobis"):  # a pattern added to all changes nothing
        d = measure(x, metric)
        np.testing.assert_allclose(
            measure(x + np.arange(4) * shift, metric), d, atol=1e-5 if metric == "euclidean" else 1e-8
        )
    np.testing.assert_allclose(
        measure(x * scale, "sqeuclidean"), scale**2 * measure(x, "sqeuclidean"), atol=1e-8
    )


@FEW
@given(x=patterns())
def test_distances_rotate_and_embed(x):
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))
    d = measure(x, "sqeuclidean")
    np.testing.assert_allclose(measure(x @ rotation, "sqeuclidean"), d, atol=1e-9 * max(1, d.max()))
    for squared in (d, measure(x, "mahalanobis")):
        centre = np.eye(len(x)) - 1 / len(x)
        gram = -centre @ squared @ centre / 2
        assert np.linalg.eigvalsh(gram)[0] >= -1e-9 * max(1, squared.max())
    assert measure(x, "correlation").max() <= 2 + 1e-12
    assert measure(x, "cosine").max() <= 2 + 1e-12


@FEW
@given(x=arrays(float, (3, 5, 4), elements=VALUES), data=st.data())
def test_crossnobis_is_blind_to_the_order_of_runs_and_to_what_a_run_adds(x, data):
    d, _ = compute_crossnobis(x)
    runs = np.array(data.draw(st.permutations(range(3))))
    np.testing.assert_allclose(compute_crossnobis(x[runs])[0], d, atol=1e-9)
    np.testing.assert_allclose(compute_crossnobis(x + np.arange(3)[:, None, None] * 7.0)[0], d, atol=1e-8)
    repeated, _ = compute_crossnobis(np.stack([x[0]] * 3))  # runs without noise: the plain distance
    np.testing.assert_allclose(repeated, compute_rdm(x[0], "sqeuclidean", normalize="features"), atol=1e-9)


@FEW
@given(v=vectors(), method=st.sampled_from(list(MEASURES)))
def test_similarities_are_symmetric_bounded_and_largest_with_itself(v, method):
    assume((np.ptp(v, axis=1) > 0).all())
    a, b = v[:1], v[1:]
    similarity = compute_similarity(a, b, method)[0, 0]
    assert similarity == pytest.approx(compute_similarity(b, a, method)[0, 0], abs=1e-12)
    assert abs(similarity) <= 1 + 1e-12
    itself = compute_similarity(a, a, method)[0, 0]
    assert itself <= 1 + 1e-12
    if method not in ("rho-a", "kendall-tau-a"):  # ties keep these from 1
        assert itself == pytest.approx(1)


@FEW
@given(v=vectors(), scale=st.sampled_from([0.5, 2.0, 8.0]), method=st.sampled_from(list(MEASURES)))
def test_similarities_do_not_see_the_scale(v, scale, method):
    assume((np.ptp(v, axis=1) > 0).all())
    want = compute_similarity(v[:1], v[1:], method)
    np.testing.assert_allclose(compute_similarity(scale * v[:1], v[1:], method), want, atol=1e-12)
    if method in ("spearman", "rho-a", "kendall-tau-a", "kendall-tau-b"):
        np.testing.assert_allclose(compute_similarity(np.exp(v[:1] / 8), v[1:], method), want, atol=1e-12)
    if method in ("pearson", "whitened-pearson"):
        np.testing.assert_allclose(compute_similarity(v[:1] + 3, v[1:], method), want, atol=1e-9)
