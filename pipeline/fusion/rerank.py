"""k-reciprocal re-ranking, sparse and blocked. Pure functions.

Zhong, Zheng, Cao, Li: Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017; equations in brackets.
N items are the queries followed by the gallery. `D[i, j]` is the distance of two items, squared if so wanted, over the
largest of row i. R(i, k) are those of the k + 1 nearest of i that have i among their own k + 1 nearest [3]; it grows by
R(c, k/2) of each c in it whose members are to more than two thirds in R(i, k) [4]. An item is described by the weights
exp(-D) over that set, summing to one [7], averaged over its k2 nearest [11]; two items differ by the Jaccard distance
of their weights [10], and the result is (1 - lambda) * Jaccard + lambda * D [12].

No N x N matrix is made: distances come in blocks of rows (`Distances`) of which the nearest neighbours are kept, the
weights are sparse rows. The steps work on any rows of a table of neighbours, (N, k) with -1 for "none", so that one who
maintains such a table can describe and compare single items at a cost that does not depend on N.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from pipeline.fusion.distances import CosineDistances, Distances, MatrixDistances
from pipeline.types import Float32, Int64

PairDistance: TypeAlias = Callable[[Int64, Int64], Float32]

_GROUP = 16  # columns whose smallest value stands for all of them while the nearest are sought
_BLOCK_CELLS = 2_000_000  # cells of a dense block of rows
_SET_ROWS = 4096  # rows whose sets are built at once


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The nearest items of each of N, itself among them where nothing is nearer."""

    index: Int64  # (N, k) ascending in distance, ties to the lower item; -1: none
    largest: Float32  # (N,) what the row's distances are divided by


def k_reciprocal(
    query_gallery: npt.ArrayLike,
    query_query: npt.ArrayLike,
    gallery_gallery: npt.ArrayLike,
    k1: int = 20,
    k2: int = 6,
    *,
    lambda_value: float = 0.3,
    square: bool = True,
) -> Float32:
    """Re-ranked distances (Q, G) of distances (Q, G), (Q, Q) and (G, G), which are not copied and may be memory maps.

    `square` is the custom for Euclidean and cosine distances; st-ReID passes its 2 - 2S plain (`square=False`).
    """
    blocks = MatrixDistances(*map(np.asanyarray, (query_gallery, query_query, gallery_gallery)))
    return rerank(blocks, len(blocks.query_gallery), k1, k2, lambda_value=lambda_value, square=square)


def k_reciprocal_features(
    query_features: npt.ArrayLike,
    gallery_features: npt.ArrayLike,
    k1: int = 20,
    k2: int = 6,
    *,
    lambda_value: float = 0.3,
    square: bool = True,
) -> Float32:
    """Re-ranked distances (Q, G) of features (Q, D) and (G, D) under 2 - 2 cos, without a matrix of all distances."""
    distances = CosineDistances.of(query_features, gallery_features)
    return rerank(distances, len(np.asarray(query_features)), k1, k2, lambda_value=lambda_value, square=square)


def rerank(
    distances: Distances,
    num_queries: int,
    k1: int = 20,
    k2: int = 6,
    *,
    lambda_value: float = 0.3,
    square: bool = True,
) -> Float32:
    """Re-ranked distances (Q, G) of N items of which the first `num_queries` are the queries."""
    _check(distances, num_queries, k1, k2, lambda_value)
    out = np.empty((num_queries, distances.num_items - num_queries), np.float32)
    table = nearest(distances, max(k1 + 1, k2), square=square, keep=out)
    weights = describe(distances, table, k1, k2, square=square)
    gallery = weights[num_queries:].tocsc()
    for start, stop in _spans(num_queries, out.shape[1]):
        out[start:stop] *= lambda_value
        out[start:stop] += (1 - lambda_value) * jaccard_distance(weights[start:stop], gallery)
    return out


def rerank_top(
    distances: Distances,
    num_queries: int,
    num_best: int,
    k1: int = 20,
    k2: int = 6,
    *,
    lambda_value: float = 0.3,
    square: bool = True,
) -> tuple[Int64, Float32]:
    """The best of the gallery per query after re-ranking -> gallery rows (Q, num_best) and their distances, ascending.

    The same as sorting the rows of `rerank`, without a (Q, G) matrix; fewer columns where the gallery is smaller.
    """
    _check(distances, num_queries, k1, k2, lambda_value)
    num_gallery = distances.num_items - num_queries
    num_best = min(num_best, num_gallery)
    index = np.empty((num_queries, num_best), np.int64)
    best = np.empty((num_queries, num_best), np.float32)
    table = nearest(distances, max(k1 + 1, k2), square=square)
    weights = describe(distances, table, k1, k2, square=square)
    gallery = weights[num_queries:].tocsc()
    for start, stop in _spans(num_queries, distances.num_items):
        block = _scaled(distances.block(start, stop)[:, num_queries:], table.largest[start:stop, None], square)
        block *= lambda_value
        block += (1 - lambda_value) * jaccard_distance(weights[start:stop], gallery)
        index[start:stop] = smallest(block, num_best)
        best[start:stop] = np.take_along_axis(block, index[start:stop], axis=1)
    return index, best


