"""The truth here is the model run on single stimuli: row i of a batch is what stimulus i gives alone."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision import models
from torchvision.models.maxvit import MaxVit
from torchvision.models.swin_transformer import SwinTransformer, SwinTransformerBlockV2
from torchvision.models.vision_transformer import VisionTransformer

from benchmarks.axes import examine
from neurolens.activations.axes import STATIC, UNASKED, Axes, find_axes, list_values, select_stimulus
from neurolens.activations.batches import as_call, count_stimuli, rebatch, take, undisturbed
from neurolens.recording.addresses import assign_names, select
from neurolens.recording.recorder import record

CLASSIFIERS = {
    "alexnet": (models.alexnet, 64),
    "vgg11": (models.vgg11, 32),
    "resnet18": (models.resnet18, 32),
    "resnext50": (models.resnext50_32x4d, 32),
    "densenet121": (models.densenet121, 32),
    "googlenet": (lambda: models.googlenet(init_weights=False), 32),
    "inception_v3": (lambda: models.inception_v3(init_weights=False), 75),
    "mobilenet_v2": (models.mobilenet_v2, 32),
    "mobilenet_v3": (models.mobilenet_v3_small, 32),
    "mnasnet": (models.mnasnet0_5, 32),
    "efficientnet": (models.efficientnet_b0, 32),
    "squeezenet": (models.squeezenet1_1, 32),
    "shufflenet": (models.shufflenet_v2_x0_5, 32),
    "regnet": (models.regnet_y_400mf, 32),
    "convnext": (models.convnext_tiny, 32),
    "vit": (lambda: VisionTransformer(32, 8, 2, 2, 24, 48), 32),
    "swin": (lambda: SwinTransformer([2, 2], 24, [2, 2], [2, 4], [2, 2]), 32),
    "swin_v2": (
        lambda: SwinTransformer([2, 2], 24, [2, 2], [2, 4], [2, 2], block=SwinTransformerBlockV2),
        32,
    ),
    "maxvit": (lambda: MaxVit((32, 32), 16, 2, [16, 32], [1, 1], 8, stochastic_depth_prob=0.0), 32),
}


def run_values(model, *args, **kwargs):
    """Every tensor of one call, by operation, pass and place in the result."""
    with undisturbed(model):
        recording = record(model, args, kwargs)
    values = list_values(assign_names(recording))
    return {address: recording.tensors[value] for address, value in values.items()}


def assert_rows_are_single_runs(model, x):
    """Compare every operation of a batch with the same operation on each stimulus alone."""
    axes = find_axes(model, as_call(x))
    assert axes.reason == ""
    batch = run_values(model, x)
    for i in range(len(x)):
        alone = run_values(model, x[i : i + 1])
        assert list(alone) == list(batch)
        for address, tensor in batch.items():
            where = axes.of(*address)
            if where.axis is None:
                assert where.reason == STATIC, address
                torch.testing.assert_close(tensor, alone[address], msg=str(address))
                continue
            assert where.reason == "", address
            row = select_stimulus(tensor, len(x), where, i)
            want = select_stimulus(alone[address], 1, where, 0)
            scale = float(want.abs().max()) if want.numel() else 0.0
            torch.testing.assert_close(row, want, rtol=1e-4, atol=1e-4 * scale, msg=str(address))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_operation_of_a_classifier_has_its_stimulus_axis(name):
    torch.manual_seed(0)
    build, size = CLASSIFIERS[name]
    assert_rows_are_single_runs(build().eval(), torch.rand(2, 3, size, size))


PAGE = Path(__file__).parents[2] / "docs" / "axes.md"


def read_page():
    """The rows of the page that holds every classifier, by name: numbers in the order of its columns."""
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \w+ \| \d", line)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name: [float(cell) for cell in cells] for name, *cells in rows}


def test_the_page_holds_every_classifier_without_a_mismatch():
    rows = read_page()
    version = re.search(r"torchvision ([0-9.]*[0-9])", PAGE.read_text()).group(1)
    if torchvision.__version__.split("+")[0] == version:
        assert set(rows) == set(models.list_models(module=models))
    assert len(rows) >= 80
    for name, (_, n_tensors, first, other, merged, static, none, n_mismatches, off) in rows.items():
        assert first + other + merged + static == n_tensors > 0, name
        assert none == n_mismatches == 0, name
        assert 0 < off <= 1e-4, name


@pytest.mark.parametrize("name", ["squeezenet1_1", "mnasnet0_5"])
def test_the_page_is_what_its_program_finds(name):
    found = examine(name)
    assert found.mismatches == []
    n_operations, n_tensors, *kinds = read_page()[name][:7]
    assert found.n_operations == n_operations
    assert [found.kinds.get(k, 0) for k in ("first", "other", "merged", "static", "none")] == kinds
    assert sum(kinds) == n_tensors


@pytest.fixture
def kept_bytes(monkeypatch):
    """The bytes that each probing run holds, each memory once."""
    found = []

    def watched(*args, **kwargs):
        recording = record(*args, **kwargs)
        made = [t.untyped_storage() for value, t in recording.tensors.items() if not value.parameter]
        storages = {storage.data_ptr(): storage for storage in made}
        found.append(sum(storage.nbytes() for storage in storages.values()))
        return recording

    monkeypatch.setattr("neurolens.activations.axes.record", watched)
    return found


def merged_heads(x):
    """Attention with heads merged into the batch, then features and their sum over all of them."""
    heads = (x * 2).unflatten(-1, (2, 4)).transpose(1, 2).reshape(-1, x.shape[1], 4)
    return heads.relu().unflatten(0, (-1, 2)).transpose(1, 2).flatten(2).sigmoid().sum((1, 2))


@pytest.mark.parametrize("name", ["resnet18", "vit", "swin", "heads merged into the batch"])
def test_a_memory_budget_changes_nothing_but_the_number_of_runs(name, kept_bytes):
    torch.manual_seed(0)
    build, size = CLASSIFIERS.get(name, (lambda: merged_heads, 0))
    x = torch.rand(3, 3, size, size) if size else torch.rand(3, 5, 8)
    model = build()
    axes = find_axes(model, as_call(x))
    assert len(kept_bytes) == 2
    whole = sum(kept_bytes)
    kept_bytes.clear()
    assert find_axes(model, as_call(x), memory=whole // 4).found == axes.found
    assert len(kept_bytes) > 4
    pairs = [sum(kept_bytes[k : k + 2]) for k in range(0, len(kept_bytes), 2)]
    assert max(pairs) < 0.6 * whole  # a quarter, and what the last place added to it


@pytest.mark.parametrize(
    ("name", "ops", "n_runs"),
    [
        ("resnet18", ["layer1.0.conv1.conv2d", "layer4"], 2),
        ("vit", "encoder.layers.encoder_layer_1.mlp", 4),  # heads stand merged on the way there
        ("swin", "features.1.0.attn.softmax", 4),
        ("heads merged into the batch", "sum", 4),
        ("heads merged into the batch", "mul", 2),
    ],
)
def test_only_what_is_asked_for_is_held_and_its_axes_are_the_same(name, ops, n_runs, kept_bytes):
    torch.manual_seed(0)
    build, size = CLASSIFIERS.get(name, (lambda: merged_heads, 0))
    x = torch.rand(3, 3, size, size) if size else torch.rand(3, 5, 8)
    model = build()
    axes = find_axes(model, as_call(x)).found
    most = max(kept_bytes)
    kept_bytes.clear()
    asked = find_axes(model, as_call(x), ops=ops).found
    assert len(kept_bytes) == n_runs
    assert kept_bytes[0] < most / 2
    assert list(asked) == list(axes)
    different = {address: where for address, where in asked.items() if where != axes[address]}
    assert all(where.reason == UNASKED for where in different.values())
    assert all(axes[address].axis is None for address in different)
    names = assign_names(record(model, (x,)))
    for target in select(names, ops):
        for value in target.values:
            place, number = names.of_event[value.event.index]
            assert (place.address, number, "") not in different


class Recurrent(nn.Module):
    """An LSTM that wants (time, stimulus, feature), or stimulus first, fed stimulus first."""

    def __init__(self, batch_first):
        super().__init__()
        self.lstm = nn.LSTM(5, 6, num_layers=2, bidirectional=True, batch_first=batch_first)
        self.batch_first = batch_first

    def forward(self, x):
        y, _ = self.lstm(x if self.batch_first else x.transpose(0, 1))
        return (y if self.batch_first else y.transpose(0, 1)).mean(1)


@pytest.mark.parametrize(("batch_first", "axis"), [(True, 0), (False, 1)])
def test_lstm_in_both_layouts(batch_first, axis):
    model = Recurrent(batch_first)
    x = torch.rand(3, 4, 5)
    assert_rows_are_single_runs(model, x)
    axes = find_axes(model, as_call(x))
    assert axes.of("lstm.lstm", 1, "[0]").axis == axis
    assert axes.of("lstm.lstm", 1, "[1]").axis == 1  # hidden states are (layer, stimulus, unit) in both


def fused(x):
    return F.scaled_dot_product_attention(x, x, x)


def explicit(x):
    return (x @ x.mT).softmax(-1) @ x


@pytest.mark.parametrize("attend", [fused, explicit])
def test_attention_with_heads_merged_into_the_batch(attend):
    def model(x):
        heads = x.unflatten(-1, (2, 4)).transpose(1, 2).reshape(-1, x.shape[1], 4)
        return attend(heads).unflatten(0, (-1, 2)).transpose(1, 2).flatten(2)

    x = torch.rand(3, 5, 8)
    assert_rows_are_single_runs(model, x)
    where = find_axes(model, as_call(x)).of("reshape", 1, "")
    assert (where.axis, where.factor, where.stimulus_major) == (0, 2, True)


@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention(need_weights):
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    assert_rows_are_single_runs(
        lambda x: attention(x, x, x, need_weights=need_weights)[0], torch.rand(3, 5, 8)
    )


@pytest.mark.parametrize("major", [True, False])
def test_order_of_a_merged_axis_is_read_from_values(major):
    def model(x):
        merged = x.reshape(-1, 4) if major else x.transpose(0, 1).reshape(-1, 4)
        return merged.relu(), torch.ones_like(merged)

    x = torch.rand(3, 5, 4) - 0.5
    axes = find_axes(model, as_call(x))
    where = axes.of("relu", 1, "")
    assert (where.axis, where.factor, where.stimulus_major) == (0, 5, major)
    assert axes.of("ones_like", 1, "") == where  # a constant fits both orders and follows what it is made of
    assert_rows_are_single_runs(model, x)


@pytest.mark.parametrize(
    ("model", "operation", "reason"),
    [
        (lambda x: x.sum(0), "sum", "no axis goes with the stimuli"),
        (lambda x: x[0] * 2, "mul", "made from the stimuli"),
        (lambda x: x * (x > -1).all(), "all", "made from the stimuli"),
        (lambda x: x + x.new_zeros(4), "new_zeros", STATIC),
        (lambda x: x @ x.mT, "matmul", "axes [0, 1] change"),
        (lambda x: x[x > 0.5], "getitem", "not one in proportion"),
        (lambda x: (x * 2, torch.arange(4.0))[0] + torch.arange(4.0), "arange", STATIC),
        (lambda x: torch.zeros(x.shape[0] + 1) + x.sum(), "zeros", "not one in proportion"),
        (lambda x: x.reshape((1,) * x.shape[0] + (-1,)), "reshape", "number of axes"),
    ],
    ids=[
        "sum over stimuli",
        "first stimulus",
        "condition",
        "zeros",
        "gram",
        "selected",
        "arange",
        "one more",
        "rank",
    ],
)
def test_operations_without_a_stimulus_axis_say_why(model, operation, reason):
    torch.manual_seed(0)
    where = find_axes(model, as_call(torch.rand(3, 4))).of(operation, 1, "")
    assert where.axis is None
    assert reason in where.reason


def test_batch_norm_with_the_statistics_of_the_batch_is_said_to_mix_stimuli():
    where = find_axes(
        lambda x: F.batch_norm(x, None, None, training=True), as_call(torch.rand(4, 3, 5, 5))
    ).of("batch_norm", 1, "")
    assert where.axis == 0
    assert "mixes stimuli" in where.reason


def test_a_module_in_training_mode_is_probed_in_eval_mode():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    model[2].eval()
    axes = find_axes(model, as_call(torch.rand(4, 1, 3, 3)))
    assert all(where.axis == 0 and not where.reason for where in axes.found.values())
    assert [module.training for module in model.modules()] == [True, True, True, False]


class Noisy(nn.Module):
    """Draws random numbers, counts its calls in a buffer, and fails when told to."""

    def __init__(self, fail):
        super().__init__()
        self.fail = fail
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.replaced = self.replaced + 1
        y = self.norm(x) + torch.rand(4)
        if self.fail:
            raise ValueError("no")
        return y


@pytest.mark.parametrize("fail", [False, True])
def test_probing_restores_flags_buffers_and_random_state(fail):
    model = Noisy(fail).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.rand(3, 4)
    random, grad = torch.random.get_rng_state(), torch.is_grad_enabled()
    axes = find_axes(model, as_call(x))
    assert (axes.reason != "") == fail
    assert torch.equal(random, torch.random.get_rng_state())
    assert torch.is_grad_enabled() == grad
    assert all(module.training for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_scripted_modules_are_left_as_they_were():
    model = nn.Sequential(torch.jit.script(nn.BatchNorm1d(3)), nn.ReLU()).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    axes = find_axes(model, as_call(torch.rand(4, 3)))
    assert axes.of("1.relu", 1, "").axis == 0
    assert all(module.training for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


class Caching(nn.Module):
    """Computes a table when it is first run, and keeps it where no state dict sees it."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.rand(9))
        self.table = None

    def forward(self, x):
        if self.table is None:
            self.table = self.bias[torch.arange(4)].exp()
        return x * self.table


