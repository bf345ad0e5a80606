"""What a Profile can be asked: its best operation, chosen on other data than those that score it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from neurolens.errors import InputError, check_choice, list_names
from neurolens.schema import OP, SUBJECT

__all__ = ["ProfileAccessor", "choose_best"]

Over = Literal["stimulus", "subject"]
MIN_SUBJECTS = 3


def choose_best(profile: xr.Dataset, *, over: Over = "stimulus") -> xr.Dataset:
    """Choose the best operation on some of the data and score it on the rest.

    The best of many scores is too high a score for what it is of, since it was chosen for its noise, too. So in
    each split the operation is chosen on one part, and its score is that on the other.

    Parameters
    ----------
    profile
        Of `compare`.
    over
        "stimulus": halves of the stimuli, `n_splits` of `compare`; for encoding models the test stimuli of each
        fold, chosen by models that were fitted without them. "subject": each
        subject is scored by the operation that is best for the mean of the others.

    Returns
    -------
    Dataset
        Over what dims the profile has besides `op`: `op_best` (the one chosen most often), `score` (mean over splits
        of the held-out score of what was chosen), `score_naive` (the largest score of the profile, which is
        biased upwards), `depth` (mean over splits); `frequency` (op, ...), the share of splits that chose it.
        Operations with equal scores (views of one another) count as the first of them.

    Raises
    ------
    InputError
        If there are no splits, or fewer than 3 subjects.

    References
    ----------
    Kriegeskorte et al., Nature Neuroscience 2009, doi:10.1038/nn.2303.

    Examples
    --------
    >>> dims = ("split", "op")
    >>> halves = {"score_choice": (dims, [[0.1, 0.4], [0.2, 0.3]]), "score_test": (dims, [[0.2, 0.3], [0.1, 0.4]])}
    >>> best = choose_best(xr.Dataset({"score": ("op", [0.1, 0.4]), **halves}, {"op": ["conv", "fc"]}))
    >>> str(best.op_best.item()), round(best.score.item(), 6)
    ('fc', 0.35)
    """
    check_choice(over, ("stimulus", "subject"), "over")
    if "score" not in profile or OP not in profile["score"].dims:
        raise InputError(f"This is no profile: it has {list_names(profile.data_vars)}; nl.compare gives one.")
    choice, test = _split_subjects(profile) if over == "subject" else _read_splits(profile)
    defined = choice.notnull().all("split")
    chosen = choice.fillna(-np.inf).argmax(OP)
    held_out = test.isel({OP: chosen}).where(defined.any(OP))
    known = np.arange(profile.sizes[OP])
    picked = xr.DataArray(known, dims=OP) == chosen
    valid = choice.notnull().any(OP)
    frequency = (picked & valid).sum("split") / valid.sum("split")
    best = profile[OP].values[frequency.fillna(0).argmax(OP).values]
    rest = [dim for dim in frequency.dims if dim != OP]
    frequency = frequency.assign_coords({OP: profile[OP].values})
    result = xr.Dataset(
        {
            "op_best": (rest, np.asarray(best, dtype=object)),
            "score": held_out.drop_vars(list(held_out.coords)).mean("split"),
            "score_naive": profile["score"].drop_vars(OP).max(OP),
            "frequency": frequency,
        }
    )
    if "depth" in profile.coords:
        depth = profile["depth"].drop_vars(list(profile["depth"].coords), errors="ignore")
        result["depth"] = depth.isel({OP: chosen}).mean("split")
    return result.assign_attrs(chosen_on=_say(profile, over), n_splits=choice.sizes["split"])


def _say(profile: xr.Dataset, over: Over) -> str:
    return (
        "all subjects but one, scored on that one"
        if over == "subject"
        else str(profile.attrs.get("split_of", ""))
    )


def _read_splits(profile: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    if "score_choice" not in profile:
        raise InputError(
            "The profile has no splits to choose on: compare(..., n_splits=10), with at least 8 stimuli; or choose "
            'over subjects: profile.nl.choose_best(over="subject").'
        )
    return profile["score_choice"], profile["score_test"]


def _split_subjects(profile: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    n = profile.sizes.get(SUBJECT, 0)
    if "score_subject" not in profile or n < MIN_SUBJECTS:
        raise InputError(
            f"Choosing over subjects needs at least {MIN_SUBJECTS} of them; the profile has {n}."
        )
    scores = profile["score_subject"]
    others = [scores.isel({SUBJECT: [k for k in range(n) if k != i]}).mean(SUBJECT) for i in range(n)]
    own = scores.rename({SUBJECT: "split"}).drop_vars("split")
    choice = xr.concat(others, "split").where(own.notnull())
    return choice, own.transpose(*choice.dims)


@xr.register_dataset_accessor("nl")  # type: ignore[no-untyped-call]
class ProfileAccessor:
    """`profile.nl`: questions to a Profile.

    References
    ----------
    Kriegeskorte et al., Nature Neuroscience 2009, doi:10.1038/nn.2303.

    Examples
    --------
    >>> dims = ("split", "op")
    >>> halves = {"score_choice": (dims, [[0.1, 0.4], [0.2, 0.3]]), "score_test": (dims, [[0.2, 0.3], [0.1, 0.4]])}
    >>> profile = xr.Dataset({"score": ("op", [0.1, 0.4]), **halves}, {"op": ["conv", "fc"]})
    >>> str(profile.nl.best.op_best.item()), profile.nl.choose_best(over="stimulus").equals(profile.nl.best)
    ('fc', True)
    """

    def __init__(self, profile: Any) -> None:
        self._profile: xr.Dataset = profile

    @property
    def best(self) -> xr.Dataset:
        """The best operation, chosen on halves of the stimuli and scored on the others: `choose_best` has its dims.

        Raises
        ------
        InputError
            If there are no splits.
        """
        return choose_best(self._profile)

    def choose_best(self, *, over: Over = "stimulus") -> xr.Dataset:
        """Choose the best operation on some of the data and score it on the rest.

        Parameters
        ----------
        over
            "stimulus" or "subject", as in the function `choose_best`.

        Returns
        -------
        Dataset
            Over what dims the profile has besides `op`, as the function `choose_best` gives it.

        Raises
        ------
        InputError
            If there are no splits, or fewer than 3 subjects.
        """
        return choose_best(self._profile, over=over)
