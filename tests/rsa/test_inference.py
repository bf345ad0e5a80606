"""Inference on models of RDMs: what it says, what it refuses, and that its error rates are those it states."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from neurolens.errors import InputError, LabelError, NeurolensWarning
from neurolens.numerics.embedding import KINDS
from neurolens.rsa import Selected, Weighted, compare_rdms, infer, noise_ceiling
from neurolens.rsa.similarity import MEASURES

N_STIMULI, N_SUBJECTS = 16, 6
IDS = [f"im{i}" for i in range(N_STIMULI)]


def draw_rdms(n, rng, truth=0.0, n_stimuli=N_STIMULI):
    return np.stack(
        [squareform(pdist(truth + rng.standard_normal((n_stimuli, 6)), "sqeuclidean")) for _ in range(n)]
    )


def label(squares, dim, names=None):
    coords = {dim: list(range(len(squares))) if names is None else names, "stimulus": IDS, "stimulus_b": IDS}
    array = xr.DataArray(squares, coords, (dim, "stimulus", "stimulus_b"))
    return array.assign_coords(kind=("stimulus", ["face"] * (N_STIMULI // 2) + ["house"] * (N_STIMULI // 2)))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    patterns = rng.standard_normal((N_STIMULI, 6))
    subjects = draw_rdms(N_SUBJECTS, rng, patterns)
    models = np.stack([squareform(pdist(patterns, "sqeuclidean")), *draw_rdms(2, rng)])
    return label(models, "op", ["truth", "b", "c"]), label(subjects, "subject")


def quick(models, data, **options):
    return infer(models, data, **{"n_bootstraps": 50, "n_permutations": 99, **options})


@pytest.mark.parametrize("method", [*MEASURES])
def test_scores_and_ceilings_are_those_of_their_own_functions(data, method):
    permutations = 0 if method.startswith("kendall") else 20
    result = infer(*data, method=method, n_bootstraps=3, n_permutations=permutations)
    np.testing.assert_allclose(result.score_subject, compare_rdms(*data, method=method), atol=1e-10)
    np.testing.assert_allclose(result.score, result.score_subject.mean("subject"), atol=1e-12)
    ceiling = noise_ceiling(data[1], method=method)
    for name in ("ceiling_low", "ceiling_high"):
        assert float(result[name]) == pytest.approx(float(ceiling[name]), abs=1e-10)


def test_the_true_model_is_found_and_differs_from_the_others(data):
    result = quick(*data, n_bootstraps=300)
    assert result.score.idxmax() == "truth"
    assert float(result.p.sel(op="truth")) == pytest.approx(0.01)
    assert (result.p_difference.sel(op="truth", op_b=["b", "c"]) < 0.05).all()
    assert (
        (result.p_difference_corrected >= result.p_difference)
        .where(result.p_difference.notnull(), True)
        .all()
    )
    assert float(result.ceiling_low) < float(result.ceiling_high)
    np.testing.assert_allclose(result.difference, -result.difference.T.values)


def test_subjects_alone_give_the_paired_t_test(data):
    result = quick(*data, resample="subject", test="t", n_bootstraps=0)
    scores = result.score_subject
    paired = stats.ttest_rel(scores.sel(op="truth"), scores.sel(op="b"))
    assert float(result.p_difference.sel(op="truth", op_b="b")) == pytest.approx(paired.pvalue)
    one_sided = stats.ttest_1samp(scores, 0, axis=1, alternative="greater")
    np.testing.assert_allclose(result.p, one_sided.pvalue)
    interval = stats.ttest_1samp(scores, 0, axis=1).confidence_interval(0.95)
    np.testing.assert_allclose([result.ci_low, result.ci_high], [interval.low, interval.high])


def test_sign_flips_are_all_listed(data):
    result = quick(*data, test="sign-flip", n_bootstraps=0)
    assert result.attrs["n_permutations"] == 2**N_SUBJECTS - 1
    reference = stats.permutation_test(
        (result.score_subject.sel(op="b").values,),
        np.mean,
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="greater",
    )
    assert float(result.p.sel(op="b")) == pytest.approx(reference.pvalue)


def test_cosines_are_tested_against_their_chance(data):
    result = quick(*data, method="cosine", test="t", resample="subject")
    assert (result.chance > 0.7).all()
    assert float(result.p.sel(op="b")) > 0.01
    with pytest.raises(InputError, match="not 0 by chance"):
        quick(*data, method="cosine", test="t", control=data[0].isel(op=2))
    unbiased = data[1].assign_attrs(metric="crossnobis")
    assert (quick(data[0], unbiased, method="cosine", test="t", resample="subject").chance == 0).all()


def test_control_leaves_nothing_of_itself(data):
    models, subjects = data
    result = quick(models, subjects, control=models.sel(op="truth"), method="pearson")
    assert np.isnan(result.score.sel(op="truth"))
    left = squareform(models.sel(op="b").values, checks=False)
    truth = squareform(models.sel(op="truth").values, checks=False)
    for subject in (0, 3):
        right = squareform(subjects.sel(subject=subject).values, checks=False)
        residuals = [v - np.polyval(np.polyfit(truth, v, 1), truth) for v in (left, right)]
        wanted = np.corrcoef(*residuals)[0, 1]
        assert float(result.score_subject.sel(op="b", subject=subject)) == pytest.approx(wanted)


def test_within_takes_only_pairs_of_a_category(data):
    models, subjects = data
    result = quick(models, subjects, within="kind", method="spearman")
    faces = dict.fromkeys(("stimulus", "stimulus_b"), IDS[: N_STIMULI // 2])
    houses = dict.fromkeys(("stimulus", "stimulus_b"), IDS[N_STIMULI // 2 :])
    left, right = (
        np.concatenate([squareform(one.sel(part).values, checks=False) for part in (faces, houses)])
        for one in (models.sel(op="b"), subjects.sel(subject=1))
    )
    assert float(result.score_subject.sel(op="b", subject=1)) == pytest.approx(
        stats.spearmanr(left, right)[0]
    )
    assert result.attrs["n_pairs"] == 2 * (8 * 7 // 2)
    with pytest.raises(LabelError, match="within='animal'"):
        quick(models, subjects, within="animal")


def test_one_subject_is_resampled_over_stimuli(data):
    models, subjects = data
    result = quick(models, subjects.isel(subject=0, drop=True))
    assert result.attrs["resample"] == "stimulus"
    assert np.isnan(result.ceiling_high)
    assert (result.standard_error > 0).all()
    assert "score_subject" not in result
    with pytest.raises(InputError, match="need several subjects"):
        quick(models, subjects.isel(subject=[0]), resample="dual")


def test_a_subject_missing_is_named(data):
    models, subjects = data
    empty, partly = subjects.copy(), subjects.copy()
    empty[2] = np.nan
    with pytest.raises(InputError, match="Subject 2 has no RDM"):
        quick(models, empty)
    partly[4, 0, 1] = partly[4, 1, 0] = np.nan
    with pytest.raises(InputError, match="Subject 4 misses other pairs"):
        quick(models, partly)


def test_pairs_that_all_miss_are_left_out_but_not_permuted(data):
    models, subjects = data
    subjects = subjects.copy()
    subjects[:, 0, 1] = subjects[:, 1, 0] = np.nan
    with pytest.raises(InputError, match="cannot be permuted"):
        quick(models, subjects)
    result = quick(models, subjects, n_permutations=0, method="pearson")
    kept = np.flatnonzero(~np.isnan(squareform(subjects[0].values, checks=False)))
    left, right = (squareform(one.values, checks=False)[kept] for one in (models[1], subjects[3]))
    assert float(result.score_subject[1, 3]) == pytest.approx(np.corrcoef(left, right)[0, 1])
    assert np.isnan(result.p).all()


def test_a_model_with_missing_pairs_has_no_score(data):
    models, subjects = data
    models = models.copy()
    models[1, 0, 1] = models[1, 1, 0] = np.nan
    with pytest.warns(NeurolensWarning, match="'b'"):
        result = quick(models, subjects)
    assert np.isnan(result.score.sel(op="b"))
    assert np.isnan(result.difference.sel(op_b="b")).all()
    np.testing.assert_allclose(result.p.sel(op="truth"), 0.01)


def test_negative_ceilings_are_told(data):
    rng = np.random.default_rng(7)
    first = squareform(pdist(rng.standard_normal((N_STIMULI, 6))))
    opposed = label(np.stack([first, (first.max() - first) * (1 - np.eye(N_STIMULI))]), "subject")
    with pytest.warns(NeurolensWarning, match="lower noise ceiling is -"):
        result = quick(data[0], opposed)
    assert float(result.ceiling_low) < 0


def test_stimuli_are_joined_by_label(data):
    models, subjects = data
    order = np.random.default_rng(0).permutation(N_STIMULI)
    shuffled = subjects.isel(stimulus=order, stimulus_b=order)
    np.testing.assert_allclose(quick(models, shuffled).score, quick(models, subjects).score)
    part = subjects.isel(stimulus=slice(0, 10), stimulus_b=slice(0, 10))
    with pytest.raises(LabelError, match="only in model 'truth'"):
        quick(models, part)
    assert quick(models, part, join="inner").attrs["n_stimuli"] == 10


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "pearsson"}, "pearson"),
        ({"resample": "voxel"}, "stimulus"),
        ({"confidence": 95}, "between 0 and 1"),
        ({"n_bootstraps": -1}, "n_bootstraps"),
        ({"n_bootstraps": 1}, "no spread"),
        ({"n_folds": 3}, "Weighted or Selected"),
        ({"test": "t", "n_bootstraps": 0}, "standard error"),
    ],
)
def test_options_without_a_meaning_are_refused(data, options, match):
    with pytest.raises(InputError, match=match):
        quick(*data, **options)


def test_two_stimuli_are_too_few(data):
    few = [one.isel(stimulus=[0, 1], stimulus_b=[0, 1]) for one in data]
    with pytest.raises(InputError, match="2 stimuli"):
        quick(*few)


def test_results_depend_on_the_seed_alone(data):
    first, again, other = (quick(*data, seed=seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(first, again)
    assert (first.standard_error != other.standard_error).all()


def test_fitted_weights_recover_a_mixture_and_beat_its_parts():
    rng = np.random.default_rng(3)
    parts = draw_rdms(3, rng)
    truth = 0.7 * parts[0] + 0.3 * parts[1]
    noise = draw_rdms(N_SUBJECTS, rng)
    subjects = label(truth + 0.2 * noise, "subject")
    components = label(parts, "component")
    models = {
        "sum": Weighted(components),
        "best": Selected(components),
        "first": components.isel(component=0, drop=True),
        "third": components.isel(component=2, drop=True),
    }
    for method in ("pearson", "rho-a"):
        result = quick(models, subjects, method=method, n_bootstraps=6, n_permutations=19)
        score = result.score.to_series()
        assert score["sum"] > score["first"] > score["third"]
        assert score["best"] == pytest.approx(score["first"])
        assert float(result.p.sel(model="sum")) == pytest.approx(0.05)
        assert score["sum"] < float(result.ceiling_high) + 0.02
        weight = result.weight.where(result.component_model == "sum", drop=True)
        np.testing.assert_allclose(weight / weight.sum(), [0.7, 0.3, 0.0], atol=0.1)
        assert result.component.values.tolist()[3:] == [
            "best: 0",
            "best: 1",
            "best: 2",
            "first: fixed",
            "third: fixed",
        ]


@pytest.mark.filterwarnings("ignore:The lower noise ceiling:neurolens.errors.NeurolensWarning")
def test_fitting_to_noise_scores_nothing():
    rng = np.random.default_rng(4)
    scores = []
    for _ in range(25):
        components = label(draw_rdms(6, rng), "component")
        subjects = label(draw_rdms(3, rng), "subject")
        models = {"sum": Weighted(components, nonnegative=False)}
        result = infer(models, subjects, method="pearson", n_bootstraps=0, n_permutations=0)
        scores.append(float(result.score[0]))
    assert abs(np.mean(scores)) < 3 * np.std(scores) / np.sqrt(len(scores)) + 0.02


def test_models_are_what_they_say(data):
    models, subjects = data
    with pytest.raises(InputError, match=r"Weighted\(rdms\)"):
        infer({"both": models}, subjects)
    with pytest.raises(InputError, match="component, stimulus"):
        Weighted(models.isel(op=0, drop=True))
    with pytest.raises(InputError, match="ridge"):
        Weighted(models, ridge=-1)
    with pytest.raises(InputError, match="folds"):
        quick({"sum": Weighted(models)}, subjects, n_folds=9)


@pytest.mark.parametrize("method", [name for name in KINDS if name in MEASURES])
def test_scores_do_not_hang_on_the_order_of_stimuli(data, method):
    models, subjects = data
    order = np.random.default_rng(1).permutation(N_STIMULI)
    other = [one.isel(stimulus=order, stimulus_b=order) for one in data]
    first, second = (
        infer(models, subjects, method=method, n_bootstraps=0, n_permutations=0),
        infer(*other, method=method, n_bootstraps=0, n_permutations=0),
    )
    np.testing.assert_allclose(first.score, second.score, atol=1e-12)
