"""Real RDMs: 92 stimuli, four subjects with two sessions each; rsatoolbox gives the same scores and ceilings."""

import numpy as np
import pytest
from scipy.spatial.distance import squareform

from neurolens.datasets.kriegeskorte92 import load_kriegeskorte92
from neurolens.rsa import infer

PEER_NAMES = {
    "pearson": "corr",
    "cosine": "cosine",
    "spearman": "spearman",
    "rho-a": "rho-a",
    "kendall-tau-a": "tau-a",
    "kendall-tau-b": "tau-b",
    "whitened-pearson": "corr_cov",
    "whitened-cosine": "cosine_cov",
}
OTHER_POOLS = {
    "spearman": 1e-4,
    "whitened-pearson": 2e-3,
    "whitened-cosine": 2e-3,
}  # definitions differ there

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def brain(real_data):
    return load_kriegeskorte92(real_data / "kriegeskorte92")[1]


def test_the_published_mean_is_that_of_the_eight_sessions(brain):
    mean = brain["human_IT"]["rdm"].mean(("subject", "session"))
    np.testing.assert_allclose(mean, brain["human_IT_mean"]["rdm"], atol=1e-6)


@pytest.mark.filterwarnings("ignore:Noise ceiling for tau:UserWarning")
@pytest.mark.parametrize("method", PEER_NAMES)
def test_scores_and_ceilings_are_rsatoolboxs(brain, method):
    toolbox, inference = pytest.importorskip("rsatoolbox.rdm"), pytest.importorskip("rsatoolbox.inference")
    human = brain["human_IT"]["rdm"]
    animate = human["animate"].values
    models = {
        "monkey": brain["monkey_IT"]["rdm"],
        "judgements": brain["judgements"]["rdm"].mean("subject"),
        "animate": brain["monkey_IT"]["rdm"].copy(data=(animate[:, None] != animate).astype(float)),
    }
    result = infer(models, human, method=method, n_bootstraps=0, n_permutations=0)
    subjects = toolbox.RDMs(np.stack([squareform(one, checks=False) for one in human.mean("session").values]))
    theirs = toolbox.RDMs(np.stack([squareform(one.values, checks=False) for one in models.values()]))
    wanted = toolbox.compare(theirs, subjects, PEER_NAMES[method]).mean(axis=1)
    np.testing.assert_allclose(result.score, wanted, atol=1e-10)
    low, high = inference.boot_noise_ceiling(subjects, PEER_NAMES[method])
    tolerance = OTHER_POOLS.get(method, 1e-9)
    assert float(result.ceiling_low) == pytest.approx(low, abs=tolerance)
    assert float(result.ceiling_high) == pytest.approx(high, abs=tolerance)


def test_monkeys_predict_human_it_below_the_ceiling(brain):
    human = brain["human_IT"]["rdm"]
    result = infer({"monkey": brain["monkey_IT"]["rdm"]}, human, n_bootstraps=100, n_permutations=199)
    assert float(result.p[0]) == pytest.approx(0.005)
    assert 0.2 < float(result.score[0]) < float(result.ceiling_low)
