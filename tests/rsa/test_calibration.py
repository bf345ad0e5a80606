"""A small sample of docs/calibration.md: tests hold what they generalise to, cheaper ones do not."""

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import pdist, squareform

from neurolens.rsa import infer

N_STIMULI, N_SUBJECTS, N_FEATURES, N_SIMULATIONS = 20, 8, 10, 150

pytestmark = pytest.mark.filterwarnings("ignore:The lower noise ceiling:neurolens.errors.NeurolensWarning")


def measure_rdms(patterns, dim):
    squares = np.stack([squareform(pdist(one, "sqeuclidean")) for one in patterns])
    ids = range(N_STIMULI)
    return xr.DataArray(
        squares,
        {dim: range(len(squares)), "stimulus": ids, "stimulus_b": ids},
        (dim, "stimulus", "stimulus_b"),
    )


def draw_world(rng, n_models, related):
    """New stimuli and subjects who share patterns; models that have these too, or do not."""
    shared = rng.standard_normal((N_STIMULI, N_FEATURES))
    own = rng.standard_normal((n_models + N_SUBJECTS, N_STIMULI, N_FEATURES))
    models = measure_rdms(related * shared + own[:n_models], "model")
    return models, measure_rdms(shared + 0.8 * own[n_models:], "subject")


def test_against_chance_permuting_stimuli_holds_and_a_t_over_subjects_does_not():
    rng = np.random.default_rng(0)
    hits = np.zeros(3)
    for seed in range(N_SIMULATIONS):
        models, data = draw_world(rng, 1, related=0)
        options = {"method": "pearson", "n_bootstraps": 0, "seed": seed}
        permuted = infer(models, data, n_permutations=99, **options)
        subject = infer(models, data, resample="subject", test="t", n_permutations=0, **options)
        flips = infer(models, data, resample="subject", test="sign-flip", **options)
        hits += [float(one.p[0]) <= 0.05 for one in (permuted, subject, flips)]
    rates = hits / N_SIMULATIONS
    assert rates[0] <= 0.1  # binomial 99 % interval around .05
    assert (rates[1:] > 0.1).all()


def test_equal_models_differ_at_the_stated_rate_and_intervals_hold_the_truth():
    rng = np.random.default_rng(1)
    p, low, high, score = (np.zeros((N_SIMULATIONS, 2)) for _ in range(4))
    for i in range(N_SIMULATIONS):
        models, data = draw_world(rng, 2, related=1)
        for j, resample in enumerate(("dual", "subject")):
            result = infer(
                models, data, method="pearson", resample=resample, n_bootstraps=80, n_permutations=0, seed=i
            )
            p[i, j] = result.p_difference[0, 1]
            low[i, j], high[i, j], score[i, j] = result.ci_low[0], result.ci_high[0], result.score[0]
    rejected = (p <= 0.05).mean(axis=0)
    assert rejected[0] <= 0.11  # .07 and its binomial 99 % interval
    assert rejected[1] > 0.2
    covered = ((low <= score.mean()) & (score.mean() <= high)).mean(axis=0)
    assert covered[0] >= 0.9
    assert covered[1] < 0.85
