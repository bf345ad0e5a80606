"""A trace as text, as HTML and as a table."""

from __future__ import annotations

import html
from collections import Counter
from typing import TYPE_CHECKING

import pandas as pd
import torch

from neurolens.activations.sizes import say_bytes
from neurolens.recording.addresses import Place, results
from neurolens.tracing.operation import Operation
from neurolens.tracing.source import Source

if TYPE_CHECKING:
    from neurolens.tracing.trace import Trace

_LINES = 24  # operations that fit on a screen beside the head


def to_frame(trace: Trace) -> pd.DataFrame:
    """Return one row an operation, in execution order."""
    rows = []
    for address, place in trace.names.operations.items():
        operation = Operation(trace, address)
        first = place.passes[0]
        values = list(results(first).values())
        rows.append(
            {
                "address": address,
                "function": place.name,
                "module": place.module,
                "composite": place.composite,
                "passes": len(place.passes),
                "shape": _shapes(place),
                "dtype": ", ".join(dict.fromkeys(_plain(value.dtype) for value in values)),
                "bytes": operation.bytes,
                "step": operation.step,
                "depth": operation.depth,
                "parents": tuple(parent.address for parent in operation.parents),
                "source": _place_of(operation.source),
            }
        )
    return pd.DataFrame(rows).set_index("address")


def summarise(trace: Trace) -> str:
    """Return one screen: what ran, how much is kept, and the first and last operations."""
    operations = trace.names.operations
    n_steps = len(trace.recording.events)
    kinds = Counter(place.name for place in operations.values())
    common = ", ".join(f"{count} {name}" for name, count in kinds.most_common(6))
    lines = [
        f"Trace of {trace.model.name}: {len(operations)} operations, {n_steps} steps, "
        f"{len(trace.modules)} modules, {say_bytes(trace.n_bytes)} kept",
        f"  {common}",
        "",
    ]
    rows = [(address, _shapes(place), _passes(place)) for address, place in operations.items()]
    width = min(max((len(address) for address, _, _ in rows), default=0), 70)
    shown = rows if len(rows) <= _LINES else rows[: _LINES // 2] + rows[-_LINES // 2 :]
    for number, (address, shapes, passes) in enumerate(shown):
        if len(rows) > _LINES and number == _LINES // 2:
            lines.append(f"  ... {len(rows) - _LINES} more: .to_frame(), .find('**.conv2d'), .draw()")
        lines.append(f"  {address:<{width}}  {shapes}{passes}")
    return "\n".join(lines)


def to_html(trace: Trace) -> str:
    """Return a page part for notebooks: modules fold."""
    head = html.escape(summarise(trace).splitlines()[0])
    operations = trace.names.operations
    tree: dict[str, list[str]] = {}
    for address, place in operations.items():
        tree.setdefault(place.module.split(".")[0] if place.module else "", []).append(address)
    parts = [f"<details><summary><b>{head}</b></summary>"]
    for module, addresses in tree.items():
        rows = "".join(_row(address, operations[address]) for address in addresses)
        title = html.escape(module) or "(the model)"
        parts.append(
            f"<details style='margin-left:1em'><summary>{title} <small>{len(addresses)} operations</small></summary>"
            f"<table style='margin-left:1em'><tr><th style='text-align:left'>operation</th>"
            f"<th style='text-align:left'>shape</th><th>passes</th></tr>{rows}</table></details>"
        )
    return "".join(parts) + "</details>"


def _row(address: str, place: Place) -> str:
    cell = "<td style='text-align:left'>{}</td>"
    return (
        "<tr>"
        + cell.format(f"<code>{html.escape(address)}</code>")
        + cell.format(html.escape(_shapes(place)))
        + f"<td>{len(place.passes)}</td></tr>"
    )


def _shapes(place: Place) -> str:
    shapes = (tuple(value.shape) for item in place.passes for value in results(item).values())
    return " | ".join("x".join(map(str, shape)) or "scalar" for shape in dict.fromkeys(shapes))


def _passes(place: Place) -> str:
    return f"  ({len(place.passes)} passes)" if len(place.passes) > 1 else ""


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _place_of(source: Source | None) -> str:
    return "" if source is None else f"{source.file}:{source.line}"
