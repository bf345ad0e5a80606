"""Comparing labelled RDMs: joins, broadcasting, missing pairs."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.spatial.distance import pdist, squareform

import neurolens as nl
from neurolens.errors import InputError, LabelError

IDS = [f"im{i}" for i in range(8)]


def draw_rdms(seed=0, n_stimuli=8, **dims):
    rng = np.random.default_rng(seed)
    shape = tuple(len(labels) for labels in dims.values())
    squares = [squareform(pdist(rng.random((n_stimuli, 5)))) for _ in range(int(np.prod(shape)))]
    ids = IDS[:n_stimuli]
    coords = {**dims, "stimulus": ids, "stimulus_b": ids}
    return xr.DataArray(np.reshape(squares, (*shape, n_stimuli, n_stimuli)), coords, list(coords))


def upper(rdm):
    return rdm.values[np.triu_indices(rdm.sizes["stimulus"], 1)]


SCIPY = {
    "spearman": stats.spearmanr,
    "rho-a": stats.spearmanr,
    "pearson": stats.pearsonr,
}  # rho-a: no ties here


@pytest.mark.parametrize("method", SCIPY)
def test_every_rdm_meets_every_other_as_scipy_says(method):
    ops, brains = draw_rdms(op=["a", "b"]), draw_rdms(1, region=["V1", "IT"], subject=[1, 2, 3])
    got = nl.compare_rdms(ops, brains, method=method)
    assert got.dims == ("op", "region", "subject")
    for op in "ab":
        for region in ("V1", "IT"):
            want = SCIPY[method](upper(ops.sel(op=op)), upper(brains.sel(region=region, subject=3))).statistic
            assert float(got.sel(op=op, region=region, subject=3)) == pytest.approx(want)


def test_two_plain_rdms_give_one_number():
    one = draw_rdms()
    got = nl.compare_rdms(one, one)
    assert got.dims == ()
    assert float(got) == pytest.approx(1)


def test_equals_rsatoolbox():
    toolbox = pytest.importorskip("rsatoolbox.rdm")
    left, right = draw_rdms(op=list("abc")), draw_rdms(1, subject=[1, 2])
    theirs = [toolbox.RDMs(r.values) for r in (left, right)]
    for ours, name in (
        ("pearson", "corr"),
        ("cosine", "cosine"),
        ("rho-a", "rho-a"),
        ("kendall-tau-a", "tau-a"),
    ):
        want = toolbox.compare(*theirs, method=name)
        np.testing.assert_allclose(nl.compare_rdms(left, right, method=ours), want, atol=1e-10)


def test_stimuli_are_joined_by_label():
    ops, brain = draw_rdms(op=["a", "b"]), draw_rdms(1)
    order = [3, 1, 0, 7, 2, 6, 5, 4]
    shuffled = brain.isel(stimulus=order, stimulus_b=order)
    np.testing.assert_allclose(nl.compare_rdms(ops, shuffled), nl.compare_rdms(ops, brain))


def test_inner_join_uses_the_common_stimuli():
    full, part = draw_rdms(), draw_rdms(1, n_stimuli=5)
    with pytest.raises(LabelError, match="3 only in rdms"):
        nl.compare_rdms(full, part)
    got = nl.compare_rdms(full, part, join="inner")
    cut = full.isel(stimulus=slice(5), stimulus_b=slice(5))
    assert float(got) == pytest.approx(stats.spearmanr(upper(cut), upper(part)).statistic)


def test_coords_of_both_sides_survive():
    ops = draw_rdms(op=["a", "b"]).assign_coords(depth=("op", [0.1, 0.7]))
    got = nl.compare_rdms(ops, draw_rdms(1, subject=["s1"]))
    assert got.depth.values.tolist() == [0.1, 0.7]
    assert got.subject.values.tolist() == ["s1"]


def without(rdm, *stimuli):
    rdm = rdm.copy()
    for label in stimuli:
        rdm.loc[{"stimulus": label}] = np.nan
        rdm.loc[{"stimulus_b": label}] = np.nan
    return rdm


def test_pairs_that_all_miss_are_left_out():
    a, b = draw_rdms(), draw_rdms(1)
    keep = IDS[1:]
    got = nl.compare_rdms(without(a, "im0"), without(b, "im0"))
    want = nl.compare_rdms(a.sel(stimulus=keep, stimulus_b=keep), b.sel(stimulus=keep, stimulus_b=keep))
    assert float(got) == pytest.approx(float(want))


def test_pairs_that_one_side_misses_are_an_error():
    with pytest.raises(InputError, match="number 0 of reference"):
        nl.compare_rdms(draw_rdms(), without(draw_rdms(1), "im3"))


def test_both_sides_with_one_dim_are_an_error_that_says_rename():
    a = draw_rdms(op=["a"])
    with pytest.raises(InputError, match=r'rename\(op="op_b"\)'):
        nl.compare_rdms(a, a)
    assert float(nl.compare_rdms(a, a.rename(op="op_b"))[0, 0]) == pytest.approx(1)


def test_an_asymmetric_or_oddly_labelled_matrix_is_no_rdm():
    crooked = draw_rdms()
    crooked[0, 1] = 5
    with pytest.raises(InputError, match="reference is not symmetric"):
        nl.compare_rdms(draw_rdms(), crooked)
    with pytest.raises(LabelError, match="another order"):
        nl.compare_rdms(draw_rdms().isel(stimulus_b=slice(None, None, -1)), draw_rdms())
    with pytest.raises(LabelError, match="stimulus_b"):
        nl.compare_rdms(draw_rdms().isel(stimulus_b=0), draw_rdms())
