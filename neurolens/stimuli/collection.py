"""`Stimuli`: a set of items with unique ids and metadata, ready to be batched for a model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from neurolens.errors import StimulusError, list_names
from neurolens.stimuli.images import EXTENSIONS
from neurolens.stimuli.items import Items, Transform
from neurolens.stimuli.labels import check_ids, name_files, require_order, split_frame, tabulate
from neurolens.stimuli.sources import DatasetSource, FileSource, Source, TextSource, array_source, find_images

__all__ = ["Stimuli"]

Metadata = pd.DataFrame | Mapping[str, Any]
StrPath = str | os.PathLike[str]


@dataclass(frozen=True, eq=False, repr=False)
class Stimuli(Items):
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
    >>> stimuli.metadata.columns.tolist(), stimuli.preprocessing
    (['animate'], '')
    >>> stimuli.check()  # every item can be read
    >>> stimuli.select(["dog"]).read(0).size, stimuli.thumbnail(0, size=4).shape
    ((8, 8), (4, 4, 3))
    >>> stimuli.fingerprint() == stimuli.select(["cat", "dog"]).fingerprint()
    True
    """

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
            Glob pattern below it; ``"**/*"`` descends into sub-folders, ``"*"`` does not. Hidden files are left out,
            and so are folders that are reached by a link, with a warning.
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

        Examples
        --------
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     Image.new("RGB", (8, 8)).save(folder / f"{name}.png")
        >>> Stimuli.from_folder(folder).ids
        ('cat', 'dog')
        """
        root = Path(path).expanduser()
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

        Examples
        --------
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     Image.new("RGB", (8, 8)).save(folder / f"{name}.png")
        >>> Stimuli.from_files([folder / "dog.png", folder / "cat.png"], ids=["rex", "tom"]).ids
        ('rex', 'tom')
        """
        if isinstance(paths, str | os.PathLike):
            raise StimulusError(
                f"from_files takes a sequence of paths; for the folder or file {os.fspath(paths)!r} "
                "use Stimuli.from_folder(path), or put the one file in a list."
            )
        files = tuple(Path(path).expanduser() for path in require_order(paths, "paths"))
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

        Examples
        --------
        >>> import numpy as np
        >>> Stimuli.from_array(np.ones((2, 4), "float32"), ids=["cat", "dog"]).ids
        ('cat', 'dog')
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

        Examples
        --------
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     Image.new("RGB", (8, 8)).save(folder / f"{name}.png")
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"path": ["cat.png", "dog.png"], "legs": [4, 4], "name": ["tom", "rex"]})
        >>> Stimuli.from_frame(frame, ids="name", root=folder).ids
        ('tom', 'rex')
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

        Examples
        --------
        >>> Stimuli.from_texts(["a cat", "a dog"], ids=["cat", "dog"]).ids
        ('cat', 'dog')
        """
        if isinstance(texts, str):
            raise StimulusError("from_texts takes a sequence of texts; put a single one in a list.")
        items = tuple(require_order(texts, "texts"))
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

        Examples
        --------
        >>> import torch
        >>> pictures = torch.utils.data.TensorDataset(torch.ones(2, 3, 8, 8))
        >>> Stimuli.from_dataset(pictures, ids=["cat", "dog"]).ids
        ('cat', 'dog')
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


def _make(source: Source, ids: tuple[str, ...], table: pd.DataFrame, transform: Transform | None) -> Stimuli:
    if transform is not None and (not callable(transform) or isinstance(transform, type)):
        raise StimulusError(
            f"transform={transform!r} is no function of one item: give one, or an object that is called, such as "
            "torchvision.transforms.ToTensor()."
        )
    return Stimuli(ids, transform, source, tuple(range(len(ids))), table)
