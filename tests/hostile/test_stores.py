"""A store that was damaged in any one place: an error of neurolens, a finding of `verify`, or the values written."""

import json
import shutil
import zlib

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import neurolens as nl
from neurolens.errors import StoreError
from neurolens.store import create_store, verify_store
from tests.hostile.effort import fuzz, give_or_name

IDS = ["cat", "dög", "cow"]
RNG = np.random.default_rng(0)
ARRAYS = {
    "input": xr.DataArray(RNG.normal(size=(3, 4)).astype("f4"), dims=("stimulus", "unit")),
    "layer.relu": xr.DataArray(
        RNG.normal(size=(3, 2, 5)).astype("f4"), {"pass": [1, 2]}, ("stimulus", "pass", "unit")
    ),
    "count": xr.DataArray(np.array([3, 1, 2]), dims="stimulus"),
    "words": xr.DataArray(RNG.normal(size=(3, 2)), {"word": ("unit", ["a", "é"])}, ("stimulus", "unit")),
    "scale": xr.DataArray(np.float64(2.5)),
}
COORDS = {"stimulus": IDS, "category": ("stimulus", ["animal"] * 3), "size": ("stimulus", [0.5, 1.5, 2.5])}

STRANGE = [
    None, True, False, 0, -1, 3, 2**40, 1.5, "", "x", "../x", "float32", "int64", [], [1], [0, 0], {},
    {"name": "bytes"}, "NaN", "stimulus", [None], ["a", "b"],
]  # fmt: skip


def labelled(array):
    return array.assign_coords(COORDS) if "stimulus" in array.dims else array


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "acts.zarr"
    with create_store(path, stimuli=COORDS, attrs={"model": "net"}, block_size=2) as writer:
        for step, (address, array) in enumerate(ARRAYS.items()):
            coords = {name: coord.variable for name, coord in array.coords.items()}
            writer.declare(
                address,
                dims=array.dims,
                shape=array.shape,
                dtype=array.dtype,
                attrs={"step": step},
                coords=coords,
            )
        for index in writer.missing_blocks():
            part = writer.block_slice(index)
            writer.write_block(
                index, {a: v.values[part] if "stimulus" in v.dims else v.values for a, v in ARRAYS.items()}
            )
        writer.finish()
    return path


def find_nodes(tree, at=()):
    yield at
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from find_nodes(value, (*at, key))


def edit_json(data, draw):
    tree = json.loads(data)
    *above, last = draw(st.sampled_from([node for node in find_nodes(tree) if node]))
    parent = tree
    for key in above:
        parent = parent[key]
    if draw(st.booleans()):
        parent[last] = draw(st.sampled_from(STRANGE))
    else:
        del parent[last]
    return json.dumps(tree).encode()


def flip_bit(data, draw):
    place = draw(st.integers(0, len(data) - 1))
    return data[:place] + bytes([data[place] ^ 1 << draw(st.integers(0, 7))]) + data[place + 1 :]


def cut(data, draw):
    return data[: draw(st.integers(0, len(data) - 1))]


def grow(data, draw):
    return data + draw(st.binary(min_size=1, max_size=40))


def replace(data, draw):
    return draw(st.binary(max_size=200))


def damage(root, draw):
    """Change one file of a store; say what was done."""
    file = draw(st.sampled_from(sorted(file for file in root.rglob("*") if file.is_file())))
    ways = [flip_bit, cut, grow, replace, None] + [edit_json] * (8 if file.name == "zarr.json" else 0)
    way = draw(st.sampled_from(ways))
    if way is None:
        file.unlink()
    else:
        file.write_bytes(way(file.read_bytes(), draw))
    return f"{file.relative_to(root)}: {way.__name__ if way else 'deleted'}"


@fuzz(80)
@given(st.data())
@pytest.mark.filterwarnings("ignore")  # Zarr's own, of files it does not know
def test_one_damaged_file_never_gives_wrong_values_silently(whole, tmp_path_factory, data):
    root = tmp_path_factory.mktemp("damaged") / "acts.zarr"
    shutil.copytree(whole, root)
    what = damage(root, data.draw)
    found = give_or_name(verify_store, root)
    store = give_or_name(nl.open, root)
    changed = []
    for address, truth in ARRAYS.items() if store is not None else ():
        array = give_or_name(lambda: store[address].load())  # noqa: B023
        if array is not None and not array.rename(None).drop_attrs().identical(labelled(truth)):
            changed.append(address)
    if changed:
        assert found is None or not found.is_sound, f"{what} changes {changed}, and nothing says so"
    shutil.rmtree(root)


@pytest.mark.parametrize("address", ["input", "words"])
def test_labels_that_are_lost_are_no_zeros(whole, tmp_path, address):
    shutil.copytree(whole, tmp_path / "acts.zarr")
    coord = {"input": "category", "words": "words/word"}[address]
    (tmp_path / "acts.zarr" / coord / "c.0").unlink()
    with pytest.raises(StoreError, match="has lost its values"):
        nl.open(tmp_path / "acts.zarr")[address]


def test_damaged_labels_of_an_operation_are_found(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "acts.zarr")
    for file in (tmp_path / "acts.zarr" / "layer" / "relu" / "pass" / "c.0",):
        file.write_bytes(zlib.compress(b"none"))
    (problem,) = verify_store(tmp_path / "acts.zarr").problems
    assert (problem.address, problem.file) == ("layer.relu", file)


def test_missing_integers_beside_words_are_no_zeros(tmp_path):
    """A group whose coordinates are text is read as any other."""
    with create_store(
        tmp_path / "acts.zarr", stimuli={"stimulus": ["a", "b"]}, attrs={}, block_size=1
    ) as writer:
        coords = {"word": ("unit", np.array(["x", "y"], dtype=object))}
        writer.declare("n", dims=("stimulus", "unit"), shape=(2, 2), dtype=np.int64, attrs={}, coords=coords)
        writer.write_block(0, {"n": np.array([[5, 6]])})
        writer.write_block(1, {})
        writer.finish()
    array = nl.open(tmp_path / "acts.zarr")["n"]
    np.testing.assert_array_equal(array.values, [[5, 6], [np.nan, np.nan]])
    assert array["word"].values.tolist() == ["x", "y"]


def test_an_array_that_is_not_what_the_root_lists_is_refused(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "acts.zarr")
    file = tmp_path / "acts.zarr" / "input" / "activation" / "zarr.json"
    file.write_text(file.read_text().replace("float32", "int32").replace('"NaN"', "0"))
    with pytest.raises(StoreError, match=r"lists 'input' as .*'float32'"):
        nl.open(tmp_path / "acts.zarr")["input"]
