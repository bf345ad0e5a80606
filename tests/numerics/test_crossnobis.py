"""Cross-validated distances against rsatoolbox, the definition and their own promise: no bias."""

import itertools

import numpy as np
import pytest

from neurolens.errors import InputError
from neurolens.numerics.crossnobis import compute_crossnobis


def draw(n_runs=4, n_stimuli=6, n_features=15, seed=0, dtype=np.float64, offset=0.0):
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((n_stimuli, n_features))
    return (truth + rng.standard_normal((n_runs, n_stimuli, n_features)) + offset).astype(dtype)


def covariance(n_features=15):
    half = np.random.default_rng(5).standard_normal((n_features, 40))
    return half @ half.T / 40


def by_definition(patterns, precision):
    """The mean over ordered pairs of different runs that have both stimuli, one by one."""
    _, n_stimuli, n_features = patterns.shape
    out = np.zeros((n_stimuli, n_stimuli))
    for i, j in itertools.permutations(range(n_stimuli), 2):
        differences = [run[i] - run[j] for run in patterns if np.isfinite(run[[i, j]]).all()]
        products = [a @ precision @ b for a, b in itertools.permutations(differences, 2)]
        out[i, j] = np.mean(products) / n_features if products else np.nan
    return out


@pytest.mark.parametrize("noise", [None, covariance()], ids=["identity", "noise"])
def test_equals_rsatoolbox_and_its_definition(noise):
    calc, data = pytest.importorskip("rsatoolbox.rdm"), pytest.importorskip("rsatoolbox.data")
    patterns = draw()
    n_runs, n_stimuli, n_features = patterns.shape
    precision = np.eye(n_features) if noise is None else np.linalg.inv(noise)
    dataset = data.Dataset(
        patterns.reshape(-1, n_features),
        obs_descriptors={
            "c": np.tile(np.arange(float(n_stimuli)), n_runs),
            "r": np.repeat(np.arange(float(n_runs)), n_stimuli),
        },
    )
    theirs = calc.calc_rdm(dataset, method="crossnobis", descriptor="c", cv_descriptor="r", noise=precision)
    got, counts = compute_crossnobis(patterns, noise=noise)
    np.testing.assert_allclose(got, theirs.get_matrices()[0], atol=1e-10)
    np.testing.assert_allclose(got, by_definition(patterns, precision), atol=1e-10)
    assert (counts == n_runs).all()


def test_a_stimulus_that_a_run_does_not_have_leaves_that_run_out():
    patterns = draw()
    patterns[1, 2] = np.nan
    patterns[3, 5, 7] = np.inf
    patterns[[0, 2, 3], 4] = np.nan  # one run left: no distance
    got, counts = compute_crossnobis(patterns, noise=covariance())
    np.testing.assert_allclose(got, by_definition(patterns, np.linalg.inv(covariance())), atol=1e-10)
    assert counts[2, 3] == 3
    assert counts[2, 4] == 0
    assert counts[4, 0] == 1
    assert np.isnan(got[4, :4]).all()


def test_float32_with_an_offset_keeps_its_digits():
    patterns = draw(dtype=np.float32, offset=1000)
    got, _ = compute_crossnobis(patterns)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, by_definition(patterns.astype(float), np.eye(15)), atol=1e-5)


def test_without_a_difference_the_mean_distance_is_zero():
    rng = np.random.default_rng(0)
    means = [
        compute_crossnobis(rng.standard_normal((3, 5, 20)))[0][np.triu_indices(5, 1)].mean()
        for _ in range(2000)
    ]
    assert abs(np.mean(means)) < 4 * np.std(means) / np.sqrt(2000)
    assert np.std(means) > 0.01


def test_torch_gives_the_same_numbers():
    np.testing.assert_allclose(
        compute_crossnobis(draw(), device="cpu")[0], compute_crossnobis(draw())[0], atol=1e-13
    )


def test_one_run_is_refused():
    with pytest.raises(InputError, match="at least 2; there are 1"):
        compute_crossnobis(draw(n_runs=1))
    with pytest.raises(InputError, match="n_runs, n_stimuli, n_features"):
        compute_crossnobis(draw()[0])
