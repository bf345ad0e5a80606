"""Banded ridge: several feature spaces, each with a penalty of its own for every neuroid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurolens.encoding.estimators import PenalizedEstimator, check_groups
from neurolens.encoding.features import split_band_labels
from neurolens.encoding.folds import CrossValidator
from neurolens.encoding.ridge import check_alphas, warn_edge
from neurolens.errors import InputError, LabelError, check_count
from neurolens.numerics.banded import fit_banded, split_bands
from neurolens.numerics.design import accumulate_kernel
from neurolens.numerics.ridge import DEFAULT_GRID

__all__ = ["BandedRidge", "check_band_memory", "stack_kernels"]

FloatArray = NDArray[np.floating[Any]]


class BandedRidge(PenalizedEstimator):
    """Ridge regression on several feature spaces (bands), each with its own penalty for every target.

    Minimises ``|Y - sum_b X_b B_b|² + sum_b (alpha / share_b) |B_b|²`` with an intercept. Each band is centred,
    and divided by the root mean squared length of its training patterns, so that its units do not matter. The
    shares (they sum to 1) and alpha of each target are those with the smallest cross-validated squared error
    among `n_iter` random combinations; the search is himalaya's.

    Parameters
    ----------
    bands : sequence, shape (n_features,), optional
        The band of each feature. `encode` takes it from the coord `band` of the features instead.
    alphas : float or array, shape (n_alphas,), optional
        Positive, beside bands of mean squared length 1; by default ``logspace(-4, 5, 10)``.
    n_iter : int
        How many combinations of shares are tried; equal shares are the first.
    cv : int or scikit-learn splitter, optional
        The inner folds. A number makes seeded, shuffled folds that keep `groups` whole; by default five, or as
        many as there are groups where these are fewer.
    seed : int
        Of the combinations, and of the inner folds where `cv` is a number or left out.
    device : str, optional
        A torch device to search on ("cuda"); by default numpy.

    Attributes
    ----------
    alpha_ : array, shape (n_targets,), float64
        The alpha of each target, which all bands share.
    band_names_ : list of str
        In order of appearance.
    share_ : array, shape (n_bands, n_targets)
        The share of each band; a column sums to 1.
    coef_ : array, shape (n_targets, n_features), or (n_features,) where y has one dimension
        In the units of the features.
    intercept_ : array, shape (n_targets,), or float
        In the units of the targets.
    n_features_in_ : int
        Features seen by `fit`.

    References
    ----------
    Dupré la Tour et al., NeuroImage 2022, doi:10.1016/j.neuroimage.2022.119728.
    Nunez-Elizalde, Huth and Gallant, NeuroImage 2019, doi:10.1016/j.neuroimage.2019.04.012.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(60, 8))
    >>> model = BandedRidge(bands=list("aaaabbbb"), alphas=0.01, n_iter=10).fit(X, X[:, :2] + 0.1 * X[:, 2:4])
    >>> model.band_names_, bool((model.share_[0] > 0.5).all())
    (['a', 'b'], True)
    """

    def __init__(
        self,
        bands: Sequence[object] | None = None,
        *,
        alphas: ArrayLike | None = None,
        n_iter: int = 50,
        cv: CrossValidator | None = None,
        seed: int = 0,
        device: str | None = None,
    ) -> None:
        self.bands = bands
        self.alphas = alphas
        self.n_iter = n_iter
        self.cv = cv
        self.seed = seed
        self.device = device

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> BandedRidge:
        """Choose shares and alphas, and fit the coefficients.

        Parameters
        ----------
        X
            Array, shape (n_stimuli, n_features).
        y
            Array, shape (n_stimuli,) or (n_stimuli, n_targets).
        groups
            Array, shape (n_stimuli,): stimuli that the inner folds must not separate.

        Returns
        -------
        BandedRidge
            Itself, fitted.

        Raises
        ------
        ValueError
            If X or y are not finite numbers of fitting shapes (scikit-learn's message).
        InputError
            If an option is out of range, the inner folds cannot be made, or the kernels do not fit in memory.
        LabelError
            If `bands` does not name every feature.
        """
        features, targets, flat = self._check_training(X, y)
        positions = self._split_features(features.shape[1])
        kernels = stack_kernels(
            {name: [features[:, rows]] for name, rows in positions.items()}, len(features)
        )
        everything = np.arange(len(features))
        labels = check_groups(groups, len(features))
        split = split_bands(kernels, everything, everything[:0])
        fit = fit_banded(split, targets, **self.options(labels))
        coef = np.empty((features.shape[1], targets.shape[1]), dtype=features.dtype)
        for band, rows in enumerate(positions.values()):
            block = features[:, rows] - features[:, rows].mean(axis=0)
            coef[rows] = block.T @ fit.dual * (fit.weight[band] / split.scale[band])
        self.alpha_, self.share_, self.band_names_ = fit.alpha, fit.share, list(positions)
        mean = features.mean(axis=0, dtype=np.float64).astype(features.dtype)
        self._set_coefficients(coef, fit.mean - mean @ coef, flat)
        warn_edge(int(fit.at_edge.sum()), fit.at_edge.size)
        return self

    def options(self, groups: NDArray[Any]) -> dict[str, Any]:
        """Return what `numerics.banded.fit_banded` is to be called with, but for the data.

        Parameters
        ----------
        groups
            Array, shape (n_train,): labels that the inner folds never separate.

        Returns
        -------
        dict

        Raises
        ------
        InputError
            If an option is out of range, or the inner folds cannot be made.
        """
        check_count(self.n_iter, "n_iter")
        grid = check_alphas(self.alphas)
        return {
            "folds": self.inner_folds(groups),
            "alphas": DEFAULT_GRID if grid is None else grid,
            "n_iter": int(self.n_iter),
            "seed": self.seed,
            "device": self.device,
        }

    def _split_features(self, n_features: int) -> dict[str, NDArray[np.intp]]:
        """Positions of the features of each band; without bands all features are one."""
        if self.bands is None:
            return {"all": np.arange(n_features)}
        labels = np.asarray(list(self.bands))
        if labels.shape != (n_features,):
            raise LabelError(
                f"bands of BandedRidge has shape {labels.shape}; expected one name for each of {n_features} "
                "features."
            )
        return split_band_labels(labels)


def stack_kernels(bands: Mapping[str, Any], n_stimuli: int) -> FloatArray:
    """Make the kernel of each band from chunks of its features.

    Parameters
    ----------
    bands
        Name to an iterable of arrays (n_stimuli, n_some_features).
    n_stimuli
        Number of stimuli.

    Returns
    -------
    array, shape (n_bands, n_stimuli, n_stimuli)
        In the widest dtype of the bands.

    Raises
    ------
    InputError
        If the kernels would not fit in memory.
    """
    check_band_memory(len(bands), n_stimuli)
    return np.stack([accumulate_kernel(chunks) for chunks in bands.values()])


def check_band_memory(n_bands: int, n_stimuli: int) -> None:
    """Raise InputError where the kernels of all bands and the search's copy of them exceed the memory left."""
    needed = 3 * 8 * n_bands * n_stimuli**2
    left = _read_free_memory()
    if needed > left:
        raise InputError(
            f"{n_bands} bands of {n_stimuli} stimuli need {needed / 1e9:.1f} GB for their kernels, and "
            f"{left / 1e9:.1f} GB of memory are left. Merge bands, use fewer stimuli, or use Ridge."
        )


def _read_free_memory() -> float:
    """Bytes that can still be had; without limit where the system does not say."""
    file = Path("/proc/meminfo")
    if not file.is_file():
        return float("inf")
    known = dict(line.split(":", 1) for line in file.read_text(encoding="ascii").splitlines())
    return float(known["MemAvailable"].split()[0]) * 1024
