"""Packages that are optional: imported when a model needs them."""

from __future__ import annotations

import importlib
from types import ModuleType

from neurolens.errors import ModelError


def import_extra(package: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it."""
    return _import(package, f'Install neurolens with its extra: pip install -e ".[{extra}]" in the checkout.')


def import_package(package: str, distribution: str) -> ModuleType:
    """Import a package that no extra brings, or say how to install it."""
    return _import(package, f"Install it: pip install {distribution}.")


def _import(package: str, advice: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ModelError(
            f"This model needs the package {package!r}, which can't be imported ({error}). {advice}"
        ) from error
