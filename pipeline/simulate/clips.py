"""When a tracklet's clips are embedded, and the numbers that their vectors are made from."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from pydantic import Field

from pipeline.settings import Settings
from pipeline.simulate.detecting import NOBODY
from pipeline.simulate.run import SiteRun
from pipeline.types import Float64, Int64, RowIndex

_CROPS_PER_S = 4.0


class ClipTimes(Settings):
    """A tracklet's clips: the first soon, then one after another, and a last one of what is left when it ends."""

    first_s: float = Field(1.0, ge=0, le=3600, description="in view for so long when the first clip comes")
    every_s: float = Field(2.0, gt=0, le=3600, description="from one clip to the next")
    growth: float = Field(1.0, ge=1, le=10, description="factor on that time after every clip")
    max_every_s: float = Field(32.0, gt=0, le=1e6, description="it grows no further")
    crops: int = Field(8, ge=1, le=64, description="crops in a whole clip; a second gives four")

    def offsets(self, longest_s: float) -> Float64:
        """Seconds after the beginning of a tracklet at which its clips come, up to `longest_s`."""
        times, step = [self.first_s], self.every_s
        while times[-1] <= longest_s:
            times.append(times[-1] + min(step, self.max_every_s))
            step *= self.growth
        return np.array(times)


@dataclass(frozen=True, eq=False)
class ClipRows:
    """K clips by (time, camid, tracklet). Row i of every array is one clip."""

    tracklet: Int64  # (K,) row of Tracklets
    box_row: Int64  # (K,) row of Boxes in which it became ready; of a last clip the tracklet's last one
    is_last: Int64  # (K,) 1: it comes with the end of the track
    num_crops: Int64  # (K,)
    who: Int64  # (K,) for AppearanceModel: pid, and a number of its own for each tracklet of nobody
    home_view: Int64  # (K,)
    view: Int64  # (K,)

    def __len__(self) -> int:
        return len(self.tracklet)

    def __getitem__(self, rows: RowIndex) -> ClipRows:
        return ClipRows(*(getattr(self, field.name)[rows] for field in fields(self)))


def clip_rows(run: SiteRun, times: ClipTimes) -> ClipRows:
    """All clips of a run."""
    boxes, tracklets = run.boxes, run.tracklets
    count = len(tracklets)
    lasts_s = tracklets.last_s - tracklets.first_s
    offsets = times.offsets(float(lasts_s.max(initial=0.0)))
    num = np.searchsorted(offsets, lasts_s + 1e-9, side="right")
    tracklet = np.repeat(np.arange(count), num)
    nth = np.arange(len(tracklet)) - np.repeat(np.cumsum(num) - num, num)
    row = _row_at(run, tracklet, tracklets.first_s[tracklet] + offsets[nth])
    waited_s = np.diff(offsets, prepend=0.0)[nth]

    rest_s = lasts_s - np.where(num > 0, offsets[np.maximum(num - 1, 0)], 0.0)
    last = np.flatnonzero((num == 0) | (rest_s >= 1.0 / _CROPS_PER_S))
    tracklet = np.concatenate([tracklet, last])
    row = np.concatenate([row, tracklets.first_row[last] + tracklets.num_boxes[last] - 1])
    waited_s = np.concatenate([waited_s, rest_s[last]])
    is_last = np.concatenate([np.zeros(len(nth), np.int64), np.ones(len(last), np.int64)])

    order = np.lexsort((is_last, tracklet, boxes.camid[row], boxes.time_s[row]))
    tracklet, row, is_last = tracklet[order], row[order], is_last[order]
    crops = np.clip(np.round(waited_s[order] * _CROPS_PER_S), 1, times.crops).astype(np.int64)
    nobody = boxes.pid[row] == NOBODY
    who = np.where(nobody, run.num_people + 1 + tracklet, boxes.pid[row])
    home_view, view = _by_appearance((who, boxes.camid[row])), _by_appearance((who, boxes.camid[row], boxes.visit[row]))
    return ClipRows(tracklet, row, is_last, crops, who, home_view, view)


def _row_at(run: SiteRun, tracklet: Int64, time_s: Float64) -> Int64:
    """The first row of each tracklet's boxes at or after a time that lies within the tracklet."""
    span = run.seconds + 10.0
    return np.searchsorted(run.boxes.tracklet * span + run.boxes.time_s, tracklet * span + time_s - 1e-6)


def _by_appearance(columns: tuple[Int64, ...]) -> Int64:
    """(K,) number of each row's combination of values, in the order of first appearance."""
    if not len(columns[0]):
        return np.zeros(0, np.int64)
    key = columns[0]
    for column in columns[1:]:
        key = key * (int(column.max(initial=0)) + 1) + column
    _, first, number = np.unique(key, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[number]
