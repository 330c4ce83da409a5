"""Where people stood in pictures that were taken at the same moments: what a common floor is learned from."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from pipeline.geometry.boxes import foot_point
from pipeline.types import BoolMask, Float32, Float64, Int64

MOMENT_S = 0.5  # people are looked at so often
_BLOCK = 120  # moments that are matched as one: a tracker that slips spoils no more than that
_CELL = 0.25  # who has moved by less than this share of his height stands where he stood
_BORDER = 0.01  # share of the picture that counts as its border
_SHORTEST_PX = 4.0
_MOST_ROWS = 200_000  # pairs of feet before they are thinned
_MOST_UNITS = 400


@dataclass(frozen=True, slots=True, eq=False)
class Feet:
    """People of one camera at sampled moments, in order of time; row-aligned."""

    moment: Int64  # (N,) number of the slot of `MOMENT_S`
    track_id: Int64  # (N,)
    xy: Float64  # (N, 2) px, middle of the lower edge
    height_px: Float64  # (N,)
    size_px: Float64  # (2,) how far boxes ever reached: nearly the size of the picture

    def __len__(self) -> int:
        return len(self.moment)

    def __getitem__(self, rows: BoolMask | Int64) -> Feet:
        return Feet(self.moment[rows], self.track_id[rows], self.xy[rows], self.height_px[rows], self.size_px)

    def late(self, share: float, other: Feet) -> Feet:
        """The same people at other moments: late by a share of the time that both cameras span, the end comes first."""
        begin = int(min(self.moment[0], other.moment[0]))
        span = int(max(self.moment[-1], other.moment[-1])) - begin + 1
        moment = begin + (self.moment - begin + round(share * span)) % span
        return replace(self, moment=moment)[np.argsort(moment, kind="stable")]


class FeetBuffer:
    """The last moments of one camera. Bounded: by time, and by the number of boxes."""

    def __init__(self, window_s: float, capacity: int = 12_000) -> None:
        self._window = max(2, round(window_s / MOMENT_S))
        self._capacity = capacity
        self._moments: deque[tuple[int, Int64, Float64]] = deque()
        self._num_rows = 0
        self._last = -1
        self._reach_px = np.ones(2)  # the farthest right and the lowest that a box ever reached

    def __len__(self) -> int:
        return self._num_rows

    def add(self, time_s: float, track_id: Int64, xyxy: Float32) -> None:
        """A frame; the first of every moment is kept."""
        moment = int(time_s // MOMENT_S)
        if moment <= self._last:
            return
        self._last = moment
        if len(track_id):
            boxes = xyxy.astype(np.float64)
            self._reach_px = np.maximum(self._reach_px, boxes[:, 2:].max(axis=0))
            self._moments.append((moment, track_id.copy(), boxes))
            self._num_rows += len(track_id)
        while self._moments and (self._num_rows > self._capacity or self._moments[0][0] <= moment - self._window):
            self._num_rows -= len(self._moments.popleft()[1])

    def feet(self, since: int = -1) -> Feet:
        """Everybody whose feet are seen, from the moment `since` on.

        A box at the border of the picture is cut off: its lower edge is not the feet, its middle not the person's. The
        size of the picture is not known here; the border is as far as any box ever reached.
        """
        kept = [each for each in self._moments if each[0] >= since]
        if not kept:
            none = np.zeros(0, np.int64)
            return Feet(none, none, np.zeros((0, 2)), np.zeros(0), self._reach_px)
        boxes = np.concatenate([xyxy for _, _, xyxy in kept])
        moment = np.repeat(np.array([m for m, _, _ in kept], np.int64), [len(ids) for _, ids, _ in kept])
        height_px = boxes[:, 3] - boxes[:, 1]
        whole = (boxes[:, 2:] < (1 - _BORDER) * self._reach_px).all(axis=1)
        whole &= (boxes[:, 0] > _BORDER * self._reach_px[0]) & (height_px >= _SHORTEST_PX)
        feet = Feet(
            moment,
            np.concatenate([ids for _, ids, _ in kept]),
            np.asarray(foot_point(boxes), np.float64),
            height_px,
            self._reach_px,
        )
        return feet[whole]


@dataclass(frozen=True, slots=True, eq=False)
class Meetings:
    """Everyone of camera a beside everyone of camera b at the same moments: M rows, U units of rows.

    A unit is one tracklet of a with one of b within one block of time; its rows are those in which one of the two had
    moved, so that standing still does not count again and again. Coordinates are centred and scaled per camera
    (`centre`, `scale_px`), heights are in the same scale. Rows are sorted by unit, units by (block, tracklet of a).
    """

    a_xy: Float64  # (M, 2)
    b_xy: Float64  # (M, 2)
    a_height: Float64  # (M,)
    b_height: Float64  # (M,)
    unit: Int64  # (M,)
    start: Int64  # (U + 1,) first row of each unit, and M
    block: Int64  # (U,)
    a_id: Int64  # (U,)
    b_id: Int64  # (U,)
    a_centre: Float64  # (2,) px
    b_centre: Float64
    a_scale_px: float
    b_scale_px: float
    a_ground: Float64  # (3, 3) these coordinates of a -> about metres on the floor, by the heights in a alone
    b_ground: Float64
    room: float  # over how much floor people walk, in squared heights, in the view that shows less

    @property
    def num_units(self) -> int:
        return len(self.block)

    @property
    def count(self) -> Int64:
        """(U,) rows of each unit."""
        return np.diff(self.start)

    def mirrored(self) -> Meetings:
        """Camera b as a mirror shows it. No floor fits that, whatever fits does so by chance."""
        flip = np.diag([-1.0, 1.0, 1.0])
        return replace(self, b_xy=self.b_xy * (-1.0, 1.0), b_ground=flip @ self.b_ground @ flip)

    def in_pixels(self, matrix: Float64) -> Float64:
        """A homography of these coordinates as one of pixels: (3, 3) a -> b."""
        own = np.linalg.inv(_unframed(self.a_centre, self.a_scale_px))
        return np.asarray(_unframed(self.b_centre, self.b_scale_px) @ matrix @ own, np.float64)

    def from_pixels(self, matrix: Float64) -> Float64:
        """The other way: a homography of pixels as one of these coordinates, its determinant 1 or -1."""
        own = np.linalg.inv(_unframed(self.b_centre, self.b_scale_px))
        own = own @ matrix @ _unframed(self.a_centre, self.a_scale_px)
        return np.asarray(own / np.cbrt(abs(np.linalg.det(own))), np.float64)


def meetings(a: Feet, b: Feet, a_ground: Float64, b_ground: Float64) -> Meetings | None:
    """All pairs of people of two cameras; None where nobody is seen at once. a_ground, b_ground: px -> about metres."""
    rows_a, rows_b = at_once(a.moment, b.moment)
    if not len(rows_a):
        return None
    block = a.moment[rows_a] // _BLOCK
    pair = np.stack((a.track_id[rows_a], b.track_id[rows_b]), axis=1)
    places = [_cells(feet, rows) for feet, rows in ((a, rows_a), (b, rows_b))]
    # Where two people have stood together once counts once, in the block in which it happened first.
    _, first = np.unique(np.concatenate((pair, *places), axis=1), axis=0, return_index=True)
    rows_a, rows_b, block, pair = rows_a[first], rows_b[first], block[first], pair[first]
    units, unit, count = np.unique(np.column_stack((block, pair)), axis=0, return_inverse=True, return_counts=True)
    unit = unit.ravel()
    if len(units) > _MOST_UNITS:
        best = np.sort(np.argsort(-count, kind="stable")[:_MOST_UNITS])
        number = np.full(len(units), -1, np.int64)
        number[best] = np.arange(len(best))
        kept = number[unit] >= 0
        rows_a, rows_b, unit, units = rows_a[kept], rows_b[kept], number[unit[kept]], units[best]
    order = np.lexsort((a.moment[rows_a], unit))
    rows_a, rows_b, unit = rows_a[order], rows_b[order], unit[order]
    centre_a, scale_a = _frame(a)
    centre_b, scale_b = _frame(b)
    return Meetings(
        a_xy=(a.xy[rows_a] - centre_a) / scale_a,
        b_xy=(b.xy[rows_b] - centre_b) / scale_b,
        a_height=a.height_px[rows_a] / scale_a,
        b_height=b.height_px[rows_b] / scale_b,
        unit=unit,
        start=np.searchsorted(unit, np.arange(len(units) + 1)).astype(np.int64),
        block=units[:, 0],
        a_id=units[:, 1],
        b_id=units[:, 2],
        a_centre=centre_a,
        b_centre=centre_b,
        a_scale_px=scale_a,
        b_scale_px=scale_b,
        a_ground=a_ground @ _unframed(centre_a, scale_a),
        b_ground=b_ground @ _unframed(centre_b, scale_b),
        room=1.0 + min(_room(a.xy[rows_a], a.height_px[rows_a]), _room(b.xy[rows_b], b.height_px[rows_b])),
    )


def thinned(feet: Feet) -> Feet:
    """Without those who still stand where they stood."""
    rows = np.arange(len(feet))
    _, first = np.unique(np.column_stack((feet.track_id, _cells(feet, rows))), axis=0, return_index=True)
    kept = np.zeros(len(feet), np.bool_)
    kept[first] = True
    return feet[kept]


def at_once(a_moment: Int64, b_moment: Int64) -> tuple[Int64, Int64]:
    """Rows (M,) of a and of b that share a moment, every one with every one. Both come in order of time."""
    first = np.searchsorted(b_moment, a_moment, side="left")
    many = np.searchsorted(b_moment, a_moment, side="right") - first
    if many.sum() > _MOST_ROWS:  # moments at regular distances are left out
        many[a_moment % -(-int(many.sum()) // _MOST_ROWS) != 0] = 0
    rows_a = np.repeat(np.arange(len(a_moment)), many)
    within = np.arange(len(rows_a)) - np.repeat(np.cumsum(many) - many, many)
    return rows_a, np.repeat(first, many) + within


def _room(xy: Float64, height_px: Float64) -> float:
    """Area that holds feet, in squared heights."""
    size = 2.0 ** np.round(np.log2(height_px) - 1)
    return len(np.unique(np.column_stack((np.floor(xy / size[:, None]), size)), axis=0)) / 4


def _cells(feet: Feet, rows: Int64) -> Int64:
    size = _CELL * 2.0 ** np.round(np.log2(feet.height_px[rows]))
    return np.floor(feet.xy[rows] / size[:, None]).astype(np.int64)


def _unframed(centre_px: Float64, scale_px: float) -> Float64:
    """(3, 3) centred and scaled coordinates -> px."""
    return np.array([[scale_px, 0.0, centre_px[0]], [0.0, scale_px, centre_px[1]], [0.0, 0.0, 1.0]])


def _frame(feet: Feet) -> tuple[Float64, float]:
    return feet.xy.mean(axis=0), max(float(feet.xy.std()), 1.0)
