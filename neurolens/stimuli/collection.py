"""`Stimuli`: a set of items with unique ids and metadata, ready to be batched for a model."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import default_collate

from neurolens import schema
from neurolens.errors import NeurolensWarning, StimulusError, list_names, near_misses
from neurolens.stimuli.images import EXTENSIONS
from neurolens.stimuli.labels import check_ids, name_files, split_frame, tabulate
from neurolens.stimuli.sources import (
    DatasetSource,
    FileSource,
    Source,
    TextSource,
    array_source,
    find_images,
    needs_preprocessing,
)
from neurolens.stimuli.thumbnails import picture_item

__all__ = ["Stimuli"]

Transform = Callable[[Any], Any]
Metadata = pd.DataFrame | Mapping[str, Any]
StrPath = str | os.PathLike[str]


@dataclass(frozen=True, eq=False, repr=False)
class Stimuli:
    """A set of stimuli: what a model is shown, under ids that brain data are joined on.

    Make one with `from_folder`, `from_files`, `from_array`, `from_frame`, `from_texts` or `from_dataset`. It
    never changes; `select` returns another. Images reach a model as 8-bit RGB (`to_rgb` states the rule) and
    are read when needed.

    Attributes
    ----------
    ids
        One unique text a stimulus, in order.
    transform
        Turns one raw item (PIL image, text, tensor) into a model input. It takes the place of the model's own
        preprocessing; None leaves that in force.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.zeros((2, 8, 8, 3), dtype="uint8")
    >>> stimuli = Stimuli.from_array(images, ids=["cat", "dog"], metadata={"animate": [True, True]})
    >>> stimuli.ids, len(stimuli)
    (('cat', 'dog'), 2)
    """

    ids: tuple[str, ...]
    transform: Transform | None
    _source: Source
    _positions: tuple[int, ...]
    _frame: pd.DataFrame

    @classmethod
    def from_folder(
        cls,
        path: StrPath,
        pattern: str = "**/*",
        *,
        extensions: Sequence[str] = EXTENSIONS,
        metadata: Metadata | None = None,
        transform: Transform | None = None,
    ) -> Stimuli:
        """Take every image file below a folder, sorted by its path below that folder.

        Parameters
        ----------
        path
            The folder.
        pattern
            Glob pattern below it; "**/*" descends into sub-folders, "*" does not. Hidden files are left out.
        extensions
            Which files are images, by extension, in any case.
        metadata
            A table or mapping of columns. A table whose index holds the ids is joined by label.
        transform
            Takes the place of a model's own preprocessing.

        Returns
        -------
        Stimuli
            Ids are the paths below the folder without extension ("faces/anna"); files that would share one
            keep their extension. Where files lie in sub-folders, a metadata column `folder` names these.

        Raises
        ------
        StimulusError
            If the folder is missing or holds no such image.
        """
        root = Path(path)
        files = find_images(root, pattern, extensions)
        ids = check_ids(name_files(files, root), len(files))
        folders = [file.parent.relative_to(root).as_posix() for file in files]
        table = tabulate(metadata, ids)
        if "folder" not in table and any(folder != "." for folder in folders):
            table.insert(0, "folder", folders)
        return _make(FileSource(tuple(files)), ids, table, transform)

    @classmethod
    def from_files(
        cls,
        paths: Iterable[StrPath],
        *,
        ids: Iterable[object] | None = None,
        metadata: Metadata | None = None,
        transform: Transform | None = None,
    ) -> Stimuli:
        """Take image files in the order given.

        Parameters
        ----------
        paths
            Image files. They are read later: `check` reports all that are missing or damaged at once.
        ids
            One a file; by default the path below the files' common folder, without extension.
        metadata
            A table or mapping of columns.
        transform
            Takes the place of a model's own preprocessing.

        Returns
        -------
        Stimuli
            In the order of `paths`.

        Raises
        ------
        StimulusError
            If ids repeat or don't match the files in number.
        """
        if isinstance(paths, str | os.PathLike):
            raise StimulusError(
                f"from_files takes a sequence of paths; for the folder or file {os.fspath(paths)!r} "
                "use Stimuli.from_folder(path), or put the one file in a list."
            )
        files = tuple(Path(path) for path in paths)
        names = check_ids(name_files(files) if ids is None else ids, len(files))
        return _make(FileSource(files), names, tabulate(metadata, names), transform)

    @classmethod
    def from_array(
        cls,
        array: object,
        *,
        ids: Iterable[object],
        metadata: Metadata | None = None,
        transform: Transform | None = None,
    ) -> Stimuli:
        """Take an array whose first axis is the stimulus.

        Parameters
        ----------
        array
            Of dtype uint8: images, shape (n, height, width) or (n, height, width, 3 or 4); they are handed to
            a model's preprocessing as PIL images. Floating-point or signed integers: model inputs, shape
            (n, ...); they become torch tensors of that dtype and are not preprocessed. It is copied.
        ids
            One a stimulus.
        metadata
            A table or mapping of columns.
        transform
            Applied to each item in place of a model's own preprocessing.

        Returns
        -------
        Stimuli
            In the order of the array.

        Raises
        ------
        StimulusError
            If shape or dtype is neither, or the ids don't fit.
        """
        source = array_source(array)
        names = check_ids(ids, len(source))
        return _make(source, names, tabulate(metadata, names), transform)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        column: str = "path",
        ids: str | None = None,
        root: StrPath | None = None,
        transform: Transform | None = None,
    ) -> Stimuli:
        """Take a table with a column of image files; its other columns become metadata.

        Parameters
        ----------
        frame
            One row a stimulus.
        column
            Which column holds the paths.
        ids
            Which column holds the ids. By default the frame's index, or, where that only counts the rows,
            names made from the paths as `from_files` makes them.
        root
            The folder that relative paths start from; by default the current one.
        transform
            Takes the place of a model's own preprocessing.

        Returns
        -------
        Stimuli
            In the order of the rows.

        Raises
        ------
        StimulusError
            If a column is missing, a path is missing, or ids repeat.
        """
        paths, rest = split_frame(frame, column, ids)
        files = tuple((Path(root) if root is not None else Path()) / path for path in paths)
        names: Iterable[object] = name_files(files)
        if ids is not None:
            names = frame[ids].tolist()
        elif not isinstance(frame.index, pd.RangeIndex):
            names = frame.index.tolist()
        labels = check_ids(names, len(files))
        return _make(FileSource(files), labels, tabulate(rest, labels), transform)

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        *,
        ids: Iterable[object],
        metadata: Metadata | None = None,
        transform: Transform | None = None,
    ) -> Stimuli:
        """Take texts; a model's preprocessing, or `transform`, turns each into tensors.

        Parameters
        ----------
        texts
            One text a stimulus.
        ids
            One id a text.
        metadata
            A table or mapping of columns.
        transform
            Such as a tokenizer with padding to a fixed length.

        Returns
        -------
        Stimuli
            In the order of the texts.

        Raises
        ------
        StimulusError
            If an item is no text, or the ids don't fit.
        """
        if isinstance(texts, str):
            raise StimulusError("from_texts takes a sequence of texts; put a single one in a list.")
        items = tuple(texts)
        wrong = [f"{k}: {type(item).__name__}" for k, item in enumerate(items) if not isinstance(item, str)]
        if wrong:
            raise StimulusError(f"from_texts takes texts only; not a text: {list_names(wrong)}.")
        names = check_ids(ids, len(items))
        return _make(TextSource(items), names, tabulate(metadata, names), transform)

    @classmethod
    def from_dataset(
        cls,
        dataset: torch.utils.data.Dataset[Any],
        *,
        ids: Iterable[object] | None = None,
        metadata: Metadata | None = None,
        transform: Transform | None = None,
    ) -> Stimuli:
        """Take the items of a torch Dataset that has a length.

        Parameters
        ----------
        dataset
            Items are inputs, or pairs (input, label) whose label is one number or word and is left out.
            Images and texts are preprocessed by the model, tensors are not.
        ids
            One an item; by default "0", "1", ...
        metadata
            A table or mapping of columns.
        transform
            Applied to each input in place of a model's own preprocessing.

        Returns
        -------
        Stimuli
            In the order of the dataset.

        Raises
        ------
        StimulusError
            If the dataset has no length, or the ids don't fit.
        """
        try:
            length = len(dataset)  # type: ignore[arg-type]
        except TypeError:
            raise StimulusError(
                f"{type(dataset).__name__} has no length; labelled stimuli need a dataset with __len__ and "
                "__getitem__. Collect an iterable one into a list first."
            ) from None
        names = check_ids(range(length) if ids is None else ids, length)
        return _make(DatasetSource(dataset, length), names, tabulate(metadata, names), transform)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        ends = list_names(self.ids, 3) if len(self) <= 3 else f"{self.ids[0]!r} ... {self.ids[-1]!r}"
        lines = [f"<Stimuli: {len(self)} {self._source.kind}>", f"  ids       {ends}"]
        if len(self._frame.columns):
            lines.append(f"  metadata  {', '.join(map(str, self._frame.columns))}")
        if self.transform is not None:
            lines.append(f"  transform {self.preprocessing}")
        return "\n".join(lines)

    @property
    def metadata(self) -> pd.DataFrame:
        """A copy of the metadata, one row a stimulus, indexed by id."""
        return self._frame.copy()

    @property
    def preprocessing(self) -> str:
        """What the set's own transform does, as text that is the same in every process; "" without one."""
        if self.transform is None:
            return ""
        text = repr(self.transform)
        if " at 0x" not in text:
            return text
        named = self.transform if hasattr(self.transform, "__qualname__") else type(self.transform)
        return f"{named.__module__}.{named.__qualname__}"

    def coords(self) -> dict[str, Any]:
        """Return ids and metadata columns as xarray coordinates of the dim `stimulus`.

        Returns
        -------
        dict
            `{"stimulus": ids, column: ("stimulus", values), ...}`.

        Examples
        --------
        >>> import numpy as np, xarray as xr
        >>> stimuli = Stimuli.from_texts(["a cat", "a car"], ids=["cat", "car"], metadata={"n": [1, 2]})
        >>> xr.DataArray(np.zeros(2), dims="stimulus", coords=stimuli.coords()).n.values.tolist()
        [1, 2]
        """
        columns = {str(name): (schema.STIMULUS, self._frame[name].to_numpy()) for name in self._frame.columns}
        return {schema.STIMULUS: np.array(self.ids, dtype=object), **columns}

    def select(self, ids: Iterable[str]) -> Stimuli:
        """Return the stimuli of these ids, in this order.

        Parameters
        ----------
        ids
            Ids of this set.

        Returns
        -------
        Stimuli
            Sharing the items, with the rows of metadata that belong to them.

        Raises
        ------
        StimulusError
            If an id is unknown, with near misses, or repeated.
        """
        wanted = [ids] if isinstance(ids, str) else [str(name) for name in ids]
        place = {name: k for k, name in enumerate(self.ids)}
        unknown = [name for name in wanted if name not in place]
        if unknown:
            close = near_misses(unknown[0], self.ids, n=3)
            hint = f" Near {unknown[0]!r}: {list_names(close)}." if close else ""
            raise StimulusError(f"No stimulus has the id {list_names(unknown)}.{hint}")
        names = check_ids(wanted, len(wanted))
        chosen = [place[name] for name in names]
        positions = tuple(self._positions[k] for k in chosen)
        return Stimuli(names, self.transform, self._source, positions, self._frame.iloc[chosen])

    def read(self, index: int) -> Any:
        """Return one raw item: an RGB PIL image, a text, or a model input.

        Raises
        ------
        StimulusError
            If it cannot be read; the message names it.
        """
        try:
            return self._source.read(self._positions[index])
        except ValueError as error:
            raise StimulusError(f"The stimulus {self._describe(index)} cannot be read: {error}.") from error

    def batch(self, indices: Iterable[int], preprocess: Transform | None = None) -> Any:
        """Read, prepare and collate some stimuli as one input of a model.

        Parameters
        ----------
        indices
            Positions in this set.
        preprocess
            The model's own preprocessing: PIL image or text to tensor. Used for images and texts, unless the
            set has a transform of its own; ready model inputs pass as they are.

        Returns
        -------
        torch.Tensor, or what `torch.utils.data.default_collate` makes of the items
            With the stimuli on the first axis, in the order of `indices`.

        Raises
        ------
        StimulusError
            If an item cannot be read, has no way to become a tensor, or the items differ in shape.

        Examples
        --------
        >>> import numpy as np
        >>> stimuli = Stimuli.from_array(np.zeros((3, 4), dtype="float32"), ids=["a", "b", "c"])
        >>> tuple(stimuli.batch([0, 2]).shape)
        (2, 4)
        """
        chosen = list(indices)
        items = [self._prepare(index, preprocess) for index in chosen]
        try:
            return default_collate(items)
        except (RuntimeError, TypeError) as error:
            shapes = [f"{self.ids[k]}: {_shape(item)}" for k, item in zip(chosen, items, strict=True)]
            raise StimulusError(
                "The stimuli of a batch do not form one input, for they differ in shape or kind "
                f"({'; '.join(shapes[:4])}). Resize, crop or pad them to one shape in `transform`."
            ) from error

    def check(self) -> None:
        """Read every stimulus once, and report all that cannot be read in one error.

        Raises
        ------
        StimulusError
            Naming each missing, damaged or unreadable stimulus with the reason.

        Warns
        -----
        NeurolensWarning
            If the reader complained about a stimulus that it could read all the same.
        """
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
                problems = list(pool.map(self._problem, range(len(self))))
        bad = [(k, problem) for k, problem in enumerate(problems) if problem]
        if bad:
            shown = "\n".join(f"  {self._describe(k)}: {problem}" for k, problem in bad[:50])
            more = f"\n  and {len(bad) - 50} more" if len(bad) > 50 else ""
            raise StimulusError(
                f"{len(bad)} of {len(self)} stimuli cannot be read:\n{shown}{more}\n"
                "Mend or replace them, or leave them out with select(ids)."
            )
        if complaints:
            texts = sorted({str(complaint.message) for complaint in complaints})
            warnings.warn(
                f"All stimuli could be read, with complaints of the reader: {'; '.join(texts[:5])}",
                NeurolensWarning,
                stacklevel=2,
            )

    def fingerprint(self) -> str:
        """Return a hash of contents, ids, their order and the transform; metadata may change under it.

        Raises
        ------
        StimulusError
            If a stimulus cannot be read.
        """
        digest = hashlib.blake2b(digest_size=16)
        digest.update(self.preprocessing.encode())
        for index, name in enumerate(self.ids):
            try:
                content = self._source.digest(self._positions[index])
            except ValueError as error:
                raise StimulusError(f"The stimulus {self._describe(index)}: {error}.") from error
            digest.update(repr((name, content)).encode())
        return digest.hexdigest()

    def thumbnail(self, index: int, size: int = 64) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return a small picture of one stimulus, for figures.

        Parameters
        ----------
        index
            Position in this set.
        size
            Height and width in pixels.

        Returns
        -------
        array, shape (size, size, 3), uint8
            RGB, proportions kept, margins mid grey. Ready inputs of shape (height, width) or (1 or 3, height,
            width) are stretched from their minimum to their maximum; a text is written out.

        Raises
        ------
        StimulusError
            If the item has no picture.
        """
        picture = picture_item(self.read(index), size)
        if picture is None:
            raise StimulusError(
                f"The stimulus {self.ids[index]!r} is no picture; thumbnails need images, texts, or "
                "inputs of shape (height, width) or (1 or 3, height, width)."
            )
        return picture

    def _prepare(self, index: int, preprocess: Transform | None) -> Any:
        item = self.read(index)
        if self.transform is not None:
            return self.transform(item)
        if not needs_preprocessing(item):
            return item
        if preprocess is not None:
            return preprocess(item)
        if isinstance(item, str):
            return item  # some models take texts as they are
        raise StimulusError(
            f"The stimulus {self.ids[index]!r} is an image, and nothing says how it becomes a tensor: this "
            "model brings no preprocessing. Pass transform= to Stimuli, e.g. from torchvision.transforms."
        )

    def _problem(self, index: int) -> str:
        """Say why a stimulus cannot be read, "" if it can."""
        try:
            self._source.read(self._positions[index])
        except ValueError as error:
            return str(error)
        return ""

    def _describe(self, index: int) -> str:
        """Name a stimulus, with its file where it has one."""
        name = repr(self.ids[index])
        if isinstance(self._source, FileSource):
            return f"{name} ({self._source.paths[self._positions[index]]})"
        return name


def _make(source: Source, ids: tuple[str, ...], table: pd.DataFrame, transform: Transform | None) -> Stimuli:
    return Stimuli(ids, transform, source, tuple(range(len(ids))), table)


def _shape(item: object) -> str:
    shape = getattr(item, "shape", None)
    return f"{type(item).__name__} {tuple(shape)}" if shape is not None else type(item).__name__
