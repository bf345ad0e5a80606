"""Simulated activations and voxels that all tests of encoding share."""

import numpy as np
import pytest
import xarray as xr

from neurolens.brain import responses

N = 60
IDS = [f"image{i:02}" for i in range(N)]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def label():
    """Return a function that labels an array (stimulus, ...) of features."""

    def make(values, *dims, **coords):
        dims = dims or {2: ("unit",), 4: ("channel", "y", "x")}[np.ndim(values)]
        ids = [f"image{i:02}" for i in range(len(values))]
        return xr.DataArray(values, {"stimulus": ids, **coords}, ("stimulus", *dims))

    return make


@pytest.fixture
def measure():
    """Return a function that labels responses (stimulus, neuroid)."""

    def make(values, **options):
        ids = {"stimulus": [f"image{i:02}" for i in range(np.shape(values)[-2])]}
        return responses(values, stimulus=ids | options.pop("stimulus", {}), **options)

    return make
