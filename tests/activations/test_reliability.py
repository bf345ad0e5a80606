"""What goes wrong in long runs: each is injected; none may lose or mix data, and each says what to do."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from neurolens.activations import extract, stream
from neurolens.activations import open as open_activations
from neurolens.errors import InputError, NeurolensWarning, ResumeError, StimulusError, StoreError
from neurolens.stimuli import Stimuli


def read_files(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def make_stimuli(n=12):
    x = torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return Stimuli.from_array(x, ids=[f"s{i}" for i in range(n)])


class Net(nn.Module):
    """A few layers; what its attributes say goes wrong at one stimulus."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(64, 5)
        self.raises = self.breaks = None

    def forward(self, x):
        if self.raises is not None and (x[:, 0, 0, 0] == self.raises).any().item():
            y = self.norm(self.conv(x))
            return self.fc(y.flatten(2))
        y = self.norm(self.conv(x))
        if self.breaks is not None:
            y = y / torch.where(x[:, :1, :1, :1] == self.breaks[0], self.breaks[1], 1.0)
        return self.fc(y.relu().flatten(1))


@pytest.fixture
def net():
    return Net().eval()


# ---------------------------------------------------------------------- the disk


class Quota:
    """A disk with so many bytes: further ones can't be written."""

    def __init__(self, n_bytes, monkeypatch):
        self.left = n_bytes
        write = os.write
        opened = Path.open

        def open_counted(path, mode="r", *args, **kwargs):
            stream = opened(path, mode, *args, **kwargs)
            return _Counted(stream, self) if mode == "wb" else stream

        monkeypatch.setattr(Path, "open", open_counted)
        self.write = write


class _Counted:
    def __init__(self, stream, quota):
        self.stream, self.quota = stream, quota

    def write(self, data):
        self.quota.left -= memoryview(data).nbytes
        if self.quota.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.stream.write(data)

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.stream.close()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.9])
def test_a_full_disk_is_said_and_the_run_is_taken_up_when_there_is_space(net, tmp_path, monkeypatch, share):
    options = {"batch_size": 2, "progress": False}
    extract(net, make_stimuli(), tmp_path / "whole.zarr", **options)
    size = sum(len(data) for data in read_files(tmp_path / "whole.zarr").values())
    with monkeypatch.context() as patch:
        Quota(int(share * size), patch)
        with pytest.raises(StoreError, match=r"disk is full.*make space and run the same again"):
            extract(net, make_stimuli(), tmp_path / "acts.zarr", **options)
    extract(net, make_stimuli(), tmp_path / "acts.zarr", **options)
    assert read_files(tmp_path / "acts.zarr") == read_files(tmp_path / "whole.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["acts.zarr", "whole.zarr"]


def test_a_real_file_system_that_fills_up(net, tmp_path):
    """A tmpfs of 256 kB, where the system lets one be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        (disk / "ballast").write_bytes(bytes(60_000))
        options = {"batch_size": 2, "progress": False, "compression": "none"}
        with pytest.raises(StoreError, match=r"The disk is full|before compression"):
            extract(net, make_stimuli(36), disk / "acts.zarr", **options)
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        extract(net, make_stimuli(36), disk / "acts.zarr", **options)
        extract(net, make_stimuli(36), tmp_path / "whole.zarr", **options)
        assert read_files(disk / "acts.zarr") == read_files(tmp_path / "whole.zarr")
    finally:
        subprocess.run(["umount", disk], check=True)


# ---------------------------------------------------------------------- killed, and two at once

KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from test_reliability import Net, make_stimuli
from neurolens.activations import extract

folder, n_kills = Path(sys.argv[1]), int(sys.argv[3])
stimuli, model = make_stimuli(60), Net().eval()
def run(store):
    extract(model, stimuli, store, batch_size=1, progress=False)
begin = time.perf_counter()
run(folder / "whole.zarr")
length = time.perf_counter() - begin
moments, n_partial = random.Random(7), 0
for number in range(n_kills):
    store = folder / f"acts{number}.zarr"
    for _ in range(2):  # a second one while the first is taken up
        child = os.fork()
        if child == 0:
            run(store)
            os._exit(0)
        time.sleep(moments.uniform(0, length))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        done = len(list((store / "blocks_done").glob("c.*")))
        n_partial += 0 < done < 60
    run(store)
print(n_partial)
"""


def kill_many(tmp_path, n_kills):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    answer = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, Path(__file__).parent, str(n_kills)],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    whole = read_files(tmp_path / "whole.zarr")
    for number in range(n_kills):
        assert read_files(tmp_path / f"acts{number}.zarr") == whole
    return int(answer.stdout)


