"""Reducing activations as they are computed: pooling, random projection, principal components, chosen units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from neurolens.activations.assemble import Layout, stored_dtype, to_numpy
from neurolens.errors import InputError, check_choice, check_count
from neurolens.recording.addresses import is_glob, matches
from neurolens.schema import PASS, TOKEN, UNIT, T, X, Y

COMPONENT = "component"
Method = Literal["mean", "max"]
Samples = Callable[[Iterable[str]], Mapping[str, NDArray[Any]]]  # activations of the stimuli to fit on


@dataclass(frozen=True, slots=True)
class Reducer:
    """What becomes of one operation: its layout afterwards, and how a batch (stimulus, ...) is reduced."""

    layout: Layout
    apply: Callable[[torch.Tensor], torch.Tensor]
    n_bytes: int = 0  # held as long as the run lasts


class Reduction(Protocol):
    """A way to make activations smaller. Static operations are left as they are."""

    def plan(self, layout: Layout, *, n_stimuli: int, sample: Samples) -> Reducer | None:
        """Return the reducer of an operation; None where there is nothing to reduce."""
        ...


@dataclass(frozen=True)
class Pooling:
    """Average, or take the largest, over space, time or tokens.

    Parameters
    ----------
    dims
        Which of an operation's dims go; those that it lacks are passed over.
    method
        "mean" or "max".

    Examples
    --------
    >>> Pooling(dims=("y", "x"), method="max")
    Pooling(dims=('y', 'x'), method='max')
    """

    dims: tuple[str, ...] = (T, Y, X, TOKEN)
    method: Method = "mean"

    def __post_init__(self) -> None:
        check_choice(self.method, get_args(Method), "method")
        if not isinstance(self.dims, tuple) or not self.dims:
            raise InputError(f"dims={self.dims!r} is no tuple of dims to pool over, such as ('y', 'x').")

    def plan(self, layout: Layout, *, n_stimuli: int, sample: Samples) -> Reducer | None:
        """Return the reducer of an operation."""
        gone = [axis for axis, dim in enumerate(layout.dims) if dim in self.dims]
        if not gone:
            return None
        kept = [axis for axis in range(len(layout.dims)) if axis not in gone]
        said = f"{self.method} over {', '.join(layout.dims[axis] for axis in gone)}"
        is_whole = not (layout.dtype.is_floating_point or layout.dtype.is_complex)
        dtype = torch.float32 if is_whole and self.method == "mean" else layout.dtype
        smaller = replace(
            layout,
            dims=tuple(layout.dims[axis] for axis in kept),
            shape=tuple(layout.shape[axis] for axis in kept),
            dtype=dtype,
            attrs={**layout.attrs, "reduced": said},
        )
        places = [axis + 1 for axis in gone]

        def apply(batch: torch.Tensor) -> torch.Tensor:
            if self.method == "max":
                return batch.amax(places)
            return batch.to(dtype).mean(places)

        return Reducer(smaller, apply)


@dataclass(frozen=True)
class RandomProjection:
    r"""Project the features of each operation on a few random directions that keep distances.

    A sparse Johnson-Lindenstrauss projection, :math:`y = R x` with entries :math:`\pm\sqrt{s / k}` with probability
    :math:`1 / 2s` each, else 0, where :math:`s = \sqrt{p}`: squared Euclidean distances between stimuli are kept to
    a factor of :math:`1 \pm \epsilon`.

    Parameters
    ----------
    n_components
        Numbers a stimulus, k. By default as many as the Johnson-Lindenstrauss lemma asks for, given the number of
        stimuli and `eps`. Operations that have no more are left as they are.
    eps
        Distortion that is allowed, in (0, 1); used where `n_components` is not given.
    seed
        Of the directions; operations with equal numbers of features have the same.

    References
    ----------
    Achlioptas (2003), doi:10.1016/S0022-0000(03)00025-4. Li, Hastie & Church (2006), doi:10.1145/1150402.1150436.

    Examples
    --------
    >>> RandomProjection(n_components=500, seed=1).n_components
    500
    """

    n_components: int | None = None
    eps: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_components is not None:
            check_count(self.n_components, "n_components")
        if not 0 < self.eps < 1:
            raise InputError(f"eps={self.eps} is no distortion: give a number between 0 and 1.")

    def plan(self, layout: Layout, *, n_stimuli: int, sample: Samples) -> Reducer | None:
        """Return the reducer of an operation."""
        # Imported here, as it takes a second.
        from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

        n_features = _features_of_pass(layout)
        n_components = self.n_components or int(johnson_lindenstrauss_min_dim(n_stimuli, eps=self.eps))
        if n_features <= n_components or layout.dtype.is_complex:
            return None
        projection = SparseRandomProjection(n_components, random_state=self.seed)
        matrix = projection.fit(np.zeros((1, n_features), np.float32)).components_
        said = f"sparse random projection of {n_features} features, seed {self.seed}"
        smaller = _flattened(layout, COMPONENT, n_components, said)
        matrix = matrix.astype(stored_dtype(smaller.dtype)).tocsr()
        held = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
        return Reducer(smaller, _each_pass(layout, lambda rows: (matrix @ rows.T).T, smaller), held)


@dataclass(frozen=True)
class PrincipalComponents:
    """Project each operation on the principal components of its activations for some named stimuli.

    Parameters
    ----------
    n_components
        How many, k; less where there are fewer features, or fewer stimuli to fit on.
    stimuli
        Ids of the stimuli to fit on, among those of the run. Fit on others than those that will be predicted, or
        what is tested has been seen.

    Notes
    -----
    Values are centred on the mean of the stimuli fitted on, and not whitened. The attr `explained_variance_ratio`
    of each operation is the share of their variance in each component.

    References
    ----------
    Jolliffe & Cadima (2016), doi:10.1098/rsta.2015.0202.

    Examples
    --------
    >>> PrincipalComponents(10, stimuli=["face_01", "house_01"]).n_components
    10
    """

    n_components: int
    stimuli: Sequence[str]

    def __post_init__(self) -> None:
        check_count(self.n_components, "n_components")
        if isinstance(self.stimuli, str) or len(self.stimuli) < 2:
            raise InputError("PrincipalComponents needs the ids of two or more stimuli to fit on (stimuli=).")

    def plan(self, layout: Layout, *, n_stimuli: int, sample: Samples) -> Reducer | None:
        """Return the reducer of an operation."""
        # Imported here, as it takes a second.
        from sklearn.decomposition import PCA

        if layout.dtype.is_complex or _features_of_pass(layout) < 2:
            return None
        values = sample([layout.address])[layout.address]
        rows = values.reshape(-1, _features_of_pass(layout)).astype(_real_dtype(layout), copy=False)
        n_components = min(self.n_components, *rows.shape)
        if not np.isfinite(rows).all():
            raise InputError(
                f"{layout.address!r} is NaN or infinite for stimuli that components are fitted on. Choose others, or "
                "leave the operation out (ops=)."
            )
        with np.errstate(invalid="ignore"):  # shares of no variance, where all are constant
            fit = PCA(n_components, svd_solver="full").fit(rows)
        said = f"principal components of {len(self.stimuli)} stimuli"
        smaller = _flattened(layout, COMPONENT, n_components, said)
        ratios = np.nan_to_num(fit.explained_variance_ratio_).tolist()
        smaller = replace(smaller, attrs={**smaller.attrs, "explained_variance_ratio": ratios})
        held = fit.components_.nbytes + fit.mean_.nbytes
        return Reducer(
            smaller, _each_pass(layout, lambda x: (x - fit.mean_) @ fit.components_.T, smaller), held
        )


@dataclass(frozen=True)
class ChosenUnits:
    """Keep some units of each operation: given ones, or as many at random.

    Parameters
    ----------
    units
        How many, chosen at random; or, by address or glob, the positions in the flattened activation (C order, of
        one pass). An operation that no glob matches is left as it is.
    seed
        Of the random choice.

    Notes
    -----
    The dim `unit` is labelled by these positions, and has a coord for each dim that the operation had
    (`channel`, `y`, `x` ...).

    Examples
    --------
    >>> ChosenUnits({"layer4.*": [0, 10, 20]}).units
    {'layer4.*': [0, 10, 20]}
    """

    units: int | Mapping[str, Sequence[int]]
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.units, Mapping):  # of positions
            check_count(self.units, "units", hint=", or the positions of units by pattern")

    def plan(self, layout: Layout, *, n_stimuli: int, sample: Samples) -> Reducer | None:
        """Return the reducer of an operation."""
        n_features = _features_of_pass(layout)
        chosen = self._choose(layout.address, n_features)
        if chosen is None:
            return None
        if len(chosen) == 0 or chosen.min() < 0 or chosen.max() >= n_features:
            raise InputError(
                f"units of {layout.address!r} are positions from 0 to {n_features - 1}; given were "
                f"{chosen.tolist()[:8]}."
            )
        said = f"{len(chosen)} of {n_features} units"
        smaller = _flattened(layout, UNIT, len(chosen), said, dtype=layout.dtype)
        dims, shape = _one_pass(layout)
        places = np.unravel_index(chosen, shape) if shape else ()
        own = {dim: (UNIT, place) for dim, place in zip(dims, places, strict=True) if dim != UNIT}
        smaller = replace(smaller, labels={**own, UNIT: (UNIT, chosen)})
        index = torch.from_numpy(chosen)
        leading = 2 if PASS in layout.dims else 1

        def apply(batch: torch.Tensor) -> torch.Tensor:
            flat = batch.flatten(leading) if batch.ndim > leading else batch[..., None]
            return flat.index_select(leading, index.to(batch.device))

        return Reducer(smaller, apply, chosen.nbytes)

    def _choose(self, address: str, n_features: int) -> NDArray[np.int64] | None:
        if isinstance(self.units, int):
            if n_features <= self.units:
                return None
            generator = np.random.default_rng(self.seed)
            return np.sort(generator.choice(n_features, self.units, replace=False)).astype(np.int64)
        for pattern, positions in self.units.items():
            if matches(pattern, address) if is_glob(pattern) else pattern == address:
                return np.asarray(positions, dtype=np.int64)
        return None


def plan_reducers(
    reduction: Reduction | None, layouts: Mapping[str, Layout], *, n_stimuli: int, sample: Samples
) -> dict[str, Reducer]:
    """Return the reducer of every operation that a reduction makes smaller.

    Raises
    ------
    InputError
        If it is no reduction.
    """
    if reduction is None:
        return {}
    if not hasattr(reduction, "plan") or isinstance(reduction, type):
        raise InputError(
            f"reduce={reduction!r} is no reduction: give Pooling(), RandomProjection(), PrincipalComponents(...) or "
            "ChosenUnits(...) of neurolens.activations."
        )
    planned = {
        address: reduction.plan(layout, n_stimuli=n_stimuli, sample=sample)
        for address, layout in layouts.items()
        if not layout.is_static and layout.n_features
    }
    return {address: reducer for address, reducer in planned.items() if reducer is not None}


def _one_pass(layout: Layout) -> tuple[tuple[str, ...], tuple[int, ...]]:
    if PASS not in layout.dims:
        return layout.dims, layout.shape
    return layout.dims[1:], layout.shape[1:]  # passes come first


def _features_of_pass(layout: Layout) -> int:
    return math.prod(_one_pass(layout)[1])


def _real_dtype(layout: Layout) -> np.dtype[Any]:
    own = stored_dtype(layout.dtype)
    return own if own.kind == "f" and own.itemsize >= 4 else np.dtype(np.float32)


def _flattened(layout: Layout, dim: str, size: int, said: str, dtype: torch.dtype | None = None) -> Layout:
    """Return the layout with all dims of a pass in one."""
    passes = layout.shape[:1] if PASS in layout.dims else ()
    real = torch.float64 if _real_dtype(layout) == np.float64 else torch.float32
    return replace(
        layout,
        dims=(PASS, dim) if passes else (dim,),
        shape=(*passes, size),
        dtype=real if dtype is None else dtype,
        attrs={**layout.attrs, "reduced": said},
    )


def _each_pass(
    layout: Layout, project: Callable[[NDArray[Any]], NDArray[Any]], smaller: Layout
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Apply a projection of rows to every stimulus and pass of a batch."""
    dtype, n_features = stored_dtype(smaller.dtype), _features_of_pass(layout)

    def apply(batch: torch.Tensor) -> torch.Tensor:
        rows = to_numpy(batch).reshape(-1, n_features).astype(dtype, copy=False)
        projected = np.ascontiguousarray(project(rows), dtype=dtype)
        return torch.from_numpy(projected.reshape(len(batch), *smaller.shape))

    return apply
