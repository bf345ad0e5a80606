"""Dissimilarities against scipy, and the mathematics they must obey."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from neurolens.errors import InputError
from neurolens.numerics import gram
from neurolens.numerics.distances import compute_rdm, find_undefined
from neurolens.numerics.gram import Tile, plan_tile

SCIPY = ["correlation", "cosine", "euclidean", "sqeuclidean"]  # the metrics that scipy has under these names
SHAPES = [(5, 3), (12, 200), (40, 17), (3, 3 * gram.MAX_WIDTH + 5)]  # the last needs several blocks


def draw(shape, seed=0, dtype=np.float64, offset=0.0):
    return (np.random.default_rng(seed).standard_normal(shape) + offset).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("metric", SCIPY)
def test_equals_scipy(metric, shape):
    patterns = draw(shape, offset=0.3)
    np.testing.assert_allclose(compute_rdm(patterns, metric), squareform(pdist(patterns, metric)), rtol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("metric", SCIPY)
def test_float32_with_an_offset_equals_float64_of_the_same_values(metric, offset):
    patterns = draw((20, 3000), dtype=np.float32, offset=offset)
    got = compute_rdm(patterns, metric)
    assert got.dtype == np.float32
    want = squareform(pdist(patterns.astype(np.float64), metric))
    np.testing.assert_allclose(got, want, rtol=2e-5)


def test_float32_resolves_patterns_that_are_nearly_the_same():
    shared, own = draw((1, 5000)), draw((15, 5000), seed=1)
    patterns = (shared + 1e-3 * own).astype(np.float32)  # correlations of about .999999
    want = squareform(pdist(patterns.astype(np.float64), "correlation"))
    assert want.max() < 2e-6
    np.testing.assert_allclose(compute_rdm(patterns, "correlation"), want, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1e15], ids=str)
@pytest.mark.parametrize("metric", SCIPY)
def test_float32_of_extreme_size_neither_under_nor_overflows(metric, scale):
    patterns = (draw((6, 50)) * scale).astype(np.float32)
    got = compute_rdm(patterns, metric).astype(np.float64)
    want = squareform(pdist(patterns.astype(np.float64), metric))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-45)


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.uint8, bool])
def test_other_dtypes_are_widened(dtype):
    patterns = (draw((8, 60)) > 0).astype(dtype)
    got = compute_rdm(patterns, "correlation")
    assert got.dtype == (np.float32 if dtype == np.float16 else np.float64)
    np.testing.assert_allclose(got, squareform(pdist(patterns.astype(float), "correlation")), atol=1e-6)


@pytest.mark.parametrize("metric", SCIPY)
def test_symmetric_zero_diagonal_and_equivariant_to_order(metric):
    patterns = draw((9, 30))
    order = np.random.default_rng(2).permutation(9)
    rdm = compute_rdm(patterns, metric)
    assert (rdm == rdm.T).all()
    assert (np.diag(rdm) == 0).all()
    np.testing.assert_allclose(compute_rdm(patterns[order], metric), rdm[np.ix_(order, order)], rtol=1e-12)


@pytest.mark.parametrize(
    ("metric", "row", "undefined"),
    [
        ("correlation", [0.1, 0.1, 0.1], True),
        ("correlation", [0.0, 0.0, 0.0], True),
        ("cosine", [0.0, 0.0, 0.0], True),
        ("cosine", [0.1, 0.1, 0.1], False),
        ("euclidean", [0.0, 0.0, 0.0], False),
        ("sqeuclidean", [np.nan, 0.0, 1.0], True),
        ("euclidean", [np.inf, 0.0, 1.0], True),
        ("correlation", [np.nan, 0.0, 1.0], True),
    ],
)
def test_a_pattern_without_distance_is_nan_and_spoils_no_other(metric, row, undefined):
    others = draw((4, 3))
    patterns = np.vstack([others[:2], row, others[2:]])
    rdm = compute_rdm(patterns, metric)
    np.testing.assert_array_equal(find_undefined(patterns, metric), [False, False, undefined, False, False])
    rest = [0, 1, 3, 4]
    np.testing.assert_allclose(rdm[np.ix_(rest, rest)], squareform(pdist(others, metric)), rtol=1e-9)
    assert np.isnan(rdm[2, rest]).all() == undefined
    assert np.isnan(rdm[rest, 2]).all() == undefined


@pytest.mark.parametrize(
    ("patterns", "metric", "says"),
    [
        (np.zeros((3, 2, 2)), "cosine", "must be a matrix"),
        (np.zeros((3, 0)), "cosine", "with features"),
        (np.zeros((3, 2), dtype=complex), "cosine", "real numbers"),
        (np.zeros((3, 2)), "correlaton", "Did you mean 'correlation'"),
    ],
)
def test_what_has_no_answer_is_refused(patterns, metric, says):
    with pytest.raises(InputError, match=says):
        compute_rdm(patterns, metric)


def draw_covariance(n_features, seed=9):
    half = np.random.default_rng(seed).standard_normal((n_features, n_features + 3))
    return half @ half.T / n_features


def toolbox_rdm(patterns, metric, **options):
    """A square RDM by rsatoolbox; conditions are numbered so that its alphabetical order is ours."""
    calc = pytest.importorskip("rsatoolbox.rdm")
    data = pytest.importorskip("rsatoolbox.data")
    dataset = data.Dataset(patterns, obs_descriptors={"c": np.arange(len(patterns))})
    return calc.calc_rdm(dataset, method=metric, **options).get_matrices()[0]


def test_mahalanobis_equals_rsatoolbox_and_scipy():
    patterns, covariance = draw((7, 12), offset=3), draw_covariance(12)
    precision = np.linalg.inv(covariance)
    got = compute_rdm(patterns, "mahalanobis", noise=covariance)
    np.testing.assert_allclose(got, toolbox_rdm(patterns, "mahalanobis", noise=precision), atol=1e-10)
    np.testing.assert_allclose(
        got * 12, squareform(pdist(patterns, "mahalanobis", VI=precision)) ** 2, atol=1e-9
    )


def test_mahalanobis_with_variances_is_the_diagonal_case():
    patterns, variances = draw((7, 12)), np.random.default_rng(1).random(12) + 0.5
    want = compute_rdm(patterns, "mahalanobis", noise=np.diag(variances))
    np.testing.assert_allclose(compute_rdm(patterns, "mahalanobis", noise=variances), want, rtol=1e-12)


def test_poisson_equals_rsatoolbox_and_its_sum():
    rates = np.abs(draw((8, 30))) * 5
    got = compute_rdm(rates, "poisson")
    np.testing.assert_allclose(got, toolbox_rdm(rates, "poisson"), atol=1e-10)
    with_prior = (rates + 0.1) / 1.1
    a, b = with_prior[2], with_prior[5]
    assert got[2, 5] == pytest.approx(((a - b) * (np.log(a) - np.log(b))).sum() / 30, abs=1e-12)


def test_negative_rates_have_no_poisson_distance():
    rates = np.abs(draw((5, 9)))
    rates[3, 2] = -0.05
    np.testing.assert_array_equal(find_undefined(rates, "poisson"), np.arange(5) == 3)
    assert np.isnan(compute_rdm(rates, "poisson")[3, :3]).all()


def test_normalized_by_features_is_rsatoolbox_euclidean():
    patterns = draw((6, 50))
    got = compute_rdm(patterns, "sqeuclidean", normalize="features")
    np.testing.assert_allclose(got, toolbox_rdm(patterns, "euclidean"), atol=1e-10)
    np.testing.assert_allclose(compute_rdm(patterns, "euclidean", normalize="features") ** 2, got, rtol=1e-12)


def test_correlation_equals_rsatoolbox():
    patterns = draw((9, 40), offset=5)
    np.testing.assert_allclose(compute_rdm(patterns), toolbox_rdm(patterns, "correlation"), atol=1e-10)


class Disk:
    """Patterns that count what is read of them."""

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.n_read, self.largest = 0, 0

    def __getitem__(self, key):
        part = self.values[key]
        self.n_read += part.size
        self.largest = max(self.largest, part.size)
        return part


@pytest.mark.parametrize("tile", [Tile(11, 64), Tile(4, 1000), Tile(1, 1000), Tile(11, 1)], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("metric", SCIPY)
def test_reading_by_tiles_changes_nothing(metric, dtype, tile):
    patterns = draw((11, 1000), dtype=dtype, offset=100)
    patterns[4] = np.nan
    disk = Disk(patterns)
    got = compute_rdm(disk, metric, tile=tile)
    assert disk.largest <= max(tile.rows * tile.columns, 1000)  # a whole row is read where one is in doubt
    tolerance = 1e-9 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(got, compute_rdm(patterns, metric), rtol=tolerance)


@pytest.mark.parametrize(
    ("shape", "memory", "chunk", "want"),
    [
        ((100, 1000), 10**9, (1, 1), "everything"),
        ((10_000, 1_000_000), 4 * 10**9, (1, 1_000_000), "tiles"),  # a stimulus is one chunk
        ((10_000, 1_000_000), 4 * 10**9, (10_000, 1000), "slabs"),  # cut along features
    ],
)
def test_the_plan_reads_what_is_cheapest(shape, memory, chunk, want):
    tile = plan_tile(shape, 4, memory, chunk=chunk)
    kinds = {(True, True): "everything", (False, True): "tiles", (True, False): "slabs"}
    assert kinds[tile.rows == shape[0], tile.columns == shape[1]] == want
    assert tile.rows * tile.columns * 12 <= memory


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("metric", [*SCIPY, "poisson"])
def test_torch_gives_the_same_numbers(metric, dtype):
    patterns = np.abs(draw((9, 300), dtype=dtype))
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    want = compute_rdm(patterns, metric)
    for tile in (None, Tile(4, 300)):
        np.testing.assert_allclose(
            compute_rdm(patterns, metric, tile=tile, device="cpu"), want, rtol=tolerance
        )


def test_an_unknown_device_is_named():
    with pytest.raises(InputError, match="abacus"):
        compute_rdm(draw((4, 5)), device="abacus")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"metric": "mahalanobis"}, "noise_covariance"),
        ({"metric": "cosine", "noise": np.eye(5)}, "no meaning for metric='cosine'"),
        ({"metric": "cosine", "normalize": "features"}, "'euclidean' and 'sqeuclidean' only"),
        ({"metric": "euclidean", "normalize": "feature"}, "Did you mean 'features'"),
        ({"metric": "mahalanobis", "noise": np.eye(4)}, r"shape \(4, 4\)"),
        ({"metric": "mahalanobis", "noise": np.diag([1.0, 1, 1, 1, -1])}, "not positive definite"),
        ({"metric": "mahalanobis", "noise": np.ones((5, 5))}, "cannot be inverted"),
        ({"metric": "mahalanobis", "noise": np.triu(np.ones((5, 5)))}, "not symmetric"),
        ({"metric": "mahalanobis", "noise": np.full((5, 5), np.nan)}, "NaN"),
        ({"metric": "mahalanobis", "noise": np.zeros(5)}, "must be positive"),
        ({"metric": "crossnobis"}, "compares runs"),
    ],
)
def test_options_without_an_answer_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        compute_rdm(draw((4, 5)), **options)


def test_values_whose_squares_are_no_numbers_are_refused():
    with pytest.raises(InputError, match="Pattern 1 has values"):
        compute_rdm(np.array([[1.0, 2, 3], [1e200, 2e200, 0], [3, 1, 2]]))
