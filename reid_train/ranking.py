"""How a system ranks the gallery: distances in chunks of queries, and re-ranked ones.

Appearance is compared by cosine; st-ReID's recipe adds travel times (`test.joint`). No matrix of all queries and the
whole gallery is held; re-ranking alone needs one, of float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.fusion.rerank import k_reciprocal_features
from pipeline.types import Float32, Int64
from reid_train.config import TestConfig
from reid_train.data.tracklet import ReidSplit
from reid_train.spatial_temporal import Sightings, estimate_transitions, joint_scores, reranked_distances

_CHUNK_CELLS = 8_000_000  # distances held at once


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSplit:
    """The vectors of query (Q, D) and gallery (G, D), in the order of the split."""

    query: Float32
    gallery: Float32


class Ranker:
    """Distances of queries to the gallery, as a system compares them: cosine, or joined with travel times."""

    def __init__(self, embedded: EmbeddedSplit, split: ReidSplit, test: TestConfig) -> None:
        self._query, self._gallery = unit_rows(embedded.query), unit_rows(embedded.gallery)
        self._test = test
        self._sightings: tuple[Sightings, Sightings] | None = None
        if test.joint is not None:
            self._transitions = estimate_transitions(split.train, split.num_cams, test.joint)
            self._sightings = (
                Sightings.of(split.query, self._query),
                Sightings.of(split.gallery, self._gallery),
            )

    def distances(self, rows: Int64) -> Float32:
        """(R, G) from the queries `rows`; smaller is nearer."""
        if self._sightings is None:
            return np.asarray(-(self._query[rows] @ self._gallery.T), np.float32)
        query, gallery = self._sightings
        some = Sightings(query.unit[rows], query.camids[rows], query.frames[rows])
        return -joint_scores(some, gallery, self._transitions, self._test.joint)

    def chunks(self) -> Iterator[tuple[int, Float32]]:
        """(first query, distances (R, G)) until all queries are through."""
        step = max(1, _CHUNK_CELLS // max(len(self._gallery), 1))
        for start in range(0, len(self._query), step):
            yield start, self.distances(np.arange(start, min(start + step, len(self._query))))

    def reranked(self) -> Float32:
        """(Q, G) after k-reciprocal re-ranking, by the convention of the recipe."""
        rerank = self._test.rerank
        assert rerank is not None
        if self._sightings is None:
            return k_reciprocal_features(
                self._query,
                self._gallery,
                rerank.k1,
                rerank.k2,
                lambda_value=rerank.lambda_value,
                square=rerank.square,
            )
        if rerank.square:
            raise ValueError("test.rerank.square: the joint metric is re-ranked plain; set it to false")
        return reranked_distances(
            *self._sightings,
            self._transitions,
            self._test.joint,
            k1=rerank.k1,
            k2=rerank.k2,
            lambda_value=rerank.lambda_value,
        )


def unit_rows(vectors: Float32) -> Float32:
    """The rows with norm 1; a row of zeros stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)
