"""What validation says of operations whose arguments take few values, or none."""

import warnings

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


REASONS = {
    "multiplied": (lambda x: x * 0, "it is multiplied by zero"),
    "multiplied by zeros": (lambda x: x @ torch.zeros(3, 2, dtype=x.dtype), "it is multiplied by zero"),
    "not chosen": (lambda x: torch.where(torch.ones(3, dtype=torch.bool), x, x + 1), "none of its values"),
    "overwritten": (lambda x: x.clone().copy_(torch.ones(3)), "its values are overwritten"),
}


@pytest.mark.parametrize("name", REASONS)
def test_parent_without_effect_has_its_reason(name):
    function, reason = REASONS[name]
    report = nl.trace(function, torch.arange(3)).validate()  # not a number would get through a product
    assert report, report
    explained = [f.reason for f in report.proofs.perturbations if f.verdict is Verdict.EXPLAINED]
    assert any(text.startswith(reason) for text in explained)


def test_quantized_factor_of_zero_is_a_reason():
    from torch.ao.nn.quantized import QFunctional

    def product(x):
        y = torch.quantize_per_tensor(x, 0.1, 0, torch.quint8)
        zero = torch.quantize_per_tensor(x * 0, 0.1, 0, torch.quint8)
        return QFunctional().mul(y, zero).dequantize()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = nl.trace(product, torch.linspace(-1, 1, 8)).validate()
    assert report, report
    assert "it is multiplied by zero" in {f.reason for f in report.proofs.perturbations}


def test_zero_among_the_arguments_is_no_multiplication():
    """A position of 0 (an axis, an index) once passed for a factor of zero."""

    @torch.library.custom_op("neurolens_test::ignores", mutates_args=())
    def ignores(x: torch.Tensor, axis: int) -> torch.Tensor:
        return torch.ones_like(x)

    report = nl.trace(lambda x: torch.ops.neurolens_test.ignores(x, 0), torch.rand(3)).validate()
    assert not report
    assert report.failed == ("ignores",)


def test_quantized_factors_are_not_taken_for_overwritten():
    from torch.ao.nn.quantized import QFunctional

    def product(x):
        y = torch.quantize_per_tensor(x, 0.1, 10, torch.quint8)
        return QFunctional().mul(y, y).dequantize()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = nl.trace(product, torch.linspace(-1, 1, 8)).validate()
    assert report, report
    assert {f.verdict for f in report.proofs.perturbations} == {Verdict.PROVEN}
