"""Shrinkage covariances against rsatoolbox and scikit-learn, and what whitening must do."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from neurolens.errors import InputError
from neurolens.numerics.covariance import ESTIMATORS, estimate_covariance, whiten

RSATOOLBOX = {
    "schaefer-strimmer": "shrinkage_diag",
    "ledoit-wolf": "shrinkage_eye",
    "full": "full",
    "diagonal": "diag",
}


def draw(n=40, p=15, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, p)) @ rng.standard_normal((p, p)) + 5


@pytest.mark.parametrize("dof", [None, 17])
@pytest.mark.parametrize("shape", [(40, 15), (10, 30), (2, 5)], ids=str)
@pytest.mark.parametrize("method", ESTIMATORS)
def test_equals_rsatoolbox(method, shape, dof):
    noise = pytest.importorskip("rsatoolbox.data.noise")
    want = noise.cov_from_residuals(draw(*shape), method=RSATOOLBOX[method], dof=dof)
    np.testing.assert_allclose(
        estimate_covariance(draw(*shape), method, dof=dof), want, rtol=1e-10, atol=1e-10
    )


def test_ledoit_wolf_equals_scikit_learn():
    residuals = draw()
    want, _ = ledoit_wolf(residuals)
    np.testing.assert_allclose(
        estimate_covariance(residuals, "ledoit-wolf", dof=len(residuals)), want, rtol=1e-10
    )


@pytest.mark.parametrize("method", ["schaefer-strimmer", "ledoit-wolf"])
def test_shrinkage_is_invertible_and_nearer_to_the_truth_than_the_plain_estimate(method):
    rng = np.random.default_rng(1)
    variances = np.linspace(0.5, 2, 60)
    residuals = rng.standard_normal((30, 60)) * np.sqrt(variances)
    shrunk, plain = estimate_covariance(residuals, method), estimate_covariance(residuals, "full")
    assert np.linalg.eigvalsh(shrunk)[0] > 0.01
    assert np.linalg.norm(shrunk - np.diag(variances)) < np.linalg.norm(plain - np.diag(variances)) / 3


def test_whitened_noise_is_white():
    covariance = estimate_covariance(draw(2000, 8), "full")
    whitened = whiten(draw(2000, 8), covariance)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(8), atol=1e-10)


@pytest.mark.parametrize(
    ("residuals", "options", "says"),
    [
        (np.ones((1, 3)), {}, "at least 2 observations"),
        (np.ones(3), {}, "must be a matrix"),
        (np.array([[1, np.nan], [2, 3], [3, 1]]), {}, "features 1"),
        (np.array([[1.0, 7], [2, 7], [3, 7]]), {}, "features 1 do not vary"),
        (draw(), {"dof": 0}, "dof=0"),
        (draw(), {"method": "oas"}, "'ledoit-wolf'"),
    ],
)
def test_residuals_without_a_covariance_are_refused(residuals, options, says):
    with pytest.raises(InputError, match=says):
        estimate_covariance(residuals, **options)
