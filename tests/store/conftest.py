"""Lets the tests of this room, and the processes they start, import their contract."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def path(tmp_path):
    """Where a test may write a store."""
    return tmp_path / "acts.zarr"


@pytest.fixture(scope="session")
def expected():
    """What the stores of the contract hold."""
    from store_contract import make_expected

    return make_expected()


@pytest.fixture(scope="session")
def finished(tmp_path_factory, expected):
    """One finished store that no test changes."""
    from store_contract import write_all

    path = tmp_path_factory.mktemp("finished") / "acts.zarr"
    write_all(path, expected)
    return path
