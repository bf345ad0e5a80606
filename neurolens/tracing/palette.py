"""Values of operations as colours, and the legend that says which is which."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import to_hex

from neurolens.errors import InputError, list_names
from neurolens.schema import OP

if TYPE_CHECKING:
    from neurolens.tracing.trace import Trace

Value = float | str
DARK, LIGHT = "#111827", "#ffffff"
_N_STEPS = 5  # of the legend
_MOST_WORDS = 12  # the colours that can be told apart


@dataclass(frozen=True, slots=True)
class Palette:
    """Values by address, and a colour for each: numbers along a scale, words one by one."""

    values: Mapping[str, Value]
    colors: Callable[[Value], str]
    shown: tuple[Value, ...]  # in the legend
    label: str

    def find(self, addresses: Iterable[str]) -> Value | None:
        """Return the value of the first address that has one."""
        return next((self.values[address] for address in addresses if address in self.values), None)

    def paint(self, value: Value | None) -> tuple[str, str]:
        """Return the colour of a box and of the text in it."""
        if value is None or (isinstance(value, float) and not np.isfinite(value)):
            return LIGHT, "#6b7280"
        fill = self.colors(value)
        red, green, blue = (int(fill[k : k + 2], 16) for k in (1, 3, 5))
        return fill, LIGHT if 0.299 * red + 0.587 * green + 0.114 * blue < 128 else DARK

    def write_legend(self) -> str:
        """Return the cells of a table in Graphviz's HTML: what the colours mean."""
        cells = "".join(self._cell(value) for value in self.shown)
        return f"<TD>{html.escape(self.label)}&#160;&#160;</TD>{cells}"

    def _cell(self, value: Value) -> str:
        fill, ink = self.paint(value)
        return (
            f'<TD BGCOLOR="{fill}" WIDTH="56"><FONT COLOR="{ink}">{html.escape(say_value(value))}</FONT></TD>'
        )


def say_value(value: Value | None) -> str:
    """Write a value into a box."""
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def read_palette(trace: Trace, color: Any, label: str | None) -> Palette | None:
    """Return a colour for each operation that `color` has a value for; None where it is None.

    Raises
    ------
    InputError
        If it is nothing that has a value for each operation, has none for any of this trace, or mixes words with
        numbers.
    """
    if color is None:
        return None
    label = label or _default_label(color)
    values = {address: value for address, value in _as_mapping(trace, color).items() if address in trace}
    words = [value for value in values.values() if isinstance(value, str)]
    numbers = [value for value in values.values() if not isinstance(value, str) and np.isfinite(value)]
    if words and numbers:
        raise InputError(
            f"color= mixes words ({words[0]!r}) with numbers ({numbers[0]!r}): give one or the other."
        )
    if words:
        return _paint_words(values, label)
    if not numbers:
        raise InputError(
            "color= has no finite number for any operation of this trace. Give a Mapping from address to a number "
            "or a word, a DataArray over `op`, or a Profile of the same model."
        )
    return _paint_numbers(values, min(numbers), max(numbers), label)


def _paint_numbers(values: Mapping[str, Value], low: float, high: float, label: str) -> Palette:
    scale = colormaps["viridis"]

    def color_of(value: Value) -> str:
        part = 0.5 if high == low else (float(value) - low) / (high - low)
        return to_hex(scale(float(np.clip(part, 0, 1))))

    steps = np.linspace(low, high, _N_STEPS) if high > low else [low]
    return Palette(values, color_of, tuple(float(step) for step in steps), label)


def _paint_words(values: Mapping[str, Value], label: str) -> Palette:
    words = list(dict.fromkeys(values.values()))
    if len(words) > _MOST_WORDS:
        raise InputError(
            f"color= has {len(words)} different words; {_MOST_WORDS} colours can be told apart. Group them first."
        )
    scale = colormaps["Set3"]
    chosen = {word: to_hex(scale(number)) for number, word in enumerate(words)}
    return Palette(values, chosen.__getitem__, tuple(words), label)


def _as_mapping(trace: Trace, color: Any) -> dict[str, Value]:
    if isinstance(color, xr.Dataset):
        color = color["score"]
    if isinstance(color, xr.DataArray):
        color = _as_series(color)
    if isinstance(color, pd.Series):
        color = color.to_dict()
    if callable(color):
        color = {address: value for address, item in trace.items() if (value := color(item)) is not None}
    if isinstance(color, Mapping):
        return {str(address): _as_value(value) for address, value in color.items()}
    raise InputError(
        f"color= cannot be a {type(color).__name__}. Give a Mapping from address to a number or a word, a function "
        "of an operation, a DataArray over `op`, or a Profile."
    )


def _as_series(array: xr.DataArray) -> pd.Series[Any]:
    extra = [str(dim) for dim in array.dims if dim != OP and array.sizes[dim] > 1]
    if OP not in array.dims or extra:
        raise InputError(
            f"color= has the dims {list_names(array.dims)}; a graph shows one number an operation (`op`). Choose "
            f"first: profile.sel({extra[0] if extra else 'region'}=...)."
        )
    array = array.squeeze([dim for dim in array.dims if dim != OP])
    return pd.Series(array.values, index=[str(op) for op in array[OP].values])


def _as_value(value: Any) -> Value:
    try:
        return str(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        raise InputError(f"color= gives {value!r} for an operation: give a number or a word.") from None


def _default_label(color: Any) -> str:
    attrs = getattr(color, "attrs", {})
    name = getattr(color, "name", None) if isinstance(color, pd.Series) else None
    return str(attrs.get("similarity") or attrs.get("method") or name or "value")
