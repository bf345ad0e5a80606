"""Every module of every torchvision classifier, by its path: what it returned, each time it was called."""

import warnings
from unittest import mock

import pytest
import torch
import torchvision

import neurolens as nl

WHOLE_IMAGE = ("vit", "swin", "maxvit")  # these take no smaller image
NAMES = torchvision.models.list_models(module=torchvision.models)


def make(name):
    """Make a model with weights that are quickly drawn: the usual ones take minutes for the largest."""
    kinds = [kind for kind in dir(torch.nn.init) if kind.endswith("_") and not kind.startswith("_")]
    idle = {kind: mock.Mock(side_effect=lambda tensor, *_, **__: tensor) for kind in kinds}
    more = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with mock.patch.multiple(torch.nn.init, **idle), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torchvision.models.get_model(name, **more).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.05, 0.05)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_every_path_means_the_output_of_that_module(name):
    torch.manual_seed(0)
    model = make(name)
    size = 224 if name.startswith(WHOLE_IMAGE) else 96
    images = torch.randn(1, 3, size, size)
    seen: dict[str, list[torch.Tensor]] = {}

    def remember(path):
        def hook(module, inputs, output):
            seen.setdefault(path, []).append((output[0] if isinstance(output, tuple) else output).clone())

        return hook

    with torch.no_grad():
        traced = nl.trace(model, images)
        for path, module in model.named_modules():
            module.register_forward_hook(remember(path))
        torch.backends.mha.set_fastpath_enabled(False)  # a function mode switches it off as well
        try:
            model(images)
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
    assert seen.keys() == traced.modules.keys()
    for path, outputs in seen.items():
        if not path:
            assert torch.equal(traced["output"].tensor, outputs[0])
            continue
        part = "[0]" if traced.names.places[path].passes[0].out.__class__ is tuple else ""
        for number, output in enumerate(outputs, 1):
            assert torch.equal(traced[f"{path}:{number}{part}"].tensor, output), (path, number)
