"""Reading: lazily, by address; and what is no store, unfinished, newer or hostile is said."""

import io
import json
import shutil

import numpy as np
import pytest
import zarr
from store_contract import ATTRS, IDS, STIMULI, block_of, declare_all

from neurolens.errors import AddressError, StoreError
from neurolens.store import create_store, open_store, verify_store


@pytest.fixture
def copied(path, finished):
    """A finished store that may be damaged."""
    shutil.copytree(finished, path)
    return path


def edit(file, change):
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))


def test_arrays_are_read_when_they_are_used(finished, monkeypatch):
    read = []

    class Noted(io.FileIO):
        def __init__(self, file, **options):
            read.append(file)
            super().__init__(file, **options)

    monkeypatch.setattr("neurolens.store.lazy.FileIO", Noted)
    for address, array in open_store(finished).items():
        assert array.attrs["step"] >= 0
        assert not [file for file in read if file.parent.name == "activation"], address
    open_store(finished)["input"].load()
    chunks = [file for file in read if file.parent.name == "activation"]
    assert chunks == [finished / "input" / "activation" / f"c.{i}.0.0.0" for i in range(3)]


def test_a_store_says_what_it_is(finished):
    store = open_store(finished)
    assert dict(store.attrs) == ATTRS
    assert store.stimuli["stimulus"].values.tolist() == list(IDS)
    assert "8 operations, 11 stimuli" in repr(store)
    entry = store.entries["layer1.0.conv.conv2d"]
    assert (entry.dims, entry.shape, entry.dtype) == (
        ("stimulus", "channel", "y", "x"),
        (11, 5, 3, 2),
        "float32",
    )


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("layer1.0.conv.conv2", "'layer1.0.conv.conv2d'"),
        ("layer1.0.relu:3", "'layer1.0.relu'"),
        ("input:1", "'input'"),
        ("../../etc/passwd", "It has 'input'"),
        ("", "It has 'input'"),
    ],
)
def test_an_unknown_address_names_near_ones(finished, address, said):
    store = open_store(finished)
    assert address not in store
    with pytest.raises(AddressError, match=said):
        store[address]


def test_one_pass_is_had_by_its_number(finished, expected):
    array = open_store(finished)["layer1.0.relu:2"]
    np.testing.assert_array_equal(array.values, expected.arrays["layer1.0.relu"].values[:, 1])
    assert array.name == "layer1.0.relu:2"


@pytest.mark.parametrize("done", [(), (1,), (0, 2)])
def test_an_unfinished_store_says_what_is_missing_and_can_be_opened(path, expected, done):
    with create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4) as writer:
        declare_all(writer, expected)
        for index in done:
            writer.write_block(index, block_of(writer, expected, index))
        left = [i for index in writer.missing_blocks() for i in IDS[writer.block_slice(index)]]
    with pytest.raises(StoreError, match=rf"{len(left)} of 11 stimuli are missing \('{left[0]}'"):
        open_store(path)
    store = open_store(path, incomplete=True)
    assert store.missing == tuple(left)
    present = [i for i in IDS if i not in left]
    assert store["input"]["stimulus"].values.tolist() == present
    truth = expected.arrays["input"].sel(stimulus=present)
    np.testing.assert_array_equal(store["input"].values, truth.values)
    assert store["input"]["category"].values.tolist() == truth["category"].values.tolist()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "There is no store"),
        (lambda path: path.mkdir(), "no zarr.json"),
        (lambda path: path.write_text("x"), "is a file, and a store is a folder"),
        (lambda path: zarr.create_group(path, zarr_format=3), "a Zarr group, but no neurolens store"),
        (lambda path: zarr.create_group(path, zarr_format=2), "no zarr.json"),
    ],
)
def test_what_is_no_store_is_said(path, make, said):
    make(path)
    with pytest.raises(StoreError, match=said):
        open_store(path)


def test_a_newer_format_is_refused(copied):
    edit(copied / "zarr.json", lambda root: root["attributes"].update(neurolens_format=99))
    with pytest.raises(StoreError, match=r"format 99.*reads up to 1"):
        open_store(copied)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_head_is_said(copied, content):
    (copied / "zarr.json").write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        open_store(copied)


@pytest.mark.parametrize("name", ["../outside", "/etc", "a//b", "a/./b", "a\\..\\b", "C:/x"])
def test_a_store_cannot_name_groups_outside_itself(copied, name):
    def move(root):
        nodes = root["consolidated_metadata"]["metadata"]
        nodes[name] = nodes.pop("input")
        nodes[f"{name}/activation"] = nodes.pop("input/activation")

    edit(copied / "zarr.json", move)
    with pytest.raises(StoreError, match="leads out of it"):
        open_store(copied)


