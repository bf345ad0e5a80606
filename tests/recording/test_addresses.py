"""Names: the table of small models, what an address means, patterns, and errors that help."""

import collections

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import CASES
from torch import nn
from torchvision import models

from neurolens.errors import AddressError
from neurolens.recording.addresses import assign_names, expand, matches, resolve, results, select
from neurolens.recording.recorder import record

BY_NAME = {case.name: case for case in CASES}


def trace(case):
    torch.manual_seed(0)
    args, kwargs = case.inputs()
    recording = record(case.build(), args, kwargs)
    return recording, assign_names(recording)


def say(places, always_count=False):
    return " ".join(
        f"{address}:{len(place.passes)}" if always_count or len(place.passes) > 1 else address
        for address, place in places
    )


def test_the_table_is_a_table():
    assert len(CASES) >= 60
    assert all(case.why for case in CASES)
    assert [name for name, n in collections.Counter(c.name for c in CASES).items() if n > 1] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_names_are_those_of_the_table(case):
    _, names = trace(case)
    found = {
        "ops": say((a, p) for a, p in names.operations.items() if a != names.input),
        "composites": say((a, p) for a, p in names.places.items() if p.kind == "composite"),
        "modules": say(((a, p) for a, p in names.places.items() if p.kind == "module"), always_count=True),
        "in_names": " ".join(names.inputs),
        "out_names": " ".join(names.outputs),
    }
    expected = {field: getattr(case, field) for field in found if getattr(case, field) is not None}
    assert {field: found[field] for field in expected} == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_event_has_one_address_and_pass(case):
    recording, names = trace(case)
    named = [names.of_event[event.index] for event in recording.events]
    assert len({(place.address, number) for place, number in named}) == len(recording.events)
    for event, (place, number) in zip(recording.events, named, strict=True):
        assert place.name == event.facts.name or place.composite or event.facts.name in place.name
        assert place.passes[number - 1] is event


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_names_do_not_depend_on_grad_mode(case):
    recording, names = trace(case)
    with torch.no_grad():
        again, names_again = trace(case)
    assert list(names.places) == list(names_again.places)
    assert len(recording.events) == len(again.events)


class Bottom(nn.Module):
    """A block that can hold one more operation than it did."""

    def __init__(self, extra):
        super().__init__()
        self.extra, self.lin = extra, nn.Linear(4, 4)

    def forward(self, x):
        if self.extra:
            x = (x + 1).relu()
        return self.lin(x).relu() + 2


def test_an_operation_more_in_one_module_renames_nothing_in_another():
    without, with_ = (
        assign_names(
            record(nn.Sequential(Bottom(extra), Bottom(False), nn.ReLU()), (torch.ones(2, 4),))
        ).operations
        for extra in (False, True)
    )
    outside = [[a for a in names if not a.startswith("0.")] for names in (without, with_)]
    assert outside[0] == outside[1]
    assert set(without) < set(with_)


# ---------------------------------------------------------------------- what an address means


def value_of(recording, names, address):
    (value,) = resolve(names, address).values
    return recording.tensors[value]


def test_passes_are_asked_for_by_number():
    recording, names = trace(BY_NAME["loop"])
    x = BY_NAME["loop"].inputs()[0][0]
    for number in (1, 2, 3):
        x = torch.tanh(x)
        assert torch.equal(value_of(recording, names, f"tanh:{number}"), x)
    assert len(resolve(names, "tanh").values) == 3


def test_parts_of_a_result_are_asked_for_by_field():
    x = torch.tensor([[1.0, 5.0, 3.0]])
    recording = record(lambda x: torch.topk(x, 2), (x,))
    names = assign_names(recording)
    assert value_of(recording, names, "topk[values]").tolist() == [[5.0, 3.0]]
    assert value_of(recording, names, "topk[indices]").tolist() == [[1, 2]]
    assert value_of(recording, names, "topk[values]:1").tolist() == [[5.0, 3.0]]
    assert value_of(recording, names, "topk:1[indices]").tolist() == [[1, 2]]
    assert [t.address for t in expand(names, "topk")] == ["topk[values]", "topk[indices]"]


@pytest.mark.parametrize(
    ("function", "fields"),
    [
        (lambda x: torch.sort(x), ["values", "indices"]),
        (lambda x: torch.max(x, 1), ["values", "indices"]),
        (lambda x: torch.linalg.svd(x), ["U", "S", "Vh"]),
        (lambda x: torch.linalg.qr(x), ["Q", "R"]),
        (lambda x: torch.var_mean(x), [0, 1]),
        (lambda x: torch.linalg.slogdet(x[:, :2]), ["sign", "logabsdet"]),
        (lambda x: torch.frexp(x), ["mantissa", "exponent"]),
    ],
)
def test_fields_hold_what_torch_says_they_hold(function, fields):
    x = torch.linspace(-1, 1, 6).reshape(2, 3)
    truth = function(x)
    recording = record(function, (x,))
    names = assign_names(recording)
    for position, field in enumerate(fields):
        value = recording.tensors[names.outputs[f"output[{field}]"]]
        assert torch.equal(value, truth[position] if isinstance(field, int) else getattr(truth, field))


