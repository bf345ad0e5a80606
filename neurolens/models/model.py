"""A model with its preprocessing and the hash of its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from neurolens.errors import InputError, ModelError
from neurolens.models.weights import hash_weights
from neurolens.stimuli.items import READY
from neurolens.stimuli.transforms import describe_transform

Preprocess = Callable[[Any], Any]


@dataclass(frozen=True)
class Model:
    """A model with what belongs to it.

    Parameters
    ----------
    module
        The network, in eval mode if `load_model` made it; any callable.
    preprocess
        From one PIL image (or text) to the tensor (or dict of tensors) that `module` takes for one stimulus,
        without a batch axis; None if stimuli are given as the model takes them.
    name
        What to call it.
    weights
        Hash of names, shapes, dtypes and values of all parameters and buffers; "" if it has none.
    preprocessing
        `preprocess` in words, complete.

    Examples
    --------
    >>> import torch
    >>> from neurolens.models import hash_weights
    >>> net = torch.nn.Linear(4, 2)
    >>> model = Model(net, torch.as_tensor, name="readout", weights=hash_weights(net), preprocessing="as it is")
    >>> model.name
    'readout'
    """

    module: Callable[..., Any]
    preprocess: Preprocess | None
    name: str
    weights: str
    preprocessing: str


def as_model(model: Model | Callable[..., Any], *, preprocess: Preprocess | None = None) -> Model:
    """Wrap a module or any callable as a `Model`; a `Model` is returned as it is.

    The module is not changed: its train or eval mode stays.

    Parameters
    ----------
    model
        `Model`, nn.Module or callable.
    preprocess
        From one stimulus to what the model takes for it; only for what is no `Model` yet.

    Returns
    -------
    Model
        Named after its class or function.

    Raises
    ------
    ModelError
        If it can't be called.
    InputError
        If a `Model` is given another preprocessing.

    Examples
    --------
    >>> from torch import nn
    >>> as_model(nn.Linear(3, 2)).name
    'Linear'
    """
    if isinstance(model, Model):
        if preprocess is not None:
            raise InputError(
                f"{model.name} brings its own preprocessing ({model.preprocessing}). To use another: "
                "dataclasses.replace(model, preprocess=..., preprocessing=...)."
            )
        return model
    if not callable(model):
        raise ModelError(f"{model!r} is no model: give an nn.Module, a callable, or load_model(...).")
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise ModelError(f"{model.__name__} is a class, not a model: make one first, {model.__name__}(...).")
    name = getattr(model, "__qualname__", type(model).__name__)
    return Model(model, preprocess, name, hash_weights(model), describe(preprocess))


def describe(preprocess: Preprocess | None) -> str:
    """Say in one line what a preprocessing does."""
    return READY if preprocess is None else describe_transform(preprocess)
