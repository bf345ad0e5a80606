"""Steps: what is done to features before a model sees them, each usable in a scikit-learn Pipeline.

Standardising, PCA and sparse random projection are scikit-learn's own: StandardScaler, PCA,
SparseRandomProjection. `encode` fits every step on the training stimuli of a fold alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from neurolens.encoding.estimators import check_groups
from neurolens.errors import InputError, check_choice, list_names
from neurolens.numerics.delays import convolve_rows, delay_rows

__all__ = ["HRF", "Delay", "Pool"]

FloatArray = NDArray[np.floating[Any]]
HRFModel = Literal["spm", "glover"]


class _Step(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """A step that learns nothing but the number of features."""

    def fit(self, X: ArrayLike, y: object = None) -> _Step:
        """Check the options, and learn the number of features.

        Parameters
        ----------
        X
            Array, shape (n_stimuli, n_features).
        y
            Not used.

        Returns
        -------
        step
            Itself.
        """
        validate_data(self, X, dtype=[np.float64, np.float32])
        self._check()
        return self

    def _check(self) -> None:
        """Raise where an option cannot be used."""

    def _read(self, X: ArrayLike) -> FloatArray:
        check_is_fitted(self)
        features: FloatArray = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return features


class _RunStep(_Step):
    """A step whose rows are the volumes of runs, in order of time."""

    def fit_transform(self, X: ArrayLike, y: object = None, groups: ArrayLike | None = None) -> FloatArray:
        """Fit, and transform the same rows.

        Parameters
        ----------
        X
            Array, shape (n_volumes, n_features); the rows of a run are in order of time.
        y
            Not used.
        groups
            Array, shape (n_volumes,): the run of each row; by default all are one run.

        Returns
        -------
        array, shape (n_volumes, n_columns)
            As `transform` gives it.
        """
        transformed: FloatArray = self.fit(X, y).transform(X, groups=groups)
        return transformed


class Delay(_RunStep):
    """Features of earlier volumes beside each other (a finite impulse response), run by run.

    Row t of the result holds the features of the rows ``t - delay`` of the same run, and 0 where the run had no
    such row: nothing crosses from one run to another. In `encode`, name the runs with ``groups="run"``.

    Parameters
    ----------
    delays : sequence of int
        Numbers of rows (volumes); 1 is the row before.

    References
    ----------
    Huth et al., Nature 2016, doi:10.1038/nature17637.

    Examples
    --------
    >>> import numpy as np
    >>> Delay([1]).fit_transform(np.array([[1.0], [2.0], [3.0]])).ravel().tolist()
    [0.0, 1.0, 2.0]
    >>> Delay([1]).fit(np.ones((3, 1))).transform(np.ones((3, 1)), groups=[0, 0, 1]).ravel().tolist()
    [0.0, 1.0, 0.0]
    """

    def __init__(self, delays: Sequence[int] = (1, 2, 3, 4)) -> None:
        self.delays = delays

    @property
    def n_lags(self) -> int:
        """How many rows a single row reaches, itself included."""
        return max(0, *self.delays) + 1

    def transform(self, X: ArrayLike, groups: ArrayLike | None = None) -> FloatArray:
        """Lay delayed copies side by side.

        Parameters
        ----------
        X
            Array, shape (n_volumes, n_features); the rows of a run are in order of time.
        groups
            Array, shape (n_volumes,): the run of each row; by default all are one run.

        Returns
        -------
        array, shape (n_volumes, n_delays * n_features)
            The copies of each delay in turn.
        """
        features = self._read(X)
        return delay_rows(features, list(self.delays), _runs(groups, len(features)))

    def _check(self) -> None:
        whole = [isinstance(d, int | np.integer) and not isinstance(d, bool) for d in self.delays]
        if not whole or not all(whole):
            raise InputError(
                f"delays={self.delays!r} of Delay: give whole numbers of volumes, e.g. (1, 2, 3, 4)."
            )


class HRF(_RunStep):
    """Features convolved with the canonical haemodynamic response, run by run (needs nilearn).

    Parameters
    ----------
    t_r : float
        Time between rows (volumes), in seconds.
    model : {"spm", "glover"}
        Which response: nilearn's `spm_hrf` or `glover_hrf`.

    References
    ----------
    Glover, NeuroImage 1999, doi:10.1006/nimg.1998.0419.

    Examples
    --------
    >>> import numpy as np
    >>> impulse = np.eye(20)[:, :1]
    >>> int(HRF(t_r=2.0).fit_transform(impulse).argmax())  # the response peaks after about 5 s
    3
    """

    def __init__(self, t_r: float = 2.0, model: HRFModel = "glover") -> None:
        self.t_r = t_r
        self.model = model

    @property
    def n_lags(self) -> int:
        """How many rows a single row reaches, itself included."""
        return len(_find_response(self.model, self.t_r))

    def transform(self, X: ArrayLike, groups: ArrayLike | None = None) -> FloatArray:
        """Convolve each feature.

        Parameters
        ----------
        X
            Array, shape (n_volumes, n_features); the rows of a run are in order of time.
        groups
            Array, shape (n_volumes,): the run of each row; by default all are one run.

        Returns
        -------
        array, shape (n_volumes, n_features)
            In the units of the features.

        Raises
        ------
        InputError
            If nilearn is not installed.
        """
        features = self._read(X)
        response = _find_response(self.model, self.t_r).astype(features.dtype)
        return convolve_rows(features, response, _runs(groups, len(features)))

    def _check(self) -> None:
        check_choice(self.model, _RESPONSES, "model of HRF")
        if not (np.isfinite(self.t_r) and self.t_r > 0):
            raise InputError(f"t_r={self.t_r!r} of HRF: give the seconds between two volumes, e.g. 1.5.")


class Pool(_Step):
    """Features averaged (or their maximum taken) over some dims, whole or in windows.

    Parameters
    ----------
    dims : sequence of str
        Dims to pool over; an operation with none of them is left as it is.
    size : int, optional
        Length of a window along each of `dims`; by default the whole dim. A last, shorter window is kept.
    how : {"mean", "max"}
        What stands for a window.
    feature_sizes : mapping, optional
        Dims of the features and their sizes, in order; `encode` fills it in for each operation.

    Examples
    --------
    >>> import numpy as np
    >>> maps = np.arange(8.0).reshape(1, 8)
    >>> Pool(["y", "x"], feature_sizes={"channel": 2, "y": 2, "x": 2}).fit_transform(maps).tolist()
    [[1.5, 5.5]]
    """

    def __init__(
        self,
        dims: Sequence[str] = ("y", "x"),
        *,
        size: int | None = None,
        how: Literal["mean", "max"] = "mean",
        feature_sizes: Mapping[str, int] | None = None,
    ) -> None:
        self.dims = dims
        self.size = size
        self.how = how
        self.feature_sizes = feature_sizes

    def transform(self, X: ArrayLike) -> FloatArray:
        """Pool each row.

        Parameters
        ----------
        X
            Array, shape (n_stimuli, n_features), flattened from the dims of `feature_sizes`.

        Returns
        -------
        array, shape (n_stimuli, n_windows)
            One number a window.
        """
        features = self._read(X)
        sizes = self._sizes(features.shape[1])
        values = features.reshape(len(features), *sizes.values())
        for axis, dim in enumerate(sizes, start=1):
            if dim in self.dims:
                values = _pool_axis(values, axis, sizes[dim] if self.size is None else self.size, self.how)
        return values.reshape(len(features), -1)

    def _sizes(self, n_features: int) -> dict[str, int]:
        sizes = {"feature": n_features} if self.feature_sizes is None else dict(self.feature_sizes)
        if int(np.prod(list(sizes.values()))) != n_features:
            raise InputError(
                f"feature_sizes={sizes} of Pool make {int(np.prod(list(sizes.values())))} features; there are "
                f"{n_features}. Pool must be the first step that changes the number of features."
            )
        return sizes

    def _check(self) -> None:
        check_choice(self.how, _REDUCTIONS, "how of Pool")
        if isinstance(self.dims, str):
            raise InputError(
                f"dims={self.dims!r} of Pool: give a list of dims, e.g. {list_names([self.dims])}."
            )
        if self.size is not None and self.size < 1:
            raise InputError(f"size={self.size!r} of Pool: give the length of a window, at least 1.")


def _pool_axis(values: FloatArray, axis: int, size: int, how: str) -> FloatArray:
    """Reduce windows of one axis."""
    length = values.shape[axis]
    starts = np.arange(0, length, size)
    pooled = _REDUCTIONS[how](values, starts, axis)
    if how == "max":
        return pooled
    counts = np.diff(np.append(starts, length)).astype(values.dtype)
    return pooled / counts.reshape([-1 if i == axis else 1 for i in range(values.ndim)])


def _runs(groups: ArrayLike | None, n_rows: int) -> NDArray[Any]:
    return np.zeros(n_rows, dtype=int) if groups is None else check_groups(groups, n_rows)


def _find_response(model: HRFModel, t_r: float) -> FloatArray:
    """Sample nilearn's response at the volumes."""
    try:
        from nilearn.glm import first_level
    except ImportError as error:
        raise InputError(
            'HRF needs nilearn; install it with the extra "brain": pip install "neurolens-toolkit[brain]".'
        ) from error
    response: FloatArray = getattr(first_level, _RESPONSES[model])(t_r, oversampling=1)
    return response


_RESPONSES = {"spm": "spm_hrf", "glover": "glover_hrf"}
_REDUCTIONS: dict[str, Callable[[FloatArray, NDArray[np.intp], int], FloatArray]] = {
    "mean": np.add.reduceat,
    "max": np.maximum.reduceat,
}
