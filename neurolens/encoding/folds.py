"""Folds: which stimuli train and which test. Stimuli of one group are never on both sides."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from neurolens.errors import InputError, list_names

__all__ = ["CrossValidator", "Folds", "group_folds", "resolve_folds"]

Labels = NDArray[Any]
Folds: TypeAlias = list[tuple[NDArray[np.intp], NDArray[np.intp]]]
CrossValidator: TypeAlias = int | Iterable[tuple[Sequence[int], Sequence[int]]] | Any


def group_folds(groups: Labels, n_folds: int, *, seed: int, what: str = "cv") -> Folds:
    """Deal groups to folds in seeded random order, the largest first, each to the smallest fold so far.

    The folds depend on the labels, never on their order. With one stimulus a group this is shuffled K-fold.

    Parameters
    ----------
    groups
        Array, shape (n_stimuli,): the group of each stimulus.
    n_folds
        At least 2, and at most the number of groups.
    seed
        Of the random order.
    what
        What to call the number of folds in a message.

    Returns
    -------
    list of (train, test)
        Ascending integer arrays; every stimulus is in exactly one test set.

    Raises
    ------
    InputError
        If there are fewer than 2 folds, or more folds than groups.

    Examples
    --------
    >>> import numpy as np
    >>> folds = group_folds(np.array(["a", "a", "b", "b"]), 2, seed=0)
    >>> sorted(test.tolist() for train, test in folds)
    [[0, 1], [2, 3]]
    """
    names, member, sizes = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    if n_folds < 2:
        raise InputError(f"{what}={n_folds!r}: cross-validation needs at least 2 folds.")
    if n_folds > names.size:
        raise InputError(
            f"{what}={n_folds}: more folds than there are groups of stimuli to hold out ({names.size}, of "
            f"n_samples={groups.size} in all). Use at most {names.size} folds."
        )
    order = np.random.default_rng(seed).permutation(names.size)
    order = order[np.argsort(-sizes[order], kind="stable")]
    smallest = [(0, fold) for fold in range(n_folds)]
    fold_of = np.empty(names.size, dtype=np.intp)
    for group in order:
        size, fold = heapq.heappop(smallest)
        fold_of[group] = fold
        heapq.heappush(smallest, (size + int(sizes[group]), fold))
    assigned = fold_of[member]
    return [(np.flatnonzero(assigned != fold), np.flatnonzero(assigned == fold)) for fold in range(n_folds)]


def resolve_folds(cv: CrossValidator, groups: Labels, *, seed: int, what: str = "cv") -> Folds:
    """Turn a number of folds, a scikit-learn splitter or a list of splits into checked folds.

    Parameters
    ----------
    cv
        A number of folds (`group_folds`), a splitter, or an iterable of (train, test) positions.
    groups
        Array, shape (n_stimuli,): the group of each stimulus; the ids of stimuli where there are no groups.
    seed
        Used by a number of folds only; a splitter has its own.
    what
        What to call `cv` in a message.

    Returns
    -------
    list of (train, test)

    Raises
    ------
    InputError
        If a fold is empty, uses a stimulus for training and testing, or separates a group.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import KFold
    >>> [test.tolist() for train, test in resolve_folds(KFold(2), np.arange(4), seed=0)]
    [[0, 1], [2, 3]]
    """
    if isinstance(cv, bool | str) or cv is None:
        raise InputError(f"{what}={cv!r}: give a number of folds or a scikit-learn splitter, e.g. KFold(5).")
    if isinstance(cv, int | np.integer):
        return group_folds(groups, int(cv), seed=seed, what=what)
    with warnings.catch_warnings():  # splitters that ignore groups say so; what they made is checked below
        warnings.filterwarnings("ignore", message="The groups parameter is ignored")
        splits = list(check_cv(cv).split(np.zeros((groups.size, 1)), None, groups))
    folds = [(np.asarray(train, dtype=np.intp), np.asarray(test, dtype=np.intp)) for train, test in splits]
    if not folds:
        raise InputError(f"{what}={cv!r} makes no folds.")
    for train, test in folds:
        _check_fold(train, test, groups, f"{what}={cv!r}")
    return folds


def _check_fold(train: NDArray[np.intp], test: NDArray[np.intp], groups: Labels, what: str) -> None:
    """Raise InputError where a fold cannot be used, or would leak."""
    if not (train.size and test.size):
        raise InputError(f"{what} makes a fold with {train.size} training and {test.size} test stimuli.")
    shared = np.intersect1d(groups[train].astype(str), groups[test].astype(str))
    if shared.size:
        raise InputError(
            f"{what} puts {list_names(shared.tolist(), 3)} on both sides of a fold: what is tested would "
            "have been trained on. Use a number of folds, or a splitter that keeps groups whole, e.g. "
            "GroupKFold(5)."
        )
