"""Variance partition: known shares are found, parts sum, redundant bands have nothing of their own."""

import numpy as np
import pytest

from neurolens.encoding import BandedRidge, Ridge, encode, join_spaces, partition_variance
from neurolens.encoding.scores import r2
from neurolens.errors import InputError, LabelError

pytestmark = pytest.mark.filterwarnings("ignore:.*smallest or the largest alpha")
N = 150


@pytest.fixture
def spaces(rng, label):
    common = rng.normal(size=(N, 3))
    return {
        "a": label(np.concatenate([common, rng.normal(size=(N, 3))], axis=1)),
        "b": label(100 * np.concatenate([common, rng.normal(size=(N, 3))], axis=1)),
        "noise": label(rng.normal(size=(N, 6))),
    }


def unit(values):
    return values / values.std(axis=0)


@pytest.fixture
def voxels(spaces, rng, measure):
    """Ten voxels of what only `a` has, ten of what `a` and `b` have; half of the variance is noise."""
    own = unit(spaces["a"].values[:, 3:] @ rng.normal(size=(3, 10)))
    shared = unit(spaces["a"].values[:, :3] @ rng.normal(size=(3, 10)))
    signal = np.concatenate([own, shared], axis=1)
    return measure(signal + rng.normal(size=signal.shape), region=["own"] * 10 + ["shared"] * 10)


@pytest.fixture
def parts(spaces, voxels):
    return partition_variance(spaces, voxels, model=BandedRidge(n_iter=20), progress=False)


def test_known_parts_are_recovered(parts):
    found = parts.part.mean("fold").groupby("region").mean().to_dataset("region")
    assert found["own"].sel(subset="a") == pytest.approx(0.5, abs=0.12)
    assert found["shared"].sel(subset="a+b") == pytest.approx(0.5, abs=0.12)
    assert abs(found["own"].sel(subset="a+b")) < 0.06
    for redundant in ("b", "noise"):
        assert abs(parts.unique.sel(space=redundant).mean()) < 0.03
    assert abs(found["shared"].sel(subset="a")) < 0.06


def test_parts_and_product_measures_sum_to_the_whole(parts):
    whole = parts.r2.sel(subset="a+b+noise")
    np.testing.assert_allclose(parts.part.sum("subset"), whole, atol=1e-10)
    np.testing.assert_allclose(parts["product"].sum("space"), whole, atol=1e-6)
    np.testing.assert_allclose(parts.unique.sel(space="a"), whole - parts.r2.sel(subset="b+noise"))


def test_scores_of_subsets_are_those_of_encode(parts, spaces, voxels):
    joined = join_spaces({name: spaces[name] for name in ("a", "b")})
    result = encode(joined, voxels, model=BandedRidge(n_iter=20), score="r2")
    np.testing.assert_allclose(parts.r2.sel(subset="a+b"), result.score, atol=1e-8)


def test_groups_and_order_of_stimuli_are_respected(spaces, voxels, rng):
    order = rng.permutation(N)
    shuffled = {name: space[order] for name, space in spaces.items()}
    runs = voxels.assign_coords(run=("stimulus", np.arange(N) // 15))
    options = {"model": BandedRidge(n_iter=2), "groups": "run", "progress": False}
    expected, again = (partition_variance(s, runs, **options) for s in (spaces, shuffled))
    np.testing.assert_allclose(again.r2, expected.r2, atol=1e-8)


def test_noise_has_no_parts(spaces, rng, measure):
    noise = measure(rng.normal(size=(N, 300)))
    parts = partition_variance(
        {name: spaces[name] for name in ("a", "b")}, noise, model=BandedRidge(n_iter=4), progress=False
    )
    assert float(parts.r2.sel(subset="a+b").mean()) < 0
    assert abs(float(parts.unique.mean())) < 0.02


def test_voxels_that_are_constant_are_nan(spaces, voxels):
    voxels[:, 3] = 1.0
    parts = partition_variance(
        {name: spaces[name] for name in ("a", "b")}, voxels, model=BandedRidge(n_iter=1), progress=False
    )
    assert np.isnan(parts.r2[:, 3]).all()
    assert np.isfinite(parts["product"][:, :3]).all()


def test_questions_without_an_answer_are_errors(spaces, voxels):
    with pytest.raises(InputError, match="two to 4"):
        partition_variance({"a": spaces["a"]}, voxels)
    with pytest.raises(InputError, match="takes a BandedRidge"):
        partition_variance(spaces, voxels, model=Ridge())
    with pytest.raises(InputError, match="space 'noise' can predict nothing: constant"):
        partition_variance(spaces | {"noise": spaces["noise"] * 0}, voxels)
    with pytest.raises(LabelError, match="space 'b'"):
        partition_variance(spaces | {"b": spaces["b"][:100]}, voxels)
    assert r2(np.eye(3), np.eye(3)).tolist() == [1, 1, 1]
