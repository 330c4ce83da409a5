"""Scoring a network on a data set under its system's own test protocol.

    embedded = embed_split(model, split, recipe)            # sampling of clips and their mean, as the recipe says
    scores = score_split(embedded, split, recipe.test)      # first block: the system's result; then re-ranked
    print(scores_text(scores))

Appearance is compared by cosine; st-ReID's recipe adds travel times (`test.joint`). Both definitions of average
precision are always reported, the system's own first: rectangular over queries with a match, trapezoidal over all.
Queries are ranked in chunks, each to its end, so that no matrix of all queries and the whole gallery is held;
re-ranking alone needs one, of float32.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from pipeline.evaluation.retrieval import (
    AveragePrecision,
    QueryScores,
    RetrievalScore,
    join,
    score_queries,
    summarise,
)
from pipeline.fusion.rerank import k_reciprocal_features
from pipeline.types import Float32, Int64
from reid_train.config import Recipe, TestConfig
from reid_train.data.config import TestRule
from reid_train.data.tracklet import LabelledTracklet, ReidSplit
from reid_train.embedding import Show, embed_tracklets
from reid_train.spatial_temporal import Sightings, estimate_transitions, joint_scores, reranked_distances

APPEARANCE, JOINT, RERANKED = "appearance", "appearance and travel time", "re-ranked"
RANKS = (1, 5, 10, 20)
_CHUNK_CELLS = 8_000_000  # distances held at once


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSplit:
    """The vectors of query (Q, D) and gallery (G, D), in the order of the split."""

    query: Float32
    gallery: Float32


@dataclass(frozen=True, slots=True, eq=False)
class ScoreBlock:
    """One way to rank, under both definitions of average precision."""

    name: str
    rectangular: RetrievalScore  # over the queries that have a match
    trapezoidal: RetrievalScore  # over all queries
    queries: QueryScores

    def under(self, ap: AveragePrecision) -> RetrievalScore:
        return self.rectangular if ap == "rectangular" else self.trapezoidal


@dataclass(frozen=True, slots=True, eq=False)
class SplitScores:
    """What a system reaches on a data set. `blocks[0]` is its result, the others stand beside it."""

    model: str
    dataset: str
    protocol: str
    clips: TestRule
    ap: AveragePrecision  # the system's own
    num_query: int
    num_gallery: int
    dim: int
    blocks: tuple[ScoreBlock, ...]
    embed_s: float = 0.0

    @property
    def result(self) -> RetrievalScore:
        """The first block under the system's own average precision."""
        return self.blocks[0].under(self.ap)


def evaluate_split(
    model: nn.Module,
    split: ReidSplit,
    recipe: Recipe,
    *,
    clips: TestRule | None = None,
    workers: int | None = None,
    precision: str = "fp32",
    show: Show = lambda done, total: None,
) -> SplitScores:
    """Embed and score; arguments as for `embed_tracklets`. `model` stays on its device and in its mode."""
    begun_s = time.perf_counter()
    embedded = embed_split(model, split, recipe, clips=clips, workers=workers, precision=precision, show=show)
    scores = score_split(embedded, split, recipe.test, model=recipe.model.name)
    return replace(scores, clips=clips or recipe.test.clips, embed_s=time.perf_counter() - begun_s)


def quick_scores(model: nn.Module, split: ReidSplit, recipe: Recipe, *, workers: int | None = None) -> dict[str, float]:
    """`mAP` and `rank1` in percent, for a look in the middle of training: the cheaper clips that the recipe names for
    it, no re-ranking."""
    test = recipe.test.model_copy(update={"rerank": None})
    rule = recipe.training.evaluate_clips or test.clips
    scores = evaluate_split(model, split, recipe.model_copy(update={"test": test}), clips=rule, workers=workers)
    return {"mAP": 100 * scores.result.mAP, "rank1": 100 * scores.result.rank(1)}


def embed_split(
    model: nn.Module,
    split: ReidSplit,
    recipe: Recipe,
    *,
    clips: TestRule | None = None,
    workers: int | None = None,
    precision: str = "fp32",
    show: Show = lambda done, total: None,
) -> EmbeddedSplit:
    """Vectors of query and gallery. Where the split says which gallery rows the queries are, they are embedded once."""
    _check_scorable(split)
    once = bool(split.query_rows)
    tracklets: Sequence[LabelledTracklet] = split.gallery if once else (*split.query, *split.gallery)
    vectors = embed_tracklets(
        model, tracklets, recipe, clips=clips, workers=workers, precision=precision, show=show
    )  # fmt: skip
    if once:
        return EmbeddedSplit(vectors[np.array(split.query_rows, np.int64)], vectors)
    return EmbeddedSplit(vectors[: len(split.query)], vectors[len(split.query) :])


