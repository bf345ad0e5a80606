"""Moments by block, and components of variance, against loops and against simulations whose truth is known."""

import numpy as np
import pytest

from neurolens.errors import InputError
from neurolens.numerics.components import (
    effective_repetitions,
    estimate_ncsnr,
    ncsnr_ceiling,
    variance_components,
)
from neurolens.numerics.moments import (
    compute_moments,
    compute_unequal_moments,
    merge_moments,
    merge_unequal_moments,
)
from neurolens.numerics.reliability import explainable_variance, noise_ceiling, split_half

SHARE = np.array([0.05, 0.2, 0.5, 0.9])


def simulate(presented, seed=0):
    """Trials with a given share of signal variance; NaN where there was none."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(presented.shape[1], SHARE.size)) * np.sqrt(SHARE)
    trials = signal + rng.normal(size=(*presented.shape, SHARE.size)) * np.sqrt(1 - SHARE)
    trials[~presented] = np.nan
    return trials, signal


def draw_presented(n_stimuli=20000, most=3, seed=1):
    counts = np.random.default_rng(seed).integers(1, most + 1, n_stimuli)
    return np.arange(most)[:, None] < counts


@pytest.mark.parametrize("offset", [0, 1e4])
def test_moments_are_covariances(offset):
    data = np.random.default_rng(0).normal(size=(3, 50, 4)).astype("float32") + np.float32(offset)
    moments = compute_moments(data)
    for target in range(4):
        np.testing.assert_allclose(
            moments.comoment[:, :, target] / 50, np.cov(data[:, :, target].astype(float), ddof=0), rtol=1e-6
        )


@pytest.mark.parametrize("cuts", [[1], [7, 8], [10, 20, 40]])
def test_blocks_together_are_the_whole(cuts):
    presented = draw_presented(50)
    data, _ = simulate(presented)
    full = np.nan_to_num(data)
    parts = np.split(np.arange(50), cuts)
    equal = unequal = None
    for part in parts:
        equal = merge_moments(equal, compute_moments(full[:, part]))
        unequal = merge_unequal_moments(unequal, compute_unequal_moments(data[:, part], presented[:, part]))
    for measure in (explainable_variance, noise_ceiling, split_half, estimate_ncsnr):
        np.testing.assert_allclose(measure(equal), measure(full), rtol=1e-10)
    whole = compute_unequal_moments(data, presented)
    for measure in (explainable_variance, noise_ceiling, estimate_ncsnr):
        np.testing.assert_allclose(measure(unequal), measure(whole), rtol=1e-10)


def test_components_are_a_loop_over_their_definition():
    presented = draw_presented(40)
    data, _ = simulate(presented)
    signal, noise = variance_components(compute_unequal_moments(data, presented))
    for target in range(SHARE.size):
        trials = [data[presented[:, s], s, target] for s in range(40)]
        within = sum(((t - t.mean()) ** 2).sum() for t in trials) / sum(len(t) - 1 for t in trials)
        between = np.var([t.mean() for t in trials], ddof=1)
        assert noise[target] == pytest.approx(within)
        assert signal[target] == pytest.approx(between - within * np.mean([1 / len(t) for t in trials]))


def test_components_of_equal_numbers_are_the_same_from_either_moments():
    data = np.random.default_rng(0).normal(size=(4, 30, 5)) + np.arange(4)[:, None, None]
    both = (
        variance_components(data),
        variance_components(compute_unequal_moments(data, np.ones((4, 30), bool))),
    )
    np.testing.assert_allclose(*both)


@pytest.mark.parametrize("n_repetitions", [2, 3, 4, 10, "mixed"])
def test_the_ceiling_is_the_best_r2_that_any_model_reaches(n_repetitions):
    """The best model is the signal itself; its r² with the mean of the trials is the truth."""
    presented = draw_presented() if n_repetitions == "mixed" else np.ones((n_repetitions, 20000), bool)
    data, signal = simulate(presented)
    mean = np.nanmean(data, axis=0)
    best = np.array([np.corrcoef(signal[:, t], mean[:, t])[0, 1] ** 2 for t in range(SHARE.size)])
    moments = compute_unequal_moments(data, presented) if n_repetitions == "mixed" else compute_moments(data)
    np.testing.assert_allclose(noise_ceiling(moments), best, atol=0.02)
    np.testing.assert_allclose(explainable_variance(moments), SHARE, atol=0.02)
    ncsnr = estimate_ncsnr(moments)
    np.testing.assert_allclose(ncsnr, np.sqrt(SHARE / (1 - SHARE)), rtol=0.12)
    np.testing.assert_allclose(ncsnr_ceiling(ncsnr, presented.sum(axis=0)), best, atol=0.02)


@pytest.mark.parametrize("n_repetitions", [2, 4, 10])
def test_the_classic_mistakes_are_off_by_far(n_repetitions):
    """A single trial's ceiling for averaged data, and r for r²: neither is within the error of the right one."""
    data, signal = simulate(np.ones((n_repetitions, 20000), bool))
    mean = data.mean(axis=0)
    best = np.array([np.corrcoef(signal[:, t], mean[:, t])[0, 1] ** 2 for t in range(SHARE.size)])[1:3]
    right = noise_ceiling(data)[1:3]
    assert np.abs(right - best).max() < 0.02
    single_trial = explainable_variance(data)[1:3]
    r_for_r2 = np.sqrt(right)
    half_uncorrected = np.array(
        [np.corrcoef(data[0::2, :, t].mean(0), data[1::2, :, t].mean(0))[0, 1] for t in (1, 2)]
    )
    for mistake in (single_trial, r_for_r2, half_uncorrected):
        assert np.abs(mistake - best).max() > 0.04


