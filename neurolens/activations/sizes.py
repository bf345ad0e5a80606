"""Amounts of memory: from text, and into messages."""

from __future__ import annotations

import re

from neurolens.errors import InputError

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


def parse_bytes(memory: str | int) -> int:
    """Read a number of bytes from text such as "4 GB".

    Raises
    ------
    InputError
        If the text has another form, or it is no positive number.

    Examples
    --------
    >>> parse_bytes("1.5 MB"), parse_bytes("1 KiB")
    (1500000, 1024)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([a-zA-Z]*)\s*", str(memory))
    unit = _UNITS.get(match[2].lower()) if match else None
    size = int(float(match[1]) * unit) if match and unit else 0
    if size <= 0 or isinstance(memory, bool):
        raise InputError(
            f"memory={memory!r} is no amount of memory: give bytes, or text such as '4 GB' or '500 MB'."
        )
    return size


def say_bytes(size: float) -> str:
    """Write a number of bytes for a message.

    Examples
    --------
    >>> say_bytes(1_530_000)
    '1.53 MB'
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
