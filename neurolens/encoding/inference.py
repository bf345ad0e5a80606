"""Inference: which scores are more than chance, and what they would be for other stimuli."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.encoding.cells import Cells
from neurolens.encoding.nulls import ROUNDING, adjust_fdr, correct_tests, count_exceedances
from neurolens.encoding.predictions import BLOCK, TEST_FOLD, require_predictions
from neurolens.errors import (
    InputError,
    LabelError,
    check_choice,
    check_count,
    check_name,
    is_between,
    list_names,
)
from neurolens.numerics.corrections import CORRECTIONS, Correction
from neurolens.numerics.heldout import (
    bootstrap_scores,
    draw_bootstraps,
    draw_orders,
    permute_correlations,
    score_folds,
)
from neurolens.schema import NEUROID, STIMULUS, provenance

__all__ = ["bootstrap_stimuli", "permute_responses"]

Table = NDArray[np.float64]


def permute_responses(
    result: xr.Dataset,
    *,
    n_permutations: int = 1000,
    by: str | None = None,
    blocks: str | None = None,
    correction: Correction = "max",
    seed: int = 0,
) -> xr.Dataset:
    """Test predictions against responses whose stimuli have changed places within their test fold.

    The statistic is Pearson r within folds, averaged over folds, whatever score `result` has (noise has r2 < 0
    for every permutation). Nothing is fitted again, and one permutation acts on all operations, neuroids and
    subjects. In K-fold cross-validation every pair of stimuli counts in two folds, so deviations from the mean
    of the permutations are multiplied by ``sqrt(1 + attrs["pair_reuse"])``: without this, false positives at
    .05 were .10-.13. One-sided, ``p = (1 + #{null >= observed}) / (1 + N)``; for these neuroids and subjects, and
    other assignments of these stimuli. `permute_with_refits` is the exact and expensive alternative.

    Parameters
    ----------
    result
        Of ``encode(..., predictions=True)``.
    n_permutations
        How many.
    by
        A coord of `neuroid` ("region"): the statistic is the median over its neuroids; None for each neuroid.
    blocks
        A coord of `stimulus` whose stimuli move together, in their order; by default the groups of `encode`,
        else every stimulus moves alone. Blocks of one size and fold change places.
    correction
        "max" (maximum statistic, family-wise) or "bh" (Benjamini-Hochberg, false discovery rate); over the
        neuroids of an operation, or with `by` over the operations within a region.
    seed
        Of the permutations.

    Returns
    -------
    Dataset
        `r`, `p`, `p_corrected` ([op,] neuroid), or with `by` ([op,] region[, subject]); NaN where r is. attrs
        say what p is of.

    Raises
    ------
    InputError
        If there are no predictions, an option is unknown, or no block can change place.
    LabelError
        If `by` or `blocks` is no coord.

    References
    ----------
    Nadeau and Bengio, Machine Learning 2003, doi:10.1023/A:1024068626366 (folds are not independent).
    Nichols and Holmes, Human Brain Mapping 2002, doi:10.1002/hbm.1058.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import neurolens as nl
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(60)]
    >>> conv = xr.DataArray(rng.normal(size=(60, 4)), dims=("stimulus", "unit"), coords={"stimulus": ids})
    >>> voxels = nl.brain.responses(conv.values @ rng.normal(size=(4, 3)), stimulus=ids)
    >>> scores = nl.encode({"conv": conv}, voxels, model=nl.Ridge(alphas=1.0), predictions=True)
    >>> nl.encoding.permute_responses(scores, n_permutations=99).p.values.tolist()
    [[0.01, 0.01, 0.01]]
    """
    check_choice(correction, CORRECTIONS, "correction")
    check_count(n_permutations, "n_permutations")
    held = _HeldOut(result, by, blocks)
    orders = draw_orders(held.fold_of, held.blocks, n_permutations, seed=seed)
    over_operations = by is not None
    tests = [
        count_exceedances(_permute_pieces(held, predicted, orders), keep=over_operations)
        for predicted in held.operations()
    ]
    observed, p, p_corrected = correct_tests(tests, correction, over_operations=over_operations)
    attrs = _describe(
        result,
        "permute_responses",
        {"n_permutations": n_permutations, "by": by, "blocks": held.block_name, "correction": correction},
        seed,
    )
    attrs["p_of"] = (
        "permutation of held-out responses within test folds, one-sided; statistic: mean over folds of r"
    )
    return held.cells.label({"r": observed, "p": p, "p_corrected": p_corrected}, attrs, correction)


def bootstrap_stimuli(
    result: xr.Dataset,
    *,
    n_bootstraps: int = 1000,
    confidence: float = 0.95,
    by: str | None = None,
    blocks: str | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Give confidence intervals of scores, for other stimuli, by resampling the test stimuli of each fold.

    Samples are drawn within folds with the predictions as they are, and one sample serves all operations,
    neuroids and subjects. As in `permute_responses`, deviations from the score are multiplied by
    ``sqrt(1 + attrs["pair_reuse"])``.

    Parameters
    ----------
    result
        Of ``encode(..., predictions=True)``.
    n_bootstraps
        How many samples.
    confidence
        Share of samples between the ends of the interval.
    by, blocks
        As `permute_responses` takes them; blocks are drawn as wholes.
    seed
        Of the samples.

    Returns
    -------
    Dataset
        `score` (in the score of `result`, averaged over folds), `ci_low`, `ci_high`, `p` (one-sided: the share
        of samples at or below 0), `p_corrected` (Benjamini-Hochberg, over the same families) ([op,] neuroid),
        or with `by` ([op,] region[, subject]). attrs["ci_of"] says what was resampled.

    Raises
    ------
    InputError
        If there are no predictions, or an option is out of range.
    LabelError
        If `by` or `blocks` is no coord.

    References
    ----------
    Efron, Annals of Statistics 1979, doi:10.1214/aos/1176344552.
    Nadeau and Bengio, Machine Learning 2003, doi:10.1023/A:1024068626366 (folds are not independent).

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import neurolens as nl
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(60)]
    >>> conv = xr.DataArray(rng.normal(size=(60, 4)), dims=("stimulus", "unit"), coords={"stimulus": ids})
    >>> voxels = nl.brain.responses(conv.values @ rng.normal(size=(4, 3)), stimulus=ids)
    >>> scores = nl.encode({"conv": conv}, voxels, model=nl.Ridge(alphas=1.0), predictions=True)
    >>> interval = nl.encoding.bootstrap_stimuli(scores, n_bootstraps=99)
    >>> bool((interval.ci_low <= interval.score).all())
    True
    """
    check_count(n_bootstraps, "n_bootstraps", least=2)
    if not is_between(confidence, 0, 1):
        raise InputError(f"confidence={confidence!r}: give a share between 0 and 1, e.g. 0.95.")
    held = _HeldOut(result, by, blocks)
    score = str(result["score"].attrs["score"])
    counts = draw_bootstraps(held.fold_of, held.blocks, n_bootstraps, seed=seed)
    found = np.array(
        [_bootstrap_operation(held, one, counts, score, confidence) for one in held.operations()]
    )
    observed, low, high, p = found.transpose(1, 0, 2)
    attrs = _describe(
        result,
        "bootstrap_stimuli",
        {"n_bootstraps": n_bootstraps, "confidence": confidence, "by": by, "blocks": held.block_name},
        seed,
    )
    attrs |= {
        "ci_of": "stimuli, within test folds",
        "p_of": "bootstrap of stimuli within test folds, one-sided",
    }
    tables = {"score": observed, "ci_low": low, "ci_high": high, "p": p}
    tables["p_corrected"] = adjust_fdr(p, over_operations=by is not None)
    tested = held.cells.label(tables, attrs, "bh")
    tested["score"].attrs = {
        "long_name": f"mean over folds of {score}",
        "units": result["score"].attrs["units"],
    }
    return tested


