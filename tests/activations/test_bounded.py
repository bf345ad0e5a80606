"""The memory of an extraction does not grow with the number of stimuli."""

import os
import subprocess
import sys

RUN = """
import resource, sys
import torch
from neurolens.activations import extract
from neurolens.stimuli import Stimuli
torch.set_num_threads(1)

class Drawn(torch.utils.data.Dataset):
    def __len__(self):
        return int(sys.argv[2])
    def __getitem__(self, index):
        return torch.full((64,), float(index))

def widen(x):  # a megabyte a stimulus
    return x.repeat(1, 4000) + 1

extract(widen, Stimuli.from_dataset(Drawn()), sys.argv[1], ops="add", batch_size=8, progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def measure_peak(store, n_stimuli):
    """Bytes of a process that extracts a megabyte of each of so many stimuli."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    command = [sys.executable, "-c", RUN, store, str(n_stimuli)]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return int(answer.stdout)


def test_memory_does_not_grow_with_the_stimuli(tmp_path):
    few, many = measure_peak(tmp_path / "few.zarr", 48), measure_peak(tmp_path / "many.zarr", 480)
    assert many <= 1.1 * few, "of 490 MB of activations, 49 and more were held"
