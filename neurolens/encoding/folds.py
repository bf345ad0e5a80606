"""Folds: which stimuli train and which test. Stimuli of one group are never on both sides."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv

from neurolens.errors import InputError, check_count, list_names

__all__ = [
    "CrossValidator",
    "Folds",
    "check_fold",
    "fixed_fold",
    "group_folds",
    "label_folds",
    "resolve_folds",
]

Labels = NDArray[Any]
Folds: TypeAlias = list[tuple[NDArray[np.intp], NDArray[np.intp]]]
CrossValidator: TypeAlias = int | str | Mapping[str, Sequence[Any]] | Iterable[tuple[Any, Any]] | Any

SIDES = ("train", "test")
INNER_FOLDS = 5


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
    check_count(n_folds, what, 2, " folds")
    if names.size == 1:
        raise InputError(
            f"All {groups.size} stimuli are in one group ({str(names[0])!r}): nothing can be held out. Give groups= "
            "another coord, or leave it out where each stimulus may be held out alone."
        )
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
        try:
            splits = list(check_cv(cv).split(np.zeros((groups.size, 1)), None, groups))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{what}={cv!r} can't split these {groups.size} stimuli ({error}). Give a number of folds, a "
                "scikit-learn splitter or a list of (train, test) positions."
            ) from error
    n = groups.size
    folds = [(_check_positions(train, n, what), _check_positions(test, n, what)) for train, test in splits]
    if not folds:
        raise InputError(f"{what}={cv!r} makes no folds.")
    for train, test in folds:
        check_fold(train, test, groups, f"{what}={cv!r}")
    return folds


def resolve_inner(cv: CrossValidator | None, groups: Labels, *, seed: int, what: str) -> Folds:
    """Turn the `cv` of a model into the folds that it chooses by.

    Parameters
    ----------
    cv
        As `resolve_folds` takes it; None for five folds, or as many as there are groups where these are fewer.
    groups
        Array, shape (n_train,): the group of each training stimulus.
    seed, what
        As `resolve_folds` takes them.

    Returns
    -------
    list of (train, test)

    Raises
    ------
    InputError
        As `resolve_folds`.
    """
    if cv is None:
        cv = max(2, min(INNER_FOLDS, np.unique(groups.astype(str)).size))
    return resolve_folds(cv, groups, seed=seed, what=what)


def label_folds(labels: Labels, *, what: str) -> Folds:
    """Hold out one label after the other; of the two labels "train" and "test" only "test" is held out.

    Parameters
    ----------
    labels
        Array, shape (n_stimuli,): the run, category ... of each stimulus.
    what
        What to call them in a message.

    Returns
    -------
    list of (train, test)
        In the order of the labels: numbers by size, text by alphabet.

    Raises
    ------
    InputError
        If there is only one label.

    Examples
    --------
    >>> import numpy as np
    >>> [test.tolist() for train, test in label_folds(np.array(["b", "a", "b"]), what="run")]
    [[1], [0, 2]]
    """
    text = labels.astype(str)
    names = sorted(set(text.tolist()), key=_order_label)
    if set(names) == set(SIDES):
        names = ["test"]
    elif len(names) < 2:
        raise InputError(
            f"cv={what!r}: all stimuli have the same {what} {names[0]!r}; nothing can be held out."
        )
    return [(np.flatnonzero(text != name), np.flatnonzero(text == name)) for name in names]


def _order_label(label: str) -> tuple[float, str]:
    """Sort numbers by size, before text."""
    try:
        return float(label), ""
    except ValueError:
        return np.inf, label


def fixed_fold(sides: Mapping[str, Sequence[Any]], ids: Labels) -> Folds:
    """Make the one fold of a fixed split into training and test stimuli, given by their labels.

    Parameters
    ----------
    sides
        "train" and "test": stimulus labels. Stimuli in neither are left out.
    ids
        Array, shape (n_stimuli,): labels of all stimuli.

    Returns
    -------
    list of one (train, test)

    Raises
    ------
    InputError
        If the keys are others, or a label is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> [(train, test)] = fixed_fold({"train": ["a", "c"], "test": ["b"]}, np.array(["a", "b", "c"]))
    >>> train.tolist(), test.tolist()
    ([0, 2], [1])
    """
    if set(sides) != set(SIDES):
        raise InputError(
            f"cv has the keys {list_names(sides)}; a fixed split has exactly 'train' and 'test'."
        )
    place = {str(name): i for i, name in enumerate(ids.tolist())}
    chosen = {side: [str(name) for name in np.asarray(sides[side]).tolist()] for side in SIDES}
    unknown = [name for side in SIDES for name in chosen[side] if name not in place]
    if unknown:
        raise InputError(f"cv names stimuli that are not among those used: {list_names(unknown, 5)}.")
    train, test = (np.array(sorted({place[name] for name in chosen[side]}), dtype=np.intp) for side in SIDES)
    return [(train, test)]


def _check_positions(side: Any, n_stimuli: int, what: str) -> NDArray[np.intp]:
    """Positions of stimuli: a mask, or a position counted from the end, would be taken for others."""
    positions = np.asarray(side)
    if positions.size == 0:
        return np.zeros(0, dtype=np.intp)
    if positions.dtype.kind not in "iu" or positions.min() < 0 or positions.max() >= n_stimuli:
        raise InputError(
            f"{what}: a side of a fold holds {positions.dtype} from {positions.min()} to {positions.max()}; expected "
            f"positions of stimuli, whole numbers from 0 to {n_stimuli - 1}. Of a mask: np.flatnonzero(mask)."
        )
    return positions.astype(np.intp)


def check_fold(train: NDArray[np.intp], test: NDArray[np.intp], groups: Labels, what: str) -> None:
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