@pytest.mark.slow
def test_killed_at_25_random_moments_and_taken_up_is_bit_identical(tmp_path):
    assert kill_many(tmp_path, 25) >= 10


HOLD = """
import sys
sys.path.insert(0, sys.argv[2])
from test_reliability import Net, make_stimuli
from neurolens.activations import extract
class Waits(Net):
    def forward(self, x):
        if len(x) == 2 and x[0, 0, 0, 0] == make_stimuli().read(4)[0, 0, 0]:
            print("held", flush=True)
            sys.stdin.read()
        return super().forward(x)
Waits.__qualname__ = "Net"
model = Waits().eval()
extract(model, make_stimuli(), sys.argv[1], batch_size=2, progress=False)
"""


def test_a_second_run_is_told_who_holds_the_store_and_a_killed_one_is_not_waited_for(net, tmp_path):
    store = tmp_path / "acts.zarr"
    command = [sys.executable, "-c", HOLD, store, Path(__file__).parent]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match=rf"process {other.pid} on {os.uname().nodename}"):
            extract(net, make_stimuli(), store, batch_size=2, progress=False)
        assert not list(store.rglob("*.lock"))
        other.kill()
    assert (tmp_path / ".acts.zarr.lock").exists()
    with pytest.raises(ResumeError, match="graph was"):  # its class asks for one operation more
        extract(net, make_stimuli(), store, batch_size=2, progress=False)


# ---------------------------------------------------------------------- stimuli


class Fatal(torch.utils.data.Dataset):
    """Reading its seventh item kills the process that reads."""

    def __init__(self, owner):
        self.owner = owner

    def __len__(self):
        return 12

    def __getitem__(self, index):
        if index == 7 and os.getpid() != self.owner:
            os._exit(3)
        return torch.full((3, 6, 6), float(index))


