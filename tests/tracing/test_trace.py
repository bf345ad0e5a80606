"""A trace as users hold it, against plain forward hooks and torch itself."""

import gc
import weakref

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import neurolens as nl
from neurolens.errors import AddressError, InputError, ModelError, TraceError
from neurolens.models import Model


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        y = self.act(self.conv(x))
        y = y + y.mean((2, 3), keepdim=True)
        y = self.act(y)
        return self.fc(y.flatten(2).mean(-1))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Block().eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(4, 3, 6, 7, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def traced(model, images):
    return nl.trace(model, images)


def test_addresses_in_execution_order(traced):
    assert list(traced) == [
        "input",
        "conv.conv2d",
        "act.relu",
        "mean",
        "add",
        "flatten",
        "mean_1",
        "fc.linear",
    ]


def test_passes_of_a_module_called_twice(traced):
    relu = traced["act.relu"]
    assert relu.n_passes == 2
    assert [p.address for p in relu.passes] == ["act.relu:1", "act.relu:2"]
    assert relu.activation.sizes == {"stimulus": 4, "pass": 2, "channel": 8, "y": 6, "x": 7}
    assert relu.activation["pass"].values.tolist() == [1, 2]
    with pytest.raises(AddressError, match=r"ran 2 times.*act\.relu:1"):
        _ = relu.tensor
    with pytest.raises(AddressError, match="no pass 3"):
        _ = traced["act.relu:3"].tensor


def test_activations_equal_what_hooks_see(model, images, traced):
    seen = []
    hooks = [
        m.register_forward_hook(lambda m, i, o: seen.append(o.clone()))
        for m in (model.conv, model.act, model.fc)
    ]
    out = model(images)
    for hook in hooks:
        hook.remove()
    assert torch.equal(traced["conv"].tensor, seen[0])  # kept although relu_ overwrote it
    assert torch.equal(traced["act:1"].tensor, seen[1])
    assert torch.equal(traced["act:2"].tensor, seen[2])
    assert torch.equal(traced["fc"].tensor, out)
    assert torch.equal(traced["output"].tensor, out)
    np.testing.assert_array_equal(traced["fc.linear"].activation.values, out.detach().numpy())


def test_labels(traced):
    array = traced["conv.conv2d"].activation
    assert array.dims == ("stimulus", "channel", "y", "x")
    assert array.stimulus.values.tolist() == ["0", "1", "2", "3"]
    assert array.attrs["function"] == "conv2d"
    assert array.attrs["module"] == "conv"
    assert array.attrs["model"] == "Block"
    assert 0 < array.attrs["depth"] < 1
    assert array.attrs["weights"]
    assert traced["fc.linear"].activation.dims == ("stimulus", "unit")


def test_arrays_cannot_be_written_through(traced):
    with pytest.raises(ValueError, match=r"read-only|view"):
        traced["fc.linear"].activation[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        traced["fc.linear"].activation.values[0] = 0


def test_graph_of_operations(traced):
    assert [p.address for p in traced["add"].parents] == ["act.relu:1", "mean"]
    assert [c.address for c in traced["act.relu:1"].children] == ["mean", "add", "act.relu:2"][:2]
    assert traced["input"].depth == 0
    assert traced["fc.linear"].depth == 1
    assert traced["add"].distances == (4, 4)


def test_what_an_operation_knows(traced, images):
    conv = traced["conv.conv2d"]
    assert conv.name == "conv2d"
    assert conv.module.path == "conv"
    assert conv.module.type == "Conv2d"
    assert conv.shape == (4, 8, 6, 7)
    assert conv.dtype is torch.float32
    assert conv.device.type == "cpu"
    assert conv.bytes == 4 * 8 * 6 * 7 * 4
    assert set(conv.parameters) == {"conv.weight", "conv.bias"}
    assert conv.arguments[0] == "input"
    assert not conv.mutates
    assert traced["act.relu"].mutates
    assert traced["add"].source.text == "y = y + y.mean((2, 3), keepdim=True)"
    assert conv.source.text == "y = self.act(self.conv(x))"
    assert traced["flatten"].arguments == {0: "act.relu:2", 1: 2}


@pytest.mark.parametrize(("training", "random"), [(True, True)])
def test_random_operations_are_marked(training, random):
    traced = nl.trace(nn.Dropout(0.5).train(training), torch.ones(2, 3))
    assert traced["dropout"].is_random is random
    assert not traced["input"].is_random


def test_table(traced):
    frame = traced.to_frame()
    assert list(frame.index) == list(traced)
    assert frame.loc["act.relu", "passes"] == 2
    assert frame.loc["conv.conv2d", "shape"] == "4x8x6x7"
    assert frame.loc["add", "parents"] == ("act.relu:1", "mean")
    assert frame.depth.is_monotonic_increasing or frame.depth.max() == 1


def test_text_fits_on_a_screen():
    traced = nl.trace(torchvision.models.resnet18().eval(), torch.randn(1, 3, 32, 32), keep=None)
    lines = repr(traced).splitlines()
    assert len(lines) <= 30
    assert lines[0].startswith("Trace of ResNet: 62 operations, 70 steps")
    assert "<details>" in traced._repr_html_()


def test_html_is_escaped():
    class Evil(nn.Module):
        def forward(self, x):
            return x + 1

    holder = nn.Module()
    holder.add_module("<script>alert(1)</script>", Evil())
    holder.forward = lambda x: next(holder.children())(x)
    assert "<script>" not in nl.trace(holder, torch.ones(2))._repr_html_()


def test_keep_by_pattern_holds_nothing_else(model, images):
    traced = nl.trace(model, images, keep="**.conv2d")
    assert list(traced.activations) == ["conv.conv2d"]
    assert torch.equal(traced["conv"].tensor, model.conv(images))
    with pytest.raises(TraceError, match="was not kept"):
        _ = traced["fc.linear"].activation
    assert len(traced) == 8


def test_keep_module_output_pass_and_function(model, images):
    assert nl.trace(model, images, keep=["act:2", "output"])["act.relu:2"].tensor.shape == (4, 8, 6, 7)
    traced = nl.trace(model, images, keep=lambda op: op.name.startswith("mean"))
    assert list(traced.activations) == ["mean", "mean_1"]
    assert list(nl.trace(model, images, keep=None).activations) == []


def test_keep_that_matches_nothing_is_an_error(model, images):
    with pytest.raises(AddressError, match=r"conv\.conv3d.*conv\.conv2d"):
        nl.trace(model, images, keep="conv.conv3d")


def test_unknown_address_lists_near_misses(traced):
    with pytest.raises(AddressError, match=r"conv\.conv2d"):
        traced["conv.conv2"]


def test_find(traced):
    assert traced.find("mean*") == ["mean", "mean_1"]
    assert traced.find(["add", "fc"]) == ["add", "fc"]


@pytest.mark.parametrize(
    "inputs",
    [
        (torch.ones(2, 3), torch.zeros(2, 3)),
        {"x": torch.ones(2, 3), "y": torch.zeros(2, 3)},
    ],
)
def test_positional_and_keyword_inputs(inputs):
    def add(x, y):
        return x + y

    traced = nl.trace(add, inputs)
    assert torch.equal(traced["add"].tensor, torch.ones(2, 3))
    assert set(traced.inputs) == {"input.x", "input.y"}


def test_seed_is_for_this_run_alone():
    model = nn.Dropout(0.5)
    x = torch.ones(100)
    torch.manual_seed(7)
    expected = model(x)
    state = torch.get_rng_state()
    traced = nl.trace(model, x, seed=7)
    assert torch.equal(traced["dropout"].tensor, expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_traced_under_a_seed_as_run_under_it():
    model = nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.5))
    x = torch.ones(3, 5)
    torch.manual_seed(3)
    expected = model(x)
    after = torch.rand(1)
    torch.manual_seed(3)
    traced = nl.trace(model, x)
    assert torch.equal(traced["output"].tensor, expected)
    assert torch.equal(torch.rand(1), after)


def test_memory_goes_with_the_trace(model, images):
    gc.disable()
    try:
        traced = nl.trace(model, images)
        tensor = weakref.ref(traced["conv.conv2d"].tensor)
        del traced
        assert tensor() is None
    finally:
        gc.enable()


def test_written_after_the_trace_is_an_error_not_a_wrong_number(model):
    x = torch.randn(2, 3, 4, 4)
    traced = nl.trace(model, x)
    x.zero_()
    with pytest.raises(TraceError, match="written after it was recorded"):
        _ = traced["input"].activation


def test_several_results():
    traced = nl.trace(nn.LSTM(3, 4, batch_first=True), torch.randn(2, 5, 3))
    assert traced["lstm[0]"].activation.shape == (2, 5, 4)
    with pytest.raises(AddressError, match=r"lstm\[0\]"):
        _ = traced["lstm"].activation


def test_not_a_model():
    with pytest.raises(ModelError, match="no model"):
        nl.trace("resnet50", torch.ones(1))


def test_trace_inside_a_trace_is_refused():
    def nested(x):
        return nl.trace(nn.ReLU(), x)["relu"].tensor

    with pytest.raises(TraceError, match="already"):
        nl.trace(nested, torch.ones(2))


def test_errors_of_the_model_are_raised_and_nothing_is_left(images):
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("no luck")

    plain, code, thresholds = nn.Module.__call__, nn.Module.__call__.__code__, gc.get_threshold()
    with pytest.raises(RuntimeError, match="no luck"):
        nl.trace(Broken(), images)
    assert nn.Module.__call__ is plain
    assert plain.__code__ is code
    assert gc.get_threshold() == thresholds
    assert torch._C._len_torch_function_stack() == 0


def test_stimuli_are_inputs():
    stimuli = nl.Stimuli.from_array(np.random.default_rng(0).random((3, 4), "float32"), ids=["a", "b", "c"])
    traced = nl.trace(nn.Linear(4, 2), stimuli)
    assert traced["linear"].activation.stimulus.values.tolist() == ["a", "b", "c"]


def test_draw(traced, tmp_path):
    graph = traced.draw()
    assert graph.source.count("label=") > len(traced)
    assert '"act.relu\uff1a1" -> add' in graph.source
    rolled = traced.draw(rolled=True).source
    assert '"act.relu" -> add' in rolled
    assert "2 passes" in rolled
    for suffix, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".dot", b"digraph")):
        path = tmp_path / f"graph{suffix}"
        traced.draw(path, color={"conv.conv2d": 0.5, "add": 1.0}, label="depth <b>")
        assert path.read_bytes().startswith(start)
    assert "viridis" not in graph.source
    with pytest.raises(InputError, match="suffix"):
        traced.draw(tmp_path / "graph.bmp")
    with pytest.raises(InputError, match="no finite number"):
        traced.draw(color={"nothing": 1.0})


