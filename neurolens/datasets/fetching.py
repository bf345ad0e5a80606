"""`fetch`: one verb for every dataset."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from neurolens.datasets.algonauts2023 import load_algonauts2023
from neurolens.datasets.cards import Card, read_card, read_registry
from neurolens.datasets.choice import Choice
from neurolens.datasets.files import obtain_files
from neurolens.datasets.haxby2001 import load_haxby2001, load_haxby2001_1slice
from neurolens.datasets.kriegeskorte92 import load_kriegeskorte92
from neurolens.datasets.majajhong2015 import load_majajhong2015
from neurolens.datasets.nsd import load_nsd
from neurolens.datasets.shapes80 import load_shapes80
from neurolens.datasets.things_fmri import load_things_fmri
from neurolens.errors import NeurolensWarning, StoreError, check_choice
from neurolens.stimuli import Stimuli

__all__ = ["Dataset", "fetch"]

Loader = Callable[[Path, Choice], tuple[Stimuli, xr.DataTree]]


def _whole(load: Callable[[Path], tuple[Stimuli, xr.DataTree]], name: str) -> Loader:
    """Read a small set as a whole, and take what is wanted of it."""

    def load_choice(folder: Path, choice: Choice) -> tuple[Stimuli, xr.DataTree]:
        stimuli, brain = load(folder)
        return stimuli, choice.apply(brain, name)

    return load_choice


_LOADERS: dict[str, Loader] = {
    "algonauts2023": load_algonauts2023,
    "haxby2001": load_haxby2001,
    "haxby2001_1slice": load_haxby2001_1slice,
    "kriegeskorte92": _whole(load_kriegeskorte92, "kriegeskorte92"),
    "majajhong2015": load_majajhong2015,
    "nsd": load_nsd,
    "shapes80": _whole(load_shapes80, "shapes80"),
    "things_fmri": load_things_fmri,
}


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Stimuli and brain data that belong together, joined by stimulus id.

    Attributes
    ----------
    stimuli
        What was shown.
    brain
        One node a region. A node holds one variable: `rdm` ([subject, session,] stimulus, stimulus_b), or
        `responses` ([subject,] stimulus, neuroid); or one node a subject, each with `responses` ([repetition,]
        stimulus, neuroid), where subjects differ in neuroids or stimuli. `encode` takes a region either way.
    card
        Origin, licence, citation, shapes, whether it is simulated, and how this copy was had.

    Examples
    --------
    >>> data = fetch("shapes80")
    >>> data.name, len(data.stimuli), sorted(data.brain.children)
    ('shapes80', 80, ['simulated_early', 'simulated_late'])
    """

    stimuli: Stimuli
    brain: xr.DataTree
    card: Card

    @property
    def name(self) -> str:
        """The name it was fetched by."""
        return self.card.name

    def __repr__(self) -> str:
        """Show the regions with their sizes, the stimuli, and how this copy was had."""
        kind = "SIMULATED" if self.card.simulated else "measured"
        lines = [f"<Dataset {self.name}: {self.card.title} ({kind})>"]
        for leaf in self.brain.leaves:
            for variable, array in leaf.data_vars.items():
                sizes = ", ".join(f"{dim} {size}" for dim, size in array.sizes.items())
                path = leaf.path.strip("/")
                lines.append(f"  brain[{path!r}]".ljust(28) + f" {variable} ({sizes})")
        lines += [f"  {line}" for line in repr(self.stimuli).splitlines()]
        return "\n".join([*lines, f"  {self.card.obtained}"])


def fetch(
    name: str,
    *,
    subjects: str | Sequence[str] | None = None,
    regions: str | Sequence[str] | None = None,
    data_home: str | os.PathLike[str] | None = None,
    download: bool = True,
    timeout: float = 10.0,
    fallback: str | None = None,
) -> Dataset:
    """Get a dataset: stimuli, brain data and card, whether embedded, found on this machine or downloaded.

    Parameters
    ----------
    name
        One of `list_datasets()`.
    subjects, regions
        Names of what is wanted; by default all there is on this machine. Large sets are read no further.
    data_home
        A folder with one sub-folder a dataset. Files found there are used, others are downloaded into it. By
        default the folder that the environment variable NEUROLENS_DATA names is read, and the operating
        system's cache is read and written.
    download
        Whether the network may be used. Embedded datasets never need it.
    timeout
        Seconds to wait for an origin to answer.
    fallback
        The name of a dataset to return, with a warning, if this one cannot be had; None makes that an error.

    Returns
    -------
    Dataset
        `.stimuli`, `.brain` (DataTree: region -> data), `.card`.

    Raises
    ------
    InputError
        If there is no such dataset.
    LabelError
        If a subject or region that is wanted is not there.
    StoreError
        If its files cannot be had, with what was tried and how to get them by hand, or are not the
        registered ones.

    Warns
    -----
    NeurolensWarning
        If the fallback took its place.

    Examples
    --------
    >>> dataset = fetch("shapes80")
    >>> dataset.card.simulated, list(dataset.brain.children)
    (True, ['simulated_early', 'simulated_late'])
    """
    check_choice(name, _LOADERS, "name")
    if fallback is not None:
        check_choice(fallback, _LOADERS, "fallback")
    try:
        folder, obtained = obtain_files(
            name, read_registry(name), data_home=data_home, download=download, timeout=timeout
        )
    except StoreError as error:
        if fallback is None:
            raise StoreError(f"{error} Or pass fallback='shapes80' to use simulated data instead.") from error
        instead = fetch(
            fallback,
            subjects=subjects,
            regions=regions,
            data_home=data_home,
            download=download,
            timeout=timeout,
        )
        kind = "SIMULATED data" if instead.card.simulated else "another dataset"
        warnings.warn(
            f"Using {fallback!r} ({kind}) instead of {name!r}. {error}", NeurolensWarning, stacklevel=2
        )
        return instead
    stimuli, brain = _LOADERS[name](folder, Choice(_names(subjects), _names(regions)))
    return Dataset(stimuli, brain, dataclasses.replace(read_card(name), obtained=obtained))


def _names(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    return (given,) if isinstance(given, str) else tuple(given)
