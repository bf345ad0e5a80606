"""Trials that stay in their file: the same numbers as in memory, read once, in little memory."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr

from neurolens import brain
from neurolens.brain.blocks import Checksum, cut_blocks, is_loaded, load_block
from neurolens.errors import StoreError

MEASURES = [brain.explainable_variance, brain.noise_ceiling, brain.split_half, brain.estimate_ncsnr]


def simulate(n_repetitions=3, n_stimuli=60, n_neuroids=40, seed=0):
    rng = np.random.default_rng(seed)
    trials = rng.normal(size=(1, n_stimuli, n_neuroids)) + rng.normal(
        size=(n_repetitions, n_stimuli, n_neuroids)
    )
    labels = {"region": ["V1", "IT"] * (n_neuroids // 2)}
    return brain.responses(
        trials.astype("float32"), stimulus=[f"s{i}" for i in range(n_stimuli)], coords=labels
    )


def iterate_blocks(data, memory):
    rows, columns = cut_blocks(data, memory)
    for neuroids in columns:
        for stimuli in rows:
            yield stimuli, neuroids, load_block(data, stimuli, neuroids)


def save(data, path, chunks):
    texts = {name: data[name].astype(object) for name in ("stimulus", "region")}
    dataset = data.assign_coords(texts).to_dataset(name="responses")
    dataset.to_zarr(path, encoding={"responses": {"chunks": chunks}}, consolidated=False)
    return xr.open_zarr(path, chunks=None, consolidated=False)["responses"]


@pytest.fixture(params=[(3, 7, 40), (1, 60, 3), (3, 60, 40)], ids=["wide", "tall", "one"])
def lazy(request, tmp_path):
    data = save(simulate(), tmp_path / "trials.zarr", request.param)
    assert not is_loaded(data)
    return data


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
@pytest.mark.parametrize("memory", ["8 kB", "1 GB"])
def test_reliability_from_a_file_is_that_in_memory(measure, memory, lazy):
    result, expected = measure(lazy, memory=memory), measure(simulate())
    np.testing.assert_allclose(result.values, expected.values, rtol=1e-9)
    assert result.region.values.tolist() == expected.region.values.tolist()
    assert not is_loaded(lazy)


@pytest.mark.parametrize("memory", ["8 kB", "1 GB"])
@pytest.mark.parametrize("measure", [brain.noise_ceiling, brain.estimate_ncsnr, brain.average_repetitions])
def test_missing_trials_are_found_in_a_file_too(measure, memory, tmp_path):
    data = simulate()
    data[2, 50:] = np.nan
    data[1, 55] = np.nan
    for k, chunks in enumerate([(3, 7, 40), (1, 60, 3)]):
        lazy = save(data, tmp_path / f"{k}.zarr", chunks)
        np.testing.assert_allclose(measure(lazy, memory=memory).values, measure(data).values, rtol=1e-6)


def test_dask_arrays_are_read_block_by_block_too():
    dask = pytest.importorskip("dask", reason="the extra distributed is not installed")
    data = simulate().chunk(stimulus=10)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(brain.noise_ceiling(data), brain.noise_ceiling(simulate()), rtol=1e-9)
    assert data.chunks


def test_blocks_cover_everything_once_and_follow_the_chunks(lazy):
    seen = np.zeros((60, 40), dtype=int)
    for stimuli, neuroids, values in iterate_blocks(lazy, "30 kB"):
        seen[stimuli, neuroids] += 1
        np.testing.assert_array_equal(values, simulate().values[:, stimuli, neuroids])
    assert (seen == 1).all()
    rows, _ = cut_blocks(lazy, "1 GB")
    assert rows == [slice(0, 60)] or all(row.start % 7 == 0 for row in rows)


def test_the_checksum_is_that_of_the_values_and_not_of_the_blocks():
    data, digests = simulate(), set()
    for memory in ("5 kB", "30 kB", "1 GB"):
        checksum = Checksum(data)
        for stimuli, neuroids, values in iterate_blocks(data, memory):
            checksum.add(values, stimuli, neuroids)
        digests.add(checksum.digest())
    assert len(digests) == 1
    for changed in (data + np.float32(1e-3), data[:, ::-1], data[::-1], data[:, :, ::-1]):
        checksum = Checksum(changed)
        checksum.add(changed.values, slice(0, 60), slice(0, 40))
        assert checksum.digest() not in digests


def test_the_mean_can_go_to_a_store(lazy, tmp_path):
    lazy.attrs["units"] = "% signal change"
    mean = brain.average_repetitions(lazy, store=tmp_path / "mean.zarr", memory="20 kB")
    expected = brain.average_repetitions(simulate())
    assert not is_loaded(mean)
    np.testing.assert_allclose(mean.values, expected.values, rtol=1e-6)
    assert mean.attrs["n_averaged"] == 3
    assert mean.attrs["units"] == "% signal change"
    assert mean.dims == ("stimulus", "neuroid")
    assert mean.region.values.tolist() == expected.region.values.tolist()
    assert mean.stimulus.values.tolist() == expected.stimulus.values.tolist()
    with pytest.raises(StoreError, match="exists already"):
        brain.average_repetitions(lazy, store=tmp_path / "mean.zarr")


def test_memory_is_bounded(tmp_path):
    """48 MB of trials pass through 8 MB and what Zarr decodes; benchmarks/brain.py measures the full size."""
    data = save(simulate(3, 2000, 2000), tmp_path / "trials.zarr", (3, 50, 2000))
    brain.noise_ceiling(simulate(2, 4, 2))  # what is loaded once is no part of it
    tracemalloc.start()
    brain.noise_ceiling(data, memory="8 MB")
    brain.average_repetitions(data, store=tmp_path / "mean.zarr", memory="8 MB")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6, f"peak {peak / 1e6:.0f} MB"