def test_a_module_means_its_output_and_each_call_of_it():
    model = models.resnet18().eval()
    outputs = collections.defaultdict(list)
    for path, module in model.named_modules():
        module.register_forward_hook(lambda _, args, out, path=path: outputs[path].append(out.clone()))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        model(x)
        truth = {path: list(found) for path, found in outputs.items()}
        recording = record(model, (x,))
    names = assign_names(recording)
    assert set(truth) == {path for path, _ in model.named_modules()}
    for path, found in truth.items():
        target = resolve(names, path)
        assert len(target.values) == len(found)
        for number, out in enumerate(found, 1):
            assert torch.equal(recording.tensors[target.values[number - 1]], out), path
            if path:
                assert torch.equal(value_of(recording, names, f"{path}:{number}"), out)
    assert len(truth["layer4.1.relu"]) == 2
    assert torch.equal(value_of(recording, names, "output"), truth["fc"][0])


def test_a_module_under_two_names_answers_to_both():
    _, names = trace(BY_NAME["TwoNames"])
    assert resolve(names, "b").values == resolve(names, "a").values
    assert resolve(names, "b.linear:2").values == resolve(names, "a.linear:2").values


def test_several_inputs_are_not_one_tensor():
    _, names = trace(BY_NAME["two_inputs"])
    assert [t.address for t in expand(names, "input")] == ["input.left", "input.right"]
    with pytest.raises(AddressError, match=r"input\.left"):
        resolve(names, "input")


# ---------------------------------------------------------------------- errors that help


@pytest.mark.parametrize(
    ("model", "address", "says"),
    [
        ("loop", "tahn", "tanh"),
        ("loop", "tanh:4", "3 time"),
        ("loop", "tanh:0", "3 time"),
        ("Residual", "conv1.conv2", "conv1.conv2d"),
        ("named_fields", "topk", r"topk\[values\]"),
        ("named_fields", "topk[nothing]", r"topk\[values\]"),
        ("loop", "", "no module|called ''"),
        ("iteration", "tanh:3", "2 time"),
    ],
)
def test_a_wrong_address_says_what_there_is(model, address, says):
    _, names = trace(BY_NAME[model])
    with pytest.raises(AddressError, match=says):
        resolve(names, address)


def test_a_pattern_that_matches_nothing_lists_near_misses():
    _, names = trace(BY_NAME["Residual"])
    with pytest.raises(AddressError, match=r"conv1\.conv2d"):
        select(names, "*.conv3d")


# ---------------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("**", "input conv1.conv2d bn1.batch_norm relu.relu conv2.conv2d bn2.batch_norm add"),
        ("*", "input conv1.conv2d bn1.batch_norm relu.relu conv2.conv2d bn2.batch_norm add"),
        ("**.conv2d", "conv1.conv2d conv2.conv2d"),
        ("**.add", "add"),
        ("conv?.*", "conv1.conv2d conv2.conv2d"),
        ("bn?", "bn1 bn2"),
        ("relu:2", "relu:2"),
        (["add", "conv1", "add"], "add conv1"),
    ],
)
def test_patterns_choose(pattern, expected):
    _, names = trace(BY_NAME["Residual"])
    assert [target.address for target in select(names, pattern)] == expected.split()


@pytest.mark.parametrize(
    ("pattern", "address", "truth"),
    [
        ("layer*.add", "layer1.0.add", True),
        ("**.add", "add", True),
        ("**.add", "xadd", False),
        ("a.b", "axb", False),
        ("split[0]", "split[0]", True),
        ("split[0]", "split0", False),
        ("a*", "ba", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
    ],
)
def test_globs_mean_what_they_say(pattern, address, truth):
    assert matches(pattern, address) is truth


ADDRESS_TEXT = st.text(alphabet="ab01_.:[]*?\\( tanhmul\n", max_size=14) | st.text(max_size=8)


@settings(max_examples=300, deadline=None)
@given(ADDRESS_TEXT)
def test_any_text_is_an_address_or_an_address_error(text):
    _, names = FUZZED
    for choose in (resolve, expand, select):
        try:
            found = choose(names, text)
        except AddressError:
            continue
        assert found


FUZZED = trace(BY_NAME["nested_loops"])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CASES), st.data())
def test_every_address_is_found_by_itself_and_by_globs_made_of_it(case, data):
    _, names = trace(case)
    address = data.draw(st.sampled_from(list(names.operations)))
    cut = data.draw(st.integers(0, len(address)))
    targets = {target.address for target in expand(names, address)}
    assert targets
    assert targets <= {target.address for target in select(names, address[:cut] + "*")}
    for target in expand(names, address):
        assert resolve(names, target.address).values == target.values


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_passes_of_a_result_are_the_results_of_passes(case):
    _, names = trace(case)
    for address, place in names.operations.items():
        if address == names.input:
            continue
        for number, item in enumerate(place.passes, 1):
            for label, value in results(item).items():
                assert resolve(names, f"{address}:{number}{label}").values == (value,)
