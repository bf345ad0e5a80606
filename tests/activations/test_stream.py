import inspect
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from neurolens.activations.stream import stream
from neurolens.errors import AddressError, InputError, ModelError, NeurolensWarning, StimulusError
from neurolens.models import Model
from neurolens.stimuli import Stimuli


def make_stimuli(x, **options):
    return Stimuli.from_array(x, ids=[f"s{i}" for i in range(len(x))], **options)


def hooked(model, x, paths, batch_size):
    """What plain forward hooks see, batch after batch."""
    seen = {path: [] for path in paths}
    handles = [
        model.get_submodule(path).register_forward_hook(
            lambda module, args, out, path=path: seen[path].append(out.detach().clone())
        )
        for path in paths
    ]
    with torch.no_grad():
        for start in range(0, len(x), batch_size):
            model(x[start : start + batch_size])
    for handle in handles:
        handle.remove()
    return {path: torch.cat(parts).numpy() for path, parts in seen.items()}


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    return models.resnet18().eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(7, 3, 32, 32, generator=torch.Generator().manual_seed(1))


MODULES = ("conv1", "layer1.0.conv2", "layer2.0", "layer3", "avgpool", "fc")


def test_stream_equals_plain_hooks(resnet, images):
    truth = hooked(resnet, images, MODULES, 3)
    acts = stream(resnet, make_stimuli(images), ops=MODULES, batch_size=3, progress=False)
    assert list(acts) == list(MODULES)
    for path, array in acts.items():
        np.testing.assert_array_equal(array.values, truth[path], err_msg=path)
        assert array.dims[0] == "stimulus"
        assert array.stimulus.values.tolist() == [f"s{i}" for i in range(7)]


def test_modules_can_be_read_where_all_operations_are_streamed(resnet, images):
    truth = hooked(resnet, images, MODULES, 32)
    acts = stream(resnet, make_stimuli(images), progress=False)
    for path in MODULES:
        np.testing.assert_array_equal(acts[path].values, truth[path], err_msg=path)
    np.testing.assert_array_equal(acts["output"].values, truth["fc"])


def test_a_smaller_budget_means_more_passes_and_the_same_numbers(resnet, images):
    stimuli = make_stimuli(images)
    whole = stream(resnet, stimuli, ops="layer*", batch_size=4, progress=False)
    budget = 2_000_000
    parts = stream(resnet, stimuli, ops="layer*", batch_size=4, memory=budget, progress=False)
    assert whole.n_passes_over_stimuli == 1
    assert parts.n_passes_over_stimuli > 2
    assert list(parts) == list(whole) == list(parts.addresses())
    for group in parts._groups:
        assert sum(whole[address].nbytes for address in group) <= budget
    for address, array in parts.items():
        np.testing.assert_array_equal(array.values, whole[address].values)


def test_select_streams_less(resnet, images):
    acts = stream(resnet, make_stimuli(images), progress=False)
    few = acts.select(["*.add", "fc.linear"])
    assert len(few) == 9
    np.testing.assert_array_equal(few["layer3.1.add"].values, acts["layer3.1.add"].values)
    with pytest.raises(AddressError, match=r"layer3\.1\.ad.*Near misses.*layer3\.1\.add"):
        acts.select("layer3.1.ad")
    with pytest.raises(AddressError, match=r"fc\.linear"):
        few["fc.linea"]


class Branches(nn.Module):
    """Takes another way for batches whose sum is negative; counts in integers; sums over the batch."""

    def forward(self, x):
        y = torch.relu(x) if x.sum() > 0 else x.exp()
        z = torch.relu(y + 1)
        if x[0, 0] > 2:
            z = z * (z > 3).long().cumsum(1)
        return z / x.sum(0)


BRANCHING = torch.tensor([[1.0, 2], [3, 4], [-1, -2], [-3, -4], [3, 1], [4, 4]])


def test_an_operation_that_did_not_run_is_missing_there_and_says_so():
    acts = stream(Branches(), make_stimuli(BRANCHING), ops=["relu*", "add"], batch_size=2, progress=False)
    plain = BRANCHING.clone()
    plain[2:4] = plain[2:4].exp()
    expected = torch.relu(torch.where(BRANCHING > 0, plain, plain) + 1)
    np.testing.assert_array_equal(
        acts["relu_1"].values, expected.numpy()
    )  # one position, also where it is first
    assert "missing_stimuli" not in acts["relu_1"].attrs
    first = acts["relu"]
    np.testing.assert_array_equal(first.values[[0, 1, 4, 5]], BRANCHING[[0, 1, 4, 5]].relu().numpy())
    assert np.isnan(first.values[2:4]).all()
    assert first.attrs["missing_stimuli"] == ["s2", "s3"]


