"""What validation says of operations whose arguments take few values, or none."""

import pytest
import torch
from torch import nn

import neurolens as nl
from neurolens.recording.proofs import Verdict


def findings(function, *inputs):
    torch.manual_seed(0)
    report = nl.trace(function, inputs).validate()
    assert report, report
    proofs = report.proofs
    return {f.event.facts.name: f for f in proofs.replays}, {
        f.event.facts.name: f for f in proofs.perturbations
    }


@pytest.mark.parametrize("n_drawn", [4, 16])
def test_weights_of_a_draw_matter(n_drawn):
    """They may not be negative, and equal weights draw the same."""
    _, changed = findings(lambda x: torch.multinomial(torch.softmax(x * 0, 0), n_drawn), torch.ones(16))
    assert changed["multinomial"].verdict is Verdict.PROVEN


def test_fills_do_not_depend_on_what_was_there():
    def fill(x):
        weight = torch.empty(4, 3)
        nn.init.kaiming_uniform_(weight, a=2.0)
        return x @ weight.T + nn.init.constant_(torch.empty(4), 2.0)

    _, changed = findings(fill, torch.ones(2, 3))
    assert {f.reason for f in changed.values() if f.verdict is Verdict.EXPLAINED} == {
        "it uses the shape or dtype of its argument, not the values"
    }


def test_new_memory_has_no_values_to_prove():
    replayed, _ = findings(lambda x: x.new(3).zero_() + x, torch.ones(3))
    assert replayed["new"].verdict is Verdict.EXPLAINED
    assert replayed["add"].verdict is Verdict.PROVEN


@pytest.mark.filterwarnings("ignore:.*quant.*")
@pytest.mark.parametrize("dtype", [torch.quint8, torch.qint8])
def test_quantized_tensors_are_changed_too(dtype):
    def quantized(x):
        y = torch.quantize_per_tensor(x, 0.1, 10, dtype)
        return torch.relu(y).dequantize()

    replayed, changed = findings(quantized, torch.linspace(-1, 1, 8))
    assert {f.verdict for f in (*replayed.values(), *changed.values())} == {Verdict.PROVEN}
