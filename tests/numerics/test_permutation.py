"""The permutation test against permuting by hand, and its error rate."""

import itertools
import math

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from neurolens.errors import InputError
from neurolens.numerics.embedding import KINDS, compute_inner, draw_sample, embed, list_pairs, prepare_vectors
from neurolens.numerics.permutation import compare_each, compute_permutation_test, draw_permutations
from neurolens.numerics.similarity import MEASURES, compute_similarity


def draw_vectors(n_vectors, n_stimuli, seed, n_features=8):
    rng = np.random.default_rng(seed)
    return np.stack([pdist(rng.standard_normal((n_stimuli, n_features))) for _ in range(n_vectors)])


@pytest.mark.parametrize("method", MEASURES)
def test_each_row_is_compared_with_its_own_vectors_alone(method):
    left, right = draw_vectors(3, 7, 0), draw_vectors(6, 7, 1).reshape(3, 2, -1)
    kept = np.arange(21) % 4 > 0  # pairs that lie within test folds, say
    want = [
        compute_similarity(one[kept], others[:, kept], method, kept=kept)[0]
        for one, others in zip(left, right, strict=True)
    ]
    found = compare_each(left[:, kept], right[..., kept], method, list_pairs(7, kept))
    np.testing.assert_allclose(found, want, atol=1e-12)


