"""The live tracklets: where each is, how it moves, what it looks like. The only owner of that state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.fusion.motion import HEADING_S
from pipeline.geometry.boxes import foot_point
from pipeline.types import BoolMask, Float32, Float64, Int64

_VELOCITY_MEMORY_S = 0.5
_FIRST_SLOTS = 32


class TrackletStore:
    """A table of tracklets by slot; a slot is used again after `release`. Columns are public, to be read only.

    camid, track_id, global_id (S,) int64 (global_id 0: undecided); first_s, last_s (S,) seconds; clip_s (S,) when the
    latest clip came; ended (S,) bool;
    entry_xyxy, exit_xyxy (S, 4) px, the first and the latest box; velocity_px (S, 2) px/s of the foot point;
    entry_velocity_px (S, 2) the same once a tracklet has been seen for `motion.HEADING_S`, NaN before;
    ground_xy (S, 2) m, the latest, NaN where unknown; ground_sigma_m (S,); ground_velocity (S, 2) m/s;
    entry_ground_xy (S, 2); vector_sum (S, D), the quality-weighted sum of the clip vectors; num_clips (S,);
    quality_sum (S,) of the clips; confidence (S,) of the identity.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._slot_of: dict[tuple[int, int], int] = {}
        self._free: list[int] = list(range(_FIRST_SLOTS - 1, -1, -1))
        size = _FIRST_SLOTS
        self.used: BoolMask = np.zeros(size, np.bool_)
        self.ended: BoolMask = np.zeros(size, np.bool_)
        self.camid: Int64 = np.zeros(size, np.int64)
        self.track_id: Int64 = np.zeros(size, np.int64)
        self.global_id: Int64 = np.zeros(size, np.int64)
        self.num_clips: Int64 = np.zeros(size, np.int64)
        self.first_s: Float64 = np.zeros(size)
        self.last_s: Float64 = np.zeros(size)
        self.step_s: Float64 = np.zeros(size)
        self.quality_sum: Float64 = np.zeros(size)
        self.clip_s: Float64 = np.zeros(size)
        self.confidence: Float64 = np.zeros(size)
        self.entry_xyxy: Float64 = np.zeros((size, 4))
        self.exit_xyxy: Float64 = np.zeros((size, 4))
        self.velocity_px: Float64 = np.zeros((size, 2))
        self.entry_velocity_px: Float64 = np.full((size, 2), np.nan)
        self.entry_ground_xy: Float64 = np.zeros((size, 2))
        self.ground_xy: Float64 = np.zeros((size, 2))
        self.ground_sigma_m: Float64 = np.zeros(size)
        self.ground_velocity: Float64 = np.zeros((size, 2))
        self.vector_sum: Float32 = np.zeros((size, dim), np.float32)

    def __len__(self) -> int:
        return len(self._slot_of)

    @property
    def num_slots(self) -> int:
        return len(self.used)

    def slot_of(self, camid: int, track_id: int) -> int:
        """The slot of a tracklet, -1 if it is not here."""
        return self._slot_of.get((camid, track_id), -1)

    def observe(
        self,
        camid: Int64,
        time_s: Float64,
        track_id: Int64,
        xyxy: Float32,
        *,
        ground_xy: Float64,
        ground_sigma_m: Float64,
    ) -> Int64:
        """Enter what is seen of tracklets, no one twice: camid, time_s, track_id, ground_sigma_m (N,), xyxy (N, 4),
        ground_xy (N, 2) -> slots (N,)."""
        if not len(track_id):
            return np.zeros(0, np.int64)
        names = list(zip(camid.tolist(), track_id.tolist(), strict=True))
        known = [self._slot_of.get(name, -1) for name in names]
        for row, slot in enumerate(known):
            if slot < 0:
                known[row] = self._open(*names[row], float(time_s[row]), xyxy[row], ground_xy[row])
        slots = np.array(known, np.int64)
        boxes = xyxy.astype(np.float64)
        elapsed = time_s - self.last_s[slots]
        follow = np.clip(elapsed / _VELOCITY_MEMORY_S, 0.0, 1.0)[:, None]
        per_s = np.where(elapsed > 0, 1.0 / np.maximum(elapsed, 1e-6), 0.0)[:, None]
        moved = foot_point(boxes) - foot_point(self.exit_xyxy[slots])
        self.velocity_px[slots] += follow * (moved * per_s - self.velocity_px[slots])
        sets_out = (time_s - self.first_s[slots] >= HEADING_S) & np.isnan(self.entry_velocity_px[slots, 0])
        self.entry_velocity_px[slots[sets_out]] = self.velocity_px[slots[sets_out]]
        walked = (ground_xy - self.ground_xy[slots]) * per_s
        speed = self.ground_velocity[slots] + follow * (walked - self.ground_velocity[slots])
        self.ground_velocity[slots] = np.where(np.isfinite(speed), speed, self.ground_velocity[slots])
        self.ground_xy[slots] = ground_xy
        self.ground_sigma_m[slots] = ground_sigma_m
        self.exit_xyxy[slots] = boxes
        self.step_s[slots] = elapsed
        self.last_s[slots] = time_s
        return slots

    def add_vectors(self, slots: Int64, vector: Float32, quality: Float32, time_s: float | Float64) -> None:
        """Clip vectors (K, D) of unit norm with their quality (K,) join their tracklets at `time_s`, one for all or of
        each; a slot may come twice."""
        self.clip_s[slots] = time_s
        np.add.at(self.vector_sum, slots, vector * quality[:, None])
        np.add.at(self.quality_sum, slots, quality)
        np.add.at(self.num_clips, slots, 1)

    def vectors(self, slots: Int64) -> Float32:
        """(N, D) mean vectors of unit norm, zeros for tracklets without a clip."""
        return unit(self.vector_sum[slots])

    def restart(self, slot: int, time_s: float) -> None:
        """The tracklet shows somebody else from `time_s` on: its look and its entry count no more."""
        self.vector_sum[slot] = 0
        self.num_clips[slot] = self.quality_sum[slot] = 0
        self.first_s[slot] = time_s
        self.entry_xyxy[slot] = self.exit_xyxy[slot]
        self.entry_ground_xy[slot] = self.entry_velocity_px[slot] = np.nan

    def forget_ground(self, camids: Sequence[int]) -> None:
        """The floor of these cameras has changed: places on it are unknown until they are seen anew."""
        there = np.isin(self.camid, camids)
        self.ground_xy[there] = self.entry_ground_xy[there] = np.nan
        self.ground_velocity[there] = 0

    def slots(self) -> Int64:
        """All slots in use, ascending."""
        return np.flatnonzero(self.used)

    def release(self, slot: int) -> None:
        """The tracklet leaves the store."""
        del self._slot_of[int(self.camid[slot]), int(self.track_id[slot])]
        self.used[slot] = False
        self._free.append(slot)

    def _open(self, camid: int, track_id: int, time_s: float, xyxy: Float32, ground_xy: Float64) -> int:
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._slot_of[camid, track_id] = slot
        self.used[slot], self.ended[slot] = True, False
        self.camid[slot], self.track_id[slot], self.global_id[slot] = camid, track_id, 0
        self.first_s[slot] = self.last_s[slot] = time_s
        self.step_s[slot] = self.confidence[slot] = self.num_clips[slot] = self.quality_sum[slot] = 0
        self.entry_xyxy[slot] = self.exit_xyxy[slot] = xyxy
        self.entry_ground_xy[slot] = self.ground_xy[slot] = ground_xy
        self.entry_velocity_px[slot] = np.nan
        self.velocity_px[slot] = self.ground_velocity[slot] = self.vector_sum[slot] = 0
        return slot

    def _grow(self) -> None:
        size = self.num_slots
        for name, column in vars(self).items():
            if isinstance(column, np.ndarray):
                setattr(self, name, np.concatenate((column, np.zeros_like(column))))
        self._free = list(range(2 * size - 1, size - 1, -1))


def unit(vectors: Float32) -> Float32:
    """(N, D) the same vectors with norm 1, zeros where they are none."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norm, 1e-12), np.float32)
