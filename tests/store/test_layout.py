"""Where operations lie: every address its own leaf, none outside the store."""

import re

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurolens.store import create_store, open_store
from neurolens.store.layout import LONGEST_COMPONENT, Places, encode_address, encode_component

NASTY = [
    "..", "../x", "a/../../b", "/etc/passwd", "C:\\x", "a\\b", "a//b", "", ".", "a..b", "...", " ", "a b",
    "~", "é/ü", "\0", "\n", "zarr.json", "c.0.0", "%2E%2E", "__init__", "*", "lstm[0]", "topk[values]",
    "relu:2", "x" * 5000, "a." * 3000 + "b", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("layer1.0.conv1.conv2d", "layer1/0/conv1/conv2d"),
        ("layer1.0.relu:2", "layer1/0/relu%3A2"),
        ("lstm[0]", "lstm%5B0%5D"),
        ("a..b", "a/%/b"),
        ("../x", "%/%/%2Fx"),
    ],
)
def test_dots_become_folders_and_odd_characters_are_encoded(address, path):
    assert encode_address(address) == path


@pytest.mark.parametrize("component", sorted({part for name in NASTY for part in name.split(".")}))
def test_a_component_is_a_safe_short_name(component):
    assert re.fullmatch(r"[A-Za-z0-9_%-]+", encode_component(component))
    assert len(encode_component(component)) <= LONGEST_COMPONENT


@given(st.lists(st.text(st.characters(exclude_characters=".")), min_size=2, max_size=8, unique=True))
def test_different_components_have_different_names(components):
    assert len({encode_component(component) for component in components}) == len(components)


addresses = st.lists(
    st.one_of(
        st.sampled_from([name for name in NASTY if name]),
        st.text(st.sampled_from("aAb.%/ :_é"), min_size=1, max_size=8),
        st.text(min_size=1, max_size=20),
    ),
    min_size=1,
    max_size=12,
    unique=True,
)


@given(addresses)
def test_no_place_lies_in_another_whatever_the_case_of_letters(names):
    places, paths = Places(["stimulus"]), ["stimulus"]
    for name in names:
        paths.append(places.choose(name))
        places.take(paths[-1])
    folded = sorted(path.casefold() for path in paths)
    for i, path in enumerate(folded):
        assert not any(other == path or other.startswith(f"{path}/") for other in folded[i + 1 :])


@given(addresses)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_addresses_are_written_read_and_stay_inside(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("weird")
    path = folder / "acts.zarr"
    values = {name: np.full((2, 1), i, np.float32) for i, name in enumerate(names)}
    with create_store(path, stimuli={"stimulus": ["a", "b"]}, attrs={}, block_size=2) as writer:
        for i, name in enumerate(names):
            writer.declare(name, dims=("stimulus", "unit"), shape=(2, 1), dtype=np.float32, attrs={"step": i})
        writer.write_block(0, values)
        writer.finish()
    store = open_store(path)
    assert list(store) == names
    assert {name: float(array[0, 0]) for name, array in store.items()} == {n: i for i, n in enumerate(names)}
    assert [p.name for p in folder.iterdir()] == ["acts.zarr"]
    tree = xr.open_datatree(path, engine="zarr")
    assert sum("activation" in node.data_vars for node in tree.subtree) == len(names)


@pytest.mark.parametrize("names", [("a.relu", "a.relu.x"), ("a.relu.x", "a.relu"), ("Conv.x", "conv.X")])
def test_what_clashes_is_written_flat_and_read_by_its_address(path, names):
    with create_store(path, stimuli={"stimulus": ["a"]}, attrs={}, block_size=1) as writer:
        for name in names:
            writer.declare(name, dims=("stimulus",), shape=(1,), dtype=np.int64, attrs={})
        writer.write_block(0, {name: np.array([i]) for i, name in enumerate(names)})
        writer.finish()
    store = open_store(path)
    assert [store[name].values.tolist() for name in names] == [[0], [1]]
    assert store.entries[names[0]].path == names[0].replace(".", "/")
    assert store.entries[names[1]].path == names[1].replace(".", "%2E")
    assert len(xr.open_datatree(path, engine="zarr").leaves) == 2


def test_an_operation_may_be_called_like_a_stimulus_column(path):
    stimuli = {"stimulus": ["a"], "input": ("stimulus", [3])}
    with create_store(path, stimuli=stimuli, attrs={}, block_size=1) as writer:
        writer.declare("input", dims=("stimulus",), shape=(1,), dtype=np.int64, attrs={})
        writer.write_block(0, {"input": np.array([7])})
        writer.finish()
    array = open_store(path)["input"]
    assert (array.item(), array["input"].item()) == (7, 3)
    assert xr.open_datatree(path, engine="zarr")["input"].item() == 3
