"""Scoring a network on a data set under its system's own test protocol.

    embedded = embed_split(model, split, recipe)            # sampling of clips and their mean, as the recipe says
    scores = score_split(embedded, split, recipe.test)      # first block: the system's result; then re-ranked
    print(scores_text(scores))

Both definitions of average precision are always reported, the system's own first: rectangular over queries with a
match, trapezoidal over all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from pipeline.evaluation.retrieval import QueryScores, join, score_queries, summarise
from pipeline.types import Float32, Int64
from reid_train.config import Recipe, TestConfig
from reid_train.data.config import TestRule
from reid_train.data.tracklet import LabelledTracklet, ReidSplit
from reid_train.embedding import Show, embed_tracklets
from reid_train.ranking import EmbeddedSplit, Ranker
from reid_train.scores import APPEARANCE, JOINT, RERANKED, ScoreBlock, SplitScores


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
    named = [(APPEARANCE if test.joint is None else JOINT, _scored(split, ranker.chunks()))]
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
