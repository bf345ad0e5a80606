"""Blocks on dask workers: the bytes of a serial run, whatever branches, dies, or is missing."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("distributed")

HEAD = """
import os, sys, time, warnings
from pathlib import Path
import torch
torch.set_num_threads(1)
from distributed import Client, LocalCluster
from neurolens.activations import RandomProjection, extract
from neurolens.errors import NeurolensWarning
sys.path.insert(0, sys.argv[2])
from distributed_models import Branching, N, Slow, make_stimuli

folder = Path(sys.argv[1])

def read_files(store):
    return {str(f.relative_to(store)): f.read_bytes() for f in sorted(store.rglob("*")) if f.is_file()}

def main():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        work(client)
"""

SAME = """
def work(client):
    for reduce, ops in ((None, "**"), (RandomProjection(n_components=5), "**"), (None, ["log", "conv"])):
        name = f"{type(reduce).__name__}{len(str(ops))}"
        options = {"batch_size": 3, "progress": False, "reduce": reduce, "ops": ops}
        model, stimuli = Branching().eval(), make_stimuli()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", NeurolensWarning)
            extract(model, stimuli, folder / f"serial_{name}", **options)
            here = [str(w.message) for w in caught if w.category is NeurolensWarning]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", NeurolensWarning)
            acts = extract(model, stimuli, folder / f"spread_{name}", client=client, **options)
            there = [str(w.message) for w in caught if w.category is NeurolensWarning]
        assert read_files(folder / f"serial_{name}") == read_files(folder / f"spread_{name}"), name
        assert here == there and "NaN on the stimulus 's7'" in here[0], (here, there)
        assert acts.verify().is_sound
        if ops == "**":
            found = sorted(a for a in acts if "relu" in a)
    print(found)
"""

OTHER_CODE = """
def work(client):
    import neurolens.activations.distributed as distributed

    def refuse(task, index, late):
        return distributed.Done(index, False)

    options = {"batch_size": 3, "progress": False}
    model, stimuli = Slow(0), make_stimuli()
    extract(model, stimuli, folder / "serial", **options)
    distributed._write_block = refuse
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NeurolensWarning)
        extract(model, stimuli, folder / "spread", client=client, **options)
    assert read_files(folder / "serial") == read_files(folder / "spread")
    print(*[w.message for w in caught if w.category is NeurolensWarning])
"""

KILLED = """
def work(client):
    import signal, threading
    options = {"batch_size": 2, "progress": False}
    extract(Slow(0), make_stimuli(), folder / "serial", **options)
    victim = sorted(client.run(os.getpid).values())[0]
    n_done = []
    def kill():
        done = []
        while len(done) < 3:
            time.sleep(0.01)
            done = list((folder / "spread" / "blocks_done").glob("c.*"))
        os.kill(victim, signal.SIGKILL)
        n_done.append(len(done))
    thread = threading.Thread(target=kill)
    thread.start()
    extract(Slow(0.1), make_stimuli(), folder / "spread", client=client, **options)
    thread.join()
    assert read_files(folder / "serial") == read_files(folder / "spread")
    print(n_done[0] < N // 2 and victim not in client.run(os.getpid).values())
"""


def run(code, folder):
    script = folder / "script.py"
    script.write_text(
        textwrap.dedent(HEAD) + textwrap.dedent(code) + "\nif __name__ == '__main__':\n    main()\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    answer = subprocess.run(
        [sys.executable, script, folder, Path(__file__).parent],
        capture_output=True, text=True, env=environment, timeout=300, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]
    return answer.stdout.strip()


def test_chunks_are_those_of_a_serial_run_also_where_the_model_branches(tmp_path):
    out = run(SAME, tmp_path)
    assert out.endswith("['relu', 'relu_1', 'relu_2']"), out


def test_workers_that_know_no_operation_of_the_plan_leave_the_blocks_to_the_client(tmp_path):
    assert run(OTHER_CODE, tmp_path).startswith("9 blocks are computed by the process that has the client")


def test_a_run_that_resumes_on_a_client_lets_go_of_the_batch_it_planned_on():
    from distributed_models import Slow, make_stimuli

    from neurolens.activations.runs import Run
    from neurolens.models import as_model

    options = {"ops": "**", "batch_size": 3, "device": None, "keep_first": True}
    begun, resumed = (Run(as_model(Slow(0)), make_stimuli(), **options) for _ in range(2))
    assert begun.split([0, 1, 2]) == ([0], [1, 2])
    assert begun.n_held_already > 0
    assert resumed.split([1, 2]) == ([], [1, 2])
    assert resumed.n_held_already == 0


def test_a_worker_that_is_killed_loses_nothing(tmp_path):
    assert run(KILLED, tmp_path) == "True"


def test_what_is_no_client_says_so(tmp_path):
    from distributed_models import Slow, make_stimuli

    from neurolens.activations import extract
    from neurolens.errors import InputError

    with pytest.raises(InputError, match=r"client='tcp.*is no dask\.distributed\.Client"):
        extract(Slow(0), make_stimuli(), tmp_path / "a.zarr", client="tcp://there", progress=False)
