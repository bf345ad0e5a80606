"""Tables: onto stdout and into files, each of which is whole or as it was. Light: `info` answers at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from neurolens.cli.options import Format
from neurolens.errors import check_choice


def print_table(table: pd.DataFrame, format: Format, attrs: Mapping[Any, Any] | None = None) -> None:
    """Print a table; json has the attrs beside the rows."""
    if format == "csv":
        table.to_csv(sys.stdout, index=False)
    elif format == "json":
        typer.echo(_to_json(table, attrs or {}))
    else:
        texts = table.map(lambda value: f"{value:.3g}" if isinstance(value, float) else str(value))
        widths = {name: max([len(str(name)), *texts[name].map(len)]) for name in texts}
        for row in ({name: name for name in texts}, *texts.to_dict("records")):
            typer.echo("  ".join(str(row[name]).ljust(width) for name, width in widths.items()).rstrip())


def write_table(table: pd.DataFrame, path: Path, attrs: Mapping[Any, Any]) -> None:
    """Write a table; .json has the attrs beside the rows."""
    check_choice(path.suffix.lower(), (".csv", ".json"), "the ending of --out")
    if path.suffix.lower() == ".csv":
        replace_file(path, lambda new: table.to_csv(new, index=False))
    else:
        replace_file(path, lambda new: new.write_text(_to_json(table, attrs) + "\n", encoding="utf-8"))


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file that is whole or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.new{path.suffix}")
    try:
        write(building)
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)


def _to_json(table: pd.DataFrame, attrs: Mapping[Any, Any]) -> str:
    rows = json.loads(table.to_json(orient="records", force_ascii=False, double_precision=15))
    return json.dumps({"attrs": dict(attrs), "rows": rows}, default=str, ensure_ascii=False, indent=1)
