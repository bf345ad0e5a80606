"""Reductions: against numpy, scikit-learn and the bound they promise; the same from a store and a stream."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from neurolens.activations import (
    ChosenUnits,
    Pooling,
    PrincipalComponents,
    RandomProjection,
    extract,
    stream,
)
from neurolens.errors import InputError, ResumeError
from neurolens.stimuli import Stimuli


class Net(nn.Module):
    """Channels and space, tokens, a layer used twice, integers and a static operation."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.mix = nn.Conv2d(4, 4, 1)
        self.embed = nn.Linear(4, 6)
        self.register_buffer("scale", torch.arange(6.0))

    def forward(self, x):
        x = self.conv(x)
        for _ in range(2):
            x = self.mix(x).tanh()
        tokens = self.embed(x.flatten(2).transpose(1, 2))
        return tokens * self.scale.exp(), tokens.argmax(2)


N = 12


@pytest.fixture(scope="module")
def net():
    return Net().eval()


@pytest.fixture(scope="module")
def stimuli():
    x = torch.randn(N, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return Stimuli.from_array(x, ids=[f"s{i}" for i in range(N)])


@pytest.fixture(scope="module")
def whole(net, stimuli):
    return dict(stream(net, stimuli, batch_size=5, progress=False).items())


def reduced(net, stimuli, reduce, **options):
    return stream(net, stimuli, batch_size=5, reduce=reduce, progress=False, **options)


@pytest.mark.parametrize("method", ["mean", "max"])
def test_pooling_is_what_xarray_gives(net, stimuli, whole, method):
    acts = reduced(net, stimuli, Pooling(method=method))
    for address, array in whole.items():
        gone = [dim for dim in ("y", "x", "token") if dim in array.dims and "stimulus" in array.dims]
        truth = getattr(array.astype(float), method)(gone) if gone else array
        found = acts[address]
        assert found.dims == truth.dims, address
        np.testing.assert_allclose(found.values, truth.values, rtol=1e-5, atol=1e-6, err_msg=address)
        assert ("reduced" in found.attrs) == bool(gone)
    assert acts["tanh"].dims == ("stimulus", "pass", "channel")
    assert acts["exp"].shape == (6,)


def test_one_dim_can_be_pooled(net, stimuli, whole):
    acts = reduced(net, stimuli, Pooling(dims=("x",)), ops="conv")
    np.testing.assert_allclose(
        acts["conv"].values, whole["conv.conv2d"].mean("x").values, rtol=1e-5, atol=1e-6
    )
    assert acts["conv"].attrs["reduced"] == "mean over x"


def test_random_projection_keeps_distances_and_is_given_by_its_seed(net):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(20, 3, 24, 24, generator=generator)
    stimuli = Stimuli.from_array(x, ids=range(20))
    acts = reduced(net, stimuli, RandomProjection(n_components=600, seed=1), ops=["conv", "tanh"])
    plain = stream(net, stimuli, ops=["conv", "tanh"], batch_size=5, progress=False)
    for address in ("conv", "tanh:1"):
        near, far = acts[address].values, plain[address].values.reshape(20, -1)
        assert near.shape == (20, 600)
        a, b = np.triu_indices(20, 1)
        ratios = ((near[a] - near[b]) ** 2).sum(1) / ((far[a] - far[b]) ** 2).sum(1)
        assert abs(ratios.mean() - 1) < 0.03  # unbiased
        assert 0.75 < ratios.min() < ratios.max() < 1.25  # sd of a ratio is about sqrt(2 / 600) = 0.06
    again = reduced(net, stimuli, RandomProjection(n_components=600, seed=1), ops="conv")["conv"]
    np.testing.assert_array_equal(again.values, acts["conv"].values)
    other = reduced(net, stimuli, RandomProjection(n_components=600, seed=2), ops="conv")["conv"]
    assert not np.allclose(other.values, again.values)


def test_the_lemma_gives_the_number_of_components(net, stimuli, whole):
    acts = reduced(net, stimuli, RandomProjection(eps=0.99), ops=["conv", "embed"])
    k = 4 * np.log(N) / (0.99**2 / 2 - 0.99**3 / 3)
    assert acts["conv"].sizes["component"] == int(k)
    np.testing.assert_array_equal(
        reduced(net, stimuli, RandomProjection(n_components=10**4), ops="conv")["conv"], whole["conv.conv2d"]
    )  # there is nothing to gain


def test_components_are_scikit_learns_of_the_named_stimuli(net, stimuli, whole):
    fitted_on = ["s1", "s3", "s4", "s7", "s9"]
    acts = reduced(net, stimuli, PrincipalComponents(3, stimuli=fitted_on), ops=["conv", "embed", "tanh"])
    for address, source in (("conv", "conv.conv2d"), ("embed", "embed.linear")):
        flat = whole[source].values.reshape(N, -1).astype(float)
        rows = [int(name[1:]) for name in fitted_on]
        fit = PCA(3, svd_solver="full").fit(flat[rows])
        assert acts[address].dims == ("stimulus", "component")
        np.testing.assert_allclose(acts[address].values, fit.transform(flat), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(
            acts[address].attrs["explained_variance_ratio"], fit.explained_variance_ratio_, rtol=1e-4
        )
    assert acts["tanh"].dims == ("stimulus", "pass", "component")


def test_chosen_units_are_labelled_by_where_they_were(net, stimuli, whole):
    acts = reduced(
        net, stimuli, ChosenUnits({"conv*": [0, 5, 143], "tanh": [7]}), ops=["conv", "tanh", "embed"]
    )
    flat = whole["conv.conv2d"].values.reshape(N, -1)
    np.testing.assert_array_equal(acts["conv"].values, flat[:, [0, 5, 143]])
    assert acts["conv"].unit.values.tolist() == [0, 5, 143]
    for place, unit in enumerate(acts["conv"].unit):
        at = {dim: int(unit[dim]) for dim in ("channel", "y", "x")}
        np.testing.assert_array_equal(whole["conv.conv2d"].sel(at).values, acts["conv"].values[:, place])
    assert acts["tanh"].dims == ("stimulus", "pass", "unit")
    np.testing.assert_array_equal(acts["tanh"].values[..., 0], whole["tanh"].values.reshape(N, 2, -1)[..., 7])
    np.testing.assert_array_equal(acts["embed"].values, whole["embed.linear"].values)


def test_units_at_random_are_given_by_their_seed(net, stimuli):
    first, again, other = (
        reduced(net, stimuli, ChosenUnits(9, seed=seed), ops="conv")["conv"] for seed in (0, 0, 1)
    )
    assert first.shape == (N, 9)
    assert first.identical(again)
    assert first.unit.values.tolist() != other.unit.values.tolist()


REDUCTIONS = [
    Pooling(),
    RandomProjection(n_components=20),
    PrincipalComponents(2, stimuli=["s0", "s1", "s2", "s11"]),
    ChosenUnits(5),
]


@pytest.mark.parametrize("reduce", REDUCTIONS, ids=lambda r: type(r).__name__)
def test_a_store_holds_what_a_stream_gives(net, stimuli, tmp_path, reduce):
    ops = ["conv", "tanh", "embed", "argmax", "exp"]
    acts = extract(
        net,
        stimuli,
        tmp_path / "a.zarr",
        ops=ops,
        batch_size=5,
        reduce=reduce,
        progress=False,
        dtype="float16",
    )
    for address, array in reduced(net, stimuli, reduce, ops=ops).items():
        stored = acts[address]
        assert stored.dims == array.dims
        assert set(stored.coords) == set(array.coords)
        assert stored.attrs == array.attrs
        kind = array.dtype if array.dtype.kind != "f" else np.float16
        np.testing.assert_array_equal(stored.values, array.values.astype(kind))
    assert acts.verify().is_sound
    with pytest.raises(ResumeError, match="reduce was"):
        extract(net, stimuli, tmp_path / "a.zarr", ops=ops, batch_size=5, progress=False, dtype="float16")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Pooling(method="median"), "method='median'"),
        (lambda: Pooling(dims="x"), "dims='x'"),
        (lambda: RandomProjection(n_components=0), "n_components=0"),
        (lambda: RandomProjection(eps=1.5), r"eps=1\.5"),
        (lambda: PrincipalComponents(0, stimuli=["a", "b"]), "n_components=0"),
        (lambda: PrincipalComponents(2, stimuli=["a"]), "two or more"),
        (lambda: ChosenUnits(0), "units=0"),
    ],
)
def test_what_is_no_reduction_says_so(make, said):
    with pytest.raises(InputError, match=said):
        make()


@pytest.mark.parametrize(
    ("reduce", "said"),
    [("pca", "reduce='pca' is no reduction"), (ChosenUnits({"conv*": [144]}), "from 0 to 143")],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(net, stimuli, tmp_path, reduce, said):
    with pytest.raises(InputError, match=said):
        extract(net, stimuli, tmp_path / "a.zarr", ops="conv", reduce=reduce, progress=False)
    assert not (tmp_path / "a.zarr").exists()
