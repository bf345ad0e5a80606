"""A network of three operations, and regions made from them."""

import numpy as np
import pytest
import xarray as xr

N = 40
IDS = [f"im{i}" for i in range(N)]
DEPTHS = {"early": 0.0, "middle": 0.5, "late": 1.0}


def _make_network(seed=0, n=N, n_units=12):
    rng = np.random.default_rng(seed)
    ids = [f"im{i}" for i in range(n)]
    return {
        name: xr.DataArray(
            rng.standard_normal((n, n_units)),
            {"stimulus": ids, "half": ("stimulus", np.arange(n) % 2)},
            ("stimulus", "unit"),
            attrs={"depth": depth, "step": i, "module": name, "function": "linear", "model": "toy"},
        )
        for i, (name, depth) in enumerate(DEPTHS.items())
    }


def _make_region(layer, seed, n_subjects=3, n_neuroids=10, noise=0.7):
    """Responses (subject, stimulus, neuroid): a mixture of a layer, and noise."""
    rng = np.random.default_rng(seed)
    mixed = [layer.values @ rng.standard_normal((layer.shape[1], n_neuroids)) for _ in range(n_subjects)]
    values = np.array([one / one.std() + noise * rng.standard_normal(one.shape) for one in mixed])
    coords = {"subject": [f"s{i}" for i in range(n_subjects)], "stimulus": layer.stimulus.values}
    return xr.DataArray(values, coords, ("subject", "stimulus", "neuroid"))


@pytest.fixture(scope="session")
def make_network():
    return _make_network


@pytest.fixture(scope="session")
def make_region():
    return _make_region


@pytest.fixture(scope="session")
def network():
    return _make_network()


@pytest.fixture(scope="session")
def regions(network):
    return {"V1": _make_region(network["early"], 1), "IT": _make_region(network["late"], 2)}
