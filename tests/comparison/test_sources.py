"""Models with their stimuli, traces, several models, untrained twins, passes and moments."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import neurolens as nl
from neurolens.comparison.sources import draw_weights
from neurolens.errors import InputError

QUIET = {"progress": False, "n_permutations": 19, "n_splits": 2}
N = 12


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.again = nn.Linear(8, 8)

    def forward(self, x):
        x = self.first(x)
        for _ in range(3):
            x = torch.tanh(self.again(x))
        return x


@pytest.fixture(scope="module")
def shown():
    torch.manual_seed(123)
    values = np.random.default_rng(0).random((N, 6)).astype("float32")
    return Recurrent().eval(), nl.Stimuli.from_array(values, ids=[f"im{i}" for i in range(N)])


@pytest.fixture(scope="module")
def brain(shown):
    acts = nl.stream(*shown, progress=False)
    return nl.rdm(acts["first.linear"])


def test_a_model_with_its_stimuli_is_its_stream(shown, brain):
    streamed = nl.compare(nl.stream(*shown, progress=False), brain, **QUIET)
    profile = nl.compare(shown, brain, **QUIET)
    xr.testing.assert_identical(profile, streamed)
    assert profile.score.idxmax("op") == "first.linear"


def test_operations_of_a_model_are_chosen(shown, brain):
    profile = nl.compare(shown, brain, ops="first.*", **QUIET)
    assert profile.op.values.tolist() == ["first.linear"]


def test_several_models_stand_on_a_dim_and_depth_is_each_ones_own(network, regions):
    other = {name: network[name].assign_attrs(depth=0.25) for name in ("late",)} | {"head": network["early"]}
    profile = nl.compare({"toy": nl.rdm(network), "other": nl.rdm(other)}, regions, **QUIET)
    assert profile.score.dims == ("model", "op", "region")
    assert profile.op.values.tolist() == ["early", "middle", "late", "head"]
    alone = nl.compare(network, regions, **QUIET)
    mine = profile.sel(model="toy", op=alone.op)
    np.testing.assert_array_equal(mine.score, alone.score)
    np.testing.assert_array_equal(mine.p_corrected, alone.p_corrected)
    assert profile.depth.sel(model="other", op="late") == 0.25
    assert np.isnan(profile.score.sel(model="other", op="early")).all()
    best = profile.nl.best
    assert best.op_best.sel(model="toy", region="IT") == "late"
    assert best.op_best.sel(model="other", region="V1") == "head"


def test_untrained_twins_have_weights_of_their_own_and_leave_the_model_alone(shown, brain):
    before = {name: value.clone() for name, value in shown[0].state_dict().items()}
    state = torch.random.get_rng_state()
    profile = nl.compare(shown, brain, control="untrained", n_seeds=3, **QUIET)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in shown[0].state_dict().items())
    assert profile.score_untrained.sizes == {"seed": 3, "op": profile.sizes["op"]}
    twin = draw_weights(shown[0], 1)
    want = nl.compare((twin, shown[1]), brain, **QUIET).score
    np.testing.assert_array_equal(profile.score_untrained.sel(seed=1), want)
    np.testing.assert_array_equal(profile.untrained_high, profile.score_untrained.max("seed"))
    assert profile.score.sel(op="first.linear") > profile.untrained_high.sel(op="first.linear")


def test_parameters_without_a_rule_are_named():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(3))

    with pytest.raises(InputError, match="gain"):
        draw_weights(Own(), 0)


def test_passes_against_moments(shown):
    acts = nl.stream(*shown, progress=False)
    again = acts["again.linear"]
    assert again.sizes["pass"] == 3
    moments = xr.concat([nl.rdm(again.isel({"pass": k}, drop=True)) for k in range(3)], "time")
    brain = moments.assign_coords(time=[100, 150, 200])
    profile = nl.compare(acts, brain, passes=True, **QUIET)
    assert profile.score.dims == ("op", "time")
    rows = profile.sel(op=profile.address == "again.linear")
    assert rows["pass"].values.tolist() == [1, 2, 3]
    np.testing.assert_allclose(np.diagonal(rows.score), 1, atol=2e-3)
    assert (rows.score.argmax("op") == [0, 1, 2]).all()


def test_passes_of_rdms_are_those_of_their_activations(shown):
    acts = nl.stream(*shown, progress=False)
    again = acts["again.linear"]
    brain = nl.rdm(again.isel({"pass": 1}, drop=True))
    rdms = xr.concat([nl.rdm(again.isel({"pass": k}, drop=True)) for k in (0, 2, 1)], "pass")
    rdms = rdms.assign_coords({"pass": [1, 3, 2]}).expand_dims(op=["again.linear"])
    found = nl.compare(rdms, brain, passes=True, **QUIET)
    assert found["op"].values.tolist() == ["again.linear:1", "again.linear:3", "again.linear:2"]
    assert found["pass"].values.tolist() == [1, 3, 2]
    truth = nl.compare(acts, brain, passes=True, **QUIET).sel(op=found["op"].values)
    np.testing.assert_allclose(found["score"], truth["score"], rtol=1e-6)
    assert found["score"].sel(op="again.linear:2") == pytest.approx(1, abs=2e-3)


def test_moments_of_responses_are_predicted_one_by_one(network, regions):
    data = xr.concat([regions["V1"], regions["IT"]], "time").assign_coords(time=[80, 120])
    profile = nl.compare(network, data, method="ridge", options={"model": nl.Ridge(alphas=10.0)}, **QUIET)
    assert profile.score.dims == ("op", "time")
    assert profile.score.idxmax("op").values.tolist() == ["early", "late"]
