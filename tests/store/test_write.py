"""Writing: what is refused and how it is said, how arrays are cut, what is missing."""

import io
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from store_contract import ATTRS, IDS, STIMULI, declare_all, write_all

from neurolens.errors import AddressError, StoreError
from neurolens.store import attach_store, create_store, open_store
from neurolens.store.arrays import LARGE_CHUNK, PAGE, plan_chunks

TWO = {"stimulus": ["a", "b"]}


def begin(path, **changes):
    return create_store(path, **{"stimuli": TWO, "attrs": {}, "block_size": 1, **changes})


def declare(writer, address="fc", **changes):
    plain = {"dims": ("stimulus", "unit"), "shape": (2, 3), "dtype": np.float32, "attrs": {}}
    writer.declare(address, **{**plain, **changes})


# --- resuming ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attrs": {**ATTRS, "weights": "xyz"}}, "weights was 'abc' and is now 'xyz'"),
        ({"attrs": {"model": "net", "weights": "abc"}}, "preprocessing was 'none' and is now None"),
        ({"block_size": 5}, "block_size was 4 and is now 5"),
        ({"stimuli": {**STIMULI, "stimulus": IDS[::-1]}}, "value 0 of 'stimulus' was 'bild 00"),
        ({"stimuli": {**STIMULI, "size": ("stimulus", [0.5] * 11)}}, "value 0 of 'size' was 0.0 and is now"),
        ({"stimuli": {**STIMULI, "human": ("stimulus", np.arange(11) % 2 == 1)}}, "was True and is now"),
        ({"stimuli": {**STIMULI, "human": ("stimulus", STIMULI["human"][1].astype("i1"))}}, "True.*now 1"),
        ({"stimuli": {**STIMULI, "size": ("stimulus", np.linspace(0, 1, 11) * (1 + 0j))}}, "another type|0j"),
        ({"stimuli": {"stimulus": STIMULI["stimulus"][:9]}}, "11 values of 'stimulus' are now 9"),
        ({"stimuli": {"stimulus": STIMULI["stimulus"]}}, "'category' is gone"),
        ({"stimuli": {**STIMULI, "new": ("stimulus", [1] * 11)}}, "'new' is new"),
        ({"resume": False}, "exists already"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("complete", [False, True])
def test_resuming_with_anything_else_names_what_differs(path, expected, changes, said, complete):
    if complete:
        write_all(path, expected)
    else:
        create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4).close()
    with pytest.raises(StoreError, match=said):
        create_store(path, **{"stimuli": STIMULI, "attrs": ATTRS, "block_size": 4, **changes})
    create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4).close()  # the lock was given back


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": (2, 4)}, r"shape was \[2, 3\] and is now \[2, 4\]"),
        ({"dtype": np.float64}, "data_type was 'float32' and is now 'float64'"),
        ({"dims": ("stimulus", "feature")}, "dimension_names"),
        ({"attrs": {"step": 3}}, "attr 'step' was None and is now 3"),
        ({"coords": {"unit": [7, 8, 9]}}, "the coordinate 'unit'"),
    ],
)
def test_declaring_otherwise_names_what_differs(path, changes, said):
    with begin(path) as writer:
        declare(writer)
        declare(writer)
    with begin(path) as writer, pytest.raises(StoreError, match=said):
        declare(writer, **changes)


@pytest.mark.parametrize("content", [None, "text", "other zarr"])
def test_what_is_no_store_is_left_alone(path, content):
    if content == "other zarr":
        zarr.create_group(path, zarr_format=3)
    else:
        path.mkdir()
        if content:
            (path / "thesis.txt").write_text(content)
    before = sorted(path.rglob("*"))
    with pytest.raises(StoreError, match="no neurolens store"):
        begin(path)
    assert sorted(path.rglob("*")) == before


# --- the lock ---------------------------------------------------------------------------------------------

