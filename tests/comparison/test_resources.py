"""Profiles over dask workers have the same numbers, and a streamed profile keeps to its budget of memory."""

import os
import subprocess
import sys

import pytest
import xarray as xr

import neurolens as nl

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with distributed.Client(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as client:
        yield client


@pytest.mark.parametrize("method", ["rsa", "cka", "ridge", "ersa"])
def test_workers_give_the_same_numbers(network, regions, client, method):
    options = {"model": nl.Ridge(alphas=10.0)} if method in ("ridge", "ersa") else {}
    given = {"method": method, "options": options, "n_permutations": 19, "n_splits": 2, "progress": False}
    here = nl.compare(network, regions, **given)
    there = nl.compare(network, regions, client=client, **given)
    xr.testing.assert_identical(here, there)


PEAK = """
import resource, sys
import torch
from torchvision import models
import neurolens as nl
torch.set_num_threads(1)
x = torch.rand(48, 3, 64, 64)
stimuli = nl.Stimuli.from_array(x, ids=range(48))
model = models.resnet18().eval()
brain = nl.rdm(nl.stream(model, stimuli, ops="fc.linear", progress=False)["fc.linear"])
options = {"n_permutations": 19, "n_splits": 2, "progress": False}
few = nl.Stimuli.from_array(x[:8], ids=range(8))  # all that loads once is loaded
nl.compare((model, few), brain.isel(stimulus=slice(8), stimulus_b=slice(8)), **options)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
profile = nl.compare((model, stimuli), brain, memory="30 MB", **options)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(profile.sizes["op"], int(profile.n_features.sum()) * 48 * 4, (after - before) * 1024)
"""


def test_an_exhaustive_streamed_profile_keeps_to_its_budget():
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "MALLOC_ARENA_MAX": "2"}
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PEAK],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    n_ops, total, extra = map(int, answer.stdout.split())
    assert n_ops > 60
    assert extra < 30e6 < total / 4