def test_draw_folds_modules():
    traced = nl.trace(torchvision.models.resnet18().eval(), torch.randn(1, 3, 32, 32), keep=None)
    source = traced.draw(fold=1).source
    assert "layer1 -> layer2" in source
    assert "layer1.0" not in source
    with pytest.raises(InputError, match="fold=0"):
        traced.draw(fold=0)


def test_a_class_is_no_model():
    with pytest.raises(ModelError, match=r"ReLU is a class.*ReLU\(\.\.\.\)"):
        nl.trace(nn.ReLU, torch.ones(1))


@pytest.mark.parametrize("inputs", ["hello", None, np.ones((1, 2))])
def test_inputs_of_the_wrong_kind(inputs):
    with pytest.raises(TypeError, match="must be Tensor") as caught:
        nl.trace(nn.Linear(2, 2), inputs)
    assert "Give a tensor" in caught.value.__notes__[0]


def test_keep_of_the_wrong_kind():
    with pytest.raises(InputError, match="keep=3"):
        nl.trace(nn.ReLU(), torch.ones(1), keep=3)


def test_model_of_a_fixed_batch_has_no_stimulus_and_says_why():
    traced = nl.trace(lambda x: x.view(4, 6).sum(1), torch.ones(4, 2, 3))
    array = traced["view"].activation
    assert array.dims == ("axis_1", "axis_2")
    assert "did not run on batches of 2 and 3" in array.attrs["stimulus_axis"]
    assert traced.validate()


