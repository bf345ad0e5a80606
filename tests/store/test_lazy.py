"""Reading parts: what is picked is what numpy picks, also where axes are cut; Zarr reads the same files."""

import json
import shutil

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from neurolens.errors import StoreError
from neurolens.store import arrays, create_store, open_store

SHAPE = (11, 6, 5, 4)


@pytest.fixture(scope="module", params=["lz4", "zstd", "none"])
def stored(request, tmp_path_factory):
    """An array cut along several axes, as large ones are; and its truth."""
    values = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    values[:, :, 2] = 0
    path = tmp_path_factory.mktemp("lazy") / "acts.zarr"
    large, arrays.LARGE_CHUNK = arrays.LARGE_CHUNK, 100  # bytes
    try:
        options = {"attrs": {}, "block_size": 4, "compression": request.param}
        with create_store(path, stimuli={"stimulus": [f"s{i}" for i in range(11)]}, **options) as writer:
            writer.declare("fc", dims=("stimulus", "channel", "y", "x"), shape=SHAPE, dtype="f4", attrs={})
            for index in range(3):
                writer.write_block(index, {"fc": values[writer.block_slice(index)]})
            writer.finish()
    finally:
        arrays.LARGE_CHUNK = large
    return path, values


def test_axes_are_cut_and_zarr_reads_them(stored):
    path, values = stored
    array = zarr.open_array(path / "fc" / "activation", mode="r", zarr_format=3)
    assert sum(n < m for n, m in zip(array.chunks, SHAPE, strict=True)) >= 2
    np.testing.assert_array_equal(array[...], values)
    np.testing.assert_array_equal(open_store(path)["fc"].values, values)


def picks(size):
    """A position, a slice with a step, or positions in any order, repeated or none."""
    ends = st.none() | st.integers(-size, size)
    return st.one_of(
        st.integers(-size, size - 1),
        st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, 3])),
        st.just(slice(None, None, -1)),
        st.lists(st.integers(-size, size - 1), max_size=2 * size),
    )


@settings(max_examples=40, deadline=None)
@given(key=st.tuples(*map(picks, SHAPE)))
def test_what_is_picked_is_what_numpy_picks(stored, key):
    path, values = stored
    truth = values
    for axis, pick in reversed(list(enumerate(key))):  # each axis on its own, as xarray means it
        whole = [slice(None)] * truth.ndim
        whole[axis] = np.array(pick, dtype=int) if isinstance(pick, list) else pick
        truth = truth[tuple(whole)]
    found = open_store(path)["fc"].isel(dict(zip(("stimulus", "channel", "y", "x"), key, strict=True)))
    np.testing.assert_array_equal(found.values, truth)


def test_arrays_can_be_pickled_and_read_elsewhere(stored):
    import pickle

    path, values = stored
    array = pickle.loads(pickle.dumps(open_store(path)["fc"]))
    np.testing.assert_array_equal(array.sel(stimulus="s3").values, values[3])


def test_forms_that_only_zarr_reads_are_read_when_they_are_used(stored, tmp_path):
    path, values = tmp_path / "acts.zarr", stored[1]
    shutil.copytree(stored[0], path)
    folder = path / "fc" / "activation"
    metadata = json.loads((folder / "zarr.json").read_text())
    shutil.rmtree(folder)
    array = zarr.create_array(
        store=folder,
        shape=SHAPE,
        dtype="f4",
        chunks=(4, 6, 5, 4),
        fill_value=np.nan,
        compressors=zarr.codecs.GzipCodec(),
        chunk_key_encoding={"name": "default", "separator": "/"},
        attributes=metadata["attributes"],
        dimension_names=metadata["dimension_names"],
    )
    array[...] = values
    read = open_store(path)["fc"]
    np.testing.assert_array_equal(read.sel(stimulus="s5").values, values[5])
    np.testing.assert_array_equal(
        read.isel(stimulus=[7, 2], y=slice(1, 4), x=-1).values, values[[7, 2], :, 1:4, -1]
    )
    np.testing.assert_array_equal(read.values, values)
    (folder / "c" / "1" / "0" / "0" / "0").write_bytes(b"no gzip")
    whole = open_store(path)["fc"]
    np.testing.assert_array_equal(whole[:4].values, values[:4])  # what is damaged is not looked at
    with pytest.raises(StoreError, match=r"fc.*activation"):
        whole.load()
