"""Digests: equal for equal values alone, in any order of reading."""

import numpy as np
import pytest

from neurolens.numerics.digest import Digest, compute_digest


def draw(shape=(7, 900), dtype=np.float64):
    return (np.random.default_rng(0).standard_normal(shape) * 50).astype(dtype)


def digest_in_parts(values, rows, columns):
    digest = Digest(values.shape, values.dtype)
    for i in range(0, values.shape[0], rows):
        for j in range(0, values.shape[1], columns):
            digest.add(values[i : i + rows, j : j + columns], i, j)
    return digest.hexdigest()


@pytest.mark.parametrize(
    "dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8, bool, np.longdouble]
)
def test_parts_in_any_order_give_the_same(dtype):
    values = draw(dtype=dtype)
    whole = digest_in_parts(values, 7, 900)
    assert digest_in_parts(values, 2, 900) == whole
    assert digest_in_parts(values, 7, 11) == whole
    assert digest_in_parts(np.asfortranarray(values), 3, 64) == whole


def test_what_is_read_again_changes_nothing():
    values = draw()
    digest = Digest(values.shape, values.dtype)
    digest.add(values)
    first = digest.hexdigest()
    digest.add(values[2:3], 2)
    assert digest.hexdigest() == first


@pytest.mark.parametrize("shape", [(3,), (64, 65), (5000,), (2, 3, 4), (0,), ()])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, bool])
def test_every_single_change_shows(shape, dtype):
    values = draw(shape, dtype)
    seen = {compute_digest(values)}
    for index in [0, values.size // 2, values.size - 1] if values.size else []:
        changed = values.copy().reshape(-1)
        changed[index] = not changed[index] if dtype is bool else changed[index] + 1
        seen.add(compute_digest(changed.reshape(shape)))
    assert len(seen) == len({0, values.size // 2, values.size - 1}) + 1 if values.size else len(seen) == 1


def test_shape_dtype_order_and_text_count():
    values = draw((4, 6))
    different = [
        values,
        values.reshape(6, 4),
        values.T,
        values[::-1],
        values.astype(np.float32),
        values + 1j,
        values.astype(str),
        values.astype(object),
    ]
    assert len({compute_digest(one) for one in different}) == len(different)