@pytest.mark.parametrize("codec", ["pickle", "numcodecs.pickle", "json2"])
@pytest.mark.parametrize("place", ["stimulus", "input/activation", "input/channel"])
def test_codecs_outside_the_format_are_not_run(copied, codec, place):
    edit(copied / place / "zarr.json", lambda array: array["codecs"].append({"name": codec}))
    with pytest.raises(StoreError, match=f"'{codec}', which is not part"):
        open_store(copied)["input"].load()


def test_codecs_inside_shards_are_looked_at(copied):
    def hide(array):
        inner = {"name": "pickle", "configuration": {}}
        array["codecs"] = [{"name": "sharding_indexed", "configuration": {"codecs": [inner]}}]

    edit(copied / "input" / "activation" / "zarr.json", hide)
    with pytest.raises(StoreError, match="'pickle'"):
        open_store(copied)["input"]


def test_older_zarr_formats_with_pickles_are_not_read(copied, monkeypatch):
    """A Zarr v2 array can name a pickle filter; put in the place of ours, it is not looked at."""
    folder = copied / "input" / "activation"
    shutil.rmtree(folder)
    zarray = {
        "zarr_format": 2,
        "shape": [11, 3, 4, 4],
        "chunks": [11, 3, 4, 4],
        "dtype": "|O",
        "compressor": None,
        "fill_value": None,
        "order": "C",
        "filters": [{"id": "pickle", "protocol": 5}],
    }
    folder.mkdir()
    (folder / ".zarray").write_text(json.dumps(zarray))
    (folder / "0.0.0.0").write_bytes(b"cos\nsystem\n(S'touch sprung'\ntR.")
    monkeypatch.chdir(copied.parent)
    with pytest.raises(StoreError, match="'input' can't be read"):
        open_store(copied)["input"].load()
    assert not (copied.parent / "sprung").exists()


def test_a_damaged_chunk_is_not_passed_off_as_data(copied):
    chunk = next((copied / "input" / "activation").glob("c.*"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 0xFF
    chunk.write_bytes(bytes(data))
    array = open_store(copied)["input"]
    with pytest.raises(Exception, match=r".+"):
        array.load()


@pytest.mark.parametrize("address", ["input", "mask", "pos_embed", "scale", "count"])
def test_a_file_that_was_lost_is_not_read_as_missing_values(copied, address):
    """Left by a copy that stopped: a store whose files of some blocks are not there."""
    folder = copied / address / "activation"
    lost = sorted(folder.glob("c*"))[-1]
    lost.unlink()
    array = open_store(copied)[address]
    with pytest.raises(StoreError, match=r"c[.0-9]* is missing. Was the store copied whole\?"):
        array.load()
    if "stimulus" in array.dims:
        assert np.isfinite(open_store(copied)[address][:4].values.astype(float)).all()


def test_a_store_that_is_deleted_while_it_is_open_says_so(copied):
    array = open_store(copied)["input"]
    shutil.rmtree(copied)
    with pytest.raises(StoreError, match="is missing"):
        array.load()


def test_what_did_not_run_and_what_was_lost_are_told_apart(path):
    with create_store(path, stimuli={"stimulus": list("abcde")}, attrs={}, block_size=2) as writer:
        for name, dtype in (("fc", "float32"), ("count", "int64")):
            writer.declare(name, dims=("stimulus", "unit"), shape=(5, 3), dtype=dtype, attrs={})
        block = {"fc": np.ones((2, 3), np.float32), "count": np.ones((2, 3), np.int64)}
        writer.write_block(0, block)
        writer.write_block(1, {})
        writer.write_block(2, {name: values[:1] for name, values in block.items()})
        unfinished = open_store(path, incomplete=True)
        assert np.isnan(unfinished["count"].values).any(1).tolist() == [False, False, True, True, False]
        assert verify_store(path).problems == ()  # also where all blocks are done and nothing is noted yet
        writer.finish()
    for name in ("fc", "count"):
        (path / name / "activation" / "c.2.0").unlink()
        array = open_store(path)[name]
        assert np.isnan(array[:4].values).any(1).tolist() == [False, False, True, True]
        with pytest.raises(StoreError, match=r"c\.2\.0 is missing"):
            array[4:].load()


@pytest.mark.parametrize("place", ["stimulus", "category", "input/channel", "input/activation"])
@pytest.mark.parametrize("whole", [True, False], ids=["folder", "file"])
def test_links_to_what_lies_outside_are_not_followed(copied, place, whole):
    """What a foreign store might show of the reader's own files."""
    inside = copied / place if whole else next((copied / place).glob("c*"))
    outside = copied.parent / "outside"
    inside.rename(outside)
    inside.symlink_to(outside, target_is_directory=whole)
    with pytest.raises(StoreError, match=r"is a link|leads out|is damaged: Too many levels"):
        open_store(copied)["input"].load()
