"""The tracker: boxes in, tracks out. Sure detections first, unsure ones only to keep what is already followed.

The order of association is ByteTrack's (Zhang et al., ECCV 2022, algorithm 1); what fits together is said by
`costs.pair_cost`. Beyond that:

* Time is in seconds, frame rates may differ and vary. The filter of a track rests at its last detection and is
  predicted from there to the present frame in one step, so that unseen tracks cost nothing. Below 7.5 frames/s a
  lost track is looked for in as many frames as at that rate.
* Boxes are shown half way between the detection and the filter, which takes out most of the detector's jitter and
  half of the filter's lag behind a person who turns.

docs/tracker.md shows what each part is worth, and what was tried and left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from pipeline.geometry.boxes import iou
from pipeline.track.appearance import cosine_distance, fuse_appearance, update_vectors
from pipeline.track.camera_motion import warp_means
from pipeline.track.config import TrackConfig
from pipeline.track.costs import FORBIDDEN, Fit
from pipeline.track.cues import NO_CUES, Cues, too_far_on_ground
from pipeline.track.kalman import MotionNoise, boxes_of
from pipeline.track.kernels import load_kernels
from pipeline.track.table import Table
from pipeline.types import AnyArray, BoolMask, Detections, Float32, Float64, Int64, Tracks

SLOW_S = 1 / 7.5  # between frames that lie further apart, lost tracks are looked for in proportion longer
_MISSED = -1  # in `match`: the track has no detection in this frame


class BoxTracker:
    """Follows people through one camera. Ids begin at 1 in every instance and are never reused."""

    def __init__(self, config: TrackConfig, noise: MotionNoise | None = None) -> None:
        self._config = config
        self._noise = noise or MotionNoise()
        self._fit = Fit(config.buffer, config.direction_weight)
        self._kernels = load_kernels(config.compiled)
        self._table = Table.empty()
        self._next_id = 1
        self._time_s = -np.inf  # of the last frame
        self._slow_s = SLOW_S
        self._step_s = 0.0  # from the frame before to the last one

    def live_ids(self) -> Int64:
        """(L,) ascending ids of the confirmed tracks that are visible or may still be found again."""
        ids = self._table.track_id
        return np.sort(ids[ids > 0])

    def state(self) -> dict[str, AnyArray]:
        """All that `from_state` needs to go on as if nothing had happened: arrays by name, some 200 bytes a track."""
        scalars = {name: np.array(getattr(self, f"_{name}")) for name in ("next_id", "time_s", "step_s")}
        return scalars | self._table.to_arrays()

    @classmethod
    def from_state(cls, config: TrackConfig, state: Mapping[str, AnyArray]) -> BoxTracker:
        """A tracker in that state. Raises ValueError where an array is missing or does not fit."""
        tracker = cls(config)
        tracker._table = Table.from_arrays(state)
        try:
            tracker._next_id = int(state["next_id"])
            tracker._time_s, tracker._step_s = float(state["time_s"]), float(state["step_s"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"tracker state: next_id, time_s and step_s must be single numbers: {error!r}") from None
        if tracker._next_id <= tracker._table.track_id.max(initial=0):
            raise ValueError("tracker state: next_id has been given to a track already")
        if not tracker._table.seen_s.max(initial=-np.inf) <= tracker._time_s < np.inf:  # never so for NaN
            raise ValueError(f"tracker state: time_s {tracker._time_s} does not follow the tracks' last detections")
        if not 0 <= tracker._step_s < np.inf:
            raise ValueError(f"tracker state: step_s {tracker._step_s} is no time between frames")
        return tracker

    def update(self, detections: Detections, time_s: float, cues: Cues = NO_CUES) -> Tracks:
        """The confirmed tracks that were detected in this frame, ascending in id, with steadied boxes.

        Raises ValueError where a box is not finite or inverted (naming its row), where `time_s` does not lie after
        the last one, or where cues do not fit the detections. The state is unchanged then.
        """
        _check(detections, time_s, self._time_s)
        if cues is not NO_CUES:
            cues.check_fits(len(detections), self._table.vector.shape[1])
        xyxy, score = detections.xyxy.astype(np.float64, order="C"), detections.score
        usable = self._usable(xyxy, score)
        table = self._living(time_s, cues)
        match = self._associate(table, xyxy, score, usable, time_s, cues)

        founders = usable & (score >= self._config.new_score)
        founders[match[match != _MISSED]] = False
        born = founders.nonzero()[0]
        if len(born):
            born = born[np.argsort(-score[born], kind="stable")]
            table = table.joined(self._newborn(table, xyxy[born], time_s, cues, born))
            match = np.concatenate((match, born))
        if not table.track_id.all():
            table, match = self._without_failures(table, match, time_s)
            self._confirm(table)
        self._step_s = time_s - self._time_s if self._time_s > -np.inf else 0.0
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

    def _living(self, time_s: float, cues: Cues) -> Table:
        """The table without tracks that were lost for too long, in the pixels of this frame."""
        table = self._table
        step_s = min(time_s - self._time_s, self._step_s)  # one long pause does not make a slow camera
        living = time_s - table.seen_s <= self._config.max_lost_s * max(1.0, step_s / self._slow_s)
        if not living.all():
            table = table.copy_of(living)
        if cues is not NO_CUES:
            if cues.vector.shape[1] and not table.vector.shape[1]:
                table.vector = np.zeros((len(table), cues.vector.shape[1]), np.float32)
            table.mean, table.cov = warp_means(table.mean, table.cov, cues.camera_motion)
            table.last_xy = table.last_xy @ cues.camera_motion[:, :2].T + cues.camera_motion[:, 2]
        return table

    def _associate(
        self, table: Table, xyxy: Float64, score: Float32, usable: BoolMask, time_s: float, cues: Cues
    ) -> Int64:
        """Match tracks to detections and correct the matched tracks in the table.

        -> match (T,), the row of each track's detection or _MISSED.
        """
        match = np.full(len(table), _MISSED, np.int64)
        if len(table) == 0 or not usable.any():
            return match
        dt_s = time_s - table.seen_s
        mean, cov = self._kernels.predict(table.mean, table.cov, dt_s, self._noise)
        cost = self._cost(table, mean, cov, xyxy, dt_s, cues)
        config, confirmed = self._config, table.track_id > 0
        sure = usable & (score >= config.high_score)
        unsure = usable & ~sure
        weight, alike = np.minimum(score, 1.0).astype(np.float64), np.ones(len(score))
        self._match(match, cost, weight, confirmed, sure, config.first_max_cost)
        if unsure.any():
            just_seen = confirmed & (table.seen_s == self._time_s)
            self._match(match, cost, alike, just_seen, unsure, config.second_max_cost)
        if not confirmed.all():
            self._match(match, cost, alike, ~confirmed, sure, config.tentative_max_cost)
        hit = (match != _MISSED).nonzero()[0]
        found = match[hit]
        table.mean[hit], table.cov[hit] = self._kernels.correct(mean[hit], cov[hit], xyxy[found], self._noise)
        table.note_seen(hit, xyxy[found], time_s)
        if len(cues.vector):
            table.vector[hit] = update_vectors(table.vector[hit], cues.vector[found], score[found])
        if len(cues.ground):
            table.ground[hit] = cues.ground[found]
        return match

    def _cost(self, table: Table, mean: Float64, cov: Float64, xyxy: Float64, dt_s: Float64, cues: Cues) -> Float64:
        """(T, N) costs of all pairs at once; every stage of the association looks at its part."""
        cost = self._kernels.pair_cost(mean, cov, table.last_xy, xyxy, self._fit)
        if len(cues.vector):
            distance = cosine_distance(table.vector, cues.vector)
            gates = self._config.appearance_max_cost, self._config.appearance_max_distance
            cost = fuse_appearance(cost, distance, *gates)
        if len(cues.ground):
            cost[too_far_on_ground(table.ground, cues.ground, dt_s, self._config.max_speed_mps)] = FORBIDDEN
        return cost

    def _match(
        self,
        match: Int64,
        cost: Float64,
        weight: Float64,
        tracks: BoolMask,
        detections: BoolMask,
        max_cost: float,
    ) -> None:
        """Assign the given tracks that have no detection yet; enters into `match`, takes away from `detections`."""
        rows = (tracks & (match == _MISSED)).nonzero()[0]
        cols = detections.nonzero()[0]
        if len(rows) and len(cols):
            matched, found = self._kernels.match(cost, weight, rows, cols, max_cost)
            match[matched] = found
            detections[found] = False

    def _newborn(self, table: Table, xyxy: Float64, time_s: float, cues: Cues, born: Int64) -> Table:
        """New tracks on boxes (N, 4), the rows `born` (N,) of this frame's detections."""
        width = table.vector.shape[1]
        vector = cues.vector[born] if len(cues.vector) else np.zeros((len(born), width), np.float32)
        ground = cues.ground[born] if len(cues.ground) else np.full((len(born), 3), np.nan)
        return Table.of(xyxy, time_s, self._noise, vector, ground)

    def _without_failures(self, table: Table, match: Int64, time_s: float) -> tuple[Table, Int64]:
        """Leave out unconfirmed tracks that were missed too long or follow a person who is followed already."""
        unconfirmed = (table.track_id == 0).nonzero()[0]
        failed = time_s - table.seen_s[unconfirmed] > self._config.tentative_s
        visible = (match != _MISSED).nonzero()[0]
        boxes_of_visible = boxes_of(table.mean[visible])
        same = iou(boxes_of(table.mean[unconfirmed]), boxes_of_visible) > self._config.duplicate_iou
        failed |= (same & (visible[None, :] < unconfirmed[:, None])).any(axis=1)
        if not failed.any():
            return table, match
        kept: BoolMask = np.ones(len(table), np.bool_)
        kept[unconfirmed[failed]] = False
        return table.copy_of(kept), match[kept]

    def _confirm(self, table: Table) -> None:
        """Give ids to the tracks that have earned them; in the first frame there is nothing to wait for."""
        needed = 1 if self._time_s == -np.inf else self._config.confirm_hits
        earned = ((table.track_id == 0) & (table.hits >= needed)).nonzero()[0]
        table.track_id[earned] = np.arange(self._next_id, self._next_id + len(earned))
        self._next_id += len(earned)


def _check(detections: Detections, time_s: float, last_time_s: float) -> None:
    """Raise ValueError where a frame can not be tracked."""
    if not (math.isfinite(time_s) and time_s > last_time_s):
        raise ValueError(f"time must go forward: got {time_s} s after {last_time_s} s")
    xyxy, score = detections.xyxy, detections.score
    upright = xyxy[:, 2:] >= xyxy[:, :2]  # never so for NaN
    if upright.all() and math.isfinite(xyxy.sum() + score.sum()):  # a sum shows every NaN and infinity
        return
    finite = np.isfinite(xyxy).all(axis=1) & np.isfinite(score)
    sound = finite & upright.all(axis=1)
    if sound.all():  # finite, but the sum was not
        return
    row = int(sound.argmin())
    fault = "inverted, want left <= right and top <= bottom" if finite[row] else "not finite"
    raise ValueError(f"detection in row {row} is {fault}: box {xyxy[row].tolist()}, score {score[row]}")
