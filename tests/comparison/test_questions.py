"""What can be asked of profiles: best operations, peaks of regions, models apart, stimuli that matter."""

import itertools

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import neurolens as nl
from neurolens.comparison import compare_models, compare_peaks, find_influence
from neurolens.comparison.peaks import MAX_LISTED, N_DRAWN
from neurolens.errors import AddressError, InputError, LabelError

QUIET = {"progress": False, "n_permutations": 0}


def test_the_best_is_found_and_its_frequency_counted(network, regions):
    best = nl.compare(network, regions, n_splits=5, **QUIET).nl.best
    assert best.op_best.values.tolist() == ["early", "late"]
    np.testing.assert_allclose(best.frequency.sum("op"), 1)
    assert best.frequency.sel(op="late", region="IT") == 1
    assert best.attrs["n_splits"] == 10


def test_the_best_over_subjects_is_chosen_on_the_others(network, regions):
    profile = nl.compare(network, regions["IT"], **QUIET)
    best = profile.nl.choose_best(over="subject")
    scores = profile.score_subject.transpose("subject", "op").values
    chosen = [np.delete(scores, i, axis=0).mean(axis=0).argmax() for i in range(len(scores))]
    assert float(best.score) == pytest.approx(np.mean([scores[i, k] for i, k in enumerate(chosen)]))


def test_without_relation_the_held_out_best_is_unbiased_and_the_naive_one_is_not(make_network, make_region):
    held, naive = [], []
    for seed in range(30):
        layers = {f"op{i}": make_network(1000 + seed * 20 + i, 24)["early"] for i in range(8)}
        region = make_region(make_network(seed + 10**6, 24)["late"], seed, 1).isel(subject=0, drop=True)
        best = nl.compare(layers, region, n_splits=3, **QUIET).nl.best
        held.append(float(best.score))
        naive.append(float(best.score_naive))
    assert abs(np.mean(held)) < 3 * np.std(held) / np.sqrt(len(held))
    assert np.mean(naive) > 6 * np.std(naive) / np.sqrt(len(naive))


def test_encoding_models_choose_without_bias(make_network, make_region):
    options = {"model": nl.Ridge(alphas=20.0), "cv": 4}
    held, naive = [], []
    for seed in range(30):
        layers = {f"op{i}": make_network(1000 + seed * 20 + i, 24)["early"] for i in range(6)}
        region = make_region(make_network(seed + 10**6, 24)["late"], seed, 1).isel(subject=0, drop=True)
        best = nl.compare(layers, region, method="ridge", options=options, **QUIET).nl.best
        held.append(float(best.score))
        naive.append(float(best.score_naive))
    assert abs(np.mean(held)) < 3 * np.std(held) / np.sqrt(len(held))
    assert np.mean(naive) > 4 * np.std(naive) / np.sqrt(len(naive))


@pytest.mark.parametrize("method", ["ridge", "pls"])
def test_responses_that_test_a_fold_do_not_choose_in_it(network, regions, method):
    region = regions["IT"].isel(subject=0, drop=True).assign_coords(run=("stimulus", np.arange(40) % 4))
    model = {"ridge": nl.Ridge(alphas=10.0), "pls": nl.encoding.PLS(n_components=2)}[method]
    options = {"model": model, "cv": "run"}
    profile = nl.compare(network, region, method=method, options=options, **QUIET)
    other = region.copy(data=np.where(region.run == 2, 7.0 - region.T**3, region.T).T)
    changed = nl.compare(network, other, method=method, options=options, **QUIET)
    np.testing.assert_allclose(profile.score_choice[2], changed.score_choice[2], atol=1e-12)
    assert (abs(profile.score_choice[0] - changed.score_choice[0]) > 1e-6).all()
    assert (abs(profile.score_test[2] - changed.score_test[2]) > 1e-6).all()
    direct = nl.encode(network, region, model=model, cv="run", progress=False)
    np.testing.assert_array_equal(profile.score_test[2], nl.encoding.summarize_regions(direct.isel(fold=[2])))
    kept = region.isel(stimulus=np.flatnonzero(region.run != 2))
    alone = nl.encode(network, kept, model=model, cv=_inner(kept), join="inner", progress=False)
    want = nl.encoding.summarize_regions(alone)
    np.testing.assert_allclose(profile.score_choice[2], want, atol=1e-9)
    bare = nl.compare(network, region, method=method, options=options, **(QUIET | {"n_splits": 0}))
    assert "score_choice" not in bare


def _inner(kept):
    """Hold out one run after the other, in the order in which folds are dealt."""
    runs = kept.run.values
    return [(np.flatnonzero(runs != run), np.flatnonzero(runs == run)) for run in np.unique(runs)]


def test_a_best_without_splits_says_what_to_do(network, regions):
    profile = nl.compare(network, regions["V1"].isel(subject=0, drop=True), n_splits=0, **QUIET)
    with pytest.raises(InputError, match="n_splits=10"):
        profile.nl.best
    with pytest.raises(InputError, match="at least 3"):
        profile.nl.choose_best(over="subject")


