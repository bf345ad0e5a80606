"""Tests of scores: against loops, exact refits, scipy, and false positives on noise."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import false_discovery_control, pearsonr
from sklearn.model_selection import LeaveOneGroupOut, ShuffleSplit

from neurolens.encoding import (
    PLS,
    Linear,
    Ridge,
    bootstrap_stimuli,
    encode,
    encode_between_subjects,
    flip_signs,
    permute_responses,
    permute_with_refits,
    predicted_rdm,
)
from neurolens.errors import InputError, LabelError, NeurolensWarning
from neurolens.numerics.heldout import draw_orders

pytestmark = pytest.mark.filterwarnings("ignore:.*smallest or the largest alpha")
REGIONS = ["V1"] * 3 + ["IT"] * 5


@pytest.fixture
def source(rng, label):
    return {"conv": label(rng.normal(size=(60, 12))), "fc": label(rng.normal(size=(60, 5)))}


@pytest.fixture
def voxels(source, rng, measure):
    """Eight voxels; the last five follow `fc`."""
    signal = source["fc"].values @ rng.normal(size=(5, 8))
    signal[:, :3] = 0
    return measure(signal + 2 * rng.normal(size=(60, 8)), region=REGIONS)


@pytest.fixture
def result(source, voxels):
    return encode(source, voxels, predictions=True)


def test_predictions_are_those_that_were_scored(result):
    for fold in range(5):
        rows = result.isel(stimulus=(result.test_fold == fold).values)
        for op in range(2):
            r = [pearsonr(rows.prediction[op, :, v], rows.observed[:, v]).statistic for v in range(8)]
            np.testing.assert_allclose(result.score[op, :, fold], r)
    assert result.attrs["pair_reuse"] == 1


def test_predictions_change_no_score(source, voxels, result):
    plain = encode(source, voxels)
    np.testing.assert_array_equal(plain.score, result.score)
    assert "prediction" not in plain


def test_p_counts_permutations_by_hand(result):
    test = permute_responses(result, n_permutations=19, seed=3)
    orders = draw_orders(result.test_fold.values, result.stimulus.values, 19, seed=3)
    cell = result.isel(op=1, neuroid=5)
    folds = [np.flatnonzero(cell.test_fold == k) for k in range(5)]

    def mean_r(order):
        observed = cell.observed.values[order]
        return np.mean([pearsonr(cell.prediction[rows], observed[rows]).statistic for rows in folds])

    null = np.array([mean_r(order) for order in orders])
    stretched = null.mean() + np.sqrt(2) * (null - null.mean())
    observed = mean_r(np.arange(60))
    assert test.r.isel(op=1, neuroid=5) == pytest.approx(observed)
    assert test.p.isel(op=1, neuroid=5) == pytest.approx((1 + (stretched >= observed).sum()) / 20)


def test_known_signals_are_found_and_noise_is_not(result):
    test = permute_responses(result, n_permutations=199)
    assert (test.p.sel(op="fc")[3:] <= 0.03).all()
    assert (test.p_corrected >= test.p).all()
    assert (test.p_corrected.sel(op="fc")[3:] < 0.05).sum() >= 3
    by_region = permute_responses(result, n_permutations=199, by="region")
    assert by_region.p.dims == ("op", "region")
    assert by_region.p.sel(op="fc", region="IT") == 0.005
    assert by_region.p_corrected.sel(op="conv").min() > 0.05
    expected = result.score.mean("fold").sel(op="fc")[3:].median()
    assert by_region.r.sel(op="fc", region="IT") == pytest.approx(float(expected))


def test_benjamini_hochberg_is_scipys(result):
    test = permute_responses(result, n_permutations=99, correction="bh")
    for op in range(2):
        np.testing.assert_allclose(test.p_corrected[op], false_discovery_control(test.p[op]))
    assert test.attrs["correction"] == "bh"
    assert "neuroids of an operation" in test.attrs["correction_of"]


def test_pieces_of_neuroids_change_nothing(result, monkeypatch):
    whole = permute_responses(result, n_permutations=29)
    monkeypatch.setattr("neurolens.encoding.cells.PIECE", 3)
    xr.testing.assert_allclose(permute_responses(result, n_permutations=29), whole)


def test_groups_move_together(source, voxels):
    grouped = voxels.assign_coords(run=("stimulus", np.repeat(np.arange(15), 4)))
    result = encode(source, grouped, groups="run", predictions=True)
    assert result.block.values.tolist() == [str(i) for i in np.repeat(np.arange(15), 4)]
    by_run = permute_responses(result, n_permutations=99)
    alone = permute_responses(result, n_permutations=99, blocks="stimulus")
    assert (by_run.p != alone.p).any()
    by_fold = encode(
        source, grouped.assign_coords(run=("stimulus", np.arange(60) // 12)), cv="run", predictions=True
    )
    with pytest.raises(InputError, match=r"No permutation is possible.*blocks='stimulus'"):
        permute_responses(by_fold)


def test_intervals_hold_the_score_and_grow_with_confidence(result):
    narrow, wide = (bootstrap_stimuli(result, n_bootstraps=400, confidence=c) for c in (0.5, 0.95))
    np.testing.assert_allclose(narrow.score, result.score.mean("fold"))
    assert ((narrow.ci_low <= narrow.score) & (narrow.score <= narrow.ci_high)).mean() > 0.9
    assert ((wide.ci_low <= narrow.ci_low) & (wide.ci_high >= narrow.ci_high)).all()
    assert (wide.p.sel(op="fc")[3:] < 0.05).all()
    regions = bootstrap_stimuli(result, n_bootstraps=200, by="region")
    assert regions.ci_low.sel(op="fc", region="IT") > 0
    assert regions.attrs["ci_of"] == "stimuli, within test folds"


def test_refits_equal_a_loop_over_permuted_responses(source, voxels):
    test = permute_with_refits(source, voxels, model=Ridge(5.0), n_permutations=6, seed=2, progress=False)
    orders = draw_orders(np.zeros(60), np.array(voxels.stimulus.values), 6, seed=2)
    observed = encode(source, voxels, model=Ridge(5.0), seed=2).score.mean("fold")
    np.testing.assert_allclose(test.score, observed)
    null = [
        encode(source, voxels.copy(data=voxels.values[order]), model=Ridge(5.0), seed=2)
        .score.mean("fold")
        .values
        for order in orders
    ]
    np.testing.assert_allclose(test.p, (1 + (np.array(null) >= observed.values).sum(axis=0)) / 7)
    assert json.loads(test.attrs["parameters"])["n_permutations"] == 6


@pytest.mark.parametrize("model", [Ridge(5.0), Linear(), PLS(2)])
def test_refits_in_batches_and_one_by_one_agree(source, voxels, model, monkeypatch):
    options = {"model": model, "n_permutations": 5, "progress": False, "by": "region"}
    together = permute_with_refits(source, voxels, **options)
    monkeypatch.setattr("neurolens.encoding.refits.BATCH_ELEMENTS", 1)
    xr.testing.assert_allclose(permute_with_refits(source, voxels, **options), together)
    assert together.p.dims == ("op", "region")


def test_the_cost_of_refits_is_stated_before_they_start(source, voxels, capsys, monkeypatch):
    def stop(*_):
        raise RuntimeError("started")

    monkeypatch.setattr("neurolens.encoding.refits._test_operation", stop)
    with pytest.raises(RuntimeError, match="started"):
        permute_with_refits(source, voxels, model=Ridge(5.0), n_permutations=300)
    assert "300 permutations with refits of 2 operations take up to" in capsys.readouterr().err.replace(
        "\n", " "
    )


def test_subjects_stay_apart_and_share_permutations(source, voxels):
    people = {"A": voxels, "B": voxels[:, ::-1].assign_coords(region=("neuroid", REGIONS[::-1]))}
    people["B"] = people["B"].assign_coords(neuroid=range(8))
    result = encode(source, people, predictions=True)
    test = permute_responses(result, n_permutations=49, by="region")
    assert test.p.dims == ("op", "region", "subject")
    np.testing.assert_allclose(test.p.sel(subject="A"), test.p.sel(subject="B"))
    refits = permute_with_refits(
        source, people, model=Ridge(5.0), n_permutations=5, by="region", progress=False
    )
    np.testing.assert_allclose(refits.p.sel(subject="A"), refits.p.sel(subject="B"))


def test_p_over_subjects_is_of_sign_flips():
    rng = np.random.default_rng(0)
    scores = xr.DataArray(
        rng.normal(size=(2, 3, 6)) + np.array([0.0, 1.5])[:, None, None],
        {"op": ["a", "b"], "region": ["x", "y", "z"], "subject": list("ABCDEF")},
        ("op", "region", "subject"),
    )
    test = flip_signs(scores)
    signs = np.array(np.meshgrid(*[[1, -1]] * 6)).reshape(6, -1)
    null = np.tensordot(scores.values, signs, (2, 0)) / 6
    np.testing.assert_allclose(
        test.p, (null >= scores.mean("subject").values[..., None] - 1e-12).mean(axis=-1)
    )
    largest = null.max(axis=0)
    expected = (largest >= scores.mean("subject").values[..., None] - 1e-12).mean(axis=-1)
    np.testing.assert_allclose(test.p_corrected, expected)
    assert test.n_subjects.values.tolist() == [6, 6, 6]
    assert test.score_subject.dims == ("op", "region", "subject")


def test_few_subjects_are_warned_of_and_one_refused():
    with pytest.warns(NeurolensWarning, match="smallest possible p is 1/16"):
        assert flip_signs(xr.DataArray([1.0, 2, 3, 4], dims="subject")).p == 1 / 16
    with pytest.warns(NeurolensWarning), pytest.raises(InputError, match="at least 2"):
        flip_signs(xr.DataArray([1.0], dims="subject"))
    with pytest.raises(LabelError, match="needs the dim 'subject'"):
        flip_signs(xr.DataArray([1.0], dims="op"))


def test_subjects_predict_what_they_share(rng, measure):
    signal = rng.normal(size=(60, 3))
    people = {
        name: measure(
            np.concatenate([signal @ rng.normal(size=(3, 4)), rng.normal(size=(60, 2))], axis=1)
            + 0.3 * rng.normal(size=(60, 6))
        )
        for name in "ABC"
    }
    result = encode_between_subjects(people)
    assert result.subject.values.tolist() == sorted("ABC" * 6)
    score = result.score.mean("fold").values.reshape(3, 6)
    assert (score[:, :4] > 0.7).all()
    assert abs(score[:, 4:].mean()) < 0.2
    others = xr.DataArray(
        np.concatenate([people["B"].values, people["C"].values], axis=1),
        {"stimulus": people["A"].stimulus},
        ("stimulus", "unit"),
    )
    np.testing.assert_allclose(encode(others, people["A"]).score, result.score[:6])
    with pytest.raises(InputError, match="at least 2 subjects"):
        encode_between_subjects({"A": people["A"]})
    with pytest.raises(LabelError, match="subject"):
        encode_between_subjects({"A": people["A"], "B": people["B"][:50], "C": people["C"]})
    inner = encode_between_subjects({"A": people["A"], "B": people["B"][:50], "C": people["C"]}, join="inner")
    assert inner.n_test.isel(neuroid=0).sum() == 50


def test_rdms_of_predictions_resemble_those_of_the_data(result):
    rdms = predicted_rdm(result)
    assert rdms.dims == ("op", "region", "stimulus", "stimulus_b")
    values = result.prediction.sel(op="fc")[:, 3:].values
    np.testing.assert_allclose(rdms.sel(op="fc", region="IT"), 1 - np.corrcoef(values), atol=1e-7)
    one = predicted_rdm(result, metric="euclidean", by=None)
    assert one.dims == ("op", "stimulus", "stimulus_b")
    assert one.attrs["metric"] == "euclidean"
    data = np.corrcoef(result.observed[:, 3:].values)[np.triu_indices(60, 1)]
    close, far = (
        np.corrcoef(1 - rdms.sel(op=op, region="IT").values[np.triu_indices(60, 1)], data)[0, 1]
        for op in ("fc", "conv")
    )
    assert close > far + 0.2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: permute_responses(r.drop_vars("prediction")), InputError, "predictions=True"),
        (lambda r: predicted_rdm(r.drop_vars("prediction")), InputError, "predictions=True"),
        (lambda r: predicted_rdm(r, by="lobe"), InputError, "by='lobe'"),
        (lambda r: predicted_rdm(r, metric="city"), InputError, "metric='city'"),
        (lambda r: permute_responses(r, n_permutations=0), InputError, "n_permutations=0"),
        (lambda r: permute_responses(r, correction="none"), InputError, "correction='none'"),
        (lambda r: permute_responses(r, blocks="run"), LabelError, "blocks='run'"),
        (lambda r: permute_responses(r, by="lobe"), LabelError, "by='lobe'"),
        (lambda r: bootstrap_stimuli(r, confidence=95), InputError, "confidence=95"),
        (lambda r: bootstrap_stimuli(r, n_bootstraps=1), InputError, "at least 2"),
    ],
)
def test_bad_questions_are_errors(result, call, error, message):
    with pytest.raises(error, match=message):
        call(result)


def test_predictions_that_cannot_share_a_dim_are_refused_before_any_fit(source, voxels, monkeypatch):
    monkeypatch.setattr("neurolens.encoding.operations.fit_folds", None)
    with pytest.raises(InputError, match="tested in several folds"):
        encode(source, voxels, cv=ShuffleSplit(5, random_state=0), predictions=True)
    people = {"A": voxels, "B": voxels[:50]}
    with pytest.raises(InputError, match="'B' have other stimuli"):
        encode(source, people, predictions=True, join="inner")
    with pytest.raises(InputError, match="takes no 'ceiling'"):
        permute_with_refits(source, voxels, ceiling="noise_ceiling")


def test_folds_named_by_a_coord(source, voxels):
    coords = {
        "run": ("stimulus", np.repeat([1, 2, 10, 11], 15)),
        "side": ("stimulus", np.where(np.arange(60) < 45, "train", "test")),
    }
    labelled = voxels.assign_coords(coords)
    by_run = encode(source, labelled, cv="run", model=Ridge(1.0), predictions=True)
    assert by_run.test_fold.values.tolist() == np.repeat([0, 1, 2, 3], 15).tolist()  # 10 comes after 2
    splitter = encode(source, labelled, cv=LeaveOneGroupOut(), groups="run", model=Ridge(1.0))
    np.testing.assert_allclose(by_run.score[..., [0, 2, 3, 1]], splitter.score)  # by alphabet there
    fixed = encode(source, labelled, cv="side", predictions=True)
    assert fixed.sizes["fold"] == 1
    assert fixed.sizes["stimulus"] == 15
    assert fixed.attrs["pair_reuse"] == 0
    ids = voxels.stimulus.values
    by_label = encode(source, voxels, cv={"test": ids[45:][::-1], "train": ids[:45]})
    np.testing.assert_allclose(by_label.score, fixed.score)
    part = encode(source, voxels, cv={"test": ids[50:], "train": ids[:45]})
    assert (part.n_train[0, 0], part.n_test[0, 0]) == (45, 10)


@pytest.mark.parametrize(
    ("cv", "error", "message"),
    [
        ("stimulus", InputError, "tests 1 of 60"),
        ("lobe", LabelError, "='lobe' is no coord"),
        ("same", InputError, "nothing can be held out"),
        ({"train": ["image00"], "test": ["image01"], "rest": []}, InputError, "exactly 'train' and 'test'"),
        ({"train": ["image00"], "test": ["nothing"]}, InputError, "not among those used: 'nothing'"),
        ({"train": ["image00", "image01"], "test": ["image01"]}, InputError, "'image01' on both sides"),
        ({"train": [], "test": ["image01"]}, InputError, "0 training and 1 test"),
    ],
)
def test_folds_that_cannot_be_are_errors(source, voxels, cv, error, message):
    with pytest.raises(error, match=message):
        encode(source, voxels.assign_coords(same=("stimulus", ["a"] * 60)), cv=cv)


@pytest.mark.parametrize(
    ("name", "model", "cv"),
    [("ridge", Ridge(), 5), ("least squares", Linear(), 5), ("one split", Ridge(100.0), "side")],
)
def test_false_positives_on_noise(label, measure, name, model, cv):
    """A small sample of docs/calibration_encoding.md: 5 draws of features, 300 voxels each."""
    positive = {"permutation": [], "bootstrap": []}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        side = {"side": ("stimulus", np.where(np.arange(80) < 50, "train", "test"))}
        voxels = measure(rng.normal(size=(80, 300)), stimulus=side)
        source = label(rng.normal(size=(80, 12)) * np.exp(rng.normal(size=12)))
        result = encode(source, voxels, model=model, cv=cv, predictions=True, progress=False)
        positive["permutation"].append(permute_responses(result, n_permutations=199).p <= 0.05)
        positive["bootstrap"].append(bootstrap_stimuli(result, n_bootstraps=199).p <= 0.05)
    rates = {test: np.mean([found.mean() for found in pooled]) for test, pooled in positive.items()}
    assert 0.02 < rates["permutation"] < 0.075, rates
    assert rates["bootstrap"] < 0.085, rates


def test_false_positives_of_refits(label, measure):
    rates = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        source, voxels = label(rng.normal(size=(40, 6))), measure(rng.normal(size=(40, 150)))
        test = permute_with_refits(source, voxels, model=Ridge(20.0), n_permutations=39, progress=False)
        rates.append(float((test.p <= 0.05).mean()))
    assert 0.02 < np.mean(rates) < 0.085
