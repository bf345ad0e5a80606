"""What `verify_store` finds: each kind of damage is named by file, operation and stimuli, and nothing else is."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from store_contract import ATTRS, IDS, STIMULI, block_of, check_store, declare_all, write_all

from neurolens.errors import StoreError
from neurolens.store import create_store, open_store, verify_store

CONV = "layer1/0/conv/conv2d/activation"


@pytest.fixture(params=["lz4", "zstd", "none"])
def copied(request, path, expected):
    with create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4, compression=request.param) as writer:
        declare_all(writer, expected)
        for index in writer.missing_blocks():
            writer.write_block(index, block_of(writer, expected, index))
        for name, address in expected.aliases.items():
            writer.alias(name, address)
        writer.finish()
    return path


def test_every_compression_holds_what_was_written(copied, expected):
    check_store(copied, expected)
    found = verify_store(copied)
    assert found.is_sound
    assert (found.n_operations, found.problems, found.missing) == (8, (), ())
    assert str(found).startswith("sound: ")


@pytest.mark.parametrize("position", range(8))
def test_an_edited_chunk_is_named(copied, position):
    file = copied / CONV / "c.1.0.0.0"
    data = bytearray(file.read_bytes())
    place = position * (len(data) - 1) // 7  # from the first byte to the last
    data[place] ^= 0x10
    file.write_bytes(bytes(data))
    (problem,) = verify_store(copied).problems
    assert (problem.address, problem.file, problem.stimuli) == ("layer1.0.conv.conv2d", file, IDS[4:8])
    assert "is damaged" in problem.reason
    with pytest.raises(StoreError, match=r"c\.1\.0\.0\.0 is damaged"):
        open_store(copied)["layer1.0.conv.conv2d"].load()
    assert open_store(copied)["layer1.0.conv.conv2d"][:4].load().shape == (4, 5, 3, 2)


@pytest.mark.parametrize("length", [0, 3, 40, -1])
def test_a_truncated_chunk_is_named(copied, length):
    file = copied / CONV / "c.2.0.0.0"
    file.write_bytes(file.read_bytes()[:length])
    (problem,) = verify_store(copied).problems
    assert (problem.file, problem.stimuli) == (file, IDS[8:])


def test_a_missing_chunk_is_named_unless_it_never_was(path):
    with create_store(path, stimuli={"stimulus": list("abcde")}, attrs={}, block_size=2) as writer:
        writer.declare("fc", dims=("stimulus", "unit"), shape=(5, 3), dtype=np.float32, attrs={})
        writer.write_block(0, {"fc": np.ones((2, 3), np.float32)})
        writer.write_block(1, {})
        writer.write_block(2, {"fc": np.ones((1, 3), np.float32)})
        writer.finish()
    assert verify_store(path).is_sound
    (path / "fc" / "activation" / "c.2.0").unlink()
    (problem,) = verify_store(path).problems
    assert (problem.reason, problem.stimuli) == ("is missing", ("e",))


def test_changed_and_foreign_metadata_are_named(path, finished):
    shutil.copytree(finished, path)
    file = path / CONV / "zarr.json"
    metadata = json.loads(file.read_text())
    metadata["attributes"]["step"] = 9
    file.write_text(json.dumps(metadata))
    (path / "more").mkdir()
    (path / "more" / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group"}))
    found = verify_store(path).problems
    assert [(p.address, p.file) for p in found] == [
        ("layer1.0.conv.conv2d", file),
        ("", path / "more" / "zarr.json"),
    ]


def test_an_unfinished_store_says_what_is_missing(path, expected):
    with create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4) as writer:
        declare_all(writer, expected)
        writer.write_block(1, block_of(writer, expected, 1))
    found = verify_store(path)
    assert found.problems == ()
    assert not found.is_sound
    assert found.missing == IDS[:4] + IDS[8:]
    assert "7 stimuli are missing" in str(found)


def test_links_are_not_followed(path, finished):
    """Neither a file nor a folder of a store may lie elsewhere."""
    shutil.copytree(finished, path)
    chunk = path / CONV / "c.0.0.0.0"
    outside = path.parent / "outside"
    chunk.rename(outside)
    chunk.symlink_to(outside)
    (problem,) = verify_store(path).problems
    assert (problem.file, problem.reason) == (chunk, "is a link")
    with pytest.raises(StoreError, match="is damaged"):
        open_store(path)["layer1.0.conv.conv2d"].load()
    shutil.rmtree(path)
    shutil.copytree(finished, path)
    shutil.move(path / "mask", outside.parent / "folder")
    (path / "mask").symlink_to(outside.parent / "folder", target_is_directory=True)
    with pytest.raises(StoreError, match="leads out of the store"):
        open_store(path)["mask"]


def test_a_chunk_that_claims_to_be_huge_takes_no_memory(path):
    """What a frame says of its size is not believed: an untrusted store can't fill the memory."""
    from numcodecs import Zstd

    bomb = Zstd(level=1).encode(np.zeros(200_000_000, np.uint8))
    options = {"stimuli": {"stimulus": ["a"]}, "attrs": {}, "block_size": 1, "compression": "zstd"}
    with create_store(path, **options) as writer:
        writer.declare("fc", dims=("stimulus", "unit"), shape=(1, 3), dtype=np.float32, attrs={})
        writer.write_block(0, {"fc": np.ones((1, 3), np.float32)})
        writer.finish()
    (path / "fc" / "activation" / "c.0.0").write_bytes(bomb)
    (problem,) = verify_store(path).problems
    assert "can't be decompressed" in problem.reason
    with pytest.raises(StoreError, match="can't be decompressed"):
        open_store(path)["fc"].load()


def test_a_store_of_an_earlier_version_is_read_verified_and_not_mixed_with_ours(path, expected):
    """Written by 0.1 before chunks were compressed with lz4."""
    with zipfile.ZipFile(Path(__file__).parent / "data" / "store_0.1_zstd.zip") as archive:
        archive.extractall(path.parent)
    check_store(path, expected)
    assert verify_store(path).is_sound
    with pytest.raises(StoreError, match="compression was 'zstd' and is now 'lz4'"):
        write_all(path, expected)
