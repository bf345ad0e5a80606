"""Models made of several RDMs, to be fitted to data: a weighted sum of them, or the best one."""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from neurolens.errors import InputError
from neurolens.rsa.pairs import check_rdm, other_dims

__all__ = ["Selected", "Weighted"]


@dataclass(frozen=True)
class Weighted:
    """A weighted sum of RDMs, its weights fitted for the very measure that scores.

    Parameters
    ----------
    rdms
        DataArray (component, stimulus, stimulus_b): one other dim, whatever its name.
    nonnegative
        Whether weights are kept from being negative. A sum of squared distances with such weights is the squared
        distance of the weighted features.
    ridge
        Penalty on squared weights, relative to the squared length of a component.

    References
    ----------
    Khaligh-Razavi and Kriegeskorte, PLoS Computational Biology 2014, doi:10.1371/journal.pcbi.1003915.

    Examples
    --------
    >>> import numpy as np
    >>> from neurolens.rsa import rdm
    >>> values = np.random.default_rng(0).random((6, 9))
    >>> layer = xr.DataArray(values, {"stimulus": list("abcdef")}, ("stimulus", "unit"))
    >>> Weighted(rdm({"edges": layer, "colour": layer**2}), ridge=0.1).n_components
    2
    """

    rdms: xr.DataArray
    nonnegative: bool = True
    ridge: float = 0.0

    def __post_init__(self) -> None:
        _check_components(self.rdms, "Weighted")
        if self.ridge < 0:
            raise InputError(f"ridge={self.ridge!r} is a penalty, 0 or more.")

    @property
    def n_components(self) -> int:
        """How many RDMs are summed."""
        return int(self.rdms.sizes[other_dims(self.rdms)[0]])


@dataclass(frozen=True)
class Selected:
    """One of several RDMs, the one that is most similar to the training data.

    Parameters
    ----------
    rdms
        DataArray (component, stimulus, stimulus_b): one other dim, whatever its name.

    References
    ----------
    Schütt et al., eLife 2023, doi:10.7554/eLife.82566.

    Examples
    --------
    >>> import numpy as np
    >>> from neurolens.rsa import rdm
    >>> values = np.random.default_rng(0).random((6, 9))
    >>> layer = xr.DataArray(values, {"stimulus": list("abcdef")}, ("stimulus", "unit"))
    >>> Selected(rdm({"edges": layer, "colour": layer**2})).n_components
    2
    """

    rdms: xr.DataArray

    def __post_init__(self) -> None:
        _check_components(self.rdms, "Selected")

    @property
    def n_components(self) -> int:
        """How many RDMs there are to choose among."""
        return int(self.rdms.sizes[other_dims(self.rdms)[0]])


def _check_components(rdms: object, name: str) -> None:
    if not isinstance(rdms, xr.DataArray):
        raise InputError(f"{name} takes a DataArray of RDMs; got a {type(rdms).__name__}.")
    check_rdm(rdms, name)
    if len(other_dims(rdms)) != 1:
        raise InputError(
            f"{name} takes RDMs (component, stimulus, stimulus_b); these have the other dims "
            f"{other_dims(rdms)!r}. Choose or stack until there is one."
        )
