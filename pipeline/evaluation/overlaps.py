"""Which true box could be which predicted box: every overlapping pair of a camera's frames, as a sparse list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.evaluation.tables import TrackTable
from pipeline.types import BoolMask, Float64, Int64

PAIRS_AT_ONCE = 2_000_000
EPS = float(np.finfo(np.float64).eps)  # the slack of every comparison with a threshold, as in TrackEval


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """G true and P predicted boxes in time order, and the E pairs of one frame whose boxes overlap at all.

    `slot` numbers the frames, over all cameras where several are chained. Rows ascend in `slot`, pairs in
    (`truth_row`, `pred_row`). A pair that is not listed has an IoU of 0.
    """

    truth_slot: Int64  # (G,)
    truth_id: Int64  # (G,)
    pred_slot: Int64  # (P,)
    pred_id: Int64  # (P,)
    truth_row: Int64  # (E,)
    pred_row: Int64  # (E,)
    iou: Float64  # (E,) in (0, 1]
    num_slots: int


def overlaps(truth: TrackTable, pred: TrackTable) -> Overlaps:
    """The pairs of one camera. Frames are compared by number; the order of the tables' rows does not matter.

    Rows are ordered by frame and place in the picture, never by id, so that a tie is broken the same way whatever
    the people are called. Raises ValueError where a table holds several cameras.
    """
    if len(truth.cameras) > 1 or len(pred.cameras) > 1:
        raise ValueError("overlaps compares the tables of one camera; take them apart with of_camera")
    truth, pred = _in_order(truth), _in_order(pred)
    frames = np.union1d(truth.frame, pred.frame)
    truth_slot, pred_slot = np.searchsorted(frames, truth.frame), np.searchsorted(frames, pred.frame)
    first = np.searchsorted(pred_slot, truth_slot, side="left")
    num_partners = np.searchsorted(pred_slot, truth_slot, side="right") - first
    ends = np.cumsum(num_partners)
    truth_rows, pred_rows, ious = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    start = 0
    while start < len(truth):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + PAIRS_AT_ONCE, side="right")))
        count = num_partners[start:stop]
        truth_row = np.repeat(np.arange(start, stop), count)
        within = np.arange(len(truth_row)) - np.repeat(np.cumsum(count) - count, count)
        pred_row = first[truth_row] + within
        iou = paired_iou(truth.xyxy[truth_row], pred.xyxy[pred_row])
        some = iou > 0
        truth_rows.append(truth_row[some])
        pred_rows.append(pred_row[some])
        ious.append(iou[some])
        start = stop
    return Overlaps(
        truth_slot,
        truth.identity,
        pred_slot,
        pred.identity,
        np.concatenate(truth_rows),
        np.concatenate(pred_rows),
        np.concatenate(ious),
        len(frames),
    )


def chain(parts: Sequence[Overlaps]) -> Overlaps:
    """Cameras one behind the other as one long sequence; an id means the same person in all of them."""
    slots = np.cumsum([0, *(part.num_slots for part in parts)])
    truths = np.cumsum([0, *(len(part.truth_id) for part in parts)])
    preds = np.cumsum([0, *(len(part.pred_id) for part in parts)])
    none, no_iou = np.zeros(0, np.int64), np.zeros(0)
    return Overlaps(
        np.concatenate([none, *(part.truth_slot + at for part, at in zip(parts, slots, strict=False))]),
        np.concatenate([none, *(part.truth_id for part in parts)]),
        np.concatenate([none, *(part.pred_slot + at for part, at in zip(parts, slots, strict=False))]),
        np.concatenate([none, *(part.pred_id for part in parts)]),
        np.concatenate([none, *(part.truth_row + at for part, at in zip(parts, truths, strict=False))]),
        np.concatenate([none, *(part.pred_row + at for part, at in zip(parts, preds, strict=False))]),
        np.concatenate([no_iou, *(part.iou for part in parts)]),
        int(slots[-1]),
    )


def paired_iou(a_xyxy: Float64, b_xyxy: Float64) -> Float64:
    """(N,) intersection over union of the i-th boxes of two (N, 4) arrays; 0 where a box has no area."""
    (a_x1, a_y1, a_x2, a_y2), (b_x1, b_y1, b_x2, b_y2) = a_xyxy.T, b_xyxy.T
    shared_w = np.maximum(np.minimum(a_x2, b_x2) - np.maximum(a_x1, b_x1), 0)
    shared_h = np.maximum(np.minimum(a_y2, b_y2) - np.maximum(a_y1, b_y1), 0)
    shared = shared_w * shared_h
    area_a, area_b = (a_x2 - a_x1) * (a_y2 - a_y1), (b_x2 - b_x1) * (b_y2 - b_y1)
    union = area_a + area_b - shared
    sound = (area_a > EPS) & (area_b > EPS) & (union > EPS)
    iou: Float64 = np.divide(shared, union, out=np.zeros(len(shared)), where=sound)
    return iou


def alone(truth_row: Int64, pred_row: Int64) -> BoolMask:
    """(E,) whether neither box of a pair stands in another pair: such a pair needs no assignment."""
    if not len(truth_row):
        return np.zeros(0, bool)
    single: BoolMask = (np.bincount(truth_row)[truth_row] == 1) & (np.bincount(pred_row)[pred_row] == 1)
    return single


def frame_runs(slot: Int64) -> list[tuple[int, int]]:
    """[start, stop) of the runs of equal values in an ascending (E,) array."""
    if not len(slot):
        return []
    cuts = np.flatnonzero(np.diff(slot)) + 1
    return list(zip([0, *cuts.tolist()], [*cuts.tolist(), len(slot)], strict=True))


def heaviest_pairs(truth_row: Int64, pred_row: Int64, weight: Float64) -> Int64:
    """Which pairs of one frame to take, each box at most once, for the greatest sum of positive weights. -> (M,)"""
    row, column = truth_row - truth_row.min(), pred_row - pred_row.min()
    shape = (int(row.max()) + 1, int(column.max()) + 1)
    weights, place = np.zeros(shape), np.full(shape, -1, np.int64)
    weights[row, column] = weight
    place[row, column] = np.arange(len(row))
    taken = place[linear_sum_assignment(weights, maximize=True)]
    chosen: Int64 = taken[taken >= 0]
    return chosen


def _in_order(table: TrackTable) -> TrackTable:
    return table[np.lexsort((*table.xyxy.T, table.frame))]
