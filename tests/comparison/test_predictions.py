"""The p of encoding RSA is that of the whole analysis of permuted responses, fits included."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import binom, false_discovery_control
from torch import nn

import neurolens as nl
from neurolens.activations import StreamedActivations
from neurolens.comparison import predictions
from neurolens.encoding.fits import Task
from neurolens.encoding.plans import Plan
from neurolens.errors import InputError
from neurolens.numerics.heldout import draw_orders

pytestmark = pytest.mark.filterwarnings("ignore:.*smallest or the largest alpha")

N_PERMUTATIONS = 9
IDS = [f"im{i}" for i in range(40)]
RUNS = np.repeat(np.arange(10), 4)
CASES = {
    "ranks": ({"model": nl.Ridge(alphas=10.0)}, "rho-a", "max"),
    "chosen alphas": ({"model": nl.Ridge()}, "pearson", "bh"),
    "whitened": ({"model": nl.Ridge(alphas=10.0), "cv": 3}, "whitened-pearson", "max"),
    "cosines": ({"model": nl.Ridge(alphas=10.0)}, "cosine", "max"),
    "no product": ({"model": nl.Ridge(alphas=10.0)}, "kendall-tau-b", "max"),
    "one by one": ({"model": nl.encoding.PLS(n_components=3)}, "spearman", "max"),
    "groups": ({"model": nl.Ridge(alphas=10.0), "groups": "run"}, "spearman", "max"),
    "fixed split": ({"cv": {"train": IDS[:25], "test": IDS[25:]}}, "spearman", "max"),
}


@pytest.fixture
def brain(regions):
    """Regions of 3 and 2 subjects, with weak signal, and with runs of four stimuli."""
    rng = np.random.default_rng(5)
    noisy = {name: data + 3 * rng.standard_normal(data.shape) for name, data in regions.items()}
    noisy["IT"] = noisy["IT"].isel(subject=slice(1, None))
    return {name: data.assign_coords(run=("stimulus", RUNS)) for name, data in noisy.items()}


def permute(brain, order):
    """Give every stimulus the responses to another one."""
    return {name: data.copy(data=data.values[:, order]) for name, data in brain.items()}


def score(network, brain, **given):
    return nl.compare(network, brain, method="ersa", n_permutations=0, n_splits=0, progress=False, **given)


@pytest.mark.parametrize("case", CASES)
def test_p_is_that_of_a_loop_over_permuted_responses(network, brain, monkeypatch, case):
    options, similarity, correction = CASES[case]
    drawn = []
    draw = predictions.draw_null

    def keep(*args):
        drawn.append(draw(*args))
        return drawn[-1]

    monkeypatch.setattr(predictions, "draw_null", keep)
    given = {"options": options, "similarity": similarity, "correction": correction, "seed": 3}
    profile = nl.compare(
        network, brain, method="ersa", n_permutations=N_PERMUTATIONS, n_splits=0, progress=False, **given
    )
    blocks = RUNS.astype(str) if "groups" in options else np.array(IDS)
    orders = draw_orders(np.zeros(40), blocks, N_PERMUTATIONS, seed=3)
    observed = score(network, brain, **given)
    null = np.array([score(network, permute(brain, order), **given).score.values for order in orders])
    xr.testing.assert_identical(profile.score, observed.score)
    np.testing.assert_allclose(drawn[0], null, atol=1e-9)
    p = (1 + (null >= observed.score.values).sum(axis=0)) / (1 + N_PERMUTATIONS)
    np.testing.assert_allclose(profile.p, p)
    if correction == "bh":
        np.testing.assert_allclose(profile.p_corrected, false_discovery_control(p, axis=0))
    else:
        both = np.concatenate([observed.score.values[None], null])
        above = both - (both.mean(axis=0) if similarity == "cosine" else 0)  # cosines are not 0 by chance
        reached = above[1:].max(axis=1, keepdims=True) >= above[0]
        np.testing.assert_allclose(profile.p_corrected, (1 + reached.sum(axis=0)) / (1 + N_PERMUTATIONS))
    assert "permutation of responses before the fits" in profile.attrs["p_of"]
    assert profile.attrs["n_permutations"] == N_PERMUTATIONS
    assert observed.attrs["p_of"] == "none"
    assert np.isnan(observed.p).all()


def test_batches_and_blocks_change_nothing(network, brain, monkeypatch):
    given = {"options": {"model": nl.Ridge(alphas=10.0)}, "n_permutations": 7, "progress": False}
    together = nl.compare(network, brain, method="ersa", **given)
    monkeypatch.setattr("neurolens.encoding.refits.BATCH_ELEMENTS", 3 * 40 * 50)  # three permutations
    monkeypatch.setattr("neurolens.comparison.predictions.BLOCK_BYTES", 1)
    xr.testing.assert_identical(nl.compare(network, brain, method="ersa", **given), together)


def test_moments_are_tested_as_they_are_alone(network, brain):
    given = {"options": {"model": nl.Ridge(alphas=10.0)}, "n_permutations": 7, "n_splits": 0}
    film = xr.concat([brain["V1"], -brain["V1"].roll(stimulus=1)], "time").assign_coords(time=[0.0, 0.1])
    film = film.assign_coords(stimulus=IDS)
    profile = nl.compare(network, film, method="ersa", progress=False, **given)
    for time in (0.0, 0.1):
        alone = nl.compare(network, film.sel(time=time, drop=True), method="ersa", progress=False, **given)
        for name in ("score", "p", "p_corrected"):
            np.testing.assert_array_equal(profile[name].sel(time=time), alone[name])


def test_a_stream_runs_once_for_the_scores_and_once_for_all_permutations(monkeypatch):
    rng = np.random.default_rng(0)
    ids = [str(i) for i in range(24)]
    stimuli = nl.Stimuli.from_array(rng.random((24, 50)).astype("float32"), ids=ids)
    model = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(50, 50), nn.Tanh())))
    responses = xr.DataArray(rng.random((24, 5)), {"stimulus": ids}, ("stimulus", "neuroid"))
    computed = []
    compute = StreamedActivations._compute
    monkeypatch.setattr(
        StreamedActivations, "_compute", lambda self, group: computed.append(group) or compute(self, group)
    )
    options = {"model": nl.Ridge(alphas=1.0), "cv": 3}
    given = {"options": options, "n_permutations": 19, "n_splits": 2, "progress": False}
    torch.manual_seed(0)
    profile = nl.compare((model, stimuli), responses, method="ersa", memory="30 kB", **given)
    assert len(set(computed)) > 2
    assert computed == 2 * sorted(set(computed))
    assert profile.p.notnull().all()


def test_a_lone_array_is_one_operation(network, brain):
    given = {"options": {"model": nl.Ridge(alphas=10.0)}, "n_permutations": 7, "progress": False}
    profile = nl.compare(network["late"].rename("late"), brain, method="ersa", **given)
    among = nl.compare({"late": network["late"]}, brain, method="ersa", **given)
    np.testing.assert_array_equal(profile.p, among.p)
    assert profile.op.values.tolist() == ["late"]


def test_what_cannot_change_place_or_takes_too_long_is_said(network, brain):
    uneven = np.repeat([0, 1, 2], [10, 13, 17])
    runs = {name: data.assign_coords(run=("stimulus", uneven)) for name, data in brain.items()}
    given = {"method": "ersa", "n_permutations": 9, "progress": False}
    with pytest.raises(InputError, match="3 groups of stimuli move as wholes, and no two are of one size"):
        nl.compare(network, runs, options={"cv": "run", "model": nl.Ridge(alphas=1.0)}, **given)
    options = {"model": nl.Ridge(alphas=1.0)}
    with pytest.raises(InputError, match="270,000 comparisons one by one"):
        nl.compare(
            network, brain, options=options, similarity="kendall-tau-a", **(given | {"n_permutations": 30000})
        )


def draw_unrelated(seed, n_stimuli=24):
    """Draw a network of four operations and a region that has nothing to do with it."""
    rng = np.random.default_rng(seed)
    ids = [str(i) for i in range(n_stimuli)]
    arrays = {
        f"op{i}": xr.DataArray(rng.standard_normal((n_stimuli, 20)), {"stimulus": ids}, ("stimulus", "unit"))
        for i in range(4)
    }
    return arrays, xr.DataArray(
        rng.standard_normal((n_stimuli, 8)), {"stimulus": ids}, ("stimulus", "neuroid")
    )


def test_without_relation_p_is_as_small_as_it_says():
    options = {"model": nl.Ridge(alphas=20.0), "cv": 2}  # both folds are trained on each other
    given = {"method": "ersa", "options": options, "n_permutations": 39, "n_splits": 0, "progress": False}
    least = np.array([float(nl.compare(*draw_unrelated(i), **given).p_corrected.min()) for i in range(100)])
    for level in (0.05, 0.2):  # both are reached exactly with 39 permutations
        low, high = binom.ppf([0.001, 0.999], 100, level)
        assert low <= (least <= level + 1e-9).sum() <= high


def test_the_operation_that_made_a_region_is_found(network, regions):
    options = {"model": nl.Ridge(alphas=10.0)}
    profile = nl.compare(
        network, regions, method="ersa", options=options, n_permutations=99, n_splits=0, progress=False
    )
    found = profile.p_corrected <= 0.05
    assert found.sel(region="V1").values.tolist() == [True, False, False]
    assert found.sel(region="IT").values.tolist() == [False, False, True]


def test_a_permutation_without_a_score_counts_against_the_operation(network, brain, monkeypatch):
    null = np.full((9, 3, 2), -1.0)
    null[4, 0, 1] = np.nan
    monkeypatch.setattr(predictions, "draw_null", lambda *_: null)
    options = {"model": nl.Ridge(alphas=10.0)}
    profile = nl.compare(network, brain, method="ersa", options=options, n_permutations=9, progress=False)
    np.testing.assert_allclose(profile.p, [[0.1, 0.2], [0.1, 0.1], [0.1, 0.1]])


def test_predictions_without_distances_have_no_score(network, brain):
    target = nl.rdm(brain["V1"])
    statistic = predictions.PredictedSimilarity((target,), (np.arange(10),), "correlation", "rho-a")
    folds = [(np.arange(20), np.arange(20, 40)), (np.arange(20, 40), np.arange(20))]
    folding = Plan(IDS, np.ones(10, dtype=bool), Task(np.zeros((40, 10)), folds, np.array(IDS)))
    made = np.random.default_rng(0).standard_normal((3, 40, 10))
    made[1, 5] = 1.0
    orders = np.tile(np.arange(40), (3, 1))
    scores = statistic(folding, orders, made)
    assert np.isnan(scores[:, 0]).tolist() == [False, True, False]
    assert np.isnan(statistic(folding, orders[1:2], made[1:2])).all()
