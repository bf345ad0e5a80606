"""Begin a store, take one up, or write to one from another process of its run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurolens.store import layout
from neurolens.store.chunks import Compression
from neurolens.store.head import check_resumable, make_head, write_head
from neurolens.store.layout import LATE, METADATA
from neurolens.store.lock import lock_store
from neurolens.store.writer import StoreWriter


def create_store(
    path: str | Path,
    *,
    stimuli: Mapping[Any, Any],
    attrs: Mapping[str, Any],
    block_size: int,
    compression: Compression = "lz4",
    resume: bool = True,
) -> StoreWriter:
    """Begin a store, or take up one that was begun in the same way.

    Parameters
    ----------
    path
        Folder of the store; made, with its parents.
    stimuli
        Coordinates in xarray's form: `{"stimulus": ids, column: ("stimulus", values)}`, as
        `Stimuli.coords()` gives them.
    attrs
        What made the data (model, hash of weights, preprocessing ...): plain JSON values. A run that resumes
        must give the same.
    block_size
        Stimuli written at once, at least 1.
    compression
        "lz4": fast, halves what has zeros; "zstd": smaller, several times slower; "none": as large as in memory,
        read fastest. All carry checksums.
    resume
        Whether an existing store is taken up; if False, it is an error that there is one.

    Returns
    -------
    StoreWriter
        It holds the lock of the store until `finish` or `close`.

    Raises
    ------
    StoreError
        If another run writes the store, `path` is something else, or a resumed run differs: the message names
        what differs, with both values.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from neurolens.store import create_store, open_store
    >>> path = Path(tempfile.mkdtemp()) / "acts.zarr"
    >>> with create_store(path, stimuli={"stimulus": ["cat", "dog"]}, attrs={}, block_size=2) as writer:
    ...     writer.declare("fc", dims=("stimulus", "unit"), shape=(2, 3), dtype=np.float32, attrs={})
    ...     writer.write_block(0, {"fc": np.ones((2, 3), np.float32)})
    ...     writer.finish()
    >>> open_store(path)["fc"].sel(stimulus="dog").values
    array([1., 1., 1.], dtype=float32)
    """
    target = layout.locate_store(path)
    head = make_head(stimuli, attrs, block_size, compression)
    lock = lock_store(target)
    try:
        if target.exists():
            check_resumable(target, head, resume=resume)
        else:
            write_head(target, head)
        return StoreWriter(target, lock)
    except BaseException:
        lock.release()
        raise


def attach_store(path: str | Path) -> StoreWriter:
    """Write blocks of a store from another process of the run that holds its lock.

    Different processes write different blocks without waiting for each other. Only the holder of the lock
    declares aliases and finishes.

    Parameters
    ----------
    path
        Folder of a store that `create_store` began.

    Returns
    -------
    StoreWriter
        Without the lock.

    Raises
    ------
    StoreError
        If there is no store to write.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from neurolens.store import attach_store, create_store, open_store, read_late, verify_store
    >>> path = Path(tempfile.mkdtemp()) / "acts.zarr"
    >>> writer = create_store(path, stimuli={"stimulus": ["cat", "dog"]}, attrs={}, block_size=1)
    >>> writer.declare("fc", dims=("stimulus", "unit"), shape=(2, 3), dtype=np.float32, attrs={})
    >>> other = attach_store(path)  # in another process
    >>> other.write_block(1, {"fc": np.ones((1, 3), np.float32)})
    >>> writer.missing_blocks()
    (0,)
    """
    return StoreWriter(layout.locate_store(path), None)


def read_late(path: str | Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return what a begun store notes of late operations: positions and what was left out, see `note_late`.

    Parameters
    ----------
    path
        Folder of a store that was begun.

    Returns
    -------
    tuple of dict
        Addresses by position, and reasons by operation.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from neurolens.store import attach_store, create_store, open_store, read_late, verify_store
    >>> path = Path(tempfile.mkdtemp()) / "acts.zarr"
    >>> writer = create_store(path, stimuli={"stimulus": ["cat", "dog"]}, attrs={}, block_size=1)
    >>> writer.declare("fc", dims=("stimulus", "unit"), shape=(2, 3), dtype=np.float32, attrs={})
    >>> writer.note_late({"model.py:12": "fc"}, {})
    >>> writer.write_block(0, {"fc": np.ones((1, 3), np.float32)})
    >>> read_late(path)[0]
    {'model.py:12': 'fc'}
    """
    target = layout.locate_store(path)
    if not (target / METADATA).is_file():
        return {}, {}
    noted = layout.read_root(target)["attributes"].get(LATE, {})
    return dict(noted.get("positions", {})), dict(noted.get("left_out", {}))
