"""Searchlights against one RDM at a time, and against rsatoolbox."""

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import cdist, pdist

from neurolens.errors import InputError, LabelError
from neurolens.numerics.searchlights import SEARCHLIGHT_METRICS, find_neighbours, walk_rdms
from neurolens.numerics.similarity import compute_similarity
from neurolens.rsa import rdm, searchlight

N_STIMULI, SHAPE = 8, (6, 5, 4)
IDS = [f"im{i}" for i in range(N_STIMULI)]


@pytest.fixture(scope="module")
def volume():
    rng = np.random.default_rng(0)
    mask = rng.random(SHAPE) < 0.8
    values = rng.random((N_STIMULI, mask.sum())) + 50
    places = {name: ("neuroid", axis) for name, axis in zip("xyz", np.nonzero(mask), strict=True)}
    return xr.DataArray(values, {"stimulus": IDS, **places}, ("stimulus", "neuroid"))


@pytest.fixture(scope="module")
def models(volume):
    rng = np.random.default_rng(1)
    layers = {
        name: xr.DataArray(rng.random((N_STIMULI, 5)), {"stimulus": IDS}, ("stimulus", "unit"))
        for name in "ab"
    }
    return rdm(layers)


@pytest.mark.parametrize("metric", SEARCHLIGHT_METRICS)
def test_every_neighbourhood_has_the_rdm_of_its_neuroids(volume, models, metric):
    result = searchlight(volume, models, radius=1.5, metric=metric, method="spearman", min_share=0)
    places = np.stack([volume[name].values for name in "xyz"], axis=1)
    near = cdist(places, places) <= 1.5
    vectors = np.array([one.values[np.triu_indices(N_STIMULI, 1)] for one in models])
    for i in (0, 7, 40, 80):
        wanted = compute_similarity(vectors, pdist(volume.values[:, near[i]], metric), "spearman")[:, 0]
        np.testing.assert_allclose(result[:, i], wanted, atol=1e-10)
        assert int(result.n_neighbours[i]) == near[i].sum()
    assert result.dims == ("op", "neuroid")


def test_rdms_equal_rsatoolboxs(volume):
    util = pytest.importorskip("rsatoolbox.util.searchlight")
    mask = np.zeros(SHAPE)
    places = np.stack([volume[name].values for name in "xyz"], axis=1)
    mask[tuple(places.T)] = 1
    centers, neighbors = util.get_volume_searchlight(
        mask, radius=1.9, threshold=0.3, truncate_at_boundary=True
    )
    whole = np.zeros((N_STIMULI, mask.size))
    whole[:, np.ravel_multi_index(tuple(places.T), SHAPE)] = volume.values
    theirs = util.get_searchlight_RDMs(whole, centers, neighbors, np.arange(N_STIMULI), verbose=False)
    ours = np.concatenate([found for _, found in walk_rdms(volume.values, *find_neighbours(places, 1.9))])
    order = np.searchsorted(np.ravel_multi_index(tuple(places.T), SHAPE), centers)
    np.testing.assert_allclose(ours[order], theirs.dissimilarities, atol=1e-10)


def test_places_with_few_neighbours_have_no_score(volume, models):
    result = searchlight(volume, models, radius=1.5, min_share=0.6)
    few = result.n_neighbours < 0.6 * result.n_neighbours.max()
    assert few.any()
    np.testing.assert_array_equal(np.isnan(result).any("op"), few)


def test_a_constant_pattern_has_no_score_and_spoils_no_other(volume, models):
    flat = volume.copy()
    near = find_neighbours(np.stack([flat[name].values for name in "xyz"], axis=1), 1.0)[0]
    flat[2, near[10][near[10] < flat.sizes["neuroid"]]] = 0.1
    result = searchlight(flat, models, radius=1.0, min_share=0)
    assert np.isnan(result[:, 10]).all()
    assert np.isfinite(result).any()


def test_what_has_no_place_or_no_number_is_refused(volume, models):
    with pytest.raises(LabelError, match="'mni_x'"):
        searchlight(volume, models, radius=2, positions=("mni_x", "y", "z"))
    with pytest.raises(InputError, match="radius"):
        searchlight(volume, models, radius=0)
    broken = volume.copy()
    broken[0, 3] = np.nan
    with pytest.raises(InputError, match="the first is number 3"):
        searchlight(broken, models, radius=2)
    with pytest.raises(InputError, match="one subject"):
        searchlight(volume.expand_dims(subject=2), models, radius=2)
    with pytest.raises(LabelError, match="only in responses"):
        searchlight(volume, models.isel(stimulus=slice(0, 5), stimulus_b=slice(0, 5)), radius=2)