def test_a_model_that_caches_what_it_computes_is_compared_with_its_cache_filled():
    model = Caching()
    axes = find_axes(model, as_call(torch.rand(3, 4)))
    later = run_values(model, torch.rand(3, 4))
    assert {where.reason for where in (axes.of(*a) for a in later)} == {"", STATIC}
    assert axes.of("mul", 1, "").axis == 0


def test_a_model_that_refuses_other_batches_gives_the_reason():
    def model(x):
        assert x.shape[0] == 4, "four or nothing"
        return x * 2

    axes = find_axes(model, as_call(torch.rand(4, 3)))
    assert axes == Axes({}, axes.reason)
    where = axes.of("mul", 1, "")
    assert where.axis is None
    assert "four or nothing" in where.reason


class Detector(nn.Module):
    """A detection model fed one tensor of images."""

    def __init__(self):
        super().__init__()
        self.model = models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
            weights=None,
            weights_backbone=None,
            num_classes=3,
            min_size=64,
            max_size=64,
            rpn_pre_nms_top_n_test=9,
            rpn_post_nms_top_n_test=5,
        )

    def forward(self, x):
        return self.model(list(x))


def test_detection_model_has_operations_without_a_stimulus_axis():
    axes = find_axes(Detector().eval(), as_call(torch.rand(2, 3, 64, 64)))
    assert axes.of("model.backbone.body.0.0.conv2d", 1, "").axis == 0
    undefined = [where for where in axes.found.values() if where.is_undefined]
    assert undefined
    assert all(where.reason for where in undefined)


