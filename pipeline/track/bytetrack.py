"""The two-stage tracker: sure detections first, unsure ones only to keep what is already followed.

After ByteTrack (Zhang et al., ECCV 2022, algorithm 1), with these differences. Time is in seconds, so that frame rates
may differ and vary. The filter of a track rests at its last detection and is predicted from there to the present frame
in one step, so that unseen tracks cost nothing. Boxes are shown half way between the detection and the filter, which
takes out most of the detector's jitter and half of the filter's lag behind a person who turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.assignment import assign
from pipeline.geometry.boxes import iou
from pipeline.track.config import TrackConfig
from pipeline.track.costs import fuse_score, iou_cost
from pipeline.track.kalman import MotionNoise, boxes_of, correct, initiate, predict
from pipeline.types import BoolMask, Detections, Float32, Float64, Int64, Tracks

_MISSED = -1  # in `match`: the track has no detection in this frame


@dataclass(slots=True)
class _Table:
    """All tracks of a camera, one row each, the oldest first."""

    track_id: Int64  # (T,) 0 until the track is confirmed
    hits: Int64  # (T,) detections so far
    seen_s: Float64  # (T,) time of the last one
    mean: Float64  # (T, 2, 4) the filter at that time
    cov: Float64  # (T, 3, 4)

    @classmethod
    def of(cls, xyxy: Float64, time_s: float, noise: MotionNoise) -> _Table:
        """New tracks on boxes (N, 4) detected at `time_s`."""
        num = len(xyxy)
        return cls(np.zeros(num, np.int64), np.ones(num, np.int64), np.full(num, time_s), *initiate(xyxy, noise))

    def __len__(self) -> int:
        return len(self.track_id)

    def copy_of(self, rows: npt.NDArray[Any]) -> _Table:
        return _Table(self.track_id[rows], self.hits[rows], self.seen_s[rows], self.mean[rows], self.cov[rows])

    def joined(self, other: _Table) -> _Table:
        return _Table(
            np.concatenate((self.track_id, other.track_id)),
            np.concatenate((self.hits, other.hits)),
            np.concatenate((self.seen_s, other.seen_s)),
            np.concatenate((self.mean, other.mean)),
            np.concatenate((self.cov, other.cov)),
        )


class ByteTrack:
    """Follows people through one camera. Ids begin at 1 in every instance and are never reused."""

    def __init__(self, config: TrackConfig, noise: MotionNoise | None = None) -> None:
        self._config = config
        self._noise = noise or MotionNoise()
        self._table = _Table.of(np.zeros((0, 4)), 0.0, self._noise)
        self._next_id = 1
        self._time_s = -np.inf  # of the last frame

    def live_ids(self) -> Int64:
        """(L,) ascending ids of the confirmed tracks that are visible or may still be found again."""
        ids = self._table.track_id
        return np.sort(ids[ids > 0])

    def update(self, detections: Detections, time_s: float) -> Tracks:
        """The confirmed tracks that were detected in this frame, ascending in id, with steadied boxes.

        Raises ValueError where a box is not finite or inverted (naming its row), or where `time_s` does not lie
        after the last one. The state is unchanged then.
        """
        _check(detections, time_s, self._time_s)
        xyxy, score = detections.xyxy.astype(np.float64), detections.score
        usable = self._usable(xyxy, score)
        table = self._table.copy_of(time_s - self._table.seen_s <= self._config.max_lost_s)
        match = self._associate(table, xyxy, score, usable, time_s)

        founders = usable & (score >= self._config.new_score)
        founders[match[match != _MISSED]] = False
        born = founders.nonzero()[0]
        if len(born):
            born = born[np.argsort(-score[born], kind="stable")]
            table = table.joined(_Table.of(xyxy[born], time_s, self._noise))
            match = np.concatenate((match, born))
        table, match = self._without_failures(table, match, time_s)
        self._confirm(table)
        self._table, self._time_s = table, time_s

        shown = ((table.track_id > 0) & (match != _MISSED)).nonzero()[0]
        shown = shown[table.track_id[shown].argsort()]
        found = match[shown]
        steadied = (boxes_of(table.mean[shown]) + xyxy[found]) / 2
        return Tracks(table.track_id[shown], steadied.astype(np.float32), score[found])

    def _usable(self, xyxy: Float64, score: Float32) -> BoolMask:
        """(N,) the detections that are sure enough and large enough to be looked at."""
        size, config = xyxy[:, 2:] - xyxy[:, :2], self._config
        return (score >= config.low_score) & (size[:, 0] >= config.min_width_px) & (size[:, 1] >= config.min_height_px)

    def _associate(self, table: _Table, xyxy: Float64, score: Float32, usable: BoolMask, time_s: float) -> Int64:
        """Match tracks to detections and correct the matched tracks in the table.

        -> match (T,), the row of each track's detection or _MISSED.
        """
        config = self._config
        match = np.full(len(table), _MISSED, np.int64)
        if len(table) == 0 or not usable.any():
            return match
        mean, cov = predict(table.mean, table.cov, time_s - table.seen_s, self._noise)
        cost = iou_cost(boxes_of(mean), xyxy)  # (T, N), all pairs at once; every stage looks at its part
        fused = fuse_score(cost, score)
        confirmed = table.track_id > 0
        sure = usable & (score >= config.high_score)
        unsure = usable & ~sure

        _match_stage(match, fused, confirmed, sure, config.first_max_cost)
        just_seen = confirmed & (table.seen_s == self._time_s)
        _match_stage(match, cost, just_seen, unsure, config.second_max_cost)
        _match_stage(match, cost, ~confirmed, sure, config.tentative_max_cost)

        hit = (match != _MISSED).nonzero()[0]
        table.mean[hit], table.cov[hit] = correct(mean[hit], cov[hit], xyxy[match[hit]], self._noise)
        table.seen_s[hit] = time_s
        table.hits[hit] += 1
        return match

    def _without_failures(self, table: _Table, match: Int64, time_s: float) -> tuple[_Table, Int64]:
        """Leave out unconfirmed tracks that were missed too long or follow a person who is followed already."""
        unconfirmed = (table.track_id == 0).nonzero()[0]
        if len(unconfirmed) == 0:
            return table, match
        failed = time_s - table.seen_s[unconfirmed] > self._config.tentative_s
        visible = (match != _MISSED).nonzero()[0]
        boxes = boxes_of(table.mean)
        same = iou(boxes[unconfirmed], boxes[visible]) > self._config.duplicate_iou
        failed |= (same & (visible[None, :] < unconfirmed[:, None])).any(axis=1)
        if not failed.any():
            return table, match
        kept: BoolMask = np.ones(len(table), np.bool_)
        kept[unconfirmed[failed]] = False
        return table.copy_of(kept), match[kept]

    def _confirm(self, table: _Table) -> None:
        """Give ids to the tracks that have earned them; in the first frame there is nothing to wait for."""
        needed = 1 if self._time_s == -np.inf else self._config.confirm_hits
        earned = ((table.track_id == 0) & (table.hits >= needed)).nonzero()[0]
        table.track_id[earned] = np.arange(self._next_id, self._next_id + len(earned))
        self._next_id += len(earned)


def _match_stage(match: Int64, cost: Float64, tracks: BoolMask, detections: BoolMask, max_cost: float) -> None:
    """Assign the given tracks that have no detection yet; enters into `match`, takes away from `detections`."""
    rows = (tracks & (match == _MISSED)).nonzero()[0]
    cols = detections.nonzero()[0]
    if len(rows) == 0 or len(cols) == 0:
        return
    matched_rows, matched_cols = assign(cost[rows[:, None], cols], max_cost)
    match[rows[matched_rows]] = cols[matched_cols]
    detections[cols[matched_cols]] = False


def _check(detections: Detections, time_s: float, last_time_s: float) -> None:
    """Raise ValueError where a frame can not be tracked."""
    if not (np.isfinite(time_s) and time_s > last_time_s):
        raise ValueError(f"time must go forward: got {time_s} s after {last_time_s} s")
    xyxy, score = detections.xyxy, detections.score
    upright = (xyxy[:, 2:] >= xyxy[:, :2]).all(axis=1)  # never so for NaN
    if upright.all() and np.isfinite(xyxy).all() and np.isfinite(score).all():
        return
    finite = np.isfinite(xyxy).all(axis=1) & np.isfinite(score)
    row = int((finite & upright).argmin())
    fault = "inverted, want left <= right and top <= bottom" if finite[row] else "not finite"
    raise ValueError(f"detection in row {row} is {fault}: box {xyxy[row].tolist()}, score {score[row]}")
