"""The index: rows kept as they are, a float32 summary of them, and the exact search through both."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeAlias

import numpy as np

from thalweg.errors import DataError, UsageError
from thalweg.fields import check_integer, check_option
from thalweg.neighbors.metrics import METRICS, distances, finished
from thalweg.neighbors.reduction import SAMPLE, choose_basis

__all__ = ["STORAGES", "NearestNeighbors", "Progress"]

Progress: TypeAlias = Callable[[int, int], None]
"""What is called as queries are answered, with (queries done, queries in all)."""

STORAGES = ("uint8", "float16", "float32", "float64")
_FEW = 1024  # so many rows are compared with every query outright: there is no summary, and nothing to compile
_QUERIES = 256  # in a block; see bounds.TILES
_ROWS = 1 << 16  # stored rows in a block: with their bounds, 64 MiB a worker
_GROUP = 16  # bounds of which only the least is looked at first
_SPARE = 4  # groups to each neighbour that is asked for; with fewer, groups are single bounds


class NearestNeighbors:
    """The k nearest stored rows of each query, exactly.

    Arguments:
        metric: ``l1`` Σ|x − z|, ``l2`` √Σ(x − z)², or ``cosine`` 1 − x·z/(‖x‖‖z‖).
        storage: the type that rows and queries are held in: ``uint8``, ``float16``, ``float32`` or ``float64``.
            None keeps uint8 and floating-point numbers as they come and takes all others for float64.
            ``float16`` rounds both sides; ``uint8`` refuses what is no whole number from 0 to 255.

    Exact means: the neighbours are those that float64 distances between the held numbers give (of uint8, whole
    numbers), and of rows equally far the first come first. How: a float32 summary of every row bounds its distance
    from below, rounding counted in; the k rows with the least bounds are measured in float64; so is every further
    row whose bound does not rule it out. The summary is a projection on principal axes (L2, cosine) or sums of
    groups of features (L1), where a sample says that this is less work than all features. So it saves the more, the
    more the features move together; data without any structure is compared number by number.

    Memory: the rows, which are referred to and not copied where their type is right, and 4 bytes for each number of
    the summary (at most 258 a row where it is reduced; otherwise one for each feature). Work is spread over all cores.

    After Ctrl-C in `search` the index serves as before.

    >>> index = NearestNeighbors("l1").fit(np.array([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]]))
    >>> index.search(np.array([[1.0, 2.0]]), 2)
    (array([[1., 3.]]), array([[1, 0]]))
    """

    def __init__(self, metric: str = "l2", storage: str | None = None) -> None:
        check_option("NearestNeighbors", "metric", metric, METRICS)
        if storage is not None:
            check_option("NearestNeighbors", "storage", storage, STORAGES)
        self.metric = metric
        self.storage = storage
        self._rows: np.ndarray | None = None
        self._shape: tuple[int, ...] = ()
        self._blocks: list[_Block] = []

    def fit(self, features: Any) -> NearestNeighbors:
        """Hold the rows of features (N, *shape), and return the index itself.

        Raises a DataError for what is no finite number, or does not fit the storage.
        """
        rows = self._held("features", features)
        if len(rows) == 0 or rows.shape[1] == 0:
            raise DataError(f"features have shape {np.shape(features)}: there is nothing in them")
        self._shape = tuple(np.shape(features)[1:])
        self._rows = rows
        self._blocks = []
        if len(rows) > _FEW:
            self._summarise(rows)
        return self

    @property
    def rows(self) -> np.ndarray:
        """The rows held, (N, D)."""
        if self._rows is None:
            raise UsageError("NearestNeighbors holds no rows yet: call fit first")
        return self._rows

    def __len__(self) -> int:
        return len(self.rows)

    def search(self, queries: Any, k: int, *, progress: Progress | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return distances (Q, k), float64, and row numbers (Q, k), int64, nearest first.

        ``queries`` are (Q, *shape), and converted to what the rows are held in. Rows equally far come in the order
        of their numbers. progress is called with (queries done, queries in all); what it raises ends the work.
        """
        rows = self.rows
        check_integer("search", "k", k, least=1)
        if k > len(rows):
            raise UsageError(f"search: k is {k}, and the index holds {len(rows)} rows; give at most that")
        held = self._held("queries", queries)
        if held.shape[1] != rows.shape[1]:
            raise DataError(
                f"queries have shape {tuple(np.shape(queries)[1:])} an example, the rows have {self._shape}: give "
                "queries of that shape"
            )
        found = np.empty((len(held), k)), np.empty((len(held), k), np.int64)
        size = self._rows_at_a_time(len(held))
        parts = list(_parts(len(held), size))

        def work(part: slice) -> int:
            found[0][part], found[1][part] = self._search(held[part], k, size)
            return part.stop - part.start

        done = 0
        pool = ThreadPoolExecutor(min(_cores(), max(1, len(parts))))
        try:
            for future in as_completed([pool.submit(work, part) for part in parts]):
                done += future.result()
                if progress is not None:
                    progress(done, len(held))
        finally:
            pool.shutdown(cancel_futures=True)
        return finished(self.metric, found[0]), found[1]

    def _held(self, name: str, features: Any) -> np.ndarray:
        """Return the features as (N, D) in the type that is held."""
        array = np.asarray(features)
        if array.ndim < 2 or array.dtype.kind not in "uifb":
            raise DataError(
                f"{name} are {array.dtype} {array.shape}; give numbers of shape (N, D) or (N, height, width, channels)"
            )
        flat = array.reshape(len(array), math.prod(array.shape[1:]))
        if name == "features":
            kept = self.storage or (array.dtype.name if array.dtype.name in STORAGES else "float64")
        else:
            kept = self.rows.dtype.name
        held = _converted(name, flat, kept, self.storage)
        if self.metric == "l2" and held.dtype == np.float64:
            _check_squares(name, held)
        return held

    def _rows_at_a_time(self, count: int) -> int:
        """So many queries a block that every core has one; few sizes, since each compiles anew."""
        share = max(1, -(-count // _cores()))
        return min(_QUERIES, max(8, 1 << (share - 1).bit_length()))

    def _summarise(self, rows: np.ndarray) -> None:
        chosen = np.sort(np.random.default_rng(0).choice(len(rows), min(SAMPLE, len(rows)), replace=False))
        sample = rows[chosen].astype(np.float64)
        centre = np.zeros(rows.shape[1]) if self.metric == "cosine" else sample.mean(axis=0)
        largest = max(abs(float(rows.min())), abs(float(rows.max())))
        self._centre = centre
        # A power of 2, so that scaling rounds nothing: centred rows lie within twice the largest number.
        self._scale = 2.0 ** min(1000, -1 - math.frexp(largest)[1])
        shown = self._prepared(rows[chosen])
        if self.metric == "cosine":
            shown = shown / np.maximum(np.linalg.norm(shown, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        self._basis = choose_basis(self.metric, np.random.default_rng(1).permutation(shown))
        count = -(-len(rows) // _ROWS)
        self._blocks = [_Block(self, rows, part) for part in _parts(len(rows), -(-len(rows) // count))]

    def _prepared(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows centred and scaled to at most 1, in float32; for ``cosine`` each by its own largest entry."""
        if self.metric == "cosine":
            exact = rows.astype(np.float64)
            return (exact / np.maximum(np.abs(exact).max(axis=1, keepdims=True), 1e-300)).astype(np.float32)
        # The centre is one and the same for all, so it need not be exact; rounding after it is counted in.
        kind = np.float64 if rows.dtype == np.float64 else np.float32
        with np.errstate(over="ignore", invalid="ignore"):  # a query far outside of the data: its bounds know nothing
            values: Any = rows.astype(kind)
            values -= self._centre.astype(kind)[None]
            values *= kind(self._scale)
            return np.asarray(values, np.float32)

    def _as_bound(self, limit: float) -> float:
        """Return a distance, as rows are ordered by it, on the bounds' scale: the next float32 upwards."""
        for _ in range({"l1": 1, "l2": 2, "cosine": 0}[self.metric]):  # L2 orders by squares, cosines know no scale
            limit *= self._scale
        with np.errstate(over="ignore"):
            return float(np.nextafter(np.float32(limit), np.float32(np.inf)))

    def _search(self, queries: np.ndarray, k: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Search for one block of queries, filled up to a size."""
        found = [_Nearest(self.metric, query, self.rows, k) for query in queries]
        if not self._blocks:
            for one in found:
                one.measure(np.arange(len(self.rows)))
        else:
            filled = np.zeros((size, queries.shape[1]), np.float32)
            filled[: len(queries)] = self._prepared(queries)
            for block in self._blocks:
                block.search(filled, found)
        return np.stack([one.distances for one in found]), np.stack([one.numbers for one in found])


class _Nearest:
    """The k nearest rows of one query among those measured so far."""

    def __init__(self, metric: str, query: np.ndarray, rows: np.ndarray, k: int) -> None:
        self.metric, self.query, self.rows, self.k = metric, query, rows, k
        self.distances = np.empty(0)
        self.numbers = np.empty(0, np.int64)

    @property
    def limit(self) -> float:
        """How far the k-th nearest row is; infinitely, while there are fewer."""
        return float(self.distances[-1]) if len(self.distances) == self.k else math.inf

    def measure(self, numbers: np.ndarray) -> None:
        """Measure rows that were not measured before, and keep the k nearest."""
        far = distances(self.metric, self.query, self.rows, numbers)
        if len(self.numbers):
            far, numbers = np.concatenate([self.distances, far]), np.concatenate([self.numbers, numbers])
        order = np.lexsort((numbers, far))[: self.k]
        self.distances, self.numbers = far[order], numbers[order]


class _Block:
    """The summary of up to 65,536 rows, and the search among these."""

    def __init__(self, index: NearestNeighbors, rows: np.ndarray, part: slice) -> None:
        import jax.numpy as jnp  # an index of few rows needs no JAX, and its import takes a second

        from thalweg.neighbors.bounds import FAR, TILES, represent

        self._index = index
        self._first, self._count = part.start, part.stop - part.start
        self._group = _GROUP
        tile = min(TILES[index.metric], -(-self._count // 128) * 128)
        own = rows[part]
        pieces = [represent(index.metric, index._prepared(own[piece]), index._basis) for piece in _pieces(own)]
        columns = np.concatenate([np.asarray(piece[0]) for piece in pieces])
        tiles = -(-self._count // tile)
        filled = np.zeros((tiles * tile, columns.shape[1]), np.float32)
        filled[: self._count] = columns
        offsets = np.full(tiles * tile, FAR, np.float32)
        offsets[: self._count] = np.concatenate([np.asarray(piece[1]) for piece in pieces])
        self._tiles = jnp.asarray(filled.reshape(tiles, tile, -1).transpose(0, 2, 1))
        self._offsets = jnp.asarray(offsets.reshape(tiles, tile))

    def search(self, queries: np.ndarray, found: list[_Nearest]) -> None:
        """Add this block's rows to what was found of each query."""
        from thalweg.neighbors.bounds import lower_bounds

        index = self._index
        k = found[0].k
        group = _GROUP if self._offsets.size >= _SPARE * k * _GROUP else 1
        bounds, least = (
            np.asarray(a) for a in lower_bounds(index.metric, queries, index._basis, self._tiles, self._offsets, group)
        )
        for row, one in enumerate(found):
            own = _Bounds(bounds[:, row], least[:, row], self._first, self._count)
            reach = own.smallest(k)
            reach = min(reach, index._as_bound(one.limit))
            one.measure(own.within(reach))
            limit = index._as_bound(one.limit)
            if limit > reach and len(rest := own.within(limit, above=reach)):
                one.measure(rest)


class _Bounds:
    """One query's bounds (tiles, T), and the least of each group (tiles, T/group)."""

    def __init__(self, bounds: np.ndarray, least: np.ndarray, first: int, count: int) -> None:
        self._bounds = bounds.reshape(len(bounds), -1, least.shape[1])  # (tiles, group, T/group)
        self._least, self._first, self._count = least, first, count

    def smallest(self, k: int) -> float:
        """A number that at least k bounds do not pass: the k-th smallest of the groups' least."""
        flat = self._least.ravel()
        return float(np.partition(flat, k - 1)[k - 1]) if len(flat) >= k else math.inf

    def within(self, limit: float, *, above: float | None = None) -> np.ndarray:
        """The numbers of the rows with bound <= limit, and bound > above."""
        tile, place = np.nonzero(self._least <= np.float32(limit))
        bounds = self._bounds[tile, :, place]  # (groups, group)
        inside = bounds <= np.float32(limit)
        if above is not None:
            inside &= bounds > np.float32(above)
        which, step = np.nonzero(inside)
        width = self._least.shape[1]
        numbers = tile[which] * (width * self._bounds.shape[1]) + step * width + place[which]
        return self._first + numbers[numbers < self._count]


def _converted(name: str, flat: np.ndarray, kept: str, asked: str | None) -> np.ndarray:
    """Return checked rows (N, D) in the type that is held, as they are where that is theirs."""
    if flat.dtype.kind == "f":
        for part in _pieces(flat):
            if len(wrong := np.flatnonzero(~np.isfinite(flat[part]).all(axis=1))):
                number = part.start + wrong[0]
                raise DataError(f"{name}: example {number} holds NaN or infinity; mend it or leave it out")
    if kept == "uint8" and flat.dtype != np.uint8:
        places = np.argwhere((flat < 0) | (flat > 255) | (flat != np.floor(flat)))
        if len(places):
            row, column = places[0]
            raise DataError(
                f"{name}: example {row} holds {flat[row, column]}, and rows are held as uint8: give whole numbers "
                f"from 0 to 255, or {'' if asked else 'fit with '}storage='float32'"
            )
    with np.errstate(over="ignore"):
        held: np.ndarray = np.ascontiguousarray(flat, dtype=kept)
    if held.dtype.kind == "f" and flat.dtype != held.dtype and not np.isfinite(held).all():
        raise DataError(f"{name} leave the range of {kept}: rescale them, or give storage='float64'")
    return held


def _check_squares(name: str, rows: np.ndarray) -> None:
    """Refuse numbers whose squares leave float64: as 0 or infinity they would tie what is not equally far."""
    largest = max(-float(rows.min(initial=0)), float(rows.max(initial=0)))
    if largest > 1e150 or 0 < largest < 1e-150:
        raise DataError(f"{name} are as large as {largest:.3g}, whose square float64 does not hold: rescale them")


def _parts(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _pieces(rows: np.ndarray) -> Iterator[slice]:
    """Pieces of rows of about a million numbers."""
    return _parts(len(rows), max(1, (1 << 20) // max(1, rows.shape[1])))


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
