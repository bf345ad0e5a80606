"""Random models, many traces, threads, interruptions: each trace is exact, and nothing is left behind."""

import threading
import warnings

import pytest
import torch
from torch import nn

import neurolens as nl
from benchmarks import random_models, soak
from tests.hostile.effort import LONG


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(1000 if LONG else 30))
def test_a_random_model_is_traced_as_it_runs(seed):
    assert random_models.prove(seed).wrong == ()


def test_random_models_differ_and_a_seed_gives_one():
    sources = {random_models.build(seed)[1] for seed in range(30)}
    assert len(sources) == 30
    assert random_models.build(3)[1] in sources


@pytest.mark.filterwarnings("ignore")
def test_the_proof_of_random_models_can_fail(monkeypatch):
    """A hook that reports other values than those of the run is noticed."""
    run = random_models.run_with_hooks

    def lie(*arguments):
        seen, plain = run(*arguments)
        return {name: [output + 1 for output in outputs] for name, outputs in seen.items()}, plain

    monkeypatch.setattr(random_models, "run_with_hooks", lie)
    assert any("hook" in text for seed in range(5) for text in random_models.prove(seed).wrong)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("gradients", [False, True])
def test_recurrent_kernels_are_chosen_again_as_they_were(kind, frozen, gradients):
    """An LSTM gives other bits where gradients are on, even if no tensor needs one."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = kind(4, 4).requires_grad_(not frozen).eval()
        x = torch.randn(3, 2, 4)
    with torch.set_grad_enabled(gradients):
        trace = nl.trace(model, x)
        assert torch.equal(trace["output[0]"].tensor, model(x)[0])
    report = trace.validate()
    assert report, str(report)
    assert torch.is_grad_enabled()


def test_many_traces_leave_nothing_behind():
    course = soak.run(2000 if LONG else 100, warm_up=30)
    n_late = len(course.objects) // 2 * (100 if LONG else 5)  # traces between the two readings
    assert course.objects[-1] - course.objects[len(course.objects) // 2] < 0.8 * n_late
    assert course.resident[-1] - course.resident[len(course.resident) // 2] < 4_000_000


def test_eight_traces_at_once_are_each_exact():
    """While other threads use torch untraced, whose operations appear in none."""
    seeds = range(8)
    alone = {}
    for seed in seeds:
        trace = trace_seeded(seed)
        alone[seed] = list_kept(trace)
    found, failed, stop = {}, [], threading.Event()
    start = threading.Barrier(len(seeds))

    def work(seed):
        try:
            start.wait()
            for _ in range(3):
                found[seed] = trace_seeded(seed)
        except Exception as error:
            failed.append(error)

    def bystand():
        x = torch.full((5, 7), 123.0)
        while not stop.is_set():
            if not torch.equal(nn.functional.relu(x @ x.T).sigmoid(), torch.ones(5, 5)):
                failed.append(AssertionError("another thread computes other values"))

    bystanders = [threading.Thread(target=bystand) for _ in range(2)]
    workers = [threading.Thread(target=work, args=(seed,)) for seed in seeds]
    for thread in (*bystanders, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    for thread in bystanders:
        thread.join()
    assert not failed
    for seed in seeds:
        (addresses, tensors), (expected, truths) = list_kept(found[seed]), alone[seed]
        assert addresses == expected
        assert all(map(random_models.same, tensors, truths))
    assert not torch.overrides._len_torch_function_stack()


def list_kept(trace):
    """Addresses of all passes, and all that was kept, in the order of execution."""
    return [step.address for step in trace.steps], [
        t.detach().clone() for t in trace.recording.tensors.values()
    ]


def trace_seeded(seed):
    """Trace a model without random numbers: the generator is shared by all threads."""
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(seed + 1)), nn.GRU(4, 4), Blend())
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.copy_(
                torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape) * (seed + number + 1)
            )
    x = torch.linspace(-1, 1, 24).reshape(3, 2, 4) + seed
    return nl.trace(model.eval(), x)


class Blend(nn.Module):
    def forward(self, pair):
        y = pair[0] * 2
        for _ in range(3):
            y = torch.tanh(y)
            y[0].add_(1)
        return y


class Interrupts(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.first, self.error = nn.Linear(4, 4), error

    def forward(self, x):
        y = self.first(x)
        if self.error is not None:
            raise self.error
        return y


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), MemoryError(), RecursionError()])
@pytest.mark.parametrize("verb", ["trace", "stream", "extract"])
def test_an_interrupted_run_leaves_torch_and_model_as_they_were(error, verb, tmp_path):
    model = Interrupts(error).train()
    call = nn.Module.__call__
    stimuli = nl.Stimuli.from_array(torch.ones(3, 4), ids=["a", "b", "c"])
    verbs = {
        "trace": lambda: nl.trace(model, torch.ones(2, 4)),
        "stream": lambda: nl.rdm(nl.stream(model, stimuli, progress=False), metric="euclidean"),
        "extract": lambda: nl.extract(model, stimuli, tmp_path / "acts.zarr", progress=False),
    }
    n_threads = threading.active_count()
    with pytest.raises(type(error)):
        verbs[verb]()
    assert model.training
    assert nn.Module.__call__ is call
    assert not model._forward_hooks
    assert not model.first._forward_hooks
    assert not torch.overrides._len_torch_function_stack()
    assert threading.active_count() <= n_threads
    model.error = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        acts = nl.extract(model, stimuli, tmp_path / "acts.zarr", progress=False)
    assert torch.equal(torch.from_numpy(acts["first"].values), model(torch.ones(3, 4)).detach())
