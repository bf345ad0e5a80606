"""The truth is what each axis is by torch's own documentation of the operation, written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models
from torchvision.models.maxvit import MaxVit
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from neurolens.activations.moves import regroup
from neurolens.activations.stream import stream
from neurolens.stimuli import Stimuli


def find_dims(model, x):
    """The dims of every operation but the stimulus, and the sizes with them."""
    if isinstance(model, nn.Module):
        model.eval()
    acts = stream(model, Stimuli.from_array(x, ids=range(len(x))), progress=False)
    for address, layout in acts.run.layouts.items():
        assert len(set(layout.dims)) == len(layout.dims), address
        assert "stimulus" not in layout.dims
    return {address: layout.dims for address, layout in acts.run.layouts.items()}


IMAGES, SOUNDS, VIDEOS = torch.rand(2, 3, 16, 16), torch.rand(2, 1, 40), torch.rand(2, 3, 4, 8, 8)
TOKENS = torch.rand(3, 5, 8)
SPACE = ("channel", "y", "x")


@pytest.mark.parametrize(
    ("model", "x", "operation", "dims"),
    [
        (nn.Conv2d(3, 4, 3), IMAGES, "conv2d", SPACE),
        (nn.Conv2d(3, 6, 3, groups=3), IMAGES, "conv2d", SPACE),
        (nn.ConvTranspose2d(3, 4, 2), IMAGES, "conv_transpose2d", SPACE),
        (nn.Conv1d(1, 4, 3), SOUNDS, "conv1d", ("channel", "t")),
        (nn.Conv3d(3, 4, 3), VIDEOS, "conv3d", ("channel", "t", "y", "x")),
        (nn.MaxPool2d(2), IMAGES, "max_pool2d", SPACE),
        (nn.AdaptiveAvgPool2d(1), IMAGES, "adaptive_avg_pool2d", SPACE),
        (nn.BatchNorm2d(3), IMAGES, "batch_norm", SPACE),
        (nn.GroupNorm(1, 3), IMAGES, "group_norm", SPACE),
        (nn.Upsample(scale_factor=2), IMAGES, "interpolate.upsample_nearest2d", SPACE),
        (nn.Flatten(), IMAGES, "flatten", ("unit",)),
        (lambda x: x.reshape(len(x), -1), IMAGES, "reshape", ("unit",)),
        (lambda x: x.mean((2, 3)), IMAGES, "mean", ("channel",)),
        (lambda x: x.mean((-1, -2), keepdim=True), IMAGES, "mean", SPACE),
        (lambda x: x.flatten(2).transpose(1, 2), IMAGES, "transpose", ("token", "feature")),
        (lambda x: x.permute(0, 2, 3, 1), IMAGES, "permute", ("y", "x", "channel")),
        (lambda x: F.linear(x.permute(0, 2, 3, 1), torch.rand(5, 3)), IMAGES, "linear", ("y", "x", "channel")),
        (lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2) * 2, IMAGES, "mul", SPACE),
        (lambda x: torch.cat([x, x], 1), IMAGES, "cat", SPACE),
        (lambda x: x[:, :, ::2, None], IMAGES, "getitem", ("channel", "y", "axis_3", "x")),
        (lambda x: x[:, 0], IMAGES, "getitem", ("y", "x")),
        (lambda x: x[..., 0], IMAGES, "getitem", ("channel", "y")),
        (lambda x: x.unsqueeze(-1).squeeze(-1) + 1, IMAGES, "add", SPACE),
        (lambda x: x.select(2, 0), IMAGES, "select", ("channel", "x")),
        (nn.Linear(4, 2), torch.rand(3, 4), "linear", ("unit",)),
        (nn.Linear(8, 2), TOKENS, "linear", ("token", "feature")),
        (nn.LayerNorm(8), TOKENS, "layer_norm", ("token", "feature")),
        (nn.Embedding(9, 4), torch.randint(0, 9, (3, 5)), "embedding", ("token", "feature")),
        (nn.LSTM(8, 4, batch_first=True), TOKENS, "lstm[0]", ("token", "feature")),
        (lambda x: x.transpose(0, 1).relu(), TOKENS, "relu", ("token", "feature")),
        (lambda x: x.unflatten(-1, (2, 4)), TOKENS, "unflatten", ("token", "axis_2", "feature")),
        (lambda x: x @ x.mT, TOKENS, "matmul", ("query", "key")),
        (lambda x: (x @ x.mT).softmax(-1) @ x, TOKENS, "matmul_1", ("token", "feature")),
        (lambda x: torch.einsum("bqf,bkf->bqk", x, x), TOKENS, "einsum", ("query", "key")),
        (lambda x: torch.einsum("bqf,fu->bqu", x, torch.ones(8, 2)), TOKENS, "einsum", ("token", "axis_2")),
        (lambda x: x.sum((1, 2)), TOKENS, "sum", ()),
    ],
)  # fmt: skip
def test_dims_of_single_operations(model, x, operation, dims):
    assert find_dims(model, x)[operation] == dims


HEADS = ("head", "query", "key")


@pytest.mark.parametrize("stimulus_first", [True, False])
@pytest.mark.parametrize("weights", [True, False])
def test_multihead_attention(stimulus_first, weights):
    attention = nn.MultiheadAttention(8, 2, batch_first=stimulus_first)

    def model(x):
        x = x if stimulus_first else x.transpose(0, 1)
        return attention(x, x, x, need_weights=weights, average_attn_weights=False)[0]

    dims = find_dims(model, TOKENS)
    inside = "MultiheadAttention.multi_head_attention_forward."
    assert dims[inside + "linear"] == ("token", "feature")
    if weights:
        assert dims[inside + "softmax"] == dims[inside + "bmm"] == HEADS
        assert dims[inside + "bmm_1"] == ("head", "token", "feature")
    else:
        assert dims[inside + "scaled_dot_product_attention"] == ("head", "token", "feature")
    assert dims[inside + "linear_1"] == ("token", "feature")


class Recurrent(nn.Module):
    """A recurrent layer that wants (token, stimulus, feature), between two that want the stimulus first."""

    def __init__(self, kind):
        super().__init__()
        self.first = nn.Linear(8, 6)
        self.layer = kind(6, 4, bidirectional=True)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        y, _ = self.layer(self.first(x).transpose(0, 1))
        return self.last(y.transpose(0, 1)).mean(1)


@pytest.mark.parametrize(("kind", "name"), [(nn.LSTM, "lstm"), (nn.GRU, "gru"), (nn.RNN, "rnn_tanh")])
def test_a_recurrent_layer_whose_stimulus_is_second(kind, name):
    model = Recurrent(kind)
    dims = find_dims(model, TOKENS)
    for address in ("first.linear", "transpose", f"layer.{name}[0]", "transpose_1", "last.linear"):
        assert dims[address] == ("token", "feature"), address
    assert dims[f"layer.{name}[1]"] == ("axis_1", "feature")  # directions
    assert dims["mean"] == ("feature",)
    acts = stream(model, Stimuli.from_array(TOKENS, ids=list("abc")), progress=False)
    inside = acts[f"layer.{name}[0]"]
    assert inside.dims == ("stimulus", "token", "feature")
    with torch.no_grad():  # the layer alone, on one stimulus at a time
        for k, stimulus in enumerate(inside.stimulus.values):
            alone = model.layer(model.first(TOKENS[k : k + 1]).transpose(0, 1))[0][:, 0]
            torch.testing.assert_close(torch.tensor(inside.sel(stimulus=stimulus).values), alone)


class Branching(nn.Module):
    """Bright images take a convolution, dark ones a pooling: its graph differs between stimuli."""

    def __init__(self):
        super().__init__()
        self.bright, self.dark = nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)
        self.scale = nn.Parameter(torch.rand(3, 1, 1))

    def forward(self, x):
        x = x * self.scale.exp()
        return self.bright(x) if bool((x.mean((1, 2, 3)) > 0).all()) else self.dark(x)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_model_whose_graph_differs_between_stimuli_has_the_dims_of_its_branch(sign):
    dims = find_dims(Branching(), sign * (IMAGES + 0.1))
    assert dims["bright.conv2d" if sign > 0 else "dark.max_pool2d"] == SPACE
    assert dims["mul"] == SPACE
    assert dims["exp"] == ("axis_1", "axis_2", "axis_3")  # of the parameters: static


def test_a_detection_model_names_what_has_stimuli_and_gives_the_reason_for_the_rest():
    model = models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=3,
        min_size=64,
        max_size=64,
        rpn_post_nms_top_n_test=5,
    ).eval()
    images = Stimuli.from_array(torch.rand(2, 3, 64, 64), ids=["a", "b"])
    acts = stream(lambda x: model(list(x)), images, progress=False)
    layouts = acts.run.layouts
    backbone = [a for a in layouts if ".body." in a and a.endswith("conv2d")]
    assert len(backbone) > 40
    assert all(layouts[a].dims == SPACE and not layouts[a].is_static for a in backbone)
    boxes = [a for a in acts.run.left_out if ".nms" in a or "roi_align" in a]
    assert boxes
    assert all(acts.run.left_out.values())


def explicit_attention(x):
    q, k, v = x.repeat(1, 1, 3).reshape(*x.shape[:2], 3, 2, 4).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-2, -1)).softmax(-1)
    return (weights @ v).transpose(1, 2).reshape(x.shape) + x, (weights * 2).mean(1)


def test_explicit_attention():
    dims = find_dims(explicit_attention, TOKENS)
    assert dims["matmul"] == dims["softmax"] == dims["mul"] == HEADS
    assert dims["matmul_1"] == ("head", "token", "feature")
    assert dims["reshape_1"] == dims["add"] == ("token", "feature")
    assert dims["mean"] == ("query", "key")


def test_vision_transformer_with_its_class_token():
    dims = find_dims(VisionTransformer(32, 8, 1, 2, 24, 48), torch.rand(2, 3, 32, 32))
    assert dims["conv_proj.conv2d"] == SPACE
    for address in ("permute", "cat", "encoder.add", "encoder.ln.layer_norm"):
        assert dims[address] == ("token", "feature"), address
    assert dims["encoder.layers.encoder_layer_0.mlp.0.linear"] == ("token", "feature")
    assert dims["getitem"] == ("feature",)
    assert dims["heads.head.linear"] == ("unit",)


def test_swin_windows_are_undone():
    dims = find_dims(SwinTransformer([2, 2], 24, [2], [2], [2, 2]), torch.rand(2, 3, 16, 16))
    assert dims["features.1.0.attn.reshape"] == ("axis_1", "axis_2", "channel")  # window, token in it
    assert dims["features.1.0.attn.softmax"] == ("axis_1", *HEADS)
    assert dims["features.1.0.attn.matmul_1"] == ("axis_1", "head", "token", "feature")
    assert dims["features.1.0.add"] == dims["features.1.0.mlp.0.linear"] == ("y", "x", "channel")
    assert dims["permute.permute"] == SPACE


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (models.resnet18, 32),
        (models.densenet121, 32),
        (models.convnext_tiny, 32),
        (models.shufflenet_v2_x0_5, 32),
        (lambda: MaxVit((32, 32), 16, 2, [16], [1], 8, stochastic_depth_prob=0.0), 32),
    ],
    ids=["resnet", "densenet", "convnext", "shufflenet", "maxvit"],
)
def test_whatever_a_convolution_reads_or_gives_is_channel_y_x(build, size):
    dims = find_dims(build(), torch.rand(2, 3, size, size))
    spatial = [a for a in dims if a.endswith(("conv2d", "pool2d", "batch_norm"))]
    assert len(spatial) >= 5
    for address in spatial:
        assert dims[address] == SPACE, address
    assert [d for a, d in dims.items() if a.endswith("linear")][-1] == ("unit",)


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [
        ([(("y", 4),), (("x", 6),)], (24,), [(("y", 4), ("x", 6))]),
        ([(("y", 4), ("x", 6))], (4, 6), [(("y", 4),), (("x", 6),)]),
        ([(("feature", 12),)], (3, 4), [(("", 3),), (("feature", 4),)]),
        ([(("token", 12),)], (3, 4), [(("", 3),), (("", 4),)]),
        ([(("y", 4),), (("x", 6),)], (8, 3), [(("y", 4), ("", 2)), (("", 3),)]),
        ([(("y", 4),), (("x", 6),)], (3, 8), None),
        ([(("y", 4),)], (1, 4, 1), [(("", 1),), (("y", 4),), (("", 1),)]),
        ([(("channel", 5),), (("y", 1),), (("x", 1),)], (5,), [(("channel", 5),)]),
        ([(("y", 4),)], (3,), None),
    ],
)
def test_regroup(axes, shape, expected):
    assert regroup(axes, shape) == expected
