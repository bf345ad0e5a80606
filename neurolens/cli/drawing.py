"""Pictures of results, one file each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import xarray as xr
from matplotlib.figure import Figure

from neurolens.cli.tables import replace_file
from neurolens.errors import InputError, check_choice, list_names
from neurolens.plot import profile as plot_profile
from neurolens.plot import rdms as plot_rdms
from neurolens.schema import OP, REGION

MOST_PANELS = 8


def draw_profile(
    profile: xr.Dataset,
    path: Path,
    *,
    regions: Sequence[str] | None,
    by: str | None,
    control: xr.Dataset | None,
    ops: Sequence[str] | None,
) -> None:
    """Draw scores over depth, one panel a region."""
    matplotlib.use("agg")
    if ops:
        raise InputError(f"--op {ops[0]} chooses an RDM, and this file holds scores.")
    there = [str(label) for label in profile[REGION].values] if REGION in profile.dims else []
    for wanted in regions or ():
        check_choice(wanted, there, "region")
    shown: list[str | None] = [*(regions or there)] or [None]
    if len(shown) > MOST_PANELS:
        raise InputError(
            f"There are {len(shown)} regions, too many for one picture: choose with --region among "
            f"{list_names(there, 20)}."
        )
    figure = Figure(figsize=(9, 5 * len(shown)), layout="constrained")
    for ax, region in zip(figure.subplots(len(shown), squeeze=False)[:, 0], shown, strict=True):
        plot_profile(
            profile,
            region=region,
            by=by,  # type: ignore[arg-type]  # checked there, with the choices in the message
            control=() if control is None else control,
            ax=ax,
        )
    _save(figure, path)


def draw_rdms(
    rdms: xr.DataArray,
    path: Path,
    *,
    ops: Sequence[str] | None,
    by: str | None,
    regions: Sequence[str] | None,
    control: Path | None,
) -> None:
    """Draw the RDMs of some operations side by side; by default four, evenly chosen."""
    matplotlib.use("agg")
    if regions or control is not None:
        raise InputError("--region and --control are about scores, and this file holds RDMs.")
    if OP not in rdms.dims:
        if ops:
            raise InputError(f"--op {ops[0]}: the RDMs of this file have no operations.")
        panels = {str(rdms.attrs.get("address", "")): rdms}
    else:
        there = [str(label) for label in rdms[OP].values]
        for name in ops or ():
            check_choice(name, there, "op")
        even = sorted({round(k * (len(there) - 1) / 3) for k in range(4)})
        panels = {name: rdms.sel({OP: name}) for name in ops or [there[k] for k in even]}
    figure = plot_rdms(panels, by=by)[0].figure
    assert isinstance(figure, Figure)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    kinds = list(figure.canvas.get_supported_filetypes())
    if path.suffix.lower().lstrip(".") not in kinds:
        raise InputError(f"--out {path}: pictures end in one of {list_names(kinds, 20)}.")
    replace_file(path, lambda new: figure.savefig(new, dpi=150))
