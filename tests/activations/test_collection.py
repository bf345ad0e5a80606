import types

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import neurolens as nl
from neurolens.activations import Activations, as_activations, extract
from neurolens.activations import open as open_activations
from neurolens.errors import AddressError, InputError, StoreError
from neurolens.stimuli import Stimuli


def layer(n_units, name=None, **attrs):
    values = np.arange(3.0 * n_units).reshape(3, n_units)
    return xr.DataArray(
        values, dims=("stimulus", "unit"), coords={"stimulus": list("abc")}, name=name, attrs=attrs
    )


ARRAYS = {"conv": layer(4), "block.add": layer(2), "block.relu": layer(2), "fc": layer(3)}
SOURCES = {
    "mapping": ARRAYS,
    "activations": as_activations(ARRAYS),
    "holder": types.SimpleNamespace(activations=as_activations(ARRAYS)),
    "tree": xr.DataTree.from_dict(
        {name.replace(".", "/"): xr.Dataset({"activation": array}) for name, array in ARRAYS.items()}
    ),
    "dataset": xr.Dataset({name: array.rename(unit=f"unit_{name}") for name, array in ARRAYS.items()}),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_source_gives_the_same_activations(source):
    acts = as_activations(source)
    assert isinstance(acts, Activations)
    assert sorted(acts) == sorted(ARRAYS)
    assert len(acts) == 4
    for name, array in acts.items():
        np.testing.assert_array_equal(array.values, ARRAYS[name].values)
        assert array.stimulus.values.tolist() == list("abc")


@pytest.mark.parametrize(("array", "name"), [(layer(2, "fc"), "fc"), (layer(2), "")])
def test_one_array_is_called_by_its_name(array, name):
    assert list(as_activations(array)) == [name]


def test_a_leaf_of_a_tree_is_called_by_its_address():
    tree = xr.DataTree.from_dict({"relu%3A2": xr.Dataset({"activation": layer(2, address="relu:2")})})
    assert list(as_activations(tree)) == ["relu:2"]


@pytest.mark.parametrize(
    ("ops", "chosen"),
    [
        ("**", ["conv", "block.add", "block.relu", "fc"]),
        ("block.*", ["block.add", "block.relu"]),
        ("f?", ["fc"]),
        (["fc", "conv"], ["fc", "conv"]),
        (["**.relu", "*"], ["block.relu", "conv", "block.add", "fc"]),
    ],
)
def test_operations_are_chosen_by_globs_and_addresses(ops, chosen):
    assert list(as_activations(ARRAYS, ops)) == chosen


@pytest.mark.parametrize("ask", [lambda acts: acts["block.ad"], lambda acts: acts.select("block.ad")])
def test_unknown_addresses_are_refused_with_near_misses(ask):
    with pytest.raises(AddressError, match=r"'block\.ad'.*Near misses: 'block\.add'"):
        ask(as_activations(ARRAYS))


def test_several_operations_in_one_array_are_refused_and_the_way_out_works():
    array = xr.concat([layer(2), 2 * layer(2)], "op").assign_coords(op=["conv", "relu"])
    for source in (array, {"both": array}, xr.Dataset({"both": array})):
        with pytest.raises(InputError, match="has a dim 'op': it holds 2 operations") as caught:
            nl.rdm(source)
    advice = str(caught.value).split("by name: ")[1].removesuffix(".")
    assert list(as_activations(eval(advice, {"array": array}))) == ["conv", "relu"]


@pytest.mark.parametrize("source", [3, [layer(2)], {"a": np.zeros(3)}, None])
def test_other_sources_are_refused(source):
    with pytest.raises(InputError, match=f"cannot be a {type(source).__name__}"):
        as_activations(source)


def test_repr_is_short():
    acts = as_activations({f"op_{i}": layer(2) for i in range(30)})
    assert repr(acts).splitlines() == [
        "<ActivationsInMemory: 30 operations>",
        *[f"  op_{i}" for i in range(10)],
        "  ... and 20 more",
    ]


def test_a_store_is_opened_by_name_of_module_or_operation(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    x = torch.rand(5, 3)
    stimuli = Stimuli.from_array(x, ids=list("abcde"), metadata={"size": range(5)})
    extract(model, stimuli, tmp_path / "acts.zarr", progress=False)
    acts = open_activations(tmp_path / "acts.zarr")
    assert list(acts) == ["input", "0.linear", "1.relu", "2.linear"]
    assert list(acts.select(["2", "*.relu"])) == ["2", "1.relu"]
    assert acts.stimuli["size"].values.tolist() == list(range(5))
    with torch.no_grad():
        np.testing.assert_allclose(acts["2"].values, model(x), rtol=1e-6)
        np.testing.assert_allclose(acts["1"].sel(stimulus="c").values, model[:2](x[2]), rtol=1e-6)


def test_no_store_is_an_error(tmp_path):
    with pytest.raises(StoreError, match=r"nothing\.zarr"):
        open_activations(tmp_path / "nothing.zarr")


class Again(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        for _ in range(3):
            x = torch.relu(self.fc(x))
        return x.sum(1, keepdim=True)


def test_a_function_chooses_alike_in_a_trace_a_stream_and_a_store(tmp_path):
    model, values = Again().eval(), torch.linspace(-1, 1, 20).reshape(5, 4)
    stimuli = Stimuli.from_array(values, ids=list("abcde"))
    sources = {
        "trace": nl.trace(model, values).activations,
        "stream": nl.stream(model, stimuli, progress=False),
        "store": extract(model, stimuli, tmp_path / "acts.zarr", progress=False),
        "opened": open_activations(tmp_path / "acts.zarr"),
    }
    for choose, want in (
        (lambda op: "pass" in op.dims, ["fc.linear", "relu"]),
        (lambda op: op.shape[-1] == 1, ["sum"]),
        (lambda op: op.address == "sum" or op.dims == ("unit",), ["input", "sum"]),
    ):
        found = {name: list(source.select(choose)) for name, source in sources.items()}
        assert found == dict.fromkeys(sources, want)


def test_a_store_opened_by_xarray_is_a_source_like_the_store(tmp_path):
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    images = np.random.default_rng(0).random((6, 4), dtype=np.float32)
    acts = extract(
        network, Stimuli.from_array(images, ids=list("abcdef")), tmp_path / "s.zarr", progress=False
    )
    with xr.open_datatree(tmp_path / "s.zarr", engine="zarr") as tree:
        found = nl.rdm(tree)
    expected = nl.rdm(acts)
    assert found.stimulus.values.tolist() == list("abcdef")
    for address in acts:
        np.testing.assert_array_equal(found.sel(op=address), expected.sel(op=address))
    as_zarr_gives = {
        name: expected[name].astype(np.dtypes.StringDType()) for name in ("stimulus", "stimulus_b")
    }
    alike = nl.compare_rdms(expected.assign_coords(as_zarr_gives), expected[0].drop_vars("op"))
    np.testing.assert_array_equal(alike, nl.compare_rdms(expected, expected[0].drop_vars("op")))
