"""How well queries find their person in a gallery: mAP and CMC under the protocols of the published systems.

Two definitions of average precision are in use. With n right items at the 0-based places h_0 < h_1 < ... of the
ranking, junk left out:

    rectangular   (1/n) sum (i + 1) / (h_i + 1)                          (torchreid family, PSTA, STAFormer)
    trapezoidal   (1/n) sum ((i + 1) / (h_i + 1) + i / h_i) / 2, where i / h_i is 1 at h_0 = 0   (MARS' own, st-ReID)

Junk is neither right nor wrong and takes no place: gallery items with a pid in `junk_pids`, and those that show the
query's person in the query's camera (so also the query itself, where the gallery holds it). Distractors under a pid of
their own (0 in MARS and Market-1501) count as wrong. Equal distances keep the order of the gallery.

A gallery too large for one distance matrix is scored in chunks of queries, each to its end, then joined:

    scores = join([score_queries(distmat[a:b], ...) for a, b in chunks])
    summarise(scores, "rectangular"), summarise(scores, "trapezoidal")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from pipeline.types import Float64, Int64

AveragePrecision: TypeAlias = Literal["rectangular", "trapezoidal"]
Denominator: TypeAlias = Literal["valid", "all"]

_DENOMINATOR: dict[AveragePrecision, Denominator] = {"rectangular": "valid", "trapezoidal": "all"}


@dataclass(frozen=True, slots=True, eq=False)
class QueryScores:
    """One row per query; a query without a right item in the gallery has 0, 0 and -1."""

    ap_rectangular: Float64  # (Q,)
    ap_trapezoidal: Float64  # (Q,)
    first_hit: Int64  # (Q,) 0-based place of the first right item, junk left out

    def __len__(self) -> int:
        return len(self.first_hit)


@dataclass(frozen=True, slots=True, eq=False)
class RetrievalScore:
    """mAP and CMC over queries, in [0, 1]. NaN where there is no query to divide by."""

    mAP: float  # noqa: N815 - the field's own word
    cmc: Float64  # (max_rank,): share of the queries with a right item among the first 1, 2, ...
    num_queries: int
    num_valid: int  # queries with a right item in the gallery
    ap: AveragePrecision
    denominator: Denominator

    def rank(self, place: int) -> float:
        """Rank-`place` of the CMC, from 1."""
        if not 1 <= place <= len(self.cmc):
            raise ValueError(f"rank {place} of a CMC of {len(self.cmc)} ranks; score with max_rank={max(place, 1)}")
        return float(self.cmc[place - 1])


def evaluate(
    distmat: npt.ArrayLike,
    query_pids: npt.ArrayLike,
    gallery_pids: npt.ArrayLike,
    query_camids: npt.ArrayLike,
    gallery_camids: npt.ArrayLike,
    ap: AveragePrecision = "rectangular",
    *,
    denominator: Denominator | None = None,
    junk_pids: Sequence[int] = (-1,),
    max_rank: int = 50,
) -> RetrievalScore:
    """Rank the gallery by distance for every query and score the ranking.

    distmat (Q, G), smaller is nearer (negate a similarity); pids and camids (Q,) and (G,). `denominator` is what mAP
    and CMC are divided by: the queries with a right item ("valid", the custom with rectangular AP) or all of them
    ("all", the custom with trapezoidal AP; a query without a right item then adds 0). One row of the matrix is looked
    at at a time, so it may be a memory map. Raises ValueError for shapes that do not fit and for NaN.
    """
    _check_choice("ap", ap, get_args(AveragePrecision))
    scores = score_queries(distmat, query_pids, gallery_pids, query_camids, gallery_camids, junk_pids=junk_pids)
    return summarise(scores, ap, denominator=denominator, max_rank=max_rank)


def score_queries(
    distmat: npt.ArrayLike,
    query_pids: npt.ArrayLike,
    gallery_pids: npt.ArrayLike,
    query_camids: npt.ArrayLike,
    gallery_camids: npt.ArrayLike,
    *,
    junk_pids: Sequence[int] = (-1,),
) -> QueryScores:
    """Score every query (row of `distmat`) by itself, under both definitions of AP; arguments as for `evaluate`."""
    distances = np.asanyarray(distmat)
    query_pid, query_camid = _labels(query_pids, "query_pids"), _labels(query_camids, "query_camids")
    gallery_pid, gallery_camid = _labels(gallery_pids, "gallery_pids"), _labels(gallery_camids, "gallery_camids")
    want = (len(query_pid), len(gallery_pid))
    if distances.shape != want or len(query_camid) != want[0] or len(gallery_camid) != want[1]:
        raise ValueError(
            f"distmat {distances.shape} does not fit {want[0]} query_pids, {len(query_camid)} query_camids, "
            f"{want[1]} gallery_pids and {len(gallery_camid)} gallery_camids"
        )
    known = ~np.isin(gallery_pid, np.asarray(junk_pids, np.int64))
    rectangular, trapezoidal, first_hit = np.zeros(want[0]), np.zeros(want[0]), np.full(want[0], -1, np.int64)
    for row in range(want[0]):
        same = gallery_pid == query_pid[row]
        counted = known & ~(same & (gallery_camid == query_camid[row]))
        right = same[counted]
        if not right.any():
            continue
        places = _places(np.asarray(distances[row])[counted], right, row)
        first_hit[row] = places[0]
        rectangular[row], trapezoidal[row] = _average_precisions(places)
    return QueryScores(rectangular, trapezoidal, first_hit)


def join(chunks: Sequence[QueryScores]) -> QueryScores:
    """The scores of several chunks of queries as one."""
    if not chunks:
        return QueryScores(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
    return QueryScores(
        np.concatenate([chunk.ap_rectangular for chunk in chunks]),
        np.concatenate([chunk.ap_trapezoidal for chunk in chunks]),
        np.concatenate([chunk.first_hit for chunk in chunks]),
    )


def summarise(
    scores: QueryScores,
    ap: AveragePrecision = "rectangular",
    *,
    denominator: Denominator | None = None,
    max_rank: int = 50,
) -> RetrievalScore:
    """mAP and CMC over all queries; arguments as for `evaluate`."""
    _check_choice("ap", ap, get_args(AveragePrecision))
    chosen: Denominator = _DENOMINATOR[ap] if denominator is None else denominator
    _check_choice("denominator", chosen, get_args(Denominator))
    if max_rank < 1:
        raise ValueError(f"max_rank is {max_rank}, want at least 1")
    found = scores.first_hit >= 0
    num_valid = int(found.sum())
    count = num_valid if chosen == "valid" else len(scores)
    values = scores.ap_rectangular if ap == "rectangular" else scores.ap_trapezoidal
    within = found & (scores.first_hit < max_rank)
    hits = np.cumsum(np.bincount(scores.first_hit[within], minlength=max_rank))
    if not count:
        return RetrievalScore(float("nan"), np.full(max_rank, np.nan), len(scores), num_valid, ap, chosen)
    return RetrievalScore(float(values[found].sum()) / count, hits / count, len(scores), num_valid, ap, chosen)


def _places(distances: npt.NDArray[Any], right: npt.NDArray[np.bool_], query: int) -> Int64:
    """0-based places of the right items in the ranking of (G,) distances, ascending; ties in the gallery's order."""
    ranking = np.sort(distances)
    if np.isnan(ranking[-1]):
        raise ValueError(f"the distances of query {query} hold NaN; look for a NaN in its feature or in the gallery's")
    wanted = np.sort(distances[right])
    places = np.searchsorted(ranking, wanted, side="left")
    if (np.searchsorted(ranking, wanted, side="right") - places > 1).any():  # ties, which only the full order settles
        places = np.flatnonzero(right[np.argsort(distances, kind="stable")])
    return np.asarray(places, np.int64)


def _average_precisions(places: Int64) -> tuple[float, float]:
    """Rectangular and trapezoidal AP of right items at 0-based `places` (n,), ascending."""
    before = np.arange(len(places))
    after_hit = (before + 1) / (places + 1)
    before_hit = np.divide(before, places, out=np.ones(len(places)), where=places > 0)
    return float(after_hit.mean()), float((after_hit + before_hit).mean() / 2)


def _labels(values: npt.ArrayLike, name: str) -> Int64:
    labels = np.asarray(values, np.int64)
    if labels.ndim != 1:
        raise ValueError(f"{name}: want one number per item, got shape {labels.shape}")
    return labels


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, want one of {', '.join(choices)}")
