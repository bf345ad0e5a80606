"""Sign flips against scipy, and against listing."""

import numpy as np
import pytest
from scipy import stats

from neurolens.errors import InputError
from neurolens.numerics.signflip import compute_signflip_test, draw_signs


def test_few_subjects_list_every_flip_once():
    signs = draw_signs(5, 1, seed=0)
    assert len({tuple(row) for row in signs}) == 2**5 - 1
    assert draw_signs(20, 50, seed=0).shape == (50, 20)
    with pytest.raises(InputError, match="n_flips"):
        draw_signs(5, 0, seed=0)


def test_equals_scipys_paired_permutation_test():
    scores = np.random.default_rng(0).standard_normal((3, 8)) + 0.4
    p, p_max, n = compute_signflip_test(scores, n_flips=1, seed=0)
    for row, value in zip(scores, p, strict=True):
        wanted = stats.permutation_test(
            (row,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="greater"
        )
        assert value == pytest.approx(wanted.pvalue)
    assert (p_max >= p).all()
    assert n == 2**8 - 1


def test_a_missing_score_has_no_p():
    p, p_max, _ = compute_signflip_test(np.array([[0.1, 0.2, 0.3], [np.nan, 0.1, 0.2]]), n_flips=1, seed=0)
    assert np.isnan([p[1], p_max[1]]).all()
    assert p[0] == p_max[0] == 1 / 8
