"""The contract of a store: fresh, resumed, killed, written by several processes; read without neurolens."""

import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zarr
from store_contract import (
    ATTRS,
    STIMULI,
    block_of,
    check_store,
    declare_all,
    fingerprint,
    run_python,
    write_all,
)

from neurolens.errors import StoreError
from neurolens.store import attach_store, create_store, open_store


def test_a_fresh_store_keeps_the_contract(finished, expected):
    check_store(finished, expected)


def test_running_again_changes_nothing(path, finished, expected):
    shutil.copytree(finished, path)
    write_all(path, expected)
    assert fingerprint(path) == fingerprint(finished)


@pytest.mark.parametrize("n_blocks", [0, 1, 2, 3])
def test_a_run_that_stopped_is_taken_up_and_ends_the_same(path, finished, expected, n_blocks):
    with create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4) as writer:
        declare_all(writer, expected)
        for index in range(n_blocks):
            writer.write_block(index, block_of(writer, expected, index))
        assert writer.missing_blocks() == tuple(range(n_blocks, 3))
    write_all(path, expected)
    check_store(path, expected)
    assert fingerprint(path) == fingerprint(finished)


RUN = """
import sys
from pathlib import Path
from store_contract import make_expected, write_all
expected = make_expected()
print("ready", flush=True)
write_all(Path(sys.argv[1]), expected)
"""


def test_killed_at_random_moments_and_run_again_ends_the_same(path, finished, expected):
    moments = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RUN, str(path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parent,
        )
        with process:
            process.stdout.readline()
            time.sleep(moments.uniform(0.0, 0.2))
            process.send_signal(signal.SIGKILL)
    write_all(path, expected)
    check_store(path, expected)
    assert fingerprint(path) == fingerprint(finished)


class Killed(BaseException):
    """Stands for a kill: nothing of the store's own catches it."""


@pytest.mark.parametrize("step", range(0, 78, 6))
def test_stopped_before_any_file_gets_its_name_and_run_again_ends_the_same(
    path, finished, expected, monkeypatch, step
):
    """In order: the head, groups and arrays, blocks, markers, the end."""
    real, names = Path.replace, []

    def replace(self, target):
        if len(names) == step:
            raise Killed
        names.append(target)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(Killed):
        write_all(path, expected)
    monkeypatch.undo()
    write_all(path, expected)
    assert fingerprint(path) == fingerprint(finished)


def test_killed_between_completion_and_tidying_ends_the_same(path, finished, expected, monkeypatch):
    def stop(folder, *args, **kwargs):
        raise Killed

    with create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4) as writer:
        declare_all(writer, expected)
        for name, address in expected.aliases.items():
            writer.alias(name, address)
        for index in writer.missing_blocks():
            writer.write_block(index, block_of(writer, expected, index))
        monkeypatch.setattr("neurolens.store.writer.shutil.rmtree", stop)
        with pytest.raises(Killed):
            writer.finish()
        writer.close()
        monkeypatch.undo()
    assert (path / "blocks_done").exists()
    assert list(open_store(path)) == list(expected.arrays), "readable already"
    write_all(path, expected)
    assert fingerprint(path) == fingerprint(finished)


WORKER = """
import sys
from store_contract import block_of, make_expected
from neurolens.store import attach_store
writer = attach_store(sys.argv[1])
for index in sys.argv[2:]:
    writer.write_block(int(index), block_of(writer, make_expected(), int(index)))
"""


def test_several_processes_write_blocks_without_locks(path, finished, expected):
    with create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4) as writer:
        declare_all(writer, expected)
        for name, address in expected.aliases.items():
            writer.alias(name, address)
        command = [sys.executable, "-W", "error", "-c", WORKER, str(path)]
        workers = [
            subprocess.Popen([*command, *blocks], cwd=Path(__file__).parent) for blocks in (["2"], ["0", "1"])
        ]
        assert [worker.wait() for worker in workers] == [0, 0]
        assert writer.done_blocks == (0, 1, 2)
        writer.finish()
    check_store(path, expected)
    assert fingerprint(path) == fingerprint(finished)


def test_a_worker_neither_finishes_nor_names_aliases(path, expected):
    with create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4) as writer:
        declare_all(writer, expected)
        worker = attach_store(path)
        for act in (worker.finish, lambda: worker.alias("a", "input")):
            with pytest.raises(StoreError, match="holds the lock"):
                act()


def test_xarray_alone_reads_it_without_a_warning(finished):
    code = """
        import sys
        import xarray as xr
        tree = xr.open_datatree(sys.argv[1], engine="zarr")
        array = tree["layer1/0/conv/conv2d"]["activation"]
        assert array.dims == ("stimulus", "channel", "y", "x"), array.dims
        assert array.sel(stimulus="bild 03 é", channel=2).shape == (3, 2)
        assert array.attrs["step"] == 1
        assert tree["category"].values.tolist()[:2] == ["face", "house"]
        assert set(tree.coords) == {"stimulus", "category", "size", "human"}, tree.coords
        assert not tree.children["pos_embed"].dataset["activation"].isnull().any()
        tree.load()
        assert not [m for m in sys.modules if m.startswith(("neurolens", "torch"))]
        """
    assert run_python(code, finished).stderr == ""


def test_writing_and_reading_give_no_warning(path):
    code = """
        import sys
        from pathlib import Path
        from store_contract import check_store, make_expected, write_all
        write_all(Path(sys.argv[1]), make_expected())
        check_store(Path(sys.argv[1]), make_expected())
        """
    assert run_python(code, path).stderr == ""


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_consolidated_metadata_are_what_zarr_would_write(path, finished):
    shutil.copytree(finished, path)
    ours = json.loads((path / "zarr.json").read_text())["consolidated_metadata"]
    zarr.consolidate_metadata(path, zarr_format=3)
    theirs = json.loads((path / "zarr.json").read_text())["consolidated_metadata"]
    for node in theirs["metadata"].values():  # Zarr repeats an empty one in every group
        node.pop("consolidated_metadata", None)
    assert ours == theirs


def test_a_stale_consolidation_is_deleted_on_resuming(path, expected):
    with create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4):
        pass
    root = json.loads((path / "zarr.json").read_text())
    root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": {}}
    (path / "zarr.json").write_text(json.dumps(root))
    with create_store(path, stimuli=STIMULI, attrs=ATTRS, block_size=4):
        assert "consolidated_metadata" not in json.loads((path / "zarr.json").read_text())


def test_no_trace_of_when_where_or_who(finished):
    text = b"".join(file.read_bytes() for file in finished.rglob("zarr.json")).decode()
    year = time.strftime("%Y-")
    assert not [word for word in (socket.gethostname(), str(finished), year) if word in text]