class _HeldOut:
    """Predictions and responses of a result, with the test fold and the block of each stimulus."""

    def __init__(self, result: xr.Dataset, by: str | None, blocks: str | None) -> None:
        require_predictions(result)
        self.result = result
        self.cells = Cells(result["prediction"], by)
        if blocks is not None:
            check_name(blocks, "blocks", "coord of 'stimulus'")
        self.block_name = BLOCK if blocks is None else blocks
        if self.block_name not in result.coords or result.coords[self.block_name].dims != (STIMULUS,):
            raise LabelError(
                f"blocks={blocks!r} is no coord of 'stimulus'; there are {list_names(result.coords)}."
            )
        self.fold_of = result.coords[TEST_FOLD].values
        self.blocks = result.coords[self.block_name].values.astype(str)
        self.observed = result["observed"].transpose(STIMULUS, NEUROID).values
        self.stretch = float(np.sqrt(1 + result.attrs["pair_reuse"]))

    def operations(self) -> Iterator[Table]:
        """Yield the predictions (stimulus, neuroid) of each operation."""
        prediction = self.result["prediction"].transpose(..., STIMULUS, NEUROID).values
        yield from prediction if self.cells.has_op else prediction[None]


def _permute_pieces(
    held: _HeldOut, predicted: Table, orders: NDArray[np.intp]
) -> Iterator[tuple[Table, Table]]:
    """Yield the statistic (cell,) and its null (permutation, cell), stretched about its mean, of some cells."""
    for columns in held.cells.pieces():
        sides = held.observed[:, columns], predicted[:, columns]
        chance = permute_correlations(*sides, held.fold_of, orders)
        centre = chance.mean(axis=0)
        r = score_folds(*sides, held.fold_of, "pearson")
        r[np.isnan(centre)] = np.nan
        yield held.cells.reduce(r), held.cells.reduce(centre + held.stretch * (chance - centre))


def _bootstrap_operation(
    held: _HeldOut, predicted: Table, counts: Table, score: str, confidence: float
) -> Table:
    """Score, both ends of the interval, and p: array (4, cell)."""
    cells = []
    for columns in held.cells.pieces():
        sides = held.observed[:, columns], predicted[:, columns]
        observed = held.cells.reduce(score_folds(*sides, held.fold_of, score))
        samples = held.cells.reduce(bootstrap_scores(*sides, held.fold_of, counts, score))
        samples = observed + held.stretch * (samples - observed)
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = np.quantile(samples, tails, axis=0)
        p = (1 + (samples <= ROUNDING).sum(axis=0)) / (1 + len(samples))
        cells.append(np.stack([observed, low, high, np.where(np.isnan(observed), np.nan, p)]))
    return np.concatenate(cells, axis=1)


def _describe(result: xr.Dataset, method: str, parameters: dict[str, object], seed: int) -> dict[str, Any]:
    attrs = provenance(method, parameters=parameters, inputs={"encode": result.attrs["inputs"]}, seed=seed)
    return attrs | {"pair_reuse": result.attrs["pair_reuse"]}
