"""Kinds of stimuli: where the items of a set come from, and how one of them is read.

A source knows positions only; ids, metadata and transforms belong to `Stimuli`. What `read` returns decides
what happens to it: a PIL image or a text still needs a model's preprocessing, anything else is a model's
input already.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from neurolens.errors import NeurolensWarning, StimulusError, list_names
from neurolens.recording.structures import is_array
from neurolens.stimuli.images import check_image, read_image, to_rgb

__all__ = [
    "DatasetSource",
    "FileSource",
    "InputSource",
    "PixelSource",
    "Source",
    "TextSource",
    "array_source",
    "find_images",
    "hash_item",
    "needs_preprocessing",
]


class Source(Protocol):
    """Items by position."""

    @property
    def kind(self) -> str:
        """What the items are, in the plural."""
        ...

    @property
    def is_raw(self) -> bool:
        """Whether a model's preprocessing makes inputs of the items, which are none yet."""
        ...

    def __len__(self) -> int: ...

    def read(self, position: int) -> Any:
        """Return one item; raise ValueError with the reason if it cannot be had."""
        ...

    def check(self, position: int) -> None:
        """Raise what `read` would raise."""
        ...

    def digest(self, position: int) -> bytes:
        """Return a hash of one item's content."""
        ...


def needs_preprocessing(item: object) -> bool:
    """Tell whether an item is raw (an image, a text) rather than a model's input."""
    return isinstance(item, Image.Image | str)


@dataclass(frozen=True)
class FileSource:
    """Image files, read when needed."""

    paths: tuple[Path, ...]
    kind: str = "image files"
    is_raw: bool = True

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, position: int) -> Image.Image:
        """Read one file as RGB."""
        return read_image(self.paths[position])

    def check(self, position: int) -> None:
        """Read one file at the least resolution it can be read at."""
        check_image(self.paths[position])

    def digest(self, position: int) -> bytes:
        """Hash the bytes of the file, so that no image is decoded."""
        try:
            return _hash(self.paths[position].read_bytes())
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from error


