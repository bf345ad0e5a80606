"""Packages that are optional: imported when a model needs them."""

from __future__ import annotations

import importlib
from types import ModuleType

from neurolens.errors import ModelError


def import_extra(package: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ModelError(
            f"This model needs the package {package!r}, which can't be imported ({error}). Install neurolens "
            f'with its extra: pip install -e ".[{extra}]" in the checkout.'
        ) from error
