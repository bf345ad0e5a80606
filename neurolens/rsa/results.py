"""What inference found, put under labels."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from neurolens.numerics.bootstrap import RESAMPLINGS, Bootstrap, Resampling
from neurolens.numerics.corrections import Correction, control_familywise, control_fdr
from neurolens.numerics.embedding import Array
from neurolens.numerics.similarity import MEASURES, Similarity
from neurolens.rsa.ceiling import describe_ceiling
from neurolens.rsa.table import RdmTable
from neurolens.schema import SUBJECT

__all__ = ["TESTS", "Settings", "Test", "Tested", "assemble_result", "correct_p", "describe_result"]

Test = Literal["permutation", "t", "sign-flip"]
TESTS: dict[str, str] = {  # how a score is tested against chance -> what that says
    "permutation": "permutation of stimulus labels, one-sided; exact; for these stimuli and subjects",
    "t": "t of the score by its standard error, one-sided; for what was resampled",
    "sign-flip": "flips of subjects' scores about chance, one-sided; exact; for such subjects and these stimuli",
}


@dataclass(frozen=True)
class Settings:
    """The choices of a run."""

    method: Similarity
    resample: Resampling
    test: Test
    correction: Correction
    n_bootstraps: int
    n_permutations: int
    n_repeats: int
    seed: int


@dataclass(frozen=True)
class Tested:
    """Chance and p of the models that have all pairs."""

    chance: Array
    p: Array
    p_corrected: Array
    n_permutations: int


def correct_p(p: NDArray[Any], correction: Correction) -> Array:
    """Correct p-values that have no common null distribution."""
    return control_familywise(p) if correction == "max" else control_fdr(p)


def test_differences(difference: Array, bootstrap: Bootstrap, correction: Correction) -> tuple[Array, Array]:
    """Two-sided t of each difference; corrected over pairs, each counted once."""
    error = np.sqrt(bootstrap.variance_difference)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.asarray(2 * stats.t.sf(np.abs(difference) / error, bootstrap.dof), dtype=np.float64)
    p[np.diag_indices_from(p)] = np.nan
    corrected = np.full(p.shape, np.nan)
    rows, columns = np.triu_indices(len(p), 1)
    if len(rows):
        corrected[rows, columns] = corrected[columns, rows] = correct_p(p[rows, columns], correction)
    return p, corrected


def assemble_result(
    table: RdmTable,
    settings: Settings,
    bootstrap: Bootstrap,
    tested: Tested,
    weights: list[Array],
    confidence: float,
    attrs: dict[str, Any],
) -> xr.Dataset:
    """Put scores, intervals, tests and ceilings of all models under their labels."""
    dim, dim_b = table.dim, f"{table.dim}_b"
    score, error = bootstrap.score_subject.mean(axis=1), np.sqrt(bootstrap.variance)
    reach = stats.t.ppf((1 + confidence) / 2, bootstrap.dof) * error
    difference = score[:, None] - score
    p_difference, p_difference_corrected = test_differences(difference, bootstrap, settings.correction)
    units = {"units": settings.method}
    single: dict[str, Array] = {
        "score": score,
        "standard_error": error,
        "ci_low": score - reach,
        "ci_high": score + reach,
        "chance": tested.chance,
        "p": tested.p,
        "p_corrected": tested.p_corrected,
    }
    paired = {
        "difference": difference,
        "p_difference": p_difference,
        "p_difference_corrected": p_difference_corrected,
    }
    variables: dict[Hashable, Any] = {
        name: (dim, table.spread(values), units) for name, values in single.items()
    }
    variables |= {
        name: ((dim, dim_b), table.spread(table.spread(v).T).T, units) for name, v in paired.items()
    }
    if table.subject_labels is not None:
        variables["score_subject"] = ((dim, SUBJECT), table.spread(bootstrap.score_subject), units)
    for i, name in enumerate(("ceiling_low", "ceiling_high")):
        variables[name] = ((), bootstrap.ceiling[i], units)
        variables[f"{name}_error"] = ((), bootstrap.ceiling_error[i], units)
    coords: dict[Hashable, Any] = {**table.coords, dim_b: table.coords[dim].values}
    if table.subject_labels is not None:
        coords[SUBJECT] = table.subject_labels
    if table.has_fits:
        parts = [(model, label) for model, labels in table.component_names for label in labels]
        variables["weight"] = ("component", np.concatenate(weights))
        coords["component"] = [f"{model}: {label}" for model, label in parts]
        coords["component_model"] = ("component", [model for model, _ in parts])
    made = {"dof": bootstrap.dof, "n_samples": bootstrap.n_samples, "n_permutations": tested.n_permutations}
    return xr.Dataset(variables, coords, {**attrs, **made})


def describe_result(table: RdmTable, settings: Settings, folds: int) -> dict[str, Any]:
    """Say of every number what it is."""
    names = {
        "max": "family-wise over models (maximum statistic; Holm for t and differences)",
        "bh": "Benjamini-Hochberg",
    }
    crossvalidated = f"; cross-validated over stimuli, {folds} folds" if folds else ""
    return {
        "score_of": f"{MEASURES[settings.method].label} of RDMs, mean over subjects{crossvalidated}",
        "resample": settings.resample,
        "generalises_to": RESAMPLINGS[settings.resample],
        "ci_of": f"score ± t standard error; {RESAMPLINGS[settings.resample]}",
        "test": settings.test,
        "p_of": TESTS[settings.test],
        "p_difference_of": f"t of the difference, two-sided; {RESAMPLINGS[settings.resample]}",
        "correction": settings.correction,
        "correction_of": names[settings.correction],
        "ceiling_kind": describe_ceiling(settings.method),
        "n_stimuli": table.pairs.n_stimuli,
        "n_pairs": len(table.pairs),
        "n_subjects": len(table.subjects),
    }
