"""Noise ceilings of RDMs, labelled: of a set of subjects, or of one subject measured several times."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from neurolens.errors import InputError, NeurolensWarning, check_choice, check_count, list_names
from neurolens.numerics.ceiling import compute_ceiling
from neurolens.numerics.embedding import KINDS
from neurolens.numerics.reliability import half_splits, spearman_brown
from neurolens.numerics.similarity import MEASURES, Similarity, compute_similarity
from neurolens.rsa.pairs import check_rdm, extract_pairs, other_dims
from neurolens.schema import REPETITION, RUN, SESSION, SUBJECT, hash_array, provenance, require_dims

REPEATED = (RUN, REPETITION, SESSION)  # dims over which one subject was measured again
N_SPLITS = 100


def average_sessions(rdms: xr.DataArray) -> xr.DataArray:
    """Average the RDMs of a subject's sessions; without a dim `session`, return `rdms` itself."""
    return rdms.mean(SESSION, skipna=False, keep_attrs=True) if SESSION in rdms.dims else rdms


def noise_ceiling(
    rdms: xr.DataArray, *, method: Similarity = "rho-a", n_splits: int | None = None, seed: int = 0
) -> xr.Dataset:
    """Bound the similarity that any RDM could have with these data.

    With several subjects: `ceiling_high` is the mean over subjects of similarity(pool of all, subject); for
    `ceiling_low` that subject is left out of the pool. Sessions of a subject are averaged first, so they are
    left out together. The bounds belong to a score that is a mean over these subjects, and to no other.

    With one subject, or none named, and RDMs of several runs, repetitions or sessions: the similarity of the
    mean RDMs of two halves, averaged over splits and brought to the length of all by Spearman and Brown, is the
    reliability of the mean RDM. `ceiling_low` is this reliability: what a second measurement just as good would
    reach. `ceiling_high` is its square root: what the RDM without noise would reach.

    Parameters
    ----------
    rdms
        DataArray ([subject,] [session | run | repetition,] stimulus, stimulus_b), complete off the diagonal.
    method
        The measure that scores: one of those of `compare_rdms`.
    n_splits
        Of one subject: how many splits into halves (100; all of them where there are no more).
    seed
        Of the splits, where not all are made.

    Returns
    -------
    Dataset
        `ceiling_low`, `ceiling_high` (), in units of the measure; with several subjects also
        `ceiling_low_subject`, `ceiling_high_subject` (subject). attrs["ceiling_kind"] says what they are. NaN
        for one subject with one measurement. Estimates are never capped: a negative reliability stays, and has
        no square root (NaN, with a warning). For Kendall's measures the bounds are approximate.

    Raises
    ------
    LabelError
        If dims or labels are missing.
    InputError
        If there are other dims, missing pairs, the method is not known, or has no split-half reliability (the
        cosines and Kendall's).

    Warns
    -----
    NeurolensWarning
        If the reliability is negative.

    References
    ----------
    Nili et al. (2014), PLoS Computational Biology 10:e1003553, doi:10.1371/journal.pcbi.1003553.
    Spearman (1910), British Journal of Psychology 3:271, doi:10.1111/j.2044-8295.1910.tb00206.x.

    Examples
    --------
    >>> import xarray as xr
    >>> from scipy.spatial.distance import pdist, squareform
    >>> rng = np.random.default_rng(0)
    >>> ids = list("abcdef")
    >>> square = np.stack([squareform(pdist(rng.random((6, 4)))) for _ in range(3)])
    >>> coords = {"subject": [1, 2, 3], "stimulus": ids, "stimulus_b": ids}
    >>> ceiling = noise_ceiling(xr.DataArray(square, coords, dims=list(coords)))
    >>> bool(ceiling.ceiling_low < ceiling.ceiling_high)
    True
    """
    check_choice(method, MEASURES, "method")
    check_rdm(rdms, "The noise ceiling's RDM")
    if np.isnan(extract_pairs(rdms)).any():
        raise InputError("The noise ceiling needs complete RDMs; drop the stimuli whose entries are NaN.")
    parameters: dict[str, object] = {"method": method}
    if rdms.sizes.get(SUBJECT, 1) < 2 and any(rdms.sizes.get(dim, 1) > 1 for dim in REPEATED):
        bounds, kind = _bound_by_halves(rdms, method, N_SPLITS if n_splits is None else n_splits, seed)
        parameters |= {"n_splits": N_SPLITS if n_splits is None else n_splits, "seed": seed}
    else:
        if n_splits is not None:
            raise InputError("n_splits is for one subject with several runs; with subjects nothing is split.")
        bounds, kind = _bound_by_pool(rdms, method)
    attrs = provenance(method, parameters=parameters, inputs={"rdms": hash_array(rdms)})
    return bounds.assign_attrs({**attrs, "ceiling_kind": kind})