def test_meta_tensors_have_a_structure_and_no_values():
    traced = nl.trace(nn.Linear(3, 2, device="meta"), torch.ones(2, 3, device="meta"))
    assert traced["linear"].shape == (2, 2)
    assert list(traced.activations) == []
    with pytest.raises(InputError, match="on meta"):
        _ = traced["linear"].activation
    with pytest.raises(InputError, match="nothing to prove"):
        traced.validate()


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantised_tensors_are_recorded_and_have_no_array():
    quantised = torch.quantize_per_tensor(torch.randn(3, 3), 0.1, 0, torch.qint8)
    traced = nl.trace(lambda x: x.dequantize() + 1, quantised)
    assert torch.equal(traced["input"].tensor, quantised)
    assert traced["add"].activation.dims == ("stimulus", "unit")
    with pytest.raises(InputError, match="no plain array"):
        _ = traced["input"].activation


def test_interrupted_by_hand():
    def model(x):
        raise KeyboardInterrupt

    plain, code = nn.Module.__call__, nn.Module.__call__.__code__
    with pytest.raises(KeyboardInterrupt):
        nl.trace(model, torch.ones(2))
    assert nn.Module.__call__ is plain
    assert plain.__code__ is code
    assert torch._C._len_torch_function_stack() == 0


