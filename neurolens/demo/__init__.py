"""The demonstration: a network and its untrained twin, compared with brain data operation by operation."""

from neurolens.demo.run import run_demo as run_demo

__all__ = ["run_demo"]
