"""Values, state and memory: what is kept is what was there, and nothing is left behind."""

import copy
import gc
import threading
import weakref

import pytest
import torch
import torch.nn.functional as F
from oracle import Kernels, copy_inputs, record_with_clones, same, tensors_in
from small_models import CASES
from torch import nn
from torchvision import models

from neurolens.errors import TraceError
from neurolens.recording import scopes
from neurolens.recording.addresses import assign_names, resolve
from neurolens.recording.events import leaves
from neurolens.recording.functions import plain_name
from neurolens.recording.recorder import record

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def build(case):
    torch.manual_seed(0)
    return case.build(), *case.inputs()


def assert_values_are_those_at_call_time(recording, calls):
    """Every kept value equals the clone made when its call returned; every call that made one was recorded."""
    events = [e for e in recording.events if e.facts.name not in ("input", "source")]
    assert [e.facts.name for e in events] == [_plain(call[0]) for call in calls]
    for event, (_, results, arguments) in zip(events, calls, strict=True):
        for value, truth in zip(leaves(event.out), results, strict=True):
            assert same(recording.tensors[value], truth), event.facts.name
        for value in event.written:
            assert any(same(recording.tensors[value], truth) for truth in arguments), event.facts.name


def _plain(function):
    return (
        f"set_{plain_name(function)}"
        if getattr(function, "__name__", "") == "__set__"
        else plain_name(function)
    )


@by_name
def test_every_kept_value_is_what_a_clone_at_call_time_holds(case):
    model, args, kwargs = build(case)
    torch.manual_seed(1)
    recording, calls = record_with_clones(model, args, kwargs)
    assert_values_are_those_at_call_time(recording, calls)


@by_name
def test_no_kernel_runs_outside_what_is_recorded(case):
    model, args, kwargs = build(case)
    with Kernels() as kernels:
        recording = record(model, args, kwargs)
    made_outside_torch = torch.ops.aten.lift_fresh  # a tensor of from_numpy: it appears as a source
    assert [kernel for kernel in kernels.stray if kernel.overloadpacket is not made_outside_torch] == []
    if case.ops:
        assert kernels.count > 0
        assert len(recording.events) > 1


def test_a_kernel_outside_what_is_recorded_would_be_found():
    def model(x):
        with torch._C.DisableTorchFunction():
            return x.exp()

    with Kernels() as kernels:
        record(model, (torch.ones(2),))
    assert [kernel.overloadpacket for kernel in kernels.stray] == [torch.ops.aten.exp]


# ---------------------------------------------------------------------- memory that is written later

WRITERS = {}


def writer(function):
    WRITERS[function.__name__] = function
    return function


@writer
def in_place(y):
    y.mul_(2)


@writer
def augmented(y):
    y += 3


@writer
def through_a_slice(y):
    y[:, 1].add_(1)


@writer
def an_item(y):
    y[0, 0] = 9


@writer
def an_augmented_item(y):
    y[:, 1] *= 2


@writer
def through_data(y):
    y.data.mul_(2)


@writer
def through_detach(y):
    y.detach().mul_(2)


@writer
def through_numpy(y):
    y.detach().numpy()[0] = 5


@writer
def through_from_numpy(y):
    torch.from_numpy(y.detach().numpy()).mul_(2)


@writer
def through_dlpack(y):
    torch.utils.dlpack.from_dlpack(y.detach()).mul_(2)


@writer
def through_storage(y):
    y.untyped_storage().fill_(0)


@writer
def into_out(y):
    torch.add(torch.ones(2, 4), 1, out=y)


@writer
def by_foreach(y):
    torch._foreach_mul_([y], 3.0)


@writer
def by_copy(y):
    y.copy_(torch.zeros(2, 4))


@writer
def by_scatter(y):
    y.scatter_(1, torch.zeros(2, 1, dtype=torch.long), 7.0)


@writer
def by_mask(y):
    y.masked_fill_(y > 0, -1)


@writer
def by_boolean_index(y):
    y[y > 0] = -1


@writer
def by_clamp_out(y):
    torch.clamp(y, max=0, out=y)


@writer
def by_a_view_of_a_view(y):
    y.view(-1)[1:].view(7).unsqueeze_(0).fill_(4)


