"""The graph of a trace as a picture: Graphviz source, rendered by `dot` or by pygraphviz."""

from __future__ import annotations

import html
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

import graphviz

from neurolens.errors import InputError, NeurolensError, NeurolensWarning, check_choice, list_names
from neurolens.tracing.boxes import DETAILS, Arrow, Box, Boxes, choose_boxes
from neurolens.tracing.operation import Branch
from neurolens.tracing.palette import DARK, Palette, read_palette, say_value
from neurolens.tracing.sizes import say_number

if TYPE_CHECKING:
    from neurolens.tracing.trace import Trace

Detail = Literal["shape", "parameters", "flops"]
_FORMATS = (".svg", ".pdf", ".png", ".dot")
_FONT = "Helvetica"
_PLAIN, _LEARNT = "#f3f4f6", "#dbeafe"
_END = {"shape": "oval", "margin": "0.03,0.01"}
_LOOP, _BRANCH = "#b91c1c", "#b45309"
_EFFORT = {
    "nslimit": "4",
    "nslimit1": "4",
    "mclimit": "0.5",
    "splines": "polyline",
}  # where there is much to place
_MANY = 150  # boxes


def draw(
    trace: Trace,
    *,
    color: Any,
    fold: int | None,
    rolled: bool | None,
    composites: bool,
    show: Detail | Sequence[Detail],
    label: str | None,
) -> graphviz.Digraph:
    """Return the graph as Graphviz source."""
    if fold is not None and fold < 1:
        raise InputError(f"fold={fold} leaves nothing to draw: give a level of nesting, 1 or more.")
    details: tuple[Detail, ...] = (show,) if isinstance(show, str) else tuple(show)
    for detail in details:
        check_choice(detail, DETAILS, "show")
    palette = read_palette(trace, color, label)
    boxes = choose_boxes(trace, fold=fold, rolled=rolled, composites=composites)
    if fold is None:
        _warn_of_folding(trace, boxes)
    return _Picture(trace, boxes, palette, details).draw()


def _warn_of_folding(trace: Trace, boxes: Boxes) -> None:
    """Say that there was too much to show, and what was done."""
    if boxes.level is None and boxes.run == 1:
        return
    how = [f"modules below level {boxes.level} are drawn as one node each"] if boxes.level else []
    how += [f"{boxes.run} nodes in a row as one"] if boxes.run > 1 else []
    warnings.warn(
        f"{len(trace)} operations are too many to read, so {' and '.join(how)} ({len(boxes.nodes)} nodes). "
        "fold= chooses another level.",
        NeurolensWarning,
        stacklevel=4,
    )


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
        command = ["dot", f"-T{path.suffix[1:]}", *_resolution(path)]
        done = subprocess.run(command, input=graph.source.encode(), check=True, capture_output=True)
        path.write_bytes(done.stdout)
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
        # Into memory: where Graphviz itself meets a full disk it ends the process.
        path.write_bytes(picture.draw(format=path.suffix[1:], prog="dot", args=" ".join(_resolution(path))))


def _resolution(path: Path) -> list[str]:
    return ["-Gdpi=110"] if path.suffix == ".png" else []


def _node(name: str) -> str:
    """Write a name so that Graphviz does not read a port in it."""
    return name.replace(":", "\uff1a") or "\u2205"


