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
    "kendall-tau-a": stats.kendalltau,
    "kendall-tau-b": stats.kendalltau,
    "spearman": stats.spearmanr,
    "rho-a": stats.spearmanr,
    "pearson": stats.pearsonr,
}  # no ties here: variants agree


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
        ("whitened-pearson", "corr_cov"),
        ("whitened-cosine", "cosine_cov"),
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


def draw_covariance(n_stimuli=8, ids=IDS, seed=3):
    half = np.random.default_rng(seed).standard_normal((n_stimuli, 20))
    ids = ids[:n_stimuli]
    values = half @ half.T / 20
    return xr.DataArray(values, {"stimulus": ids, "stimulus_b": ids}, ("stimulus", "stimulus_b"))


def whitened_cosine(a, b, covariance, kept=slice(None)):
    """With V written out."""
    n = len(covariance)
    rows, columns = np.triu_indices(n, 1)
    contrasts = (np.eye(n)[rows] - np.eye(n)[columns])[kept]
    inverse = np.linalg.inv((contrasts @ covariance @ contrasts.T) ** 2)
    return a @ inverse @ b / np.sqrt((a @ inverse @ a) * (b @ inverse @ b))


def test_a_covariance_is_joined_by_label():
    ops, brain, covariance = draw_rdms(op=["a", "b"]), draw_rdms(1), draw_covariance()
    want = [whitened_cosine(upper(op), upper(brain), covariance.values) for op in ops]
    order = [3, 1, 0, 7, 2, 6, 5, 4]
    shuffled = covariance.isel(stimulus=order, stimulus_b=order)
    for given in (covariance, covariance.values, shuffled):
        got = nl.compare_rdms(ops, brain, method="whitened-cosine", covariance=given)
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_whitening_leaves_out_whole_stimuli_and_knows_their_covariance():
    a, b, covariance = draw_rdms(), draw_rdms(1), draw_covariance()
    keep = IDS[1:]
    got = nl.compare_rdms(
        without(a, "im0"), without(b, "im0"), method="whitened-pearson", covariance=covariance
    )
    cut = [x.sel(stimulus=keep, stimulus_b=keep) for x in (a, b, covariance)]
    want = nl.compare_rdms(*cut[:2], method="whitened-pearson", covariance=cut[2])
    assert float(got) == pytest.approx(float(want), abs=1e-12)


def test_whitening_of_single_missing_pairs_uses_their_part_of_v():
    a, b, covariance = draw_rdms(), draw_rdms(1), draw_covariance()
    for rdm in (a, b):
        rdm[0, 1] = rdm[1, 0] = np.nan
    kept = np.arange(28) != 0
    got = nl.compare_rdms(a, b, method="whitened-cosine", covariance=covariance)
    want = whitened_cosine(upper(a)[kept], upper(b)[kept], covariance.values, kept)
    assert float(got) == pytest.approx(want, abs=1e-12)


def test_controls_come_as_one_or_many_and_are_joined_by_label():
    a, b, pixels, gabor = (draw_rdms(seed) for seed in range(4))
    order = [3, 1, 0, 7, 2, 6, 5, 4]
    both = {"pixels": pixels, "gabor": gabor.isel(stimulus=order, stimulus_b=order)}
    got = nl.compare_rdms(a, b, method="pearson", control=both)
    design = np.column_stack([np.ones(28), upper(pixels), upper(gabor)])
    left, right = (upper(x) - design @ np.linalg.lstsq(design, upper(x), rcond=None)[0] for x in (a, b))
    assert float(got) == pytest.approx(stats.pearsonr(left, right).statistic, abs=1e-10)
    stacked = xr.concat([pixels, gabor], "kind")
    for given in ([pixels, gabor], stacked):
        assert float(nl.compare_rdms(a, b, method="pearson", control=given)) == pytest.approx(float(got))
    semi = nl.compare_rdms(a, b, method="pearson", control=both, control_of="rdms")
    assert float(semi) == pytest.approx(stats.pearsonr(left, upper(b)).statistic, abs=1e-10)
    assert got.attrs["long_name"].startswith("partial")


