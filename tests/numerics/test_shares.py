"""Parts of variance: closed forms, sums, and himalaya's product measure."""

import numpy as np
import pytest
from himalaya.scoring import r2_score_split
from sklearn.metrics import r2_score

from neurolens.numerics.shares import find_parts, list_subsets, split_r2


@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
def test_parts_are_the_areas_of_a_venn_diagram(names):
    rng = np.random.default_rng(0)
    areas = {subset: rng.random() for subset in list_subsets(names)}
    r2 = {s: sum(area for part, area in areas.items() if part & s) for s in areas}  # the union of the circles
    parts = find_parts(r2)
    assert parts.keys() == areas.keys()
    for subset, area in areas.items():
        assert parts[subset] == pytest.approx(area)
    assert sum(parts.values()) == pytest.approx(r2[frozenset(names)])


def test_product_measure_is_himalayas_where_training_and_test_means_agree():
    rng = np.random.default_rng(0)
    y, bands = rng.normal(size=(20, 3)), 0.3 * rng.normal(size=(2, 20, 3))
    y -= y.mean(axis=0)
    np.testing.assert_allclose(split_r2(y, bands, np.zeros(3)), r2_score_split(y, bands))


def test_product_measure_sums_to_r2_whatever_the_offset():
    rng = np.random.default_rng(0)
    y, bands, offset = rng.normal(size=(20, 3)) + 4, rng.normal(size=(3, 20, 3)), rng.normal(size=3) + 4
    expected = r2_score(y, bands.sum(axis=0) + offset, multioutput="raw_values")
    np.testing.assert_allclose(split_r2(y, bands, offset).sum(axis=0), expected)
    assert np.isnan(split_r2(np.ones((5, 1)), np.zeros((2, 5, 1)), np.ones(1))).all()
