"""Noise ceilings of a set of subjects' RDMs, labelled."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurolens.errors import InputError, check_choice, list_names
from neurolens.numerics.ceiling import compute_ceiling
from neurolens.numerics.similarity import MEASURES, Similarity
from neurolens.rsa.pairs import check_rdm, extract_pairs, other_dims
from neurolens.schema import SESSION, SUBJECT, hash_array, provenance, require_dims


def average_sessions(rdms: xr.DataArray) -> xr.DataArray:
    """Average the RDMs of a subject's sessions; without a dim `session`, return `rdms` itself."""
    return rdms.mean(SESSION, skipna=False, keep_attrs=True) if SESSION in rdms.dims else rdms


def noise_ceiling(rdms: xr.DataArray, *, method: Similarity = "rho-a") -> xr.Dataset:
    """Bound the mean similarity that any RDM could have with these subjects.

    `ceiling_high` is the mean over subjects of similarity(pool of all, subject); for `ceiling_low` that
    subject is left out of the pool. Sessions of a subject are averaged first, so they are left out together.
    The bounds belong to a score that is a mean over these subjects, and to no other.

    Parameters
    ----------
    rdms
        DataArray (subject, [session,] stimulus, stimulus_b), complete off the diagonal.
    method
        The measure that scores: one of those of `compare_rdms`.

    Returns
    -------
    Dataset
        `ceiling_low`, `ceiling_high` () and `ceiling_low_subject`, `ceiling_high_subject` (subject), in units
        of the measure. NaN for one subject. For "kendall-tau-a" the bounds are approximate.

    Raises
    ------
    LabelError
        If dims or labels are missing.
    InputError
        If there are other dims, missing pairs, or the method is not known.

    References
    ----------
    Nili et al. (2014), PLoS Computational Biology 10:e1003553, doi:10.1371/journal.pcbi.1003553.

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
    require_dims(rdms, SUBJECT, what="The noise ceiling")
    check_rdm(rdms, "The noise ceiling's RDM")
    subjects = average_sessions(rdms)
    extra = [dim for dim in other_dims(subjects) if dim != SUBJECT]
    if extra:
        raise InputError(
            f"A noise ceiling is made over {SUBJECT!r} ({SESSION!r} is averaged); there is also "
            f"{list_names(extra)}. Choose one entry of it: rdms.isel({extra[0]}=0)."
        )
    vectors = extract_pairs(subjects)
    if np.isnan(vectors).any():
        raise InputError("The noise ceiling needs complete RDMs; drop the stimuli whose entries are NaN.")
    low, high = compute_ceiling(vectors, method)
    coords = {SUBJECT: subjects[SUBJECT]} if SUBJECT in subjects.coords else {}
    attrs = provenance(method, parameters={"method": method}, inputs={"rdms": hash_array(rdms)})
    attrs["ceiling_kind"] = describe_ceiling(method)
    return xr.Dataset(
        {
            "ceiling_low": low.mean(),
            "ceiling_high": high.mean(),
            "ceiling_low_subject": (SUBJECT, low),
            "ceiling_high_subject": (SUBJECT, high),
        },
        coords,
        attrs,
    )


def describe_ceiling(method: Similarity) -> str:
    """Say what kind of ceiling this is and in which units."""
    kind = "pool of the subjects' RDMs; low: the subject left out, high: included; mean over subjects"
    approximate = "; approximate" if method == "kendall-tau-a" else ""
    return f"{kind}; units of {method}{approximate}"
