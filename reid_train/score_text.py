"""Scores as lines for people and as a dictionary for programs."""

from __future__ import annotations

from typing import Any

from reid_train.evaluate import SplitScores

RANKS = (1, 5, 10, 20)


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
