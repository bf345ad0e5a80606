"""Chunks on disk are those that Blosc and CRC-32C would write, whether they were worth compressing or not."""

from __future__ import annotations

from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from google_crc32c import value as crc32c

from neurolens.store import create_store

N_UNITS = 300_000  # of 4 bytes: above what is always compressed


def _write(path: Path, values: np.ndarray) -> bytes:
    """Write one stimulus and return the file that holds it."""
    with create_store(path, stimuli={"stimulus": ["cat"]}, attrs={}, block_size=1) as writer:
        shape, dims = values.shape, ("stimulus", "unit")
        writer.declare("fc", dims=dims, shape=shape, dtype=values.dtype, attrs={})
        writer.write_block(0, {"fc": values})
        writer.finish()
    return (path / "fc" / "activation" / "c.0.0").read_bytes()


def test_noise_is_stored_as_blosc_stores_what_it_cannot_compress(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((1, N_UNITS)).astype("f4")
    expected = numcodecs.Blosc("lz4", clevel=1, shuffle=0).encode(values.view(np.uint8))
    written = _write(tmp_path / "s", values)
    assert written[:-4] == expected
    assert int.from_bytes(written[-4:], "little") == crc32c(expected)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_zarr_reads_chunks_of_any_share_of_zeros(share: float, tmp_path: Path) -> None:
    values = np.random.default_rng(1).standard_normal((1, N_UNITS)).astype("f4")
    values[:, : round(share * N_UNITS)] = 0
    size = len(_write(tmp_path / "s", values))
    assert size <= (1 - 0.9 * max(0, share - 0.1)) * values.nbytes + 20  # nothing grows, and zeros are saved
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "s" / "fc" / "activation", mode="r"), values)


def test_a_chunk_that_is_compressible_in_few_places_is_written_alike_each_time(tmp_path: Path) -> None:
    values = np.random.default_rng(2).standard_normal((1, N_UNITS)).astype("f4")
    values[:, : N_UNITS // 9] = 0
    assert _write(tmp_path / "a", values) == _write(tmp_path / "b", values.copy(order="F"))
