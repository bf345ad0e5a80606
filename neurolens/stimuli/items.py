"""A set of items under ids: read, prepared for a model, checked, hashed and labelled, whatever they come from."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from numbers import Number
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import default_collate

from neurolens import schema
from neurolens.errors import NeurolensWarning, StimulusError, list_names, near_misses
from neurolens.stimuli.labels import check_ids
from neurolens.stimuli.sources import FileSource, Source, hash_item, needs_preprocessing
from neurolens.stimuli.thumbnails import picture_item
from neurolens.stimuli.transforms import describe_transform

__all__ = ["READY", "Items", "Transform"]

READY = "none: stimuli are given as the model takes them"

Transform = Callable[[Any], Any]

_N_PREPARED = 4  # times that an item is prepared to see whether chance is in it: half of all flips do nothing


@dataclass(frozen=True, eq=False, repr=False)
class Items:
    """What every set of stimuli can do, once it was made. `Stimuli` adds the ways to make one.

    It can be pickled where its transform can, and read by several threads or processes at once.
    """

    ids: tuple[str, ...]
    transform: Transform | None
    _source: Source
    _positions: tuple[int, ...]
    _frame: pd.DataFrame

    def __len__(self) -> int:
        """Count the stimuli."""
        return len(self.ids)

    def __repr__(self) -> str:
        """Show how many there are, of what kind, their first and last id, and the columns of metadata."""
        ends = list_names(self.ids, 3) if len(self) <= 3 else f"{self.ids[0]!r} ... {self.ids[-1]!r}"
        lines = [f"<{type(self).__name__}: {len(self)} {self._source.kind}>", f"  ids       {ends}"]
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
        return describe_transform(self.transform)

    def describe_preparation(self, preprocessing: str) -> str:
        """Say what happens to an item before a model sees it.

        Parameters
        ----------
        preprocessing
            What the model's own preprocessing does.

        Returns
        -------
        str
            That, unless the set has a transform of its own, or holds inputs that are ready for a model.

        Examples
        --------
        >>> import numpy as np
        >>> from neurolens import Stimuli
        >>> ready = Stimuli.from_array(np.zeros((2, 4), "float32"), ids=["a", "b"])
        >>> ready.describe_preparation("resize to 224")
        'none: stimuli are given as the model takes them'
        """
        if self.transform is not None:
            return self.preprocessing
        return preprocessing if self._source.is_raw else READY

    def coords(self) -> dict[str, Any]:
        """Return ids and metadata columns as xarray coordinates of the dim `stimulus`.

        Returns
        -------
        dict
            `{"stimulus": ids, column: ("stimulus", values), ...}`.

        Examples
        --------
        >>> import numpy as np, xarray as xr
        >>> from neurolens import Stimuli
        >>> stimuli = Stimuli.from_texts(["a cat", "a car"], ids=["cat", "car"], metadata={"n": [1, 2]})
        >>> xr.DataArray(np.zeros(2), dims="stimulus", coords=stimuli.coords()).n.values.tolist()
        [1, 2]
        """
        columns = {str(name): (schema.STIMULUS, self._frame[name].to_numpy()) for name in self._frame.columns}
        return {schema.STIMULUS: np.array(self.ids, dtype=object), **columns}

    def select(self, ids: Iterable[str]) -> Self:
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
        return replace(self, ids=names, _positions=positions, _frame=self._frame.iloc[chosen])

    def read(self, index: int) -> Any:
        """Return one raw item, before any transform.

        Parameters
        ----------
        index
            Position in this set, from 0.

        Returns
        -------
        PIL.Image.Image, str or tensor
            An RGB image, a text, or a model input, as the set was made.

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
            With the stimuli on the first axis, in the order of `indices`. A list of numbers, as a tokenizer
            gives it, is an array.

        Raises
        ------
        StimulusError
            If an item cannot be read, has no way to become a tensor, or the items differ in shape.

        Examples
        --------
        >>> import numpy as np
        >>> from neurolens import Stimuli
        >>> stimuli = Stimuli.from_array(np.zeros((3, 4), dtype="float32"), ids=["a", "b", "c"])
        >>> tuple(stimuli.batch([0, 2]).shape)
        (2, 4)
        """
        chosen = list(indices)
        items = [_as_tensors(self._prepare(index, preprocess)) for index in chosen]
        try:
            return default_collate(items)
        except (RuntimeError, TypeError) as error:
            shapes = [f"{self.ids[k]}: {_shape(item)}" for k, item in zip(chosen, items, strict=True)]
            if isinstance(items[0], Image.Image | None):
                raise StimulusError(
                    f"The stimuli are no tensors after their preparation ({'; '.join(shapes[:4])}). What `transform` "
                    "returns must be one: end it in torchvision.transforms.ToTensor(), say."
                ) from error
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

    def check_transform(self) -> None:
        """Prepare the first stimulus a few times, and warn where the set's own transform makes other inputs of it.

        Random crops and flips are meant for training: activations of such inputs are no property of the stimuli.
        The state of torch's random numbers is left as it was.

        Warns
        -----
        NeurolensWarning
            If one differs.

        Examples
        --------
        >>> import numpy as np
        >>> from neurolens import Stimuli
        >>> Stimuli.from_array(np.zeros((2, 4), "float32"), ids=["a", "b"], transform=abs).check_transform()
        """
        digests: set[bytes] = set()
        with (
            suppress(Exception),
            torch.random.fork_rng(devices=[]),
        ):  # a run says by itself what can't be prepared
            for _ in range(_N_PREPARED if self.transform is not None else 0):
                digests.add(hash_item(_as_tensors(self._prepare(0, None))))
        if len(digests) > 1:
            warnings.warn(
                f"The transform of the stimuli does not always make the same input of {self.ids[0]!r}: is it one for "
                "training, with random crops or flips? Its activations can't be had again.",
                NeurolensWarning,
                stacklevel=4,
            )

    def fingerprint(self) -> str:
        """Return a hash of contents, ids, their order and the transform; metadata may change under it.

        Returns
        -------
        str
            32 hexadecimal digits, the same in every process.

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
        if self.transform is None and not needs_preprocessing(item):
            return item
        apply = preprocess if self.transform is None else self.transform
        if apply is None:
            kind, ways = (
                ("a text", "a tokenizer") if isinstance(item, str) else ("an image", "torchvision.transforms")
            )
            raise StimulusError(
                f"The stimulus {self.ids[index]!r} is {kind}, and nothing says how it becomes a tensor: this model "
                f"brings no preprocessing. Pass transform= to Stimuli, e.g. from {ways}."
            )
        try:
            return apply(item)
        except Exception as error:  # of the user's own code, or a library's
            error.add_note(f"Raised by the preparation of the stimulus {self._describe(index)}.")
            raise

    def _problem(self, index: int) -> str:
        """Say why a stimulus cannot be read, "" if it can."""
        try:
            self._source.check(self._positions[index])
        except ValueError as error:
            return str(error)
        return ""

    def _describe(self, index: int) -> str:
        """Name a stimulus, with its file where it has one."""
        name = repr(self.ids[index])
        if isinstance(self._source, FileSource):
            return f"{name} ({self._source.paths[self._positions[index]]})"
        return name


def _shape(item: object) -> str:
    if isinstance(item, Mapping):
        return ", ".join(f"{name} {_shape(value)}".replace("Tensor ", "") for name, value in item.items())
    shape = getattr(item, "shape", None)
    return f"{type(item).__name__} {tuple(shape)}" if shape is not None else type(item).__name__


def _as_tensors(item: Any) -> Any:
    """Make tensors of lists of numbers, which would be collated element by element, not stimulus by stimulus."""
    if isinstance(item, Mapping):
        return {name: _as_tensors(value) for name, value in item.items()}
    if isinstance(item, list) and item and all(isinstance(value, Number) for value in item):
        return torch.tensor(item)
    return item