def test_operations_that_the_first_batch_did_not_run_are_named():
    acts = stream(Branches(), make_stimuli(BRANCHING), batch_size=2, progress=False)
    with pytest.warns(NeurolensWarning, match=r"from 's2' on.*'exp'"):
        acts["add"]


def test_what_is_no_array_over_stimuli_is_left_out_with_a_reason():
    acts = stream(Branches(), make_stimuli(BRANCHING[:2]), progress=False)
    assert "sum_1" in acts.run.left_out
    assert "sum_1" not in acts
    with pytest.raises(AddressError, match=r"left out: .*no axis goes with"):
        acts["sum_1"]
    with pytest.raises(AddressError, match="'sum_1' is no array over stimuli"):
        stream(Branches(), make_stimuli(BRANCHING[:2]), ops="sum_1", progress=False)


def test_a_model_that_takes_one_batch_size_only_says_so():
    def model(x):
        assert len(x) == 4, "four or nothing"
        return x * 2

    with pytest.raises(ModelError, match="four or nothing"):
        stream(model, make_stimuli(torch.rand(4, 2)), progress=False)


def line_of(thing, text):
    """The line in this file where the source of a class first has a text."""
    lines, first = inspect.getsourcelines(thing)
    return first + next(number for number, line in enumerate(lines) if text in line)


class Fails(nn.Module):
    def forward(self, x):
        if (x > 8).any():
            raise RuntimeError("too much")
        return x * 2


def test_a_model_that_raises_names_the_stimulus():
    x = torch.rand(9, 3)
    x[5] = 9
    acts = stream(Fails(), make_stimuli(x), batch_size=4, progress=False)
    with pytest.raises(RuntimeError, match="too much") as caught:
        acts["mul"]
    (note,) = caught.value.__notes__
    assert note.startswith("Fails raised this on the stimulus 's5', at ")
    assert note.endswith(f"{__file__}:{line_of(Fails, 'raise')}, after the operation 'any'.")


def test_nan_and_integers_come_through():
    def model(x):
        return torch.log(x), (x > 0.5).sum(1), x > 0.5, torch.complex(x, x)

    x = torch.tensor([[-1.0, 1.0], [0.2, 0.7], [0.0, 3.0]])
    acts = stream(model, make_stimuli(x), batch_size=2, progress=False)
    with pytest.warns(NeurolensWarning) as caught:
        found = acts["log"]
    said = [str(warning.message) for warning in caught]
    assert "gives NaN on the stimulus 's0' in 'log'" in said[0]
    assert "gives infinity on the stimulus 's2' in 'log'" in said[1]
    np.testing.assert_array_equal(found.values, x.log().numpy())
    assert acts["sum"].dtype == np.int64
    assert acts["sum"].values.tolist() == [1, 1, 1]
    assert acts["gt"].dtype == np.bool_
    np.testing.assert_array_equal(acts["complex"].values, torch.complex(x, x).numpy())