@dataclass(frozen=True, eq=False)
class PixelSource:
    """Images held as pixels, shape (n, height, width[, 3 | 4]), uint8."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    kind: str = "images"
    is_raw: bool = True

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, position: int) -> Image.Image:
        """Return one image as RGB."""
        return to_rgb(Image.fromarray(self.pixels[position]))

    def check(self, position: int) -> None:
        """Pixels can be read."""

    def digest(self, position: int) -> bytes:
        """Hash shape and pixels."""
        return hash_item(self.pixels[position])


@dataclass(frozen=True, eq=False)
class InputSource:
    """Arrays that are model inputs already, shape (n, ...)."""

    inputs: np.ndarray[Any, Any]
    kind: str = "model inputs"
    is_raw: bool = False

    def __len__(self) -> int:
        return len(self.inputs)

    def read(self, position: int) -> torch.Tensor:
        """Return one input as a tensor of its own; refuse values that are not finite."""
        self.check(position)
        return torch.tensor(self.inputs[position])

    def check(self, position: int) -> None:
        """Refuse values that are not finite."""
        n_wrong = int((~np.isfinite(self.inputs[position])).sum())
        if n_wrong:
            raise ValueError(f"has {n_wrong} values that are NaN or infinite")

    def digest(self, position: int) -> bytes:
        """Hash dtype, shape and values."""
        return hash_item(self.inputs[position])


@dataclass(frozen=True)
class TextSource:
    """Texts."""

    texts: tuple[str, ...]
    kind: str = "texts"
    is_raw: bool = True

    def __len__(self) -> int:
        return len(self.texts)

    def read(self, position: int) -> str:
        """Return one text."""
        return self.texts[position]

    def check(self, position: int) -> None:
        """Texts can be read."""

    def digest(self, position: int) -> bytes:
        """Hash the text."""
        return hash_item(self.texts[position])


@dataclass(frozen=True, eq=False)
class DatasetSource:
    """A torch Dataset with a length; of an item (input, label) the label is left out."""

    dataset: torch.utils.data.Dataset[Any]
    length: int
    kind: str = "items of a torch Dataset"

    @property
    def is_raw(self) -> bool:
        """The first item tells for all."""
        return needs_preprocessing(self.read(0))

    def __len__(self) -> int:
        return self.length

    def read(self, position: int) -> Any:
        """Return one item without its label."""
        try:
            item = self.dataset[position]
        except Exception as error:  # a user's dataset may raise anything; all of it means "cannot be read"
            raise ValueError(f"{type(error).__name__}: {error}") from error
        if isinstance(item, tuple | list) and len(item) == 2 and _is_label(item[1]):
            item = item[0]
        return to_rgb(item) if isinstance(item, Image.Image) else item

    def check(self, position: int) -> None:
        """Read it: only the dataset knows whether it can."""
        self.read(position)

    def digest(self, position: int) -> bytes:
        """Hash what `read` returns."""
        return hash_item(self.read(position))


def array_source(array: object) -> PixelSource | InputSource:
    """Tell images from model inputs by dtype: uint8 is pixels, floating and signed integers are inputs."""
    if isinstance(array, torch.Tensor):
        if array.dtype == torch.bfloat16:
            raise StimulusError(
                "This tensor is bfloat16, which numpy lacks: pass tensor.float(), and, for a model that takes "
                "bfloat16, transform=torch.Tensor.bfloat16."
            )
        if not is_array(array):
            raise StimulusError(
                f"This tensor ({array.layout}, {array.dtype}, on {array.device}) is no plain array of values; convert "
                "it, e.g. tensor.to_dense(), tensor.dequantize() or torch.nested.to_padded_tensor."
            )
        array = array.detach().resolve_conj().resolve_neg().cpu().numpy()
    # A copy that nobody can write to: the caller's array may change later, the set may not.
    values = _copy_array(array)
    values.setflags(write=False)
    if values.ndim < 2:
        raise StimulusError(f"from_array needs an array (n_stimuli, ...); this one has shape {values.shape}.")
    if values.dtype == np.uint8:
        if values.ndim == 3 or (values.ndim == 4 and values.shape[-1] in (3, 4)):
            return PixelSource(values)
        hint = ""
        if values.ndim == 4 and values.shape[1] in (3, 4):
            hint = " Its channels come first: pass numpy.moveaxis(array, 1, -1)."
        raise StimulusError(
            "An array of uint8 is taken for images, shape (n, height, width) or (n, height, width, 3 or 4); "
            f"this one has shape {values.shape}.{hint} Ready model inputs are floating-point."
        )
    if values.dtype.kind in "fi":
        return InputSource(values)
    raise StimulusError(
        "from_array takes uint8 (images) or floating-point and signed integers (model inputs); this array is "
        f"{values.dtype}. Convert it, e.g. array.astype('float32')."
    )


def _copy_array(array: object) -> np.ndarray[Any, Any]:
    if not isinstance(array, np.ndarray | Sequence) and not hasattr(array, "__array__"):
        raise StimulusError(
            f"from_array takes one array whose first axis is the stimulus; this is a {type(array).__name__}. Stack its "
            "items first, as in numpy.stack(list(items))."
        )
    try:
        return np.array(array)
    except ValueError as error:  # rows of several lengths
        raise StimulusError(
            f"from_array needs stimuli of one shape: {error}. Resize, crop or pad them, or use from_files."
        ) from error


def find_images(root: Path, pattern: str, extensions: Sequence[str]) -> list[Path]:
    """Return the image files below a folder, sorted by their path below it; raise StimulusError if none.

    Links to files are followed; for links to folders, which may lead back to where they lie, there is a warning.
    """
    if not root.is_dir():
        raise StimulusError(f"There is no folder {str(root)!r}; give a folder of images.")
    wanted = {extension.lower() for extension in extensions}
    matched = list(root.glob(pattern))
    linked = [str(file.relative_to(root)) for file in matched if file.is_symlink() and file.is_dir()]
    if linked and "**" in pattern:
        warnings.warn(
            f"{str(root)!r} has links to folders, whose images are left out: {list_names(sorted(linked))}. Give those "
            "folders themselves, or their files by from_files.",
            NeurolensWarning,
            stacklevel=3,
        )
    found = [
        file
        for file in matched
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(root).parts)
    ]
    files = [file for file in found if file.suffix.lower() in wanted]
    if not files:
        others = sorted({file.suffix or file.name for file in found})
        there = f"only files ending in {list_names(others)}" if others else "no file"
        raise StimulusError(
            f"{str(root)!r} has {there} under the pattern {pattern!r}; expected images "
            f"({', '.join(sorted(wanted))})."
        )
    return sorted(files, key=lambda file: file.relative_to(root).as_posix())


def _is_label(value: object) -> bool:
    """Take one number or word for a label; a second tensor with axes is a second input."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.ndim == 0
    return value is None or isinstance(value, int | float | str | np.generic)


def _hash(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def hash_item(item: object) -> bytes:
    """Hash whatever a source may hold, types and shapes included."""
    if isinstance(item, Image.Image):
        return _hash(b"image", item.mode.encode(), repr(item.size).encode(), item.tobytes())
    if isinstance(item, torch.Tensor):
        raw = item.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        return _hash(b"array", repr((str(item.dtype), tuple(item.shape))).encode(), raw)
    if isinstance(item, np.ndarray):
        return _hash(b"array", repr((str(item.dtype), item.shape)).encode(), item.tobytes())
    if isinstance(item, str | int | float | bool | None):
        return _hash(b"value", repr(item).encode())
    if isinstance(item, Mapping):
        return _hash(b"mapping", *(hash_item(part) for pair in item.items() for part in pair))
    if isinstance(item, tuple | list):
        return _hash(b"sequence", *(hash_item(part) for part in item))
    raise ValueError(f"is a {type(item).__name__}, of which no stable hash can be made")
