"""Labelled noise ceilings: sessions, single subjects, labels."""

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import pdist, squareform

from neurolens.errors import InputError, LabelError, NeurolensWarning
from neurolens.rsa import noise_ceiling


def draw_sessions(n_subjects=4, n_sessions=2, n_stimuli=9):
    rng = np.random.default_rng(0)
    shape = (n_subjects, n_sessions, n_stimuli, n_stimuli)
    truth = rng.random((n_stimuli, 6))
    squares = [squareform(pdist(truth + rng.random((n_stimuli, 6)))) for _ in range(n_subjects * n_sessions)]
    ids = [f"im{i}" for i in range(n_stimuli)]
    dims = ("subject", "session", "stimulus", "stimulus_b")
    coords = {"subject": [f"s{i}" for i in range(n_subjects)], "stimulus": ids, "stimulus_b": ids}
    return xr.DataArray(np.reshape(squares, shape), coords, dims)


def test_sessions_are_averaged_and_left_out_together():
    inference = pytest.importorskip("rsatoolbox.inference")
    toolbox = pytest.importorskip("rsatoolbox.rdm")
    rdms = draw_sessions()
    low, high = inference.boot_noise_ceiling(toolbox.RDMs(rdms.values.mean(axis=1)), method="rho-a")
    got = noise_ceiling(rdms)
    assert float(got.ceiling_low) == pytest.approx(low)
    assert float(got.ceiling_high) == pytest.approx(high)
    assert got.ceiling_low_subject.subject.values.tolist() == ["s0", "s1", "s2", "s3"]
    assert "rho-a" in got.attrs["ceiling_kind"]


def test_one_subject_with_one_measurement_has_none():
    assert np.isnan(noise_ceiling(draw_sessions(n_subjects=1, n_sessions=1)).ceiling_high)


def test_one_subject_has_the_reliability_of_its_sessions():
    rdms = draw_sessions(n_subjects=1, n_sessions=4)
    got = noise_ceiling(rdms, method="pearson")
    vectors = [squareform(one, checks=False) for one in rdms.values[0]]
    halves = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    means = [[np.mean([vectors[i] for i in half], axis=0) for half in pair] for pair in halves]
    r = np.mean([np.corrcoef(*pair)[0, 1] for pair in means])
    assert float(got.ceiling_low) == pytest.approx(2 * r / (1 + r))
    assert float(got.ceiling_high) == pytest.approx(np.sqrt(2 * r / (1 + r)))
    assert "4 sessions" in got.attrs["ceiling_kind"]
    np.testing.assert_allclose(
        noise_ceiling(rdms.isel(subject=0), method="pearson").ceiling_low, got.ceiling_low
    )


def test_split_halves_estimate_the_similarity_with_the_truth():
    rng = np.random.default_rng(1)
    n_pairs, n_runs = 4950, 6
    truth = rng.standard_normal(n_pairs)
    runs = np.stack([squareform(truth + 2 * rng.standard_normal(n_pairs)) for _ in range(n_runs)])
    rdms = xr.DataArray(
        runs, {"stimulus": range(100), "stimulus_b": range(100)}, ("run", "stimulus", "stimulus_b")
    )
    got = noise_ceiling(rdms, method="pearson")
    reached = np.corrcoef(truth, squareform(runs.mean(axis=0), checks=False))[0, 1]
    assert float(got.ceiling_high) == pytest.approx(reached, abs=0.02)


def test_a_negative_reliability_has_no_ceiling():
    rdms = draw_sessions(n_subjects=1, n_sessions=2).isel(subject=0)
    opposed = rdms.copy(data=np.stack([rdms[0], (rdms[0].max() - rdms[0]) * (1 - np.eye(9))]))
    with pytest.warns(NeurolensWarning, match="do not agree"):
        got = noise_ceiling(opposed, method="pearson")
    assert np.isnan(got.ceiling_high)


def test_cosines_have_no_reliability_by_halves():
    with pytest.raises(InputError, match="choose a correlation"):
        noise_ceiling(draw_sessions(n_subjects=1), method="cosine")
    with pytest.raises(InputError, match="nothing is split"):
        noise_ceiling(draw_sessions(), n_splits=10)


def test_what_cannot_be_pooled_is_refused():
    rdms = draw_sessions()
    with pytest.raises(LabelError, match="'subject'"):
        noise_ceiling(rdms.isel(subject=0, session=0))
    with pytest.raises(InputError, match=r"'time'.*isel\(time=0\)"):
        noise_ceiling(rdms.expand_dims(time=2))
    rdms[0, 0, 1, 2] = rdms[0, 0, 2, 1] = np.nan
    with pytest.raises(InputError, match="complete"):
        noise_ceiling(rdms)


@pytest.mark.realdata
def test_human_it_has_the_published_band(real_data):
    from scipy.io import loadmat

    cells = loadmat(real_data / "kriegeskorte92" / "92_brainRDMs.mat")["RDMs"]["RDM"][0]
    squares = np.array([[cells[s, k] for k in range(2)] for s in range(4)], dtype=float)
    ids = [f"im{i}" for i in range(92)]
    coords = {"subject": list("abcd"), "stimulus": ids, "stimulus_b": ids}
    rdms = xr.DataArray(squares, coords, ("subject", "session", "stimulus", "stimulus_b"))
    got = noise_ceiling(rdms, method="spearman")
    assert float(got.ceiling_low) == pytest.approx(0.37, abs=0.005)
    assert float(got.ceiling_high) == pytest.approx(0.67, abs=0.005)


@pytest.mark.parametrize("method", ["kendall-tau-a", "kendall-tau-b", "rho-a"])
def test_ceilings_without_a_closed_form_are_called_approximate(method):
    kind = noise_ceiling(draw_sessions().isel(session=0, drop=True), method=method).attrs["ceiling_kind"]
    assert kind.endswith("; approximate") == method.startswith("kendall")