def test_estimates_are_unbiased_where_stimuli_are_few():
    """On the mean over many small experiments, also for weak signals, where estimates are often negative."""
    presented = draw_presented(60)
    estimates = [
        explainable_variance(compute_unequal_moments(simulate(presented, seed)[0], presented))
        for seed in range(300)
    ]
    estimates = np.array(estimates)
    error = estimates.std(axis=0) / np.sqrt(300)
    assert (estimates[:, 0] < 0).mean() > 0.2
    assert (np.abs(estimates.mean(axis=0) - SHARE) < 4 * error + 0.01).all()


@pytest.mark.parametrize(("counts", "expected"), [(3, 3), ([1, 1], 1), ([3, 3, 3], 3)])
def test_effective_repetitions_of_equal_numbers(counts, expected):
    assert effective_repetitions(counts) == pytest.approx(expected)


def test_the_nsd_formula():
    """c = ncsnr² / (ncsnr² + f), f = (A + B/2 + C/3) / (A + B + C): the definition, written out."""
    counts = np.repeat([1, 2, 3], [700, 200, 9100])
    f = (700 + 200 / 2 + 9100 / 3) / 10000
    for ncsnr in (0.0, 0.2, 0.7, 1.5):
        assert ncsnr_ceiling(np.array([ncsnr]), counts)[0] == pytest.approx(ncsnr**2 / (ncsnr**2 + f))
    assert ncsnr_ceiling(np.array([np.inf, np.nan]), 3).tolist() == pytest.approx([1.0, np.nan], nan_ok=True)


@pytest.mark.parametrize("counts", [0, [1, 0], [], [2, np.nan]])
def test_counts_that_cannot_be_are_refused(counts):
    with pytest.raises(InputError, match="at least 1"):
        ncsnr_ceiling(np.array([0.5]), counts)


def test_what_has_no_reliability_is_an_error_or_nan():
    with pytest.raises(InputError, match="negative values"):
        ncsnr_ceiling(np.array([0.5, -0.1]), 3)
    data = np.ones((2, 5, 2))
    data[:, :, 1] = np.arange(5)
    assert np.isnan(variance_components(data)[0]).tolist() == [True, False]
    assert estimate_ncsnr(data)[1] == np.inf
    with pytest.raises(InputError, match="1 stimuli have no trial"):
        compute_unequal_moments(np.zeros((2, 3, 1)), np.array([[True, False, True], [True, False, False]]))
    once = compute_unequal_moments(np.zeros((1, 3, 1)), np.ones((1, 3), bool))
    with pytest.raises(InputError, match="at least 2 repetitions"):
        noise_ceiling(once)
    with pytest.raises(InputError, match="same number of repetitions"):
        split_half(compute_unequal_moments(np.zeros((2, 3, 1)), np.array([[True] * 3, [True, False, True]])))


def test_repetitions_that_cancel_have_no_halves():
    first = np.random.default_rng(0).normal(size=(1, 30, 1))
    data = np.concatenate([first, -first, first, -first])
    assert np.isnan(split_half(data)[0])
