"""From a registry to files on this machine: embedded, found in a folder, cached or downloaded."""

from __future__ import annotations

import http.client
import os
import threading
import time
import urllib.request
from pathlib import Path

import pooch

from neurolens.datasets.cards import Registry, find_catalogue, read_card
from neurolens.errors import StoreError

__all__ = ["DATA_VARIABLE", "obtain_files"]

DATA_VARIABLE = "NEUROLENS_DATA"  # names a folder with one sub-folder a dataset


def obtain_files(
    name: str, registry: Registry, *, data_home: str | os.PathLike[str] | None, download: bool, timeout: float
) -> tuple[Path, str]:
    """Return the folder that holds all files of a dataset, and in words how they were had.

    Looked for in this order: the catalogue (embedded data); `data_home`, or, where that is None, the folder
    that NEUROLENS_DATA names and the cache; then, if allowed, the origins of the registry. Checksums are
    verified.
    """
    if registry.layout:
        return _find_layout(name, registry, _list_homes(data_home))
    if not registry.origins:
        folder = find_catalogue() / name
        _verify(folder, registry)
        return folder, f"embedded in neurolens ({folder})"
    homes = _list_homes(data_home)
    cache = homes[-1]
    for home in homes:
        if all((home / name / file.name).is_file() for file in registry.files):
            _verify(home / name, registry)
            return home / name, f"read from {home / name}"
    if not download:
        raise StoreError(_explain(name, registry, homes, "download=False forbids looking further"))
    origin = _find_origin(registry, timeout)
    if origin is None:
        reason = f"no origin answered within {timeout:g} s ({', '.join(registry.origins)})"
        raise StoreError(_explain(name, registry, homes, reason))
    try:
        _download(origin, registry, cache / name, timeout)
    except (OSError, ValueError) as error:
        reason = f"the download from {origin} failed: {error}"
        raise StoreError(_explain(name, registry, homes, reason)) from error
    return cache / name, f"downloaded from {origin} to {cache / name}"


def _list_homes(data_home: str | os.PathLike[str] | None) -> list[Path]:
    """Return the folders to look in; the last one may be written to."""
    if data_home is not None:
        return [Path(data_home)]
    homes = [Path(pooch.os_cache("neurolens"))]
    if os.environ.get(DATA_VARIABLE):
        homes.insert(0, Path(os.environ[DATA_VARIABLE]))
    return homes


def _find_layout(name: str, registry: Registry, homes: list[Path]) -> tuple[Path, str]:
    """Return the folder of a set that the user has got: every pattern of its layout is there."""
    for home in homes:
        folder = home / name
        missing = [pattern for pattern in registry.layout if not any(folder.glob(pattern))]
        if not missing:
            return folder, f"read from {folder}"
        if folder.is_dir():
            raise StoreError(
                f"The dataset {name!r} in {folder} is incomplete: nothing there is called "
                f"{' or '.join(missing)}. How to get it: {read_card(name).access}"
            )
    tried = " or ".join(str(home / name) for home in homes)
    raise StoreError(
        f"The dataset {name!r} cannot be had: there is no folder {tried}. By hand: {read_card(name).access} Put "
        f"it into a folder {name!r}, and set {DATA_VARIABLE} to the folder above it."
    )


def _verify(folder: Path, registry: Registry) -> None:
    """Refuse a file whose content is not the registered one: analyses of it would not be reproducible."""
    for file in registry.files:
        path = folder / file.name
        if not path.is_file():
            raise StoreError(f"{path} is missing. Install neurolens again.")
        found = pooch.file_hash(str(path))
        if found != file.sha256:
            raise StoreError(
                f"{path} ({path.stat().st_size} bytes, SHA-256 {found[:12]}...) is not the registered file "
                f"({file.size} bytes, SHA-256 {file.sha256[:12]}...). Delete it and fetch again."
            )


def _find_origin(registry: Registry, timeout: float) -> str | None:
    """Return the first origin that answers for the first file, asked all at once, within `timeout` seconds.

    Threads, because resolving a name may block longer than any timeout that can be given to a connection.
    """
    answered: set[str] = set()

    def ask(origin: str) -> None:
        request = urllib.request.Request(origin + registry.files[0].name, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=timeout):
                answered.add(origin)
        except (OSError, ValueError, http.client.HTTPException):
            return

    deadline = time.monotonic() + timeout
    threads = [threading.Thread(target=ask, args=(origin,), daemon=True) for origin in registry.origins]
    for thread in threads:
        thread.start()
    for origin, thread in zip(registry.origins, threads, strict=True):
        thread.join(max(0.0, deadline - time.monotonic()))
        if origin in answered:
            return origin
    return None


def _download(origin: str, registry: Registry, folder: Path, timeout: float) -> None:
    hashes = {file.name: f"sha256:{file.sha256}" for file in registry.files}
    store = pooch.create(path=folder, base_url=origin, registry=hashes)
    for file in registry.files:
        store.fetch(file.name, downloader=pooch.HTTPDownloader(timeout=timeout))


def _explain(name: str, registry: Registry, homes: list[Path], reason: str) -> str:
    """Say what was tried, and how to get the files by hand."""
    tried = " or ".join(str(home / name) for home in homes)
    files = ", ".join(file.name for file in registry.files)
    return (
        f"The dataset {name!r} cannot be had: {tried} does not hold its files, and {reason}. "
        f"By hand: put {files} from {registry.origins[0]} into a folder {name!r}, and set {DATA_VARIABLE} to "
        "the folder above it."
    )