def score_split(
    embedded: EmbeddedSplit, split: ReidSplit, test: TestConfig, *, model: str = "", max_rank: int = 50
) -> SplitScores:
    """All blocks of scores of vectors that are there already.

    Without `test.joint`: appearance, then re-ranked if `test.rerank` is set. With it: the joint metric first, then it
    re-ranked, then appearance alone. Raises ValueError where vectors and split do not fit, or frames are unknown.
    """
    _check_scorable(split)
    if len(embedded.query) != len(split.query) or len(embedded.gallery) != len(split.gallery):
        raise ValueError(
            f"{len(embedded.query)} query and {len(embedded.gallery)} gallery vectors for {len(split.query)} and "
            f"{len(split.gallery)} tracklets of {split.name}"
        )
    ranker = Ranker(embedded, split, test)
    named: list[tuple[str, QueryScores]] = []
    if test.joint is not None:
        named.append((JOINT, _scored(split, ranker.chunks())))
    if test.joint is None:
        named.append((APPEARANCE, _scored(split, ranker.chunks())))
    if test.rerank is not None:
        named.append((RERANKED, _scored(split, iter([(0, ranker.reranked())]))))
    if test.joint is not None:
        alone = Ranker(embedded, split, test.model_copy(update={"joint": None}))
        named.append((APPEARANCE, _scored(split, alone.chunks())))
    blocks = tuple(
        ScoreBlock(
            name,
            summarise(scores, "rectangular", max_rank=max_rank),
            summarise(scores, "trapezoidal", max_rank=max_rank),
            scores,
        )
        for name, scores in named
    )
    return SplitScores(
        model=model,
        dataset=split.name,
        protocol=split.protocol,
        clips=test.clips,
        ap=test.ap,
        num_query=len(split.query),
        num_gallery=len(split.gallery),
        dim=int(embedded.query.shape[1]),
        blocks=blocks,
    )


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


def scores_text(scores: SplitScores) -> str:
    """The blocks as lines for a terminal, in percent."""
    own = scores.ap
    lines = [
        f"{scores.model} on {scores.dataset}: {scores.num_query} queries, {scores.num_gallery} in the gallery, "
        f"vectors of {scores.dim}, clips {scores.clips}",
        f"  {scores.protocol}",
    ]
    for block in scores.blocks:
        own_score = block.under(own)
        cmc = "  ".join(f"Rank-{k} {100 * own_score.rank(k):.2f}" for k in RANKS if k <= len(own_score.cmc))
        lines.append(f"{block.name}:")
        lines.append(f"  {cmc}")
        for ap in sorted(("rectangular", "trapezoidal"), key=lambda name: name != own):
            score = block.rectangular if ap == "rectangular" else block.trapezoidal
            mark = " (the system's own)" if ap == own else ""
            count = score.num_valid if score.denominator == "valid" else score.num_queries
            lines.append(f"  mAP {100 * score.mAP:.2f} {ap}, over {count} queries{mark}")
    return "\n".join(lines)


def scores_dict(scores: SplitScores) -> dict[str, Any]:
    """The same for a JSON file, as shares of one."""
    return {
        "model": scores.model,
        "dataset": scores.dataset,
        "protocol": scores.protocol,
        "clips": scores.clips,
        "ap": scores.ap,
        "queries": scores.num_query,
        "gallery": scores.num_gallery,
        "dim": scores.dim,
        "blocks": {
            block.name: {
                "mAP": block.rectangular.mAP,
                "mAP_trap": block.trapezoidal.mAP,
                "queries_with_a_match": block.rectangular.num_valid,
                **{f"rank{k}": block.under(scores.ap).rank(k) for k in RANKS if k <= len(block.rectangular.cmc)},
            }
            for block in scores.blocks
        },
    }


def _scored(split: ReidSplit, chunks: Iterator[tuple[int, Float32]]) -> QueryScores:
    query_pids, query_camids = _labels(split.query)
    gallery_pids, gallery_camids = _labels(split.gallery)
    return join(
        [
            score_queries(
                block,
                query_pids[start : start + len(block)],
                gallery_pids,
                query_camids[start : start + len(block)],
                gallery_camids,
            )
            for start, block in chunks
        ]
    )


def _labels(tracklets: Sequence[LabelledTracklet]) -> tuple[Int64, Int64]:
    return np.array([t.pid for t in tracklets], np.int64), np.array([t.camid for t in tracklets], np.int64)


def _check_scorable(split: ReidSplit) -> None:
    for name, part in (("query", split.query), ("gallery", split.gallery)):
        if not part:
            raise ValueError(f"{split.name} has no {name}; there is nothing to score")
