"""All of torchvision's classifiers, with weights that are quickly drawn."""

import warnings
from unittest import mock

import torch
import torchvision

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


def image(name):
    """Draw one image of a size that the model takes."""
    size = 224 if name.startswith(WHOLE_IMAGE) else 96
    return torch.randn(1, 3, size, size)
