"""Ridge regression of many targets: one eigendecomposition a fold, shared by all targets and alphas.

The estimate minimises ``|Y - X B|² + alpha |B|²`` with an intercept: features and targets are centred by
their training means. With the `Split` of a fold, whatever the shape of X::

    prediction = mean(Y_train) + probe @ diag(1 / (values + alpha)) @ basis.T @ (Y_train - mean(Y_train))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurolens.numerics.arrays import (
    Array,
    as_like,
    eigh_psd,
    mean_rows,
    rounding_unit,
    sum_squares,
    to_device,
    to_numpy,
    total,
)
from neurolens.numerics.design import (
    Design,
    Split,
    feature_location,
    kept_features,
    make_design,
    split_design,
)

__all__ = [
    "AlphaChoice",
    "RidgeFit",
    "default_alphas",
    "find_edge",
    "fit_ridge",
    "predict_split",
    "select_alphas",
]

FloatArray = NDArray[np.floating[Any]]
Indices = NDArray[np.intp]
Folds = Sequence[tuple[Indices, Indices]]

DEFAULT_GRID = np.logspace(-4, 5, 10)
"""The default alphas, in units of the mean squared length of a training pattern."""

# Targets (stimuli x targets) that are worked on at once: memory does not grow with them. On a processor they stay near
# its caches, so that ten times as many take ten times as long; an accelerator wants them large.
_BATCH_ELEMENTS = 2**19
_BATCH_ELEMENTS_ON_DEVICE = 2**25
_BATCH_TARGETS = 512  # at least: narrower products are slow
_TIE = 10.0  # cross-validated errors closer than this many rounding errors are the same


@dataclass(frozen=True)
class AlphaChoice:
    """The alpha of each target and how well it predicted held-out stimuli.

    Attributes
    ----------
    alpha
        Array, shape (n_targets,), float64.
    r2
        Array, shape (n_targets,), float64: 1 - SSE/SST over all held-out stimuli, SST about
        the training means. NaN where nothing was cross-validated (one alpha) or the target is constant.
    at_edge
        Bool array, shape (n_targets,): the smallest or the largest alpha was chosen; never where there are at most
        two, which have nothing between them.
    """

    alpha: NDArray[np.float64]
    r2: NDArray[np.float64]
    at_edge: NDArray[np.bool_]


@dataclass(frozen=True)
class RidgeFit:
    """A fitted ridge: ``prediction = X @ coef + intercept``.

    Attributes
    ----------
    coef
        Array, shape (n_features, n_targets).
    intercept
        Array, shape (n_targets,).
    choice
        The alphas and what they were chosen by.
    """

    coef: FloatArray
    intercept: FloatArray
    choice: AlphaChoice


def default_alphas(design: Design, train: Indices) -> NDArray[np.float64]:
    """Return ``logspace(-4, 5, 10) * trace(K_train) / n_train``.

    K_train is the kernel of the training patterns about their mean: multiplying all features by a constant
    multiplies the alphas by its square, so that the same model is chosen.

    Parameters
    ----------
    design
        From `make_design`.
    train
        Integer array, shape (n_train,).

    Returns
    -------
    array, shape (10,), float64
        Ascending. Where all features are constant in training, every alpha predicts the mean, and the grid is
        scaled by the squared length of the pattern itself.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(8, 20))
    >>> scaled = default_alphas(make_design(10 * X), np.arange(8))
    >>> bool(np.allclose(scaled, 100 * default_alphas(make_design(X), np.arange(8))))
    True
    """
    if design.kernel is not None:
        inside = design.kernel[train[:, None], train]
        length = total(inside.diagonal())
        trace = length - total(inside) / train.size
        rounding = rounding_unit(inside)
    else:
        mean, scale = feature_location(design, train)
        features = kept_features(design)[train]
        length, trace = (float(sum_squares(part / scale).sum()) for part in (features, features - mean))
        rounding = rounding_unit(features) ** 2  # here the mean was removed before squaring
    unit = trace if trace > _TIE * rounding * length else length
    return DEFAULT_GRID * (unit / train.size if unit > 0 else 1.0)


def select_alphas(
    design: Design, targets: Array, *, alphas: NDArray[np.float64], folds: Folds
) -> AlphaChoice:
    """Choose the alpha of each target by cross-validation.

    The smallest squared error over all held-out stimuli wins (each counts once, whatever its fold's size).
    Errors that differ by rounding only are ties, and ties go to the larger alpha.

    Parameters
    ----------
    design
        From `make_design`, with n_stimuli rows.
    targets
        Array, shape (n_stimuli, n_targets), same dtype (and device) as the features.
    alphas
        Array, shape (n_alphas,), positive, ascending. With one alpha there is nothing to choose, and
        nothing is run.
    folds
        Pairs of integer arrays (train, test): positions of stimuli.

    Returns
    -------
    AlphaChoice

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(30, 5))
    >>> halves = [(np.arange(15), np.arange(15, 30)), (np.arange(15, 30), np.arange(15))]
    >>> select_alphas(make_design(X), X[:, :1], alphas=np.array([1e-6, 1e3]), folds=halves).alpha.tolist()
    [1e-06]
    """
    n_targets = targets.shape[1]
    if alphas.size == 1:
        return AlphaChoice(
            np.repeat(alphas, n_targets), np.full(n_targets, np.nan), np.zeros(n_targets, dtype=bool)
        )
    errors, total, rounding = _held_out_errors(design, targets, alphas, folds)
    tied = errors <= errors.min(axis=0) + _TIE * rounding
    best = alphas.size - 1 - np.argmax(tied[::-1], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(total > _TIE * rounding, 1 - errors[best, np.arange(n_targets)] / total, np.nan)
    return AlphaChoice(alphas[best], r2, find_edge(best, alphas.size))


def find_edge(chosen: Indices, n_alphas: int) -> NDArray[np.bool_]:
    """Say of each chosen position whether it is the first or the last of a grid that has others between them."""
    at_edge: NDArray[np.bool_] = ((chosen == 0) | (chosen == n_alphas - 1)) & (n_alphas > 2)
    return at_edge


def predict_split(split: Split, targets: Array, alpha: NDArray[np.float64]) -> FloatArray:
    """Predict the test stimuli of a split.

    Parameters
    ----------
    split
        From `split_design`.
    targets
        Array, shape (n_train, n_targets): training targets, in the order of the split's training stimuli.
    alpha
        Array, shape (n_targets,): each target's own.

    Returns
    -------
    array, shape (n_test, n_targets), dtype of `targets`
        A numpy array, also where the split is on a device.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(9, 2))
    >>> split = split_design(make_design(X), np.arange(6), np.arange(6, 9))
    >>> bool(np.allclose(predict_split(split, X[:6], np.full(2, 1e-9)), X[6:]))
    True
    """
    batches = []
    for columns in _batches(targets):
        weights, mean = _weights(split.values, split.basis, targets[:, columns], alpha[columns])
        batches.append(to_numpy(split.probe @ weights + mean))
    return np.concatenate(batches, axis=1)


def fit_ridge(
    features: FloatArray,
    targets: FloatArray,
    *,
    folds: Folds,
    alphas: NDArray[np.float64] | None = None,
    standardize: bool = False,
    device: str | None = None,
) -> RidgeFit:
    """Fit ridge regression with each target's own alpha.

    Parameters
    ----------
    features
        Array, shape (n_stimuli, n_features), float32 or float64.
    targets
        Array, shape (n_stimuli, n_targets), same dtype.
    folds
        Pairs of integer arrays (train, test) to choose alphas by.
    alphas
        Array, shape (n_alphas,), positive, ascending; None for `default_alphas`.
    standardize
        Divide features by their standard deviation; `coef` is in the units of the features all the same.
    device
        A torch device to compute on; None for numpy.

    Returns
    -------
    RidgeFit
        In the dtype of `features`.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(20, 3))
    >>> folds = [(np.arange(10), np.arange(10, 20)), (np.arange(10, 20), np.arange(10))]
    >>> fit = fit_ridge(X, X @ np.array([[1.0], [2.0], [3.0]]) + 4, folds=folds, alphas=np.array([1e-9]))
    >>> fit.coef.ravel().round(3).tolist(), float(fit.intercept[0].round(3))
    ([1.0, 2.0, 3.0], 4.0)
    """
    design = make_design(features, standardize=standardize, device=device)
    everything = np.arange(features.shape[0])
    if alphas is None:
        alphas = default_alphas(design, everything)
    on_device = to_device(targets, device)
    choice = select_alphas(design, on_device, alphas=alphas, folds=folds)
    kept = Design(None, to_device(features, device), standardize)
    mean, scale = feature_location(kept, everything)
    centred = (kept_features(kept) - mean) / scale
    primal = centred.shape[1] <= centred.shape[0]
    kernel = centred.T @ centred if primal else design.kernel
    values, vectors = eigh_psd(centred @ centred.T if kernel is None else kernel)
    basis = centred @ vectors if primal else vectors
    coef = np.empty((features.shape[1], targets.shape[1]), dtype=targets.dtype)
    for columns in _batches(on_device):
        weights, _ = _weights(values, basis, on_device[:, columns], choice.alpha[columns])
        inner = vectors @ weights if primal else centred.T @ (vectors @ weights)
        coef[:, columns] = to_numpy(inner / scale[:, None])
    return RidgeFit(coef, mean_rows(targets) - to_numpy(mean) @ coef, choice)


def _held_out_errors(
    design: Design, targets: Array, alphas: NDArray[np.float64], folds: Folds
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Squared errors (alpha, target), those of the training mean (target), and what rounding adds."""
    errors = np.zeros((alphas.size, targets.shape[1]))
    total_errors, squares = np.zeros(targets.shape[1]), np.zeros(targets.shape[1])
    for train, test in folds:
        split = split_design(design, train, test)
        probes = [split.probe / (split.values + float(alpha)) for alpha in alphas]
        for columns in _batches(targets):
            inside, outside = targets[:, columns][train], targets[:, columns][test]
            mean = mean_rows(inside)
            projected = split.basis.T @ (inside - mean)
            total_errors[columns] += sum_squares(outside - mean)
            squares[columns] += sum_squares(outside)
            for row, probe in enumerate(probes):
                errors[row, columns] += sum_squares(outside - mean - probe @ projected)
    eps = rounding_unit(targets)
    return errors, total_errors, eps * total_errors + eps**2 * squares


def _weights(values: Array, basis: Array, targets: Array, alpha: NDArray[np.float64]) -> tuple[Array, Array]:
    """Coordinates (k, target) of the ridge estimate in an eigenbasis, and the targets' training mean."""
    mean = mean_rows(targets)
    shrink = values[:, None] + as_like(alpha, values)
    return (basis.T @ (targets - mean)) / shrink, mean


def _batches(targets: Array) -> Iterator[slice]:
    """Cut columns into slices whose working arrays stay small."""
    n_rows, n_columns = targets.shape
    if isinstance(targets, np.ndarray):
        size = max(_BATCH_TARGETS, _BATCH_ELEMENTS // max(1, n_rows))
    else:
        size = max(1, _BATCH_ELEMENTS_ON_DEVICE // max(1, n_rows))
    for start in range(0, n_columns, size):
        yield slice(start, min(start + size, n_columns))
