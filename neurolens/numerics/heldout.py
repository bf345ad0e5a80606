"""Held-out predictions: what chance, and other stimuli, would have made of their scores.

Responses are permuted, or stimuli resampled, within each test fold, with the predictions as they are: nothing
is fitted again. Where stimuli of one fold train the model of another and the other way round (K-fold), every
pair of stimuli enters the mean over folds twice, in both roles, and under the null the two are the same number.
Held-out resampling treats them as two: it misses up to half the variance (raw, .10-.13 false positives at .05).
`count_reuse` is the share of such pairs, and deviations are multiplied by ``sqrt(1 + reuse)``, which is exact for
one fixed split and, as folds are not quite alike, a little conservative for K-fold.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError, NeurolensWarning

__all__ = [
    "bootstrap_scores",
    "count_reuse",
    "draw_bootstraps",
    "draw_orders",
    "permute_correlations",
    "score_folds",
]

Table = NDArray[np.float64]
Labels = NDArray[Any]
Indices = NDArray[np.intp]

_FLAT = 1e-12  # a variance smaller than this share of the mean square is rounding
_FEW = 20  # with fewer orders, the one measured among them, p = .05 cannot be reached
_COLUMNS = 128  # neuroids at a time, so that what is gathered again and again stays in the processor's cache


def count_reuse(folds: Sequence[tuple[Indices, Indices]], n_stimuli: int) -> float:
    """Compute the share of ordered pairs (tested, trained on) that are used the other way round, too.

    Parameters
    ----------
    folds
        Pairs of integer arrays (train, test).
    n_stimuli
        Number of stimuli.

    Returns
    -------
    float
        1 for K-fold, 0 for one fixed split into training and test.

    Examples
    --------
    >>> import numpy as np
    >>> count_reuse([(np.arange(4), np.arange(4, 6))], 6)
    0.0
    """
    used = np.zeros((n_stimuli, n_stimuli), dtype=bool)
    for train, test in folds:
        used[np.ix_(test, train)] = True
    return float((used & used.T).sum() / max(1, used.sum()))


def draw_orders(fold_of: Labels, blocks: Labels, n_orders: int, *, seed: int) -> Indices:
    """Draw orders of stimuli that move blocks within test folds only.

    Blocks of one fold and one size change places; the order inside a block stays.

    Parameters
    ----------
    fold_of
        Array, shape (n_stimuli,): the fold that tests each stimulus.
    blocks
        Array, shape (n_stimuli,): the exchangeable unit of each stimulus (its own id, image, run ...).
    n_orders
        How many.
    seed
        Of the draw.

    Returns
    -------
    array of int, shape (n_orders, n_stimuli)

    Raises
    ------
    InputError
        If nothing can change places, as each fold has one block of a size only.

    Warns
    -----
    NeurolensWarning
        If fewer than 20 orders are possible: a permutation test among so few cannot reach p = .05.

    Examples
    --------
    >>> import numpy as np
    >>> orders = draw_orders(np.repeat([0, 1], 4), np.arange(8), 3, seed=0)
    >>> np.sort(orders).tolist()[0], bool((orders[:, :4] < 4).all())
    ([0, 1, 2, 3, 4, 5, 6, 7], True)
    """
    families = [family for family in _families(fold_of, blocks) if len(family) > 1]
    if not families:
        raise InputError(
            f"No permutation is possible: each of {np.unique(fold_of).size} test folds has a single block of "
            "stimuli of its size, and blocks (by default the groups of encode, such as runs) move as wholes. Where "
            "the stimuli of a block are exchangeable, give blocks='stimulus'; else use fewer folds."
        )
    _warn_of_few(families)
    rng = np.random.default_rng(seed)
    orders = np.tile(np.arange(fold_of.size), (n_orders, 1))
    for order in orders:
        for family in families:
            order[family.ravel()] = family[rng.permutation(len(family))].ravel()
    return orders


def draw_bootstraps(fold_of: Labels, blocks: Labels, n_samples: int, *, seed: int) -> Table:
    """Draw how often each stimulus is in a sample of its fold's blocks, drawn with replacement.

    Parameters
    ----------
    fold_of, blocks
        As `draw_orders` takes them.
    n_samples
        How many.
    seed
        Of the draw.

    Returns
    -------
    array, shape (n_samples, n_stimuli), float64
        Within a fold, counts of its blocks sum to their number.
    """
    rng = np.random.default_rng(seed)
    counts = np.zeros((n_samples, fold_of.size))
    for fold in np.unique(fold_of):
        rows = np.flatnonzero(fold_of == fold)
        _, member = np.unique(blocks[rows], return_inverse=True)
        n_blocks = int(member.max()) + 1
        drawn = rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=n_samples)
        counts[:, rows] = drawn[:, member]
    return counts


def score_folds(observed: Table, predicted: Table, fold_of: Labels, score: str) -> Table:
    """Score predictions within each fold, and average over folds.

    Parameters
    ----------
    observed, predicted
        Arrays, shape (n_stimuli, n_neuroids).
    fold_of
        Array, shape (n_stimuli,): the fold that tests each stimulus.
    score
        "pearson", "r2" or "signed_r2".

    Returns
    -------
    array, shape (n_neuroids,), float64
        NaN where a neuroid or its prediction does not vary in a fold.
    """
    scores: Table = bootstrap_scores(observed, predicted, fold_of, np.ones((1, fold_of.size)), score)[0]
    return scores


def permute_correlations(observed: Table, predicted: Table, fold_of: Labels, orders: Indices) -> Table:
    """Correlate predictions with responses whose stimuli have changed places.

    Parameters
    ----------
    observed, predicted
        Arrays, shape (n_stimuli, n_neuroids).
    fold_of
        Array, shape (n_stimuli,): the fold that tests each stimulus.
    orders
        Array, shape (n_orders, n_stimuli), within folds: from `draw_orders`.

    Returns
    -------
    array, shape (n_orders, n_neuroids), float64
        Pearson r within folds, averaged over folds; NaN where a side does not vary in some fold.
    """
    null = np.empty((len(orders), observed.shape[1]))
    folds = [np.flatnonzero(fold_of == fold) for fold in np.unique(fold_of)]
    for start in range(0, observed.shape[1], _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        measured, made = (_normalise(part[:, columns], folds) for part in (observed, predicted))
        buffer = np.empty_like(measured)
        for row, order in enumerate(orders):
            np.take(measured, order, axis=0, out=buffer, mode="clip")
            null[row, columns] = np.einsum("ij,ij->j", made, buffer) / len(folds)
    return null


def bootstrap_scores(observed: Table, predicted: Table, fold_of: Labels, counts: Table, score: str) -> Table:
    """Score samples of stimuli, each given as counts, from moments alone: one matrix product a fold.

    Parameters
    ----------
    observed, predicted
        Arrays, shape (n_stimuli, n_neuroids).
    fold_of
        Array, shape (n_stimuli,): the fold that tests each stimulus.
    counts
        Array, shape (n_samples, n_stimuli): from `draw_bootstraps`.
    score
        "pearson", "r2" or "signed_r2".

    Returns
    -------
    array, shape (n_samples, n_neuroids), float64
        Means over the folds in which a sample varies; NaN where it does in none.
    """
    finish = _FROM_MOMENTS[score]
    sums, known = np.zeros((len(counts), observed.shape[1])), np.zeros((len(counts), observed.shape[1]))
    for fold in np.unique(fold_of):
        rows = np.flatnonzero(fold_of == fold)
        y, x = (side[rows] - side[rows].mean(axis=0) for side in (observed, predicted))
        offset = predicted[rows].mean(axis=0) - observed[rows].mean(axis=0)
        weight = counts[:, rows] / counts[:, rows].sum(axis=1, keepdims=True)
        moments = [weight @ part for part in (y, x, y * y, x * x, x * y)]
        with np.errstate(divide="ignore", invalid="ignore"):
            values = finish(_Moments(*moments), offset)
        defined = np.isfinite(values)
        sums += np.where(defined, values, 0)
        known += defined
    return np.divide(sums, known, out=np.full_like(sums, np.nan), where=known > 0)


def _warn_of_few(families: Sequence[Indices]) -> None:
    """Warn where drawing more orders finds none that are new."""
    n_possible = math.prod(math.factorial(min(len(family), 4)) for family in families)  # 4! is many already
    if n_possible < _FEW:
        warnings.warn(
            f"Only {n_possible} orders of the blocks of stimuli within their test folds are possible (blocks, by "
            f"default the groups of encode, move as wholes), so no p below 1/{n_possible} means anything, however "
            "many permutations are drawn. Use fewer folds, so that each tests more groups; or, where the stimuli "
            "of a group are exchangeable, blocks='stimulus' in permute_responses.",
            NeurolensWarning,
            stacklevel=2,
        )


def _families(fold_of: Labels, blocks: Labels) -> list[Indices]:
    """Positions of the blocks of one fold and size: arrays (n_blocks, size), whose rows may change places."""
    families: dict[tuple[int, int], list[Indices]] = {}
    _, member = np.unique(np.asarray(fold_of), return_inverse=True)
    _, block = np.unique(np.asarray(blocks).astype(str), return_inverse=True)
    order = np.lexsort((np.arange(block.size), block, member))
    starts = np.flatnonzero(np.diff(member[order], prepend=-1) | np.diff(block[order], prepend=-1))
    for rows in np.split(order, starts[1:]):
        families.setdefault((int(member[rows[0]]), rows.size), []).append(rows)
    return [np.stack(family) for family in families.values()]


def _normalise(values: Table, folds: list[Indices]) -> Table:
    """Centre columns within each fold and bring them to length 1 there; NaN where they do not vary."""
    unit = np.empty(values.shape)
    for rows in folds:
        part = values[rows] - values[rows].mean(axis=0)
        size = np.abs(values[rows]).max(axis=0)
        norm = np.sqrt(np.square(part).sum(axis=0))
        unit[rows] = part / np.where(norm > 1e-12 * size, norm, np.nan)
    return unit


@dataclass(frozen=True)
class _Moments:
    """Means (sample, neuroid) over a sample of responses y, predictions x, and their products."""

    y: Table
    x: Table
    yy: Table
    xx: Table
    xy: Table


def _pearson(m: _Moments, _: Table) -> Table:
    variance_y, variance_x = m.yy - m.y * m.y, m.xx - m.x * m.x
    r = (m.xy - m.x * m.y) / np.sqrt(variance_y * variance_x)
    r[(variance_y <= _FLAT * m.yy) | (variance_x <= _FLAT * m.xx)] = np.nan
    return r


def _r2(m: _Moments, offset: Table) -> Table:
    error = m.yy + m.xx - 2 * m.xy + offset * offset + 2 * offset * (m.x - m.y)
    score: Table = 1 - error / (m.yy - m.y * m.y)
    return score


def _signed_r2(m: _Moments, offset: Table) -> Table:
    r = _pearson(m, offset)
    return r * np.abs(r)


_FROM_MOMENTS: dict[str, Callable[[_Moments, Table], Table]] = {
    "pearson": _pearson,
    "r2": _r2,
    "signed_r2": _signed_r2,
}
