"""What chance makes of encoding RSA: predictions of permuted responses, and how alike their RDMs are to these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from neurolens.comparison.encodings import choose_options
from neurolens.comparison.plan import Plan
from neurolens.encoding.nulls import correct_tests, count_exceedances
from neurolens.encoding.plans import Plan as Folding
from neurolens.encoding.plans import find_test_folds
from neurolens.encoding.refits import permute_predictions
from neurolens.numerics.distances import Metric, compute_rdm
from neurolens.numerics.embedding import KINDS, list_pairs
from neurolens.numerics.permutation import BLOCK_BYTES, check_work, compare_each
from neurolens.numerics.similarity import Similarity
from neurolens.schema import OP, REGION, STIMULUS, STIMULUS_B, SUBJECT

__all__ = ["compute_p", "draw_null"]

Table = NDArray[np.float64]
Indices = NDArray[np.intp]

P_OF = "permutation of responses before the fits, one-sided; exact; for these stimuli and subjects"


@dataclass(frozen=True)
class PredictedSimilarity:
    """Similarity of RDMs of predictions with RDMs of the responses that were predicted, one a region.

    Attributes
    ----------
    targets
        DataArray ([subject,] stimulus, stimulus_b) of each region, of the responses as they were measured.
    members
        Positions of each region's neuroids.
    metric, similarity
        As `compare` takes them.
    """

    targets: tuple[xr.DataArray, ...]
    members: tuple[Indices, ...]
    metric: Metric
    similarity: Similarity

    def __call__(self, folding: Folding, orders: Indices, predictions: Table) -> Table:
        """Score predictions (order, stimulus, usable neuroid) of responses in these orders: (order, region)."""
        usable = np.flatnonzero(folding.usable)
        columns = [np.flatnonzero(np.isin(usable, rows)) for rows in self.members]
        parts = zip(self.targets, columns, strict=True)
        scores = [self._score(folding, orders, predictions[..., own], target) for target, own in parts]
        return np.stack(scores, axis=1)

    def _score(self, folding: Folding, orders: Indices, predictions: Table, target: xr.DataArray) -> Table:
        """Score one region, over the pairs within test folds; NaN where a predicted pattern has no distance."""
        fold_of = find_test_folds(folding)
        tested = np.flatnonzero(fold_of >= 0)
        rows, columns = np.triu_indices(tested.size, 1)
        pairs = list_pairs(tested.size, fold_of[tested[rows]] == fold_of[tested[columns]])
        squares = target.sel({STIMULUS: folding.ids, STIMULUS_B: folding.ids})
        measured = squares.transpose(..., STIMULUS, STIMULUS_B).values.reshape(-1, *2 * [len(folding.ids)])
        scores = np.full(len(orders), np.nan)
        step = max(1, BLOCK_BYTES // (8 * (1 + len(measured)) * tested.size**2))
        for start in range(0, len(orders), step):
            block = slice(start, start + step)
            rdms = [compute_rdm(one, self.metric) for one in predictions[block][:, tested]]
            made = np.stack(rdms)[:, pairs.rows, pairs.columns]
            known = ~np.isnan(made).any(axis=1)
            places = orders[block][known][:, tested]
            permuted = measured[:, places[:, pairs.rows], places[:, pairs.columns]].swapaxes(0, 1)
            if known.any():
                similarity = compare_each(made[known], permuted, self.similarity, pairs)
                scores[start + np.flatnonzero(known)] = similarity.mean(axis=1)
        return scores


def compute_p(
    source: object,
    responses: xr.DataArray,
    found: Mapping[str, xr.Dataset],
    targets: Mapping[str, xr.DataArray],
    plan: Plan,
) -> dict[str, xr.Dataset]:
    """Test the scores of all regions against those of the same analysis of permuted responses.

    Parameters
    ----------
    source, responses
        What predicted, and DataArray (..., stimulus, neuroid) with the coord `region` that was predicted.
    found
        region -> Dataset with `score` (op).
    targets
        region -> DataArray ([subject,] stimulus, stimulus_b) of all stimuli, those of training alone among them.
    plan
        What was asked for.

    Returns
    -------
    dict
        region -> the Dataset with `p` and `p_corrected` (op).
    """
    some = next(iter(found.values()))["score"]
    observed = np.stack([one["score"].values for one in found.values()], axis=1)
    null = draw_null(source, responses, targets, some[OP].values.tolist(), plan)
    null = np.where(
        np.isnan(null), observed, null
    )  # a permutation without a score counts against the operation
    if plan.similarity in KINDS and not KINDS[plan.similarity].centred:  # cosines: chance is not 0
        chance = (observed + null.sum(axis=0)) / (1 + len(null))
        observed, null = observed - chance, null - chance
    tests = [count_exceedances([(observed[i], null[:, i])], keep=True) for i in range(len(observed))]
    _, *tables = correct_tests(tests, plan.correction, over_operations=True)
    tested = {}
    for i, (region, one) in enumerate(found.items()):
        p, p_corrected = (some.copy(data=table[:, i]) for table in tables)
        told = {"p_of": P_OF, "n_permutations": plan.n_permutations}
        tested[region] = one.assign(p=p, p_corrected=p_corrected).assign_attrs(told)
    return tested


def draw_null(
    source: object,
    responses: xr.DataArray,
    targets: Mapping[str, xr.DataArray],
    ops: list[str],
    plan: Plan,
) -> Table:
    """Score every operation under every permutation: array, shape (n_permutations, n_ops, n_regions)."""
    for target in targets.values():
        if plan.similarity not in KINDS:
            check_work(plan.similarity, len(ops) * target.sizes.get(SUBJECT, 1) * plan.n_permutations)
    members = tuple(np.flatnonzero(responses[REGION].values == region) for region in targets)
    return permute_predictions(
        source,
        responses,
        PredictedSimilarity(tuple(targets.values()), members, plan.metric, plan.similarity),
        ops=ops,
        n_permutations=plan.n_permutations,
        seed=plan.seed,
        join=plan.join,
        progress=plan.progress,
        client=plan.client,
        **choose_options(plan, "model", "cv", "groups"),
    )
