"""The faces of the identities: a few vectors for each, searched for the identities that look most alike.

A flat table. Up to 2,048 vectors it is searched exactly, by `faiss.knn`: one core takes 17 us for 100 vectors (512-d)
and 1 ms for 10,000. Beyond that a `VectorIndex` names the rows to compare exactly, at a cost that grows no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np

from pipeline.fusion.number_table import NumberTable
from pipeline.fusion.vector_index import VectorIndex, grow
from pipeline.types import BoolMask, Float32, Float64, Int64

_FIRST_ROWS = 64
_MOST_GROWTH = 4096  # rows added at once, until that is less than a 64th of all
_EXACT_ROWS = 2048


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """What came out of comparisons of vectors with exemplars (N,)."""

    pair: Int64  # for which of the pairs that were asked for, ascending
    one: Int64  # row of the vector
    camid: Int64  # of the exemplar
    cosine: Float32
    coherence: Float64  # how much alike the clips of the exemplar are: length of their mean, 1 if all are equal


class Gallery:
    """Exemplars of identities: one vector per identity and camera, the sum of all that was added to it, normalised.

    An identity has at most `num_exemplars` of them; a further camera joins the exemplar that it resembles most.
    Memory is bounded by the identities that are in it; rows are used again. With D numbers a vector takes 4 D bytes
    here and 1.5 D in the index, an identity 20 and 4 for each exemplar that it may have.
    """

    def __init__(self, dim: int, num_exemplars: int, *, exact_rows: int = _EXACT_ROWS) -> None:
        """exact_rows: up to so many vectors a search looks at all of them in full."""
        self.dim = dim
        self.num_exemplars = num_exemplars
        self._exact_rows = exact_rows
        self._rows = NumberTable(num_exemplars)  # of each identity
        self._num_vectors = 0
        self._free: list[int] = []
        self._vector: Float32 = np.zeros((_FIRST_ROWS, dim), np.float32)
        self._length: Float64 = np.zeros(_FIRST_ROWS)  # of the sum, before it was normalised
        self._weight: Float64 = np.zeros(_FIRST_ROWS)  # of all clips in the sum
        self._camid: Int64 = np.full(_FIRST_ROWS, -1, np.int64)
        self._global_id: Int64 = np.zeros(_FIRST_ROWS, np.int64)
        self._num_rows = 0  # rows from here on were never used
        self._index = VectorIndex(dim)

    def __len__(self) -> int:
        """How many identities have an exemplar."""
        return len(self._rows)

    def __contains__(self, global_id: int) -> bool:
        return bool(self._rows_of(global_id))

    @property
    def num_vectors(self) -> int:
        return self._num_vectors

    def add(self, global_id: int, camid: int, vector_sum: Float32, weight: float | None = None) -> None:
        """Add `vector_sum` (D,), a weighted sum of clip vectors seen by one camera, to an identity.

        weight: the sum of their weights; by default the length of `vector_sum`, as if they were all alike.
        """
        weight = float(np.linalg.norm(vector_sum)) if weight is None else weight
        if not vector_sum.any():
            return
        rows = self._rows_of(global_id)
        own = self._camid[rows].tolist() if rows else []
        if camid in own:
            row = rows[own.index(camid)]
        else:
            if len(rows) < self.num_exemplars:
                row = self._open()
                self._global_id[row], self._camid[row] = global_id, camid
                self._rows.put(global_id, len(rows), row)
                self._weight[row] = weight
                self._set(row, vector_sum)
                return
            row = rows[int(np.argmax(self._vector[rows] @ vector_sum))]
        self._weight[row] += weight
        self._set(row, self._vector[row] * self._length[row] + vector_sum)

    def remove(self, global_id: int) -> None:
        """Forget an identity; without effect if it has no exemplar."""
        rows = self._rows_of(global_id)
        self._rows.drop(global_id)
        for row in rows:
            self._global_id[row], self._camid[row] = 0, -1
            self._vector[row] = 0
            self._free.append(row)
            self._index.drop(row)
            self._num_vectors -= 1

    def merge(self, kept_id: int, gone_id: int) -> None:
        """All exemplars of `gone_id` become those of `kept_id`."""
        rows = self._rows_of(gone_id)
        length, weight = self._length[rows], self._weight[rows].tolist()
        sums = self._vector[rows] * length[:, None].astype(np.float32)
        camids = self._camid[rows].tolist()
        self.remove(gone_id)
        for camid, vector_sum, total in zip(camids, sums, weight, strict=True):
            self.add(kept_id, camid, vector_sum, total)

    def exemplars(self, global_ids: Sequence[int] | Int64) -> tuple[Float32, Int64, Int64]:
        """-> vector (E, D) of unit norm, camid (E,), owner (E,): the place of its identity in `global_ids`."""
        rows, owner = self._rows_of_all(global_ids)
        return self._vector[rows], self._camid[rows], owner

    def likeness(
        self, vectors: Float32, owner: Int64, pairs: tuple[Int64, Int64], global_ids: Sequence[int] | Int64
    ) -> Likeness:
        """How much vectors (E, D) resemble exemplars of identities. owner (E,): whose a vector is, ascending.

        pairs: row and column (P,): the owner of vectors and the place of the identity in `global_ids` to be compared.
        """
        rows, of_identity = self._rows_of_all(global_ids)
        start, stop = (np.searchsorted(owner, pairs[0], side=side) for side in ("left", "right"))
        first, last = (np.searchsorted(of_identity, pairs[1], side=side) for side in ("left", "right"))
        num, each = (stop - start) * (last - first), last - first
        pair = np.repeat(np.arange(len(num)), num)
        turn = np.arange(len(pair)) - np.repeat(np.cumsum(num) - num, num)
        one = start[pair] + turn // each[pair]
        other = rows[first[pair] + turn % each[pair]]
        coherence = np.minimum(self._length[other] / np.maximum(self._weight[other], 1e-12), 1.0)
        cosine = self._index.pair_cosines(vectors, one, self._vector, other)
        return Likeness(pair, one, self._camid[other], cosine, coherence)

    def search(self, vectors: Float32, num_neighbours: int) -> tuple[Int64, Float32]:
        """The nearest identities of each vector (Q, D) -> global_id (Q, K), similarity (Q, K), best first.

        An identity appears once per query, with its most similar exemplar. K is `num_neighbours`, or fewer where there
        are fewer vectors; rows are filled up with id 0, similarity -1.
        """
        width = min(num_neighbours, self._num_rows)
        ids = np.zeros((len(vectors), width), np.int64)
        similarity = np.full((len(vectors), width), -1.0, np.float32)
        if not width:
            return ids, similarity
        queries = np.ascontiguousarray(vectors, np.float32)
        waiting, count = np.arange(len(queries)), min(2 * width, self._num_rows)
        while len(waiting):
            rows, found = self._nearest(queries[waiting], count)
            near = np.where(rows >= 0, self._global_id[rows], 0)
            first = _first_places(near) & (near > 0)
            first &= np.cumsum(first, axis=1) <= width
            enough = (first.sum(axis=1) == width) | (count == self._num_rows)
            one, at = np.nonzero(first & enough[:, None])
            place = (np.cumsum(first, axis=1) - 1)[one, at]
            ids[waiting[one], place], similarity[waiting[one], place] = near[one, at], found[one, at]
            waiting, count = waiting[~enough], min(4 * count, self._num_rows)  # many exemplars of few identities
        return ids, similarity

    def _nearest(self, queries: Float32, count: int) -> tuple[Int64, Float32]:
        """The nearest `count` rows of each query (Q, D), and their cosines, best first; -1 where there are fewer."""
        if self._num_rows > self._exact_rows and self._index.usable:
            rows = np.sort(self._index.nearest(queries, count)[0], axis=1)
            found = self._index.cosines(queries, self._vector, rows)
            order = np.argsort(-found, axis=1, kind="stable")
            return np.take_along_axis(rows, order, axis=1), np.take_along_axis(found, order, axis=1)
        # Few queries at a time are what comes; threads that wait for each other cost more than they bring.
        faiss.omp_set_num_threads(1)
        similarity, places = faiss.knn(
            queries, self._vector[: self._num_rows], count, metric=faiss.METRIC_INNER_PRODUCT
        )
        return places, similarity

    def _rows_of(self, global_id: int) -> list[int]:
        return [row for row in self._rows.get(global_id).tolist() if row >= 0]

    def _rows_of_all(self, global_ids: Sequence[int] | Int64) -> tuple[Int64, Int64]:
        """-> rows (E,), owner (E,): the place of their identity in `global_ids`."""
        table = self._rows.of_all(np.asarray(global_ids, np.int64))
        owner, column = np.nonzero(table >= 0)
        return table[owner, column], owner

    def _set(self, row: int, vector_sum: Float32) -> None:
        length = math.sqrt(float(vector_sum @ vector_sum))
        self._length[row] = length
        vector = self._vector[row]
        np.divide(vector_sum, max(length, 1e-12), out=vector)
        self._index.put(row, vector)

    def _open(self) -> int:
        self._num_vectors += 1
        if self._free:
            return self._free.pop()
        size = len(self._vector)
        if self._num_rows == size:
            for column in (self._vector, self._length, self._weight, self._camid, self._global_id):
                grow(column, size + max(min(size, _MOST_GROWTH), size // 64))
            self._camid[size:] = -1
        self._num_rows += 1
        return self._num_rows - 1


def _first_places(near: Int64) -> BoolMask:
    """(Q, K) where a number stands for the first time in its row."""
    order = np.argsort(near, axis=1, kind="stable")
    by_number = np.take_along_axis(near, order, axis=1)
    new = np.ones(near.shape, np.bool_)
    new[:, 1:] = by_number[:, 1:] != by_number[:, :-1]
    first = np.empty(near.shape, np.bool_)
    np.put_along_axis(first, order, new, axis=1)
    return first
