"""What is known of every pair of tracklets, for correlation clustering; every number by the functions of the online
mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.fusion.affinity import return_log_odds
from pipeline.fusion.archive import Parts
from pipeline.fusion.calibration import SimilarityCalibration
from pipeline.fusion.config import FusionConfig
from pipeline.fusion.motion import moved_log_odds, walked_log_odds
from pipeline.fusion.reranking import mix, similarity_of
from pipeline.fusion.travel import TravelModel
from pipeline.types import BoolMask, Float64, Int64

_ROWS = 2048  # pairs whose travel times are looked up at once: their tables stay in the cache


@dataclass(frozen=True, slots=True, eq=False)
class TrackletGraph:
    """Pairs of parts in order of time; all arrays (N, N) but the last two."""

    look: Float64  # log-odds of appearance, symmetric, 0 where one has no clip and on the diagonal
    chain: Float64  # [i, j]: log-odds that j is where i is seen next; -inf where it can not be
    forbidden: BoolMask  # nobody can be both, symmetric
    floor: Float64  # [i, j], i < j: log-odds of those that overlapping cameras saw at once
    met: BoolMask  # where `floor` says something
    has_look: BoolMask  # (N,)
    last_s: Float64  # (N,)

    def __len__(self) -> int:
        return len(self.last_s)


def build_graph(
    parts: Parts,
    pairs: dict[tuple[int, int], float],
    overlaps: frozenset[tuple[int, int]],
    config: FusionConfig,
    *,
    calibration: SimilarityCalibration,
    travel: TravelModel,
    mixed: SimilarityCalibration,
    neighbourhoods: Any = None,
) -> TrackletGraph:
    """The graph of parts (N,) in order of time. pairs: log-odds on the floor by rows; overlaps: pairs of camids.

    neighbourhoods: the rows of `reranking.described`, then looks are mixed similarities of which `mixed` has the
    meaning.
    """
    count = len(parts)
    has_look = np.any(parts.vector != 0, axis=1)
    cosine = (parts.vector @ parts.vector.T).astype(np.float64)
    same_camera = parts.camid[:, None] == parts.camid[None]
    if neighbourhoods is not None:
        cosine, calibration = mix(cosine, similarity_of(neighbourhoods), config.reranking), mixed
    look = np.where(same_camera, calibration.log_odds(cosine, False), calibration.log_odds(cosine, True))
    look[~(has_look[:, None] & has_look[None])] = 0.0
    np.fill_diagonal(look, 0.0)
    forbidden = forbidden_pairs(parts, overlaps, config)
    stays = parts.camid, parts.first_s, parts.last_s
    forbidden |= travel.too_fast((stays[0][:, None], stays[1][:, None], stays[2][:, None]), stays)
    floor, met = np.zeros((count, count)), np.zeros((count, count), np.bool_)
    for (one, other), log_odds in pairs.items():
        floor[one, other], met[one, other] = log_odds, True
    chain = _chain(parts, ~forbidden, same_camera, config, travel)
    return TrackletGraph(look, chain, forbidden, floor, met, has_look, parts.last_s)


def forbidden_pairs(parts: Parts, overlaps: frozenset[tuple[int, int]], config: FusionConfig) -> BoolMask:
    """(N, N) `constraints.cannot_be_one` of all pairs of parts at once."""
    first_s, last_s, camid = parts.first_s, parts.last_s, parts.camid
    apart_s = np.maximum(first_s[:, None] - last_s[None], first_s[None] - last_s[:, None])
    begins, ends = first_s[:, None] < first_s[None], last_s[:, None] < last_s[None]
    hands_over = (begins & ends) | (begins & ends).T
    num_cameras = int(camid.max(initial=-1)) + 1
    overlap = np.zeros((num_cameras, num_cameras), np.bool_)
    for a, b in overlaps:
        if a < num_cameras and b < num_cameras:
            overlap[a, b] = overlap[b, a] = True
    together = overlap[camid[:, None], camid[None]]
    passed = (-apart_s < config.handover_s) & hands_over
    same = camid[:, None] == camid[None]
    forbidden = np.where(same, ~passed, (-apart_s >= config.simultaneous_s) & ~together & ~passed)
    forbidden &= apart_s <= 0
    np.fill_diagonal(forbidden, False)
    return forbidden


def _chain(
    parts: Parts, possible: BoolMask, same_camera: BoolMask, config: FusionConfig, travel: TravelModel
) -> Float64:
    """Log-odds of time, way and motion from each part to each later one."""
    gap_s = parts.first_s[None] - parts.last_s[:, None]
    later = np.triu(possible, 1) & (gap_s <= config.open_s)
    before, after = (at.astype(np.int64) for at in np.nonzero(later))
    gaps = np.maximum(gap_s[before, after], 0.0)
    log_odds = return_log_odds(gaps, config.return_log_odds, config.return_s, config.return_decay)
    start, goal = parts.exit_zone[before], parts.entry_zone[after]
    known = np.flatnonzero((gaps > 0) & (start >= 0) & (goal >= 0))
    for at in range(0, len(known), _ROWS):
        rows = known[at : at + _ROWS]
        log_odds[rows] += travel.log_odds(start[rows], goal[rows], gaps[rows])
    recent = (gaps > 0) & (gaps <= config.motion_s)
    same = same_camera[before, after]
    here, there = np.flatnonzero(recent & same), np.flatnonzero(recent & ~same)
    log_odds[here] += moved_log_odds(
        parts, after[here], before[here], gaps[here], config, start_px=parts.entry_velocity_px[after[here]]
    )
    log_odds[there] += walked_log_odds(parts, after[there], before[there], gaps[there], config)
    chain = np.full(gap_s.shape, -np.inf)
    chain[before, after] = log_odds
    return chain


def neighbours(graph: TrackletGraph, count: int) -> list[Int64]:
    """For every part those that it may belong to, the likeliest first: at most `count`, all it met on the floor."""
    chain = np.maximum(graph.chain, graph.chain.T)
    met = graph.met | graph.met.T
    worth = graph.look + np.where(met, graph.floor + graph.floor.T, np.maximum(chain, -1e9))
    worth[graph.forbidden | (~np.isfinite(chain) & ~met)] = -np.inf
    np.fill_diagonal(worth, -np.inf)
    near = []
    for row in worth:
        best = np.argsort(-row, kind="stable")[:count]
        near.append(best[np.isfinite(row[best])])
    return near
