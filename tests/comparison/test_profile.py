"""Profiles: scores, ceilings and p against other code, and what each form of input gives."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.spatial.distance import pdist, squareform

import neurolens as nl
from neurolens.errors import InputError, LabelError, NeurolensWarning

N = 12
IDS = [f"im{i}" for i in range(N)]
TRUTH = np.random.default_rng(99).standard_normal((N, 10))


def layer(signal, seed, n_units=15):
    rng = np.random.default_rng(seed)
    values = signal * TRUTH @ rng.standard_normal((10, n_units)) + rng.standard_normal((N, n_units))
    return xr.DataArray(values, {"stimulus": IDS}, ("stimulus", "unit"))


def source():
    arrays = {"early": layer(0, 1), "middle": layer(0.5, 2), "late": layer(3, 3, 40)}
    return {
        name: array.assign_attrs(depth=depth, step=i, module=name, function="linear", model="toy")
        for i, ((name, array), depth) in enumerate(zip(arrays.items(), (0.0, 0.5, 1.0), strict=True))
    }


def brain(n_subjects=3, signal=2.0, seed=10):
    subjects = [layer(signal, seed + i, 30).rename(unit="neuroid") for i in range(n_subjects)]
    return xr.concat(subjects, dim="subject").assign_coords(subject=[f"s{i}" for i in range(n_subjects)])


def pairs(patterns):
    return pdist(patterns, "correlation")


def test_score_is_the_mean_over_subjects_as_scipy_says():
    profile = nl.compare(source(), brain(), similarity="spearman", n_permutations=20, progress=False)
    want = [
        [stats.spearmanr(pairs(array), pairs(subject)).statistic for subject in brain().values]
        for array in source().values()
    ]
    assert profile.score.dims == ("op",)
    np.testing.assert_allclose(profile.score_subject.transpose("op", "subject"), want)
    np.testing.assert_allclose(profile.score, np.mean(want, axis=1))
    assert profile.depth.values.tolist() == [0.0, 0.5, 1.0]


def test_ceiling_equals_rsatoolbox():
    inference = pytest.importorskip("rsatoolbox.inference")
    toolbox = pytest.importorskip("rsatoolbox.rdm")
    profile = nl.compare(source(), brain(), n_permutations=0, progress=False)
    rdms = toolbox.RDMs(np.stack([pairs(subject) for subject in brain().values]))
    low, high = inference.boot_noise_ceiling(rdms, method="rho-a")
    assert float(profile.ceiling_low) == pytest.approx(low)
    assert float(profile.ceiling_high) == pytest.approx(high)


def test_p_separates_signal_from_none_and_correction_only_raises_it():
    profile = nl.compare(source(), brain(), n_permutations=499, progress=False)
    assert float(profile.p.sel(op="late")) == pytest.approx(1 / 500)
    assert float(profile.p.sel(op="early")) > 0.05
    assert (profile.p_corrected >= profile.p).all()
    assert profile.attrs["n_permutations"] == 499


def test_bh_equals_scipy():
    profile = nl.compare(source(), brain(), n_permutations=99, correction="bh", progress=False)
    np.testing.assert_allclose(profile.p_corrected, stats.false_discovery_control(profile.p))


def test_the_seed_decides():
    run = lambda seed: nl.compare(source(), brain(), n_permutations=99, seed=seed, progress=False)
    xr.testing.assert_identical(run(1), run(1))
    assert not run(1).p.equals(run(2).p)
    assert run(1).score.equals(run(2).score)


def test_without_permutations_p_is_nan():
    profile = nl.compare(source(), brain(), n_permutations=0, progress=False)
    assert np.isnan(profile.p).all()
    assert np.isnan(profile.p_corrected).all()
    assert profile.attrs["n_permutations"] == 0


def test_one_rdm_has_neither_subjects_nor_a_ceiling():
    single = nl.rdm(brain().isel(subject=0))
    profile = nl.compare(source(), single, n_permutations=20, progress=False)
    assert "score_subject" not in profile
    assert np.isnan(profile.ceiling_low)
    assert np.isnan(profile.ceiling_high)
    assert int(profile.n_subjects) == 0


def test_regions_keep_their_own_subjects():
    regions = {
        "IT": brain(),
        "V1": brain(2, seed=50).assign_coords(subject=["s1", "m1"]),
        "mean": nl.rdm(brain()[0]),
    }
    profile = nl.compare(source(), regions, n_permutations=50, progress=False)
    assert profile.score.dims == ("op", "region")
    assert profile.n_subjects.values.tolist() == [3, 2, 0]
    alone = nl.compare(source(), regions["V1"], n_permutations=50, progress=False)
    v1 = profile.sel(region="V1")
    np.testing.assert_allclose(v1.score, alone.score)
    np.testing.assert_array_equal(v1.p, alone.p)  # the same permutations act on every region
    np.testing.assert_allclose(v1.score_subject.sel(subject=["s1", "m1"]), alone.score_subject)
    assert np.isnan(v1.score_subject.sel(subject=["s0", "s2"])).all()
    assert np.isfinite(v1.ceiling_low)
    assert np.isnan(profile.sel(region="mean").ceiling_low)


def test_rdms_once_computed_give_the_same_profile():
    rdms = nl.rdm(source())
    again = nl.compare(rdms, brain(), n_permutations=50, progress=False)
    first = nl.compare(source(), brain(), n_permutations=50, progress=False)
    xr.testing.assert_identical(again, first)


def test_a_lone_array_is_one_operation():
    profile = nl.compare(layer(1, 0).rename("fc"), brain(), n_permutations=0, progress=False)
    assert profile.op.values.tolist() == ["fc"]


def test_stimuli_are_joined_by_label():
    order = np.random.default_rng(0).permutation(N)
    shuffled = brain().isel(stimulus=order)
    first, again = (nl.compare(source(), b, n_permutations=0, progress=False) for b in (brain(), shuffled))
    np.testing.assert_allclose(first.score, again.score)


def test_inner_join_takes_what_source_and_all_regions_share():
    regions = {"A": brain().isel(stimulus=slice(0, 9)), "B": brain(seed=30).isel(stimulus=slice(2, 12))}
    with pytest.raises(LabelError, match="only in source"):
        nl.compare(source(), regions, progress=False)
    profile = nl.compare(source(), regions, n_permutations=20, join="inner", progress=False)
    assert profile.attrs["n_stimuli"] == 7
    common = {name: array.isel(stimulus=slice(2, 9)) for name, array in source().items()}
    want = nl.compare(common, brain().isel(stimulus=slice(2, 9)), n_permutations=0, progress=False)
    np.testing.assert_allclose(profile.score.sel(region="A"), want.score)


def test_an_operation_with_a_missing_pattern_has_no_score():
    arrays = source()
    arrays["dead"] = arrays["early"].copy()
    arrays["dead"][3] = 0.0
    with pytest.warns(NeurolensWarning) as caught:
        profile = nl.compare(arrays, brain(), n_permutations=20, progress=False)
    assert any("1 operations have no score" in str(w.message) and "'dead'" in str(w.message) for w in caught)
    dead = profile.sel(op="dead")
    assert np.isnan(dead.score)
    assert np.isnan(dead.p_corrected)
    assert np.isfinite(profile.drop_sel(op="dead").p_corrected).all()


def test_attrs_tell_how_it_was_made():
    attrs = nl.compare(source(), brain(), n_permutations=20, seed=7, progress=False).attrs
    assert attrs["method"] == "rsa"
    assert attrs["seed"] == 7
    assert attrs["model"] == "toy"
    assert attrs["ci_of"] == "none"
    assert "maximum statistic" in attrs["correction_of"]
    assert set(json.loads(attrs["inputs"])) == {"source", "brain"}
    assert json.loads(attrs["parameters"])["similarity"] == "rho-a"


def test_a_profile_can_be_written_and_read(tmp_path):
    profile = nl.compare(source(), {"IT": brain()}, n_permutations=20, progress=False)
    path = tmp_path / "profile.nc"
    profile.to_netcdf(path, engine="scipy")
    xr.testing.assert_allclose(xr.load_dataset(path, engine="scipy"), profile)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "CCA"}, "'rsa'"),
        ({"similarity": "rho"}, "rho-a"),
        ({"correction": "bonferroni"}, "'max', 'bh'"),
        ({"n_permutations": -1}, "at least 0 .no test."),
        ({"join": "outer"}, "'inner'"),
    ],
)
def test_a_wrong_option_lists_the_right_ones(options, says):
    with pytest.raises(InputError, match=says):
        nl.compare(source(), brain(), progress=False, **options)


def test_ops_do_not_silently_pass_by_rdms():
    with pytest.raises(InputError, match=r"rdms\.sel"):
        nl.compare(nl.rdm(source()), brain(), ops="late", progress=False)


def test_rdms_over_more_than_operations_are_refused():
    rdms = xr.concat([nl.rdm(source())] * 2, dim="time")
    with pytest.raises(InputError, match="'time'"):
        nl.compare(rdms, brain(), progress=False)


def test_square_input_and_condensed_truth_agree():
    square = squareform(pairs(brain().values[0]))
    target = xr.DataArray(square, {"stimulus": IDS, "stimulus_b": IDS}, ("stimulus", "stimulus_b"))
    profile = nl.compare(source(), target, n_permutations=0, progress=False)
    want = stats.spearmanr(pairs(source()["late"].values), squareform(square)).statistic
    assert float(profile.score.sel(op="late")) == pytest.approx(want)
