"""Floating-point operations, against torch's own counter on the whole model."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import neurolens as nl

MODELS = {
    "resnet18": lambda: (torchvision.models.resnet18().eval(), torch.randn(2, 3, 64, 64)),
    "googlenet": lambda: (
        torchvision.models.googlenet(init_weights=False, aux_logits=False).eval(),
        torch.randn(1, 3, 64, 64),
    ),
    "transformer": lambda: (
        nn.TransformerEncoderLayer(16, 2, batch_first=True).train(),
        torch.randn(2, 5, 16),
    ),
    "mlp": lambda: (nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 3)), torch.randn(4, 5)),
    "attention": lambda: (nn.functional.scaled_dot_product_attention, (torch.randn(1, 2, 8, 16),) * 3),
}


@pytest.mark.parametrize("name", MODELS)
def test_sum_equals_torch_counter(name):
    model, inputs = MODELS[name]()
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # older counters do not know the fused kernel of the CPU
        model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    traced = nl.trace(model, inputs)
    counted = [traced[address].flops for address in traced]
    assert None not in counted
    assert sum(counted) == counter.get_total_flops() > 0


def test_macs_are_half():
    traced = nl.trace(nn.Linear(5, 7, bias=False), torch.ones(4, 5))
    assert traced["linear"].flops == 2 * 4 * 5 * 7
    assert traced["linear"].macs == 4 * 5 * 7


def test_what_needs_values_is_unknown():
    traced = nl.trace(lambda x: x[x > 0], torch.ones(3))
    assert traced["getitem"].flops is None
    assert traced["getitem"].macs is None
