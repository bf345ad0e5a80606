"""How much of subjects' RDMs several model RDMs explain: together, alone, and each beyond the others."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from neurolens.errors import InputError, check_count, list_names
from neurolens.numerics.crossvalidation import draw_folds
from neurolens.numerics.regression import compute_subset_r2
from neurolens.rsa.table import build_table
from neurolens.schema import SUBJECT, provenance

__all__ = ["partition_variance"]

N_REPEATS = 20


def partition_variance(
    models: xr.DataArray,
    data: xr.DataArray,
    *,
    nonnegative: bool = False,
    n_folds: int | None = None,
    n_repeats: int = N_REPEATS,
    within: str | None = None,
    seed: int = 0,
    join: Literal["exact", "inner"] = "exact",
) -> xr.Dataset:
    """Explain subjects' dissimilarities by several RDMs at once, cross-validated over stimuli.

    Each subject's RDM is regressed, with an intercept, on all models, on one, and on all but one, on the pairs of
    the training stimuli; r2 = 1 - SSE / SST is that of the pairs of held-out stimuli. What a model explains alone
    beyond the others is its unique share: r2 of all minus r2 without it. What is left of r2 is shared: it may be
    negative (suppression).

    Parameters
    ----------
    models
        DataArray (one dim, stimulus, stimulus_b): 2 or more RDMs.
    data
        DataArray ([subject,] [session,] stimulus, stimulus_b).
    nonnegative
        Whether weights below 0 are excluded.
    n_folds, n_repeats
        Folds of stimuli (5 where stimuli suffice), and how many splits into folds are averaged.
    within
        A coord of `stimulus`: only pairs within the same value count.
    seed
        Of the splits.
    join
        "exact": a stimulus on one side only is an error; "inner": use what both have.

    Returns
    -------
    Dataset
        `r2` (), `shared` (), and over the models' dim `alone`, `unique`: means over subjects; the same with
        `_subject` for each of them. `r2 = shared + sum of unique`. Below 0 where a fit predicts held-out stimuli
        worse than their mean does.

    Raises
    ------
    LabelError
        If stimuli are not labelled or do not match.
    InputError
        If there are fewer than 2 models, pairs are missing, or stimuli are too few for the folds.

    References
    ----------
    Groen et al. (2018), eLife 7:e32962, doi:10.7554/eLife.32962.

    Examples
    --------
    >>> from scipy.spatial.distance import pdist, squareform
    >>> rng = np.random.default_rng(0)
    >>> shapes, colours = (squareform(pdist(rng.random((20, 3)))) for _ in range(2))
    >>> coords = {"model": ["shape", "colour"], "stimulus": range(20), "stimulus_b": range(20)}
    >>> models = xr.DataArray(np.stack([shapes, colours]), coords, list(coords))
    >>> found = partition_variance(models, models.sel(model="shape", drop=True))
    >>> found.unique.round(6).values.tolist()[0] > 0.9, abs(found.unique.values[1]) < 1e-6
    (True, np.True_)
    """
    table = build_table(models, data, control=None, within=within, join=join)
    n_models, n_stimuli = len(table.mixtures), table.pairs.n_stimuli
    if n_models < 2 or not table.complete.all():
        raise InputError(
            f"Variance is partitioned among 2 or more complete RDMs; models have {n_models} "
            f"({list_names(table.coords[table.dim].values)})."
        )
    check_count(n_repeats, "n_repeats")
    if n_folds is not None:
        check_count(n_folds, "n_folds", 2)
    folds = min(5, max(n_stimuli // 6, 2)) if n_folds is None else n_folds
    rng = np.random.default_rng(seed)
    everyone = np.ones(n_stimuli, dtype=np.int64)
    indices = list(range(n_models))
    subsets = [indices, *([i] for i in indices), *([j for j in indices if j != i] for i in indices)]
    by_subset = np.mean(
        [
            compute_subset_r2(
                table.components,
                table.subjects,
                table.pairs,
                draw_folds(everyone, folds, rng),
                subsets=subsets,
                nonnegative=nonnegative,
            )
            for _ in range(n_repeats)
        ],
        axis=0,
    )
    full, alone, without = by_subset[0], by_subset[1 : n_models + 1], by_subset[n_models + 1 :]
    unique = full - without
    shares = {"r2": full, "shared": full - unique.sum(axis=0), "alone": alone, "unique": unique}
    variables = {}
    for name, values in shares.items():
        dims = (table.dim,) if values.ndim == 2 else ()
        variables[name] = (dims, values.mean(axis=-1), {"units": "r2"})
        if table.subject_labels is not None:
            variables[f"{name}_subject"] = ((*dims, SUBJECT), values, {"units": "r2"})
    coords = dict(table.coords)
    if table.subject_labels is not None:
        coords[SUBJECT] = table.subject_labels
    parameters = {
        "nonnegative": nonnegative,
        "n_folds": folds,
        "n_repeats": n_repeats,
        "within": within,
        "join": join,
    }
    attrs = provenance("variance-partition", parameters=parameters, inputs=table.hashes, seed=seed)
    return xr.Dataset(variables, coords, {**attrs, "score_of": "r2 of dissimilarities on held-out stimuli"})
