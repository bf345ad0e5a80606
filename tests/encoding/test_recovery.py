"""Recovery: what generated simulated voxels is found again, with its penalty and its ceiling."""

import numpy as np
import pytest

from neurolens.encoding import Ridge, encode, normalize_scores, permute_responses

pytestmark = pytest.mark.filterwarnings("ignore:.*smallest or the largest alpha")
N, N_VOXELS = 200, 60


@pytest.fixture
def operations(rng, label):
    """A cascade: each operation is a random, rectified mixture of the one before."""
    X = rng.normal(size=(N, 40))
    found = {}
    for name in ("conv1", "conv2", "conv3", "fc"):
        X = np.maximum(X @ rng.normal(size=(40, 40)) / np.sqrt(40), 0)
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        found[name] = label(X)
    return found


@pytest.mark.parametrize("truth", ["conv1", "conv3"])
def test_the_generating_operation_is_found(operations, rng, measure, truth):
    signal = operations[truth].values @ rng.normal(size=(40, N_VOXELS))
    voxels = measure(signal / signal.std(axis=0) + 0.7 * rng.normal(size=signal.shape), region="IT")
    result = encode(operations, voxels, predictions=True)
    best = result.op.values[result.score.mean("fold").argmax("op")]
    assert (best == truth).mean() > 0.95
    test = permute_responses(result, n_permutations=199, by="region")
    assert test.p_corrected.sel(op=truth).item() == 0.005


def test_the_penalty_is_the_ratio_of_noise_to_weights(rng, label, measure):
    """Weights of variance 1 and noise of variance 100 make alpha = 100 the best penalty there is."""
    X = rng.normal(size=(N, 100))
    voxels = measure(X @ rng.normal(size=(100, N_VOXELS)) + 10 * rng.normal(size=(N, N_VOXELS)))
    alphas = np.logspace(0, 4, 17)
    chosen = encode(label(X), voxels, model=Ridge(alphas)).alpha
    assert 100 / 2 < float(np.exp(np.log(chosen).mean())) < 100 * 2


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_the_ceiling_is_the_share_of_signal_and_the_true_model_reaches_it(rng, label, measure, share):
    X = rng.normal(size=(N, 5))
    signal = X @ rng.normal(size=(5, N_VOXELS))
    signal *= np.sqrt(share / (1 - share)) / signal.std(axis=0)
    trials = measure(signal + rng.normal(size=(4, N, N_VOXELS)), region="IT")
    result = encode(label(X), trials, ceiling="noise_ceiling", score="r2")
    odds = 4 * share / (1 - share)
    assert float(result.ceiling.mean()) == pytest.approx(odds / (1 + odds), abs=0.03)
    assert float(normalize_scores(result).median()) == pytest.approx(1, abs=0.07)


def test_fewer_groups_than_inner_folds_are_used_as_they_are(rng, label, measure):
    runs = {"run": ("stimulus", np.repeat(np.arange(4), 15))}
    source, voxels = label(rng.normal(size=(60, 5))), measure(rng.normal(size=(60, 8)), stimulus=runs)
    default, explicit = (encode(source, voxels, model=Ridge(cv=cv), cv="run") for cv in (None, 3))
    np.testing.assert_array_equal(default.alpha, explicit.alpha)
