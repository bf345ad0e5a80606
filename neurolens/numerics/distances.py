"""Dissimilarities between the patterns of stimuli: arrays in, arrays out.

Every metric but `poisson` and `crossnobis` is a squared Euclidean distance between shifted and scaled (or
whitened) patterns; gram.py multiplies, this module says what is shifted and scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurolens.errors import InputError, check_choice
from neurolens.numerics.covariance import whiten
from neurolens.numerics.gram import (
    Patterns,
    Scaling,
    Tile,
    compute_squared_distances,
    distances_from_gram,
    sum_products,
    walk_columns,
    walk_rows,
    work_dtype,
)

Array = NDArray[Any]
Metric = Literal["correlation", "cosine", "euclidean", "sqeuclidean", "mahalanobis", "crossnobis", "poisson"]
Normalize = Literal["none", "features"]

PRIOR, PRIOR_WEIGHT = 1.0, 0.1  # of a poisson rate: m' = (m + PRIOR * PRIOR_WEIGHT) / (1 + PRIOR_WEIGHT)
NEARLY_CONSTANT = 1e-6  # of the mean: a smaller deviation is looked at value by value


@dataclass(frozen=True)
class Setting:
    """How one RDM is computed, beside its metric."""

    tile: Tile
    device: str | None = None
    noise: Array | None = None


@dataclass(frozen=True)
class Dissimilarity:
    """One way to measure how different two patterns are.

    `measure` finds shift and scale of each pattern; where that shows that a pattern may have no distance, and
    only there, `is_undefined` looks at its values. `distances` does the rest.
    """

    measure: Callable[[Patterns, Tile], Scaling]
    is_undefined: Callable[[Array], bool]
    distances: Callable[[Patterns, Scaling, Setting], Array]
    reason: str  # what is wrong with a pattern that has no distance: "stimulus 'a' is ..."
    runs: bool = False  # patterns are (n_runs, n_stimuli, n_features)
    tiles: bool = True  # patterns may be read by tiles of stimuli
    noise: bool = False  # takes a noise covariance
    by_features: bool = False  # `normalize="features"` has a meaning


def compute_rdm(
    patterns: Patterns,
    metric: Metric = "correlation",
    *,
    normalize: Normalize = "none",
    noise: Array | None = None,
    tile: Tile | None = None,
    device: str | None = None,
) -> Array:
    """Compute the dissimilarity of every two patterns.

    Parameters
    ----------
    patterns
        array, shape (n_stimuli, n_features), real, or anything that is cut like one. float16 and float32 are
        multiplied in float32 with sums in float64; anything else in float64. "crossnobis" has its own
        function, `compute_crossnobis`.
    metric
        "correlation" is 1 - Pearson r, "cosine" is 1 - cosine, "sqeuclidean" the sum of squared differences,
        "euclidean" its root, "mahalanobis" (x - y)' S^-1 (x - y) / n_features with the covariance S given as
        `noise`, "poisson" the symmetrised Kullback-Leibler divergence of rates, sum (x' - y')(log x' - log y')
        / n_features with x' = (x + 0.1) / 1.1.
    normalize
        "features" divides "sqeuclidean" by the number of features ("euclidean" is then the root of that).
    noise
        array, shape (n_features, n_features), a covariance, or (n_features,), variances; "mahalanobis" only.
    tile
        What of patterns that are read when they are cut is held at once; see `plan_tile`.
    device
        Where products are made: None (numpy), or a device of torch ("cuda").

    Returns
    -------
    ndarray
        shape (n_stimuli, n_stimuli), float32 for float16 and float32 input, else float64; symmetric, zero
        diagonal. Entries of a pattern without a distance (see `find_undefined`) are NaN.

    Raises
    ------
    InputError
        If the metric is not known, an option has no meaning for it, `patterns` is not a real matrix, or the
        covariance is not positive definite.

    Examples
    --------
    >>> compute_rdm(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    array([[0., 2.],
           [2., 0.]])
    """
    check_options(metric, normalize, noise)
    check_patterns(patterns)
    kind = METRICS[metric]
    whole = Tile(patterns.shape[0], patterns.shape[1])
    tile = tile if tile and kind.tiles else whole
    scaling = _measure(patterns, kind, tile)
    out = kind.distances(patterns, scaling, Setting(tile, device, noise))
    if normalize == "features":
        out /= patterns.shape[1] if metric == "sqeuclidean" else np.sqrt(patterns.shape[1])
    mark_undefined(out, scaling.left_out)
    return out.astype(work_dtype(patterns.dtype), copy=False)


def mark_undefined(rdm: Array, undefined: NDArray[np.bool_]) -> None:
    """Write NaN where a pattern has no distance, in place; the diagonal stays zero."""
    if undefined.any():
        rdm[undefined] = np.nan
        rdm[:, undefined] = np.nan
        np.fill_diagonal(rdm, 0.0)


def find_undefined(patterns: Array, metric: Metric = "correlation") -> NDArray[np.bool_]:
    """Find the patterns that have no distance to any other.

    Parameters
    ----------
    patterns
        array, shape (n_stimuli, n_features).
    metric
        For every metric a pattern with NaN or infinite values; for "correlation" also a constant one, for
        "cosine" also one that is zero throughout, for "poisson" also one with a negative value.

    Returns
    -------
    ndarray of bool
        shape (n_stimuli,).
    """
    check_choice(metric, METRICS, "metric")
    return _measure(patterns, METRICS[metric], Tile(*patterns.shape)).left_out


def check_options(metric: Metric, normalize: Normalize, noise: object) -> None:
    """Raise InputError where an option has no meaning for a metric, or a needed one is missing."""
    check_choice(metric, METRICS, "metric")
    check_choice(normalize, ("none", "features"), "normalize")
    if normalize != "none" and not METRICS[metric].by_features:
        raise InputError(
            f"normalize={normalize!r} has a meaning for 'euclidean' and 'sqeuclidean' only; {metric!r} is "
            "normalized by its definition. Leave it out."
        )
    if noise is not None and not METRICS[metric].noise:
        raise InputError(
            f"noise= has no meaning for metric={metric!r}; it whitens patterns for 'mahalanobis' and 'crossnobis'."
        )
    if noise is None and metric == "mahalanobis":
        raise InputError(
            "metric='mahalanobis' needs noise=, the covariance of the noise, e.g. "
            "neurolens.rsa.noise_covariance(residuals). Without noise use metric='sqeuclidean', "
            "normalize='features'."
        )


def check_patterns(patterns: Patterns, n_dims: int = 2) -> None:
    """Raise InputError unless patterns are real numbers with features."""
    if len(patterns.shape) != n_dims or patterns.shape[-1] == 0:
        wanted = "(n_stimuli, n_features)" if n_dims == 2 else "(n_runs, n_stimuli, n_features)"
        raise InputError(
            f"Patterns must be a matrix {wanted} with features; got shape {patterns.shape}. "
            "Flatten all dims but the stimuli into one: array.reshape(n_stimuli, -1)."
        )
    if patterns.dtype.kind not in "fiub":
        raise InputError(
            f"Patterns must be real numbers; got dtype {patterns.dtype}. For complex values choose a part: "
            "abs(array), array.real ..."
        )


def _measure(patterns: Patterns, kind: Dissimilarity, tile: Tile) -> Scaling:
    """Shift, scale and the patterns left out: those that `measure` suspects and whose values confirm it."""
    with np.errstate(invalid="ignore", over="ignore"):
        scaling = kind.measure(patterns, tile)
    for i in np.flatnonzero(scaling.left_out):
        row = patterns[slice(i, i + 1), slice(None)][0]
        scaling.left_out[i] = not np.isfinite(row).all() or kind.is_undefined(row)
        usable = np.isfinite(scaling.scale[i]) and scaling.scale[i] > 0
        if not scaling.left_out[i] and not usable:
            raise InputError(
                f"Pattern {i} has values of the size {np.abs(row).max():.3g}, whose squares are no numbers. "
                "Multiply all patterns by one constant that brings them near 1."
            )
    return scaling


def _measure_correlation(patterns: Patterns, tile: Tile) -> Scaling:
    """Mean and root of the summed squared deviations of each pattern, merged over blocks without cancelling."""
    n_stimuli = patterns.shape[0]
    mean, squares, seen = np.zeros(n_stimuli), np.zeros(n_stimuli), np.zeros(n_stimuli)
    for rows, block in walk_rows(patterns, tile):
        width = block.shape[1]
        deviations = block.astype(np.float64)
        of_block = deviations.mean(axis=1)
        deviations -= of_block[:, None]
        difference = of_block - mean[rows]
        squares[rows] += np.einsum("ij,ij->i", deviations, deviations)
        squares[rows] += difference**2 * seen[rows] * width / (seen[rows] + width)
        seen[rows] += width
        mean[rows] += difference * width / seen[rows]
    scale = np.sqrt(squares)
    small = scale <= NEARLY_CONSTANT * np.sqrt(patterns.shape[1]) * np.abs(mean)
    return Scaling(mean, scale, small | ~np.isfinite(scale))


def _measure_cosine(patterns: Patterns, tile: Tile) -> Scaling:
    squares = np.zeros(patterns.shape[0])
    for rows, block in walk_rows(patterns, tile):
        values = block.astype(np.float64)
        squares[rows] += np.einsum("ij,ij->i", values, values)
    scale = np.sqrt(squares)
    return Scaling(np.zeros(len(scale)), scale, ~np.isfinite(scale) | (scale == 0))


def _measure_euclidean(patterns: Patterns, tile: Tile) -> Scaling:
    """One common scale, 1 unless squares of the values would leave float32."""
    n_stimuli = patterns.shape[0]
    largest, smallest = np.full(n_stimuli, -np.inf), np.full(n_stimuli, np.inf)
    for rows, block in walk_rows(patterns, tile):
        largest[rows] = np.maximum(largest[rows], block.max(axis=1))  # NaN stays NaN
        smallest[rows] = np.minimum(smallest[rows], block.min(axis=1))
    size = np.maximum(largest, -smallest)
    bad = ~np.isfinite(size)
    greatest = float(size[~bad].max(initial=0.0))
    # A power of two changes no digit.
    scale = 1.0 if 1e-12 < greatest < 1e12 or greatest == 0 else 2.0 ** np.frexp(greatest)[1]
    return Scaling(np.zeros(n_stimuli), np.full(n_stimuli, scale), bad)


def _measure_poisson(patterns: Patterns, tile: Tile) -> Scaling:
    smallest, sums = np.full(patterns.shape[0], np.inf), np.zeros(patterns.shape[0])
    for rows, block in walk_rows(patterns, tile):
        smallest[rows] = np.minimum(smallest[rows], block.min(axis=1))
        sums[rows] += block.sum(axis=1, dtype=np.float64)
    return Scaling(np.zeros(len(sums)), np.ones(len(sums)), ~np.isfinite(sums) | (smallest < 0))


def _is_constant(pattern: Array) -> bool:
    return bool((pattern == pattern[0]).all())


def _is_zero(pattern: Array) -> bool:
    return not pattern.any()


def _is_negative(pattern: Array) -> bool:
    return bool((pattern < 0).any())


def _never(_: Array) -> bool:
    return False


def _half_squared(patterns: Patterns, scaling: Scaling, setting: Setting) -> Array:
    squared = compute_squared_distances(patterns, scaling, tile=setting.tile, device=setting.device)
    squared /= 2
    return squared


def _sqeuclidean(patterns: Patterns, scaling: Scaling, setting: Setting) -> Array:
    squared = compute_squared_distances(patterns, scaling, tile=setting.tile, device=setting.device)
    if scaling.scale[0] != 1:
        squared *= scaling.scale[0] ** 2
    return squared


def _euclidean(patterns: Patterns, scaling: Scaling, setting: Setting) -> Array:
    squared = compute_squared_distances(patterns, scaling, tile=setting.tile, device=setting.device)
    np.sqrt(squared, out=squared)
    squared *= scaling.scale[0]
    return squared


def _mahalanobis(patterns: Patterns, scaling: Scaling, setting: Setting) -> Array:
    assert setting.noise is not None
    values = patterns[slice(None), slice(None)].astype(np.float64)
    values[scaling.left_out] = 0
    values -= values.mean(axis=0)
    whitened = whiten(values, setting.noise).astype(work_dtype(patterns.dtype), copy=False)
    plain = _measure_euclidean(whitened, setting.tile)
    squared = _sqeuclidean(whitened, plain, setting)
    squared /= patterns.shape[1]
    return squared


def _poisson(patterns: Patterns, scaling: Scaling, setting: Setting) -> Array:
    """Twice the symmetrised kernel is a difference of Gram matrices: (a + b)(a + b)' - (a - b)(a - b)'."""
    n_stimuli, n_features = patterns.shape
    plus = sum_products(_poisson_blocks(patterns, scaling, setting.tile, 1), n_stimuli, device=setting.device)
    minus = sum_products(
        _poisson_blocks(patterns, scaling, setting.tile, -1), n_stimuli, device=setting.device
    )
    plus -= minus
    plus /= 4 * n_features
    return distances_from_gram(plus)


def _poisson_blocks(patterns: Patterns, scaling: Scaling, tile: Tile, sign: int) -> Iterator[Array]:
    for block in walk_columns(patterns, tile):
        rates = block.astype(np.float64)
        rates[scaling.left_out] = 0
        rates += PRIOR * PRIOR_WEIGHT
        rates /= 1 + PRIOR_WEIGHT
        rates += sign * np.log(rates)
        rates -= rates.mean(axis=0)
        yield rates.astype(work_dtype(patterns.dtype), copy=False)


def _needs_runs(patterns: Patterns, scaling: Scaling, setting: Setting) -> Array:
    raise InputError(
        "metric='crossnobis' compares runs: use compute_crossnobis, patterns (run, stimulus, feature)."
    )


METRICS: dict[str, Dissimilarity] = {
    "correlation": Dissimilarity(_measure_correlation, _is_constant, _half_squared, "constant or not finite"),
    "cosine": Dissimilarity(_measure_cosine, _is_zero, _half_squared, "zero throughout or not finite"),
    "euclidean": Dissimilarity(_measure_euclidean, _never, _euclidean, "not finite", by_features=True),
    "sqeuclidean": Dissimilarity(_measure_euclidean, _never, _sqeuclidean, "not finite", by_features=True),
    "mahalanobis": Dissimilarity(
        _measure_euclidean, _never, _mahalanobis, "not finite", tiles=False, noise=True
    ),
    "crossnobis": Dissimilarity(
        _measure_euclidean, _never, _needs_runs, "not finite", runs=True, tiles=False, noise=True
    ),
    "poisson": Dissimilarity(
        _measure_poisson, _is_negative, _poisson, "negative somewhere or not finite", tiles=False
    ),
}
