"""Betas that another program estimated: images of them, and the outputs of GLMsingle."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.io import loadmat

from neurolens.brain.extras import import_extra
from neurolens.brain.repetitions import stack_repetitions
from neurolens.brain.volumes import (
    ImageLike,
    Labels,
    check_space,
    describe_space,
    label_voxels,
    load_image,
    read_mask,
    read_values,
)
from neurolens.errors import InputError, LabelError, explain_unreadable
from neurolens.numerics.pickles import read_pickled_mapping
from neurolens.schema import NEUROID, PRESENTATION, RUN, STIMULUS

__all__ = ["read_betas", "read_glmsingle"]

BETAS = "betasmd"  # what GLMsingle calls its single-trial betas
OLD_BETAS = "modelmd"
PER_VOXEL = ("R2", "HRFindex", "FRACvalue")  # what it says of every voxel


def read_betas(
    images: ImageLike | Sequence[ImageLike],
    *,
    stimulus: Sequence[object],
    mask: ImageLike | None = None,
    atlas: ImageLike | None = None,
    labels: Labels | None = None,
    masks: Mapping[str, ImageLike] | None = None,
    run: Sequence[object] | None = None,
    units: str = "beta",
    subject: str | None = None,
    space: str = "native",
) -> xr.DataArray:
    """Read images of betas, one volume a trial or condition, in the space they are in.

    Parameters
    ----------
    images
        One image (x, y, z, beta), or several that are joined in order; each of three or four dimensions.
    stimulus
        What every volume is the response to, in order. A name that comes again is a repetition.
    mask, atlas, labels, masks, subject, space
        As for `read_bold`.
    run
        The run or session of every volume, kept as a coord.
    units
        Of the values.

    Returns
    -------
    DataArray (repetition, stimulus, neuroid), float32
        NaN where a stimulus has fewer repetitions than another. Coords and attrs as `read_bold`.

    Raises
    ------
    InputError
        If images have different spaces, or the mask another one.
    LabelError
        If labels don't fit the number of volumes.

    Examples
    --------
    >>> import nibabel
    >>> image = nibabel.Nifti1Image(np.random.default_rng(0).normal(size=(2, 2, 1, 4)), np.eye(4))
    >>> dict(read_betas(image, stimulus=["cat", "dog", "dog", "cat"]).sizes)
    {'repetition': 2, 'stimulus': 2, 'neuroid': 4}
    """
    paths = list(images) if isinstance(images, list | tuple) else [images]
    loaded = [load_image(path, f"image {number}") for number, path in enumerate(paths, start=1)]
    if not loaded:
        raise InputError("images is empty; give at least one.")
    where = np.ones(loaded[0].shape[:3], bool) if mask is None else read_mask(mask, loaded[0], "The mask")
    parts = []
    for number, image in enumerate(loaded, start=1):
        check_space(image, loaded[0], f"Image {number}", "the first one")
        values = read_values(image, f"Image {number}")
        parts.append(np.atleast_2d(values[where].T))
    betas = np.concatenate(parts)
    voxels = label_voxels(where, loaded[0], atlas=atlas, labels=labels, masks=masks, subject=subject)
    attrs = describe_space(loaded[0], space) | {"units": units}
    return _stack(betas, stimulus, run, voxels, attrs)


def read_glmsingle(
    results: str | os.PathLike[str] | Mapping[str, Any],
    *,
    stimulus: Sequence[object],
    mask: ImageLike | None = None,
    like: ImageLike | None = None,
    run: Sequence[object] | None = None,
    subject: str | None = None,
    space: str = "native",
) -> xr.DataArray:
    """Read the single-trial betas that GLMsingle wrote.

    Parameters
    ----------
    results
        A file of its output folder, such as TYPED_FITHRF_GLMDENOISE_RR as .npy, .mat or .hdf5, or the dict it
        returns. Pickles are read without running anything they hold.
    stimulus
        What every trial showed, in the order of the design matrices' onsets.
    mask
        An image: which voxels to keep, where betas are volumes; or, where GLMsingle was given a table of voxels,
        which voxels the table holds, in C order.
    like
        An image of the space of the betas; needed for coordinates where there is no `mask`.
    run
        The run or session of every trial, kept as a coord.
    subject, space
        As for `read_bold`.

    Returns
    -------
    DataArray (repetition, stimulus, neuroid), float32
        In % signal change. NaN where a stimulus has fewer repetitions than another. Coords R2, HRFindex and
        FRACvalue of `neuroid`, where the file has them; places in the image where `mask` or `like` is given.

    Raises
    ------
    InputError
        If the file holds no betas, or they don't fit the mask.
    LabelError
        If labels don't fit the number of trials.

    References
    ----------
    Prince et al., eLife 2022, doi:10.7554/eLife.77599.

    Examples
    --------
    >>> betas = np.random.default_rng(0).normal(size=(3, 1, 1, 4))
    >>> dict(read_glmsingle({"betasmd": betas}, stimulus=["cat", "dog", "dog", "cat"]).sizes)
    {'repetition': 2, 'stimulus': 2, 'neuroid': 3}
    """
    table = results if isinstance(results, Mapping) else _read_results(Path(results))
    name = next((name for name in (BETAS, OLD_BETAS) if name in table), None)
    if name is None:
        raise InputError(f"GLMsingle's results have no {BETAS!r}; they hold {sorted(map(str, table))}.")
    betas = np.asarray(table[name], dtype=np.float32)
    if betas.ndim not in (2, 4):
        raise InputError(f"{name} has shape {betas.shape}; expected (x, y, z, trial) or (voxel, trial).")
    n_trials = betas.shape[-1]
    flat = betas.reshape(-1, n_trials)
    keep, voxels, attrs = _place_voxels(betas.shape[:-1], mask, like, subject, space)
    for per_voxel in PER_VOXEL:
        values = np.asarray(table.get(per_voxel, np.empty(0)))
        if values.size == len(flat):
            voxels[per_voxel] = (NEUROID, values.reshape(-1)[keep])
    return _stack(flat[keep].T, stimulus, run, voxels, attrs | {"units": "% signal change"})


def _place_voxels(
    shape: tuple[int, ...],
    mask: ImageLike | None,
    like: ImageLike | None,
    subject: str | None,
    space: str,
) -> tuple[NDArray[np.intp], dict[str, Any], dict[str, Any]]:
    """Return which rows to keep, coords of neuroid and attrs."""
    n_rows = int(np.prod(shape))
    if mask is None and like is None:
        return np.arange(n_rows), {NEUROID: np.arange(n_rows)}, {}
    image = load_image(mask if mask is not None else like, "the image")
    if like is not None:
        check_space(image, load_image(like, "like"), "The mask", "like")
    where = np.ones(image.shape[:3], bool) if mask is None else read_mask(image, image, "The mask")
    if shape == tuple(image.shape[:3]):
        keep = np.flatnonzero(where)
    elif n_rows == int(where.sum()):
        keep = np.arange(n_rows)
    else:
        raise InputError(
            f"The betas have shape {shape}, which is neither that of the image, {tuple(image.shape[:3])}, nor its "
            f"{int(where.sum())} voxels in the mask. Give the mask GLMsingle was run with."
        )
    return keep, label_voxels(where, image, subject=subject), describe_space(image, space)


def _read_results(path: Path) -> dict[str, Any]:
    """Read the arrays of one of GLMsingle's files."""
    if not path.is_file():
        raise InputError(f"{path} does not exist.")
    if path.suffix == ".npy":
        return read_pickled_mapping(path)
    with explain_unreadable(path):
        return _read_matlab(path)


