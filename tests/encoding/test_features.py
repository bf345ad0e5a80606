"""Features read in pieces, from memory or a store: the same numbers, and never all at once."""

import json

import numpy as np
import pytest
import xarray as xr

from neurolens.encoding import PLS, BandedRidge, Linear, Ridge, encode, join_spaces
from neurolens.encoding import features as room
from neurolens.encoding.features import Features, find_missing, why_skipped
from neurolens.errors import InputError, LabelError

pytestmark = pytest.mark.filterwarnings("ignore:.*smallest or the largest alpha")


@pytest.fixture
def maps(rng, label):
    return label(rng.normal(size=(60, 7, 5, 6)).astype("float32") + 2)


@pytest.fixture
def voxels(maps, rng, measure):
    signal = maps.values.reshape(60, -1) @ rng.normal(size=(210, 4))
    return measure(signal + 10 * rng.normal(size=signal.shape))


@pytest.mark.parametrize("n_columns", [1, 4, 6, 29, 31, 60, 209, 10**6])
def test_pieces_are_the_matrix(maps, monkeypatch, n_columns):
    monkeypatch.setattr(room, "CHUNK_BYTES", n_columns * 60 * 4)
    whole, cut = Features(maps, "maps"), Features(maps, "maps")
    pieces = list(cut.chunks())
    assert max(piece.shape[1] for piece in pieces) <= n_columns
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole.matrix())
    assert pieces[0].dtype == np.float32


@pytest.mark.parametrize("model", [Ridge(), Ridge(alphas=10.0), Linear(), PLS(3)])
def test_a_store_read_in_pieces_scores_as_memory_does(maps, voxels, tmp_path, monkeypatch, model):
    expected = encode(maps, voxels, model=model)
    maps.to_dataset(name="maps").to_zarr(tmp_path / "maps.zarr", zarr_format=2, consolidated=True)
    lazy = xr.open_zarr(tmp_path / "maps.zarr", chunks=None)["maps"]
    monkeypatch.setattr(room, "CHUNK_BYTES", 40 * 60 * 4)
    reads = []
    read = Features._read
    monkeypatch.setattr(Features, "_read", lambda self, part: reads.append(part.size) or read(self, part))
    monkeypatch.setattr("neurolens.encoding.operations.CHUNK_BYTES", 100)  # too large to be loaded
    result = encode(lazy, voxels, model=model)
    assert max(reads) <= 40 * 60
    assert sum(reads) == maps.size  # once
    np.testing.assert_allclose(result.score, expected.score, atol=2e-4)
    assert (
        json.loads(result.attrs["inputs"])["responses"] == json.loads(expected.attrs["inputs"])["responses"]
    )


def test_bands_are_cut_along_their_dim(maps):
    named = maps.assign_coords(band=("channel", list("aabbbab")))
    bands = Features(named, "maps").bands()
    assert list(bands) == ["a", "b"]
    np.testing.assert_array_equal(bands["a"].matrix(), maps[:, [0, 1, 5]].values.reshape(60, -1))
    with pytest.raises(LabelError, match="'band'"):
        Features(maps.assign_coords(band=("stimulus", ["a"] * 60)), "maps").bands()


@pytest.mark.parametrize("dtype", ["float32", "int16", "bool"])
def test_constant_output_is_found_without_reading_all(maps, dtype, monkeypatch):
    monkeypatch.setattr(room, "CHUNK_BYTES", 60 * 4 * 4)
    assert why_skipped((maps * 0 + 1).astype(dtype)) == "constant output"
    assert why_skipped((maps > 2).astype(dtype)) is None
    assert why_skipped(maps.isel(stimulus=0)) == "no stimulus axis"
    assert why_skipped(maps[:, :0]) == "empty"


@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_an_operation_that_did_not_run_for_a_stimulus_is_skipped_and_says_so(maps, voxels, dtype):
    """Whole numbers have no NaN: a missing block reads as 0, which is no activation."""
    partly = (
        (10 * maps).round().astype(dtype).assign_attrs(missing_stimuli=["image03", "image40", "elsewhere"])
    )
    partly[[3, 40]] = 0 if dtype == "int64" else np.nan
    assert find_missing(partly) == ["image03", "image40"]
    result = encode({"whole": maps, "partly": partly}, voxels, model=Ridge(10.0))
    assert result.op.values.tolist() == ["whole"]
    assert json.loads(result.attrs["skipped"]) == {
        "partly": "did not run for 2 stimuli: 'image03', 'image40'"
    }
    ran = [i for i in range(60) if i not in (3, 40)]
    alone = encode({"partly": partly}, voxels.isel(stimulus=ran), model=Ridge(10.0), join="inner")
    assert np.isfinite(alone.score).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_found_in_any_piece(maps, voxels, monkeypatch, value):
    monkeypatch.setattr(room, "CHUNK_BYTES", 60 * 4 * 4)
    maps[7, 6, 4, 5] = value
    with pytest.raises(InputError, match=r"1 features that are NaN or infinite.*'image07'"):
        encode(maps, voxels)


def test_large_finite_values_are_no_error(label):
    huge = label(np.full((3, 2), 1e308) * [[1], [0.5], [1]])
    assert Features(huge, "huge").matrix().max() == 1e308


def test_spaces_are_joined_by_label(maps, rng, label):
    other = label(rng.normal(size=(60, 3)))[::-1]
    joined = join_spaces({"maps": maps, "other": other})
    assert joined.shape == (60, 213)
    np.testing.assert_array_equal(joined[:, 210:], other.sel(stimulus=maps.stimulus))
    with pytest.raises(LabelError, match="space 'other'"):
        join_spaces({"maps": maps, "other": other[:50]})
    assert join_spaces({"maps": maps, "other": other[:50]}, join="inner").sizes["stimulus"] == 50
    with pytest.raises(InputError, match="by name"):
        join_spaces([maps])
    with pytest.raises(InputError, match="rename 'a\\+b'"):
        join_spaces({"a+b": maps})


def test_banded_ridge_needs_named_bands(maps, voxels):
    with pytest.raises(InputError, match="which is missing"):
        encode(maps, voxels, model=BandedRidge())
    with pytest.raises(InputError, match="not from its argument"):
        encode(
            maps.assign_coords(band=("channel", list("aabbbab"))),
            voxels,
            model=BandedRidge(bands=["a"] * 210),
        )
