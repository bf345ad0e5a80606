"""The choices of a comparison, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import xarray as xr

from neurolens.errors import InputError, check_choice, check_count, list_names
from neurolens.numerics.corrections import CORRECTIONS, Correction
from neurolens.numerics.distances import METRICS, Metric
from neurolens.numerics.similarity import MEASURES, Similarity

__all__ = ["METHODS", "Control", "Join", "Method", "Plan"]

Method = Literal["rsa", "cka", "procrustes", "cca", "ridge", "pls", "ersa"]
Join = Literal["exact", "inner"]
Control = str | xr.DataArray | tuple[str | xr.DataArray, ...] | None

_REPRESENTATION = ("n_components", "bandwidth")
_ENCODING = ("model", "cv", "groups", "ceiling")
METHODS: dict[str, tuple[str, ...]] = {  # method -> options of the call that scores
    "rsa": ("resample", "confidence"),
    "cka": _REPRESENTATION,
    "procrustes": _REPRESENTATION,
    "cca": _REPRESENTATION,
    "ridge": (*_ENCODING, "score", "confidence"),
    "pls": (*_ENCODING, "score", "confidence"),
    "ersa": (*_ENCODING, "resample", "confidence"),
}
UNTRAINED = "untrained"


@dataclass(frozen=True)
class Plan:
    """What was asked for, as `compare` takes it."""

    method: Method = "rsa"
    metric: Metric = "correlation"
    similarity: Similarity = "rho-a"
    ops: Any = "**"
    passes: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    control: xr.DataArray | None = None
    within: str | None = None
    n_permutations: int = 1000
    n_bootstraps: int = 0
    n_splits: int = 10
    correction: Correction = "max"
    seed: int = 0
    join: Join = "exact"
    memory: str | int = "4 GB"
    client: Any = None
    progress: bool = True

    def __post_init__(self) -> None:
        """Refuse what has no definition."""
        check_choice(self.method, METHODS, "method")
        check_choice(self.metric, METRICS, "metric")
        check_choice(self.similarity, MEASURES, "similarity")
        check_choice(self.correction, CORRECTIONS, "correction")
        check_choice(self.join, ("exact", "inner"), "join")
        zeros = {"n_permutations": " (no test)", "n_bootstraps": " (no interval)", "n_splits": " (no splits)"}
        for name in (*zeros, "seed"):
            check_count(getattr(self, name), name, 0, zeros.get(name, ""))
        if self.n_bootstraps == 1:
            raise InputError(
                "n_bootstraps=1: one sample has no spread. Give 0 (no interval) or many, e.g. 1000."
            )
        if not isinstance(self.options, Mapping):
            raise InputError(
                f"options={self.options!r}: give a dict, from names to values: options={{'model': ...}}."
            )
        for name in self.options:
            check_choice(name, METHODS[self.method], f"options of method={self.method!r}:")
        if self.method != "rsa":
            self._refuse_rdm_options()
        if self.passes and self.method in ("ridge", "pls", "ersa"):
            raise InputError(
                "passes=True is for methods on RDMs and Gram matrices; encode each pass: acts.isel."
            )

    def _refuse_rdm_options(self) -> None:
        given = [name for name in ("control", "within") if getattr(self, name) is not None]
        if given:
            raise InputError(
                f"{list_names(given)} acts on RDMs of activations; method={self.method!r} has none: use method='rsa'."
            )
        if self.n_bootstraps and self.method in ("cka", "procrustes", "cca"):
            raise InputError(
                f"{self.method!r} has no bootstrap: a stimulus drawn twice raises it. With subjects it has an "
                "interval over subjects without one; pass n_bootstraps=0."
            )


def split_control(control: Any) -> tuple[bool, xr.DataArray | None]:
    """Tell "untrained" from RDMs, which may be given together; RDMs are laid on one dim.

    Raises
    ------
    InputError
        If something else is given.
    """
    parts = [] if control is None else list(control) if isinstance(control, tuple | list) else [control]
    rdms: list[xr.DataArray] = [part for part in parts if isinstance(part, xr.DataArray)]
    words = [part for part in parts if not isinstance(part, xr.DataArray)]
    for word in words:
        check_choice(word, (UNTRAINED,), "control")
    if not rdms:
        return bool(words), None
    joined = (
        rdms[0]
        if len(rdms) == 1
        else xr.concat(rdms, "control", join="exact", coords="minimal", compat="override")
    )
    return bool(words), joined


def freeze_ops(ops: str | Iterable[str]) -> Any:
    """Keep patterns that can be walked once for all models and twins."""
    return list(ops) if isinstance(ops, Iterable) and not isinstance(ops, str) else ops
