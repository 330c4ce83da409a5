"""k-reciprocal neighbourhoods of a set that changes item by item (`rerank` holds the method).

The lists of nearest items are kept up to date: who comes is entered into the lists of those it is near to, who goes is
struck from them, and only lists that lost an entry are filled up anew. Comparing one item with a few others then takes
the neighbourhoods of those alone, whatever the size of the set.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from pipeline.fusion.rerank import average_rows, jaccard_distance, reciprocal_weights, smallest
from pipeline.types import Float32, Float64, Int64

_FIRST_ROWS = 64


class Neighbourhoods:
    """At most `capacity` vectors of unit norm under hashable names, numbered by rows that are used again.

    A vector of length D that comes costs D multiplications per item; lists take 12 bytes per entry.
    """

    def __init__(self, dim: int, *, k1: int = 20, k2: int = 6, capacity: int = 10_000) -> None:
        """k1, k2: as in `rerank`. Raises ValueError where they are below 1."""
        if k1 < 1 or k2 < 1 or capacity < 1:
            raise ValueError(f"k1 is {k1}, k2 is {k2} and capacity is {capacity}, want at least 1")
        self._k1, self._k2, self._capacity = k1, k2, capacity
        self._width = max(k1 + 1, k2)
        self._row: dict[int, int] = {}
        self._free: list[int] = list(range(_FIRST_ROWS - 1, -1, -1))
        self._vector: Float32 = np.zeros((_FIRST_ROWS, dim), np.float32)
        self._used = np.zeros(_FIRST_ROWS, np.bool_)
        self._near: Int64 = np.full((_FIRST_ROWS, self._width), -1, np.int64)  # nearest first, itself among them
        self._apart: Float32 = np.full((_FIRST_ROWS, self._width), np.inf, np.float32)
        self._largest: Float32 = np.zeros(_FIRST_ROWS, np.float32)  # greatest distance of each to any other
        self._furthest: Int64 = np.full(_FIRST_ROWS, -1, np.int64)

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, name: int) -> bool:
        return name in self._row

    def put(self, name: int, vector: Float32) -> None:
        """Add an item (D,), or give it another vector. The oldest makes room where there are too many."""
        if name in self._row:
            self.remove(name)
        elif len(self._row) >= self._capacity:
            self.remove(next(iter(self._row)))
        if not self._free:
            self._grow()
        row = self._row[name] = self._free.pop()
        self._vector[row], self._used[row] = vector, True
        items = np.flatnonzero(self._used)
        apart = self._distances(row, items)
        self._fill(row, items, apart)
        others, apart = items[items != row], apart[items != row]
        further = apart > self._largest[others]
        self._largest[others[further]], self._furthest[others[further]] = apart[further], row
        last = self._apart[others, -1]
        enter = (apart < last) | ((apart == last) & (row < self._near[others, -1])) | (self._near[others, -1] < 0)
        at = others[enter]
        near = np.concatenate((self._near[at], np.full((len(at), 1), row)), axis=1)
        distance = np.concatenate((self._apart[at], apart[enter, None]), axis=1)
        order = np.lexsort((np.where(near < 0, len(self._used), near), distance), axis=1)[:, : self._width]
        self._near[at] = np.take_along_axis(near, order, axis=1)
        self._apart[at] = np.take_along_axis(distance, order, axis=1)

    def remove(self, name: int) -> None:
        """Take an item out. Raises KeyError for one that is not there."""
        row = self._row.pop(name)
        self._used[row] = False
        self._near[row], self._apart[row] = -1, np.inf
        self._free.append(row)
        items = np.flatnonzero(self._used)
        lost = (self._near[items] == row).any(axis=1) | (self._furthest[items] == row)
        for other in items[lost].tolist():
            self._fill(other, items, self._distances(other, items))

    def similarity(self, name: int, others: list[int]) -> Float64:
        """(C,) one minus the Jaccard distance of an item and each of the others, in [0, 1]."""
        similar = self.similarities([name], others)
        return np.asarray(similar[0], np.float64)

    def similarities(self, names: list[int], others: list[int], depth: tuple[int, int] | None = None) -> Float64:
        """(R, C) the same of items and others. depth: a smaller k1 and k2 to go by."""
        if not names or not others:
            return np.zeros((len(names), len(others)))
        k1, k2 = depth or (self._k1, self._k2)
        rows, place = np.unique([self._row[one] for one in (*names, *others)], return_inverse=True)
        near = self._near[rows, :k2] if k2 > 1 else rows[:, None]
        needed = np.unique(near[near >= 0])
        weights = reciprocal_weights(self._near, needed, self._scaled, k1)
        at = np.full(len(self._used), -1)
        at[needed] = np.arange(len(needed))
        averaged = sparse.csr_array(average_rows(weights, np.where(near >= 0, at[near], -1)))
        apart = jaccard_distance(averaged[place[: len(names)]], averaged[place[len(names) :]])
        return np.asarray(1.0 - apart, np.float64)

    def _fill(self, row: int, items: Int64, apart: Float32) -> None:
        count = min(self._width, len(items))
        best = smallest(apart[None], count)[0]
        self._near[row], self._apart[row] = -1, np.inf
        self._near[row, :count], self._apart[row, :count] = items[best], apart[best]
        peak = int(apart.argmax())
        self._largest[row], self._furthest[row] = apart[peak], items[peak]

    def _distances(self, row: int, items: Int64) -> Float32:
        return self._pairs(np.full(len(items), row), items)

    def _pairs(self, rows: Int64, columns: Int64) -> Float32:
        """Squared 2 - 2 cos of aligned pairs of rows, the same whichever is first."""
        cosine = np.einsum("nd,nd->n", self._vector[rows], self._vector[columns])
        return np.asarray(np.square(np.maximum(2 - 2 * cosine, 0)), np.float32)

    def _scaled(self, rows: Int64, columns: Int64) -> Float32:
        return np.asarray(self._pairs(rows, columns) / np.maximum(self._largest[rows], 1e-12), np.float32)

    def _grow(self) -> None:
        size = len(self._used)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(self, name, np.concatenate((value, np.zeros_like(value))))
        self._near[size:], self._apart[size:], self._furthest[size:] = -1, np.inf, -1
        self._free = list(range(2 * size - 1, size - 1, -1))
