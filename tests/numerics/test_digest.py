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


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64])
def test_changed_signs_do_not_cancel(dtype):
    values = draw((40, 50), dtype)
    rng = np.random.default_rng(1)
    seen = {compute_digest(values), compute_digest(-values), compute_digest(np.abs(values))}
    for n_changed in (2, 4, 2, 1000):
        changed = values.copy().reshape(-1)
        changed[rng.choice(2000, n_changed, replace=False)] *= -1
        seen.add(compute_digest(changed.reshape(40, 50)))
    assert len(seen) == 7


def test_random_changes_never_meet():
    rng = np.random.default_rng(2)
    values = draw((8, 16))
    bits = values.view(np.uint64)
    seen = set()
    for _ in range(3000):  # a few bits of a few values, at any place
        changed = bits.copy().reshape(-1)
        for index in rng.choice(128, 2, replace=False):
            changed[index] ^= np.uint64(1) << np.uint64(rng.integers(64))
        seen.add(changed.tobytes())
    digests = {
        compute_digest(np.frombuffer(one, dtype=np.uint64).view(np.float64).reshape(8, 16)) for one in seen
    }
    assert len(digests) == len(seen)


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
