"""The page as one file: what it shows as JSON and bytes, its own script and style, and the library that draws."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import numpy as np

from neurolens._version import __version__
from neurolens.explorer.evidence import Evidence
from neurolens.explorer.outline import FAMILIES, Group, Network, build_groups, name_family, walk_groups
from neurolens.explorer.rows import arrange_rows
from neurolens.explorer.scores import Scores

SCRIPTS = (  # of one scope, in this order
    "data.js",
    "state.js",
    "colors.js",
    "places.js",
    "graph.js",
    "images.js",
    "panel.js",
    "plot.js",
    "search.js",
    "keyboard.js",
    "main.js",
)
N_OPEN = 45  # things that are visible at first
_UNSAFE = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


class Bytes:
    """Pieces of binary data in one text, each decoded in the browser when it is needed; equal ones once."""

    def __init__(self) -> None:
        self._place: dict[bytes, tuple[int, int]] = {}
        self._parts: list[str] = []
        self._length = 0

    def add(self, array: np.ndarray[Any, Any]) -> tuple[int, int]:
        """Add an array, little-endian; return where its text begins, and how many bytes it has."""
        data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        if data not in self._place:
            text = base64.b64encode(data).decode()
            self._place[data] = self._length, len(data)
            self._parts.append(text)
            self._length += len(text)
        return self._place[data]

    def __str__(self) -> str:
        return "".join(self._parts)


def write_document(network: Network, scores: tuple[Scores, ...], evidence: Evidence) -> str:
    """Return the whole page as HTML."""
    numbers = Bytes()
    data = _describe(network, scores, evidence, numbers)
    script = "\n".join(_read("page", name) for name in SCRIPTS)
    script = f'(function () {{\n"use strict";\n{script}\n}})();'
    library = _read("vendor", "cytoscape.min.js")
    parts = {
        "title": html.escape(f"{network.name} · neurolens"),
        "policy": _write_policy(library, script),
        "style": _read("page", "page.css"),
        "library": library,
        "script": script,
        "data": _write_json(data),
        "bytes": str(numbers),
    }
    pieces = re.split(r"\[\[(\w+)\]\]", _read("page", "page.html"))
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _read(folder: str, name: str) -> str:
    return (files("neurolens.explorer") / folder / name).read_text(encoding="utf-8")


def _write_policy(*scripts: str) -> str:
    """Forbid the page everything but these scripts, its own style and its own pictures: no request leaves it."""
    sums = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{text}'" for text in sums)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _write_json(data: Mapping[str, Any]) -> str:
    """Write JSON that can stand in HTML: no character of it can end the element that it is in."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_UNSAFE)


def _describe(
    network: Network, scores: tuple[Scores, ...], evidence: Evidence, numbers: Bytes
) -> dict[str, Any]:
    root, titles = build_groups(network.items)
    groups = list(walk_groups(root))
    identity = {group.path: len(network.items) + k for k, group in enumerate(groups)}
    rows = arrange_rows(root, network.edges, n_items=len(network.items))
    families = [FAMILIES.index(name_family(item.function)) for item in network.items]
    return {
        "name": network.name,
        "version": __version__,
        "hasArrows": network.has_arrows,
        "families": FAMILIES,
        "ops": {
            "address": [item.address for item in network.items],
            "title": titles,
            "function": [item.function for item in network.items],
            "family": families,
            "shape": [item.shape for item in network.items],
            "passes": [item.n_passes for item in network.items],
            "facts": [item.facts for item in network.items],
            "source": [item.source for item in network.items],
        },
        "depth": _add_column(numbers, [item.depth for item in network.items]),
        "groups": [
            {
                "path": group.path,
                "title": group.title,
                "kind": network.classes.get(group.path, ""),
                "rows": [[_identify(child, identity) for child in row] for row in rows[group.path]],
            }
            for group in groups
        ],
        "open": choose_open(root, identity),
        "edges": [end for pair in network.edges for end in pair],
        "loops": [end for pair in network.loops for end in pair],
        "columns": {name: _add_column(numbers, column) for name, column in network.numbers.items()},
        "profiles": [_describe_scores(one, numbers) for one in scores],
        "stimuli": {
            "ids": evidence.ids,
            "shown": evidence.shown,
            "count": evidence.n_stimuli,
            "pictures": evidence.pictures,
        },
        "maps": {str(position): _describe_maps(found, numbers) for position, found in evidence.maps.items()},
        "rdms": _describe_rdms(evidence, numbers),
        "metric": evidence.metric,
        "notes": {str(position): note for position, note in evidence.notes.items()},
    }


def _identify(child: int | Group, identity: Mapping[str, int]) -> int:
    return identity[child.path] if isinstance(child, Group) else child


def choose_open(root: Group, identity: Mapping[str, int]) -> list[int]:
    """Return which groups are unfolded at first: level by level, as long as few things are visible."""
    chosen, visible, level = [root], len(root.children), [root]
    while level:
        below = [child for group in level for child in group.children if isinstance(child, Group)]
        room = N_OPEN - visible
        level = below if visible == 1 or sum(len(group.children) for group in below) <= room else []
        chosen += level
        visible += sum(len(group.children) - 1 for group in level)
    return [identity[group.path] for group in chosen]


def _add_column(numbers: Bytes, column: Iterable[float]) -> tuple[int, int]:
    return numbers.add(np.array(list(column), dtype=np.float32))


def _describe_scores(scores: Scores, numbers: Bytes) -> dict[str, Any]:
    tables = {name: numbers.add(table) for name, table in scores.tables.items()}
    by_subject = None if scores.by_subject is None else numbers.add(scores.by_subject)
    return {
        "name": scores.name,
        "measure": scores.measure,
        "addresses": scores.addresses,
        "rows": scores.positions,
        "dims": [{"name": dim, "labels": labels} for dim, labels in scores.dims.items()],
        "tables": tables,
        "subjects": scores.subjects,
        "bySubject": by_subject,
        "attrs": scores.attrs,
    }


def _describe_maps(found: Iterable[tuple[str, Any]], numbers: Bytes) -> list[dict[str, Any]]:
    return [
        {
            "address": address,
            "levels": numbers.add(maps.levels),
            "shape": maps.levels.shape,
            "low": _finite(maps.low),
            "high": _finite(maps.high),
            "passes": maps.passes,
            "said": maps.said,
        }
        for address, maps in found
    ]


def _describe_rdms(evidence: Evidence, numbers: Bytes) -> dict[str, Any]:
    return {
        str(position): {
            "levels": numbers.add(found.levels),
            "low": _finite(found.low),
            "high": _finite(found.high),
            "points": numbers.add(np.rint(found.points * 127).astype(np.int8)),
            "share": _finite(found.share),
        }
        for position, found in evidence.geometries.items()
    }


def _finite(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