@writer
def by_functional(y):
    F.relu(y, inplace=True)
    F.dropout(y, 0.5, inplace=True)


@writer
def by_initialisation(y):
    nn.init.uniform_(y)


@writer
def by_transposition(y):
    y.t_().mul_(2)
    y.t_()


@writer
def by_resizing(y):
    y.resize_(2, 3).zero_()
    y.resize_(2, 4)


@writer
def by_exchange_of_data(y):
    y.data = torch.full((2, 4), 8.0)


@writer
def by_a_scripted_function(y):
    _scripted(y)


def _double(y: torch.Tensor) -> torch.Tensor:
    return y.mul_(2)


with pytest.warns(FutureWarning, match="deprecated"):
    _scripted = torch.jit.script(_double)


@pytest.mark.parametrize("inference", [False, True], ids=["grad", "inference"])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_later_write_does_not_reach_what_is_kept(write, inference):
    truth = {}

    def model(x):
        y = x * 3
        truth["y"] = y.detach().numpy().copy()
        view = y[0]
        truth["view"] = view.detach().numpy().copy()
        write(y)
        return y + 1

    x = torch.linspace(-1, 1, 8).reshape(2, 4)
    with torch.inference_mode(inference):
        plain = model(x)
        recording = record(model, (x,))
    names = assign_names(recording)
    for address, name in (("mul", "y"), ("getitem", "view")):
        (value,) = resolve(names, address).values[:1]
        assert recording.tensors[value].numpy().tolist() == truth[name].tolist()
    if write not in (by_initialisation, by_functional):
        assert same(recording.tensors[names.outputs["output"]], plain.detach())


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_running_statistics_are_left_as_a_plain_run_leaves_them(mode):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.InstanceNorm2d(4))
    getattr(model, mode)()
    twin, x = copy.deepcopy(model), torch.randn(2, 3, 8, 8)
    out = twin(x)
    recording = record(model, (x,))
    assert same(recording.tensors[assign_names(recording).outputs["output"]], out.detach())
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), twin.buffers(), strict=True))
    assert [m.training for m in model.modules()] == [m.training for m in twin.modules()]


# ---------------------------------------------------------------------- the same answer, and nothing left behind


@by_name
def test_the_answer_and_the_random_numbers_are_those_of_a_plain_run(case):
    model, args, kwargs = build(case)
    plain_args, plain_kwargs = copy_inputs(args, kwargs)
    torch.manual_seed(1)
    plain = copy.deepcopy(model)(*plain_args, **plain_kwargs)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    recording = record(model, args, kwargs)
    assert torch.equal(torch.get_rng_state(), state)
    found = list(leaves(recording.output))
    truth = list(_in_order(plain))
    assert len(found) == len(truth)
    assert all(same(recording.tensors[v], t.detach()) for v, t in zip(found, truth, strict=True))


def _in_order(structure):
    if hasattr(structure, "__dataclass_fields__"):
        structure = list(vars(structure).values())
    for item in structure if isinstance(structure, list) else [structure]:
        yield from tensors_in(item)


class Failing(nn.Module):
    """Raises halfway, below a submodule and a composite."""

    def __init__(self, error):
        super().__init__()
        self.lin, self.error = nn.Linear(4, 4), error

    def forward(self, x):
        x = self.lin(x)
        F.softmax(x, -1)
        if self.error:
            raise self.error
        return F.linear(x, torch.ones(3, 3))


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(), None], ids=repr)
def test_nothing_is_left_behind_when_the_model_raises(error):
    model, x = nn.Sequential(Failing(error)), torch.ones(2, 4)
    before = _world(model, x)
    with pytest.raises(type(error) if error else RuntimeError):
        record(model, (x,))
    assert _world(model, x) == before
    assert len(record(nn.ReLU(), (x,)).events) == 2


@pytest.mark.parametrize("stop_after", [None, 2])
def test_nothing_is_left_behind(stop_after):
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.ReLU(inplace=True)), torch.ones(2, 4)
    before = _world(model, x)
    recording = record(model, (x,), stop_after=stop_after)
    assert recording.complete is (stop_after is None)
    assert _world(model, x) == before


