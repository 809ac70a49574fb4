"""The search against brute force in float64: ties, near ties, storage, blocks, bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from thalweg.errors import DataError, UsageError
from thalweg.neighbors import METRICS, NearestNeighbors, bounds, index, reduction

RNG = np.random.default_rng(0)
SCIPY = {"l1": "cityblock", "l2": "euclidean", "cosine": "cosine"}


@pytest.fixture
def summarised(monkeypatch):
    """Search through the summary, however few the rows."""
    monkeypatch.setattr(index, "_FEW", 0)


def brute(metric, queries, rows, k):
    """Float64 distances, and the first k in order of distance and number."""
    far = cdist(
        queries.reshape(len(queries), -1).astype(float), rows.reshape(len(rows), -1).astype(float), SCIPY[metric]
    )
    order = np.argsort(far, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(far, order, 1), order


def structured(count, dtype=np.uint8, width=128):
    """Rows near a plane of six dimensions, as images are, in whole numbers from 0 to 255."""
    generator = np.random.default_rng(1)
    smooth = generator.standard_normal((count, 6)) @ np.random.default_rng(2).standard_normal((6, width))
    values = 128 + 18 * smooth + 3 * generator.standard_normal((count, width))
    return np.clip(np.rint(values), 0, 255).astype(dtype)


@pytest.mark.usefixtures("summarised")
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("metric", ["l1", "l2"])
def test_whole_numbers_are_found_as_by_brute_force_with_all_ties(metric, dtype):
    # Of so few values many distances are equal, and whole numbers are exact in every type.
    rows, queries = (RNG.integers(0, 4, (count, 12)).astype(dtype) for count in (700, 20))
    distances, numbers = NearestNeighbors(metric).fit(rows).search(queries, 30)
    expected, order = brute(metric, queries, rows, 30)
    np.testing.assert_array_equal(numbers, order)
    np.testing.assert_allclose(distances, expected, rtol=1e-15)
    assert (np.diff(expected) == 0).sum() > 300  # the ties are there


@pytest.mark.usefixtures("summarised")
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("metric", METRICS)
def test_a_reduction_prunes_and_changes_nothing(metric, dtype, monkeypatch):
    rows, queries = structured(3000, dtype), structured(3300, dtype)[3000:3020]
    rows[2000:2100] = rows[:100]  # duplicates: the lower number comes first
    measured = []
    true = index.distances
    monkeypatch.setattr(
        index, "distances", lambda m, q, r, chosen: measured.append(len(chosen)) or true(m, q, r, chosen)
    )
    found = NearestNeighbors(metric).fit(rows)
    assert found._basis.shape[1] < 64
    queries[:3] = rows[[5, 50, 99]]
    distances, numbers = found.search(queries, 5)
    expected, order = brute(metric, queries, rows, 5)
    np.testing.assert_allclose(distances, expected, rtol=1e-9, atol=1e-12)  # SciPy forms 1 − cosine otherwise
    if metric != "cosine":
        np.testing.assert_array_equal(numbers, order)
    assert numbers[:3, :2].tolist() == [[5, 2005], [50, 2050], [99, 2099]]
    assert sum(measured) < 0.1 * len(rows) * len(queries)


def test_data_without_structure_is_not_reduced():
    noise = RNG.standard_normal((400, 120)).astype(np.float32)
    for metric in METRICS:
        assert reduction.choose_basis(metric, noise) is None
    assert reduction.choose_basis("l2", np.ones((400, 20), np.float32)) is None


@pytest.mark.usefixtures("summarised")
def test_what_float32_cannot_tell_apart_is_ordered_right():
    # Distances of 1 to 40 beside an offset of 2²⁸: float32 holds multiples of 32 there.
    steps = RNG.permutation(np.arange(1, 401))
    rows = np.full((400, 3), 2.0**28)
    rows[:, 0] += steps / 10
    for metric in ("l1", "l2"):
        distances, numbers = NearestNeighbors(metric).fit(rows).search(np.full((1, 3), 2.0**28), 40)
        np.testing.assert_array_equal(steps[numbers[0]], np.arange(1, 41))
        np.testing.assert_allclose(distances[0], np.arange(1, 41) / 10, rtol=1e-6)  # what float64 holds of the sum


@pytest.mark.usefixtures("summarised")
@pytest.mark.parametrize(
    ("metric", "scale"),
    [(metric, scale) for metric in METRICS for scale in (1e-30, 1.0, 1e30)]
    + [(metric, scale) for metric in ("l1", "cosine") for scale in (5e-324 * 2**60, 1e-200, 1e200)],
)
def test_any_scale_and_a_query_far_away(metric, scale):
    rows, queries = (RNG.standard_normal((count, 5)) for count in (300, 6))
    queries[0] *= 1e40  # beside the rows beyond float32
    distances, numbers = NearestNeighbors(metric).fit(scale * rows).search(scale * queries, 7)
    expected, order = brute(metric, queries, rows, 7)
    size = 1.0 if metric == "cosine" else scale
    np.testing.assert_allclose(distances / size, expected, rtol=1e-9, atol=1e-14)
    np.testing.assert_array_equal(numbers[1:], order[1:])  # so far away several rows are equally far, but for rounding


@pytest.mark.usefixtures("summarised")
@pytest.mark.parametrize("metric", METRICS)
def test_blocks_of_any_size_give_the_same(metric, monkeypatch):
    rows, queries = structured(700), structured(740)[700:]
    whole = NearestNeighbors(metric).fit(rows).search(queries, 9)
    monkeypatch.setattr(index, "_ROWS", 150)
    monkeypatch.setattr(index, "_QUERIES", 8)
    told = []
    split = NearestNeighbors(metric).fit(rows)
    assert len(split._blocks) == 5
    found = split.search(queries, 9, progress=lambda done, total: told.append((done, total)))
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    assert told == [(done, 40) for done in range(8, 41, 8)]


@pytest.mark.usefixtures("summarised")
@pytest.mark.parametrize("metric", METRICS)
def test_all_rows_can_be_asked_for(metric):
    rows, queries = structured(130), structured(133)[130:]
    distances, numbers = NearestNeighbors(metric).fit(rows).search(queries, 130)
    np.testing.assert_array_equal(np.sort(numbers), np.tile(np.arange(130), (3, 1)))
    np.testing.assert_allclose(distances, brute(metric, queries, rows, 130)[0], rtol=1e-9, atol=1e-12)


@settings(max_examples=30)
@given(
    st.sampled_from(METRICS),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 1e-3, 1.0]),
    st.booleans(),
)
def test_bounds_are_bounds(metric, seed, spread, reduced):
    """No bound lies above the distance in float64, of rows in a cloud as narrow as its rounding or a wide one."""
    generator = np.random.default_rng(seed)
    x, z = (
        (generator.uniform(-1, 1, (1, 96)) * (spread < 1) + spread * generator.standard_normal((count, 96)) / 4)
        .astype(np.float32)
        for count in (8, 128)
    )  # fmt: skip
    z[:8] = x
    basis = None
    if reduced and metric == "l1":
        basis = np.zeros((96, 8), np.float32)
        basis[np.arange(96), generator.integers(0, 8, 96)] = 1
    elif reduced:
        basis = np.linalg.qr(generator.standard_normal((96, 8)))[0].astype(np.float32)
    columns, offsets = bounds.represent(metric, z, basis)
    found, least = bounds.lower_bounds(metric, x, basis, columns.T[None], offsets[None], 4)
    true = cdist(x.astype(float), z.astype(float), "sqeuclidean" if metric == "l2" else SCIPY[metric])
    assert (np.asarray(found[0]) <= true + 1e-15).all()
    np.testing.assert_array_equal(least[0], np.asarray(found[0]).reshape(8, 4, 32).min(axis=1))
    if not reduced:
        # Without reduction only rounding separates them: the slack of 128 · 2⁻²⁴ times a few squared lengths.
        assert (true - found[0] < 40 * bounds.slack(96) * max(1.0, float((x**2).sum(1).max()), 96)).all()


@pytest.mark.parametrize("width", [257, 1000, 70_000])
def test_bytes_are_summed_without_overflow(width):
    rows = np.zeros((3, width), np.uint8)
    rows[1], rows[2, :10] = 255, 7
    query = np.full((1, width), 255, np.uint8)
    distances, numbers = NearestNeighbors("l1").fit(rows).search(query, 3)
    assert distances.tolist() == [[0, 255 * width - 70, 255 * width]]
    squares, _ = NearestNeighbors("l2").fit(rows).search(query, 3)
    np.testing.assert_allclose(squares**2, [[0, 255**2 * (width - 10) + 248**2 * 10, 255**2 * width]], rtol=1e-15)
    assert numbers.tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("count", [4, 1100])
def test_a_vector_of_zeros_is_at_cosine_distance_one(count):
    rows = RNG.standard_normal((count, 4))
    rows[2] = 0
    distances, numbers = NearestNeighbors("cosine").fit(rows).search(np.stack([np.zeros(4), rows[3] * 3]), count)
    assert (distances[0] == 1).all()
    np.testing.assert_array_equal(numbers[0], np.arange(count))
    assert numbers[1, 0] == 3
    assert distances[1, 0] < 1e-15
    assert distances[1][numbers[1] == 2] == 1


@pytest.mark.parametrize(
    ("storage", "given", "held"),
    [
        (None, np.uint8, np.uint8),
        (None, np.int64, np.float64),
        (None, bool, np.float64),
        ("uint8", np.float64, np.uint8),
        ("float16", np.uint8, np.float16),
        ("float32", np.float64, np.float32),
    ],
)
def test_storage_decides_what_is_held(storage, given, held):
    rows = (np.arange(12) % 2).reshape(6, 2).astype(given)
    found = NearestNeighbors(storage=storage).fit(rows)
    assert found.rows.dtype == held
    assert found.search(rows[:1], 1)[0][0, 0] == 0


def test_both_sides_are_rounded_to_what_is_held():
    rows = RNG.standard_normal((50, 3))
    distances, numbers = NearestNeighbors(storage="float16").fit(rows).search(rows, 1)
    assert (distances == 0).all()
    np.testing.assert_array_equal(numbers[:, 0], np.arange(50))


def test_rows_are_referred_to_and_images_are_flattened():
    images = RNG.integers(0, 256, (30, 4, 4, 3), dtype=np.uint8)
    images.setflags(write=False)
    found = NearestNeighbors("l1").fit(images)
    assert np.shares_memory(found.rows, images)
    assert len(found) == 30
    np.testing.assert_array_equal(found.search(images, 1)[1][:, 0], np.arange(30))
    assert found.search(images[:0], 2)[0].shape == (0, 2)


@pytest.mark.usefixtures("summarised")
def test_an_interruption_leaves_the_index_as_it_was(monkeypatch):
    monkeypatch.setattr(index, "_QUERIES", 8)
    found = NearestNeighbors().fit(structured(200))
    before = found.search(structured(40), 3)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found.search(structured(40), 3, progress=interrupt)
    np.testing.assert_array_equal(found.search(structured(40), 3)[1], before[1])


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: NearestNeighbors("euclidean"), UsageError, "metric is 'euclidean'"),
        (lambda: NearestNeighbors(storage="int8"), UsageError, "storage is 'int8'"),
        (lambda: NearestNeighbors().search(np.ones((1, 2)), 1), UsageError, "call fit first"),
        (lambda: NearestNeighbors().fit(np.ones(3)), DataError, r"shape \(N, D\)"),
        (lambda: NearestNeighbors().fit(np.array([["a"]])), DataError, "give numbers"),
        (lambda: NearestNeighbors().fit(np.ones((0, 3))), DataError, "nothing in them"),
        (lambda: NearestNeighbors().fit(np.array([[1.0], [np.nan]])), DataError, "example 1 holds NaN"),
        (lambda: NearestNeighbors("l2", "uint8").fit(np.array([[1.0], [0.5]])), DataError, "example 1 holds 0.5"),
        (lambda: NearestNeighbors("l2", "uint8").fit(np.array([[256]])), DataError, "holds 256"),
        (lambda: NearestNeighbors("l2", "float16").fit(np.array([[1e6]])), DataError, "range of float16"),
        (lambda: NearestNeighbors().fit(np.ones((2, 3))).search(np.ones((1, 2)), 1), DataError, r"shape \(2,\)"),
        (lambda: NearestNeighbors().fit(np.ones((2, 3))).search(np.ones((1, 3)), 3), UsageError, "holds 2 rows"),
        (lambda: NearestNeighbors().fit(np.ones((2, 3))).search(np.ones((1, 3)), 0), UsageError, "k is 0"),
        (lambda: NearestNeighbors().fit(np.ones((2, 3))).search(np.ones((1, 3)), 1.0), UsageError, "k is 1.0"),
    ],
)
def test_bad_input_is_named(act, error, message):
    with pytest.raises(error, match=message):
        act()


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_squares_beyond_float64_are_refused(scale):
    rows = np.random.default_rng(0).standard_normal((9, 3)) * scale
    with pytest.raises(DataError, match="square float64 does not hold"):
        NearestNeighbors("l2").fit(rows)
    distances, _ = NearestNeighbors("l1").fit(rows).search(rows, 1)
    np.testing.assert_array_equal(distances, 0)
