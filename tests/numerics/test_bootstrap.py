"""The bootstrap against drawing subjects by hand, rsatoolbox, and closed forms."""

import numpy as np
import pytest
from scipy.spatial.distance import squareform

from neurolens.numerics.bootstrap import combine_variances, compute_bootstrap, draw_counts, make_scorer
from neurolens.numerics.ceiling import bound_by_ranks, bound_by_sums, compute_ceiling
from neurolens.numerics.embedding import KINDS, compute_inner, draw_sample, embed, list_pairs, prepare_vectors
from neurolens.numerics.similarity import MEASURES, compute_similarity

N_STIMULI, N_SUBJECTS = 12, 5
THEIRS = {"pearson": "corr", "cosine": "cosine", "spearman": "spearman", "rho-a": "rho-a"}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    truth = rng.random(N_STIMULI * (N_STIMULI - 1) // 2)
    subjects = truth + 0.7 * rng.random((N_SUBJECTS, len(truth)))
    return truth + np.array([[0.3], [1.0], [3.0]]) * rng.random((3, len(truth))), subjects


def run(data, method="pearson", *, resample="dual", n_samples=200, seed=0, n_subjects=N_SUBJECTS):
    models, subjects = data
    scorer = make_scorer(models, subjects[:n_subjects], method, pairs=list_pairs(N_STIMULI))
    return compute_bootstrap(
        scorer,
        n_stimuli=N_STIMULI,
        n_subjects=n_subjects,
        resample=resample,
        n_samples=n_samples,
        seed=seed,
    )


@pytest.mark.parametrize("method", MEASURES)
def test_scores_and_ceilings_are_those_of_comparing(data, method):
    result = run(data, method, n_samples=2)
    np.testing.assert_allclose(result.score_subject, compute_similarity(*data, method), atol=1e-10)
    np.testing.assert_allclose(
        result.ceiling, [one.mean() for one in compute_ceiling(data[1], method)], atol=1e-10
    )


@pytest.mark.parametrize(("method", "theirs"), THEIRS.items())
def test_a_sample_of_both_has_rsatoolbox_scores_and_ceilings(data, method, theirs):
    toolbox, inference = pytest.importorskip("rsatoolbox.rdm"), pytest.importorskip("rsatoolbox.inference")
    models, subjects = data
    scorer = make_scorer(models, subjects, method, pairs=list_pairs(N_STIMULI))
    rng = np.random.default_rng(1)
    for _ in range(3):
        order, drawn = np.sort(rng.integers(N_STIMULI, size=N_STIMULI)), np.sort(rng.integers(5, size=5))
        theirs_models = toolbox.RDMs(models).subsample_pattern("index", order)
        theirs_data = toolbox.RDMs(subjects).subsample("index", drawn).subsample_pattern("index", order)
        counts = np.bincount(drawn, minlength=5)
        similarity, bound = scorer(np.bincount(order, minlength=N_STIMULI))
        wanted = toolbox.compare(theirs_models, theirs_data, theirs).mean(axis=1)
        np.testing.assert_allclose(similarity @ counts / 5, wanted, atol=1e-10)
        # they average ceilings over the different subjects left out, we over all that were drawn
        order_of_low = [
            inference.boot_noise_ceiling(theirs_data, theirs, rdm_descriptor="index")[side] for side in (0, 1)
        ]
        kind = KINDS[method]
        sample = draw_sample(np.bincount(order, minlength=N_STIMULI), list_pairs(N_STIMULI), kind)
        prepared = prepare_vectors(subjects, list_pairs(N_STIMULI), kind)
        embedded = embed(prepared, sample, kind)
        if kind.ranked:
            bounds = bound_by_ranks(prepared, embedded, sample, method, counts.astype(float))
        else:
            bounds = bound_by_sums(compute_inner(embedded, embedded), counts.astype(float))
        np.testing.assert_allclose([np.nanmean(one) for one in bounds], order_of_low, atol=1e-10)
        by_hand = [counts @ np.nan_to_num(one) / 5 for one in bounds]
        np.testing.assert_allclose(bound(counts.astype(float)), by_hand, atol=1e-12)


def test_subjects_are_integrated_out_as_drawing_them_would(data):
    models, subjects = data
    similarity = compute_similarity(models, subjects, "pearson")
    drawn = np.random.default_rng(2).integers(N_SUBJECTS, size=(100_000, N_SUBJECTS))
    scores = similarity[:, drawn].mean(axis=2)
    correction = N_SUBJECTS / (N_SUBJECTS - 1)
    result = run(data, resample="subject", n_samples=1)
    np.testing.assert_allclose(result.variance, correction * scores.var(axis=1), rtol=0.02)
    wanted = correction * (scores[0] - scores[2]).var()
    assert result.variance_difference[0, 2] == pytest.approx(wanted, rel=0.02)


def test_only_subjects_random_is_the_t_test(data):
    result = run(data, resample="subject", n_samples=1)
    wanted = result.score_subject.var(axis=1, ddof=1) / N_SUBJECTS
    np.testing.assert_allclose(result.variance, wanted)
    assert (result.dof, result.n_samples) == (N_SUBJECTS - 1, 0)


def test_both_equals_drawing_both_by_hand(data):
    rng = np.random.default_rng(3)
    pairs = np.triu_indices(N_STIMULI, 1)
    squares = [[squareform(v) for v in side] for side in data]
    scores = []
    for _ in range(1500):
        order, drawn = rng.integers(N_STIMULI, size=N_STIMULI), rng.integers(N_SUBJECTS, size=N_SUBJECTS)
        kept = order[pairs[0]] != order[pairs[1]]
        sides = [np.array([s[np.ix_(order, order)][pairs][kept] for s in side]) for side in squares]
        scores.append(compute_similarity(sides[0], sides[1][drawn], "pearson").mean(axis=1))
    result = run(data, resample="both", n_samples=1500)
    np.testing.assert_allclose(result.variance, np.var(scores, axis=0, ddof=1), rtol=0.2)
    assert result.dof == N_SUBJECTS - 1


def test_dual_lies_between_its_parts(data):
    parts = {name: run(data, resample=name) for name in ("stimulus", "subject", "both", "dual")}
    assert (parts["dual"].variance <= parts["both"].variance + 1e-15).all()
    for name in ("stimulus", "subject"):
        floor = np.minimum(parts[name].variance, parts["both"].variance)
        assert (parts["dual"].variance >= floor - 1e-15).all()


def test_dual_formula_equals_rsatoolbox():
    util = pytest.importorskip("rsatoolbox.util.inference_util")
    rng = np.random.default_rng(4)
    for _ in range(20):
        both, subjects, stimuli = rng.random(3)
        wanted = util._dual_bootstrap(np.array([both, subjects, stimuli]), n_rdm=7, n_pattern=15)
        got = combine_variances(*map(np.array, (subjects, stimuli, both)), n_subjects=7, n_stimuli=15)
        assert float(got) == pytest.approx(float(wanted))


def test_draws_have_the_right_size_and_depend_on_the_seed_alone(data):
    counts = draw_counts(9, 50, np.random.default_rng(0))
    assert (counts.sum(axis=1) == 9).all()
    first, again, other = (run(data, seed=seed, n_samples=20) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.variance, again.variance)
    assert (first.variance != other.variance).all()


def test_samples_of_too_few_stimuli_are_dropped():
    rng = np.random.default_rng(0)
    scorer = make_scorer(rng.random((1, 6)), rng.random((2, 6)), "cosine", pairs=list_pairs(4))
    result = compute_bootstrap(scorer, n_stimuli=4, n_subjects=2, resample="stimulus", n_samples=500, seed=0)
    expected = 1 - (4 + 84) / 256  # one different stimulus: 4 orders of 256; two: 84
    assert result.n_samples / 500 == pytest.approx(expected, abs=0.06)
    assert np.isfinite(result.variance).all()


def test_one_subject_has_no_ceiling_but_an_interval_over_stimuli(data):
    result = run(data, resample="stimulus", n_subjects=1)
    assert np.isnan(result.ceiling).all()
    assert np.isnan(result.ceiling_error).all()
    assert (result.variance > 0).all()