class Loop(nn.Module):
    """One layer three times, then as often with growing input."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.register_buffer("scale", torch.arange(3.0))

    def forward(self, x):
        for _ in range(3):
            x = self.layer(x).tanh()
        y = x
        for _ in range(2):
            y = torch.cat([y, x], 1)
        return y.sum(1) * (self.scale * 2).sum()


def test_passes_are_stacked_and_shapes_that_differ_are_taken_one_by_one():
    torch.manual_seed(0)
    model = Loop()
    x = torch.rand(4, 3)
    acts = stream(model, make_stimuli(x), batch_size=3, progress=False)
    assert acts["tanh"].dims == ("stimulus", "pass", "unit")
    assert acts["tanh"]["pass"].values.tolist() == [1, 2, 3]
    with torch.no_grad():
        step = x
        for number in (1, 2, 3):
            step = torch.tanh(step @ model.layer.weight.T + model.layer.bias)
            np.testing.assert_allclose(acts["tanh"].sel({"pass": number}).values, step, rtol=1e-5)
            np.testing.assert_array_equal(acts[f"tanh:{number}"].values, acts["tanh"].sel({"pass": number}))
    assert [acts[f"cat:{number}"].shape for number in (1, 2)] == [(4, 6), (4, 9)]
    assert acts["layer:2"].shape == (4, 3)
    with pytest.raises(AddressError, match=r"'cat:1 \(3, 6\)'"):
        stream(model, make_stimuli(x), ops="cat", batch_size=3, progress=False)


def test_static_operations_are_kept_once():
    acts = stream(Loop(), make_stimuli(torch.rand(4, 3)), ops=["mul", "mul_1"], batch_size=2, progress=False)
    assert acts["mul"].dims == ("axis_1",)
    assert acts["mul"].values.tolist() == [0.0, 2.0, 4.0]
    assert acts["mul"].attrs["stimulus_axis"].startswith("static")
    assert acts["mul_1"].dims == ("stimulus",)


def test_bfloat16_is_read_as_float32():
    linear = nn.Linear(3, 2).to(torch.bfloat16)
    x = torch.rand(4, 3)
    acts = stream(lambda x: linear(x.to(torch.bfloat16)), make_stimuli(x), ops="*linear", progress=False)
    (array,) = acts.values()
    assert array.dtype == np.float32
    assert array.attrs["traced_dtype"] == "bfloat16"
    with torch.no_grad():
        np.testing.assert_array_equal(array.values, linear(x.to(torch.bfloat16)).float().numpy())


def test_texts_reach_the_model_as_keywords():
    torch.manual_seed(0)
    embedding = nn.Embedding(30, 4)
    words = ["a", "cat", "sat", "the", "dog", "not", "mat"]

    def tokenize(text):
        ids = [1 + words.index(word) for word in text.split()]
        return {"tokens": torch.tensor(ids + [0] * (4 - len(ids))), "n_words": torch.tensor(len(ids))}

    def model(tokens, n_words):
        return (embedding(tokens) * (tokens > 0)[..., None]).sum(1) / n_words[:, None]

    texts = ["a cat sat", "the dog", "not a mat"]
    stimuli = Stimuli.from_texts(texts, ids=["one", "two", "three"], metadata={"length": [3, 2, 3]})
    acts = stream(
        Model(model, tokenize, "mean of words", "", "words to numbers"), stimuli, batch_size=2, progress=False
    )
    with torch.no_grad():
        truth = [embedding(tokenize(t)["tokens"][: len(t.split())]).mean(0) for t in texts]
    np.testing.assert_allclose(acts["div"].values, torch.stack(truth), rtol=1e-6)
    assert acts["input.tokens"].dims == ("stimulus", "token")
    assert acts["Embedding.embedding"].dims == ("stimulus", "token", "feature")
    assert acts["div"].attrs["preprocessing"] == "words to numbers"
    assert acts["div"].length.values.tolist() == [3, 2, 3]


def test_stimuli_of_another_size_are_named():
    sizes = [4, 4, 6]
    images = [torch.rand(1, size, size) for size in sizes]
    stimuli = Stimuli.from_dataset(list(images), ids=["a", "b", "wide"])
    acts = stream(nn.Conv2d(1, 1, 1), stimuli, batch_size=2, progress=False)
    with pytest.raises(StimulusError, match="'wide'"):
        acts["conv2d"]


def test_progress_goes_to_stderr_and_only_when_asked(capsys):
    x = make_stimuli(torch.rand(2, 3))
    stream(Loop(), x, progress=False)["tanh"]
    assert capsys.readouterr() == ("", "")
    stream(Loop(), x, progress=True)["tanh"]
    assert capsys.readouterr().out == ""


def test_a_budget_too_small_for_one_operation_says_which():
    with pytest.raises(
        InputError, match=r"'input' alone takes 96 bytes for 5 stimuli, one .*memory=10 bytes. Raise memory="
    ):
        stream(Loop(), make_stimuli(torch.rand(5, 3)), memory=10, batch_size=4, progress=False)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": -2}])
def test_bad_batch_size(options):
    with pytest.raises(InputError, match="batch_size="):
        stream(Loop(), make_stimuli(torch.rand(5, 3)), progress=False, **options)


PEAK = """
import resource, sys
import torch
from torchvision import models
from neurolens.activations import stream
from neurolens.stimuli import Stimuli
torch.set_num_threads(1)
x = torch.rand(48, 3, 64, 64)
stimuli = Stimuli.from_array(x, ids=range(48))
model = models.resnet18().eval()
acts = stream(model, stimuli, batch_size=8, memory=sys.argv[1], progress=False)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = 0
for array in acts.values():
    total += array.nbytes
    del array
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(total, (after - before) * 1024, acts.n_passes_over_stimuli)
"""


def test_peak_memory_stays_near_the_budget():
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "MALLOC_ARENA_MAX": "2"}
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PEAK), "30 MB"],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    total, extra, n_passes = map(int, answer.stdout.split())
    assert total > 100e6
    assert n_passes >= 4
    assert extra < 2 * 30e6 < total
