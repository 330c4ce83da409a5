"""What a system reaches on a data set: blocks of scores, as text for a terminal and as a document for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.evaluation.retrieval import AveragePrecision, QueryScores, RetrievalScore
from reid_train.data.config import TestRule

APPEARANCE, JOINT, RERANKED = "appearance", "appearance and travel time", "re-ranked"
RANKS = (1, 5, 10, 20)


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

    @property
    def ranks(self) -> tuple[int, ...]:
        """The places of the CMC that are told: 1, 5, 10 and 20, as far as the gallery goes."""
        return tuple(k for k in RANKS if k == 1 or k <= min(len(self.result.cmc), self.num_gallery))


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
        cmc = "  ".join(f"Rank-{k} {100 * own_score.rank(k):.2f}" for k in scores.ranks)
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
                **{f"rank{k}": block.under(scores.ap).rank(k) for k in scores.ranks},
            }
            for block in scores.blocks
        },
    }
