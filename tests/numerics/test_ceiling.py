"""Noise ceilings against rsatoolbox and a known limit."""

import numpy as np
import pytest

from neurolens.numerics.ceiling import compute_ceiling
from neurolens.numerics.similarity import MEASURES, compute_similarity

rsatoolbox_names = {"pearson": "corr", "cosine": "cosine", "spearman": "spearman", "rho-a": "rho-a"}


def draw_subjects(n_subjects=5, n_stimuli=12, noise=0.5):
    rng = np.random.default_rng(0)
    n_pairs = n_stimuli * (n_stimuli - 1) // 2
    return rng.random(n_pairs) + noise * rng.random((n_subjects, n_pairs))


@pytest.mark.parametrize(("method", "theirs"), rsatoolbox_names.items())
def test_equals_rsatoolbox(method, theirs):
    rdm = pytest.importorskip("rsatoolbox.rdm")
    inference = pytest.importorskip("rsatoolbox.inference")
    vectors = draw_subjects()
    want_low, want_high = inference.boot_noise_ceiling(rdm.RDMs(vectors), method=theirs)
    low, high = compute_ceiling(vectors, method)
    assert low.mean() == pytest.approx(want_low, abs=1e-10)
    assert high.mean() == pytest.approx(want_high, abs=1e-10)


@pytest.mark.parametrize("method", MEASURES)
def test_lower_leaves_each_subject_out(method):
    vectors = draw_subjects(n_subjects=2)
    low, high = compute_ceiling(vectors, method)
    np.testing.assert_allclose(low, compute_similarity(vectors[:1], vectors[1:], method)[0, 0])
    assert (high > low).all()


@pytest.mark.parametrize("method", MEASURES)
def test_subjects_without_noise_reach_one(method):
    low, high = compute_ceiling(draw_subjects(noise=0.0), method)
    np.testing.assert_allclose(low, 1)
    np.testing.assert_allclose(high, 1)


def test_one_subject_has_no_ceiling():
    low, high = compute_ceiling(draw_subjects(n_subjects=1))
    assert np.isnan(low).all()
    assert np.isnan(high).all()
