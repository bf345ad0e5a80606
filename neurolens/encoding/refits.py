"""Permutation with refits: what chance would have made of the whole analysis, the fits included."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.console import Console

from neurolens.activations import as_activations
from neurolens.brain.responses import BrainData
from neurolens.encoding.banded import BandedRidge
from neurolens.encoding.cells import Cells
from neurolens.encoding.evaluation import ask, label_scores
from neurolens.encoding.features import CHUNK_BYTES
from neurolens.encoding.linear import Linear
from neurolens.encoding.nulls import Counted, correct_tests, count_exceedances
from neurolens.encoding.operations import OperationScores, Question, score_operation
from neurolens.encoding.plans import Plan
from neurolens.encoding.ridge import Ridge
from neurolens.encoding.spreading import Found, score_operations, show_progress, walk_operations
from neurolens.errors import InputError, check_choice, check_count, list_names
from neurolens.numerics.corrections import CORRECTIONS, Correction
from neurolens.numerics.heldout import draw_orders
from neurolens.schema import OP, provenance

__all__ = ["permute_predictions", "permute_with_refits"]

Table = NDArray[np.float64]
Orders = NDArray[np.intp]
Statistic = Callable[[Plan, Orders, Table], Table]

INDEPENDENT = (Ridge, Linear, BandedRidge)  # models that fit each neuroid as if there were no other
BATCH_ELEMENTS = 2**24  # responses (stimuli x neuroids) of the permutations that are fitted together
UNUSED = ("ceiling", "predictions", "client")  # options of encode that a test has no use for


def permute_with_refits(
    source: Any,
    responses: BrainData,
    *,
    n_permutations: int = 100,
    by: str | None = None,
    correction: Correction = "max",
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> xr.Dataset:
    """Test scores against those of the same analysis of permuted responses, every fit made again.

    Stimulus labels of the responses are permuted (whole groups of one size, where `groups` is given) before the
    folds are made, so that choices of alpha, fits and scores all see the permuted data: an exact test, also for
    K-fold cross-validation and for any model and score. One-sided, ``p = (1 + #{null >= observed}) / (1 + N)``;
    one permutation acts on all operations, neuroids and subjects. Its cost is stated on stderr before it starts:
    up to `n_permutations` times that of `encode`, less where models that treat neuroids one by one (`Ridge`,
    `Linear`, `BandedRidge`) share decompositions over permutations. An operation that is too large for memory
    is read again for every batch of permutations.

    Parameters
    ----------
    source, responses
        As `encode` takes them; a source is read twice.
    n_permutations
        How many.
    by
        A coord of `neuroid` ("region"): the statistic is the median over its neuroids; None for each neuroid.
    correction
        "max" or "bh"; over the neuroids of an operation, or with `by` over the operations within a region.
    seed
        Of the permutations, and of the folds where `cv` is a number.
    progress
        Show a progress bar over operations, where there is a terminal, and state the cost.
    **options
        Other options of `encode`: model, cv, score, groups, join.

    Returns
    -------
    Dataset
        `score` (averaged over folds), `p`, `p_corrected` ([op,] neuroid), or with `by` ([op,] region[, subject]).

    Raises
    ------
    InputError
        If an option is unknown, or nothing can change place; else as `encode`.

    References
    ----------
    Nichols and Holmes, Human Brain Mapping 2002, doi:10.1002/hbm.1058.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import neurolens as nl
    >>> rng = np.random.default_rng(0)
    >>> ids = [f"image{i}" for i in range(40)]
    >>> conv = xr.DataArray(rng.normal(size=(40, 4)), dims=("stimulus", "unit"), coords={"stimulus": ids})
    >>> voxels = nl.brain.responses(conv.values @ rng.normal(size=(4, 3)), stimulus=ids)
    >>> test = nl.encoding.permute_with_refits(
    ...     conv, voxels, model=nl.Ridge(alphas=1.0), n_permutations=19, progress=False
    ... )
    >>> test.p.values.tolist()
    [0.05, 0.05, 0.05]
    """
    check_choice(correction, CORRECTIONS, "correction")
    check_count(n_permutations, "n_permutations")
    if set(UNUSED) & set(options):
        raise InputError(
            f"permute_with_refits takes no {list_names(set(UNUSED) & set(options))}; ask encode for it."
        )
    question, inputs = ask(responses, seed=seed, **options)
    items = as_activations(source)
    started = time.perf_counter()
    found = score_operations(items, question, progress=False)
    if not found.scores:
        raise InputError(f"No operation can predict anything; skipped {found.skipped}.")
    if progress:
        _state_cost(time.perf_counter() - started, n_permutations, len(found.scores))
    cells = Cells(label_scores(found, question)["score"], by)
    orders = [_draw_orders(plan, n_permutations, seed) for plan in found.plans]
    tests = []
    kept = ((address, array) for address, array in items.items() if address in found.scores)
    for address, array in show_progress(kept, len(found.scores), "Refitting", progress):
        tests.append(_test_operation(question, found, orders, cells, address, array))
    score, p, p_corrected = correct_tests(tests, correction, over_operations=by is not None)
    attrs = _describe(question, n_permutations, by, inputs | {"source": found.digest})
    labelled = cells.label({"score": score, "p": p, "p_corrected": p_corrected}, attrs, correction)
    return labelled.isel({OP: 0}, drop=True) if isinstance(source, xr.DataArray) else labelled


def permute_predictions(
    source: Any,
    responses: xr.DataArray,
    statistic: Statistic,
    *,
    ops: Sequence[str],
    n_permutations: int,
    seed: int = 0,
    progress: bool = True,
    client: Any = None,
    **options: Any,
) -> Table:
    """Find what chance makes of any statistic of held-out predictions, by fits to permuted responses.

    Parameters
    ----------
    source
        As `encode` takes it; each operation is read once, and held while all permutations run, unless it is too
        large for memory.
    responses
        DataArray ([repetition,] stimulus, neuroid), without a dim `subject`.
    statistic
        Function of the Plan; orders of its stimuli, array, shape (n_some, n_stimuli); and the predictions of the
        responses in each of these orders, shape (n_some, n_stimuli, n_usable), NaN for stimuli that no fold tests.
        It returns an array, shape (n_some, n_cells). Workers take it if it can be pickled.
    ops
        The operations, all of which can predict.
    n_permutations, seed
        As `permute_with_refits` takes them: one permutation acts on all operations and neuroids.
    progress, client
        As `encode` takes them.
    **options
        Other options of `encode`: model, cv, groups, join.

    Returns
    -------
    array, shape (n_permutations, n_ops, n_cells), float64

    Raises
    ------
    InputError
        As `permute_with_refits`.
    """
    check_count(n_permutations, "n_permutations")
    question, _ = ask(responses, seed=seed, predictions=True, **options)
    work = partial(_score_predictions, statistic=statistic, n_permutations=n_permutations, seed=seed)
    items = as_activations(source)
    found = walk_operations(items, ops, question, work, label="Refitting", progress=progress, client=client)
    return np.stack([null for _, null in found], axis=1)


def _score_predictions(
    question: Question,
    plans: Sequence[Plan],
    address: str,
    array: xr.DataArray,
    position: int,
    *,
    statistic: Statistic,
    n_permutations: int,
    seed: int,
) -> Table:
    """Compute a statistic of the predictions of one operation under all permutations."""
    (plan,) = plans
    orders = _draw_orders(plan, n_permutations, seed)
    scores = []
    for batch, found in _refit(question, plans, [orders], address, _hold(array)):
        assert found.predictions is not None
        copies = found.predictions[0].reshape(len(plan.ids), -1, int(plan.usable.sum()))
        scores.append(statistic(plan, orders[batch], copies.swapaxes(0, 1)))
    return np.concatenate(scores)


def _draw_orders(plan: Plan, n_permutations: int, seed: int) -> Orders:
    """Draw orders of all stimuli, whole groups changing place with others of their size."""
    try:
        return draw_orders(np.zeros(len(plan.ids)), plan.task.groups, n_permutations, seed=seed)
    except InputError:
        raise InputError(
            f"No permutation is possible: {np.unique(plan.task.groups).size} groups of stimuli move as wholes, and no "
            "two are of one size. Where stimuli of a group are exchangeable, give folds that are no groups: a "
            "number, or a splitter of scikit-learn."
        ) from None


def _hold(array: xr.DataArray) -> xr.DataArray:
    """Read an operation that fits into memory; a larger one is read again for every batch of permutations."""
    return array.compute() if array.nbytes <= CHUNK_BYTES else array


def _test_operation(
    question: Question,
    found: Found,
    orders: Sequence[Orders],
    cells: Cells,
    address: str,
    array: xr.DataArray,
) -> Counted:
    """Compare the scores of one operation with those of all permutations."""
    refits = _refit(question, found.plans, orders, address, _hold(array))
    null = np.concatenate([_average_refits(one, found.plans, batch) for batch, one in refits])
    observed = _average_folds(found.scores[address].score)
    pieces = ((cells.reduce(observed[c]), cells.reduce(null[:, c])) for c in cells.pieces())
    return count_exceedances(pieces, keep=cells.by is not None)


def _refit(
    question: Question, plans: Sequence[Plan], orders: Sequence[Orders], address: str, array: xr.DataArray
) -> Iterator[tuple[slice, OperationScores]]:
    """Fit some permutations at a time; yield which, and what was found of their copies of the neuroids."""
    n_permutations = len(orders[0])
    widest = max(plan.task.targets.size for plan in plans)
    size = max(1, BATCH_ELEMENTS // widest) if isinstance(question.model, INDEPENDENT) else 1
    for start in range(0, n_permutations, size):
        batch = slice(start, min(start + size, n_permutations))
        permuted = tuple(_permute_plan(plan, own[batch]) for plan, own in zip(plans, orders, strict=True))
        yield batch, score_operation(question, permuted, address, array, 0)


def _average_refits(found: OperationScores, plans: Sequence[Plan], batch: slice) -> Table:
    """Average over folds: scores (permutation, neuroid)."""
    n_permutations = batch.stop - batch.start
    ends = np.cumsum([n_permutations * plan.usable.sum() for plan in plans])[:-1]
    parts = np.split(_average_folds(found.score), ends)
    return np.concatenate(
        [_spread(part, plan, n_permutations) for part, plan in zip(parts, plans, strict=True)], axis=1
    )


def _permute_plan(plan: Plan, orders: Orders) -> Plan:
    """Lay permuted copies of the responses side by side, as if each were further neuroids."""
    targets = np.concatenate([plan.task.targets[order] for order in orders], axis=1)
    return replace(
        plan, usable=np.ones(targets.shape[1], dtype=bool), task=replace(plan.task, targets=targets)
    )


def _spread(scores: Table, plan: Plan, n_permutations: int) -> Table:
    """Bring scores of side-by-side copies to (permutation, neuroid); NaN for neuroids that cannot be used."""
    null = np.full((n_permutations, plan.usable.size), np.nan)
    null[:, plan.usable] = scores.reshape(n_permutations, -1)
    return null


def _average_folds(scores: Table | None) -> Table:
    """Average (neuroid, fold) over the folds that have a score."""
    assert scores is not None
    known = ~np.isnan(scores)
    total = np.where(known, scores, 0).sum(axis=1)
    count = known.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _state_cost(seconds: float, n_permutations: int, n_operations: int) -> None:
    Console(stderr=True).print(
        f"{n_permutations} permutations with refits of {n_operations} operations take up to "
        f"{seconds * n_permutations:.0f} s (one analysis took {seconds:.2g} s)."
    )


def _describe(
    question: Question, n_permutations: int, by: str | None, inputs: dict[str, str]
) -> dict[str, Any]:
    parameters = {
        "n_permutations": n_permutations,
        "by": by,
        "model": repr(question.model),
        "cv": question.cv,
        "score": question.score,
        "groups": question.groups,
    }
    attrs = provenance("permute_with_refits", parameters=parameters, inputs=inputs, seed=question.seed)
    statistic = f"mean over folds of {question.score}"
    return attrs | {"p_of": f"permutation of responses with refits, one-sided; statistic: {statistic}"}
