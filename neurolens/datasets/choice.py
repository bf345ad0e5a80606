"""Which part of a dataset is wanted: large sets are read no further than that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import xarray as xr

from neurolens.errors import LabelError, list_names
from neurolens.schema import NEUROID, SUBJECT

__all__ = ["Choice"]


@dataclass(frozen=True)
class Choice:
    """Subjects and regions, by name; None is all there are.

    Attributes
    ----------
    subjects, regions
        Names, in any order.
    """

    subjects: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None

    def take_subjects(self, present: Sequence[str], dataset: str) -> list[str]:
        """Return the wanted ones of those present, in their order, or say which are missing."""
        return _take(self.subjects, present, f"subject of {dataset}")

    def take_regions(self, present: Iterable[str], dataset: str) -> list[str]:
        """Return the wanted ones of those present, in their order, or say which are missing."""
        return _take(self.regions, list(present), f"region of {dataset}")

    def apply(self, brain: xr.DataTree, dataset: str) -> xr.DataTree:
        """Take the wanted part of a tree that was read as a whole."""
        nodes: dict[str, xr.DataTree | xr.Dataset] = {}
        for region in self.take_regions(brain.children, dataset):
            node = brain.children[region]
            nodes[region] = node if self.subjects is None else self._apply(node, dataset)
        tree = xr.DataTree.from_dict(nodes, name=brain.name)
        tree.attrs = dict(brain.attrs)
        return tree

    def _apply(self, node: xr.DataTree, dataset: str) -> xr.DataTree | xr.Dataset:
        """Take the wanted subjects of one region, whether they are nodes, a dim or a coord of neuroids."""
        if node.children:
            chosen = self.take_subjects(list(node.children), dataset)
            return xr.DataTree.from_dict({name: node.children[name].to_dataset() for name in chosen})
        data = node.to_dataset()
        if SUBJECT not in data.coords:
            raise LabelError(f"{dataset} tells no subjects apart in {node.name!r}; leave subjects= out.")
        present = data[SUBJECT].values
        names = self.take_subjects([str(name) for name in dict.fromkeys(present.tolist())], dataset)
        dim = SUBJECT if SUBJECT in data.dims else NEUROID
        return data.isel({dim: [k for k, name in enumerate(present.tolist()) if str(name) in names]})


def _take(wanted: tuple[str, ...] | None, present: Sequence[str], what: str) -> list[str]:
    if wanted is None:
        return list(present)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise LabelError(
            f"There is no {what} named {list_names(missing)}; there are {list_names(present, 20)}."
        )
    return [name for name in present if name in wanted]
