"""Packages of the extra `brain`: imported when files of a laboratory are read or drawn."""

from __future__ import annotations

import importlib
from types import ModuleType

from neurolens.errors import InputError

__all__ = ["import_extra"]


def import_extra(package: str, extra: str = "brain") -> ModuleType:
    """Import an optional package, or say which extra brings it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"This needs the package {package.partition('.')[0]!r}, which can't be imported ({error}). Install "
            f'neurolens with its extra: pip install -e ".[{extra}]" in the checkout.'
        ) from error
