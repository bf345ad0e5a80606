"""Labelled similarity of activations: sources, references, subjects, chance."""

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import pdist, squareform

from neurolens.errors import InputError, LabelError
from neurolens.numerics.representations import compute_representation_similarity, prepare_representation
from neurolens.rsa import compare_representations, dimensionality

N = 24


def label(values, dims=("stimulus", "unit"), **coords):
    return xr.DataArray(values, {"stimulus": [f"im{i}" for i in range(N)], **coords}, dims)


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    conv = rng.standard_normal((N, 3, 2, 2))
    return {
        "conv": label(conv, ("stimulus", "channel", "y", "x")),
        "fc": label(conv.reshape(N, -1)[:, :4] + 0.1 * rng.standard_normal((N, 4))),
        "fixed": xr.DataArray(np.ones(5), dims="unit"),
    }


def compute_by_hand(left, right, method="cka"):
    sides = [np.asarray(one.values, dtype=float).reshape(N, -1) for one in (left, right)]
    prepared = [
        prepare_representation(squareform(pdist(one, "sqeuclidean")), method, n_features=one.shape[1])
        for one in sides
    ]
    return compute_representation_similarity(*prepared, method)


def test_every_operation_meets_every_other(source):
    result = compare_representations(source, source, n_permutations=19)
    assert result.score.dims == ("op", "op_b")
    assert result.score.op.values.tolist() == ["conv", "fc"]
    assert "fixed" in result.attrs["skipped"]
    wanted = compute_by_hand(source["conv"], source["fc"])
    np.testing.assert_allclose(result.score, [[1, wanted], [wanted, 1]], atol=1e-10)
    assert (result.p == 0.05).all()
    assert abs(float(result.chance.sel(op="conv", op_b="fc"))) < 0.15


def test_subjects_are_averaged_and_kept(source):
    rng = np.random.default_rng(1)
    responses = rng.standard_normal((3, N, 6))
    responses[:, :, :4] += source["fc"].values
    brain = label(responses, ("subject", "stimulus", "neuroid"), subject=["a", "b", "c"])
    result = compare_representations(source, brain, n_permutations=19)
    assert result.score.dims == ("op",)
    np.testing.assert_allclose(result.score, result.score_subject.mean("subject"))
    wanted = compute_by_hand(source["fc"], brain.sel(subject="b"))
    assert float(result.score_subject.sel(op="fc", subject="b")) == pytest.approx(wanted)
    assert (result.p_corrected >= result.p).all()


def test_stimuli_are_joined_by_label(source):
    order = np.random.default_rng(2).permutation(N)
    shuffled = source["fc"].isel(stimulus=order)
    result = compare_representations(source["conv"], shuffled, n_permutations=0)
    assert float(result.score) == pytest.approx(compute_by_hand(source["conv"], source["fc"]))
    assert np.isnan(result.p)
    with pytest.raises(LabelError, match="only in source"):
        compare_representations(source["conv"], shuffled.isel(stimulus=slice(0, 20)))


def test_reduction_is_stated_or_refused(source):
    with pytest.raises(InputError, match="n_components=5 or less"):
        compare_representations(source, source["conv"], method="procrustes")
    result = compare_representations(
        source, source["conv"], method="procrustes", n_components=4, n_permutations=19
    )
    assert (result.chance > 0.2).all()
    assert '"n_components": 4' in result.attrs["parameters"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"method": "ckaa"}, "'cka'"),
        ({"bandwidth": 1.0}, "RBF"),
        ({"n_permutations": -1}, "n_permutations"),
        ({"correction": "holm"}, "'max'"),
    ],
)
def test_options_without_a_meaning_are_refused(source, options, match):
    with pytest.raises(InputError, match=match):
        compare_representations(source, source["fc"], **options)


def test_dimensionality_of_known_spectra():
    rng = np.random.default_rng(3)
    n, p = 400, 120
    basis = np.linalg.qr(rng.standard_normal((n, p)))[0]
    basis = np.linalg.qr(basis - basis.mean(axis=0))[0]
    spectrum = np.arange(1.0, p + 1) ** -1.2
    stimuli = {"stimulus": range(n)}
    flat = xr.DataArray(basis[:, :9], stimuli, ("stimulus", "unit"))
    power = xr.DataArray(basis * np.sqrt(spectrum), stimuli, ("stimulus", "unit"))
    result = dimensionality({"flat": flat, "power": power}, ranks=(5, 100))
    np.testing.assert_allclose(result.participation_ratio, [9, spectrum.sum() ** 2 / (spectrum**2).sum()])
    assert float(result.exponent.sel(op="power")) == pytest.approx(1.2)
    np.testing.assert_array_equal(result["rank"], [9, p])
    with pytest.raises(InputError, match="ranks"):
        dimensionality({"flat": flat}, ranks=(5, 2))
