"""Where in a network a region's score peaks: regions compared, and the order of regions with the order of depths."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import rankdata

from neurolens.comparison.table import read_table
from neurolens.errors import InputError, LabelError, check_choice, check_count, is_between, list_names
from neurolens.numerics.bootstrap import draw_counts, make_scorer
from neurolens.numerics.corrections import control_familywise
from neurolens.numerics.distances import Metric
from neurolens.numerics.embedding import list_pairs
from neurolens.numerics.similarity import MEASURES, Similarity
from neurolens.rsa.pairs import extract_pairs
from neurolens.schema import OP, REGION, STIMULUS, SUBJECT, provenance

__all__ = ["compare_peaks"]

MAX_LISTED = 5040  # orders of regions that are listed rather than drawn
N_DRAWN = 5000
MIN_DIFFERENT = 4  # stimuli in a sample
Array = NDArray[np.float64]


def compare_peaks(
    source: object,
    brain: object,
    *,
    order: Sequence[str],
    metric: Metric = "correlation",
    similarity: Similarity = "rho-a",
    ops: str = "**",
    n_bootstraps: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Compare the depth at which the scores of regions peak, and ask whether regions are ordered as depths are.

    The peak of a region is the operation of the highest score (the mean over subjects of the similarity of RDMs);
    of operations with equal scores, the first. Stimuli are drawn anew, the same for all regions, and peaks are
    found again: intervals and the two-sided p of each difference are percentiles of these samples. That the peaks
    of two regions differ says nothing of how well the model fits either of them.

    Parameters
    ----------
    source
        As `compare` takes it, of one model, with the coord `depth` on `op`.
    brain
        As `compare` takes it, with at least two regions.
    order
        The regions, lowest first, e.g. ("V1", "V4", "IT").
    metric, similarity, ops
        As in `compare`.
    n_bootstraps
        How many samples of stimuli.
    confidence
        Of the intervals.
    seed
        Of all draws.

    Returns
    -------
    Dataset
        `peak`, `depth`, `ci_low`, `ci_high` (region): operation, depth in 0 to 1, and its interval;
        `depth_subject` (region, subject) where all regions have the same subjects; `difference`,
        `p_difference`, `p_difference_corrected` (Holm) (region, region_b): row minus column. `hierarchy`: the
        rank correlation (Spearman) of the given order and depth, the mean over subjects where there are;
        `p_hierarchy`: one-sided, by permuting the order of regions, each subject's on its own: of n regions of
        one subject it is never below 1 / n!. NaN where all depths are the same.

    Raises
    ------
    InputError
        If there are fewer than two regions, or operations tell no depth.
    LabelError
        If `order` names a region that is not there.

    References
    ----------
    Güçlü & van Gerven (2015), J. Neurosci. 35:10005, doi:10.1523/JNEUROSCI.5023-14.2015.
    Nonaka et al. (2021), iScience 24:103013, doi:10.1016/j.isci.2021.103013.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(20)]
    >>> early, late = (xr.DataArray(rng.random((20, 9)), {"stimulus": ids}, ("stimulus", "unit"), attrs={"depth": d})
    ...                for d in (0.0, 1.0))
    >>> brain = {"IT": late.rename(unit="neuroid"), "V1": early.rename(unit="neuroid")}
    >>> found = compare_peaks({"conv": early, "fc": late}, brain, order=("V1", "IT"), n_bootstraps=50)
    >>> found.peak.values.tolist(), round(float(found.hierarchy), 6)
    (['conv', 'fc'], 1.0)
    """
    check_choice(similarity, MEASURES, "similarity")
    check_count(n_bootstraps, "n_bootstraps", 2)
    if not is_between(confidence, 0, 1):
        raise InputError(f"confidence={confidence!r} must lie between 0 and 1, e.g. 0.95.")
    rdms, targets = read_table(source, brain, metric=metric, ops=ops)
    regions = _check_order(order, targets)
    depth = _read_depth(rdms)
    pairs = list_pairs(rdms.sizes[STIMULUS])
    models = extract_pairs(rdms)
    scorers = [make_scorer(models, extract_pairs(targets[name]), similarity, pairs=pairs) for name in regions]
    once = np.ones(rdms.sizes[STIMULUS], dtype=np.int64)
    by_subject = [scorer(once)[0] for scorer in scorers]
    places = [_find_peak(scores.mean(axis=1)) for scores in by_subject]
    counts = draw_counts(rdms.sizes[STIMULUS], n_bootstraps, np.random.default_rng(seed))
    counts = counts[(counts > 0).sum(axis=1) >= MIN_DIFFERENT]
    samples = np.array(
        [[depth[_find_peak(scorer(one)[0].mean(axis=1))] for scorer in scorers] for one in counts]
    )
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(samples, tails, axis=0)
    result = xr.Dataset(
        {
            "peak": (REGION, rdms[OP].values[places]),
            "depth": (REGION, depth[places]),
            "ci_low": (REGION, low),
            "ci_high": (REGION, high),
        },
        {REGION: list(regions)},
    )
    result = result.assign(_compare_pairs(depth[places], samples))
    result = result.assign_coords({f"{REGION}_b": list(regions)})
    subjects = _shared_subjects([targets[name] for name in regions])
    depths = depth[places][:, None]
    if subjects is not None:
        depths = np.array([[depth[_find_peak(column)] for column in scores.T] for scores in by_subject])
        result["depth_subject"] = ((REGION, SUBJECT), depths)
        result = result.assign_coords({SUBJECT: subjects})
    score, p = _score_hierarchy(depths, seed)
    parameters = {
        "similarity": similarity,
        "metric": metric,
        "order": list(regions),
        "n_bootstraps": n_bootstraps,
    }
    attrs = provenance("compare_peaks", parameters=parameters, inputs={}, seed=seed)
    attrs |= {
        "ci_of": "percentiles of a bootstrap of stimuli; stimuli of this kind; these subjects",
        "p_difference_of": "twice the smaller share of samples on one side of 0",
        "p_hierarchy_of": "permutation of the order of regions"
        + (", each subject's on its own" if subjects is not None else ""),
        "n_samples": len(samples),
    }
    return result.assign(hierarchy=score, p_hierarchy=p).assign_attrs(attrs)