@dataclass(frozen=True, slots=True)
class _Picture:
    """One graph while it is written."""

    trace: Trace
    boxes: Boxes
    palette: Palette | None
    show: tuple[Detail, ...]

    def draw(self) -> graphviz.Digraph:
        """Write everything: title and key, boxes in the frames of their modules, arrows."""
        name = self.trace.model.name
        graph = graphviz.Digraph(name.replace(":", "_") or "trace")
        effort = _EFFORT if len(self.boxes.nodes) > _MANY else {}
        graph.attr(rankdir="TB", fontname=_FONT, fontsize="12", labelloc="t", label=self._head())
        graph.attr(nodesep="0.25", ranksep="0.3", **effort)
        graph.attr(
            "node", shape="box", style="rounded,filled", fontname=_FONT, fontsize="12", color="#9ca3af"
        )
        graph.attr("node", margin="0.12,0.05", fontcolor=DARK)
        graph.attr("edge", color="#7b8494", arrowsize="0.6", fontname=_FONT, fontsize="10")
        self._add_frames(graph)
        self._add_ends(graph)
        self._add_arrows(graph)
        return graph

    # ------------------------------------------------------------------ title and key

    def _head(self) -> str:
        """Write the title, and under it what colours and lines mean, as far as they are there."""
        rows = [f'<TR><TD><FONT POINT-SIZE="18">{html.escape(self._title())}</FONT></TD></TR>']
        rows += [f"<TR><TD>{_table(row)}</TD></TR>" for row in self._key()]
        return f"<{_table(''.join(rows), spacing=4, bare=True)}>"

    def _title(self) -> str:
        trace = self.trace
        n_steps = len(trace.recording.events)
        steps = f" in {n_steps:,} steps" if n_steps != len(trace) else ""
        return f"{trace.model.name}: {say_number(len(trace), 'operation')}{steps}"

    def _key(self) -> Iterator[str]:
        if self.palette is not None:
            yield self.palette.write_legend()
        else:
            yield f'<TD BGCOLOR="{_LEARNT}">with parameters</TD><TD BGCOLOR="{_PLAIN}">without</TD>'
        lines = []
        if self.boxes.back:
            lines.append(f'<TD><FONT COLOR="{_LOOP}">- - -&gt; read by a later pass</FONT></TD>')
        if self.boxes.branches:
            lines.append(f'<TD><FONT COLOR="{_BRANCH}">· · ·&gt; decides an if</FONT></TD>')
        if lines:
            yield "".join(lines)

    # ------------------------------------------------------------------ boxes

    def _add_frames(self, graph: graphviz.Digraph) -> None:
        """Add boxes inside the frames of their modules."""
        tree: dict[str, list[Box]] = {}
        for box in self.boxes.nodes.values():
            tree.setdefault(box.cluster, []).append(box)
        inner: dict[str, dict[str, None]] = {}
        for path in tree:
            while path:
                outer = path.rpartition(".")[0]
                inner.setdefault(outer, {})[path] = None
                path = outer
        self._add_frame(graph, "", tree, inner)

    def _add_frame(
        self,
        graph: graphviz.Digraph,
        path: str,
        tree: Mapping[str, list[Box]],
        inner: Mapping[str, Mapping[str, None]],
    ) -> None:
        for box in tree.get(path, ()):
            self._add_box(graph, box)
        for child in inner.get(path, ()):
            with graph.subgraph(name=f"cluster_{_node(child)}") as frame:
                place = self.trace.names.places.get(child)
                # The bare name, on the left and short: arrows come in at the middle, and would cross it.
                name = child.rsplit(".", 1)[-1]
                size = "12" if len(name) < 10 else "9"
                frame.attr(label=graphviz.escape(name), labeljust="l", labelloc="t", fontsize=size)
                frame.attr(tooltip=graphviz.escape(f"{child}: {place.name}" if place else child))
                frame.attr(style="rounded", color="#9ca3af", fontcolor=DARK)
                self._add_frame(frame, child, tree, inner)

    def _add_box(self, graph: graphviz.Digraph, box: Box) -> None:
        fill, ink, value = self._paint(box)
        lines = [box.title, self._passes(box), *(DETAILS[detail](self.trace, box) for detail in self.show)]
        n_operations = len({self.trace.names.of_event[index][0].address for index in box.members})
        lines += [f"{n_operations} operations"] if box.folds and n_operations > 1 else []
        label = "\n".join(line for line in (*lines, value) if line)
        is_input = box.address == self.trace.names.input
        graph.node(
            _node(box.name),
            label=graphviz.escape(label),
            fillcolor=fill,
            fontcolor=ink,
            tooltip=graphviz.escape(box.name or "the model"),
            **(_END if is_input else {}),
            **({"style": "rounded,filled,bold"} if box.folds else {}),
        )

    def _passes(self, box: Box) -> str:
        if box.n_passes < 2:
            return ""
        return f"pass {box.number} of {box.n_passes}" if box.number else f"{box.n_passes} passes"

    def _paint(self, box: Box) -> tuple[str, str, str]:
        """Return the colour of a box, of its text, and its value as text."""
        if self.palette is None:
            return _LEARNT if box.n_parameters else _PLAIN, DARK, ""
        value = self.palette.find(self._addresses(box))
        return *self.palette.paint(value), say_value(value)

    def _addresses(self, box: Box) -> Iterator[str]:
        """Yield what a box may be called by the one who chose colours; what is folded shows its last operation."""
        yield from (box.name, box.address)
        for index in reversed(box.members):
            yield self.trace.pass_address(index)
            yield self.trace.names.of_event[index][0].address

    # ------------------------------------------------------------------ arrows

    def _add_ends(self, graph: graphviz.Digraph) -> None:
        """Add what comes out, below what made it."""
        trace = self.trace
        home = {index: box.name for box in self.boxes.nodes.values() for index in box.members}
        for name, value in trace.names.outputs.items():
            if value.event.index in home and not value.parameter:
                graph.node(_node(name), label=graphviz.escape(name), fillcolor=_PLAIN, **_END)
                graph.edge(_node(home[value.event.index]), _node(name))

    def _add_arrows(self, graph: graphviz.Digraph) -> None:
        for tail, head in self.boxes.forward:
            graph.edge(_node(tail), _node(head))
        for tail, head in self.boxes.back:
            graph.edge(_node(tail), _node(head), color=_LOOP, style="dashed", constraint="false")
        for arrow, branch in self.boxes.branches.items():
            self._add_branch(graph, arrow, branch)

    def _add_branch(self, graph: graphviz.Digraph, arrow: Arrow, branch: Branch) -> None:
        text = shorten(branch.source.text.rstrip(":"), 40, placeholder=" …")
        graph.edge(
            *map(_node, arrow),
            color=_BRANCH,
            fontcolor=_BRANCH,
            style="dotted",
            penwidth="1.6",
            label=graphviz.escape(f"   {text}: {'yes' if branch.taken else 'no'}"),  # beside the dots
            tooltip=graphviz.escape(str(branch.source)),
        )


def _table(rows: str, *, spacing: int = 0, bare: bool = False) -> str:
    rows = rows if bare else f"<TR>{rows}</TR>"
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="{spacing}" CELLPADDING="3">{rows}</TABLE>'
