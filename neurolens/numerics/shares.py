"""Shares of feature spaces in explained variance: by nested models, and by the product measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_parts", "list_subsets", "split_r2"]

Table = NDArray[np.float64]
Subset = frozenset[str]


def list_subsets(names: Iterable[str]) -> list[Subset]:
    """List all subsets but the empty one, smallest first.

    Examples
    --------
    >>> [sorted(subset) for subset in list_subsets("ab")]
    [['a'], ['b'], ['a', 'b']]
    """
    pool = list(names)
    sizes = (combinations(pool, size) for size in range(1, len(pool) + 1))
    return [frozenset(subset) for subset in chain.from_iterable(sizes)]


def find_parts(r2: Mapping[Subset, Table]) -> dict[Subset, Table]:
    """Find what each set of spaces explains that no other space does.

    The part of S is what the spaces in S have in common and those outside do not: by inclusion and exclusion,
    ``sum over T within S of (-1)^(|T| + 1) r2(T and all outside S)``. The part of one space is its unique
    variance. Parts sum to the r2 of all spaces together.

    Parameters
    ----------
    r2
        Explained variance of the model of every subset.

    Returns
    -------
    dict
        Subset to its part.

    References
    ----------
    Lescroart, Stansbury and Gallant, Frontiers in Computational Neuroscience 2015,
    doi:10.3389/fncom.2015.00135.

    Examples
    --------
    >>> r2 = {frozenset("a"): 0.5, frozenset("b"): 0.25, frozenset("ab"): 0.5}
    >>> {"".join(sorted(part)): float(value) for part, value in find_parts(r2).items()}
    {'a': 0.25, 'b': 0.0, 'ab': 0.25}
    """
    everything = frozenset(chain.from_iterable(r2))
    parts = {}
    for subset in r2:
        outside = everything - subset
        terms = [(-1) ** (len(inside) + 1) * r2[outside | inside] for inside in list_subsets(subset)]
        parts[subset] = np.sum(terms, axis=0) - (r2[outside] if outside else 0.0)
    return parts


def split_r2(observed: NDArray[Any], predicted: NDArray[Any], offset: NDArray[Any]) -> Table:
    """Split the r2 of a sum of predictions among its terms by the product measure.

    ``sum over stimuli of p_b (2 y - p) / sum of y²``, with y the responses about their mean, p_b the prediction
    of a band, and p their sum; the terms sum to ``1 - SSE / SST``.

    Parameters
    ----------
    observed
        Array, shape (n_test, n_neuroids).
    predicted
        Array, shape (n_bands, n_test, n_neuroids).
    offset
        Array, shape (n_neuroids,): what predictions have beside the bands (the mean of the training responses).
        Its distance to the mean of the test responses is shared equally among bands.

    Returns
    -------
    array, shape (n_bands, n_neuroids), float64
        NaN where responses do not vary.

    References
    ----------
    Pratt, Proceedings of the Second International Tampere Conference in Statistics 1987.
    Dupré la Tour et al., NeuroImage 2022, doi:10.1016/j.neuroimage.2022.119728.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([[0.0], [2.0]])
    >>> split_r2(y, np.array([[[-1.0], [1.0]], [[0.0], [0.0]]]), np.array([1.0])).ravel().tolist()
    [1.0, 0.0]
    """
    mean = observed.mean(axis=0, dtype=np.float64)
    y = observed - mean
    bands = predicted.astype(np.float64) + (offset - mean) / len(predicted)
    total = np.square(y).sum(axis=0)
    split: Table = (bands * (2 * y - bands.sum(axis=0))).sum(axis=1)
    return split / np.where(total > 0, total, np.nan)