def test_gradients_equal_autograd():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 5))
    x = torch.randn(2, 3, 6, 6)
    traced = nl.trace(model, x, gradients=True)
    with pytest.raises(TraceError, match="no gradient"):
        _ = traced["0.conv2d"].gradient
    traced.outputs["output"].pow(2).sum().backward()
    conv = model[0](x)
    conv.retain_grad()
    relu = torch.relu(conv)
    relu.retain_grad()
    out = model[3](model[2](relu))
    out.retain_grad()
    out.pow(2).sum().backward()
    for address, truth in (("0.conv2d", conv), ("1.relu", relu), ("3.linear", out)):
        gradient = traced[address].gradient
        assert gradient.dims == traced[address].activation.dims
        np.testing.assert_array_equal(gradient.values, truth.grad.numpy())
    with pytest.raises(TraceError, match="gradients=True"):
        _ = nl.trace(model, x)["0.conv2d"].gradient


@pytest.mark.filterwarnings("ignore::neurolens.errors.NeurolensWarning")
def test_branches_say_line_side_and_decider():
    def model(x):
        y = torch.relu(x) if x.mean() > -5 else x
        while y.max() < 20:
            y = y * 3 + 1
        if True:
            y = y - 1
        return y

    traced = nl.trace(model, torch.ones(2, 3))
    assert traced["relu"].branch.taken
    assert traced["relu"].branch.decided_by == ("gt",)
    assert traced["relu"].branch.source.text == "y = torch.relu(x) if x.mean() > -5 else x"
    assert traced["mul"].branch.decided_by == ("lt:1",)
    assert traced["mul:2"].branch.decided_by == ("lt:2",)
    assert traced["sub"].branch.decided_by == ()
    assert traced["mean"].branch is None


def test_a_trace_says_how_its_stimuli_were_prepared(model, images, tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((6, 7, 3), np.uint8)).save(tmp_path / "a.png")
    prepare = torchvision.transforms.ToTensor()
    loaded = Model(model, prepare, "block", "", "pixels over 255")
    read = nl.trace(loaded, nl.Stimuli.from_folder(tmp_path))
    ready = nl.trace(loaded, nl.Stimuli.from_array(images, ids=list("abcd")))
    plain = nl.trace(loaded, images)
    said = [t["conv.conv2d"].activation.attrs["preprocessing"] for t in (read, ready, plain)]
    assert said == ["pixels over 255", *2 * ["none: stimuli are given as the model takes them"]]


def test_dims_of_what_is_kept_are_those_of_a_trace_that_keeps_all():
    torch.manual_seed(0)
    swin = torchvision.models.swin_transformer.SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4]).eval()
    x = torch.rand(2, 3, 32, 32)
    everything = nl.trace(swin, x).activations
    for pattern in ("**.softmax", "**.attn", "features.1.0.norm1", "**.linear"):
        some = nl.trace(swin, x, keep=pattern).activations
        for address, array in some.items():
            assert array.dims == everything[address].dims, address
            np.testing.assert_array_equal(array.values, everything[address].values)
        assert len(some)
