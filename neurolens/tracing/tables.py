"""A trace as text, as HTML and as a table."""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import torch

from neurolens.activations.sizes import say_bytes
from neurolens.recording.addresses import Place, results
from neurolens.recording.events import Event
from neurolens.tracing.operation import Operation
from neurolens.tracing.sizes import count_parameters, name_parameters, say_number
from neurolens.tracing.source import Source

if TYPE_CHECKING:
    from neurolens.tracing.trace import Trace

_LINES = 24  # operations that fit on a screen beside the head
_WIDTH = 110  # characters


def to_frame(trace: Trace) -> pd.DataFrame:
    """Return one row an operation, in execution order."""
    rows = []
    parameters = name_parameters(trace)
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
                "parameters": count_parameters(_events(place), parameters),
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
    n_parameters = count_parameters(trace.recording.events, name_parameters(trace))
    lines = [
        f"Trace of {trace.model.name}: {say_number(len(operations), 'operation')}, {say_number(n_steps, 'step')}, "
        f"{say_number(len(trace.modules), 'module')}, {say_number(n_parameters, 'parameter')}, "
        f"{say_bytes(trace.n_bytes)} kept",
        f"  {common}",
        "",
    ]
    rows = [(address, _shapes(place), _passes(place)) for address, place in operations.items()]
    width = min(max((len(address) for address, _, _ in rows), default=0), 70)
    shown = rows if len(rows) <= _LINES else rows[: _LINES // 2] + rows[-_LINES // 2 :]
    for number, (address, shapes, passes) in enumerate(shown):
        if len(rows) > _LINES and number == _LINES // 2:
            lines.append(f"  ... {len(rows) - _LINES} more: .to_frame(), .find('**.conv2d'), .draw()")
        lines.append(_fit(f"  {address:<{width}}  ", shapes, passes))
    return "\n".join(lines)


def to_html(trace: Trace) -> str:
    """Return a page part for notebooks: every module folds."""
    head = html.escape(summarise(trace).splitlines()[0])
    root = _Branch()
    for place in trace.names.operations.values():
        branch = root
        for name in place.module.split(".") if place.module else ():
            branch = branch.inner.setdefault(name, _Branch())
        branch.operations.append(place)
    return f"<details><summary><b>{head}</b></summary>{_write_branch(trace, root, '')}</details>"


@dataclass(slots=True)
class _Branch:
    """A module while the page is written: its own operations, and the modules in it, in the order they first ran."""

    operations: list[Place] = field(default_factory=list)
    inner: dict[str, _Branch] = field(default_factory=dict)

    @property
    def n_operations(self) -> int:
        return len(self.operations) + sum(branch.n_operations for branch in self.inner.values())


def _write_branch(trace: Trace, branch: _Branch, path: str) -> str:
    """Write what is in a module: its operations as a table, then each module in it, folded."""
    parts = []
    if branch.operations:
        rows = "".join(_row(place) for place in branch.operations)
        left = "style='text-align:left'"
        parts.append(
            f"<table style='margin-left:1em'><tr><th {left}>operation</th><th {left}>shape</th><th>passes</th></tr>"
            f"{rows}</table>"
        )
    for name, inner in branch.inner.items():
        inner_path = f"{path}.{name}" if path else name
        place = trace.names.places.get(inner_path)
        kind = f" {html.escape(place.name)}" if place else ""
        parts.append(
            f"<details style='margin-left:1em'><summary>{html.escape(inner_path)}<small>{kind}, "
            f"{say_number(inner.n_operations, 'operation')}</small></summary>"
            f"{_write_branch(trace, inner, inner_path)}</details>"
        )
    return "".join(parts)


def _row(place: Place) -> str:
    cell = "<td style='text-align:left'>{}</td>"
    return (
        "<tr>"
        + cell.format(f"<code>{html.escape(place.address)}</code>")
        + cell.format(html.escape(_shapes(place)))
        + f"<td>{len(place.passes)}</td></tr>"
    )


def _events(place: Place) -> list[Event]:
    return [item for item in place.passes if isinstance(item, Event)]


def _fit(start: str, shapes: str, end: str) -> str:
    """Write a line no wider than the screen, by leaving out shapes."""
    room = max(_WIDTH - len(start) - len(end), 20)
    return start + (shapes if len(shapes) <= room else f"{shapes[: room - 4]} ...") + end


def _shapes(place: Place) -> str:
    shapes = (tuple(value.shape) for item in place.passes for value in results(item).values())
    return " | ".join("x".join(map(str, shape)) or "scalar" for shape in dict.fromkeys(shapes))


def _passes(place: Place) -> str:
    return f"  ({len(place.passes)} passes)" if len(place.passes) > 1 else ""


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _place_of(source: Source | None) -> str:
    return "" if source is None else f"{source.file}:{source.line}"