@pytest.mark.parametrize("method", MEASURES)
def test_equals_permuting_square_matrices_one_by_one(method):
    n = 5 if method.startswith("kendall") else 6  # these are compared one by one
    models, first, second = draw_vectors(3, n, 0), draw_vectors(2, n, 1), draw_vectors(1, n, 2)
    null = []
    for order in itertools.permutations(range(n)):  # exhaustive: the identity comes first
        references = [
            np.stack([squareform(squareform(v)[np.ix_(order, order)]) for v in subjects])
            for subjects in (first, second)
        ]
        null.append([compute_similarity(models, r, method).mean(axis=1) for r in references])
    null = np.array(null).transpose(0, 2, 1)  # (n!, model, reference)
    centred = null - null.mean(axis=0)
    result = compute_permutation_test(
        models, [first, second], method, permutations=draw_permutations(n, 10, seed=0)
    )
    assert result.n_permutations == math.factorial(n) - 1
    np.testing.assert_allclose(result.score, null[0], atol=1e-12)
    np.testing.assert_allclose(result.p, (null >= null[0] - 1e-9).mean(axis=0), atol=1e-12)
    largest = centred.max(axis=1, keepdims=True)
    np.testing.assert_allclose(result.p_max, (largest >= centred[0] - 1e-9).mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("n_stimuli", [3, 5, 7])
def test_few_stimuli_list_every_permutation_once(n_stimuli):
    permutations = draw_permutations(n_stimuli, 10, seed=0)
    assert len({tuple(p) for p in permutations}) == math.factorial(n_stimuli) - 1


def test_draws_depend_on_the_seed_alone():
    a, b, c = (draw_permutations(20, 50, seed=s) for s in (1, 1, 2))
    assert (a == b).all()
    assert (a != c).any()
    assert (np.sort(a, axis=1) == np.arange(20)).all()


def test_false_positives_stay_at_the_stated_rate():
    n_runs, n_stimuli = 300, 20
    permutations = draw_permutations(n_stimuli, 199, seed=5)
    models = draw_vectors(n_runs, n_stimuli, 6)
    hits = 0
    for model, reference in zip(models, draw_vectors(n_runs, n_stimuli, 7), strict=True):
        p = compute_permutation_test(model[None], [reference[None]], permutations=permutations).p
        hits += p[0, 0] <= 0.05
    assert 0.02 <= hits / n_runs <= 0.085  # binomial 99 % interval around .05


def test_the_maximum_statistic_holds_the_family_wise_rate():
    n_runs, n_stimuli, n_models = 200, 12, 15
    permutations = draw_permutations(n_stimuli, 199, seed=5)
    models = draw_vectors(n_models, n_stimuli, 8)
    hits = [
        compute_permutation_test(models, [reference[None]], permutations=permutations).p_max.min() <= 0.05
        for reference in draw_vectors(n_runs, n_stimuli, 9)
    ]
    assert 0.01 <= np.mean(hits) <= 0.10


def test_a_related_reference_gets_the_smallest_p():
    model = draw_vectors(1, 30, 0)
    result = compute_permutation_test(model, [model], permutations=draw_permutations(30, 99, seed=0))
    assert result.p[0, 0] == pytest.approx(1 / 100)


def test_a_model_without_similarity_has_no_p_and_spoils_no_other():
    models = np.vstack([np.ones((1, 45)), draw_vectors(1, 10, 0)])
    result = compute_permutation_test(
        models, [models[1:]], "pearson", permutations=draw_permutations(10, 99, seed=0)
    )
    assert np.isnan(result.p[0, 0])
    assert np.isnan(result.p_max[0, 0])
    assert result.p_max[1, 0] == pytest.approx(1 / 100)


def test_work_without_end_is_refused():
    vectors = draw_vectors(30, 20, 0)
    with pytest.raises(InputError, match=r"one by one.*rho-a"):
        compute_permutation_test(
            vectors, [vectors], "kendall-tau-a", permutations=draw_permutations(20, 1000, seed=0)
        )


def test_groups_keep_stimuli_among_themselves():
    groups = np.array([0, 1, 0, 1, 0])
    orders = draw_permutations(5, 10, seed=0, groups=groups)
    assert len({tuple(order) for order in orders}) == math.factorial(3) * math.factorial(2) - 1
    assert (groups[orders] == groups).all()
    drawn = draw_permutations(24, 30, seed=0, groups=np.arange(24) % 3)
    assert ((np.arange(24) % 3)[drawn] == np.arange(24) % 3).all()
    with pytest.raises(InputError, match="change places"):
        draw_permutations(3, 10, seed=0, groups=np.arange(3))


@pytest.mark.parametrize("method", ["rho-a", "pearson", "whitened-pearson", "whitened-cosine"])
def test_within_groups_equals_permuting_by_hand(method):
    n_stimuli, groups = 7, np.array([0, 0, 1, 0, 1, 1, 0])
    rows, columns = np.triu_indices(n_stimuli, 1)
    kept = groups[rows] == groups[columns]
    models, reference = draw_vectors(2, n_stimuli, 0), draw_vectors(3, n_stimuli, 1)
    orders = draw_permutations(n_stimuli, 10, seed=0, groups=groups)
    found = compute_permutation_test(
        models[:, kept], [reference[:, kept]], method, permutations=orders, groups=groups
    )
    kind, pairs = KINDS[method], list_pairs(n_stimuli, kept)
    sample = draw_sample(np.ones(n_stimuli), pairs, kind)

    def score(vectors):
        sides = [embed(prepare_vectors(one[:, kept], pairs, kind), sample, kind) for one in (models, vectors)]
        return compute_inner(*sides).mean(axis=1)

    null = np.array(
        [
            score(np.stack([squareform(squareform(v)[np.ix_(order, order)]) for v in reference]))
            for order in (np.arange(n_stimuli), *orders)
        ]
    )
    np.testing.assert_allclose(found.score[:, 0], null[0], atol=1e-12)
    np.testing.assert_allclose(found.p[:, 0], (null >= null[0] - 1e-9).mean(axis=0))
    np.testing.assert_allclose(found.expected[:, 0], null.mean(axis=0), atol=1e-10)


def test_control_permutes_what_is_left_and_removes_again():
    model, reference, control = draw_vectors(1, 6, 0)[0], draw_vectors(1, 6, 1)[0], draw_vectors(1, 6, 2)[0]
    orders = draw_permutations(6, 10, seed=0)

    def leave(vector):
        return vector - np.polyval(np.polyfit(control, vector, 1), control)

    fitted, left = reference - leave(reference), leave(reference)
    null = [
        np.corrcoef(leave(model), leave(fitted + squareform(squareform(left)[np.ix_(order, order)])))[0, 1]
        for order in (np.arange(6), *orders)
    ]
    found = compute_permutation_test(
        model[None], [reference[None]], "pearson", permutations=orders, control=control[None]
    )
    assert found.score[0, 0] == pytest.approx(null[0])
    assert found.p[0, 0] == pytest.approx(np.mean(np.array(null) >= null[0] - 1e-9))
    with pytest.raises(InputError, match="residuals"):
        compute_permutation_test(
            model[None], [reference[None]], "kendall-tau-a", permutations=orders, control=control[None]
        )