def test_a_process_that_reads_and_dies_is_said(net, tmp_path):
    options = {"batch_size": 2, "progress": False}
    stimuli = Stimuli.from_dataset(Fatal(os.getpid()))
    with pytest.raises(StimulusError, match=r"A process that reads stimuli died.*fewer workers="):
        extract(net, stimuli, tmp_path / "acts.zarr", workers=2, **options)
    extract(net, stimuli, tmp_path / "acts.zarr", **options)
    extract(net, stimuli, tmp_path / "whole.zarr", **options)
    assert read_files(tmp_path / "acts.zarr") == read_files(tmp_path / "whole.zarr")


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_processes_read_what_a_thread_reads(net, tmp_path, workers):
    acts = extract(
        net, make_stimuli(), tmp_path / "a.zarr", ops="fc", batch_size=5, workers=workers, progress=False
    )
    with torch.no_grad():
        x = torch.stack([make_stimuli().read(i) for i in range(12)])
        np.testing.assert_allclose(acts["fc"].values, net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("workers", [-1, 1.5, True, "2"])
def test_workers_are_a_number(net, workers):
    with pytest.raises(InputError, match="workers="):
        stream(net, make_stimuli(), workers=workers, progress=False)


@pytest.fixture
def images(tmp_path):
    """Twelve pictures, of which two can't be read."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(12):
        Image.new("RGB", (6, 6), (number, 0, 0)).save(folder / f"{number:02d}.png")
    (folder / "03.png").write_bytes((folder / "03.png").read_bytes()[:40])
    (folder / "08.png").write_text("no image")
    return Stimuli.from_folder(folder, transform=as_tensor)


def as_tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


def test_unreadable_images_are_skipped_if_asked(net, images, tmp_path):
    with pytest.raises(StimulusError, match=r"2 of 12(.|\n)*'03'(.|\n)*'08'"):
        extract(net, images, tmp_path / "acts.zarr", progress=False)
    with pytest.warns(NeurolensWarning, match=r"2 of 12 stimuli.*'03', '08'"):
        acts = extract(net, images, tmp_path / "acts.zarr", unreadable="skip", ops="conv", progress=False)
    left = [f"{i:02d}" for i in range(12) if i not in (3, 8)]
    assert acts["conv"].stimulus.values.tolist() == left
    assert list(acts.store.attrs["skipped_stimuli"]) == ["03", "08"]
    with torch.no_grad():
        truth = net.conv(torch.stack([as_tensor(images.read(int(name))) for name in left]))
    np.testing.assert_allclose(acts["conv"].values, truth, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="unreadable='ignore'"):
        extract(net, images, tmp_path / "b.zarr", unreadable="ignore", progress=False)


# ---------------------------------------------------------------------- models


def test_a_model_that_raises_names_stimulus_module_line_and_operation(net, tmp_path):
    net.raises = float(make_stimuli(40).read(33)[0, 0, 0])
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
        extract(net, make_stimuli(40), tmp_path / "acts.zarr", ops="fc", batch_size=8, progress=False)
    (note,) = caught.value.__notes__
    assert "on the stimulus 's33', in the module 'fc' (Linear)" in note
    part = open_activations(tmp_path / "acts.zarr", incomplete=True)
    assert len(part.stimuli.stimulus) in (24, 32)  # all blocks before it


class Lookup(nn.Module):
    """Numbers to rows of a table, after two operations; a number beyond the table raises."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 3)

    def forward(self, x):
        return self.table((x.relu() * 2).long()).sum(1)


def test_a_model_that_raises_in_an_operation_names_the_one_before_it(tmp_path):
    x = np.ones((1000, 2), "float32")
    x[731, 1] = 5  # doubled it is 10, and the table ends at 8
    stimuli = Stimuli.from_array(x, ids=[f"s{i}" for i in range(1000)])
    with pytest.raises(IndexError, match="out of range") as caught:
        extract(Lookup().eval(), stimuli, tmp_path / "acts.zarr", batch_size=100, progress=False)
    (note,) = caught.value.__notes__
    assert "on the stimulus 's731', in the module 'table' (Embedding)" in note
    assert note.endswith("after the operation 'long'.")


@pytest.mark.parametrize(("value", "first"), [(float("nan"), "where"), (0.0, "div")])
def test_what_is_no_number_names_the_stimulus_and_the_first_operation(net, tmp_path, value, first):
    net.breaks = float(make_stimuli(40).read(31)[0, 0, 0]), value
    with pytest.warns(NeurolensWarning, match=r"Net gives NaN on the stimulus 's31' in 'fc'") as said:
        extract(net, make_stimuli(40), tmp_path / "acts.zarr", ops=["fc"], batch_size=8, progress=False)
    assert f"and first in '{first}'" in str(said[0].message)


def test_masks_are_no_faults(recwarn):
    """Infinities that every stimulus has are meant."""

    def model(x):
        mask = torch.triu(torch.full((3, 3), -torch.inf), 1)
        return (x[:, :, None] * x[:, None, :] + mask).softmax(2)

    acts = stream(model, Stimuli.from_array(torch.rand(4, 3), ids=range(4)), progress=False)
    assert np.isinf(acts["add"].values).any()
    assert not recwarn.list


def test_another_architecture_with_the_same_weights_is_refused(net, tmp_path):
    class Other(Net):
        def forward(self, x):
            return self.fc(self.norm(self.conv(x)).sigmoid().flatten(1))

    Other.__qualname__ = "Net"
    net.raises = float(make_stimuli().read(9)[0, 0, 0])
    options = {"ops": "fc", "batch_size": 2, "progress": False}
    with pytest.raises(RuntimeError):
        extract(net, make_stimuli(), tmp_path / "acts.zarr", **options)
    with pytest.raises(ResumeError, match=r"graph was '.*' and is now"):
        extract(Other().eval(), make_stimuli(), tmp_path / "acts.zarr", **options)


def test_a_memory_too_small_is_said_before_anything_is_written(net, tmp_path, monkeypatch):
    monkeypatch.setattr("neurolens.activations.budget.available_memory", lambda: 10_000)
    with pytest.raises(InputError, match=r"holds up to .* at once, and 10 kB of memory are free"):
        extract(net, make_stimuli(), tmp_path / "acts.zarr", progress=False)
    assert not (tmp_path / "acts.zarr").exists()


def test_the_allocator_is_left_as_it_was():
    """What a run sets ends with it: memory that is freed later goes back to the system."""
    code = """
import resource, torch
from pathlib import Path
from neurolens.activations.memory import keep_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
with keep_freed_memory():
    with keep_freed_memory():
        x = torch.ones(50_000_000)
    del x
    inside = resident()
before = resident()
x = torch.ones(50_000_000)
during = resident()
del x
print(inside - before > 150e6, during - before > 150e6, resident() - before < 50e6)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "True", "True"]


def test_times_of_a_budget_are_said(net):
    from neurolens.activations.budget import Budget

    begin = time.perf_counter()
    assert str(Budget(3_000_000, 2_000, 100)) == "up to 3 MB on disk, 2 kB of memory, 100 s of computing"
    assert str(Budget(3, 2, 7200)).endswith("120 min of computing")
    assert time.perf_counter() - begin < 1
