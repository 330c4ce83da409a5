"""CLEAR MOT: Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance", EURASIP JIVP 2008.

With TrackEval's matching: in each frame the assignment that first keeps the most pairs of the frame before, then has
the greatest total IoU. (motmetrics instead keeps a person's last match however long ago it was, and takes such pairs
one by one; on crowded scenes its counts differ by a few.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.overlaps import EPS, Overlaps, alone, frame_runs, heaviest_pairs
from pipeline.types import Int64

KEEP_BONUS = 1000.0  # worth more than any sum of IoUs that a frame can have
NONE = -1


@dataclass(frozen=True, slots=True)
class Clear:
    """Counts over all frames. A switch is a match to another predicted id than the person's last match had."""

    num_matched: int
    num_missed: int
    num_false: int
    num_switches: int

    @property
    def mota(self) -> float:
        """1 - (missed + false + switches) / true boxes, in (-inf, 1]; 0 where there is no true box."""
        num_truth = self.num_matched + self.num_missed
        return (self.num_matched - self.num_false - self.num_switches) / num_truth if num_truth else 0.0

    @property
    def precision(self) -> float:
        return self.num_matched / max(1, self.num_matched + self.num_false)

    @property
    def recall(self) -> float:
        return self.num_matched / max(1, self.num_matched + self.num_missed)


def clear_mot(pairs: Overlaps, iou: float = 0.5) -> Clear:
    """Score one sequence; boxes match from an overlap of `iou` on."""
    pair_of_truth = clear_matches(pairs, iou)
    matched = np.flatnonzero(pair_of_truth != NONE)
    pred_id = pairs.pred_id[pairs.pred_row[pair_of_truth[matched]]]
    truth_id = pairs.truth_id[matched]
    order = np.argsort(truth_id, kind="stable")  # person by person, in time
    truth_id, pred_id = truth_id[order], pred_id[order]
    switched = (truth_id[1:] == truth_id[:-1]) & (pred_id[1:] != pred_id[:-1])
    return Clear(
        num_matched=len(matched),
        num_missed=len(pairs.truth_id) - len(matched),
        num_false=len(pairs.pred_id) - len(matched),
        num_switches=int(np.count_nonzero(switched)),
    )


def clear_matches(pairs: Overlaps, iou: float = 0.5) -> Int64:
    """(G,) the pair that each true box is matched by, -1 for a missed one."""
    close = np.flatnonzero(pairs.iou >= iou - EPS)
    single = alone(pairs.truth_row[close], pairs.pred_row[close])
    match = np.full(len(pairs.truth_id), NONE, np.int64)
    match[pairs.truth_row[close[single]]] = close[single]
    crowded = close[~single]
    before = _row_in_frame_before(pairs)
    for start, stop in frame_runs(pairs.truth_slot[pairs.truth_row[crowded]]):
        pair = crowded[start:stop]
        truth_row, pred_row = pairs.truth_row[pair], pairs.pred_row[pair]
        last = np.where(before[truth_row] == NONE, NONE, match[before[truth_row]])
        kept = (last != NONE) & (pairs.pred_id[pairs.pred_row[last]] == pairs.pred_id[pred_row])
        chosen = heaviest_pairs(truth_row, pred_row, pairs.iou[pair] + KEEP_BONUS * kept)
        match[truth_row[chosen]] = pair[chosen]
    return match


def _row_in_frame_before(pairs: Overlaps) -> Int64:
    """(G,) the row of the same person in the frame before, -1 for none.

    The frame before is the last one that has both true and predicted boxes: frames empty on a side are passed over.
    """
    before = np.full(len(pairs.truth_id), NONE, np.int64)
    full = np.intersect1d(pairs.truth_slot, pairs.pred_slot)
    rows = np.flatnonzero(np.isin(pairs.truth_slot, full))
    rows = rows[np.argsort(pairs.truth_id[rows], kind="stable")]
    rank = np.searchsorted(full, pairs.truth_slot[rows])
    person = pairs.truth_id[rows]
    follows = (person[1:] == person[:-1]) & (rank[1:] == rank[:-1] + 1)
    before[rows[1:][follows]] = rows[:-1][follows]
    return before