def nearest(distances: Distances, k: int, *, square: bool = True, keep: Float32 | None = None) -> Neighbours:
    """The k nearest of every item; `keep` (Q, G) is filled with the scaled distances of the first Q to the rest."""
    total = distances.num_items
    index = np.empty((total, min(k, total)), np.int64)
    largest = np.empty(total, np.float32)
    for start, stop in _spans(total, total):
        block = distances.block(start, stop)
        if square:
            np.square(block, out=block)
        peak = block.max(axis=1)
        if np.isnan(peak).any():
            raise ValueError(f"the distances of item {start + int(np.isnan(peak).argmax())} hold NaN")
        largest[start:stop] = np.where(peak > 0, peak, 1)
        block /= largest[start:stop, None]
        index[start:stop] = smallest(block, index.shape[1])
        if keep is not None and start < len(keep):
            keep[start:stop] = block[: len(keep) - start, len(keep) :]
    return Neighbours(index, largest)


def describe(distances: Distances, table: Neighbours, k1: int = 20, k2: int = 6, *, square: bool = True) -> Any:
    """The weights of all N items, averaged over the k2 nearest of each: sparse (N, N) float32."""

    def scaled(rows: Int64, columns: Int64) -> Float32:
        return _scaled(distances.pairs(rows, columns), table.largest[rows], square)

    rows = np.arange(len(table.index))
    parts = [
        reciprocal_weights(table.index, rows[at : at + _SET_ROWS], scaled, k1) for at in range(0, len(rows), _SET_ROWS)
    ]
    weights = sparse.vstack(parts, format="csr") if parts else sparse.csr_array((0, 0), dtype=np.float32)
    return weights if k2 == 1 else average_rows(weights, table.index[:, :k2])


def reciprocal(index: Int64, rows: Int64, k: int) -> tuple[Int64, Int64]:
    """R(i, k) of the items `rows` (R,) -> (place in rows, member), aligned, ascending in the place. [3]

    index: (N, >= k + 1) nearest first, -1 for none.
    """
    near = index[rows, : k + 1]
    mutual = (index[:, : k + 1][near] == rows[:, None, None]).any(axis=2) & (near >= 0)
    place, at = np.nonzero(mutual)
    return place, near[place, at]


def reciprocal_weights(index: Int64, rows: Int64, distance: PairDistance, k1: int = 20) -> Any:
    """The weights of the items `rows` (R,) over all N: sparse (R, N) float32, each row sums to one. [3, 4, 7]

    index: (N, >= k1 + 1) nearest first, -1 for none; distance(items, others) gives scaled distances of pairs. A row is
    empty where an item has no reciprocal neighbour, not even itself.
    """
    place, member = reciprocal(index, rows, k1)
    candidates, candidate_of = np.unique(member, return_inverse=True)
    half_place, half_member = reciprocal(index, candidates, int(np.around(k1 / 2)))
    known, local = np.unique(np.concatenate((member, half_member)), return_inverse=True)
    sets = _pattern(place, local[: len(member)], (len(rows), len(known)))
    halves = _pattern(half_place, local[len(member) :], (len(candidates), len(known)))
    overlap = (sets @ halves.T).multiply(_pattern(place, candidate_of, (len(rows), len(candidates)))).tocoo()
    size = np.bincount(half_place, minlength=len(candidates))
    joins = 3 * overlap.data > 2 * size[overlap.col]
    joining = _pattern(overlap.row[joins], overlap.col[joins], (len(rows), len(candidates)))
    grown = (sets + joining @ halves).tocsr()
    grown.sort_indices()
    owner = np.repeat(np.arange(len(rows)), np.diff(grown.indptr))
    items = known[grown.indices]
    weight = np.exp(-distance(rows[owner], items))
    weight /= np.bincount(owner, weight, minlength=len(rows))[owner]
    return sparse.csr_array((weight.astype(np.float32), items, grown.indptr), shape=(len(rows), len(index)))


