"""What each dataset is and where its files are: the cards and registries of the catalogue folder."""

from __future__ import annotations

import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurolens.errors import InputError, check_choice

__all__ = ["Card", "Registry", "find_catalogue", "list_datasets", "read_card", "read_registry"]

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Card:
    """What a user of a dataset should know.

    Attributes
    ----------
    name, title, description
        What it is.
    origin, licence, citation
        Where it comes from, what may be done with it, what to cite.
    shapes
        What it holds: pairs of a name ("stimuli" or a region) and its dims, sizes and units.
    simulated
        Whether the "brain" data were computed rather than measured.
    size
        Of the files.
    access
        How to get them.
    obtained
        How this copy was had; "" until it is fetched.

    Examples
    --------
    >>> card = read_card("shapes80")
    >>> card.simulated, card.licence != ""
    (True, True)
    """

    name: str
    title: str
    description: str
    origin: str
    licence: str
    citation: tuple[str, ...]
    shapes: tuple[tuple[str, str], ...]
    simulated: bool
    size: str
    access: str
    obtained: str = ""

    def __repr__(self) -> str:
        """Show title, description, origin, licence, citation and shapes, in lines of 100 characters."""
        kind = "SIMULATED data" if self.simulated else "measured data"
        lines = [f"{self.title} ({self.name}, {kind})", *textwrap.wrap(self.description, 100), ""]
        rows = [("origin", self.origin), ("licence", self.licence), ("size", self.size)]
        rows += [("access", self.access), ("obtained", self.obtained)]
        rows += [("cite", reference) for reference in self.citation] + list(self.shapes)
        for label, text in rows:
            if text:
                lines += textwrap.wrap(text, 100, initial_indent=f"{label:<16}", subsequent_indent=" " * 16)
        return "\n".join(lines)


@dataclass(frozen=True)
class RemoteFile:
    """One file of a dataset: its name, its size in bytes and its SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Registry:
    """The files of a dataset, and the addresses they can be had from; none if they are embedded.

    A set that is too large or not free to be fetched by checksum has a layout instead: patterns of files, each of
    which must be there.
    """

    origins: tuple[str, ...]
    files: tuple[RemoteFile, ...]
    layout: tuple[str, ...] = ()


def find_catalogue(package: Path = _PACKAGE) -> Path:
    """Return the folder of cards: inside the installed package, else beside it in a checkout."""
    candidates = [package / "_datasets", package.parent / "datasets"]
    for folder in candidates:
        if any(folder.glob("*/card.toml")):
            return folder
    raise InputError(
        f"The cards of the datasets are missing: neither {candidates[0]} nor {candidates[1]} holds any. "
        "Install neurolens again, or run it from its checkout."
    )


def list_datasets() -> tuple[str, ...]:
    """Return the names of the datasets that `fetch` knows.

    Returns
    -------
    tuple of str
        In alphabetical order.

    Examples
    --------
    >>> "shapes80" in list_datasets()
    True
    """
    return tuple(sorted(path.parent.name for path in find_catalogue().glob("*/card.toml")))


def read_card(name: str) -> Card:
    """Read what a dataset is, without fetching it.

    Parameters
    ----------
    name
        One of `list_datasets()`.

    Returns
    -------
    Card
        With origin, licence, citation, shapes, and whether it is simulated.

    Raises
    ------
    InputError
        If there is no such dataset; the message lists those there are.

    Examples
    --------
    >>> read_card("shapes80").simulated
    True
    """
    content = _read_toml(name, "card.toml")
    return Card(
        name=name,
        title=content["title"],
        description=" ".join(content["description"].split()),
        origin=content["origin"],
        licence=content["licence"],
        citation=tuple(content["citation"]),
        shapes=tuple(content["shapes"].items()),
        simulated=content["simulated"],
        size=content["size"],
        access=content["access"],
    )


def read_registry(name: str) -> Registry:
    """Read which files a dataset has and where they can be had."""
    content = _read_toml(name, "registry.toml")
    files = tuple(RemoteFile(file["name"], file["size"], file["sha256"]) for file in content.get("file", ()))
    return Registry(tuple(content["origins"]), files, tuple(content.get("layout", ())))


def _read_toml(name: str, file: str) -> dict[str, Any]:
    check_choice(name, list_datasets(), "name")
    return tomllib.loads((find_catalogue() / name / file).read_text(encoding="utf-8"))