def _check_order(order: Sequence[str], targets: dict[str, xr.DataArray]) -> list[str]:
    regions = list(order)
    unknown = [name for name in regions if name not in targets]
    if unknown:
        raise LabelError(f"order names {list_names(unknown)}; brain has the regions {list_names(targets)}.")
    if len(regions) < 2 or len(set(regions)) < len(regions):
        raise InputError(f"order={regions} must name at least two regions, each once, lowest first.")
    return regions


def _read_depth(rdms: xr.DataArray) -> Array:
    depth = (
        np.asarray(rdms["depth"].values, dtype=np.float64) if "depth" in rdms.coords else np.array([np.nan])
    )
    if np.isnan(depth).any():
        raise InputError(
            "Operations tell no depth: use activations of a trace, a stream or a store, or set attrs."
        )
    return depth


def _find_peak(scores: Array) -> int:
    return int(np.argmax(np.where(np.isnan(scores), -np.inf, np.round(scores, 12))))


def _compare_pairs(depth: Array, samples: Array) -> dict[str, Any]:
    dims = (REGION, f"{REGION}_b")
    apart = samples[:, :, None] - samples[:, None, :]
    n = len(samples)
    above, below = ((1 + (apart * sign <= 0).sum(axis=0)) / (1 + n) for sign in (1, -1))
    p = np.minimum(1.0, 2 * np.minimum(above, below))
    np.fill_diagonal(p, np.nan)
    rows, columns = np.triu_indices(len(depth), 1)
    corrected = np.full(p.shape, np.nan)
    corrected[rows, columns] = corrected[columns, rows] = control_familywise(p[rows, columns])
    return {
        "difference": (dims, depth[:, None] - depth),
        "p_difference": (dims, p),
        "p_difference_corrected": (dims, corrected),
    }


def _shared_subjects(targets: list[xr.DataArray]) -> list[Any] | None:
    labels = [target[SUBJECT].values.tolist() if SUBJECT in target.dims else None for target in targets]
    return labels[0] if labels[0] is not None and all(one == labels[0] for one in labels) else None


def _score_hierarchy(depths: Array, seed: int) -> tuple[float, float]:
    """Mean over subjects of the rank correlation of order and depth (region, subject), and its p."""
    n_regions = len(depths)
    ranks = np.array([rankdata(column) for column in depths.T])
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.sqrt((ranks**2).sum(axis=1))
    if (lengths == 0).all():
        return np.nan, np.nan
    ranks = ranks[lengths > 0] / lengths[lengths > 0, None]
    given = np.arange(n_regions) - (n_regions - 1) / 2
    given = given / np.sqrt((given**2).sum())
    observed = float((ranks @ given).mean())
    null = _list_null(ranks, given, seed)
    return observed, float((null >= observed - 1e-9).mean())


def _list_null(ranks: Array, given: Array, seed: int) -> Array:
    """Scores under orders of regions, drawn for each subject on its own; the given order is one of them."""
    n_orders = int(np.prod(np.arange(1.0, len(given) + 1))) if len(given) < 8 else MAX_LISTED + 1
    if float(n_orders) ** len(ranks) <= MAX_LISTED:
        orders = np.array(list(itertools.permutations(range(len(given)))))
        by_subject = [given[orders] @ row for row in ranks]
        sums = by_subject[0]
        for one in by_subject[1:]:
            sums = (sums[:, None] + one).ravel()
        return np.asarray(sums / len(ranks))
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.broadcast_to(given, (N_DRAWN, len(ranks), len(given))), axis=2)
    means = (drawn * ranks).sum(axis=2).mean(axis=1)
    return np.concatenate([means, [float((ranks @ given).mean())]])