def test_peaks_of_regions_lie_where_they_were_put(network, regions, make_region):
    middle = make_region(network["middle"], 5)
    found = compare_peaks(network, regions | {"V4": middle}, order=("V1", "V4", "IT"), n_bootstraps=100)
    assert found.peak.values.tolist() == ["early", "middle", "late"]
    assert found.difference.sel(region="IT", region_b="V1") == 1
    assert found.p_difference.sel(region="IT", region_b="V1") < 0.05
    assert float(found.hierarchy) == pytest.approx(1)
    want = np.mean([a + b + c >= 3 - 1e-9 for a, b, c in itertools.product(_rank_correlations(), repeat=3)])
    assert float(found.p_hierarchy) == pytest.approx(want)


def _rank_correlations():
    orders = itertools.permutations(range(3))
    return [stats.spearmanr(range(3), order).statistic for order in orders]


def test_orders_too_many_to_list_are_drawn(network, make_region):
    """Four regions of three subjects have 24**3 orders; here all of them are listed."""
    places = {"A": "early", "B": "late", "C": "middle", "D": "late"}
    regions = {name: make_region(network[place], i) for i, (name, place) in enumerate(places.items())}
    found = compare_peaks(network, regions, order=tuple(places), n_bootstraps=20)
    depths = found.depth_subject.transpose("subject", "region").values
    orders = itertools.permutations(range(4))
    rows = np.array([[stats.spearmanr(order, row).statistic for row in depths] for order in orders])
    sums = rows[:, 0, None, None] + rows[:, 1, None] + rows[:, 2]
    observed = rows[0].mean()  # the order as given
    want = (sums / 3 >= observed - 1e-9).mean()
    assert 0.001 < want < 0.2
    assert sums.size > MAX_LISTED
    assert float(found.hierarchy) == pytest.approx(observed)
    assert float(found.p_hierarchy) == pytest.approx(want, abs=4 * np.sqrt(want / N_DRAWN) + 1 / N_DRAWN)


def test_regions_from_one_operation_do_not_differ(network, make_region):
    same = {name: make_region(network["middle"], i) for i, name in enumerate(("A", "B"))}
    found = compare_peaks(network, same, order=("A", "B"), n_bootstraps=50)
    assert found.p_difference.sel(region="A", region_b="B") == 1
    assert np.isnan(found.hierarchy)
    with pytest.raises(LabelError, match="'C'"):
        compare_peaks(network, same, order=("A", "C"))


def test_a_stimulus_that_makes_the_score_has_the_largest_influence(network, make_network, make_region):
    layer = network["late"].copy()
    region = make_region(make_network(7)["late"], 3, 1).isel(subject=0, drop=True)
    layer[5] = 30 * layer[5] + 100  # far from all others on both sides
    region[5] = 30 * region[5] + 100
    found = find_influence({"late": layer}, region, metric="euclidean", similarity="pearson")
    assert found.influence.idxmax("stimulus") == "im5"
    rest = np.delete(np.arange(40), 5)
    want = stats.pearsonr(
        *(
            nl.rdm(one.isel(stimulus=rest), metric="euclidean").values[np.triu_indices(39, 1)]
            for one in (layer, region)
        )
    ).statistic
    left = found.score - found.influence.sel(stimulus="im5", drop=True)
    assert left.item() == pytest.approx(want)


def test_models_are_compared_by_a_paired_bootstrap(network, regions, make_network):
    other = make_network(50)
    models = {"right": nl.rdm(network), "wrong": nl.rdm(other)}
    found = compare_models(models, regions, n_permutations=99, n_bootstraps=200)
    assert found.op_chosen.sel(model="right").values.tolist() == ["early", "late"]
    pair = found.sel(model="right", model_b="wrong")
    assert (pair.difference > 0.2).all()
    assert (pair.p_difference < 0.01).all()
    chosen = {"right": "late", "wrong": "late"}
    given = compare_models(models, regions["IT"], chosen=chosen, n_permutations=0, n_bootstraps=50)
    target = nl.rdm(regions["IT"])
    want = nl.rsa.infer(
        {name: nl.rdm(one["late"]) for name, one in {"right": network, "wrong": other}.items()},
        target, resample="stimulus", n_permutations=0, n_bootstraps=50,
    )  # fmt: skip
    np.testing.assert_array_equal(given.p_difference, want.p_difference)
    with pytest.raises(AddressError, match="later"):
        compare_models(models, regions, chosen={"right": "later", "wrong": "late"})


def test_operations_with_a_missing_pattern_are_passed_by(network, regions):
    broken = dict(network)
    broken["middle"] = broken["middle"].where(broken["middle"].stimulus != "im3")
    with pytest.warns(nl.errors.NeurolensWarning):
        profile = nl.compare(nl.rdm(broken), regions, n_splits=2, **QUIET)
    assert np.isnan(profile.score.sel(op="middle")).all()
    assert np.isnan(profile.score_choice.sel(op="middle")).all()
    assert profile.nl.best.op_best.values.tolist() == ["early", "late"]


def test_a_profile_with_everything_can_be_written_and_read(network, regions, tmp_path):
    profile = nl.compare({"a": nl.rdm(network), "b": nl.rdm(network)}, regions, n_bootstraps=20, **QUIET)
    profile.to_netcdf(tmp_path / "profile.nc", engine="scipy")
    xr.testing.assert_allclose(xr.load_dataset(tmp_path / "profile.nc", engine="scipy").score, profile.score)
