"""Weighted embeddings against writing every copy of a stimulus out, and V^-1 against V."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import squareform

from neurolens.errors import InputError
from neurolens.numerics.embedding import (
    KINDS,
    compute_inner,
    draw_sample,
    embed,
    list_pairs,
    prepare_vectors,
    rank_weighted,
)


def draw_vectors(n_vectors, n_stimuli, seed, *, ties=False):
    values = np.random.default_rng(seed).random((n_vectors, n_stimuli * (n_stimuli - 1) // 2))
    return np.round(values, 1) if ties else values


def expand(vectors, order):
    """Pairs of a sample of stimuli with copies, those of a stimulus with itself dropped; and V of what is left."""
    rows, columns = np.triu_indices(len(order), 1)
    kept = order[rows] != order[columns]
    expanded = np.array([squareform(v)[np.ix_(order, order)][rows, columns][kept] for v in vectors])
    contrasts = np.zeros((len(rows), len(order)))
    contrasts[np.arange(len(rows)), rows], contrasts[np.arange(len(rows)), columns] = 1, -1
    v = (contrasts @ contrasts.T) ** 2
    return expanded, v[np.ix_(kept, kept)]


def measure_by_hand(left, right, v, method):
    """Similarities of expanded vectors by scipy, or by V^-1 itself."""
    n_pairs = left.shape[1]
    if KINDS[method].ranked:
        left, right = stats.rankdata(left, axis=1), stats.rankdata(right, axis=1)
    if KINDS[method].centred:
        left, right = (one - one.mean(axis=1, keepdims=True) for one in (left, right))
    if method == "rho-a":
        return 12 * left @ right.T / (n_pairs**3 - n_pairs)
    inverse = np.linalg.inv(v) if KINDS[method].whitened else np.eye(n_pairs)
    lengths = [np.sqrt(np.einsum("ij,jk,ik->i", one, inverse, one)) for one in (left, right)]
    return left @ inverse @ right.T / np.outer(*lengths)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("method", KINDS)
def test_counts_as_weights_equal_copies_written_out(method, ties):
    n_stimuli, kind = 9, KINDS[method]
    left, right = draw_vectors(3, n_stimuli, 0, ties=ties), 5 + draw_vectors(4, n_stimuli, 1, ties=ties)
    pairs = list_pairs(n_stimuli)
    prepared = [prepare_vectors(vectors, pairs, kind) for vectors in (left, right)]
    rng = np.random.default_rng(2)
    for _ in range(5):
        order = rng.integers(n_stimuli, size=n_stimuli)
        sample = draw_sample(np.bincount(order, minlength=n_stimuli), pairs, kind)
        got = compute_inner(*(embed(one, sample, kind) for one in prepared))
        (expanded_left, v), (expanded_right, _) = expand(left, order), expand(right, order)
        np.testing.assert_allclose(
            got, measure_by_hand(expanded_left, expanded_right, v, method), rtol=0, atol=1e-10
        )


@pytest.mark.parametrize("method", ["whitened-cosine", "whitened-pearson"])
def test_missing_pairs_take_their_rows_out_of_v(method):
    n_stimuli, kind = 8, KINDS[method]
    kept = np.random.default_rng(3).random(n_stimuli * (n_stimuli - 1) // 2) < 0.7
    vectors = draw_vectors(4, n_stimuli, 0)
    pairs = list_pairs(n_stimuli, kept)
    sample = draw_sample(np.ones(n_stimuli), pairs, kind)
    embedded = embed(prepare_vectors(vectors[:, kept], pairs, kind), sample, kind)
    _, v = expand(vectors, np.arange(n_stimuli))
    wanted = measure_by_hand(vectors[:, kept], vectors[:, kept], v[np.ix_(kept, kept)], method)
    np.testing.assert_allclose(compute_inner(embedded, embedded), wanted, rtol=0, atol=1e-10)


def test_control_leaves_partial_correlations():
    x, y, z = draw_vectors(3, 10, 0)
    kind, pairs = KINDS["pearson"], list_pairs(10)
    sample = draw_sample(np.ones(10), pairs, kind)
    control = embed(prepare_vectors(z, pairs, kind), sample, kind)
    both = embed(prepare_vectors(np.stack([x, y]), pairs, kind), sample, kind, control)
    r = np.corrcoef([x, y, z])
    wanted = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    assert compute_inner(both, both)[0, 1] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("method", ["pearson", "spearman", "whitened-pearson", "cosine"])
def test_what_has_no_length_has_no_similarity(method):
    vectors = np.vstack([np.full(36, 0.1 if KINDS[method].centred else 0.0), draw_vectors(1, 9, 0)])
    pairs, kind = list_pairs(9), KINDS[method]
    embedded = embed(prepare_vectors(vectors, pairs, kind), draw_sample(np.ones(9), pairs, kind), kind)
    inner = compute_inner(embedded, embedded)
    assert np.isnan(inner[0]).all()
    assert inner[1, 1] == pytest.approx(1)


def test_ranks_count_copies():
    values, weights = np.array([[3, 1, 1, 7]]), np.array([2, 1, 3, 1])
    wanted = stats.rankdata(np.repeat(values, weights))
    got = rank_weighted(np.unique(values, return_inverse=True)[1].reshape(1, -1), weights)
    np.testing.assert_array_equal(np.repeat(got, weights), wanted)


def test_vectors_must_fit_their_pairs():
    with pytest.raises(InputError, match="28 values for 36 pairs"):
        prepare_vectors(draw_vectors(1, 8, 0), list_pairs(9), KINDS["pearson"])