def _world(model, x):
    hooks = [
        len(getattr(m, name))
        for m in model.modules()
        for name in vars(m)
        if name.endswith("hooks") and getattr(m, name)
    ]
    return (
        nn.Module.__call__,
        torch._C._len_torch_function_stack(),
        scopes.current_recorder(),
        hooks,
        [sorted(vars(m)) for m in model.modules()],
        [p._version for p in model.parameters()],
        [m.training for m in model.modules()],
        sorted(vars(x)),
        torch.relu,
        F.relu,
        torch.is_grad_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
    )


def test_a_recording_inside_a_recording_is_refused_and_the_outer_goes_on():
    def model(x):
        with pytest.raises(TraceError, match="already"):
            record(torch.relu, (x,))
        return x + 1

    recording = record(model, (torch.ones(2),))
    assert [e.facts.name for e in recording.events] == ["input", "add"]
    assert scopes.current_recorder() is None


def test_two_threads_record_at_once():
    barrier = threading.Barrier(2, timeout=20)
    found, call = {}, nn.Module.__call__

    class Meeting(nn.Module):
        def __init__(self, rounds):
            super().__init__()
            self.relu, self.rounds = nn.ReLU(), rounds

        def forward(self, x):
            for _ in range(self.rounds):
                barrier.wait()
                x = self.relu(x) + 1
                barrier.wait()
            return x

    def work(name, start):
        found[name] = record(Meeting(5), (torch.full((2,), start),))

    threads = [threading.Thread(target=work, args=(n, s)) for n, s in (("one", 1.0), ("two", 100.0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert nn.Module.__call__ is call
    for name, start in (("one", 1.0), ("two", 100.0)):
        names = assign_names(found[name])
        assert {a: len(p.passes) for a, p in names.operations.items()} == {
            "input": 1,
            "relu.relu": 5,
            "add": 5,
        }
        values = [found[name].tensors[v] for v in resolve(names, "add").values]
        assert [v[0].item() for v in values] == [start + k for k in range(1, 6)]


def test_a_thread_that_does_not_record_is_not_recorded():
    def model(x):
        thread = threading.Thread(target=lambda: nn.ReLU()(torch.ones(3)))
        thread.start()
        thread.join()
        return x + 1

    recording = record(model, (torch.ones(2),))
    assert {e.facts.name for e in recording.events} <= {"input", "add", "relu", "ones"}
    assert len(assign_names(recording).outputs) == 1


def test_memory_goes_with_the_recording():
    model, x = models.resnet18().eval(), torch.randn(1, 3, 32, 32)
    gc.collect()
    gc.disable()
    try:
        recording = record(model, (x,))
        names = assign_names(recording)
        alive = [weakref.ref(t) for v, t in recording.tensors.items() if not v.parameter]
        assert len(alive) > 60
        del recording
        assert sum(ref() is not None for ref in alive) == 0
        assert names.operations
    finally:
        gc.enable()


def test_unwanted_activations_are_freed_while_the_model_runs():
    freed = []

    def model(x):
        y = x + 1
        ref = weakref.ref(y)
        y = y * 2
        freed.append(ref() is None)
        return y

    record(model, (torch.ones(2),), keep=False)
    assert freed == [True]


def test_the_user_s_own_tensors_are_not_copied_or_changed():
    x = torch.ones(2, 4)
    recording = record(torch.relu, (x,))
    (value,) = assign_names(recording).inputs.values()
    assert recording.tensors[value].data_ptr() == x.data_ptr()
    assert x._version == 0


def test_gradients_flow_as_without_a_recording():
    def model(x):
        y = (x * 3).relu_().clone()
        y[0] *= 2
        return (y**2).sum()

    x, again = (torch.linspace(-1, 1, 4, requires_grad=True) for _ in range(2))
    model(x).backward()
    out = []
    record(lambda x: out.append(model(x)), (again,))
    out[0].backward()
    assert torch.equal(x.grad, again.grad)


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", 64), ("squeezenet1_1", 64), ("shufflenet_v2_x0_5", 64), ("mobilenet_v3_small", 64)],
)
def test_classifiers_keep_what_clones_hold(name, size):
    torch.manual_seed(0)
    model = getattr(models, name)().eval()
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        plain = model(x)
        recording, calls = record_with_clones(model, (x,), {})
    assert same(recording.tensors[assign_names(recording).outputs["output"]], plain)
    assert_values_are_those_at_call_time(recording, calls)
