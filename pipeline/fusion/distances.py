"""Where the distances of N items come from, block by block, so that no N x N matrix need exist.

The items are the queries followed by the gallery. Whoever has distances of another kind, or computes them on another
device, writes a class with these two methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.types import Float32, Int64

_TILE = 64  # rows copied at once while a block is transposed
_GATHER_CELLS = 2_000_000  # numbers gathered at once for single pairs


class Distances(Protocol):
    """The distances of N items to each other."""

    @property
    def num_items(self) -> int: ...

    def block(self, start: int, stop: int) -> Float32:
        """(stop - start, N) from these items to all; a fresh array, the caller may change it."""
        ...

    def pairs(self, rows: Int64, columns: Int64) -> Float32:
        """(P,) the same values for single pairs of items."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MatrixDistances:
    """Distances held as three blocks. An item's row is its column of [[qq, qg], [qg.T, gg]], as in published code."""

    query_gallery: npt.NDArray[Any]  # (Q, G)
    query_query: npt.NDArray[Any]  # (Q, Q)
    gallery_gallery: npt.NDArray[Any]  # (G, G)

    def __post_init__(self) -> None:
        num_queries, num_gallery = self.query_gallery.shape
        if self.query_query.shape != (num_queries,) * 2 or self.gallery_gallery.shape != (num_gallery,) * 2:
            raise ValueError(
                f"query_gallery {self.query_gallery.shape} does not fit query_query {self.query_query.shape} "
                f"and gallery_gallery {self.gallery_gallery.shape}, want ({num_queries}, {num_queries}) "
                f"and ({num_gallery}, {num_gallery})"
            )

    @property
    def num_items(self) -> int:
        return sum(self.query_gallery.shape)

    def block(self, start: int, stop: int) -> Float32:
        num_queries = len(self.query_gallery)
        out = np.empty((stop - start, self.num_items), np.float32)
        queries, gallery = slice(start, min(stop, num_queries)), slice(max(start - num_queries, 0), stop - num_queries)
        split = max(min(stop, num_queries) - start, 0)
        if split:
            _fill_transposed(out[:split, :num_queries], self.query_query[:, queries])
            out[:split, num_queries:] = self.query_gallery[queries]
        if split < stop - start:
            _fill_transposed(out[split:, :num_queries], self.query_gallery[:, gallery])
            _fill_transposed(out[split:, num_queries:], self.gallery_gallery[:, gallery])
        return out

    def pairs(self, rows: Int64, columns: Int64) -> Float32:
        num_queries = len(self.query_gallery)
        out = np.empty(len(rows), np.float32)
        row_is_query, column_is_query = rows < num_queries, columns < num_queries
        both = row_is_query & column_is_query
        out[both] = self.query_query[columns[both], rows[both]]
        first = row_is_query & ~column_is_query
        out[first] = self.query_gallery[rows[first], columns[first] - num_queries]
        second = ~row_is_query & column_is_query
        out[second] = self.query_gallery[columns[second], rows[second] - num_queries]
        neither = ~row_is_query & ~column_is_query
        out[neither] = self.gallery_gallery[columns[neither] - num_queries, rows[neither] - num_queries]
        return out


@dataclass(frozen=True, slots=True, eq=False)
class CosineDistances:
    """2 - 2 cos of features, the squared Euclidean distance of unit vectors."""

    unit: Float32  # (N, D), rows of norm 1

    @classmethod
    def of(cls, query_features: npt.ArrayLike, gallery_features: npt.ArrayLike) -> CosineDistances:
        """Of features (Q, D) and (G, D) of any length."""
        query, gallery = np.asarray(query_features, np.float32), np.asarray(gallery_features, np.float32)
        if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
            raise ValueError(f"want features (Q, D) and (G, D), got {query.shape} and {gallery.shape}")
        unit = np.concatenate((query, gallery))
        unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
        return cls(unit)

    @property
    def num_items(self) -> int:
        return len(self.unit)

    def block(self, start: int, stop: int) -> Float32:
        out = self.unit[start:stop] @ self.unit.T
        out *= -2
        out += 2
        return out

    def pairs(self, rows: Int64, columns: Int64) -> Float32:
        out = np.empty(len(rows), np.float32)
        step = max(1, _GATHER_CELLS // max(self.unit.shape[1], 1))
        for at in range(0, len(rows), step):
            part = slice(at, at + step)
            out[part] = np.einsum("pd,pd->p", self.unit[rows[part]], self.unit[columns[part]])
        return 2 - 2 * out


def _fill_transposed(out: Float32, source: npt.NDArray[Any]) -> None:
    """out (A, B) becomes `source.T`, in tiles that stay in the cache: four times as fast as in one go."""
    for at in range(0, len(source), _TILE):
        out[:, at : at + _TILE] = source[at : at + _TILE].T