def average_rows(weights: Any, near: Int64) -> Any:
    """Mean of the rows `near` (R, k) of sparse `weights`, -1 left out: sparse (R, N) float32. [11]"""
    place, at = np.nonzero(near >= 0)
    share = (1 / np.maximum((near >= 0).sum(axis=1), 1)).astype(np.float32)[place]
    return sparse.csr_array((share, (place, near[place, at])), shape=(len(near), weights.shape[0])) @ weights


def jaccard_distance(left: Any, right: Any) -> Float32:
    """One minus shared over joint weight of sparse rows (A, N) and (B, N), `right` best as csc: (A, B) float32. [10]"""
    inverted = right.tocsc()
    num_left, num_right = left.shape[0], right.shape[0]
    owner = np.repeat(np.arange(num_left), np.diff(left.indptr))
    first, length = inverted.indptr[left.indices], np.diff(inverted.indptr)[left.indices]
    begins = np.cumsum(length) - length
    at = np.arange(int(length.sum())) + np.repeat(first - begins, length)  # all entries of all columns of `left`
    shared = np.minimum(np.repeat(left.data, length), inverted.data[at])
    cell = np.repeat(owner * num_right, length) + inverted.indices[at]
    overlap = np.bincount(cell, shared, minlength=num_left * num_right).reshape(num_left, num_right)
    return np.asarray(1 - overlap / (2 - overlap), np.float32)


def smallest(values: Float32, k: int) -> Int64:
    """(R, k) columns of the k smallest of each row of (R, C), ascending, ties to the lower column.

    The k groups of columns with the smallest minima hold the k smallest values; only those are sorted.
    """
    num_rows, num_columns = values.shape
    num_groups = num_columns // _GROUP
    if num_groups <= k:
        return _lowest_keys(values, np.broadcast_to(np.arange(num_columns), values.shape), k)
    lowest = values[:, : num_groups * _GROUP].reshape(num_rows, _GROUP, num_groups).min(axis=1)
    groups = np.argpartition(lowest, k - 1, axis=1)[:, :k]
    bound = np.take_along_axis(lowest, groups, axis=1).max(axis=1)
    members = (groups[:, :, None] + num_groups * np.arange(_GROUP)).reshape(num_rows, -1)
    rest = np.broadcast_to(np.arange(num_groups * _GROUP, num_columns), (num_rows, num_columns % _GROUP))
    columns = np.concatenate((members, rest), axis=1)
    chosen = _lowest_keys(np.take_along_axis(values, columns, axis=1), columns, k)
    tied = np.flatnonzero((lowest <= bound[:, None]).sum(axis=1) > k)  # a group left out may hold an equal value
    if len(tied):
        every = np.broadcast_to(np.arange(num_columns), (len(tied), num_columns))
        chosen[tied] = _lowest_keys(values[tied], every, k)
    return chosen


def _lowest_keys(values: Float32, columns: npt.NDArray[np.integer[Any]], k: int) -> Int64:
    """The columns of the k smallest (value, column) of each row, ascending: both in one integer that orders alike."""
    bits = (values.astype(np.float32) + np.float32(0)).view(np.int32).astype(np.int64)  # + 0: -0 equals 0
    ordered = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    keys = (ordered << 32) + columns
    return np.asarray(np.sort(keys, axis=1)[:, :k] & 0xFFFFFFFF, np.int64)


def _pattern(rows: Int64, columns: Int64, shape: tuple[int, int]) -> Any:
    return sparse.csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape=shape)


def _scaled(distance: Float32, largest: Float32, square: bool) -> Float32:
    return np.asarray((np.square(distance) if square else distance) / largest, np.float32)


def _spans(num_rows: int, num_columns: int) -> Iterator[tuple[int, int]]:
    """Runs of rows whose dense block stays within `_BLOCK_CELLS`."""
    step = max(1, _BLOCK_CELLS // max(num_columns, 1))
    for start in range(0, num_rows, step):
        yield start, min(start + step, num_rows)


def _check(distances: Distances, num_queries: int, k1: int, k2: int, lambda_value: float) -> None:
    if not 0 <= num_queries <= distances.num_items:
        raise ValueError(f"{num_queries} queries among {distances.num_items} items")
    if k1 < 1 or k2 < 1:
        raise ValueError(f"k1 is {k1} and k2 is {k2}, want at least 1")
    if not 0 <= lambda_value <= 1:
        raise ValueError(f"lambda_value is {lambda_value}, want the share of the plain distance, in [0, 1]")