def _bound_by_pool(rdms: xr.DataArray, method: Similarity) -> tuple[xr.Dataset, str]:
    require_dims(rdms, SUBJECT, what="The noise ceiling")
    subjects = average_sessions(rdms)
    _refuse_others(subjects, SUBJECT)
    low, high = compute_ceiling(extract_pairs(subjects), method)
    variables = {
        "ceiling_low": low.mean(),
        "ceiling_high": high.mean(),
        "ceiling_low_subject": (SUBJECT, low),
        "ceiling_high_subject": (SUBJECT, high),
    }
    coords = {SUBJECT: subjects[SUBJECT]} if SUBJECT in subjects.coords else {}
    return xr.Dataset(variables, coords), describe_ceiling(method)


def _bound_by_halves(
    rdms: xr.DataArray, method: Similarity, n_splits: int, seed: int
) -> tuple[xr.Dataset, str]:
    if method not in KINDS or not KINDS[method].centred:
        usable = [name for name, kind in KINDS.items() if kind.centred]
        raise InputError(
            f"The reliability of halves says nothing of the whole under {method!r}; choose a correlation: "
            f"{list_names(usable)}."
        )
    rdms = rdms.squeeze(SUBJECT, drop=True) if SUBJECT in rdms.dims else rdms
    dim = next(dim for dim in REPEATED if rdms.sizes.get(dim, 1) > 1)
    _refuse_others(rdms, dim)
    check_count(n_splits, "n_splits")
    vectors = extract_pairs(rdms)
    n_parts = len(vectors)
    halves = half_splits(n_parts, n_splits, seed)
    r = np.mean(
        [
            compute_similarity(vectors[list(first)].mean(axis=0), vectors[list(second)].mean(axis=0), method)[
                0, 0
            ]
            for first, second in halves
        ]
    )
    reliability = float(spearman_brown(np.asarray(r), n_parts / (n_parts // 2)))
    if not reliability > 0:
        warnings.warn(
            f"Halves of the {dim}s do not agree: the reliability of their RDM is {reliability:.3g}, and no "
            "ceiling follows from it. More measurements or more stimuli are needed.",
            NeurolensWarning,
            stacklevel=4,
        )
    high = np.sqrt(reliability) if reliability > 0 else np.nan
    kind = (
        f"split-half reliability of the mean RDM over {n_parts} {dim}s; low: of a second such measurement, "
        f"high: of the RDM without noise (square root); units of {method}"
    )
    return xr.Dataset({"ceiling_low": reliability, "ceiling_high": high}), kind


def _refuse_others(rdms: xr.DataArray, dim: str) -> None:
    extra = [other for other in other_dims(rdms) if other != dim]
    if extra:
        raise InputError(
            f"A noise ceiling is made over {dim!r} (with subjects, {SESSION!r} is averaged); there is also "
            f"{list_names(extra)}. Choose one entry of it: rdms.isel({extra[0]}=0)."
        )


def describe_ceiling(method: Similarity) -> str:
    """Say what kind of ceiling subjects have, and in which units."""
    kind = "pool of the subjects' RDMs; low: the subject left out, high: included; mean over subjects"
    approximate = "; approximate" if method not in KINDS else ""
    return f"{kind}; units of {method}{approximate}"
