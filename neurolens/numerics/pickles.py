"""Pickled numpy arrays of others, read without running what else a pickle may hold."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from neurolens.errors import InputError, explain_unreadable

__all__ = ["read_pickled_mapping"]

_ALLOWED = {
    "numpy": {"ndarray", "dtype"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
    "_codecs": {"encode"},
}


class _ArrayUnpickler(pickle.Unpickler):
    """Builds arrays, numbers, texts and containers of them, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if name in _ALLOWED.get(module, ()):
            return super().find_class(module, name)
        raise InputError(
            f"The file holds {module}.{name}, which is no array, number or text. Reading it could run any code, "
            "so it is not read."
        )


def read_pickled_mapping(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """Read a .npy file into which `numpy.save` pickled a dict of arrays, numbers and texts.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If it is no such file, or holds objects that are neither.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "names.npy"
    >>> np.save(path, {1: "V1v"}, allow_pickle=True)
    >>> read_pickled_mapping(path)
    {1: 'V1v'}
    """
    content = io.BytesIO(Path(path).read_bytes())
    with explain_unreadable(path):
        version = np.lib.format.read_magic(content)
        reader = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = reader(content)
    if dtype.kind != "O" or shape != ():
        raise InputError(
            f"{os.fspath(path)} holds an array of {dtype}, shape {shape}; expected a pickled dict."
        )
    with explain_unreadable(path):
        found = _ArrayUnpickler(content).load().item()
    if not isinstance(found, dict):
        raise InputError(f"{os.fspath(path)} holds a {type(found).__name__}; expected a dict.")
    return found