def _read_matlab(path: Path) -> dict[str, Any]:
    h5py = import_extra("h5py")
    if not h5py.is_hdf5(path):
        return dict(loadmat(path))
    with h5py.File(path, "r") as file:
        names = [name for name in (BETAS, OLD_BETAS, *PER_VOXEL) if name in file]
        arrays = {name: np.asarray(file[name]) for name in names}
    if path.suffix == ".mat":  # MATLAB stores the first axis last
        arrays = {name: values.T for name, values in arrays.items()}
    return arrays


def _stack(
    betas: NDArray[np.float32],
    stimulus: Sequence[object],
    run: Sequence[object] | None,
    voxels: dict[str, Any],
    attrs: dict[str, Any],
) -> xr.DataArray:
    """Label trials and bring repetitions to a dim of their own."""
    columns = {STIMULUS: stimulus} if run is None else {STIMULUS: stimulus, RUN: run}
    for name, given in columns.items():
        if len(given) != len(betas):
            raise LabelError(f"{name} names {len(given)} trials, but there are {len(betas)} betas a voxel.")
    coords = {name: (PRESENTATION, np.array(list(given))) for name, given in columns.items()}
    return stack_repetitions(
        xr.DataArray(betas, dims=(PRESENTATION, NEUROID), coords=coords | voxels, attrs=attrs)
    )
