"""Every module of every torchvision classifier, by its path: what it returned, each time it was called."""

import pytest
import torch
from classifiers import NAMES, image, make

import neurolens as nl


@pytest.mark.parametrize("name", NAMES)
def test_every_path_means_the_output_of_that_module(name):
    torch.manual_seed(0)
    model = make(name)
    images = image(name)
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
