"""Weights: hashed, read from files without running code, and given to an architecture only if they fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neurolens.errors import ModelError, NeurolensError, list_names
from neurolens.models.extras import import_extra
from neurolens.recording.holdings import refuse_shapeless


def hash_weights(model: Callable[..., Any]) -> str:
    """Return a hash of names, shapes, dtypes and values of all parameters and buffers; "" without any.

    Parameters
    ----------
    model
        A loaded model, an nn.Module, or any callable.

    Returns
    -------
    str
        The hash; "" where there are no weights.

    Examples
    --------
    >>> hash_weights(nn.ReLU())
    ''
    """
    state = model.state_dict() if isinstance(model, nn.Module) else {}
    if not state:
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in state.items():
        if isinstance(value, Tensor):
            refuse_shapeless(name, value)
            for part in value.unbind() if value.is_nested else (value,):
                digest.update(repr((name, tuple(part.shape), str(part.dtype))).encode())
                digest.update(b"" if part.is_meta else _tensor_bytes(part))
        else:  # a module's own extra state
            digest.update(repr((name, value)).encode())
    return digest.hexdigest()


def _tensor_bytes(tensor: Tensor) -> Any:
    dense = tensor if tensor.layout is torch.strided else tensor.to_dense()
    flat = dense.detach().to("cpu").contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy() if flat.numel() else b""


def pair_in_order(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of `other` the names of `own`, first to first, where two codes name them differently.

    Batch-norm counters (`num_batches_tracked`) stay as `own` has them: they change no output in eval mode.

    Parameters
    ----------
    own
        State dict of the architecture.
    other
        State dict of the weights.

    Returns
    -------
    dict
        State dict with the names of `own`.

    Raises
    ------
    ModelError
        If there are more on one side, or a pair differs in shape or in kind (weight, bias, running_mean ...).
    """
    names = [name for name in own if not name.endswith("num_batches_tracked")]
    others = [name for name in other if not name.endswith("num_batches_tracked")]
    if len(names) != len(others):
        raise ModelError(
            f"The weights have {len(others)} tensors, the architecture {len(names)}: not a pair."
        )
    for a, b in zip(names, others, strict=True):
        if own[a].shape != other[b].shape or a.rpartition(".")[2] != b.rpartition(".")[2]:
            raise ModelError(
                f"The weights don't pair with the architecture: {b!r} {tuple(other[b].shape)} stands where "
                f"{a!r} {tuple(own[a].shape)} is expected."
            )
    return {**own, **{a: other[b] for a, b in zip(names, others, strict=True)}}


def read_state(file: Path) -> dict[str, Tensor]:
    """Read a state dict without running code: names to tensors, wrappers and the prefix `module.` removed.

    Raises
    ------
    ModelError
        If there is no such file, or it holds anything but tensors by name.
    """
    if not file.is_file():
        raise ModelError(f"There is no checkpoint {file}.")
    try:
        if file.suffix == ".safetensors":
            state = import_extra("safetensors.torch", "models").load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except NeurolensError:
        raise
    except Exception as error:
        raise ModelError(
            f"{file} can't be read as weights: {str(error).splitlines()[0] if str(error) else error!r} "
            "Save it again with torch.save(model.state_dict(), file)."
        ) from error
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{file} holds no state dict. Save it with torch.save(model.state_dict(), file).")
    if state and all(name.startswith("module.") for name in state):  # DataParallel's prefix
        return {name.removeprefix("module."): value for name, value in state.items()}
    return dict(state)


def load_checkpoint(module: nn.Module, file: Path) -> None:
    """Load a file of weights into a module; ModelError names what doesn't fit, and nothing is changed."""
    state, own = read_state(file), module.state_dict()
    missing = [n for n in own if n not in state and not n.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    other_shape = [
        f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    parts = {"missing": missing, "unexpected": unexpected, "of another shape": other_shape}
    said = [f"{len(names)} {what} ({list_names(names, 5)})" for what, names in parts.items() if names]
    if said:
        raise ModelError(
            f"The checkpoint {file} doesn't fit {type(module).__name__}: tensors {'; '.join(said)}. "
            "Is it a checkpoint of this architecture?"
        )
    module.load_state_dict(state, strict=False)
