"""Reliability against loops over its definition and against simulations whose truth is known."""

from itertools import combinations

import numpy as np
import pytest

from neurolens.errors import InputError
from neurolens.numerics.reliability import (
    explainable_variance,
    half_splits,
    noise_ceiling,
    spearman_brown,
    split_half,
)


def simulate(n_repetitions, n_stimuli=4000, signal=(0.0, 0.2, 0.5, 0.9), seed=0):
    """Trials whose share of signal variance is given, one per target."""
    rng = np.random.default_rng(seed)
    share = np.array(signal)
    repeated = rng.normal(size=(1, n_stimuli, share.size)) * np.sqrt(share)
    return repeated + rng.normal(size=(n_repetitions, n_stimuli, share.size)) * np.sqrt(1 - share), share


@pytest.mark.parametrize("n_repetitions", [2, 3, 8])
def test_explainable_variance_is_its_formula(n_repetitions):
    data, _ = simulate(n_repetitions, n_stimuli=30)
    for target in range(data.shape[2]):
        trials = data[:, :, target]
        ev = np.var(trials.mean(axis=0)) / np.mean([np.var(trial) for trial in trials])
        expected = ev - (1 - ev) / (n_repetitions - 1)
        assert explainable_variance(data)[target] == pytest.approx(expected)


@pytest.mark.parametrize("n_repetitions", [2, 4, 10])
def test_explainable_variance_recovers_the_share_of_signal(n_repetitions):
    data, share = simulate(n_repetitions)
    np.testing.assert_allclose(explainable_variance(data), share, atol=0.05)


@pytest.mark.parametrize("n_repetitions", [2, 4, 10])
def test_ceiling_is_the_r2_of_the_true_signal_with_the_mean(n_repetitions):
    rng = np.random.default_rng(1)
    share = np.array([0.1, 0.3, 0.7])
    signal = rng.normal(size=(20000, 3)) * np.sqrt(share)
    data = signal + rng.normal(size=(n_repetitions, 20000, 3)) * np.sqrt(1 - share)
    mean = data.mean(axis=0)
    best = [np.corrcoef(signal[:, t], mean[:, t])[0, 1] ** 2 for t in range(3)]
    np.testing.assert_allclose(noise_ceiling(data), best, atol=0.02)
    np.testing.assert_allclose(split_half(data, n_splits=10), best, atol=0.02)


def test_ceiling_for_fewer_trials_than_were_measured():
    data, share = simulate(6)
    np.testing.assert_allclose(noise_ceiling(data, n_averaged=1), explainable_variance(data))
    np.testing.assert_allclose(noise_ceiling(data, n_averaged=3), 3 * share / (1 + 2 * share), atol=0.05)


@pytest.mark.parametrize("n_repetitions", [2, 3, 4, 5])
def test_split_half_is_a_loop_over_all_splits(n_repetitions):
    data, _ = simulate(n_repetitions, n_stimuli=40)
    half = n_repetitions // 2
    splits = [
        (a, b)
        for a in combinations(range(n_repetitions), half)
        for b in combinations(range(n_repetitions), half)
        if not set(a) & set(b) and a < b
    ]
    for target in range(data.shape[2]):
        trials = data[:, :, target]
        r = np.mean([np.corrcoef(trials[list(a)].mean(0), trials[list(b)].mean(0))[0, 1] for a, b in splits])
        k = n_repetitions / half
        assert split_half(data)[target] == pytest.approx(k * r / (1 + (k - 1) * r))


def test_random_splits_come_close_to_all_splits_and_follow_the_seed():
    data, _ = simulate(8, n_stimuli=60, signal=(0.2, 0.5, 0.9))
    all_of_them = split_half(data, n_splits=1000)  # 35 different ones
    np.testing.assert_allclose(split_half(data, n_splits=20, seed=1), all_of_them, atol=0.05)
    np.testing.assert_array_equal(split_half(data, n_splits=5, seed=1), split_half(data, n_splits=5, seed=1))
    assert (split_half(data, n_splits=5, seed=1) != split_half(data, n_splits=5, seed=2)).all()


@pytest.mark.parametrize(("n_repetitions", "n_different"), [(2, 1), (3, 3), (4, 3), (5, 15), (6, 10)])
def test_all_different_halves_are_listed_once(n_repetitions, n_different):
    splits = half_splits(n_repetitions, 1000, seed=0)
    assert len({frozenset(pair) for pair in splits}) == len(splits) == n_different
    assert all(not set(a) & set(b) and len(a) == len(b) == n_repetitions // 2 for a, b in splits)


@pytest.mark.parametrize("factor", [1, 2, 5])
def test_spearman_brown_is_the_correlation_of_lengthened_measurements(factor):
    rng = np.random.default_rng(0)
    signal = rng.normal(size=50000)
    means = [signal + rng.normal(size=(factor, 50000)).mean(axis=0) for _ in range(2)]
    assert spearman_brown(np.array([0.5]), factor)[0] == pytest.approx(np.corrcoef(means)[0, 1], abs=0.02)


@pytest.mark.parametrize("measure", [explainable_variance, noise_ceiling, split_half])
def test_what_repeats_exactly_has_reliability_one_and_scale_does_not_matter(measure):
    data, _ = simulate(4, n_stimuli=50)
    np.testing.assert_allclose(measure(np.repeat(data[:1], 4, axis=0)), 1)
    np.testing.assert_allclose(measure(3 * data + 7), measure(data))
    np.testing.assert_allclose(measure(data.astype(np.float32)), measure(data), atol=1e-4)


@pytest.mark.parametrize("measure", [explainable_variance, noise_ceiling, split_half])
@pytest.mark.parametrize("value", [0.1, np.nan], ids=["constant", "nan"])
def test_constant_and_nan_targets_have_none(measure, value):
    data, _ = simulate(3, n_stimuli=30)
    data[:, :, 1] = value
    reliability = measure(data)
    assert np.isnan(reliability[1])
    assert np.isfinite(reliability[[0, 2, 3]]).all()


@pytest.mark.parametrize("measure", [explainable_variance, noise_ceiling, split_half])
@pytest.mark.parametrize("shape", [(1, 10, 2), (3, 1, 2), (10, 2)])
def test_too_little_data_is_an_error(measure, shape):
    with pytest.raises(InputError, match="repetition"):
        measure(np.zeros(shape))


def test_counts_below_one_are_errors():
    data, _ = simulate(3, n_stimuli=10)
    with pytest.raises(InputError, match="n_averaged=0"):
        noise_ceiling(data, n_averaged=0)
    with pytest.raises(InputError, match="n_splits=0"):
        split_half(data, n_splits=0)
