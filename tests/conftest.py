"""What every room's tests share: where real data are, and the reason for skipping where they are not."""

import os
from pathlib import Path

import pytest


def find_real_data() -> Path | None:
    """The folder named by NEUROLENS_DATA, else `../shared/data` beside the checkout, else None."""
    named = os.environ.get("NEUROLENS_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, one sub-folder a dataset; tests that use it carry `@pytest.mark.realdata`."""
    folder = find_real_data()
    if folder is None:
        pytest.skip("no real data: NEUROLENS_DATA names no folder, and there is no ../shared/data")
    return folder
