"""The numbers of the demonstration: RDMs, profiles, the store and the table."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import xarray as xr

from neurolens.activations import StoredActivations, extract, stream
from neurolens.comparison import compare
from neurolens.datasets import Dataset, fetch
from neurolens.demo.settings import BATCH_SIZE, MODEL, TARGETS, TRAINED, UNTRAINED, Effort
from neurolens.demo.stages import Stages, Watched
from neurolens.errors import NeurolensWarning, ResumeError
from neurolens.models import Model, load_model
from neurolens.rsa import rdm
from neurolens.schema import OP, REGION, SESSION, STIMULUS_B, SUBJECT
from neurolens.stimuli import Stimuli
from neurolens.store import open_store

COLUMNS = ("depth", "step", "module", "function", "n_features", "equivalent_to")


@dataclass(frozen=True)
class Findings:
    """What the demonstration found.

    Parameters
    ----------
    dataset
        Stimuli and brain data.
    rdms
        DataArray (op, stimulus, stimulus_b) of the "trained" and the "untrained" network.
    profiles
        Profile over (op, region) of each.
    """

    dataset: Dataset
    rdms: dict[str, xr.DataArray]
    profiles: dict[str, xr.Dataset]

    @property
    def regions(self) -> dict[str, str]:
        """The regions compared, and what each is called in words."""
        return TARGETS[self.dataset.name].regions

    @property
    def focus(self) -> str:
        """The region that the graph and the RDMs are about."""
        return TARGETS[self.dataset.name].focus


def load_data(name: str | None, stages: Stages) -> Dataset:
    """Fetch a dataset; None: kriegeskorte92, or simulated data where that cannot be had."""
    if name is not None:
        return fetch(name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NeurolensWarning)
        dataset = fetch("kriegeskorte92", fallback="shapes80")
    for warning in caught:
        stages.say(str(warning.message))
    return dataset


def load_twins(seed: int) -> dict[str, Model]:
    """Load the network trained, and as it is before training."""
    return {TRAINED: load_model(MODEL), UNTRAINED: load_model(MODEL, pretrained=False, seed=seed)}


def compute_findings(dataset: Dataset, twins: dict[str, Model], effort: Effort, stages: Stages) -> Findings:
    """Compute the RDM of every operation of both twins, and compare all with all regions."""
    rdms = {}
    for name, model in twins.items():
        with stages.stage(f"RDMs of the {name} network") as stage:
            activations = stream(
                model,
                dataset.stimuli,
                ops=effort.ops,
                memory=effort.memory,
                batch_size=BATCH_SIZE,
                progress=False,
            )
            stage.expect(len(activations))
            rdms[name] = rdm(Watched(activations, stage.step))
    target = TARGETS[dataset.name]
    brain = {region: dataset.brain[region].to_dataset() for region in target.regions}
    profiles = {}
    with stages.stage("comparison with the brain", len(rdms)) as stage:
        for name, one in rdms.items():
            profiles[name] = compare(
                one, brain, similarity="spearman", n_permutations=effort.n_permutations, seed=effort.seed
            )
            stage.step()
    return Findings(dataset, rdms, profiles)


def store_blocks(model: Model, stimuli: Stimuli, path: Path, effort: Effort) -> StoredActivations:
    """Extract block outputs; take up a store of the same run, replace another one of the demonstration."""

    def write() -> StoredActivations:
        return extract(model, stimuli, path, ops=effort.blocks, batch_size=BATCH_SIZE, progress=False)

    try:
        return write()
    except ResumeError:
        if open_store(path, incomplete=True).attrs.get("model") != model.name:
            raise
    shutil.rmtree(path)
    return write()


def tabulate(findings: Findings) -> pd.DataFrame:
    """Tabulate all scores: one row a network, region and operation, in execution order."""
    tables = []
    for name, profile in findings.profiles.items():
        scores = profile[["score", "p", "p_corrected"]]
        columns = [column for column in COLUMNS if column in profile.coords]
        frame = scores.to_dataframe(dim_order=[REGION, OP]).reset_index()
        frame.insert(0, "network", name)
        ceilings = profile[["ceiling_low", "ceiling_high", "n_subjects"]].reset_coords("n_subjects")
        frame = frame.drop(columns="n_subjects").merge(ceilings.to_dataframe().reset_index(), on=REGION)
        tables.append(
            frame[["network", REGION, OP, *columns, "score", "p", "p_corrected", *ceilings.data_vars]]
        )
    return pd.concat(tables, ignore_index=True)


def average_rdm(dataset: Dataset, region: str) -> xr.DataArray:
    """Average the RDMs of a region over sessions and subjects; responses get RDMs first."""
    (array,) = dataset.brain[region].to_dataset().data_vars.values()
    rdms = array if STIMULUS_B in array.dims else rdm(array)
    return rdms.mean([dim for dim in (SESSION, SUBJECT) if dim in rdms.dims], keep_attrs=True)


def find_best(findings: Findings, region: str, n: int = 1, network: str = TRAINED) -> list[str]:
    """Return the operations with the highest scores, best first; equivalent ones count once."""
    profile = findings.profiles[network].sel({REGION: region})
    if "equivalent_to" in profile.coords:
        profile = profile.isel({OP: profile["equivalent_to"].values == ""})
    order = profile["score"].argsort().values[::-1]
    return [str(op) for op in profile[OP].values[order][:n]]
