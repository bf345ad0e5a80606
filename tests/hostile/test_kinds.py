"""Tensors and models of rare kinds: what has no labelled array is left out and said, and does not harm the others."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import neurolens as nl
from neurolens.errors import ModelError
from neurolens.store import open_store

IDS = [f"s{k}" for k in range(6)]
X = torch.linspace(-2, 2, 24).sin().reshape(6, 4)


class Kind(nn.Module):
    """An operation of a rare kind between two plain ones."""

    def __init__(self, pass_through):
        super().__init__()
        self.pass_through = pass_through

    def forward(self, x):
        return torch.tanh(self.pass_through(x * 2))


def through_nested(x):
    return torch.nested.to_padded_tensor(torch.nested.as_nested_tensor([row[:3] for row in x]), 0.0)


def through_jagged(x):
    values = torch.nested.nested_tensor_from_jagged(x.reshape(-1), torch.arange(0, x.numel() + 1, 4)) * 2
    return values.values().reshape(-1, 4)


def through_quantised(x):
    return torch.quantize_per_tensor(x, 0.1, 0, torch.qint8).dequantize()


KINDS = {
    "sparse": lambda x: x.relu().to_sparse().to_dense(),
    "compressed rows": lambda x: x.relu().to_sparse_csr().to_dense(),
    "opaque": lambda x: x.to_mkldnn().to_dense(),
    "quantised": through_quantised,
    "nested": through_nested,
    "jagged": through_jagged,
    "float8": lambda x: x.to(torch.float8_e4m3fn).float(),
    "complex": lambda x: torch.complex(x, -x).abs(),
    "bool": lambda x: (x > 0).float(),
    "int8": lambda x: (x * 10).to(torch.int8).float(),
    "uint16": lambda x: (x.abs() * 10).to(torch.uint16).float(),
    "bfloat16": lambda x: x.bfloat16().float(),
}
pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own, of prototypes; ours, of what is left out


@pytest.mark.parametrize("kind", KINDS)
def test_a_rare_kind_harms_neither_trace_nor_store(kind, tmp_path):
    model, stimuli = Kind(KINDS[kind]).eval(), nl.Stimuli.from_array(X, ids=IDS)
    truth = model(X)
    trace = nl.trace(model, X)
    assert repr(trace)
    assert len(trace.to_frame()) == len(trace)
    assert trace.n_bytes >= truth.nbytes
    if kind not in ("nested", "jagged"):  # torch makes them where nobody sees it, and `validate` says so
        report = trace.validate()
        assert report, str(report)
    acts = nl.extract(model, stimuli, tmp_path / "acts.zarr", batch_size=2, progress=False)
    streamed = nl.stream(model, stimuli, batch_size=4, progress=False)
    for found in (acts, streamed, nl.open(tmp_path / "acts.zarr")):
        np.testing.assert_allclose(found["tanh"].values, truth, atol=1e-6)
        np.testing.assert_allclose(found["mul"].values, X * 2)
    assert nl.open(tmp_path / "acts.zarr").verify().is_sound
    if kind in ("sparse", "compressed rows", "opaque", "quantised", "nested", "jagged"):
        assert len(acts) < len(trace)
    else:
        assert len(acts) == len(trace)


@pytest.mark.parametrize("kind", ["sparse", "quantised", "nested"])
def test_what_has_no_array_is_left_out_with_its_kind(kind, tmp_path):
    stimuli = nl.Stimuli.from_array(X, ids=IDS)
    model = Kind(KINDS[kind]).eval()
    nl.extract(model, stimuli, tmp_path / "acts.zarr", progress=False)
    left = open_store(tmp_path / "acts.zarr").attrs["left_out"]
    words = {"sparse": "sparse_coo", "quantised": "qint8", "nested": "nested"}[kind]
    assert any("no plain array" in why and words in why for why in left.values())


def test_complex_operations_are_skipped_by_every_analysis():
    acts = nl.stream(Kind(KINDS["complex"]).eval(), nl.Stimuli.from_array(X, ids=IDS), progress=False)
    brain = xr.DataArray(X.numpy() ** 2, {"stimulus": IDS}, ("stimulus", "neuroid"))
    for result in (
        nl.rdm(acts, metric="euclidean"),
        nl.encode(acts, brain, cv=2),
        nl.compare(acts, brain, metric="euclidean", n_permutations=0, n_bootstraps=0, progress=False),
    ):
        assert "complex64" in json.loads(result.attrs["skipped"])["complex"]
        assert result["op"].values.tolist() == ["input", "mul", "neg", "abs", "tanh"]


@pytest.mark.parametrize("verb", ["trace", "extract", "stream"])
def test_weights_without_a_shape_are_named(verb, tmp_path):
    model, stimuli = nn.Sequential(nn.ReLU(), nn.LazyLinear(3)), nl.Stimuli.from_array(X, ids=IDS)
    verbs = {
        "trace": lambda: nl.trace(model, X),
        "extract": lambda: nl.extract(model, stimuli, tmp_path / "acts.zarr", progress=False),
        "stream": lambda: nl.stream(model, stimuli, progress=False),
    }
    with pytest.raises(ModelError, match=r"'1\.weight' has no shape yet.*Call the model once"):
        verbs[verb]()
    assert not torch.overrides._len_torch_function_stack()
    model(X)
    verbs[verb]()