HOLD = """
import sys
from neurolens.store import create_store
writer = create_store(sys.argv[1], stimuli={"stimulus": ["a", "b"]}, attrs={}, block_size=1)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_run_is_refused_and_a_killed_one_is_not_waited_for(path):
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(StoreError, match=f"process {other.pid} on "):
            begin(path)
        assert not list(path.rglob("*.lock")), "it lies beside the store"
        other.kill()
    assert (path.parent / f".{path.name}.lock").exists(), "the killed run left its file"
    begin(path).close()
    assert not (path.parent / f".{path.name}.lock").exists()


def test_a_second_run_in_the_same_process_is_refused(path):
    with begin(path):
        with pytest.raises(StoreError, match="already writing"):
            begin(path)
        with pytest.raises(StoreError, match="already writing"):
            begin(path.parent / "." / path.name)
    begin(path).close()


# --- what can't be stored ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"block_size": 0}, "block_size=0"),
        ({"stimuli": {}}, "needs the ids"),
        ({"stimuli": {"stimulus": []}}, "needs the ids"),
        ({"stimuli": {"stimulus": ["a", "b", "a"]}}, "'a' occurs more than once"),
        ({"stimuli": {**TWO, "x": ("other", [1, 2, 3])}}, r"'x' has dims \('other',\)"),
        ({"stimuli": {**TWO, "a/b": ("stimulus", [1, 2])}}, "'a/b'.*rename"),
        ({"stimuli": {**TWO, "..": ("stimulus", [1, 2])}}, r"'\.\.'.*rename"),
        ({"stimuli": {**TWO, "x": ("stimulus", np.array(["a", 3], dtype=object))}}, "mixes text with int"),
        ({"stimuli": {**TWO, "x": ("stimulus", np.array([print, "a"], dtype=object))}}, "with builtin"),
        ({"stimuli": {"stimulus": ["a", "a\0b"]}}, "a zero byte"),
        ({"stimuli": {**TWO, "x": ("stimulus", ["a", "\udce9"])}}, "'x' of the stimuli has .*half a character"),
        ({"stimuli": {**TWO, "k" * 300: ("stimulus", [1, 2])}}, "rename it to .* 200 at most"),
        ({"attrs": {"model": print}}, "attr 'model' of the run"),
        ({"attrs": {"depth": math.nan}}, "attr 'depth'.*JSON"),
    ],
)  # fmt: skip
def test_a_head_that_cannot_be_stored_is_refused_before_anything_is_written(path, changes, said):
    with pytest.raises(StoreError, match=said):
        begin(path, **changes)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dims": ("unit", "stimulus"), "shape": (3, 2)}, "must come first"),
        ({"shape": (5, 3)}, "2 stimuli"),
        ({"dims": ("stimulus",)}, "one name"),
        ({"dims": ("stimulus", "stimulus")}, "its own"),
        ({"dtype": object}, "dtype object"),
        ({"dtype": "U3"}, "dtype <U3"),
        ({"attrs": {"scale_factor": 2.0}}, "'scale_factor'.*decoder"),
        ({"attrs": {"x": {1, 2}}}, "attr 'x'"),
        ({"coords": {"unit": [1, 2]}}, "'unit'.*doesn't fit"),
        ({"coords": {"activation": ("unit", [1, 2, 3])}}, "'activation'"),
        ({"coords": {"stimulus": ["a", "b"]}}, "belong to create_store"),
    ],
)
def test_an_array_that_cannot_be_stored_is_refused(path, changes, said):
    with begin(path) as writer:
        with pytest.raises(StoreError, match=said):
            declare(writer, **changes)
        assert writer.addresses == ()


@pytest.mark.parametrize("address", ["", 3, None])
def test_an_address_is_a_text(path, address):
    with begin(path) as writer, pytest.raises(StoreError, match="An address is a text"):
        declare(writer, address)


@pytest.mark.parametrize(
    ("index", "arrays", "error", "said"),
    [
        (0, {"fc": np.ones((2, 3), np.float32)}, StoreError, r"shape \(2, 3\).*\(1, 3\)"),
        (0, {"fc": np.ones((1, 3))}, StoreError, "float64"),
        (2, {}, StoreError, "no block 2"),
        (-1, {}, StoreError, "no block -1"),
        (0, {"fc2": np.ones((1, 3), np.float32)}, AddressError, "Near it: 'fc'"),
    ],
)
def test_a_block_that_does_not_fit_is_refused_and_not_listed(path, index, arrays, error, said):
    with begin(path) as writer:
        declare(writer)
        with pytest.raises(error, match=said):
            writer.write_block(index, arrays)
        assert writer.done_blocks == ()


def test_a_finished_store_takes_nothing_more(path, expected):
    write_all(path, expected)
    with create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4) as writer:
        assert writer.missing_blocks() == ()
        declare_all(writer, expected)
        writer.alias("layer1", "layer1.0.relu")
        for act in (
            lambda: writer.write_block(0, {}),
            lambda: writer.alias("more", "input"),
            lambda: writer.declare("more", dims=(), shape=(), dtype=int, attrs={}),
        ):
            with pytest.raises(StoreError, match="is finished"):
                act()


def test_an_unfinished_store_is_not_called_finished(path):
    with begin(path) as writer:
        declare(writer)
        writer.write_block(1, {"fc": np.ones((1, 3), np.float32)})
        with pytest.raises(StoreError, match=r"1 of 2 blocks are missing \(0\)"):
            writer.finish()


def test_an_operation_never_written_is_not_called_finished(path):
    with begin(path) as writer:
        declare(writer)
        for index in range(2):
            writer.write_block(index, {})
        with pytest.raises(StoreError, match="'fc' was declared, but no block holds data"):
            writer.finish()


@pytest.mark.parametrize(
    ("name", "address", "error", "said"),
    [
        ("m", "fx", AddressError, "Near it: 'fc'"),
        ("fc", "fc", StoreError, "means 'an operation'"),
        ("taken", "gc", StoreError, "means 'fc'"),
    ],
)
def test_an_alias_means_one_declared_operation(path, name, address, error, said):
    with begin(path) as writer:
        declare(writer)
        declare(writer, "gc")
        writer.alias("taken", "fc")
        with pytest.raises(error, match=said):
            writer.alias(name, address)


def test_a_link_cannot_lead_a_writer_out_of_the_store(path):
    outside = path.parent / "outside"
    outside.mkdir()
    begin(path).close()
    (path / "layer1").symlink_to(outside, target_is_directory=True)
    with begin(path) as writer, pytest.raises(StoreError, match="outside the store"):
        declare(writer, "layer1.fc")
    assert not list(outside.iterdir())


# --- what did not run, and what is always the same ----------------------------------------------------------


def test_an_operation_that_did_not_run_is_missing_and_says_so(path):
    stimuli = {"stimulus": list("abcde")}
    with begin(path, stimuli=stimuli, block_size=2) as writer:
        declare(writer, shape=(5, 3))
        writer.write_block(0, {"fc": np.ones((2, 3), np.float32)})
        writer.write_block(1, {})
        writer.write_block(2, {"fc": np.zeros((1, 3), np.float32)})
        writer.finish()
    array = open_store(path)["fc"]
    assert array.attrs["missing_stimuli"] == ["c", "d"]
    assert np.isnan(array.values).all(axis=1).tolist() == [False, False, True, True, False]


def test_a_static_array_is_written_once_and_must_stay_the_same(path):
    with begin(path) as writer:
        declare(writer, "bias", dims=("unit",), shape=(3,))
        writer.write_block(0, {"bias": np.arange(3, dtype=np.float32)})
        file = path / "bias" / "activation" / "c.0"
        stamp = file.stat().st_mtime_ns
        writer.write_block(1, {"bias": np.arange(3, dtype=np.float32)})
        assert file.stat().st_mtime_ns == stamp
        with pytest.raises(StoreError, match="differ between blocks"):
            writer.write_block(1, {"bias": np.ones(3, dtype=np.float32)})


def test_empty_arrays_are_kept(path):
    with begin(path) as writer:
        declare(writer, shape=(2, 0))
        for index in range(2):
            writer.write_block(index, {"fc": np.ones((1, 0), np.float32)})
        writer.finish()
    array = open_store(path)["fc"]
    assert array.shape == (2, 0)
    assert "missing_stimuli" not in array.attrs


def test_text_that_is_missing_becomes_the_empty_text(path):
    column = np.array(["x", None, math.nan], dtype=object)
    begin(path, stimuli={"stimulus": list("abc"), "note": ("stimulus", column)}).close()
    store = open_store(path, incomplete=True)
    assert store.all_stimuli["note"].values.tolist() == ["x", "", ""]


@pytest.mark.parametrize("ids", [("a", "b"), ["a", "b"], np.array(["a", "b"]), ("stimulus", ["a", "b"])])
def test_ids_may_come_as_any_sequence(path, ids):
    begin(path, stimuli={"stimulus": ids}).close()
    assert open_store(path, incomplete=True).missing == ("a", "b")


def test_dates_are_kept(path):
    dates = np.array(["2001-09-28", "2008-12-26"], dtype="datetime64[ns]")
    begin(path, stimuli={**TWO, "date": ("stimulus", dates)}).close()
    begin(path, stimuli={**TWO, "date": ("stimulus", dates)}).close()
    np.testing.assert_array_equal(open_store(path, incomplete=True).all_stimuli["date"].values, dates)


def test_workers_may_write_a_block_twice(path):
    with begin(path) as writer:
        declare(writer)
        worker = attach_store(path)
        for _ in range(2):
            worker.write_block(0, {"fc": np.ones((1, 3), np.float32)})
        assert writer.done_blocks == worker.done_blocks == (0,)


# --- chunks -----------------------------------------------------------------------------------------------


@given(
    shape=st.lists(st.integers(1, 3000), min_size=1, max_size=4).map(tuple),
    itemsize=st.sampled_from([1, 2, 4, 8]),
    block=st.integers(1, 64),
)
def test_one_stimulus_is_a_small_read_and_a_block_is_one_file(shape, itemsize, block):
    plan = plan_chunks(shape, itemsize, block=block)
    one = itemsize * math.prod(shape[1:])
    files = plan.shards or plan.chunks
    assert files[0] == block
    assert all(size >= n for size, n in zip(files[1:], shape[1:], strict=True)), "one file a block"
    assert all(f % c == 0 for f, c in zip(files, plan.chunks, strict=True)), "Zarr's rule for shards"
    chunk = itemsize * math.prod(plan.chunks)
    n_read = math.prod(math.ceil(n / c) for n, c in zip(shape[1:], plan.chunks[1:], strict=True))
    assert chunk <= LARGE_CHUNK or set(plan.chunks[1:]) <= {1}
    assert chunk * n_read <= max(PAGE, 4 * one)


def test_reading_one_stimulus_reads_little(path, monkeypatch):
    """Counted at the file system, of incompressible data."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**32, (32, 64, 16, 16), dtype=np.uint32)
    with begin(path, stimuli={"stimulus": [str(i) for i in range(32)]}, block_size=16) as writer:
        declare(writer, dims=("stimulus", "channel", "y", "x"), shape=values.shape, dtype=values.dtype)
        for index in range(2):
            writer.write_block(index, {"fc": values[writer.block_slice(index)]})
        writer.finish()
    array, read = open_store(path)["fc"], []
    readinto = io.FileIO.readinto

    class Counted(io.FileIO):
        def readinto(self, data):
            read.append(readinto(self, data))
            return read[-1]

    monkeypatch.setattr("neurolens.store.lazy.FileIO", Counted)
    np.testing.assert_array_equal(array.isel(stimulus=17).values, values[17])
    assert 0 < sum(read) <= 1.1 * values[17].nbytes
    assert len(list((path / "fc" / "activation").glob("c.*"))) == 2


def test_metadata_say_how_arrays_are_stored(path):
    """What docs/format.md states, read off the files."""
    with begin(path, stimuli={"stimulus": [str(i) for i in range(4)]}, block_size=4) as writer:
        declare(writer, dims=("stimulus", "channel", "y", "x"), shape=(4, 8, 64, 64))
    metadata = json.loads((path / "fc" / "activation" / "zarr.json").read_text())
    shard = metadata["codecs"][0]
    assert shard["name"] == "sharding_indexed"
    assert shard["configuration"]["chunk_shape"] == [1, 8, 64, 64]
    assert [codec["name"] for codec in shard["configuration"]["codecs"]] == ["bytes", "blosc", "crc32c"]
    assert metadata["fill_value"] == "NaN"
    assert metadata["chunk_key_encoding"]["configuration"]["separator"] == "."
