"""Joining tracklets of one camera that a short occlusion cut in two. Pure functions; used offline only.

Where the tracker lost a person because of an unusual movement, motion can not tell who goes on as whom: on MOT15, of
the pairs that fit best by motion alone fewer than half are the same person. Hence motion and appearance must agree,
and by default tracklets without appearance are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.assignment import assign
from pipeline.track.smoothing_config import SmoothingConfig
from pipeline.track.track_rows import TrackRows
from pipeline.types import Float32, Float64, Int64

_JITTER = 0.1  # of a detected centre, heights; weighs a measured velocity against standing still
_USUAL_SPEED = 0.8  # of a person, heights per second


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """Tracklets after joining: `old_id[k]` is now called `new_id[k]`, the id of the first tracklet of its chain."""

    rows: TrackRows
    old_id: Int64  # (K,) ascending
    new_id: Int64  # (K,)
    vector: Float32  # (number of new ids, D) in ascending order of the ids: means, of unit norm, over what was joined


def merge_tracklets(rows: TrackRows, config: SmoothingConfig, vector: Float32 | None = None) -> Merged:
    """Give one id to tracklets that follow each other where motion and appearance agree.

    vector: (K, D) of the K tracks in ascending order of their ids, of unit norm; a row of zeros or NaN is unknown.
    Which end goes on in which beginning is decided for all at once, one to one, and again on the joined tracklets
    until nothing changes, so that a second application joins nothing more. Two tracklets of which one begins before
    the other has ended are never joined. Raises ValueError where `vector` has not one row per track.
    """
    ids = np.unique(rows.track_id)
    vectors = np.zeros((len(ids), 0), np.float32) if vector is None else np.nan_to_num(np.asarray(vector, np.float32))
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise ValueError(f"vector: want one row for each of {len(ids)} tracks, got shape {vectors.shape}")
    new_id, present = ids, ids
    while len(present) > 1:
        founder = _join_once(rows, vectors, config)
        if (founder == np.arange(len(present))).all():
            break
        num_boxes = np.diff(np.append(rows.starts(), len(rows)))
        vectors = _mean_vectors(vectors, num_boxes, founder)
        new_id = present[founder[np.searchsorted(present, new_id)]]
        rows = rows.with_ids(np.repeat(present[founder], num_boxes))
        present = np.unique(new_id)
    return Merged(rows, ids, new_id, vectors)


def _join_once(rows: TrackRows, vectors: Float32, config: SmoothingConfig) -> Int64:
    """(K,) for each tracklet the place of the first of the chain it belongs to, after one assignment."""
    first = rows.starts()
    last = np.append(first[1:], len(rows)) - 1
    end = _ends(rows, first, last, config.motion_window_s)
    begin = _ends(rows, first, first, config.motion_window_s)
    left, right = _successors(end.time_s, begin.time_s, config.merge_gap_s)
    cost = _with_appearance(_motion_cost(end, begin, left, right, config), vectors, left, right, config)
    allowed = cost <= 1
    left, right = _assign_pairs(left[allowed], right[allowed], cost[allowed], len(first))
    before = np.arange(len(first))
    before[right] = left
    founder = before[before]
    while not np.array_equal(founder, before):  # follow the chains to their beginnings, twice as far each time
        before, founder = founder, founder[founder]
    return founder


def _successors(end_s: Float64, begin_s: Float64, gap_s: float) -> tuple[Int64, Int64]:
    """Every pair (left, right) where right begins after left has ended, by at most `gap_s`."""
    order = np.argsort(begin_s, kind="stable")
    ascending = begin_s[order]
    low = np.searchsorted(ascending, end_s, side="right")
    counts = np.searchsorted(ascending, end_s + gap_s, side="right") - low
    counts = np.maximum(counts, 0)
    left = np.repeat(np.arange(len(end_s)), counts)
    step = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    return left, order[low[left] + step]


def _assign_pairs(left: Int64, right: Int64, cost: Float64, num: int) -> tuple[Int64, Int64]:
    """The cheapest one-to-one choice among the listed pairs, all of cost at most 1, group by group of rivals."""
    if len(left) == 0:
        return left, right
    graph = coo_array((np.ones(len(left)), (left, right + num)), shape=(2 * num, 2 * num))
    group = connected_components(graph, directed=False)[1][left]
    order = np.argsort(group, kind="stable")
    chosen: list[tuple[Int64, Int64]] = []
    for pairs in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        rows, row = np.unique(left[pairs], return_inverse=True)
        cols, col = np.unique(right[pairs], return_inverse=True)
        matrix = np.full((len(rows), len(cols)), np.inf)
        matrix[row, col] = cost[pairs]
        matched_rows, matched_cols = assign(matrix, 1.0)
        chosen.append((rows[matched_rows], cols[matched_cols]))
    return np.concatenate([a for a, _ in chosen]), np.concatenate([b for _, b in chosen])


@dataclass(frozen=True, slots=True)
class _Ends:
    """How each of K tracklets stands and moves at its beginning or its end."""

    time_s: Float64  # (K,)
    centre: Float64  # (K, 2) px
    velocity: Float64  # (K, 2) px/s
    height: Float64  # (K,) px


def _ends(rows: TrackRows, first: Int64, pivot: Int64, window_s: float) -> _Ends:
    """State at row `pivot` (K,) of each tracklet that begins at row `first` (K,), from rows at most `window_s` away.

    Centre and velocity are of a regression line whose slope is drawn to zero by what is known of people's speed, so
    that a tracklet of two boxes is not sent across the picture by their jitter. Interpolated rows do not count.
    """
    counts = np.diff(np.append(first, len(rows)))
    t = rows.time_s - np.repeat(rows.time_s[pivot], counts)
    weight = ((np.abs(t) <= window_s) & ~rows.interpolated).astype(np.float64)
    weight[pivot] = 1.0
    centre = (rows.xyxy[:, :2] + rows.xyxy[:, 2:]) / 2
    total = np.add.reduceat(weight, first)
    mean_t = np.add.reduceat(weight * t, first) / total
    mean_xy = np.add.reduceat(weight[:, None] * centre, first) / total[:, None]
    height = np.maximum(np.add.reduceat(weight * (rows.xyxy[:, 3] - rows.xyxy[:, 1]), first) / total, 1.0)
    off = weight * (t - np.repeat(mean_t, counts))
    spread = np.add.reduceat(off * t, first)
    tilt = np.add.reduceat(off[:, None] * centre, first)
    velocity = tilt / (spread + (_JITTER / _USUAL_SPEED) ** 2)[:, None]
    return _Ends(rows.time_s[pivot], mean_xy - velocity * mean_t[:, None], velocity, height)


def _motion_cost(end: _Ends, begin: _Ends, left: Int64, right: Int64, config: SmoothingConfig) -> Float64:
    """(P,) per pair, in units of the slack that such a gap deserves; inf where the sizes differ too much.

    The mean of how far the one, carried forward over the gap, misses the other's beginning and the other, carried
    back, misses its end, in heights.
    """
    gap_s = begin.time_s[right] - end.time_s[left]
    apart = begin.centre[right] - end.centre[left]
    ahead = np.hypot(*(apart - end.velocity[left] * gap_s[:, None]).T)
    back = np.hypot(*(apart - begin.velocity[right] * gap_s[:, None]).T)
    height = np.sqrt(end.height[left] * begin.height[right])
    miss = (ahead + back) / (2 * height) / (config.merge_slack + config.merge_slack_per_s * gap_s)
    growth = np.abs(np.log(begin.height[right] / end.height[left]))
    return np.where(growth <= np.log(config.merge_size_ratio), miss, np.inf)


def _with_appearance(cost: Float64, vectors: Float32, left: Int64, right: Int64, config: SmoothingConfig) -> Float64:
    """(P,) in [0, 1] or inf: motion and appearance half and half where both tracks' appearance is known."""
    known = (vectors != 0).any(axis=1)
    distance = 1 - np.einsum("pd,pd->p", vectors[left], vectors[right], dtype=np.float64)
    distance = np.maximum(distance, 0) / config.merge_distance
    seen = np.where((cost <= 1) & (distance <= 1), (cost + distance) / 2, np.inf)
    blind = np.where((cost <= config.blind_share) & (config.blind_share > 0), cost, np.inf)
    return np.where(known[left] & known[right], seen, blind)


def _mean_vectors(vectors: Float32, num_boxes: Int64, founder: Int64) -> Float32:
    """(C, D) per chain the mean of its vectors by number of boxes, of unit norm; zeros where none is known."""
    chains, place = np.unique(founder, return_inverse=True)
    total = np.zeros((len(chains), vectors.shape[1]))
    np.add.at(total, place, vectors * num_boxes[:, None].astype(np.float64))
    norm = np.linalg.norm(total, axis=1, keepdims=True)
    joined = np.bincount(place)[:, None] > 1
    return np.where(joined, total / np.where(norm > 0, norm, 1), vectors[chains]).astype(np.float32)