def test_within_compares_pairs_of_one_category():
    kinds = np.array(["face", "house"] * 4)
    a, b = draw_rdms(op=["a", "b"]), draw_rdms(1).assign_coords(kind=("stimulus", kinds))
    rows, columns = np.triu_indices(8, 1)
    same = kinds[rows] == kinds[columns]
    for left, right in ((a, b), (b, a)):
        got = nl.compare_rdms(left, right, method="spearman", within="kind")
        want = [stats.spearmanr(upper(op)[same], upper(b)[same]).statistic for op in a]
        np.testing.assert_allclose(got, want, atol=1e-12)
        assert got.attrs["n_pairs"] == same.sum()
    got = nl.compare_rdms(a, b, method="whitened-cosine", within="kind")
    want = [whitened_cosine(upper(op)[same], upper(b)[same], np.eye(8), same) for op in a]
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_rdms_over_many_dims_meet_at_once():
    models = draw_rdms(op=["a", "b"], **{"pass": [1, 2, 3]})
    brains = draw_rdms(1, subject=["s1", "s2"], time=[0.1, 0.2, 0.3])
    got = nl.compare_rdms(models, brains, method="whitened-cosine")
    assert got.dims == ("op", "pass", "subject", "time")
    one = nl.compare_rdms(
        models.sel(op="b").isel({"pass": 2}), brains.sel(subject="s2", time=0.1), method="whitened-cosine"
    )
    assert float(got.sel(op="b", subject="s2", time=0.1).isel({"pass": 2})) == pytest.approx(
        float(one), abs=1e-14
    )


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"method": "spearman", "covariance": np.eye(8)}, InputError, "no meaning for method='spearman'"),
        ({"method": "whitened-cosine", "covariance": np.eye(7)}, InputError, r"shape \(7, 7\); rdms have 8"),
        ({"method": "whitened-cosine", "covariance": np.ones((8, 8))}, InputError, "cannot be inverted"),
        (
            {"method": "whitened-cosine", "covariance": draw_covariance(5)},
            LabelError,
            "covariance lacks.*'im5'",
        ),
        ({"control": draw_rdms(2, 5)}, LabelError, "control lacks the stimuli 'im5'"),
        ({"control": []}, InputError, "empty"),
        ({"control": [np.eye(8)]}, InputError, "control 0 is a ndarray"),
        ({"control_of": "rdms"}, InputError, "give control="),
        ({"control": draw_rdms(2), "control_of": "left"}, InputError, "'reference'"),
        ({"control": draw_rdms(2), "method": "kendall-tau-b"}, InputError, "no partial form"),
        ({"within": "kind"}, LabelError, "no coord of 'stimulus'"),
        ({"method": "whitened_cosine"}, InputError, "Did you mean 'whitened-cosine'"),
    ],
)
def test_options_without_an_answer_are_refused(options, error, says):
    with pytest.raises(error, match=says):
        nl.compare_rdms(draw_rdms(), draw_rdms(1), **options)


def test_three_stimuli_are_the_fewest():
    small = draw_rdms(n_stimuli=3)
    assert np.isfinite(float(nl.compare_rdms(small, draw_rdms(1, 3))))
    with pytest.raises(InputError, match="at least 3 pairs of stimuli; 1 are left"):
        nl.compare_rdms(draw_rdms(n_stimuli=2), draw_rdms(1, 2))


@pytest.mark.parametrize(
    "make", [lambda rdm: rdm.values, lambda rdm: rdm.to_dataset(name="rdm"), lambda rdm: [rdm]]
)
def test_what_has_no_labels_is_told_how_to_get_them(make):
    rdm = draw_rdms()
    with pytest.raises(InputError, match=r"label_rdms\(array, stimulus=ids\)"):
        nl.compare_rdms(make(rdm), rdm)


def test_infinite_dissimilarities_are_refused():
    rdm = draw_rdms()
    with pytest.raises(InputError, match="infinite"):
        nl.compare_rdms(rdm.where(rdm < float(rdm.max()), np.inf), rdm)


def test_several_labels_for_a_stimulus_are_refused():
    rdm = draw_rdms()
    named = rdm.assign_coords(kind=("stimulus", list("aabbccdd")), number=("stimulus", range(8)))
    stacked = named.drop_vars("stimulus").set_index(stimulus=["kind", "number"])
    with pytest.raises(LabelError, match=r"MultiIndex of 'kind', 'number'"):
        nl.compare_rdms(stacked, rdm)


@pytest.mark.parametrize(
    "change",
    [
        lambda rdm: rdm.astype(">f8"),
        lambda rdm: rdm.copy(data=np.asfortranarray(rdm.values)),
        lambda rdm: rdm.T,
        lambda rdm: rdm.chunk(),
        lambda rdm: rdm.isel(stimulus=[3, 1, 0, 2, 7, 6, 5, 4], stimulus_b=[3, 1, 0, 2, 7, 6, 5, 4]),
    ],
)
def test_how_numbers_lie_changes_nothing(change):
    left, right = draw_rdms(1), draw_rdms(2)
    assert float(nl.compare_rdms(change(left), change(right))) == pytest.approx(
        float(nl.compare_rdms(left, right)), abs=1e-12
    )
