"""Models from the user's own code: `module:attribute`, `file.py:attribute`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from neurolens.errors import ModelError, list_names, near_misses
from neurolens.models.libraries import SOURCES, Built
from neurolens.models.model import Model


def build_own(spec: str, trained: bool) -> Built:
    """Build a model from `place:attribute`."""
    place, _, attribute = spec.rpartition(":")
    module = _import_file(Path(place)) if place.endswith(".py") else _import_own(place)
    if not hasattr(module, attribute):
        close = near_misses(attribute, [name for name in vars(module) if not name.startswith("_")])
        raise ModelError(
            f"{place} has no attribute {attribute!r}. Near it: {list_names(close) or 'nothing'}."
        )
    found = getattr(module, attribute)
    if isinstance(found, nn.Module | Model):
        if not trained:
            raise ModelError(f"{spec} is made already: pretrained=False can't make it anew. Give a function.")
        made = found
    else:
        made = _call_factory(found, spec, trained)
    if isinstance(made, Model) and isinstance(made.module, nn.Module):
        return Built(made.module, made.preprocess)
    if not isinstance(made, nn.Module):
        raise ModelError(f"{spec} gives {type(made).__name__}, not an nn.Module or a Model.")
    return Built(made, None)


def _call_factory(factory: Any, spec: str, trained: bool) -> Any:
    if not callable(factory):
        raise ModelError(
            f"{spec} is {type(factory).__name__}, not an nn.Module or a function that makes one."
        )
    parameters = inspect.signature(factory).parameters
    needed = [n for n, p in parameters.items() if p.default is p.empty and p.kind not in (2, 4)]
    if set(needed) - {"pretrained"}:
        raise ModelError(
            f"{spec} needs the arguments {list_names(needed)}. Give a function without arguments."
        )
    if "pretrained" in parameters:
        return factory(pretrained=trained)
    if not trained:
        raise ModelError(
            f"{spec} takes no argument `pretrained`, so pretrained=False can't reach it. Add it."
        )
    return factory()


def _import_own(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        close = near_misses(name, SOURCES, n=2)
        hint = f" Did you mean the source {list_names(close)}?" if close else ""
        raise ModelError(
            f"There is no source or module {name!r} ({error}). Sources are {list_names(SOURCES)}.{hint}"
        ) from error


def _import_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise ModelError(f"There is no file {file}.")
    name = f"neurolens_model_{hashlib.blake2b(str(file.resolve()).encode(), digest_size=6).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ModelError(f"{file} can't be imported as Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    spec.loader.exec_module(module)
    return module
