"""How much is tried: a little, always the same, in `make test`; a hundred times as much, new each time, if asked.

`NEUROLENS_HOSTILE=long python -m pytest tests/hostile` runs the long profile (about an hour).
"""

import os
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from neurolens.errors import NeurolensError

LONG = os.environ.get("NEUROLENS_HOSTILE") == "long"


def fuzz(n_examples):
    """Settings of a test that tries `n_examples`, or a hundred times as many."""
    return settings(
        max_examples=n_examples * 100 if LONG else n_examples,
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def give_or_name(function, *args, **kwargs):
    """Return what a function returns, None if it raised an error of neurolens; any other error fails the test."""
    try:
        return function(*args, **kwargs)
    except NeurolensError as error:
        return None if str(error).strip() else pytest.fail(f"{type(error).__name__} says nothing")
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        pytest.fail(f"{type(error).__name__} at {place} instead of an error of neurolens: {error}")