@pytest.mark.parametrize(
    "inputs",
    [
        {"a": torch.rand(3, 4), "b": torch.rand(3, 4)},
        (torch.rand(3, 4), torch.rand(3, 4)),
        {"a": torch.rand(3, 4), "b": torch.rand(1)},
        {"a": torch.rand(1, 4), "b": torch.rand(1, 4)},
    ],
    ids=["keywords", "positions", "without stimuli", "one stimulus"],
)
def test_inputs_of_several_tensors(inputs):
    axes = find_axes(lambda a, b: (a * b).relu(), as_call(inputs))
    assert axes.of("mul", 1, "").axis == 0
    assert axes.of("relu", 1, "").axis == 0


def test_token_ids_stay_valid_when_stimuli_are_made_up():
    embedding = nn.Embedding(7, 3)
    tokens = torch.tensor([[0, 6, 3, 2]])
    axes = find_axes(embedding, as_call(tokens))
    assert axes.reason == ""
    assert axes.of("embedding", 1, "").axis == 0
    assert rebatch(as_call(tokens), 3).args[0].tolist() == [[0, 6, 3, 2], [2, 3, 6, 0], [2, 0, 6, 3]]


def test_other_stimulus_axis_of_the_inputs():
    axes = find_axes(nn.LSTM(4, 2), as_call(torch.rand(5, 3, 4)), batch_axis=1)
    assert axes.of("lstm", 1, "[0]").axis == 1


def test_batches_are_counted_and_cut():
    call = as_call(
        {"x": torch.arange(6).reshape(3, 2), "scale": 2.0, "pair": (torch.arange(3), torch.zeros(5))}
    )
    assert count_stimuli(call) == 3
    part = take(call, slice(1, 3)).kwargs
    assert part["x"].tolist() == [[2, 3], [4, 5]]
    assert part["scale"] == 2.0
    assert [t.shape[0] for t in part["pair"]] == [2, 5]
