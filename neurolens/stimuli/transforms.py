"""A transform in words: the same in every process, and others where the user's own code in it is another."""

from __future__ import annotations

import functools
import hashlib
import re
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

__all__ = ["describe_transform"]

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_PYTHON = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
_LIBRARIES = (*_PYTHON, str(Path(__file__).parents[1]))


def describe_transform(transform: Callable[..., Any]) -> str:
    """Say in one line what a transform is.

    Its `repr` without addresses in memory. Where functions or classes of the user's own are in it, a digest of
    their code and of what they hold follows, since the `repr` of a function does not change with its body.

    Parameters
    ----------
    transform
        Any callable: a function, a `Compose`, a tokenizer, `functools.partial` ...

    Returns
    -------
    str
        One line.

    Examples
    --------
    >>> describe_transform(str.upper)
    "<method 'upper' of 'str' objects>"
    >>> describe_transform(lambda text: text[:3]) == describe_transform(lambda text: text[:4])
    False
    """
    text = " ".join(repr(transform).split())
    if _ADDRESS.search(text) and not isinstance(transform, functools.partial):
        named = transform if hasattr(transform, "__qualname__") else type(transform)
        text = f"{named.__module__}.{named.__qualname__}"
    text = _ADDRESS.sub("", text)
    parts = list(_list_own(transform, set()))
    if not parts:
        return text
    digest = hashlib.blake2b("\n".join(parts).encode(), digest_size=6).hexdigest()
    return f"{text} [code {digest}]"


def _list_own(value: object, seen: set[int]) -> Iterator[str]:
    """Walk what a transform is made of, and give the content of what the user wrote."""
    if id(value) in seen or isinstance(value, str | int | float | bool | torch.Tensor | np.ndarray | None):
        return
    seen.add(id(value))
    if isinstance(value, FunctionType):
        yield from _list_function(value, seen)
    elif isinstance(value, MethodType):
        yield from _list_all((value.__func__, value.__self__), seen)
    elif isinstance(value, functools.partial):
        yield from _list_all((value.func, *value.args, *value.keywords.values()), seen)
    elif isinstance(value, Mapping):
        yield from _list_all(value.values(), seen)
    elif isinstance(value, list | tuple):
        yield from _list_all(value, seen)
    elif not isinstance(value, type):
        yield from _list_object(value, seen)


def _list_all(values: Any, seen: set[int]) -> Iterator[str]:
    for value in values:
        yield from _list_own(value, seen)


def _list_function(function: FunctionType, seen: set[int]) -> Iterator[str]:
    if function.__code__.co_filename.startswith(_LIBRARIES):
        return
    held = [*_list_bound(function), *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    yield _say_code(function.__code__)
    yield from map(_say_value, held)
    yield from _list_all(held, seen)


def _list_object(value: object, seen: set[int]) -> Iterator[str]:
    """Give the code and the attributes of an object of the user's own class; look into a library's."""
    attributes = getattr(value, "__dict__", {})
    for name in ("__call__", "forward"):
        method = getattr(type(value), name, None)
        if isinstance(method, FunctionType) and not method.__code__.co_filename.startswith(_LIBRARIES):
            yield _say_code(method.__code__)
            yield from (f"{key}={_say_value(item)}" for key, item in sorted(attributes.items()))
    yield from _list_all(attributes.values(), seen)


def _list_bound(function: FunctionType) -> Iterator[object]:
    """Give what the names in a function stand for, modules and classes aside."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a name that was not bound yet
            yield cell.cell_contents
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if not isinstance(value, ModuleType | type | None):
            yield value


def _say_code(code: CodeType) -> str:
    constants = [_say_code(c) if isinstance(c, CodeType) else _say_value(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {constants}"


def _say_value(value: object) -> str:
    """Write a value so that it is the same in every process."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy() if value.dtype != torch.bfloat16 else value.float().cpu().numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.blake2b(value.tobytes()).hexdigest()}"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_say_value, value)))}}}"
    return _ADDRESS.sub("", repr(value))
