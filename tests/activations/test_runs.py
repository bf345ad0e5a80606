import threading

import numpy as np
import pytest
import torch
from torch import nn

from neurolens.activations.runs import Run
from neurolens.errors import InputError, StimulusError
from neurolens.models import as_model
from neurolens.stimuli import Stimuli


class Logged(torch.utils.data.Dataset):
    """Items that note when they are read, and where."""

    def __init__(self, n):
        self.n = n
        self.log = []

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.log.append(("read", index, threading.current_thread()))
        return torch.full((3,), float(index))


def make_run(model, stimuli, **options):
    return Run(as_model(model), stimuli, **({"ops": "**", "batch_size": 2, "device": None} | options))


def test_stimuli_are_read_one_batch_ahead_and_never_more():
    data = Logged(12)
    run = make_run(lambda x: x * 2, Stimuli.from_dataset(data))
    data.log.clear()
    for index, tensors in run.compute(range(run.n_batches)):
        assert torch.equal(tensors["mul"][:, 0], torch.arange(2.0) * 2 + 4 * index)
        reads = [item for kind, item, _ in list(data.log)]
        assert max(reads) <= 2 * (index + 1) + 1
        assert set(range(2 * index + 2)) <= set(reads)
    assert sorted(item for _, item, _ in data.log) == list(range(12))  # each is read once
    assert threading.main_thread() not in {thread for _, _, thread in data.log}


def test_the_model_runs_in_the_thread_that_asks():
    threads = set()

    def model(x):
        threads.add(threading.current_thread())
        return x * 2

    run = make_run(model, Stimuli.from_dataset(Logged(6)))
    list(run.compute([2, 0]))
    assert threads == {threading.current_thread()}


def test_batches_come_in_the_order_asked_for():
    run = make_run(lambda x: x * 2, Stimuli.from_dataset(Logged(5)), batch_size=2)
    found = {index: tensors["mul"][:, 0].tolist() for index, tensors in run.compute([2, 0], ["mul"])}
    assert list(found) == [2, 0]
    assert found == {2: [8.0], 0: [0.0, 2.0]}


def test_an_unreadable_stimulus_ends_the_run_by_name():
    class Broken(Logged):
        def __getitem__(self, index):
            if index == 4:
                raise OSError("gone")
            return super().__getitem__(index)

    run = make_run(lambda x: x * 2, Stimuli.from_dataset(Broken(6)))
    with pytest.raises(StimulusError, match=r"'4'.*gone"):
        list(run.compute(range(3)))


def test_a_branch_that_the_probes_do_not_take_is_probed_on_the_whole_batch():
    def model(x):
        y = x.exp() if x.sum() > 10 else x.cos()
        return y.transpose(0, 1) * 2

    x = torch.tensor([[1.0, 1], [1, 1], [1, 1], [5, 5], [1, 1]])
    run = make_run(model, Stimuli.from_array(x, ids=list("abcde")), batch_size=5)
    assert run.layouts["exp"].axes[0].axis == 0
    ((_, tensors),) = run.compute([0], ["exp", "mul"])
    np.testing.assert_array_equal(tensors["exp"], x.exp())
    np.testing.assert_array_equal(tensors["mul"], x.exp() * 2)


class Counting(nn.Module):
    """Leaves traces where it can: a buffer, a flag, the random state."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        self.count += 1
        return self.norm(x) + 0 * torch.rand(1)


def test_a_model_is_left_as_it_was():
    model = Counting().train()
    stimuli = Stimuli.from_array(torch.rand(6, 3), ids=list("abcdef"))
    random = torch.get_rng_state()
    run = make_run(model, stimuli)
    counts = [float(tensors["add"]) for _, tensors in run.compute(range(3), ["add"])]
    assert counts == [1.0, 1.0, 1.0]  # what it wrote into its buffer is kept, though the buffer is as it was
    assert torch.equal(torch.get_rng_state(), random)
    assert model.count == 0
    assert model.norm.num_batches_tracked == 0
    assert model.training
    assert model.norm.training


def test_numbers_do_not_depend_on_how_stimuli_are_batched():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    stimuli = Stimuli.from_array(torch.rand(7, 3), ids=list("abcdefg"))
    found = {}
    for size in (1, 3, 7, 50):
        run = make_run(model, stimuli, batch_size=size)
        parts = [tensors["2.linear"] for _, tensors in run.compute(range(run.n_batches))]
        found[size] = torch.cat(parts).numpy()
    for size, values in found.items():
        np.testing.assert_allclose(values, found[7], rtol=1e-5, err_msg=str(size))


@pytest.mark.parametrize("size", [0, -1])
def test_bad_batch_size(size):
    with pytest.raises(InputError, match=f"batch_size={size}"):
        make_run(nn.Linear(3, 2), Stimuli.from_array(torch.rand(2, 3), ids=list("ab")), batch_size=size)
