"""Volumes: NIfTI images to labelled series of voxels, and values of voxels back to images.

Nothing is ever resampled: voxels stay in the space they were measured in, and an image of another space is an error.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.brain.extras import import_extra
from neurolens.brain.regions import MASK_PREFIX
from neurolens.errors import InputError, LabelError, NeurolensWarning, explain_unreadable, list_names
from neurolens.schema import NEUROID, REGION, RUN, SUBJECT, TIME, rename_aliases, require_dims

__all__ = ["label_voxels", "load_image", "read_bold", "read_mask", "read_volume", "to_nifti"]

Image = Any  # a nibabel image; nibabel has no types
ImageLike = Any  # a path or a nibabel image
Labels = Mapping[int, str] | Sequence[str]
Mask = NDArray[np.bool_]

SAME_PLACE = 1e-3  # mm; affines that differ by less are those of one space


def read_bold(
    images: ImageLike | Sequence[ImageLike],
    *,
    mask: ImageLike | None = None,
    atlas: ImageLike | None = None,
    labels: Labels | None = None,
    masks: Mapping[str, ImageLike] | None = None,
    repetition_time: float | None = None,
    runs: Sequence[object] | None = None,
    subject: str | None = None,
    space: str = "native",
) -> xr.DataArray:
    """Read the series of every voxel of a mask, run after run.

    Parameters
    ----------
    images
        A path or nibabel image (x, y, z, volume), or one for each run.
    mask
        An image of the same space whose voxels other than 0 are read; all voxels by default.
    atlas
        An image of the same space with a whole number for each region; without `mask`, its labelled voxels are
        read.
    labels
        Names of the atlas' regions: a mapping from number to name, or names of 1, 2, ...; numbers without a name
        are no region. By default the numbers themselves.
    masks
        Regions that may overlap, by name: images of the same space.
    repetition_time
        Seconds between volumes; by default what the images say.
    runs
        Names of the runs; by default 1, 2, ...
    subject
        Whose brain it is.
    space
        The space the images are in, such as "MNI152"; figures of a standard brain need it.

    Returns
    -------
    DataArray (time, neuroid), float32
        In the units of the images. `time` is in seconds since the start of its run, with the coord `run`.
        Coords of `neuroid`: i, j, k (place in the image), x, y, z in mm; `region` from an atlas; one yes/no coord
        `in_<name>` for each of `masks`; `subject`. Attrs: shape and affine of the image, space, repetition_time.

    Raises
    ------
    InputError
        If an image has another space, one volume, no repetition time or nothing in the mask.
    LabelError
        If there are not as many names of runs as images.

    Warns
    -----
    NeurolensWarning
        If voxels are NaN or constant in a run; they are kept, and are NaN in everything made of them.

    Examples
    --------
    >>> import nibabel
    >>> image = nibabel.Nifti1Image(np.random.default_rng(0).normal(size=(2, 2, 1, 5)), np.eye(4))
    >>> read_bold(image, repetition_time=2.0).sizes
    Frozen({'time': 5, 'neuroid': 4})
    """
    paths = list(images) if isinstance(images, list | tuple) else [images]
    if not paths:
        raise InputError("images is empty; give at least one run.")
    names = list(range(1, len(paths) + 1)) if runs is None else list(runs)
    if len(names) != len(paths) or len(set(names)) != len(names):
        raise LabelError(
            f"runs must hold one name for each of {len(paths)} images, all different; got {names}."
        )
    first = load_image(paths[0], "the image of run 1")
    where = _read_where(first, mask, atlas)
    parts, times = [], []
    for name, path in zip(names, paths, strict=True):
        image = load_image(path, f"the image of run {name!r}")
        check_space(image, first, f"The image of run {name!r}", "that of the first run")
        parts.append(_read_run(image, where, f"The image of run {name!r}"))
        times.append(np.arange(len(parts[-1])) * _find_repetition_time(image, repetition_time))
    series = xr.DataArray(
        np.concatenate(parts),
        dims=(TIME, NEUROID),
        coords={
            TIME: np.concatenate(times),
            RUN: (TIME, np.repeat(np.array(names), [len(part) for part in parts])),
            **label_voxels(where, first, atlas=atlas, labels=labels, masks=masks, subject=subject),
        },
        attrs=describe_space(first, space) | {"repetition_time": float(times[0][1])},
    )
    _warn_dead(series)
    return series


def to_nifti(values: xr.DataArray, *, like: xr.DataArray | ImageLike, fill: float = np.nan) -> Image:
    """Put values of voxels back into an image.

    Parameters
    ----------
    values
        DataArray (neuroid) or (..., neuroid) with the coords i, j, k of `neuroid`, of one subject. Several other
        dims are flattened into volumes, in order.
    like
        What gives shape and affine: responses or a series read from NIfTI, or an image or its path.
    fill
        Value of all other voxels.

    Returns
    -------
    nibabel.Nifti1Image
        float32, of three dimensions, or four where `values` has more than `neuroid`.

    Raises
    ------
    InputError
        If a place is outside the image or several neuroids share one, as those of several subjects do.
    LabelError
        If the coords or dims are missing.

    Examples
    --------
    >>> import nibabel
    >>> image = nibabel.Nifti1Image(np.arange(20.0).reshape(2, 2, 1, 5), np.eye(4))
    >>> mean = read_bold(image, repetition_time=2.0).mean("time")
    >>> to_nifti(mean, like=image).get_fdata()[1, 0, 0].item()
    12.0
    """
    nibabel = import_extra("nibabel")
    values = rename_aliases(values)
    require_dims(values, NEUROID, what="the array of values")
    missing = [name for name in ("i", "j", "k") if name not in values.coords]
    if missing:
        raise LabelError(
            f"The values have no coords {list_names(missing)} that say where in the image a neuroid lies. "
            "Responses read from NIfTI carry them, and so does what is computed from these."
        )
    shape, affine = _find_space(like)
    place = np.stack([values[name].values for name in ("i", "j", "k")]).astype(np.intp)
    if (place < 0).any() or (place >= np.array(shape)[:, None]).any():
        raise InputError(
            f"Neuroids lie outside the image of shape {shape} (largest i, j, k: {place.max(axis=1).tolist()}). "
            "Give the image they were read from as `like`."
        )
    flat = np.ravel_multi_index(tuple(place), shape)
    if np.unique(flat).size < flat.size:
        raise InputError(
            "Several neuroids have the same place in the image: they are of several subjects or regions. Write "
            "one at a time, e.g. values.sel(neuroid=values.subject == 'sub-01')."
        )
    table = values.transpose(..., NEUROID).values.reshape(-1, flat.size).astype(np.float32)
    volume = np.full((int(np.prod(shape)), len(table)), fill, dtype=np.float32)
    volume[flat] = table.T
    sizes = shape if values.ndim == 1 else (*shape, len(table))
    return nibabel.Nifti1Image(volume.reshape(sizes), affine)


def load_image(image: ImageLike, what: str) -> Image:
    """Return a nibabel image, opened if it is a path.

    Raises
    ------
    InputError
        If there is no such file, or it is no image.
    """
    nibabel = import_extra("nibabel")
    if hasattr(image, "dataobj") and hasattr(image, "affine"):
        return image
    if not isinstance(image, str | os.PathLike):
        raise InputError(f"{what} must be a path or a nibabel image; got {type(image).__name__}.")
    with explain_unreadable(image):
        try:
            return nibabel.load(image)
        except FileNotFoundError:
            raise InputError(f"{what}, {os.fspath(image)}, does not exist.") from None
        except nibabel.filebasedimages.ImageFileError as error:
            raise InputError(f"{what}, {os.fspath(image)}, is no image: {error}") from error


def check_space(image: Image, reference: Image, what: str, other: str) -> None:
    """Raise InputError unless two images have the same shape and place of voxels."""
    shapes = image.shape[:3], reference.shape[:3]
    if shapes[0] == shapes[1] and np.allclose(image.affine, reference.affine, atol=SAME_PLACE):
        return
    found, expected = (
        f"shape {shape}, voxels of {_voxel_size(one)} mm with the first at {one.affine[:3, 3].round(2).tolist()}"
        for shape, one in zip(shapes, (image, reference), strict=True)
    )
    raise InputError(
        f"{what} lies in another space ({found}) than {other} ({expected}). neurolens never resamples; do so "
        "knowingly, e.g. nilearn.image.resample_to_img(mask, image, interpolation='nearest')."
    )


def read_mask(mask: ImageLike, reference: Image, what: str) -> Mask:
    """Return where an image of the space of `reference` is neither 0 nor NaN."""
    image = load_image(mask, what)
    check_space(image, reference, what, "the data")
    values = read_volume(image, what)
    return np.asarray((values != 0) & ~np.isnan(values))


def read_values(image: Image, what: str) -> NDArray[np.float32]:
    """Return all values of an image; InputError where its file is cut short or damaged."""
    try:
        return np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # of zlib, numpy, nibabel: each has its own
        name = image.get_filename() or "an image in memory"
        raise InputError(f"{what}, {name}, can't be read to its end ({error}). Copy it again.") from error


def read_volume(image: Image, what: str) -> NDArray[np.float32]:
    """Return the values of an image of one volume, shape (x, y, z)."""
    values = read_values(image, what)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise InputError(f"{what} must have one volume; its shape is {image.shape}.")
    return values


def describe_space(image: Image, space: str) -> dict[str, Any]:
    """Return the attrs that say where voxels lie; plain text and numbers, which any file format keeps."""
    return {
        "image_shape": json.dumps([int(size) for size in image.shape[:3]]),
        "affine": json.dumps(np.asarray(image.affine, dtype=float).tolist()),
        "space": space,
    }


def label_voxels(
    where: Mask,
    image: Image,
    *,
    atlas: ImageLike | None = None,
    labels: Labels | None = None,
    masks: Mapping[str, ImageLike] | None = None,
    subject: str | None = None,
) -> dict[str, Any]:
    """Return the coords of `neuroid` for the voxels of a mask, in its C order."""
    place = np.argwhere(where)
    millimetres = place @ image.affine[:3, :3].T + image.affine[:3, 3]
    coords: dict[str, Any] = {NEUROID: np.arange(len(place))}
    coords |= {name: (NEUROID, place[:, axis]) for axis, name in enumerate("ijk")}
    coords |= {name: (NEUROID, millimetres[:, axis]) for axis, name in enumerate("xyz")}
    if atlas is not None:
        numbers = _read_atlas(atlas, image)[where]
        coords[REGION] = (NEUROID, _name_regions(numbers, labels))
    for name, one in (masks or {}).items():
        coords[f"{MASK_PREFIX}{name}"] = (NEUROID, read_mask(one, image, f"the mask {name!r}")[where])
    if subject is not None:
        coords[SUBJECT] = (NEUROID, np.full(len(place), subject, dtype=object))
    return coords


def _read_where(image: Image, mask: ImageLike | None, atlas: ImageLike | None) -> Mask:
    """Choose the voxels to read."""
    if mask is not None:
        where = read_mask(mask, image, "The mask")
    elif atlas is not None:
        where = _read_atlas(atlas, image) != 0
    else:
        where = np.ones(image.shape[:3], dtype=bool)
    if not where.any():
        raise InputError(
            "The mask is empty: every voxel is 0. Check that it is the mask and not its background."
        )
    return where


def _read_atlas(atlas: ImageLike, image: Image) -> NDArray[np.int64]:
    """Return the whole numbers of an atlas in the space of the data; NaN is no region."""
    loaded = load_image(atlas, "The atlas")
    check_space(loaded, image, "The atlas", "the data")
    values = np.nan_to_num(read_volume(loaded, "The atlas"))
    numbers = np.rint(values)
    if not np.allclose(values, numbers, atol=1e-4):
        raise InputError(
            "The atlas holds fractions, so that it is no image of labels. Was it resampled without "
            "interpolation='nearest', or is it probabilistic? For the latter, give thresholded masks."
        )
    return numbers.astype(np.int64)


def _name_regions(numbers: NDArray[np.int64], labels: Labels | None) -> NDArray[Any]:
    """Name the region of every voxel; "" is none."""
    present = [int(number) for number in np.unique(numbers) if number != 0]
    if labels is None:
        names = {number: str(number) for number in present}
    elif isinstance(labels, Mapping):
        names = {int(number): str(name) for number, name in labels.items()}
    else:
        names = {number: str(name) for number, name in enumerate(labels, start=1)}
    if present and not set(present) & set(names):
        raise LabelError(
            f"None of the atlas' numbers ({list_names(present, 5)}) has a name in labels, which name "
            f"{list_names(names, 5)}."
        )
    return np.array([names.get(int(number), "") if number else "" for number in numbers], dtype=object)


def _read_run(image: Image, where: Mask, what: str) -> NDArray[np.float32]:
    """Return (volume, voxel) of one run."""
    if len(image.shape) != 4 or image.shape[3] < 2:
        volumes = image.shape[3] if len(image.shape) == 4 else 1
        raise InputError(
            f"{what} has shape {image.shape}: {volumes} volume. A run is a series of at least 2 volumes; a map "
            "of betas is read by read_betas."
        )
    values = read_values(image, what)[where]
    return np.ascontiguousarray(values.T)


def _find_repetition_time(image: Image, given: float | None) -> float:
    """Return seconds between volumes: as given, else as the header says."""
    if given is not None:
        if not given > 0:
            raise InputError(f"repetition_time={given!r}: seconds between volumes are above 0.")
        return float(given)
    zooms = image.header.get_zooms()
    unit = image.header.get_xyzt_units()[1] if hasattr(image.header, "get_xyzt_units") else "sec"
    seconds = float(zooms[3]) * {"msec": 1e-3, "usec": 1e-6}.get(unit, 1.0)
    if not 0 < seconds <= 60:
        raise InputError(
            f"The image says {seconds:g} s between volumes, which can't be. Give repetition_time= in seconds."
        )
    return seconds


def _find_space(like: xr.DataArray | ImageLike) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Return shape and affine of responses or of an image."""
    if isinstance(like, xr.DataArray):
        if "affine" not in like.attrs or "image_shape" not in like.attrs:
            raise InputError(
                "The attrs of `like` don't say what image it comes from. Give the responses as they were read "
                "(arithmetic drops attrs), or the image itself."
            )
        return tuple(json.loads(like.attrs["image_shape"])), np.array(json.loads(like.attrs["affine"]))
    image = load_image(like, "like")
    return tuple(image.shape[:3]), np.asarray(image.affine)


def _voxel_size(image: Image) -> str:
    return " x ".join(f"{size:.3g}" for size in np.linalg.norm(image.affine[:3, :3], axis=0))


def _warn_dead(series: xr.DataArray) -> None:
    """Count voxels that hold no measurement in some run."""
    runs = series[RUN].values
    dead = np.zeros(series.sizes[NEUROID], dtype=bool)
    for run in dict.fromkeys(runs.tolist()):
        part = series.values[runs == run]
        dead |= (part.min(axis=0) == part.max(axis=0)) | np.isnan(part).any(axis=0)
    if dead.any():
        warnings.warn(
            f"{int(dead.sum())} of {dead.size} voxels are constant or NaN in some run; they stay, and are NaN in "
            "everything made of them. A tighter mask leaves them out.",
            NeurolensWarning,
            stacklevel=3,
        )
