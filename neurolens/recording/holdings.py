"""What a model holds: its modules by path, its parameters and buffers by name, and the names of its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from neurolens.errors import ModelError
from neurolens.recording.events import Site

_PLAIN = frozenset((torch.nn.Parameter, torch.Tensor))


class Holdings:
    """The modules and tensors of a model; modules that it makes while it runs are adopted."""

    def __init__(self, model: Any) -> None:
        module = model if isinstance(model, torch.nn.Module) else None
        self.paths: dict[int, str] = {}  # id of a module -> its path
        self.twins: dict[str, str] = {}  # further path of a module -> the path it goes by
        self.owned: dict[int, str] = {}  # id of a parameter or buffer -> its name
        self.held: dict[
            str, torch.Tensor
        ] = {}  # plain parameters and buffers by name, until they are entered
        self._adopted: dict[tuple[Any, ...], str] = {}
        if module is not None:
            self._enter(module, "", set())

    def _enter(self, model: torch.nn.Module, path: str, above: set[int]) -> None:
        """Enter a module and what is below it, in the order of `named_modules` (which takes far longer)."""
        known, owned = self.paths.setdefault(id(model), path), self.owned
        prefix = f"{path}." if path else ""
        if known != path:
            self.twins[path] = known
        else:
            for group in (model._parameters, model._buffers):
                for name, tensor in group.items():
                    if tensor is not None and id(tensor) not in owned:
                        owned[id(tensor)] = full = prefix + name
                        if type(tensor) in _PLAIN:
                            self.held[full] = tensor
                        else:
                            refuse_shapeless(full, tensor)
        if model._modules:
            above.add(id(model))
            for name, child in model._modules.items():
                if child is not None and id(child) not in above:
                    self._enter(child, prefix + name, above)
            above.remove(id(model))

    def path_of(self, module: torch.nn.Module, owner: str, site: Site) -> str:
        """Return the path of a module that is called in the module `owner`."""
        path = self.paths.get(id(module))
        return self._adopt(module, owner, site) if path is None else path

    def _adopt(self, module: torch.nn.Module, owner: str, site: Site) -> str:
        """Name a module that the model does not hold: by its class, below the module that calls it.

        One with weights is itself wherever it is called. One without is known by the place of the call, since a
        new one may be made each time.
        """
        stem = join(owner, type(module).__name__)
        stateless = not module._parameters and not module._buffers and not module._modules
        key = (stem, *((code, offset) for code, offset, _ in site)) if stateless else (id(module),)
        path = self._adopted.get(key)
        if path is None:
            taken = {*self.paths.values(), *self._adopted.values()}
            path = next(name for name in _numbered(stem) if name not in taken)
            self._adopted[key] = path
        for below, child in module.named_modules():
            if child is not module or not stateless:  # a stateless one may die, and its id be another's
                self.paths.setdefault(id(child), join(path, below))
            for group in (child._parameters, child._buffers):
                for name, tensor in group.items():
                    if tensor is not None:
                        self.owned.setdefault(id(tensor), join(join(path, below), name))
        return path


def join(path: str, name: str) -> str:
    """Join a path and a name below it; either may be empty."""
    return f"{path}.{name}" if path and name else path or name


def _numbered(stem: str) -> Iterator[str]:
    """Count names as addresses are counted: the first is bare."""
    yield stem
    yield from (f"{stem}_{number}" for number in count(1))


def name_arguments(model: Any, n_arguments: int) -> list[str]:
    """Return names for positional arguments: the parameters of forward, or their positions."""
    target = model.forward if isinstance(model, torch.nn.Module) else model
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return known[:n_arguments] + [str(position) for position in range(len(known), n_arguments)]


def refuse_shapeless(name: str, tensor: torch.Tensor) -> None:
    """Raise ModelError for a parameter or buffer of a lazy module that was not called yet."""
    if is_lazy(tensor):
        raise ModelError(
            f"{name!r} has no shape yet: a lazy module gets its weights in its first call. Call the model once on "
            "such inputs first."
        )
