"""The graph of a trace as a picture: Graphviz source, rendered by `dot` or by pygraphviz."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import graphviz
import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import to_hex

from neurolens.errors import InputError, NeurolensError, NeurolensWarning, list_names
from neurolens.recording.addresses import Place, results
from neurolens.recording.events import Event
from neurolens.schema import OP

if TYPE_CHECKING:
    from neurolens.tracing.trace import Trace

MAX_NODES = 500
_FORMATS = (".svg", ".pdf", ".png", ".dot")
_FONT = "Helvetica"
_PLAIN = "#f3f4f6"
_MISSING = "#ffffff"


@dataclass(frozen=True, slots=True)
class _Scale:
    """Values of operations as colours."""

    values: Mapping[str, float]
    low: float
    high: float

    def paint(self, value: float | None) -> tuple[str, str]:
        """Return the colour of the box and of the text in it."""
        if value is None or not np.isfinite(value):
            return _MISSING, "#6b7280"
        part = 0.5 if self.high == self.low else (value - self.low) / (self.high - self.low)
        rgba = colormaps["viridis"](float(np.clip(part, 0, 1)))
        dark = 0.299 * rgba[0] + 0.587 * rgba[1] + 0.114 * rgba[2] < 0.5
        return to_hex(rgba), "#ffffff" if dark else "#111827"


@dataclass(frozen=True, slots=True)
class _Paint:
    """The colours of one picture, and the number written into each node."""

    trace: Trace
    scale: _Scale | None

    def __call__(self, box: _Box) -> tuple[str, str, str]:
        """Return the colour of the box, of its text, and its number as text."""
        if self.scale is None:
            return _PLAIN, "#111827", ""
        value = next((self.scale.values[a] for a in self._addresses(box) if a in self.scale.values), None)
        return *self.scale.paint(value), "" if value is None else f"\n{value:.3f}"

    def _addresses(self, box: _Box) -> Iterator[str]:
        """Yield what a node may be called by the one who chose colours; a folded module shows its last operation."""
        yield box.name
        for index in reversed(box.members):
            yield self.trace.pass_address(index)
            yield self.trace.names.of_event[index][0].address


@dataclass(slots=True)
class _Box:
    """One node of the picture: an operation, or a folded module."""

    name: str
    title: str
    detail: str
    members: list[int]  # indexes of events
    cluster: str


def draw(
    trace: Trace, *, color: Any, fold: int | None, rolled: bool | None, label: str | None
) -> graphviz.Digraph:
    """Return the graph as Graphviz source."""
    boxes = _choose_boxes(trace, fold, rolled)
    scale = _read_colors(trace, color)
    title = f"{trace.model.name}: {len(trace)} operations"
    graph = graphviz.Digraph(trace.model.name.replace(":", "_") or "trace")
    graph.attr(
        rankdir="TB", fontname=_FONT, fontsize="18", labelloc="t", label=title, nodesep="0.25", ranksep="0.3"
    )
    graph.attr("node", shape="box", style="rounded,filled", fontname=_FONT, fontsize="12", margin="0.12,0.05")
    graph.attr("edge", color="#6b7280", arrowsize="0.6")
    _add_boxes(graph, boxes, _Paint(trace, scale))
    for (tail, head), count in _edges(trace, boxes).items():
        graph.edge(tail, head, **({"penwidth": "1.6"} if count > 1 else {}))
    if scale is not None:
        _add_legend(graph, scale, label or _default_label(color))
    return graph


def render(graph: graphviz.Digraph, path: Path) -> None:
    """Write a picture.

    Raises
    ------
    InputError
        If the suffix is not one that can be written.
    NeurolensError
        If neither `dot` nor pygraphviz is there.
    """
    if path.suffix not in _FORMATS:
        raise InputError(
            f"{path.name!r} has the suffix {path.suffix!r}; a graph can be written as {list_names(_FORMATS)}."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".dot":
        path.write_text(graph.source, encoding="utf-8")
    elif shutil.which("dot"):
        command = ["dot", f"-T{path.suffix[1:]}", *_resolution(path), "-o", str(path)]
        subprocess.run(command, input=graph.source.encode(), check=True, capture_output=True)
    else:
        _render_without_dot(graph.source, path)


def _render_without_dot(source: str, path: Path) -> None:
    try:
        import pygraphviz
    except ImportError:
        raise NeurolensError(
            f"Drawing {path.name!r} needs Graphviz. Install the extra: pip install '.[draw]' (pygraphviz, which has "
            "it), or Graphviz itself; or write a .dot file and render it elsewhere."
        ) from None
    with pygraphviz.AGraph(string=source) as picture:
        picture.draw(str(path), prog="dot", args=" ".join(_resolution(path)))


def _resolution(path: Path) -> list[str]:
    return ["-Gdpi=110"] if path.suffix == ".png" else []


# ---------------------------------------------------------------------- what is a node


def _choose_boxes(trace: Trace, fold: int | None, rolled: bool | None) -> list[_Box]:
    """Return the nodes: as asked for, else every pass, or every operation, or as few folded modules as needed."""
    if fold is not None:
        if fold < 1:
            raise InputError(f"fold={fold} leaves nothing to draw: give a level of nesting, 1 or more.")
        return _boxes_at(trace, fold, bool(rolled))
    places = trace.names.operations.values()
    deepest = max((_nesting(place) for place in places), default=0)
    ways = [(None, way) for way in ((False, True) if rolled is None else (rolled,))]
    for level, way in [*ways, *((level, True) for level in range(deepest, 0, -1))]:
        boxes = _boxes_at(trace, level, way)
        if len(boxes) <= MAX_NODES:
            break
    if level is not None:
        warnings.warn(
            f"{len(trace)} operations are too many to read, so modules below level {level} are drawn as one node "
            f"each ({len(boxes)} nodes). fold= chooses another level.",
            NeurolensWarning,
            stacklevel=4,
        )
    return boxes


def _nesting(place: Place) -> int:
    return place.module.count(".") + 1 if place.module else 0


def _boxes_at(trace: Trace, fold: int | None, rolled: bool) -> list[_Box]:
    """Return one node a pass (or operation, if rolled), and one a module at the level of folding."""
    alone = Counter(place.module for place in trace.names.operations.values())
    boxes: dict[str, _Box] = {}
    for event in trace.recording.events:
        place, number = trace.names.of_event[event.index]
        if fold is not None and _nesting(place) >= fold:
            name = ".".join(place.module.split(".")[:fold])
            kind = trace.names.places[name].name if name in trace.names.places else ""
            box = boxes.setdefault(
                name, _Box(name, name.rsplit(".", 1)[-1], kind, [], name.rpartition(".")[0])
            )
        else:
            name = place.address if rolled else trace.pass_address(event.index)
            box = boxes.setdefault(name, _make_box(name, place, event, alone, rolled, number))
        box.members.append(event.index)
    for box in boxes.values():
        if box.name not in trace.names.operations and len(box.members) > 1:
            box.detail += f"\n{len(box.members)} operations"
    return list(boxes.values())


def _make_box(
    name: str, place: Place, event: Event, alone: Mapping[str, int], rolled: bool, number: int
) -> _Box:
    title, cluster = place.name, place.module
    inside = not any(path.startswith(f"{place.module}.") for path in alone)
    if place.module and alone[place.module] == 1 and inside:  # the module is this operation: no box around it
        title, cluster = f"{place.module.rsplit('.', 1)[-1]}: {place.name}", place.module.rpartition(".")[0]
    items = place.passes if rolled else [event]
    shapes = dict.fromkeys(tuple(value.shape) for item in items for value in results(item).values())
    detail = " | ".join("\u00d7".join(map(str, shape)) or "scalar" for shape in list(shapes)[:3])
    if len(place.passes) > 1:
        detail += f"\n{len(place.passes)} passes" if rolled else f"\npass {number} of {len(place.passes)}"
    return _Box(name, title, detail, [], cluster)


def _edges(trace: Trace, boxes: Iterable[_Box]) -> Counter[tuple[str, str]]:
    home = {index: box.name for box in boxes for index in box.members}
    folded = {box.name for box in boxes if box.name in trace.modules}
    edges: Counter[tuple[str, str]] = Counter()
    for index, parents in enumerate(trace.graph.parents):
        for parent in parents:
            if home[parent] != home[index] or home[index] not in folded:
                edges[_node(home[parent]), _node(home[index])] += 1
    return edges


def _node(name: str) -> str:
    """Write a name so that Graphviz does not read a port in it."""
    return name.replace(":", "\uff1a") or "\u2205"


# ---------------------------------------------------------------------- how it looks


def _add_boxes(graph: graphviz.Digraph, boxes: list[_Box], paint: _Paint) -> None:
    """Add nodes inside the boxes of their modules."""
    tree: dict[str, list[_Box]] = {}
    for box in boxes:
        tree.setdefault(box.cluster, []).append(box)
    paths = {".".join(p.split(".")[:n]) for p in tree if p for n in range(1, p.count(".") + 2)}
    _add_cluster(graph, "", tree, sorted(paths), paint)


def _add_cluster(
    graph: graphviz.Digraph, path: str, tree: Mapping[str, list[_Box]], paths: list[str], paint: _Paint
) -> None:
    for box in tree.get(path, ()):
        _add_node(graph, box, paint)
    depth = path.count(".") + 1 if path else 0
    prefix = f"{path}." if path else ""
    for inner in [p for p in paths if p.startswith(prefix) and p.count(".") == depth]:
        with graph.subgraph(name=f"cluster_{_node(inner)}") as cluster:
            cluster.attr(
                label=inner.rsplit(".", 1)[-1],
                style="rounded",
                color="#9ca3af",
                fontsize="13",
                fontcolor="#374151",
                labeljust="l",
                labelloc="t",
            )
            _add_cluster(cluster, inner, tree, paths, paint)


def _add_node(graph: graphviz.Digraph, box: _Box, paint: _Paint) -> None:
    fill, ink, text = paint(box)
    label = "\n".join(part for part in (box.title, box.detail) if part) + text
    graph.node(
        _node(box.name),
        label=graphviz.escape(label),
        fillcolor=fill,
        fontcolor=ink,
        tooltip=box.name or "model",
    )


def _add_legend(graph: graphviz.Digraph, scale: _Scale, label: str) -> None:
    steps = 5 if scale.high > scale.low else 1
    cells = []
    for value in np.linspace(scale.high, scale.low, steps):
        fill, ink = scale.paint(float(value))
        cells.append(f'<TR><TD BGCOLOR="{fill}" WIDTH="70"><FONT COLOR="{ink}">{value:.3f}</FONT></TD></TR>')
    title = graphviz.escape(label).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    table = f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0"><TR><TD><B>{title}</B></TD></TR>{"".join(cells)}</TABLE>'
    graph.node("legend \u2261", label=f"<{table}>", shape="plain", style="", tooltip="legend")


# ---------------------------------------------------------------------- colours


def _read_colors(trace: Trace, color: Any) -> _Scale | None:
    if color is None:
        return None
    values = {address: number for address, number in _as_mapping(color).items() if address in trace}
    finite = [number for number in values.values() if np.isfinite(number)]
    if not finite:
        raise InputError(
            "color= has no finite number for any operation of this trace. Give a Mapping from address to number, a "
            "DataArray over `op`, or a Profile of the same model."
        )
    return _Scale(values, min(finite), max(finite))


def _as_mapping(color: Any) -> dict[str, float]:
    if isinstance(color, xr.Dataset):
        color = color["score"]
    if isinstance(color, xr.DataArray):
        extra = [str(dim) for dim in color.dims if dim != OP and color.sizes[dim] > 1]
        if OP not in color.dims or extra:
            raise InputError(
                f"color= has the dims {list_names(color.dims)}; a graph shows one number an operation (`op`). Choose "
                f"first: profile.sel({extra[0] if extra else 'region'}=...)."
            )
        color = color.squeeze([dim for dim in color.dims if dim != OP])
        return {str(op): float(value) for op, value in zip(color[OP].values, color.values, strict=True)}
    if isinstance(color, Mapping):
        return {str(address): float(value) for address, value in color.items()}
    raise InputError(
        f"color= cannot be a {type(color).__name__}. Give a Mapping from address to number, a DataArray over `op`, "
        "or a Profile."
    )


def _default_label(color: Any) -> str:
    attrs = getattr(color, "attrs", {})
    return str(attrs.get("similarity") or attrs.get("method") or "value")
