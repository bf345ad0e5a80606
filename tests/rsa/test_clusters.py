"""The cluster test against flipping by hand, and its family-wise rate."""

import itertools

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage, stats

from neurolens.errors import InputError, LabelError
from neurolens.numerics.clusters import compute_cluster_test
from neurolens.rsa import compare_rdms, find_clusters


def draw_scores(n_subjects=6, n_times=20, seed=0, effect=1.5):
    scores = np.random.default_rng(seed).standard_normal((n_subjects, n_times))
    scores[:, 5:11] += effect
    return scores


def test_equals_flipping_every_sign_by_hand():
    scores = draw_scores()
    limit = stats.t.isf(0.05, 5)

    def find_masses(flipped):
        t = stats.ttest_1samp(flipped, 0).statistic
        label, n = ndimage.label(t > limit)
        return label, [t[label == i + 1].sum() for i in range(n)]

    null = [
        max(find_masses(scores * np.array(signs)[:, None])[1], default=0)
        for signs in itertools.product((1, -1), repeat=6)
    ]
    label, masses = find_masses(scores)
    found = compute_cluster_test(scores, threshold=0.05, n_flips=1, seed=0)
    np.testing.assert_array_equal(found.label, label)
    np.testing.assert_allclose(found.mass, masses)
    np.testing.assert_allclose(found.p, [np.mean(np.array(null) >= mass - 1e-9) for mass in masses])


def test_both_sides_are_kept_apart():
    scores = draw_scores(10, effect=2.0)
    scores[:, 11:16] -= 4
    found = compute_cluster_test(scores, threshold=0.02, n_flips=200, seed=0, two_sided=True)
    assert found.label[8] != found.label[13]
    assert found.mass[found.label[8] - 1] > 0 > found.mass[found.label[13] - 1]
    one_sided = compute_cluster_test(scores, threshold=0.01, n_flips=200, seed=0)
    assert one_sided.label[13] == 0


def test_the_family_wise_rate_is_the_stated_one():
    rng = np.random.default_rng(1)
    n_runs, hits = 300, 0
    for _ in range(n_runs):
        noise = ndimage.gaussian_filter1d(rng.standard_normal((8, 30)), 2, axis=1)
        found = compute_cluster_test(noise, threshold=0.05, n_flips=1, seed=0)
        hits += bool((found.p <= 0.05).any())
    assert 0.02 <= hits / n_runs <= 0.085  # binomial 99 % interval around .05


def test_time_by_time_is_one_family():
    rng = np.random.default_rng(2)
    scores = rng.standard_normal((9, 12, 12))
    scores[:, 3:8, 3:8] += 2
    dims = ("subject", "time", "time_b")
    found = find_clusters(xr.DataArray(scores, dims=dims), n_permutations=100)
    assert found.p.dims == ("time", "time_b")
    assert float(found.p[5, 5]) < 0.05
    assert float(found.p[0, 11]) == 1


def test_rsa_over_time_finds_when_a_model_is_there():
    rng = np.random.default_rng(3)
    n_stimuli, n_subjects, n_times = 10, 8, 12
    ids = list(range(n_stimuli))
    model = rng.random((n_stimuli, n_stimuli))
    model = (model + model.T) * (1 - np.eye(n_stimuli))
    noise = rng.random((n_subjects, n_times, n_stimuli, n_stimuli))
    noise = (noise + noise.swapaxes(-1, -2)) * (1 - np.eye(n_stimuli))
    noise[:, 4:8] += model
    coords = {"stimulus": ids, "stimulus_b": ids}
    brain = xr.DataArray(noise, coords, ("subject", "time", "stimulus", "stimulus_b"))
    layers = xr.DataArray(
        np.stack([model, model[::-1, ::-1]]), {"op": ["a", "b"], **coords}, ("op", "stimulus", "stimulus_b")
    )
    found = find_clusters(compare_rdms(layers, brain))
    np.testing.assert_array_equal((found.p < 0.05).sel(op="a"), [4 <= t < 8 for t in range(n_times)])
    assert not (found.p < 0.05).sel(op="b").any()
    generalisation = compare_rdms(brain.isel(subject=0).rename(time="time_b"), brain.isel(subject=0))
    assert float(generalisation.sel(time=5, time_b=6)) > float(generalisation.sel(time=5, time_b=1))


def test_what_cannot_be_tested_is_refused():
    with pytest.raises(LabelError, match="'time'"):
        find_clusters(xr.DataArray(draw_scores(), dims=("subject", "neuroid")))
    with pytest.raises(InputError, match="at least 2 subjects"):
        compute_cluster_test(draw_scores(1), threshold=0.05, n_flips=10, seed=0)
    with pytest.raises(InputError, match="threshold"):
        compute_cluster_test(draw_scores(), threshold=2.0, n_flips=10, seed=0)
    with pytest.raises(InputError, match="NaN"):
        compute_cluster_test(draw_scores() * np.nan, threshold=0.05, n_flips=10, seed=0)
